"""Layer 6, by hand, cold: `kite-hft top`: a running engine, live. Read-only; q or Ctrl-C ends it."""

from __future__ import annotations

import contextlib
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import psutil
import typer
from rich.live import Live

from kite_hft.app import tables
from kite_hft.app.look.top_screen import Frame, screen
from kite_hft.app.picture import (
    AccountOption,
    BrokerOption,
    JsonOption,
    StateOption,
    print_json,
    running_note,
    told,
)
from kite_hft.engine.alerts.files import open_alerts, read_alerts
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.report import shared_fairly
from kite_hft.engine.runs.runs import RunNote
from kite_hft.engine.runs.sample import Sample, take_sample, ticks_per_second
from kite_hft.trading.instruments import InstrumentTable, read_csv
from kite_hft.units import NS_PER_S

REFRESH_S: Final = 0.25
RATE_NS: Final = NS_PER_S  # rates are over about this long
MEMORY_EVERY_NS: Final = 5 * NS_PER_S  # PSS walks the page tables: not at every look
ALERTS_EVERY_NS: Final = NS_PER_S
ROWS: Final = 8


@dataclass(slots=True)
class Usage:
    """CPU and memory of the processes, by name."""

    processes: dict[int, psutil.Process] = field(default_factory=dict)
    times: dict[int, deque[tuple[int, float]]] = field(default_factory=dict)
    pss: dict[int, int | None] = field(default_factory=dict)
    memory_ns: int = 0

    def of(self, rows: list[dict[str, Any]], now_ns: int) -> list[dict[str, Any]]:
        """The rows with cpu (percent of one core; None at the first look), rss and pss (bytes)."""
        memory_due = now_ns - self.memory_ns >= MEMORY_EVERY_NS
        found = [{**row, **self._one(row["pid"], now_ns, memory_due)} for row in rows]
        if memory_due:
            self.memory_ns = now_ns
        return found

    def _one(self, pid: int, now_ns: int, memory_due: bool) -> dict[str, float | int | None]:
        nothing: dict[str, float | int | None] = {"cpu": None, "rss": None, "pss": None}
        if not pid:
            return nothing
        try:
            process = self.processes.setdefault(pid, psutil.Process(pid))
            cpu = process.cpu_times()
            rss = process.memory_info().rss
            if memory_due or pid not in self.pss:
                self.pss[pid] = shared_fairly(process)
        except psutil.Error:
            self.processes.pop(pid, None)
            return nothing
        history = self.times.setdefault(pid, deque())
        history.append((now_ns, cpu.user + cpu.system))
        while len(history) > 2 and now_ns - history[1][0] >= RATE_NS:
            history.popleft()
        (then_ns, before), (at_ns, after) = history[0], history[-1]
        share = 100.0 * (after - before) / ((at_ns - then_ns) / 1e9) if at_ns > then_ns else None
        return {"cpu": share, "rss": rss, "pss": self.pss[pid]}


@dataclass(slots=True)
class Watcher:
    """Looks again and again, and knows what was a second ago."""

    note: RunNote
    look: Look
    instruments: InstrumentTable
    usage: Usage = field(default_factory=Usage)
    samples: deque[Sample] = field(default_factory=deque)
    ticks: deque[tuple[int, npt.NDArray[np.uint64]]] = field(default_factory=deque)
    alerts: list[Any] = field(default_factory=list)
    alerts_ns: int = -ALERTS_EVERY_NS

    def frame(self, rows: int) -> Frame:
        """All that one screen shows; `rows`: how many instruments of a kind."""
        now_ns = time.monotonic_ns()
        sample = take_sample(self.look.readings, now_ns)
        self.samples.append(sample)
        while len(self.samples) > 2 and now_ns - self.samples[1].at_ns >= RATE_NS:
            self.samples.popleft()
        if now_ns - self.alerts_ns >= ALERTS_EVERY_NS:
            self.alerts = open_alerts(read_alerts(Path(self.note.folder)))
            self.alerts_ns = now_ns
        busiest, stalest = self._instruments(now_ns, rows)
        return Frame(
            title=f"{self.note.title} ({self.note.mode}), run {self.note.run}",
            uptime_s=(time.time_ns() - self.note.started_real_ns) / 1e9,
            before=self.samples[0],
            now=sample,
            state=self.look.state(),
            processes=self.usage.of(self.look.processes(now_ns), now_ns),
            busiest=busiest,
            stalest=stalest,
            alerts=self.alerts,
        )

    def _instruments(self, now_ns: int, rows: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """(the most ticks in the last second, the oldest last tick), of what is subscribed."""
        n = len(self.instruments)
        ticks, last_ns = np.zeros(n, np.uint64), np.zeros(n, np.int64)
        subscribed = np.zeros(n, bool)
        for table in self.look.slot_stats().values():
            mine = np.flatnonzero(table["mode"][:n] > 0)
            ticks[mine], last_ns[mine] = table["ticks"][mine], table["last_recv_ns"][mine]
            subscribed[mine] = True
        self.ticks.append((now_ns, ticks))
        while len(self.ticks) > 2 and now_ns - self.ticks[1][0] >= RATE_NS:
            self.ticks.popleft()
        then_ns, before = self.ticks[0]
        elapsed_s = max((now_ns - then_ns) / 1e9, 1e-9)
        rate = np.where(subscribed, (ticks - np.minimum(before, ticks)).astype(np.float64), 0.0) / elapsed_s
        silent_ns = np.maximum(time.monotonic_ns() - last_ns, 0)
        age_ns = np.where(subscribed, np.where(last_ns > 0, silent_ns, np.iinfo(np.int64).max), -1)
        busy = np.argsort(-rate, kind="stable")[:rows]
        stale = np.argsort(-age_ns, kind="stable")[:rows]
        return (
            [{"instrument": self.instruments[s].key, "rate": float(rate[s])} for s in busy if rate[s] > 0],
            [
                {
                    "instrument": self.instruments[s].key,
                    "age_s": float(age_ns[s]) / 1e9 if last_ns[s] else None,
                }
                for s in stale
                if subscribed[s]
            ],
        )


@contextlib.contextmanager
def keys() -> Iterator[bool]:
    """The terminal gives single keys, not shown; False: there is no terminal to read from."""
    if not sys.stdin.isatty():
        yield False
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def quit_asked(readable: bool, wait_s: float) -> bool:
    """Wait, and whether q was pressed meanwhile."""
    if not readable:
        time.sleep(wait_s)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], wait_s)
    return bool(ready) and sys.stdin.read(1).lower() in ("q", "\x04")


def top(
    once: Annotated[bool, typer.Option("--once", help="One picture, then end (scripts).")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="One below the other, no colours.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = REFRESH_S,
    rows: Annotated[int, typer.Option(min=1, help="Instruments of a kind.")] = ROWS,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a running engine: rates, lag, latency by stage, processes, connections, instruments.

    It only reads shared memory: the engine does not notice. q or Ctrl-C ends it; so does the end of
    the engine. --json is one picture.

    Exit codes: 0 shown, 1 no engine is running.
    """
    with told("top"):
        note = running_note(state, account, broker)
        out = tables.console(plain=plain)
        look = Look.open(note)
        try:
            watcher = Watcher(note, look, read_csv(Path(note.folder) / "instruments.csv"))
            watcher.frame(rows)
            time.sleep(1.0 if once or as_json else min(every, REFRESH_S))
            if as_json:
                return print_json(record(watcher.frame(rows)))
            if once:
                out.print(screen(watcher.frame(rows), out.width, 0))
            elif plain or not out.is_terminal:
                while note.alive():
                    out.print(screen(watcher.frame(rows), out.width, 0))
                    time.sleep(every)
            elif watched(watcher, Live(console=out, screen=True, auto_refresh=False), every, rows):
                return
        except KeyboardInterrupt:
            return
        finally:
            look.close()
        if not note.alive():
            out.print(f"the engine on {note.title} has ended; kite-hft status shows what it left")


def record(frame: Frame) -> dict[str, Any]:
    """One picture for programs."""
    return {
        "engine": frame.title,
        "uptime_s": round(frame.uptime_s, 1),
        "ticks_per_s": round(ticks_per_second(frame.before, frame.now), 1),
        "state": dict(frame.state),
        "processes": [dict(row) for row in frame.processes],
        "busiest": list(frame.busiest),
        "stalest": list(frame.stalest),
        "alerts": [dict(row) for row in frame.alerts],
    }


def watched(watcher: Watcher, live: Live, every: float, rows: int) -> bool:
    """The live screen; True: a person ended it, False: the engine has ended."""
    with keys() as readable, live:
        while watcher.note.alive():
            console = live.console
            live.update(screen(watcher.frame(rows), console.width, console.height), refresh=True)
            if quit_asked(readable, every):
                return True
    return False
