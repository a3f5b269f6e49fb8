"""Layer 2, orders process, cold: does the broker take order calls from where this machine's leave?

Brokers take orders only from a registered address, and no read tells: reads pass from everywhere. The proof
is the cancel of an order that cannot exist. An answer that the order is not there has passed the check of the
address; a refusal of the address says so. It is an order call like any other: it is journalled before it
leaves, takes a place that an entry might have (and leaves when nobody waits for one), passes the egress gate,
and stands in the evidence. The rules file says when (Limits.address_proof): at the start before the stage is
ACTIVE, at a time of the day, and whenever an order call is refused with words about the address.

What each answer means for trading:

    not found      proven: everything goes on, and a refusal that stood is over
    the address    nothing opens until a later proof; exits and cancels pass (the broker may refuse them as
                   well, but that is for him to say). Asked again for as long as the refusal stands, less and
                   less often, and at once with a new token: another registration wants a new login
    anything else  told, asked again a few times, and nothing is held up: an answer that proves nothing, a
                   time-out or a busy broker, is no reason to keep a strategy from its market, and an order
                   that is refused for its address opens nothing
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.memory.journal import Kind
from kite_hft.sessions import ist_date, ist_midnight_ns
from kite_hft.trading.broker import (
    NO_SUCH_ORDER,
    NOT_PERMITTED,
    TOKEN_DEAD,
    Ambiguous,
    HttpRequest,
    HttpResponse,
    Outcome,
    Refused,
    TransportError,
)
from kite_hft.trading.gate.states import States
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.sending.asides import Aside
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.work import Work, answer_payload, call_payload
from kite_hft.units import NS_PER_S

ABOUT_ADDRESS: Final = re.compile(r"\bIPs?\b|whitelist|static", re.I)
ABOUT_ORDER: Final = re.compile(
    r"order_id|(find|found|exist|invalid).*order|order.*(find|found|exist|invalid)", re.I
)
LOOK_NS: Final = NS_PER_S
"""So often is looked at the wall clock, which may be set."""
BUSY_NS: Final = 50_000_000
"""Until it is looked again whether the way of order calls is free."""
_NEVER_NS: Final = 2**62


class Proof(NamedTuple):
    """What the cancel of an order that cannot exist told. word: allowed, address (this machine's is refused),
    permission (the app or the account may not trade), token, or unknown."""

    word: str
    text: str


def meaning(outcome: Outcome) -> Proof:
    """What the answer to that cancel proves."""
    if isinstance(outcome, Ambiguous):
        return Proof("unknown", outcome.why)
    if not isinstance(outcome, Refused):
        return Proof("allowed", "the cancel was taken")
    text = f"{outcome.error_type}: {outcome.message}"
    if outcome.error_type == TOKEN_DEAD:
        return Proof("token", text)
    if ABOUT_ADDRESS.search(outcome.message):
        return Proof("address", text)  # Kite's own words for it are not known: whatever speaks of an address
    if outcome.error_type == NOT_PERMITTED:
        return Proof("permission", text)
    missing = outcome.error_type == "OrderException" and ABOUT_ORDER.search(outcome.message)
    if outcome.error_type == NO_SUCH_ORDER or missing:
        return Proof("allowed", text)
    return Proof("unknown", text)


class AddressCheck:
    """One per order stage; off without `prove_address`, and at a broker without an impossible order."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        desk: Desk,
        outbox: Outbox,
        states: States,
        submit: Callable[[Aside, HttpRequest], None],
    ) -> None:
        self._ports, self._desk, self._outbox, self._states = ports, desk, outbox, states
        self._submit = submit
        on = config.prove_address and ports.broker.no_order
        self._rules = config.limits.address_proof if on else None
        self.proof: Proof | None = None  # the last one
        self.asked = 0  # calls that left
        self._tries = 0  # in a row that proved nothing, or that the address is refused
        self._due_ns = self._wake_ns = _NEVER_NS
        self._day_real_ns = 0  # the next proof by the wall clock
        self._under_way = 0  # CLOCK_MONOTONIC ns of the call that is unanswered; 0: none is
        self._why = "at the start"
        self._rest_ns = -(2**62)  # until then a refusal asks for no proof: the last one told nothing
        self._doubted_ns = 0  # since then orders are refused for it, and no proof has told; 0: none is
        self._contradicted = False  # and the proof said that it is not so
        self._activate: Callable[[int], None] | None = None
        self._until_ns = 0  # so long is the start held up

    def begin(self, activate: Callable[[int], None], now_ns: int, *, hold: bool) -> None:
        """The books agree: `activate` once the answer is there, or is late; at once when not to `hold`, and
        when a dead token was the last to hold things up: `activate` ends that, and nothing is sent before.
        """
        rules, hold = self._rules, hold and not self._states.token_dead
        if rules is None:
            activate(now_ns)
            return
        self._ask(now_ns, "at the start" if hold else "after a restart or a login")
        self._day_real_ns = _next_ns(rules.at_s, self._ports.clock.real_ns())
        if hold:
            self._activate, self._until_ns = activate, now_ns + round(rules.wait_s * NS_PER_S)
        else:
            activate(now_ns)

    def again(self, now_ns: int) -> None:
        """Another token has come: what stood against the address may be over."""
        if self._states.address:
            self._ask(now_ns, "after a login")

    def doubted(self, now_ns: int) -> bool:
        """An order call was refused with words about the address: a proof is asked for, at once unless the
        last one told nothing. True: that says nothing of the order. So it is while the proof says the same,
        and until there is an answer; one that is late, or proves nothing, lets refusals count.
        """
        if self._rules is None:
            return False
        if self._states.address:
            return True  # asked again in its own time
        self._doubted_ns = self._doubted_ns or now_ns
        self._due_ns = min(self._due_ns, max(now_ns, self._rest_ns))
        self._wake_ns = min(self._wake_ns, self._due_ns)
        self._why = "an order was refused for the address"
        late = now_ns - self._doubted_ns > round(self._rules.wait_s * NS_PER_S)
        return not (self._contradicted or self._tries or late)

    def _ask(self, now_ns: int, why: str) -> None:
        self._due_ns = self._wake_ns = now_ns
        self._tries, self._why = 0, why

    def look(self, now_ns: int, *, stopping: bool) -> int:
        """Send what is due; returns how many calls left (0 or 1)."""
        if self._rules is None or now_ns < self._wake_ns:
            return 0
        if self._activate is not None and (now_ns >= self._until_ns or stopping or self._states.token_dead):
            self._let_go(now_ns)
        real_ns = self._ports.clock.real_ns()
        if real_ns >= self._day_real_ns > 0:
            self._day_real_ns = _next_ns(self._rules.at_s, real_ns)
            self._ask(now_ns, "by the time of the day")
        self._wake_ns = now_ns + LOOK_NS
        if stopping or self._states.token_dead or self._under_way:
            return 0
        if now_ns >= self._due_ns:
            if self._desk.throttle.quiet(now_ns):
                return self._send(now_ns)
            self._wake_ns = now_ns + BUSY_NS
        self._wake_ns = min(self._wake_ns, max(now_ns + 1, self._due_ns))
        return 0

    def next_ns(self) -> int | None:
        """When `look` has something to do; None: never by itself."""
        return None if self._rules is None or self._wake_ns >= _NEVER_NS else self._wake_ns

    def report(self) -> dict[str, Any]:
        """For report.json: word (off, unasked, or of the last proof), text, asked."""
        word = "off" if self._rules is None else "unasked"
        proof = self.proof or Proof(word, "")
        return {"word": proof.word, "text": proof.text, "asked": self.asked}

    def words(self) -> str:
        """The last proof as a line for people; "": there is none."""
        return "" if self.proof is None else self._told(self.proof)

    # Sending

    def _send(self, now_ns: int) -> int:
        """As a cancel leaves (desk.py), but for the journal: where it cannot be written, nothing leaves."""
        desk, ports = self._desk, self._ports
        self._due_ns = _NEVER_NS
        desk.throttle.leaves(now_ns)
        if text := desk.egress.gate.refuses(now_ns):
            desk.egress.budget.moved(now_ns, None)
            self._outbox.halt(f"egress: {text}")
            return 0
        work = Work(IntentKind.CANCEL, _impossible(ports.broker.no_order), None, None)
        about = {"order_id": ports.broker.no_order, "proof": self._why}
        if not self._outbox.journal(Kind.CALL, call_payload(work) | about):
            return 0  # the second count has it, and keeps its place
        request = ports.broker.cancel(ports.broker.no_order)
        before_ns = work.offered_ns = work.let_out_ns = work.sent_ns = ports.clock.mono_ns()
        self._under_way = now_ns
        self.asked += 1
        self._submit(Aside("CANCEL", request, partial(self._answered, work)), request)
        desk.left(work, before_ns, ports.clock.mono_ns(), now_ns)
        return 1

    def _answered(self, work: Work, result: HttpResponse | TransportError, now_ns: int) -> None:
        self._under_way = 0
        outcome: Outcome | None = None  # None: no byte of it left
        if isinstance(result, HttpResponse):
            outcome = self._ports.broker.parse_outcome(result)
        elif result.sent:
            outcome = Ambiguous(f"no answer: {result.reason}")
        text = result.reason if isinstance(result, TransportError) else ""
        proof = self.proof = meaning(outcome) if outcome is not None else Proof("unknown", text)
        limited = isinstance(outcome, Refused) and outcome.http_status == 429
        payload = answer_payload(work, outcome, text) | {"proof": proof.word}
        if limited:
            payload |= {"boot": self._ports.boot, "mono_ns": now_ns}
        self._outbox.journal(Kind.ANSWER, payload)
        if limited:
            self._desk.throttle.cool_down(now_ns)
            self._outbox.alert("RATE_LIMITED", f"the proof of the address was refused: {proof.text}")
        self._heed(proof, work.sent_ns, now_ns)
        if self._activate is not None:
            self._let_go(now_ns)

    def _heed(self, proof: Proof, sent_ns: int, now_ns: int) -> None:
        assert self._rules is not None
        if proof.word in ("allowed", "address"):
            self._contradicted = proof.word == "allowed" and (self._contradicted or self._doubted_ns > 0)
            self._doubted_ns = 0
        if proof.word == "allowed":
            self._tries, self._rest_ns = 0, now_ns
            self._states.accept_address()
            self._outbox.clear("ADDRESS_UNPROVEN")
            return
        if proof.word == "token":
            held = sum(1 for p in self._desk.book.positions.values() if p.quantity)
            self._states.lose_token(proof.text, held, sent_ns)
            return  # a login begins anew
        self._tries += 1
        if proof.word == "address":
            self._states.refuse_address(self._told(proof))
        elif self._tries == 1:
            self._outbox.alert("ADDRESS_UNPROVEN", self._told(proof))
        pause_s = min(self._rules.pause_s * 2 ** min(self._tries - 1, 16), self._rules.pause_max_s)
        self._rest_ns = now_ns + round(pause_s * NS_PER_S)
        if proof.word == "address" or self._tries < self._rules.tries:
            self._due_ns = self._rest_ns
        self._due_ns = max(self._due_ns, self._rest_ns)  # a refusal that came meanwhile waits as well
        self._wake_ns = min(self._wake_ns, self._due_ns)

    def _told(self, proof: Proof) -> str:
        """With where the calls leave from, and what to do."""
        broker = self._ports.broker
        leaves = self._ports.leaves_from()
        here = f"this machine ({leaves}, or what a router makes of it)" if leaves else "this machine"
        if proof.word == "allowed":
            return f"{broker.name} takes order calls from {here}: {proof.text}"
        if proof.word == "address":
            return (
                f"{broker.name} refuses order calls from {here}: {proof.text}. Register the address that it "
                f"is seen by at {broker.register_at}, or set {broker.name}.bind_address to the registered one"
            )
        return f"not proved that {broker.name} takes order calls from {here}: {proof.word}: {proof.text}"

    def _let_go(self, now_ns: int) -> None:
        activate, self._activate = self._activate, None
        if activate is None or self._states.token_dead:
            return  # a login begins anew
        if self._under_way and self._rules is not None:
            text = f"no answer to the cancel of an impossible order within {self._rules.wait_s:g} s"
            self.proof = Proof("unknown", text)
            self._outbox.alert("ADDRESS_UNPROVEN", self._told(self.proof))
        activate(now_ns)


def _impossible(order_id: str) -> Order:
    """Nobody's order, which no book holds."""
    words = (0, EXTERNAL, 0, 0, Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 0, 0, 0, 0, "")
    return Order(*words, order_id=order_id, status=OrderStatus.OPEN)


def _next_ns(at_s: int | None, real_ns: int) -> int:
    """When the clock in India shows `at_s` seconds of the day next; 0: never."""
    if at_s is None:
        return 0
    at_ns = ist_midnight_ns(ist_date(real_ns)) + at_s * NS_PER_S
    return at_ns if at_ns > real_ns else at_ns + 86_400 * NS_PER_S
