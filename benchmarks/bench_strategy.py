"""The loop around a strategy: two moving averages and a comparison per tick, 9,000 instruments.

    python benchmarks/bench_strategy.py [--instruments 9000] [--rounds 7] [--quick]

Million ticks per CPU second of the measuring thread (CLOCK_THREAD_CPUTIME_ID); nothing pinned,
everything compiled before the clock runs. Each figure is the median of five passes after others that
bring the core up to speed; the first tenth of a pass is not timed. The strategy
(ema_strategies.py) keeps two averages and a count an instrument and sends no orders.

compact rows: form B over recorded rows of 64 bytes, in place and without kernels, as over a mapped
recording, 10,000 rows a call. "copied" copies 1,000 rows at a time into the batch first, as a
worker does. "bare numba" is the same arithmetic written by hand over columns of slots and
prices: no subscriptions, no intents, no positions. hftbacktest has trades of one instrument (its
fastest task), NautilusTrader finished trade objects of one instrument.

default kernels: 1,000 TICKs are copied into the batch, both Kalman filters and all bars run over them, then
the strategy: what a worker does between ring and queue. Form A is plain Python called per tick.

Ours, bare numba and the packages count as many ticks whose fast average is above, or nothing is
written.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ema_strategies as ema
import kit
import lasting
import numpy as np
import tick_data
from bench_bars import columns
from numba import njit

from kite_hft._kernels import Kernels
from kite_hft.layout import TICK
from kite_hft.memory.recording import ROW
from kite_hft.strategies.hosts import Batch, CompiledHost, PythonHost, new_batch

BATCH, CALL = 1000, 10_000


@njit
def bare(slots, prices, fast, slow, seen, above):  # type: ignore[no-untyped-def]
    """The strategy by hand."""
    for i in range(len(slots)):
        slot = slots[i]
        price = prices[i] * 0.01
        if seen[slot] == 0:
            fast[slot] = price
            slow[slot] = price
        seen[slot] += 1
        fast[slot] += ema.FAST * (price - fast[slot])
        slow[slot] += ema.SLOW * (price - slow[slot])
        if fast[slot] > slow[slot]:
            above[slot] += 1


def by_hand(slots: np.ndarray, prices: np.ndarray, n: int) -> tuple[float, int]:
    """Million ticks a second, and how often the fast average was above."""
    fast, slow, seen, above = np.zeros(n), np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64)
    warm = len(slots) * tick_data.WARM // 100
    bare(slots[:warm], prices[:warm], fast, slow, seen, above)
    began = time.thread_time()
    bare(slots[warm:], prices[warm:], fast, slow, seen, above)
    return (len(slots) - warm) / (time.thread_time() - began) / 1e6, int(above.sum())


def batch_of(n: int, records: np.dtype) -> Batch:
    """A worker's arrays."""
    return new_batch(BATCH, np.arange(n, dtype=np.uint32), np.full(n, 100.0), records)


def compiled_host(batch: Batch, cache: str) -> CompiledHost:
    """Form B on the batch; there is no room for orders, and none are made."""
    host = CompiledHost(ema.Compiled(fast=ema.FAST, slow=ema.SLOW), 0, batch, cache_dir=Path(cache))
    host.outbox.begin(0)
    return host


def copy_into(batch: Batch) -> Callable[[np.ndarray], int]:
    """Copies ticks to the front of the batch, as a drain does; returns how many."""
    front = batch.ticks.view(np.uint8)

    def copy(part: np.ndarray) -> int:
        front[: part.nbytes] = part.view(np.uint8)
        return len(part)

    return copy


def compact_row(ticks: np.ndarray, n: int, rounds: int, cache: str, most_slow: int) -> kit.Row:
    """Form B on compact rows, without kernels."""
    rows = tick_data.compact(ticks)
    slots, prices = ticks["slot"].copy(), ticks["last_px"].copy()
    batch = batch_of(n, ROW)
    batch.rows["tick_no"] = 1
    host, copy = compiled_host(batch, cache), copy_into(batch)
    expected = by_hand(slots, prices, n)[1]

    def timed(run: Callable[[np.ndarray], object], call: int) -> float:
        host.new_session()
        found = tick_data.rate(rows, call, run)
        if int(host.states["above"].sum()) != expected:
            raise SystemExit(f"bench: {host.states['above'].sum()} above, by hand {expected}")
        return found

    row = kit.Row(
        f"strategy loop, form B on compact rows, {n:,} instruments", "M ticks/s", "more",
        [kit.Target(None, at_least=30.0), kit.Target("hftbacktest", at_least=7.0)],
        notes={"bare numba": "the same arithmetic over columns, nothing around it"},
    )  # fmt: skip
    contenders: dict[str, Callable[[], float]] = {
        kit.OURS: tick_data.settled(lambda: timed(host.run_without_kernels, CALL)),
        "copied": tick_data.settled(lambda: timed(lambda part: host.run(copy(part)), BATCH)),
        "bare numba": tick_data.settled(lambda: by_hand(slots, prices, n)[0]),
    }
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        columns(ticks, folder)
        traded = np.load(Path(folder, "traded.npy")) > 0
        for name, env, script, words, seen in (
            ("hftbacktest", "hftbacktest", "strategy_hftbacktest.py", (folder, len(ticks)), prices),
            ("NautilusTrader", "nautilus", "strategy_nautilus.py", (folder, 1, most_slow), prices[traded]),
        ):
            ask = stack.enter_context(lasting.rival(env, script, *words))
            if ask is None:
                row.notes[name] = "cannot be installed"
                continue
            agree(name, ask(), seen)
            row.notes[name] = lasting.version(ask)
            contenders[name] = lasting.figure(ask)
        kit.measure(row, contenders, rounds)
    return row


def agree(name: str, answer: dict, prices: np.ndarray) -> None:
    """A package's count over one instrument beside ours over as many prices.

    hftbacktest takes in one event before the loop begins, so that the counts may differ by a little.

    Raises SystemExit: it computes something else.
    """
    count = answer["ticks"]
    expected = by_hand(np.zeros(count, np.uint32), prices[:count], 1)[1]
    if count < 1000 or abs(answer["above"] - expected) > 0.001 * count:
        raise SystemExit(f"bench: {name} counts {answer['above']} of {count}, by hand {expected}")


def kernels_row(ticks: np.ndarray, n: int, rounds: int, cache: str) -> kit.Row:
    """Both forms behind the default kernels."""

    def timed(form: str) -> float:
        batch, kernels = batch_of(n, TICK), Kernels(n)
        copy = copy_into(batch)
        host = compiled_host(batch, cache) if form == "B" else PythonHost(ema.Plain(n), 0, batch)

        def run(part: np.ndarray) -> None:
            count = copy(part)
            kernels.run(batch.ticks, count, batch.rows, batch.bars)
            host.run(count)

        return tick_data.rate(ticks if form == "B" else ticks[: len(ticks) // 4], BATCH, run)

    row = kit.Row(
        f"strategy loop behind the default kernels, {n:,} instruments", "M ticks/s", "more",
        [kit.Target(None, at_least=10.0), kit.Target(None, at_least=0.5, ours="form A")],
        notes={kit.OURS: "form B", "form A": "plain Python"},
    )  # fmt: skip
    contenders = {kit.OURS: tick_data.settled(lambda: timed("B")), "form A": lambda: timed("A")}
    return kit.measure(row, contenders, rounds)


def main() -> None:
    parser = kit.options(__doc__)
    parser.add_argument("--instruments", type=int, default=9000)
    args = parser.parse_args()
    n, rounds = args.instruments, 2 if args.quick else args.rounds
    total, most_slow = (100_000, 20_000) if args.quick else (600_000, 50_000)
    ticks = tick_data.walk(n, total, 2.0)
    with tempfile.TemporaryDirectory() as cache:
        rows = [compact_row(ticks, n, rounds, cache, most_slow), kernels_row(ticks, n, rounds, cache)]
    kit.write("strategy", rows, args.json)


if __name__ == "__main__":
    main()
