"""Layer 5, supervisor and watchdog, cold: what every way of telling people is.

A row is one line of alerts.jsonl as a mapping. `put` takes it and never waits; `poll`, called often,
says what became of the rows. Each sink keeps a queue of its own, at most WAITING_MAX rows (waiting.py):
no sink waits for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

WAITING_MAX: Final = 256
ATTEMPTS: Final = 3
"""Of a row by HTTP, at once one after the other."""
KEPT_S: Final = 300.0
"""So long a warning or a critical row is tried that fails in a way that may pass."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row at one sink. failure "": it was delivered."""

    sink: str
    row: Row
    failure: str
    took_s: float


@dataclass(slots=True)
class Tally:
    """Rows of one sink so far."""

    delivered: int = 0
    failed: int = 0
    dropped: int = 0

    def fields(self) -> dict[str, int]:
        return asdict(self)


class Sink(Protocol):
    """One way of telling people. name: as in the configuration and in SINK_FAILED."""

    name: str
    tally: Tally

    def put(self, row: Row) -> None:
        """Take a row to deliver."""
        ...

    def seen(self, number: int) -> None:
        """A person has seen this alert: nobody is to be reminded of it by what still waits here."""
        ...

    def poll(self) -> list[Outcome]:
        """Go on with what is under way; what has ended since."""
        ...

    def busy(self) -> bool:
        """Whether rows wait or are under way."""
        ...

    def close(self) -> None:
        """Give up what is under way."""
        ...


def headline(row: Row) -> str:
    """`CRITICAL FEED_DEAD feed-0: text`, for people."""
    event = {"reminder": "still ", "cleared": "over: "}.get(str(row["event"]), "")
    key = f" {row['key']}" if row["key"] else ""
    return f"{event}{row['severity']} {row['code']}{key}: {row['text']}"
