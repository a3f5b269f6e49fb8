"""Layer 5, supervisor and watchdog, cold: the rows that wait at one sink: what is critical leaves first.

The rows of one alert (its number) keep their order, so that "over" never arrives before what is over: what
is to be told before a critical row of the same alert leaves with it. Of too many the oldest INFO is dropped,
then the oldest WARNING, then the oldest at all. Who uses it from more than one thread keeps a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from kite_hft.engine.alerts.sinks.sink import WAITING_MAX, Row, Tally


@dataclass(slots=True, eq=False)
class Entry:
    """A row that waits. since_ns, not_before_ns: CLOCK_MONOTONIC; tries: attempts that failed; told: that it
    fails is known; unwanted: no other attempt is made."""

    row: Row
    since_ns: int
    not_before_ns: int = 0
    tries: int = 0
    told: bool = False
    unwanted: bool = False
    place: int = 0

    def reminds_of(self, number: int) -> bool:
        return bool(self.row["event"] == "reminder" and self.row["number"] == number)


@dataclass(slots=True)
class Waiting:
    """The queue of one sink. tally: counts what is dropped."""

    tally: Tally
    _entries: deque[Entry] = field(default_factory=deque)
    _places: int = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, row: Row, now_ns: int) -> None:
        """One more, the last."""
        self._places += 1
        self._entries.append(Entry(row, now_ns, place=self._places))
        self._bound()

    def take(self, now_ns: int, under_way: Collection[int] = ()) -> Entry | None:
        """Whose turn it is; None: nobody's. under_way: alerts (their numbers) of which a row is being
        delivered: their next one waits for that."""
        heads = (entry for entry in self._heads() if entry.row["number"] not in under_way)
        due = [entry for entry in heads if entry.not_before_ns <= now_ns]
        critical = {entry.row["number"] for entry in self._entries if entry.row["severity"] == "CRITICAL"}
        urgent = (entry for entry in due if entry.row["number"] in critical)
        found = next(urgent, due[0] if due else None)
        if found is not None:
            self._entries.remove(found)
        return found

    def back(self, entry: Entry) -> None:
        """What was taken is to be tried again: to where it stood."""
        later = (at for at, known in enumerate(self._entries) if known.place > entry.place)
        self._entries.insert(next(later, len(self._entries)), entry)
        self._bound()

    def seen(self, number: int) -> None:
        """A person has seen this alert: its reminders wait no more."""
        kept = [entry for entry in self._entries if not entry.reminds_of(number)]
        self._entries = deque(kept)

    def next_ns(self) -> int:
        """When it is somebody's turn; 0: now, or nothing waits."""
        return min((entry.not_before_ns for entry in self._heads()), default=0)

    def clear(self) -> int:
        """Give up all; returns how many have failed before."""
        failed = sum(entry.tries > 0 for entry in self._entries)
        self._entries.clear()
        return failed

    def _heads(self) -> Iterator[Entry]:
        """The first row of each alert."""
        seen = set()
        for entry in self._entries:
            if entry.row["number"] not in seen:
                seen.add(entry.row["number"])
                yield entry

    def _bound(self) -> None:
        if len(self._entries) <= WAITING_MAX:
            return
        self.tally.dropped += 1
        ranks = {"INFO": 0, "WARNING": 1}
        self._entries.remove(min(self._entries, key=lambda entry: ranks.get(entry.row["severity"], 2)))
