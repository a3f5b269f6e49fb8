"""The plan of a run: processes by cores and connections, segments sized by settings."""

from __future__ import annotations

from typing import Any

import pytest

from kite_hft.engine.plan.plan import Plan, PlanError, make_plan, power_of_two
from kite_hft.layout import COUNTERS, SegmentKind
from kite_hft.settings import DatafeedSection, PerformanceSection, Settings, StrategySection

ROOM, CONNECTIONS = 3000, 3


def plan_of(
    instruments: int, *wanted: tuple[int, ...] | None, cores: int = 2, copies: str = "whole", **sections: Any
) -> Plan:
    strategies = [StrategySection(name=f"s{n}", copies=copies) for n in range(len(wanted))]
    settings = Settings(strategies=strategies, **sections)
    return make_plan(settings, instruments, wanted, cores, ROOM, CONNECTIONS)


def names(plan: Plan) -> list[str]:
    return [process.name for process in plan.processes]


def asked(connections: int) -> DatafeedSection:
    return DatafeedSection(connections=connections)


@pytest.mark.parametrize(
    ("n", "power"), [(1, 1), (2, 2), (3, 4), (1000, 1024), (65536, 65536), (10**6, 2**20)]
)
def test_power_of_two(n: int, power: int) -> None:
    assert power_of_two(n) == power


def test_feed_and_compute_share_a_process_on_few_cores() -> None:
    assert names(plan_of(10)) == ["market-0", "orders"]
    assert names(plan_of(10, cores=8)) == ["feed-0", "compute-0", "orders"]
    assert names(plan_of(9000)) == ["market-0", "market-1", "market-2", "orders"]


def test_orders_is_always_alone() -> None:
    for packing in ("fused", "separate"):
        for cores in (1, 2, 16):
            plan = plan_of(10, cores=cores, performance=PerformanceSection(packing=packing))
            alone = [p for p in plan.processes if "orders" in p.stages]
            assert [p.stages for p in alone] == [("orders",)]


def test_a_strategy_over_several_connections_has_a_worker_of_its_own() -> None:
    plan = plan_of(9000, None)
    assert names(plan) == ["feed-0", "feed-1", "feed-2", "compute-0", "orders"]
    assert plan.workers[0].connections == (0, 1, 2) and plan.workers[0].strategies == ((1, 0, None),)
    assert "spans 3" in str(plan)


def test_a_strategy_that_fits_stays_on_one_connection_beside_others() -> None:
    plan = plan_of(9000, (5, 7), tuple(range(3000, 5000)))
    by_worker = {number: w for w in plan.workers for number, _, _ in w.strategies}
    for number, slots in ((1, {5, 7}), (2, set(range(3000, 5000)))):
        (connection,) = by_worker[number].connections
        assert slots <= set(plan.connections[connection].slots)
    assert [len(c.slots) for c in plan.connections] == [3000] * 3


def test_two_connections_asked_for_and_one_strategy_over_all() -> None:
    plan = plan_of(20, None, datafeed=asked(2))
    assert [len(c.slots) for c in plan.connections] == [10, 10]
    assert names(plan) == ["feed-0", "feed-1", "compute-0", "orders"]


def test_copies_stand_beside_each_connection() -> None:
    plan = plan_of(9000, None, (0, 8999), copies="per_connection")
    assert names(plan) == ["market-0", "market-1", "market-2", "orders"]
    numbers = [number for w in plan.workers for number, _, _ in w.strategies]
    assert sorted(numbers) == list(range(1, len(numbers) + 1)) and numbers[:2] == [1, 2]
    assert [slots for w in plan.workers for _, index, slots in w.strategies if index == 0] == [None] * 3
    wanted = [slots for w in plan.workers for _, index, slots in w.strategies if index == 1]
    assert sorted(slot for slots in wanted for slot in slots) == [0, 8999]


@pytest.mark.parametrize(
    ("instruments", "connections", "said"),
    [
        (9001, None, "9,001 instruments are configured; 3 connections of 3,000 carry 9,000"),
        (10, 4, "connections is 4; the broker allows 3"),
        (3001, 1, "3,001 instruments need 2"),
        (2, 3, "for 2 instruments"),
    ],
)
def test_what_cannot_be_is_refused_in_words(instruments: int, connections: int | None, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan_of(instruments, datafeed=DatafeedSection(connections=connections))


def test_segments_follow_the_settings() -> None:
    plan = plan_of(9, performance=PerformanceSection(ring_buffer_size=50_000))
    by_name = {s.name: s for s in plan.segments}
    assert by_name["ticks-0"].capacity == 65_536
    assert by_name["latest-0"].capacity == by_name["slots-0"].capacity == 9
    counters = {s.name: s.counters for s in plan.segments if s.kind is SegmentKind.COUNTERS}
    stages = {"counters-feed-0": "feed", "counters-compute-0": "compute", "counters-orders": "orders"}
    assert counters == {name: len(COUNTERS[stage]) for name, stage in stages.items()}


def test_the_ring_buffer_is_shared_out_and_holds_a_subscription_twice_over() -> None:
    def rings(**sections: Any) -> list[int]:
        plan = plan_of(9000, **sections)
        return [s.capacity for s in plan.segments if s.kind is SegmentKind.TICK_RING]

    assert rings(performance=PerformanceSection(ring_buffer_size=150_000)) == [65_536] * 3
    assert rings(performance=PerformanceSection(ring_buffer_size=1024)) == [16_384] * 3


def test_recording_adds_a_process_and_its_memory() -> None:
    plain = {s.name for s in plan_of(10).segments}
    ticks = plan_of(10, datafeed=DatafeedSection(store_ticks=True))
    frames = plan_of(10, datafeed=DatafeedSection(store_ticks=True, tick_storage_format="both"))
    assert names(ticks) == ["market-0", "recorder", "orders"]
    assert {s.name for s in ticks.segments} == plain | {"counters-recorder"}
    assert {s.name for s in frames.segments} == plain | {"counters-recorder", "frames-0"}
