"""Layer 2, tools and last resort, cold: the account's kill switch at Upstox, by segment.

Slow and hard to undo: it wants no open position, cancels working orders, cannot be taken back for twelve
hours, and works for new access tokens only. The engine's own latch is the fast one; this is for a person
who wants an account to stay shut. Its codes mean something else than the same ones of other calls.
Source: official kill switch page (2026-04-10).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from kite_hft.brokers.upstox.answers import GATEWAY, Proof, data_of, errors_of, outcome
from kite_hft.brokers.upstox.calls import JSON
from kite_hft.brokers.values import AnswerError, envelope_of, rows_of, text
from kite_hft.trading.broker import Ambiguous, HttpRequest, HttpResponse, Refused

_PATH: Final = "/v2/user/kill-switch"
SEGMENTS: Final = ("NSE_EQ", "BSE_EQ", "NSE_FO", "BSE_FO", "NCD_FO", "BCD_FO", "MCX_FO", "NSE_COM")

INACTIVE: Final = "INACTIVE"

TABLE: Final[Mapping[str, Proof]] = {
    **GATEWAY,
    "UDAPI1181": Proof(fix=f"segments are {', '.join(SEGMENTS)}"),
    "UDAPI1184": Proof(fix='close every open position first (kite-hft kill --flatten "WHY")'),
    "UDAPI1185": Proof(fix="it was thrown less than 12 hours ago: wait"),
    "UDAPI1186": Proof(fix=f"segments are {', '.join(SEGMENTS)}"),
    "UDAPI1187": Proof(fix="cancel the open orders first"),
    "UDAPI1188": Proof(fix="the action is DISABLE or ENABLE"),
}


class Segment(NamedTuple):
    """One segment of the account. active: the broker says it may be traded; shut: the switch is thrown."""

    active: bool
    shut: bool


class Change(NamedTuple):
    """What an answer proves. done: True all of it, False nothing of it, None: nobody knows. why: in words."""

    done: bool | None
    why: str = ""


def states() -> HttpRequest:
    """GET /v2/user/kill-switch."""
    return HttpRequest("GET", _PATH)


def parse_segments(body: bytes) -> dict[str, Segment]:
    """The rows of the states, and of a change that was done, by name.

    Raises:
        AnswerError: unreadable; whether a switch is thrown is never guessed.
    """
    try:
        return {text(row, "segment", required=True): _segment(row) for row in rows_of(data_of(body))}
    except (KeyError, ValueError) as error:
        raise AnswerError(f"kill switch: {type(error).__name__}: {error}") from error


def _segment(row: Mapping[str, object]) -> Segment:
    shut = row["kill_switch_enabled"]
    if not isinstance(shut, bool):
        raise ValueError(f"kill_switch_enabled {shut!r} is no yes or no")
    return Segment(row.get("segment_status") != INACTIVE, shut)


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


def parse_change(response: HttpResponse) -> Change:
    """What became of a change; the broker does all of it or nothing."""
    if 200 <= response.status < 300 and envelope_of(response.body).get("status") == "success":
        return Change(True)
    found = outcome(response, TABLE, ())
    if isinstance(found, Refused):
        return Change(False, found.message)
    told = "; ".join(f"{code} {message}" for code, message in errors_of(envelope_of(response.body)))
    return Change(None, found.why if isinstance(found, Ambiguous) else told)
