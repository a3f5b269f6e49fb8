"""Layer 5, orders process, cold: evidence.csv of a run, a row for each call that left for the broker.

Rows are only kept when a call leaves; the process's beat writes them, so that no call waits for a
disk. What a crash takes with it (less than one beat) the next process finds in the journal and writes
down as RECOVERED. Each row tells how full the broker's windows stood, counted here from the rows
alone. The day's files of one broker are also the memory of its windows: another run of the day, or
this one after a restart, begins with them.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.orders.files import Alarm, open_csv
from kite_hft.engine.orders.settings import limits_of
from kite_hft.memory.segment import boot_id
from kite_hft.plain import DATA_BYTES_MAX, plain_bytes
from kite_hft.sessions import ist_text
from kite_hft.settings import Settings
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.evidence import READ, Left, merged

EVIDENCE: Final = "evidence.csv"
COLUMNS: Final = ("time", "real_ns", "mono_ns", "call", "part", "name", "windows")
BEGIN: Final = "BEGIN"
Row = dict[str, object]


class Fill:
    """How many calls stand in one window."""

    def __init__(self, window: RateWindow, *, reads: bool) -> None:
        self._window, self._reads = window, reads
        self._times: deque[int] = deque()

    def add(self, row: Left) -> str:
        """The window's standing behind `row`; empty for a call that it does not count."""
        if row.part == READ and not self._reads:
            return ""
        span_ns = self._window.window_s * 1e9
        self._times.append(row.mono_ns)
        while self._times[0] <= row.mono_ns - span_ns:
            self._times.popleft()
        return f"{len(self._times)}/{self._window.calls} in {self._window.window_s:g} s"


class Evidence:
    """Keeps rows until `flush` hands them to `write`, by COLUMNS.

    earlier: rows of the day so far, on this process's monotonic clock (`merged`), oldest first.
    """

    def __init__(self, write: Callable[[Row], None], limits: Limits, earlier: Iterable[Left] = ()) -> None:
        self._write = write
        self._kept: list[Left] = []
        fills = [(w, True) for w in limits.all_windows] + [(w, False) for w in limits.order_windows]
        self._fills = [Fill(window, reads=reads) for window, reads in fills]
        for row in earlier:
            self._standing(row)
        self.add = self._kept.append

    def begin(self, broker: str, mono_ns: int, real_ns: int, boot: str = "") -> None:
        """A process begins: which broker its calls go to; whose monotonic clock it has stands in the last
        column."""
        self._write(_row(Left(mono_ns, real_ns, BEGIN, "", broker), boot))

    def flush(self) -> None:
        """Write what has come since."""
        for row in self._kept:
            self._write(_row(row, self._standing(row)))
        self._kept.clear()

    def _standing(self, row: Left) -> str:
        return "; ".join(text for text in (fill.add(row) for fill in self._fills) if text)


def _row(row: Left, windows: str) -> Row:
    return {
        "time": f"{ist_text(row.real_ns)}.{row.real_ns // 1000 % 10**6:06d}",
        "real_ns": row.real_ns,
        "mono_ns": row.mono_ns,
        "call": row.call,
        "part": row.part,
        "name": row.name,
        "windows": windows,
    }


def open_evidence(
    folder: Path, limits: Limits, broker: str, write: Callable[[Row], None], clock: Clock, boot: str = ""
) -> tuple[Evidence, list[Left]]:
    """The evidence of the run in `folder`, and what the day's runs have sent to `broker` before."""
    earlier = day_calls(folder, broker)
    mono_ns, real_ns = clock.mono_ns(), clock.real_ns()
    made = Evidence(write, limits, merged(earlier, (), real_ns - mono_ns, mono_ns, boot)[0])
    made.begin(broker, mono_ns, real_ns, boot)
    return made, earlier


def evidence_ports(
    folder: Path, settings: Settings, broker: str, alarm: Alarm, clock: Clock, held: contextlib.ExitStack
) -> dict[str, Any]:
    """The fields of Ports that are about evidence; the file ends with `held`."""
    limits, boot = limits_of(settings, settings.broker), boot_id().decode("ascii")
    write = open_csv(folder / EVIDENCE, COLUMNS, alarm, held)
    made, earlier = open_evidence(folder, limits, broker, write, clock, boot)
    return {"on_call": made.add, "flush": made.flush, "calls_left": earlier, "boot": boot}


def day_calls(folder: Path, broker: str) -> list[Left]:
    """The calls to `broker` of all runs of the day that the run in `folder` belongs to: run after run, in
    the order of their files. Times do not order them: the wall clock may have been set back.

    A row that a crash cut is left out; so is a file that cannot be read: it is the journal that counts.
    """
    found: list[Left] = []
    for path in sorted(folder.parent.glob(f"*/{EVIDENCE}")):
        try:
            data = plain_bytes(path, DATA_BYTES_MAX)
        except OSError:
            continue
        found += _of_broker(data[: data.rfind(b"\n") + 1].decode(errors="replace"), broker)
    return found


def _rows_of(text: str) -> Iterator[dict[str, str]]:
    """Up to what is no table any more."""
    with contextlib.suppress(csv.Error):
        yield from csv.DictReader(io.StringIO(text))


def _of_broker(text: str, broker: str) -> list[Left]:
    found, ours, boot = [], False, ""
    for row in _rows_of(text):
        try:
            left = Left(int(row["mono_ns"]), int(row["real_ns"]), row["call"], row["part"], row["name"])
        except (KeyError, ValueError, TypeError):
            continue
        if left.call == BEGIN:
            ours, boot = left.name == broker, str(row.get("windows") or "")
        elif ours:
            found.append(left._replace(boot=boot))
    return found
