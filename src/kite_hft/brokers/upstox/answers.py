"""Layer 2, orders process, hot: Upstox's JSON answers, and what the answer to an order call proves.

Success is `{"status": "success", "data": ...}`; an error `{"status": "error", "errors": [{"errorCode": ..,
"error_code": .., "message": ..}]}`, in both spellings. One law: an answer that does not prove refusal is
ambiguous, because there is no idempotency key. What is proof, and why:

    429, 10005     the rate limiter stands before the order system, the gateway's and the broker's: any body
    401 + envelope the session is checked first of all
    4xx + code     every code of the answer stands in a table of codes that are given before the order system
                   is asked (form, instrument, account, address, hours), or that name an order there is not
    anything else  no proof: 5xx, 408, an empty body, HTML (a gateway's page, whatever its status), an unknown
                   code, UDAPI100500 (a catch-all under which business refusals come, and faults: also what
                   the account's kill switch refuses, in words that no page gives), a message that speaks of
                   a time-out

Codes are used again by other calls with other meanings: each kind of call has a table of its own. Sources:
official error pages and SDK 2.30.0; hours and address rules as of 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kite_hft.brokers.values import AnswerError, envelope_of
from kite_hft.trading.broker import (
    NO_SUCH_ORDER,
    NOT_PERMITTED,
    TOKEN_DEAD,
    Ambiguous,
    Confirmed,
    HttpResponse,
    Outcome,
    Refused,
)


class Proof(NamedTuple):
    """A code that proves that nothing came of the call. word: Refused.error_type, "" stands for the code.
    fix: what a person does about it."""

    word: str = ""
    fix: str = ""


_NEW_TOKEN: Final = (
    "log in again (kite-hft login): access tokens end at 03:30 IST, and when an address or an app is "
    "changed; the sandbox's after thirty days (kite-hft login --sandbox)"
)
_STATIC_IP: Final = (
    "register the IPv4 address that this machine's order calls come from (Upstox, My Apps; one change a "
    "calendar week), bind order calls to it, keep them on IPv4 (the order host has no IPv6), then log in "
    "again: a token from before the change goes on failing"
)
_HOURS: Final = "Upstox takes orders from 05:30 to 24:00 IST: wait until then"
_FULL_TOKEN: Final = "use the access token of today's login: an extended or analytics token may only read"
_REENTER: Final = "sign in at Upstox with the account and do what it asks for"

GATEWAY: Final[Mapping[str, Proof]] = {
    "UDAPI100050": Proof(TOKEN_DEAD, _NEW_TOKEN),
    "UDAPI100016": Proof(TOKEN_DEAD, _NEW_TOKEN),
    "UDAPI100067": Proof(TOKEN_DEAD, _FULL_TOKEN),
    "UDAPI1154": Proof(NOT_PERMITTED, _STATIC_IP),
    "UDAPI100049": Proof(NOT_PERMITTED, "this account trades by Uplink Business only: ask Upstox"),
    "UDAPI100058": Proof(NOT_PERMITTED, f"the account has to be reactivated: {_REENTER}"),
    "UDAPI100073": Proof(
        NOT_PERMITTED, "the app is inactive: since 2026-04 only one app of a user is active"
    ),
    "UDAPI1155": Proof(NOT_PERMITTED, "the app is under review: wait for Upstox"),
    "UDAPI1157": Proof(NOT_PERMITTED, "the app has expired: renew it at Upstox, My Apps"),
    "UDAPI1156": Proof(NOT_PERMITTED, "upstox.algo_name is not the registered name: correct or leave it out"),
    "UDAPI100072": Proof(fix=_HOURS),
    "UDAPI100074": Proof(fix=_HOURS),
    "UDAPI100036": Proof(),
    "UDAPI100038": Proof(),
    "UDAPI100011": Proof(fix="the instrument list is not today's: load it again"),
    "UDAPI1087": Proof(fix="the instrument list is not today's: load it again"),
}
"""What is refused before any order system is asked, in calls of every kind."""

_FORM: Final = (
    *("UDAPI1004", "UDAPI1056", "UDAPI1007", "UDAPI1055", "UDAPI1006", "UDAPI1054", "UDAPI1057"),  # words
    *("UDAPI1008", "UDAPI1029", "UDAPI1043", "UDAPI1030", "UDAPI1031", "UDAPI1032", "UDAPI1036"),  # prices
    *("UDAPI1037", "UDAPI1038", "UDAPI1039", "UDAPI1026", "UDAPI1052", "UDAPI1118", "UDAPI1119"),
)
_MCX: Final = (
    "Upstox takes no MCX orders through its API: leave these instruments out, or trade them elsewhere"
)
_PROTECTION: Final = "set risk.market_protection to -1, or to 1 to 25 percent"
_UNTIL_OPEN: Final = "the order was sent as an after-market order while the market is open"

ORDER: Final[Mapping[str, Proof]] = {
    **GATEWAY,
    **dict.fromkeys(_FORM, Proof()),
    "UDAPI1003": Proof(NO_SUCH_ORDER),
    "UDAPI1010": Proof(NO_SUCH_ORDER),
    "UDAPI1023": Proof(NO_SUCH_ORDER),
    "UDAPI100010": Proof(NO_SUCH_ORDER),
    "UDAPI100040": Proof(NO_SUCH_ORDER),
    "UDAPI100041": Proof(NO_SUCH_ORDER),
    "UDAPI100039": Proof(fix=_UNTIL_OPEN),
    "UDAPI1158": Proof(fix=_PROTECTION),
    "UDAPI1159": Proof(fix=_PROTECTION),
    "UDAPI1160": Proof(fix=_PROTECTION),
    "UDAPI1161": Proof(fix=_MCX),
}
"""Of place, modify and cancel. The NO_SUCH_ORDER ones say that the named order is missing, or has ended.
Those of a path that is not there (UDAPI10000, UDAPI100060) prove nothing: a wrong host answers so, too."""

TRIGGER: Final[Mapping[str, Proof]] = {
    **GATEWAY,
    **dict.fromkeys(("UDAPI1026", "UDAPI1052", "UDAPI1054", "UDAPI1006", "UDAPI1057"), Proof()),
    **{f"UDAPI{code}": Proof() for code in range(1126, 1152)},
    "UDAPI1161": Proof(fix=_MCX),
    "UDAPI1176": Proof(fix=_PROTECTION),
    "UDAPI1177": Proof(fix=_PROTECTION),
}
"""Of GTT calls: 1126 to 1151 are all about the form of a GTT, and stand in no order call's table."""

_UNSURE: Final = re.compile(
    r"tim(?:ed?|ing)[\s-]*out|before placing again|check\s+(?:(?:the|your)\s+)?order\s+book", re.I
)
"""Words of a refusal that takes it back: the order system did not answer in time."""
CATCH_ALL: Final = "UDAPI100500"
_MAY_BE_SHUT: Final = (
    "(Upstox says so for many causes, its own kill switch among them: kite-hft kill-switch --status shows it)"
)
_REQUEST_TIMEOUT: Final = 408
_TOO_MANY: Final = 429
_LIMITED: Final = frozenset({"UDAPI10005", "UDAPI100099"})
"""Too many requests, whatever the status says."""


def data_of(body: bytes) -> Any:
    """`data` of a success.

    Raises:
        AnswerError: an error, or no whole answer.
    """
    envelope = envelope_of(body)
    if envelope.get("status") != "success" or "data" not in envelope:
        raise AnswerError(f"no success envelope: {body[:200]!r}")
    return envelope["data"]


def errors_of(envelope: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(code, message) of every error of an answer, in either spelling; unreadable ones have no code."""
    rows = envelope.get("errors")
    found = []
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping):
            found.append(("", str(row)))
            continue
        code = row.get("error_code") or row.get("errorCode")
        found.append((str(code or ""), str(row.get("message") or "")))
    return found


def refused(errors: list[tuple[str, str]], status: int, table: Mapping[str, Proof]) -> Refused | None:
    """What such errors prove under a 4xx; None: nothing."""
    if not errors or any(code not in table or _UNSURE.search(message) for code, message in errors):
        return None
    code = errors[0][0]
    proof = table[code]
    told = "; ".join(f"{code}: {message}" for code, message in errors)
    return Refused(proof.word or code, f"{told}; {proof.fix}" if proof.fix else told, status)


def outcome(response: HttpResponse, table: Mapping[str, Proof], names: tuple[str, ...]) -> Outcome:
    """What an answer proves, by the table of its kind of call.

    names: keys of `data` under which the order or the trigger is named, a text or a list with one.
    """
    status, envelope = response.status, envelope_of(response.body)
    if 200 <= status < 300:
        return _named(envelope, names, status)
    errors = errors_of(envelope)
    told = "; ".join(f"{code} {message}".strip() for code, message in errors)
    limited = 400 <= status < 500 and any(code in _LIMITED for code, _ in errors)
    if status == _TOO_MANY or limited:
        return Refused("RateLimited", told or "too many requests", _TOO_MANY)
    if envelope.get("status") != "error":
        return Ambiguous(f"HTTP {status} {_page(response.body)}".strip())
    if _UNSURE.search(told):
        return Ambiguous(f"HTTP {status}: {told}")
    if 400 <= status < 500 and status != _REQUEST_TIMEOUT:
        found = refused(errors, status, table)
        if found is not None:
            return found
        if status == 401:
            return Refused(TOKEN_DEAD, f"{told or 'not authorised'}; {_NEW_TOKEN}", status)
    return Ambiguous(f"HTTP {status} {told}".strip())


def _named(envelope: Mapping[str, Any], names: tuple[str, ...], status: int) -> Outcome:
    data = envelope.get("data")
    found = next((data[name] for name in names if name in data), None) if isinstance(data, Mapping) else None
    ids = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str) and one]
    if envelope.get("status") != "success" or not ids:
        return Ambiguous(f"HTTP {status} without an order id")
    if len(ids) > 1:  # it was sent as one, and never to be cut
        return Ambiguous(f"HTTP {status} with {len(ids)} order ids: {', '.join(ids)}")
    return Confirmed(ids[0])


def _page(body: bytes) -> str:
    """What a body that is no envelope looks like, for a person."""
    head = body[:4096].lstrip().lower()
    if not head:
        return "with an empty body"
    if head.startswith(b"<"):
        cause = ", error 1010: it refuses this client" if b"1010" in head else ""
        cause = ", error 1015: too many requests" if b"1015" in head else cause
        return f"with a page of the gateway{cause}, not of the API"
    return f"with a body that is no answer of the API: {body[:80]!r}"


def parse_outcome(response: HttpResponse) -> Outcome:
    """What the answer to a place, modify or cancel call proves."""
    return _with_cause(outcome(response, ORDER, ("order_ids", "order_id")), response.status)


def parse_trigger_outcome(response: HttpResponse) -> Outcome:
    """The same of a GTT call, whose number it confirms."""
    return _with_cause(outcome(response, TRIGGER, ("gtt_order_ids",)), response.status)


def _with_cause(found: Outcome, status: int) -> Outcome:
    """A catch-all that refuses, if it does: it proves nothing, and a person is told where to look."""
    if not isinstance(found, Ambiguous) or not 400 <= status < 500:
        return found
    if CATCH_ALL not in found.why or _UNSURE.search(found.why):
        return found
    return Ambiguous(f"{found.why} {_MAY_BE_SHUT}")
