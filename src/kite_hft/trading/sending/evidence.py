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
    order id of a change or a cancel, the record of a call beside orders (asides.py); "" of other reads. boot:
    whose CLOCK_MONOTONIC it is, of rows that were read back; "": unknown.
    """

    mono_ns: int
    real_ns: int
    call: str
    part: str
    name: str
    boot: str = ""


class Journalled(NamedTuple):
    """A call as the journal has it, written before it left; `name` as in Left. until_ns: when it had left,
    if it ever did, by the records behind it (CLOCK_REALTIME); 0: none tells. unsent: it was proven later that
    it never left the machine. beside: it is paid for as a read, and its row is one.
    """

    real_ns: int
    urgent: bool
    name: str
    until_ns: int = 0
    unsent: bool = False
    beside: bool = False


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
    earlier boot left before this one began. A call that has only a record counts as late as it may have left:
    the process may have stood still behind the record. For its time (`until_ns`) the later of two holds: by
    the clocks as they are now, and as they were at the last row before it. Where no record tells it is now:
    no call left after that.
    """
    known: dict[tuple[bool, str], deque[Left]] = {}
    every: list[Left] = []
    for row in rows:
        row = row._replace(mono_ns=_brought_ns(row, ahead_ns, now_ns, boot))
        every.append(row)
        if row.name:
            known.setdefault((row.part == READ, row.name), deque()).append(row)
    lacking = []
    least_ns, then_ns = -(2**62), ahead_ns
    for call in journalled:
        if rows_of_it := known.get((call.beside, call.name)):
            row = rows_of_it.popleft()
            least_ns, then_ns = row.mono_ns, row.real_ns - row.mono_ns
            continue
        if call.unsent:
            continue
        real_ns = max(call.real_ns, call.until_ns) if call.until_ns else now_ns + ahead_ns
        at_ns = min(max(real_ns - ahead_ns, real_ns - then_ns, least_ns), now_ns)
        part = READ if call.beside else URGENT if call.urgent else ENTRY
        lacking.append(Left(at_ns, real_ns, RECOVERED, part, call.name, boot))
    return sorted([*every, *lacking], key=lambda row: row.mono_ns), lacking


def _brought_ns(row: Left, ahead_ns: int, now_ns: int, boot: str) -> int:
    """When a call left, by this process's monotonic clock."""
    at_ns = min(row.real_ns - ahead_ns, now_ns)
    if not (boot and row.boot):  # a time that is not after now may be of this boot: the later one holds
        return max(at_ns, row.mono_ns) if row.mono_ns <= now_ns else at_ns
    return min(row.mono_ns, now_ns) if row.boot == boot else min(at_ns, 0)
