"""Layer 5, supervisor and whoever looks, cold: how far a run has come, in the six steps of a start.

Connect, subscribe, filter, signals, orders, and what ends a position. Each is read from the counters of the
run, so that the log of the supervisor and `kite-hft status` say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.engine.runs.report import Readings

Counters = Mapping[str, int]

STEPS: Final = ("connected", "subscribed", "filtering", "signals", "orders", "exits")


def steps_of(readings: Readings, connections: int) -> list[dict[str, Any]]:
    """`start_steps` of a run that we look at."""
    feeds = [readings.one(f"counters-feed-{number}") for number in range(connections)]
    return start_steps(feeds, readings.values("compute"), readings.values("orders"))


def start_steps(feeds: Sequence[Counters], compute: Counters, orders: Counters) -> list[dict[str, Any]]:
    """One row a step: step (1..6), name, done, text.

    Counters by name: of each connection of market data; of compute and orders over all their processes.
    """
    up = [feed for feed in feeds if feed["connected"]]
    subscribed = sum(feed["subscribed"] for feed in up)  # of others it is a wish
    state = "ACTIVE" if orders["state_active"] else "not active"
    plans, fired, positions = orders["exit_plans"], orders["exits_fired"], orders["positions"]
    ways = f"exits kept for {plans} of {positions} positions, {fired} fired"
    rows = (
        (len(up) == len(feeds) > 0, f"{len(up)} of {len(feeds)} connections to the market data are up"),
        (subscribed > 0, f"{subscribed:,} instruments are subscribed"),
        (compute["computed"] > 0, f"the Kalman filters have taken in {compute['computed']:,} ticks"),
        (compute["signals"] > 0, f"{compute['signals']:,} signals"),
        (orders["sent"] > 0, f"{state}, {orders['sent']:,} sent, {orders['filled']:,} filled"),
        (orders["filled"] > 0 and (plans > 0 or fired > 0 or positions == 0), ways),
    )
    return [
        {"step": number, "name": name, "done": bool(done), "text": text}
        for number, (name, (done, text)) in enumerate(zip(STEPS, rows, strict=True), 1)
    ]


@dataclass(slots=True)
class StepLog:
    """Says each step once, when it is reached for the first time. connections: of market data."""

    say: Callable[[str], None]
    connections: int
    said: set[int] = field(default_factory=set)

    def look(self, readings: Readings) -> None:
        if len(self.said) == len(STEPS):
            return
        for row in steps_of(readings, self.connections):
            if row["done"] and row["step"] not in self.said:
                self.said.add(row["step"])
                self.say(f"step {row['step']} of {len(STEPS)}, {row['name']}: {row['text']}")
