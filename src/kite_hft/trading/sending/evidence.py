"""Layer 2, orders process, hot: one record for each call that left for the broker.

Rows are handed to Ports.on_call, which only keeps them; a file of the run gets them between steps
(engine/orders/evidence.py). A process that starts takes the day's rows back (Ports.calls_left), so that
calls of an earlier process, and of earlier runs, still stand in the broker's windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
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
    order id of the others. boot: whose CLOCK_MONOTONIC it is, of rows that were read back; "": unknown.
    """

    mono_ns: int
    real_ns: int
    call: str
    part: str
    name: str
    boot: str = ""


class Journalled(NamedTuple):
    """An order call as the journal has it; `name` as in Left. `no`: the order's number. unsent: it was proven
    later that it never left the machine."""

    real_ns: int
    urgent: bool
    name: str
    no: int = 0
    unsent: bool = False


def merged(
    rows: Iterable[Left], journalled: Iterable[Journalled], ahead_ns: int, now_ns: int, boot: str = ""
) -> tuple[list[Left], list[Left]]:
    """All calls of the day, oldest first, and those of them that `rows` lack.

    A record is written before its call leaves, and a crash may take its row: the journal has more calls
    of a name than the rows have then. Names are what the two are laid beside one another by, and never
    times: the wall clock may have been stepped in the middle of the run. One that never left has a row where
    its bytes had been handed over first: it takes one, so that the row proves no other call, and wants none.

    ahead_ns: CLOCK_REALTIME minus CLOCK_MONOTONIC; times are brought to this process's monotonic clock
    with it. boot: whose clock that is. A row of the same boot keeps its own monotonic time, one of an
    earlier boot left before this one began. For a record the later of two times holds: by the clocks as
    they are now, and as they were at the last row before it. No call left after now.
    """
    known: dict[str, deque[Left]] = {}
    every: list[Left] = []
    for row in rows:
        row = row._replace(mono_ns=_brought_ns(row, ahead_ns, now_ns, boot))
        every.append(row)
        if row.part != READ:
            known.setdefault(row.name, deque()).append(row)
    lacking = []
    least_ns, then_ns = -(2**62), ahead_ns
    for call in journalled:
        if beside := known.get(call.name):
            row = beside.popleft()
            least_ns, then_ns = row.mono_ns, row.real_ns - row.mono_ns
            continue
        if call.unsent:
            continue
        at_ns = min(max(call.real_ns - ahead_ns, call.real_ns - then_ns, least_ns), now_ns)
        part = URGENT if call.urgent else ENTRY
        lacking.append(Left(at_ns, call.real_ns, RECOVERED, part, call.name, boot))
    return sorted([*every, *lacking], key=lambda row: row.mono_ns), lacking


def _brought_ns(row: Left, ahead_ns: int, now_ns: int, boot: str) -> int:
    """When a call left, by this process's monotonic clock."""
    at_ns = min(row.real_ns - ahead_ns, now_ns)
    if not (boot and row.boot):  # a time that is not after now may be of this boot: the later one holds
        return max(at_ns, row.mono_ns) if row.mono_ns <= now_ns else at_ns
    return min(row.mono_ns, now_ns) if row.boot == boot else min(at_ns, 0)
