"""Layer 5, supervisor and whoever looks, cold: one look at the counters of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.engine.runs.report import Readings, connection_row
from kite_hft.trading.alerts import Alert

TICK_LATENCIES: Final = (
    "read_to_decoded",
    "read_to_published",
    "read_to_drained",
    "read_to_computed",
    "tick_to_intent",
    "send_to_computed",
    "send_to_intent",
)
ORDER_LATENCIES: Final = (
    "intent_to_taken",
    "taken_to_judged",
    "throttle_wait",
    "journalled",
    "written",
    "intent_to_sent",
    "tick_to_order",
    "order_ack",
)
LATENCIES: Final = (*TICK_LATENCIES, *ORDER_LATENCIES)
"""What people see of latency_us, in the order of the way of a tick and of its order."""


def recorded(latency_us: Mapping[str, Mapping[str, float]], names: Sequence[str] = LATENCIES) -> list[str]:
    """Those of `names` of which at least one duration was counted: the others say nothing."""
    return [name for name in names if latency_us.get(name, {}).get("n")]


@dataclass(slots=True)
class Sample:
    """One look. connections: one row each; ages in seconds of their newest frame and tick, None: none.

    alerts: conditions that stand, worst first.
    """

    at_ns: int
    feed: dict[str, int]
    compute: dict[str, int]
    orders: dict[str, int]
    latency_us: dict[str, dict[str, float]]
    connections: list[dict[str, Any]] = field(default_factory=list)
    alerts: Sequence[Alert] = ()

    @property
    def lag(self) -> int:
        """Ticks published and not computed yet."""
        done = self.compute["computed"] + self.compute["lost"] + self.compute["twins_passed_over"]
        return max(0, self.feed["published"] - done)

    @property
    def restarts(self) -> int:
        """How often processes were started again."""
        return self.feed["restarts"] + self.compute["restarts"] + self.orders["restarts"]


def take_sample(readings: Readings, now_ns: int, alerts: Sequence[Alert] = ()) -> Sample:
    """`now_ns`: CLOCK_MONOTONIC."""
    feed, compute, orders = (readings.values(stage) for stage in ("feed", "compute", "orders"))
    rows = connection_rows(readings, now_ns)
    return Sample(now_ns, feed, compute, orders, readings.latency_us(), rows, alerts)


def connection_rows(readings: Readings, now_ns: int) -> list[dict[str, Any]]:
    """Rows of by_connection with `connected` and the ages last_frame_s and last_tick_s."""
    rows = []
    for name in readings.of_stage("feed"):
        counters = readings.one(name)
        ages = {
            "connected": bool(counters["connected"]),
            "last_frame_s": age_s(counters["last_frame_ns"], now_ns),
            "last_tick_s": age_s(counters["last_tick_ns"], now_ns),
        }
        rows.append(connection_row(readings, name) | ages)
    return rows


def age_s(at_ns: int, now_ns: int) -> float | None:
    """Seconds since a CLOCK_MONOTONIC instant; None for 0, which means never."""
    return round(max(0, now_ns - at_ns) / 1e9, 3) if at_ns else None


def state_word(orders: dict[str, int]) -> str:
    """ACTIVE, REDUCING, HALTED, KILLED or NOT_ACTIVE, from the order stage's gauges."""
    if orders.get("state_killed"):
        return "KILLED"
    if orders["state_halted"]:
        return "HALTED"
    if orders["state_reducing"]:
        return "REDUCING"
    return "ACTIVE" if orders["state_active"] else "NOT_ACTIVE"


def ticks_per_second(before: Sample, now: Sample) -> float:
    elapsed_ns = now.at_ns - before.at_ns
    return (now.feed["published"] - before.feed["published"]) * 1e9 / elapsed_ns if elapsed_ns > 0 else 0.0
