"""OHLC bars of 9,000 instruments from TICK records, in tick order, batches of 1,000.

    python benchmarks/bench_bars.py [--instruments 9000] [--rate 2] [--rounds 7] [--quick]

Million ticks per CPU second of the measuring thread (CLOCK_THREAD_CPUTIME_ID); nothing pinned. Ticks
visit the instruments in random order; --rate is ticks per second of exchange time and instrument, which
decides how often a 1 s bar closes. Each figure is the median of five passes after others that bring
the core up to speed. Kernels start empty in every pass, whose first tenth is not timed.
The first tick of an instrument is a baseline and makes no bar. All bars of 1 s, 1, 5 and 15 minutes
come out.

bars: ours is `Kernels(filters=False).run`, one call from Python a batch, a KERNEL_ROW a tick and the
checksum included. The C twin (peers/c/bars.c) follows the same rules on the same TICK records,
batch by batch, without rows and checksum. polars gets columns that are made already and
four queries over the whole data, on one thread. NautilusTrader gets finished trade objects and
makes 1 s bars only.

filters and bars: both Kalman filters and all bars, which is what the engine runs.

Our bars and those of the C twin are the same bytes, and polars makes as many of each period, or
nothing is written.
"""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kit
import lasting
import numpy as np
import tick_data

from kite_hft import _kernels
from kite_hft.layout import BAR, KERNEL_ROW
from kite_hft.memory.recording import ROW

BATCH = 1000
STATE_BYTES, SUMS_BYTES = 64, 3 * 40  # of one instrument of peers/c/bars.c
PERIODS_S = (1, 60, 300, 900)


class CTwin:
    """The twin's memory, and one batch."""

    def __init__(self, instruments: int) -> None:
        library = ctypes.CDLL(str(kit.compiled("bars.c", shared=True)))
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self.call = library.bars_run
        self.call.argtypes = [pointer, size, pointer, pointer, pointer, pointer]
        self.call.restype = size
        self.state = tick_data.aligned((instruments, STATE_BYTES), np.uint8)
        self.sums = tick_data.aligned((instruments, SUMS_BYTES), np.uint8)
        self.late = np.zeros(1, np.uint64)

    def arguments(self) -> tuple[int, int, int]:
        return self.state.ctypes.data, self.sums.ctypes.data, self.late.ctypes.data

    def timed(self, ticks: np.ndarray, bars: np.ndarray) -> float:
        """Million ticks a second from a fresh start."""
        self.state[:], self.sums[:] = 0, 0
        state, sums, late = self.arguments()
        before, counted = tick_data.split(ticks, BATCH)
        to = bars.ctypes.data
        for part in before:
            self.call(part.ctypes.data, BATCH, state, sums, late, to)
        starts = [part.ctypes.data for part in counted]
        began = time.thread_time()
        for start in starts:
            self.call(start, BATCH, state, sums, late, to)
        return len(starts) * BATCH / (time.thread_time() - began) / 1e6


def bars_of(run: Callable[[np.ndarray, np.ndarray], int], ticks: np.ndarray) -> np.ndarray:
    """All bars that close over the ticks."""
    room, found = np.zeros(BATCH * _kernels.PERIODS, BAR), []
    for i in range(0, len(ticks), BATCH):
        closed = run(ticks[i : i + BATCH], room)
        found.append(room[:closed].copy())
    return np.concatenate(found)


def check(ticks: np.ndarray, n: int, twin: CTwin) -> list[int]:
    """How many bars of each period there are, unfinished ones included.

    Raises SystemExit: ours and those of the C twin differ.
    """
    kernels, rows = _kernels.Kernels(n, filters=False), np.zeros(BATCH, KERNEL_ROW)
    ours = bars_of(lambda part, to: kernels.run(part, len(part), rows, to), ticks)
    twin.state[:], twin.sums[:] = 0, 0
    his = bars_of(
        lambda part, to: twin.call(part.ctypes.data, len(part), *twin.arguments(), to.ctypes.data), ticks
    )
    if ours.tobytes() != his.tobytes() or not len(ours):
        raise SystemExit("bench: the bars of the C twin are not ours")
    rest = np.zeros(n * _kernels.PERIODS, BAR)
    rest = rest[: kernels.flush(int(ticks["exch_ns"][-1]), rest)]
    return [int(np.sum(ours["period_s"] == p) + np.sum(rest["period_s"] == p)) for p in PERIODS_S]


def columns(ticks: np.ndarray, folder: str) -> None:
    """What the packages get: traded is the growth of the day volume, 0 for an instrument's first tick."""
    order = np.argsort(ticks["slot"], kind="stable")
    traded = np.diff(ticks["volume"][order], prepend=0)
    first = np.diff(ticks["slot"][order].astype(np.int64), prepend=-1) != 0
    traded[first] = 0
    back = np.empty_like(traded)
    back[order] = traded
    arrays = {"slot": ticks["slot"], "time_ns": ticks["exch_ns"], "price": ticks["last_px"], "traded": back}
    for name, values in arrays.items():
        np.save(Path(folder, f"{name}.npy"), np.ascontiguousarray(values))


def bars_row(ticks: np.ndarray, n: int, rounds: int, most_slow: int) -> kit.Row:
    """Bars alone."""
    rows, bars = np.zeros(BATCH, KERNEL_ROW), np.zeros(BATCH * _kernels.PERIODS, BAR)
    twin = CTwin(n)
    expected = check(ticks, n, twin)

    def ours() -> float:
        kernels = _kernels.Kernels(n, filters=False)
        return tick_data.rate(ticks, BATCH, lambda part: kernels.run(part, len(part), rows, bars))

    row = kit.Row(
        f"OHLC bars, {n:,} instruments, TICK in batches of {BATCH:,}", "M ticks/s", "more",
        [kit.Target("C on TICK", at_least=0.9)],
    )  # fmt: skip
    contenders: dict[str, Callable[[], float]] = {
        kit.OURS: tick_data.settled(ours), "C on TICK": tick_data.settled(lambda: twin.timed(ticks, bars)),
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        columns(ticks, folder)
        for name, env, script, words in (
            ("polars", "kernels", "bars_polars.py", (folder,)),
            ("NautilusTrader", "nautilus", "bars_nautilus.py", (folder, n, most_slow)),
        ):
            ask = stack.enter_context(lasting.rival(env, script, *words))
            if ask is None:
                row.notes[name] = "cannot be installed"
                continue
            if name == "polars" and ask()["bars"] != expected:
                raise SystemExit(f"bench: polars makes {ask()['bars']} bars, ours are {expected}")
            row.notes[name] = lasting.version(ask)
            contenders[name] = lasting.figure(ask)
        kit.measure(row, contenders, rounds)
    return row


def all_row(ticks: np.ndarray, n: int, rounds: int) -> kit.Row:
    """What the engine runs, on TICK records and on compact rows."""
    rows, bars = np.zeros(BATCH, KERNEL_ROW), np.zeros(BATCH * _kernels.PERIODS, BAR)
    compact = tick_data.compact(ticks)

    def timed(records: np.ndarray) -> float:
        kernels = _kernels.Kernels(n)
        return tick_data.rate(records, BATCH, lambda part: kernels.run(part, len(part), rows, bars))

    row = kit.Row(
        f"both Kalman filters and bars, {n:,} instruments", "M ticks/s", "more",
        [kit.Target(None, at_least=25.0)], notes={"compact rows": f"{ROW.itemsize} bytes, as recorded"},
    )  # fmt: skip
    contenders = {
        kit.OURS: tick_data.settled(lambda: timed(ticks)),
        "compact rows": tick_data.settled(lambda: timed(compact)),
    }
    return kit.measure(row, contenders, rounds)


def main() -> None:
    parser = kit.options(__doc__)
    parser.add_argument("--instruments", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=2.0)
    args = parser.parse_args()
    n, rounds = args.instruments, 2 if args.quick else args.rounds
    total, most_slow = (100_000, 40_000) if args.quick else (600_000, 100_000)
    ticks = tick_data.walk(n, total, args.rate)
    rows = [bars_row(ticks, n, rounds, most_slow), all_row(ticks, n, rounds)]
    kit.write("bars", rows, args.json)


if __name__ == "__main__":
    main()
