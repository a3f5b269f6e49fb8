"""Layer 2, tools and last resort, cold: the account's kill switch at Upstox, by segment.

Slow and hard to undo: it wants no open position, cancels working orders, cannot be taken back for twelve
hours, and works for new access tokens only. The engine's own latch is the fast one; this is for a person
who wants an account to stay shut. Its codes mean something else than the same ones of other calls.
Source: official kill switch page (2026-04-10).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from kite_hft.brokers.upstox.answers import GATEWAY, Proof, data_of, errors_of, outcome
from kite_hft.brokers.upstox.calls import JSON
from kite_hft.brokers.values import AnswerError, envelope_of, rows_of, text
from kite_hft.trading.broker import Ambiguous, HttpRequest, HttpResponse, Refused

_PATH: Final = "/v2/user/kill-switch"
SEGMENTS: Final = ("NSE_EQ", "BSE_EQ", "NSE_FO", "BSE_FO", "NCD_FO", "BCD_FO", "MCX_FO", "NSE_COM")

_TABLE: Final[Mapping[str, Proof]] = {
    **GATEWAY,
    "UDAPI1181": Proof(fix=f"segments are {', '.join(SEGMENTS)}"),
    "UDAPI1184": Proof(fix="close every open position first"),
    "UDAPI1185": Proof(fix="it was thrown less than 12 hours ago: wait"),
    "UDAPI1186": Proof(fix=f"segments are {', '.join(SEGMENTS)}"),
    "UDAPI1187": Proof(fix="cancel the open orders first"),
    "UDAPI1188": Proof(fix="the action is DISABLE or ENABLE"),
}


def states() -> HttpRequest:
    """GET /v2/user/kill-switch."""
    return HttpRequest("GET", _PATH)


def parse_states(body: bytes) -> dict[str, bool]:
    """Segment -> True: the switch is thrown, nothing can be traded. Raises AnswerError."""
    try:
        rows = rows_of(data_of(body))
        return {text(row, "segment", required=True): bool(row["kill_switch_enabled"]) for row in rows}
    except (KeyError, ValueError) as error:
        raise AnswerError(f"kill switch: {type(error).__name__}: {error}") from error


def change(actions: Mapping[str, bool]) -> HttpRequest:
    """POST /v2/user/kill-switch: segment -> True: stop trading there, False: allow it again.

    Raises:
        ValueError: nothing, or a segment that is none.
    """
    unknown = sorted(set(actions) - set(SEGMENTS))
    if unknown or not actions:
        raise ValueError(f"segments {unknown}: one or more of {', '.join(SEGMENTS)}")
    rows = [{"segment": name, "action": "DISABLE" if shut else "ENABLE"} for name, shut in actions.items()]
    return HttpRequest("POST", _PATH, msgspec.json.encode(rows), JSON)


def parse_change(response: HttpResponse) -> str:
    """ "" when it was done (all or nothing), else why not, or that nobody knows."""
    if 200 <= response.status < 300 and envelope_of(response.body).get("status") == "success":
        return ""
    found = outcome(response, _TABLE, ())
    if isinstance(found, Refused):
        return found.message
    told = "; ".join(f"{code} {message}" for code, message in errors_of(envelope_of(response.body)))
    why = found.why if isinstance(found, Ambiguous) else told
    return f"not known whether it was done ({why}): read the states"
