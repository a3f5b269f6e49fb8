"""Layer 6, by hand, cold: what the doctor asks the brokers: a harmless read, the clock, addresses, a proof.

Nothing here can make an order. The proof of the registered address is the cancel of an order that cannot
exist: it takes the way of order calls, counts as one of them, and is sent only when a person asks for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kite_hft.addresses import is_loopback
from kite_hft.app.day.asking import Asking, NoAnswer
from kite_hft.app.day.facts import BrokerFacts
from kite_hft.brokers.login import LoginError, Person
from kite_hft.brokers.table import broker_of, login_of
from kite_hft.brokers.upstox import kill_switch
from kite_hft.brokers.upstox.account import addresses, parse_addresses
from kite_hft.brokers.values import AnswerError
from kite_hft.engine.keys.contents import Contents
from kite_hft.engine.keys.ends import until_ns
from kite_hft.engine.plan.session import Access, configured, sandboxed
from kite_hft.net.source import why_not_ours
from kite_hft.net.unreachable import shown
from kite_hft.settings import Settings
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.sending.address import Proof, meaning

READS: Final = 4
"""So many answers narrow the skew of the clocks: their Date headers have whole seconds."""
NOTHING: Final = InstrumentTable(())
NOBODY: Final = Person("", "")


def accesses(settings: Settings) -> list[tuple[Access, bool]]:
    """(broker, whether it gets the orders) of all that the configuration speaks to.

    In mode paper nobody gets orders but Upstox's sandbox.
    """
    found = []
    for name in settings.brokers:
        orders = name == settings.broker and settings.mode != "paper"
        if orders or name in settings.data_brokers:
            found.append((configured(settings, name), orders))
    if settings.upstox.sandbox:
        found.append((sandboxed(settings, configured(settings, "upstox")), True))
    return found


def is_own(settings: Settings, access: Access) -> bool:
    """A simulator that the run starts by itself: nobody can ask it before."""
    return settings.mode == "sim" and not access.access_token


def ask_broker(
    settings: Settings, access: Access, contents: Contents, now_ns: int, *, orders: bool, prove: bool
) -> BrokerFacts:
    """One broker. prove: with the cancel of an order that cannot exist, where it gets the orders."""
    url = shown(access.api_url, access.key_of(access.api_url))
    name = f"{access.broker} sandbox" if access.sandbox else access.broker
    source = access.bind_address
    error = why_not_ours(source)
    if is_own(settings, access):
        return BrokerFacts(name, url, orders=orders, own=True, source=source, source_error=error)
    values = contents.get(f"{access.broker}/{settings.credentials.profile}", {})
    key = "sandbox_token" if access.sandbox else "access_token"
    ours = values.get(key, "") == access.access_token
    said_ns = until_ns(values, key) if ours else None
    end_ns = said_ns or (0 if access.sandbox else login_of(access.broker).token_end_ns(now_ns))
    found = BrokerFacts(
        name,
        url,
        orders=orders,
        loopback=is_loopback(access.api_url),
        key=bool(access.api_key) or access.broker == "upstox",
        token=bool(access.access_token),
        until_ns=end_ns,
        until_said=said_ns is not None,
        source=source,
        source_error=error,
    )
    if error or not access.access_token:
        return found
    broker = broker_of(access.broker, NOTHING, sandbox=access.sandbox)
    with Asking(access, broker) as asking:
        status, error, person = (0, "", NOBODY) if access.sandbox else harmless_read(asking)
        who, user_id = (asking.words(text) for text in (person.user_name or person.user_id, person.user_id))
        registered = registered_addresses(asking) if orders and status == 200 else None
        stopped = stopped_segments(asking) if orders and status == 200 else None
        skew_ns = asking.skew_ns
    proof = prove_address(access) if prove and orders else None
    return replace(
        found, status=status, error=error, who=who, user_id=user_id, wanted=values.get("user_id", ""),
        skew_ns=skew_ns, registered=registered, proof=proof, stopped=stopped,
    )  # fmt: skip


def harmless_read(asking: Asking) -> tuple[int, str, Person]:
    """(status, what is wrong, whose session): the profile, a few times for the sake of the clock."""
    words = login_of(asking.access.broker)
    access = asking.access
    call = words.profile_request(access.api_url, access.api_key, access.access_token)
    request = HttpRequest("GET", call.url.removeprefix(access.api_url.rstrip("/")))
    try:
        answer = asking.call(request)
        person = words.parse_profile(answer.status, answer.body)
        for _ in range(READS - 1):
            asking.call(request)
    except NoAnswer as error:
        return 0, str(error), NOBODY
    except LoginError as error:
        return answer.status, asking.words(str(error)), NOBODY
    return 200, "", person


def registered_addresses(asking: Asking) -> tuple[str, ...] | None:
    """The addresses that order calls may come from; None: the broker does not tell them."""
    if asking.access.broker != "upstox" or asking.access.sandbox:
        return None
    try:
        answer = asking.call(addresses())
        return parse_addresses(answer.body) if answer.status == 200 else None
    except (NoAnswer, AnswerError):
        return None


def stopped_segments(asking: Asking) -> tuple[str, ...] | None:
    """What the account's kill switch has shut; None: the broker does not tell."""
    if asking.access.broker != "upstox" or asking.access.sandbox:
        return None
    try:
        answer = asking.call(kill_switch.states())
        if answer.status != 200:
            return None
        rows = kill_switch.parse_segments(answer.body)
    except (NoAnswer, AnswerError):
        return None
    return tuple(asking.words(name) for name, row in rows.items() if row.shut)


def prove_address(access: Access) -> Proof:
    """Cancel an order that cannot exist, on the host that order calls go to.

    What answers prove: trading/sending/address.py, which does the same in a running engine.
    """
    broker = broker_of(access.broker, NOTHING, sandbox=access.sandbox, algo_name=access.algo_name)
    url = access.order_urls[0] if access.order_urls else access.api_url
    with Asking(access, broker, url) as asking:
        try:
            outcome = broker.parse_outcome(asking.call(broker.cancel(broker.no_order)))
        except NoAnswer as error:
            return Proof("unknown", str(error))
        proof = meaning(outcome)
        return Proof(proof.word, asking.words(proof.text))


def may_ask_upstox(settings: Settings) -> bool:
    """Whether Upstox's public calls may be asked: a run of the simulator speaks to this machine alone."""
    return settings.mode != "sim" or is_loopback(settings.upstox.api_url)
