"""Layer 5, supervisor and watchdog, cold: alerts as entries of the system's journal.

`journalctl -t kite-hft KITE_HFT_SEVERITY=CRITICAL` finds them. An entry pages nobody by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.sinks.sink import Outcome, Row, Tally, headline
from kite_hft.net.journald import send_entry
from kite_hft.units import NS_PER_S

PRIORITY: Final = {"INFO": 6, "WARNING": 4, "CRITICAL": 2}
"""Severity -> syslog priority."""


class JournaldSink:
    """Delivers at once: a datagram to this machine's journal."""

    name = "journald"

    def __init__(self, path: Path, clock: Clock) -> None:
        self.tally = Tally()
        self._path, self._clock = path, clock
        self._ended: list[Outcome] = []

    def put(self, row: Row) -> None:
        since_ns, failure = self._clock.mono_ns(), ""
        try:
            send_entry(self._path, fields_of(row))
        except OSError as error:
            failure = f"the journal takes no entry: {error.strerror or error}"
        self.tally.failed += bool(failure)
        self.tally.delivered += not failure
        took_s = (self._clock.mono_ns() - since_ns) / NS_PER_S
        self._ended.append(Outcome(self.name, row, failure, took_s))

    def seen(self, number: int) -> None:
        pass  # nothing waits

    def poll(self) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def busy(self) -> bool:
        return False

    def close(self) -> None:
        pass


def fields_of(row: Row) -> dict[str, str]:
    """The fields of an entry."""
    named = {
        f"KITE_HFT_{name.upper()}": str(row[name])
        for name in ("code", "key", "severity", "event", "number", "account", "broker", "run")
        if row.get(name) not in (None, "")
    }
    return {
        "MESSAGE": headline(row),
        "PRIORITY": str(PRIORITY.get(str(row["severity"]), 4)),
        "SYSLOG_IDENTIFIER": "kite-hft",
        **named,
    }
