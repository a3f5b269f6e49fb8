"""The gate: how long an order takes to be judged, from the intent to the verdict.

    python benchmarks/bench_risk.py [--orders 20000] [--rounds 5] [--quick]

CPU time (CLOCK_THREAD_CPUTIME_ID) of one thread from an INTENT to the verdict: what the intent is judged
by is gathered (price, book, states, rules, day's tally, guards), every check is asked, and an order
that passes is counted. All checks are on: market rules, calendar phases, circuit limits, holdings,
traffic, cooldown, drawdown and stop guard; ten positions are open, four orders rest. Intents go over
twenty instruments, both sides, limit and market in turn; what reading the clock costs is taken off. No
memory grows with the number of orders but the tally's, which is bounded by its period.

plain      what most orders are: an opening that every check lets pass
exit       an order that reduces a position
refused    an opening that one of the last checks refuses
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kit
import numpy as np
from kit import OURS, Row, Target

from kite_hft import _table
from kite_hft.layout import INTENT, TICK, OrderType, SegmentKind, Side
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.trading.intents import intents_of
from kite_hft.verify.risk.bench import MONO_NS, Bench, use_table, wide_table

POSITIONS = 10
SLOTS = 20
RESTING = 4
GIVEN: dict[str, Any] = {
    "held": tuple((2, slot, 3, 100 if slot % 2 else -100) for slot in range(POSITIONS)),
    "live": tuple({"slot": slot, "strategy": 2, "px": 9_500} for slot in range(SLOTS, SLOTS + RESTING)),
    "band": {slot: (9_000, 11_000, 5.0) for slot in range(SLOTS)},
    "holding": {slot: {"settled": 100, "authorised": 100} for slot in range(SLOTS)},
    "traded": tuple(range(SLOTS)),
    "traffic": ({"messages": 90, "trades": 80}, {"messages": 90, "trades": 80}),
    "lists": ("fo_ban", "mis_blocked"),
    "funds": 10**9,
    "closed": (({"guard": "closed", "strategy": 9, "slot": 1, "paise": -100}, 5.0),),
}
LIMITS = {
    "max_position_size": 1e7, "max_exposure": 1e8, "max_positions": 50, "cooldown_s": 60.0,
    "stop_losses_max": 3,
    "max_drawdown": 1e6, "period_orders": 10**9, "period_quantity": 10**12, "period_value": 1e15,
    "repeats_max": 10**9, "max_gross_notional": 1e18, "period_s": 1.0, "repeats_s": 1.0,
}  # fmt: skip


def wishes(n: int, **words: Any) -> list[Any]:
    """Intents as they come out of the queue."""
    rows: Any = np.zeros(n, INTENT)
    numbers = np.arange(n)
    rows["strategy_seq"], rows["strategy"], rows["kind"], rows["product"] = numbers + 1, 1, 1, 3
    rows["slot"], rows["side"] = numbers % SLOTS, np.where(numbers % 3, Side.BUY, Side.SELL)
    at_market = numbers % 2 == 0
    rows["order_type"] = np.where(at_market, OrderType.MARKET, OrderType.LIMIT)
    rows["validity"], rows["qty"], rows["px"] = 1, 10, np.where(at_market, 0, 10_000)
    for name, value in words.items():
        rows[name] = value
    return intents_of(rows.tobytes(), n)


@contextlib.contextmanager
def latest() -> Iterator[_table.TableReader]:
    """A table of latest ticks in shared memory, as ORDERS reads it."""
    with tempfile.TemporaryDirectory() as parent:
        folder = make_directory(Path(parent), "risk")
        now = {"now_mono_ns": MONO_NS, "now_real_ns": MONO_NS}
        path = create(folder, "latest", SegmentKind.LATEST_TABLE, SLOTS + RESTING, **now)
        with attach(path, SegmentKind.LATEST_TABLE, writable=True, claim=True) as held:
            ticks: Any = np.zeros(SLOTS + RESTING, TICK)
            ticks["slot"], ticks["last_px"], ticks["recv_ns"] = np.arange(SLOTS + RESTING), 10_000, MONO_NS
            _table.TableWriter(held.view).put(ticks)
            yield _table.TableReader(held.view)


def timed(
    n: int,
    table: _table.TableReader,
    limits: dict[str, Any],
    refused: bool,
    given: dict[str, Any],
    **words: Any,
) -> list[int]:
    """Nanoseconds of each judgement, ascending."""
    gate = Bench(**(GIVEN | given | {"latest": table}), limits=LIMITS | limits).stage.gate
    clock, judge, found = time.thread_time_ns, gate.judge, []
    empty = min(_between(clock) for _ in range(1000))
    for at, wish in enumerate(wishes(n, **words)):
        now_ns = MONO_NS + at * 50_000
        before = clock()
        verdict, _ = judge(wish, 0, now_ns)
        found.append(clock() - before - empty)
        if (verdict is not None) != refused:
            raise SystemExit(f"bench: {wish} came to {verdict}")
    return sorted(found)


def _between(clock: Callable[[], int]) -> int:
    before = clock()
    return clock() - before


def main() -> None:
    parser = kit.options(__doc__, rounds=5)
    parser.add_argument("--orders", type=int, default=20_000)
    words = parser.parse_args()
    n, rounds = (2_000, 1) if words.quick else (words.orders, words.rounds)
    use_table(wide_table(SLOTS + RESTING))
    noisy = {"traffic": ({"messages": 100, "trades": 1}, {})}
    kinds: dict[str, dict[str, Any]] = {
        "plain": {"limits": {}, "refused": False, "given": {}, "strategy": 1},
        "exit": {"limits": {}, "refused": False, "given": {}, "strategy": 2, "slot": 1, "side": Side.SELL},
        "refused": {"limits": {}, "refused": True, "given": noisy},
    }
    rows = []
    for name, asked in kinds.items():
        row = Row(f"gate, {name}: intent to verdict", "us", "less", [Target(None, at_most=20, ours="p99")])
        for number in range(-1, rounds):
            with latest() as table:
                times = timed(n, table, **asked)
            if number >= 0:
                for label, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
                    row.figures.setdefault(label, []).append(times[int(share * n)] / 1e3)
                row.figures.setdefault(OURS, []).append(sum(times) / n / 1e3)
        row.notes[OURS] = "mean"
        rows.append(row)
    kit.write("risk", rows, words.json)


if __name__ == "__main__":
    main()
