"""Cold: the figures that were published for the design this engine follows, each beside ours.

Published for 1,000 instruments at 2 ticks a second each, and for "18,000 ticks/s". Where a figure was
given without saying what it counts, `means` says what ours counts. None: this run does not show it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kite_hft.layout import TICK
from load.look import STRANGERS
from load.measuring import Result
from load.profiles import Load

MB: Final = 1e6
DESIGN_CORES: Final = 4

Figure = tuple[float, str] | None
"""(ours, what it counts)."""


def throughput(load: Load, result: Result) -> Figure:
    return result.steady["ticks_per_s"], "ticks/s computed over the steady window, 0 lost"


def mean_ms(load: Load, result: Result) -> Figure:
    found = result.steady["latency_us"].get("send_to_computed", {})
    return (found["mean"] / 1e3, "ms, mean, intended send to computed") if found.get("n") else None


def p99_ms(load: Load, result: Result) -> Figure:
    found = result.steady["latency_us"].get("send_to_computed", {})
    return (found["p99"] / 1e3, "ms, p99, intended send to computed") if found.get("n") else None


def whole_memory(load: Load, result: Result) -> Figure:
    rows = [m for name, m in result.memory.items() if name not in STRANGERS]
    return sum(m["pss"] for m in rows) / MB, "MB, PSS of all processes, shared memory included"


def cpu_share(load: Load, result: Result) -> Figure:
    share = result.steady["cpu"]["engine"].get("of_a_core", 0.0) / DESIGN_CORES
    return share * 100, "% of four cores, all processes of the engine"


def ring(load: Load, result: Result) -> Figure:
    return TICK.itemsize, f"MB for 1 M ticks: full ticks of {TICK.itemsize} bytes (20 hold no full tick)"


def pools(load: Load, result: Result) -> Figure:
    grown = result.bare.get("connections_bytes")
    return (grown / MB, f"MB, {load.connection_count} bare connections after traffic") if grown else None


def storage(load: Load, result: Result) -> Figure:
    return 0.0, "MB mapped: a recording (off here) is written, not mapped; 64 bytes a tick"


def strategy_engine(load: Load, result: Result) -> Figure:
    grown = result.strategy_bytes
    return None if grown is None else (grown / MB, "MB, PSS of the engine with the strategy, less without")


ROWS: Final[tuple[tuple[str, str, float, Callable[[Load, Result], Figure], frozenset[str]], ...]] = (
    ("4.18", "18,000 ticks/s", 18_000, throughput, frozenset({"pool", "soak", "flood"})),
    ("4.20, 4.100", "2.3 ms on average", 2.3, mean_ms, frozenset({"reference", "pool", "soak"})),
    ("4.101", "8.7 ms p99", 8.7, p99_ms, frozenset({"reference", "pool", "soak"})),
    ("4.19, 4.102", "45 MB", 45, whole_memory, frozenset({"reference"})),
    ("4.103", "12 % of four cores", 12, cpu_share, frozenset({"reference", "pool", "soak"})),
    ("4.104", "ring: 20 MB for 1 M ticks", 20, ring, frozenset({"reference", "pool"})),
    ("4.105", "websocket pools: 8 MB for 3", 8, pools, frozenset({"pool"})),
    ("4.106", "tick storage: 100 MB mapped", 100, storage, frozenset({"reference", "pool"})),
    ("4.107", "strategy engine: 5 MB", 5, strategy_engine, frozenset({"reference", "pool"})),
    ("4.108", "133 MB in all, stable", 133, whole_memory, frozenset({"pool", "soak"})),
)
"""(promise, as published, its figure, ours, profiles that it fits)"""


def beside(load: Load, result: Result) -> list[dict[str, Any]]:
    """The published figures that fit this profile, with ours; none where flags have changed its load, or
    where the broker is another."""
    if not result.steady or not result.memory or not load.is_as_shipped or load.broker != "kite":
        return []
    found = []
    for promise, text, figure, ours, profiles in ROWS:
        if load.profile in profiles:
            mine = ours(load, result)
            found.append({
                "promise": promise, "published": text, "figure": figure,
                "ours": mine[0] if mine else None, "means": mine[1] if mine else "not shown by this run",
            })  # fmt: skip
    return found
