"""Layer 2, every process, cold: what a person is told: codes, default severities, what to do.

An alert is {code, key, text, severity}: `code` is a row of CODES, `key` tells two conditions of one
code apart (a connection, an order, an instrument), `text` has the numbers. Whoever finds a
condition says so as often as it likes: standing.Standing decides when a person is told of it.
Imports nothing big, for the watchdog's sake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.trading import standing
from kite_hft.trading.standing import Alert

__all__ = ["CODES", "Alert", "Code", "Standing", "UnknownCode", "advice_of", "alert", "alert_of", "lasts"]

INFO: Final = 1
WARNING: Final = 2
CRITICAL: Final = 3
"""Values of layout.Severity, which comes with arrays."""


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of alert. `lasting`: a condition that holds until it is cleared, and is reminded of."""

    severity: int  # a Severity's value
    advice: str  # what to do, one sentence
    lasting: bool = True


def _once(severity: int, advice: str) -> Code:
    return Code(severity, advice, lasting=False)


CODES: Final[dict[str, Code]] = {
    # Market data
    "FEED_DEAD": Code(
        CRITICAL, "No frame arrives: the engine reconnects by itself; check network and broker status."
    ),
    "FEED_REFUSED": Code(CRITICAL, "The broker refuses the market-data connection: log in again, or wait."),
    "MARKET_HALT": Code(
        WARNING, "All instruments are silent while frames come: nothing is opened until ticks come."
    ),
    "STALE_POSITION": Code(WARNING, "An instrument that is held has no fresh price: watch it at the broker."),
    "FEEDS_DIVERGE": Code(
        WARNING,
        "Two brokers' feeds tell different prices: nothing is opened there until they agree; see both apps.",
    ),
    # The broker
    "TOKEN_DEAD": Code(
        CRITICAL,
        "Nothing can be sent, not even an exit: `kite-hft login`, or close by hand in the broker's app.",
    ),
    "LOGIN_DUE": Code(
        WARNING, "There is no token of today: nothing can be bought, sold or closed until `kite-hft login`."
    ),
    "BROKER_UNREACHABLE": Code(WARNING, "The order books cannot be read: check network and broker status."),
    "RATE_LIMITED": _once(
        WARNING, "The broker answered 429: calls wait out the cool-down; look for another program."
    ),
    "CONDUCT": Code(
        WARNING, "Many messages for few trades: the exchange charges and bars that; slow the strategy down."
    ),
    "EGRESS_REFUSED": Code(
        CRITICAL, "The broker refuses orders from this address: check the registered static IP."
    ),
    "ADDRESS_UNPROVEN": Code(
        WARNING,
        "Whether orders are taken from this machine's address is not known: `kite-hft doctor --prove-ip`.",
    ),
    # Orders
    "REJECT_STORM": Code(
        CRITICAL, "Orders are rejected one after another: REDUCING; find the cause, then `kite-hft resume`."
    ),
    "AMBIGUOUS_ORDER": Code(
        WARNING,
        "The fate of an order is unknown: it is looked up and not sent again; check the broker's order book.",
    ),
    "ORDER_ABSENT": _once(WARNING, "An order never appeared in the broker's book: compare it by hand."),
    "CANCEL_FAILED": Code(
        WARNING, "A cancel did not go through: the order may still fill; check the order book."
    ),
    "BROKER_ACTED": _once(
        CRITICAL, "The broker or a person changed a position of ours: compare positions by hand."
    ),
    "EXTERNAL_ORDER": _once(INFO, "An order that is not the engine's was seen on the account."),
    "EXTERNAL_POSITION": _once(INFO, "The account holds more than the engine's own orders made."),
    "POSITION_MISMATCH": Code(CRITICAL, "Our position and the broker's differ: compare them by hand."),
    "ORDER_VANISHED": Code(
        CRITICAL,
        "A working order is gone from the broker's book: look for it in the broker's app; if it is not "
        "there, `kite-hft resolve NUMBER --absent`.",
    ),
    "NOT_RECONCILED": Code(
        CRITICAL, "The broker's books and the journal differ: nothing is sent until it is explained."
    ),
    "TRIGGER_ADOPTED": _once(
        WARNING,
        "A trigger at the broker was taken for one whose record is lost, or an order for that of one "
        "that was thought absent: compare the broker's list.",
    ),
    "ORDER_ADOPTED": _once(INFO, "A working order of an earlier run was taken over as external."),
    "RUN_CONTINUED": _once(
        INFO, "An earlier run of the day did not end: its orders and positions were taken over."
    ),
    "RUN_NOT_CONTINUED": _once(
        WARNING, "An earlier run of the day has another configuration: what it left is external to this one."
    ),
    "NOT_FLAT": Code(CRITICAL, "Positions could not be closed: close them at the broker."),
    "SQUARE_OFF_NOT_FLAT": _once(
        CRITICAL, "An intraday position is still open near the end of its day: close it in the broker's app."
    ),
    "SETTLEMENT": Code(
        WARNING, "A contract that is held settles in shares: close it, or have shares and money ready."
    ),
    "SQUARE_OFF_FLAT": _once(INFO, "An intraday position that could not be closed is closed now."),
    "NAKED_POSITION": Code(
        CRITICAL,
        "A position has no protection that is alive: place a stop or close it, here or in the broker's app.",
    ),
    "PROTECTION_AT_CLOSE": _once(
        INFO, "What protects positions once the closing auction begins: close what nothing protects."
    ),
    "WATCHDOG_BLIND": Code(
        WARNING, "The broker's books are not read any more: look at positions and stops in the broker's app."
    ),
    "WATCHDOG_GONE": Code(
        CRITICAL, "Nobody compares positions with their protection: read why in the log, restart the engine."
    ),
    "ENGINE_GONE": Code(
        CRITICAL, "The engine has ended without order: look at the positions, then start it again."
    ),
    # The engine
    "CLOCK": Code(
        CRITICAL,
        "The wall clock was stepped, or is not the broker's: nothing opens, exits pass. See `timedatectl`, "
        "let chrony or systemd-timesyncd keep it; after a step start the engine anew.",
    ),
    "KILLED": Code(
        CRITICAL, "Killed: no order leaves, also after a restart, until `kite-hft resume`; read the reason."
    ),
    "GUARD_TRIPPED": Code(
        CRITICAL, "Losses have stopped openings: read which guard, then `kite-hft resume` when you agree."
    ),
    "STOP_UNFILLED": Code(
        CRITICAL, "A stop was reached and does not fill: it is priced nearer to the circuit; watch the fill."
    ),
    "EXIT_AT_CIRCUIT": Code(
        CRITICAL, "Nobody trades beyond the circuit limit: the exit waits there; only the market can free it."
    ),
    "EXIT_REFUSED": Code(
        CRITICAL,
        "A closing order was refused, so a position is unprotected: place a stop in the broker's app.",
    ),
    "EXIT_WAITS": Code(
        CRITICAL,
        "No connection to the broker is free for an exit or a cancel: it leaves with the first that is; see "
        "the position in the broker's app.",
    ),
    "STOP_GAVE_WAY": Code(
        CRITICAL,
        "An order by hand closes what a stop covered, so the stop gave way: cancel it to get the stop back.",
    ),
    "ODD_LOT": Code(
        CRITICAL,
        "A part of a position is less than a lot, which no order can name: ask the broker's dealing desk.",
    ),
    "GROUP_BROKEN": _once(
        CRITICAL,
        "Only a part of a group was traded: read what became of its legs, compare positions by hand.",
    ),
    "TRIGGER_FAILED": _once(
        CRITICAL, "A trigger at the broker came to nothing: what it was to open or close was not."
    ),
    "TRIGGER_UNKNOWN": Code(
        WARNING,
        "The fate of a trigger is unknown: the broker's list is read; compare it in the broker's app.",
    ),
    "EXIT_UNSURE": _once(
        WARNING, "An exit was sent without a price or limits to judge it by: watch its fill at the broker."
    ),
    "STRATEGY_HELD": Code(
        CRITICAL,
        "A strategy opens nothing more: read the reason, mend it, then `kite-hft resume --strategy NAME`.",
    ),
    "DAILY_LOSS": Code(
        CRITICAL, "The loss limit of the day is reached: nothing opens until `kite-hft resume`."
    ),
    "SUPERVISOR_GONE": Code(
        CRITICAL,
        "The engine lost its supervisor: entries are cancelled, ORDERS ends; start the engine again.",
    ),
    "DISK_LOW": Code(
        WARNING, "Little room is left on the disk: without a journal nothing is opened; make room."
    ),
    "HALTED": Code(CRITICAL, "Nothing is opened any more: read the reason, mend it, then `kite-hft resume`."),
    "STRATEGY_HUNG": Code(WARNING, "A strategy takes no events and opens nothing more."),
    "STRATEGY_HALTED": _once(WARNING, "A strategy raised an error and is out of the run: see the log."),
    "PROCESS_RESTARTED": _once(WARNING, "A process died and was started again: see the log for its reason."),
    "PROCESS_HUNG": _once(WARNING, "A process gave no sign of life and was killed and started again."),
    "CRASH_LOOP": Code(
        CRITICAL,
        "A process stays down: HALTED (not for a recorder); read why, and its .crash file, then start anew.",
    ),
    "JOURNAL_FAILED": Code(CRITICAL, "The order journal cannot be written: HALTED; make room on the disk."),
    "FILE_FAILED": Code(WARNING, "A file of the run folder is not written any more: make room on the disk."),
    "UPDATE_UNREADABLE": _once(
        WARNING, "An order update could not be read: the order book was read instead."
    ),
    "RECORDER_GAP": _once(INFO, "The recorder missed market data: the gap is counted in its file."),
    "SINK_FAILED": Code(WARNING, "A way of telling people failed: alerts may not reach anybody by it."),
    "TEST": _once(INFO, "A test by `kite-hft alerts --test`: nothing is to be done."),
}
"""Every alert of the engine."""


class UnknownCode(KeyError):
    """An alert with a code that CODES does not have."""


def lasts(code: str) -> bool:
    """Whether a condition holds until it is cleared; an unknown one does."""
    return code not in CODES or CODES[code].lasting


def advice_of(code: str) -> str:
    """What to do; "" for a code of another version."""
    return CODES[code].advice if code in CODES else ""


def alert(code: str, text: str, key: str = "", severity: int | None = None) -> Alert:
    """An alert with its code's severity, unless told.

    Raises:
        UnknownCode: no such code.
    """
    if code not in CODES:
        raise UnknownCode(code)
    return Alert(code, key, text, int(severity or CODES[code].severity))


def alert_of(fields: Mapping[str, Any]) -> Alert:
    """The alert of a message between processes; an unknown code is kept, as a warning at least.

    Raises:
        KeyError: no code.
    """
    code = str(fields["code"])
    default = CODES[code].severity if code in CODES else WARNING
    severity, size = int(fields.get("severity") or default), int(fields.get("size") or 0)
    return Alert(code, str(fields.get("key", "")), str(fields.get("text", "")), severity, size=size)


class Standing(standing.Standing):
    """standing.Standing by the rows of CODES."""

    def __init__(self, remind_ns: int) -> None:
        super().__init__(remind_ns, lasts=lasts)
