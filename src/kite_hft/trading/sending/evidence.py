"""Layer 2, orders process, hot: one record for each call that left for the broker.

Rows are handed to Ports.on_call, which only keeps them; a file of the run gets them between steps
(engine/evidence.py). A process that starts takes the day's rows back (Ports.calls_left), so that
calls of an earlier process, and of earlier runs, still stand in the broker's windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

URGENT: Final = "urgent"
ENTRY: Final = "entry"
READ: Final = "read"
RECOVERED: Final = "RECOVERED"
PLACE: Final = "PLACE"


class Left(NamedTuple):
    """A call that left. Times are read when its bytes had been handed over.

    call: PLACE, MODIFY, CANCEL, or the name of a read; RECOVERED: only the journal knows of it. part:
    which part of the windows paid for it: urgent, entry, read. name: our tag of a placement, the broker's
    order id of the others.
    """

    mono_ns: int
    real_ns: int
    call: str
    part: str
    name: str


def merged(
    rows: Sequence[Left], journalled: Iterable[tuple[int, bool]], ahead_ns: int, now_ns: int = 0
) -> tuple[list[Left], list[Left]]:
    """All calls of the day, oldest first, and those of them that `rows` lack.

    journalled: (CLOCK_REALTIME ns, urgent) of order calls as the journal has them. A record is written
    before its call leaves: one that is younger than the last row of an order call has none. ahead_ns:
    CLOCK_REALTIME minus CLOCK_MONOTONIC; times of rows are brought to this process's clock with it. The
    wall clock may have been stepped since: a row's own CLOCK_MONOTONIC holds when it is the later one,
    as long as it is not after `now_ns` (it was another boot's then).
    """
    last_ns = max((row.real_ns for row in rows if row.part != READ), default=-1)
    lacking = [
        Left(at - ahead_ns, at, RECOVERED, URGENT if urgent else ENTRY, "")
        for at, urgent in journalled
        if at > last_ns
    ]
    every = lacking.copy()
    for row in rows:
        at_ns = row.real_ns - ahead_ns
        every.append(row._replace(mono_ns=max(at_ns, row.mono_ns) if row.mono_ns <= now_ns else at_ns))
    return sorted(every, key=lambda row: row.mono_ns), lacking
