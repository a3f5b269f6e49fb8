"""The six steps of a start, read from counters and told once."""

from __future__ import annotations

from kite_hft.engine.runs.steps import STEPS, StepLog, start_steps, steps_of
from kite_hft.layout import COUNTERS

ZERO = {stage: dict.fromkeys(names, 0) for stage, names in COUNTERS.items()}
FEED, COMPUTE, ORDERS = ZERO["feed"], ZERO["compute"], ZERO["orders"]


def done(feeds, compute=COMPUTE, orders=ORDERS) -> list[str]:
    return [row["name"] for row in start_steps(feeds, compute, orders) if row["done"]]


def test_each_step_by_its_counter() -> None:
    up = FEED | {"connected": 1, "subscribed": 7}
    assert done([FEED]) == [] and done([]) == []
    assert done([up | {"connected": 0}]) == [], "a connection that was refused has subscribed nothing"
    assert done([up, FEED]) == ["subscribed"], "one of two connections is up"
    assert done([up, up]) == ["connected", "subscribed"]
    compute = COMPUTE | {"computed": 5}
    assert done([up], compute) == ["connected", "subscribed", "filtering"]
    compute |= {"signals": 1}
    orders = ORDERS | {"sent": 1, "positions": 1, "state_active": 1, "filled": 1}
    assert done([up], compute, orders) == list(STEPS[:5]), "a position without exits"
    assert done([up], compute, orders | {"exit_plans": 1}) == list(STEPS)
    assert done([up], compute, orders | {"positions": 0}) == list(STEPS)
    rows = start_steps([up], compute, orders)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[4]["text"] == "ACTIVE, 1 sent, 1 filled"


class Readings:
    """Counters that change."""

    def __init__(self) -> None:
        self.feeds = {"counters-feed-0": dict(FEED)}
        self.stages = {"compute": dict(COMPUTE), "orders": dict(ORDERS)}

    def one(self, name: str) -> dict[str, int]:
        return self.feeds[name]

    def values(self, stage: str) -> dict[str, int]:
        return self.stages[stage]


def test_each_step_is_said_once() -> None:
    said: list[str] = []
    readings, log = Readings(), StepLog(said.append, 1)
    log.look(readings)
    assert said == [] and len(steps_of(readings, 1)) == 6
    readings.feeds["counters-feed-0"] |= {"connected": 1, "subscribed": 2}
    log.look(readings)
    readings.feeds["counters-feed-0"] |= {"connected": 0}
    log.look(readings)
    readings.feeds["counters-feed-0"] |= {"connected": 1}
    log.look(readings)
    assert said == [
        "step 1 of 6, connected: 1 of 1 connections to the market data are up",
        "step 2 of 6, subscribed: 2 instruments are subscribed",
    ]
