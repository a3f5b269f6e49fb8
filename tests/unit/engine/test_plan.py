"""The plan of a run: stages packed by cores, segments sized by settings."""

from __future__ import annotations

import pytest

from kite_hft.engine.plan import PlanError, make_plan, power_of_two
from kite_hft.layout import COUNTERS, SegmentKind
from kite_hft.settings import PerformanceSection, Settings


@pytest.mark.parametrize(
    ("n", "power"), [(1, 1), (2, 2), (3, 4), (1000, 1024), (65536, 65536), (10**6, 2**20)]
)
def test_power_of_two(n: int, power: int) -> None:
    assert power_of_two(n) == power


def test_feed_and_compute_share_a_process_on_few_cores() -> None:
    assert [p.stages for p in make_plan(Settings(), 10, 2, 3000).processes] == [
        ("feed", "compute"),
        ("orders",),
    ]
    assert [p.stages for p in make_plan(Settings(), 10, 8, 3000).processes] == [
        ("feed",),
        ("compute",),
        ("orders",),
    ]


def test_orders_is_always_alone() -> None:
    for packing in ("fused", "separate"):
        settings = Settings(performance=PerformanceSection(packing=packing))
        for cores in (1, 2, 16):
            alone = [p for p in make_plan(settings, 10, cores, 3000).processes if "orders" in p.stages]
            assert [p.stages for p in alone] == [("orders",)]


def test_segments_follow_the_settings() -> None:
    plan = make_plan(Settings(performance=PerformanceSection(ring_buffer_size=50_000)), 9, 2, 3000)
    by_name = {s.name: s for s in plan.segments}
    assert by_name["ticks-0"].capacity == 65_536 and by_name["latest"].capacity == 9
    counters = [s for s in plan.segments if s.kind is SegmentKind.COUNTERS]
    assert [s.counters for s in counters] == [len(names) for names in COUNTERS.values()]


def test_more_than_a_connection_carries_is_refused() -> None:
    with pytest.raises(PlanError, match="3001 instruments"):
        make_plan(Settings(), 3001, 2, 3000)
