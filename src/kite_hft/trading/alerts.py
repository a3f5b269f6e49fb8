"""Layer 2, every process, cold: what a person is told: codes, default severities, what to do.

An alert is {code, key, text, severity}: `code` is a row of CODES, `key` tells two conditions of one
code apart (a connection, an order, an instrument), `text` has the numbers. Whoever finds a
condition says so as often as it likes: `Standing` tells it once, again when it grows worse, and as a
reminder while it lasts. Pure: times are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kite_hft.layout import Severity
from kite_hft.units import NS_PER_S

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of alert. `lasting`: a condition that holds until it is cleared, and is reminded of."""

    severity: Severity
    advice: str  # what to do, one sentence
    lasting: bool = True


def _once(severity: Severity, advice: str) -> Code:
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
    # The broker
    "TOKEN_DEAD": Code(
        CRITICAL,
        "Nothing can be sent, not even an exit: log in, then `kite-hft token`; or use the broker's app.",
    ),
    "BROKER_UNREACHABLE": Code(WARNING, "The order books cannot be read: check network and broker status."),
    "RATE_LIMITED": _once(
        WARNING, "The broker answered 429: calls wait out the cool-down; look for another program."
    ),
    "EGRESS_REFUSED": Code(
        CRITICAL, "The broker refuses orders from this address: check the registered static IP."
    ),
    # Orders
    "REJECT_STORM": Code(
        CRITICAL, "Orders are rejected one after another: REDUCING; find the cause, then restart."
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
    "ORDER_ADOPTED": _once(INFO, "A working order of an earlier run was taken over as external."),
    "RUN_CONTINUED": _once(
        INFO, "An earlier run of the day did not end: its orders and positions were taken over."
    ),
    "RUN_NOT_CONTINUED": _once(
        WARNING, "An earlier run of the day has another configuration: what it left is external to this one."
    ),
    "NOT_FLAT": Code(CRITICAL, "Positions could not be closed: close them at the broker."),
    # The engine
    "HALTED": Code(CRITICAL, "Nothing is opened any more: read the reason, then stop and start the engine."),
    "STRATEGY_HUNG": Code(WARNING, "A strategy takes no events and opens nothing more."),
    "STRATEGY_HALTED": _once(WARNING, "A strategy raised an error and is out of the run: see the log."),
    "PROCESS_RESTARTED": _once(WARNING, "A process died and was started again: see the log for its reason."),
    "PROCESS_HUNG": _once(WARNING, "A process gave no sign of life and was killed and started again."),
    "CRASH_LOOP": Code(
        CRITICAL,
        "A process stays down: HALTED; read why, and its .crash file, then start the engine anew.",
    ),
    "JOURNAL_FAILED": Code(CRITICAL, "The order journal cannot be written: HALTED; make room on the disk."),
    "FILE_FAILED": Code(WARNING, "A file of the run folder is not written any more: make room on the disk."),
    "UPDATE_UNREADABLE": _once(
        WARNING, "An order update could not be read: the order book was read instead."
    ),
    "RECORDER_GAP": _once(INFO, "The recorder missed market data: the gap is counted in its file."),
    "HOOK_FAILED": Code(WARNING, "The alert command failed: alerts may not reach anybody."),
}
"""Every alert of the engine."""


class UnknownCode(KeyError):
    """An alert with a code that CODES does not have."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `severity` is a Severity's value; `again`: how often it was told before."""

    code: str
    key: str
    text: str
    severity: int
    again: int = 0

    def fields(self) -> dict[str, Any]:
        """As it travels between processes and stands in files: code, key, text, severity.

        With `cleared: true` added such a message says that the condition is over.
        """
        return {"code": self.code, "key": self.key, "text": self.text, "severity": self.severity}

    @property
    def advice(self) -> str:
        return CODES[self.code].advice if self.code in CODES else ""


def alert(code: str, text: str, key: str = "", severity: Severity | None = None) -> Alert:
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
    severity = int(fields.get("severity") or default)
    return Alert(code, str(fields.get("key", "")), str(fields.get("text", "")), severity)


@dataclass(slots=True)
class _Told:
    alert: Alert
    told_ns: int
    times: int = 1


@dataclass(slots=True)
class Standing:
    """Which conditions stand: tells each once, when it grows worse, and again every `remind_ns`.

    Conditions that do not last are told whenever they are raised, but the same words no more than
    once in `quiet_ns`.
    """

    remind_ns: int
    quiet_ns: int = NS_PER_S
    _told: dict[tuple[str, str], _Told] = field(default_factory=dict)
    _once: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def raise_(self, raised: Alert, now_ns: int) -> Alert | None:
        """The alert to tell now, if it is to be told."""
        code = CODES.get(raised.code)
        if code is not None and not code.lasting:
            return self._tell_once(raised, now_ns)
        name = (raised.code, raised.key)
        told = self._told.get(name)
        if told is None:
            self._told[name] = _Told(raised, now_ns)
            return raised
        worse = raised.severity > told.alert.severity
        told.alert = raised if raised.severity >= told.alert.severity else told.alert
        return self._again(told, now_ns) if worse else None

    def _tell_once(self, raised: Alert, now_ns: int) -> Alert | None:
        self._once = {name: at for name, at in self._once.items() if now_ns - at < self.quiet_ns}
        name = (raised.code, raised.key, raised.text)
        if name in self._once:
            return None
        self._once[name] = now_ns
        return raised

    def clear(self, code: str, key: str = "") -> Alert | None:
        """The condition is over; the alert that stood, None when none did."""
        told = self._told.pop((code, key), None)
        return told.alert if told else None

    def due(self, now_ns: int) -> list[Alert]:
        """Reminders of what has lasted for `remind_ns` since it was last told."""
        return [
            self._again(told, now_ns)
            for told in self._told.values()
            if now_ns - told.told_ns >= self.remind_ns
        ]

    def next_ns(self) -> int | None:
        """When `due` will next have something; None: nothing stands."""
        return min((t.told_ns + self.remind_ns for t in self._told.values()), default=None)

    def standing(self) -> list[Alert]:
        """What stands now, worst first."""
        return sorted((t.alert for t in self._told.values()), key=lambda a: (-a.severity, a.code, a.key))

    def _again(self, told: _Told, now_ns: int) -> Alert:
        again = replace(told.alert, again=told.times)
        told.told_ns, told.times = now_ns, told.times + 1
        return again
