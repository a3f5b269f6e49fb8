"""How processes wait and where they run: decided from cores and settings, and asked of the kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from kite_hft.engine.plan import placing
from kite_hft.engine.plan.placing import complaints, describe, keep_off, places_of, settle, unknown_pins
from kite_hft.engine.plan.plan import Plan, make_plan
from kite_hft.settings import DatafeedSection, PerformanceSection, Settings, StrategySection

ROOM, CONNECTIONS = 3000, 3


def plan_of(
    cores: int,
    instruments: int = 10,
    copies: str = "per_connection",
    *,
    numbers: Any = None,
    **performance: Any,
) -> Plan:
    settings = Settings(
        strategies=[StrategySection(name="s", copies=copies)],
        performance=PerformanceSection(**performance),
        datafeed=DatafeedSection(store_ticks=True),
    )
    return make_plan(settings, instruments, [None], cores, ROOM, CONNECTIONS, numbers)


def waits(plan: Plan) -> set[str]:
    return {place.wait for place in plan.places.values() if place.hot}


def short(plan: Plan) -> str:
    """Packing and wait in a word."""
    packed = "separate" if any(p.stages == ("compute",) for p in plan.processes) else "fused"
    return f"{packed} {' '.join(sorted(waits(plan)))}"


# One connection; three with a worker each; three with one strategy over all.
EXPECTED = {
    1: ("fused park", "fused park", "separate park"),
    2: ("fused park", "fused park", "separate park"),
    3: ("fused spin", "fused park", "separate park"),
    4: ("separate spin", "fused park", "separate park"),
    5: ("separate spin", "fused spin", "separate park"),
    6: ("separate spin", "fused spin", "separate spin"),
    7: ("separate spin", "fused spin", "separate spin"),
    **dict.fromkeys(range(8, 17), ("separate spin", "separate spin", "separate spin")),
}


@pytest.mark.parametrize(("cores", "expected"), EXPECTED.items())
def test_packing_and_wait_by_cores(cores: int, expected: tuple[str, str, str]) -> None:
    one, three, over_all = plan_of(cores), plan_of(cores, 9000), plan_of(cores, 9000, "whole")
    assert (short(one), short(three), short(over_all)) == expected


@pytest.mark.parametrize("cores", range(1, 17))
@pytest.mark.parametrize("instruments", [10, 6000, 9000])
@pytest.mark.parametrize("copies", ["whole", "per_connection"])
def test_pins_by_plan_leave_the_house_a_core_and_give_nobody_anothers(
    cores: int, instruments: int, copies: str
) -> None:
    plan = plan_of(cores, instruments, copies, pin="auto")
    hot = [name for name, place in plan.places.items() if place.hot]
    pinned = {name: place.core for name, place in plan.places.items() if place.core is not None}
    if cores < len(hot) or cores == 1:
        assert not pinned
        assert all("the scheduler places them" in dict(plan.places[n].refused)["core"] for n in hot)
        return
    assert sorted(pinned) == sorted(hot) and len(set(pinned.values())) == len(hot)
    cold = plan.places["recorder"]
    assert cold.core is None
    if cores > len(hot):
        assert 0 not in pinned.values() and waits(plan) == {"spin"}
        assert set(cold.cores) == set(range(cores)) - set(pinned.values())
    else:
        assert pinned["orders"] == 0 and cold.cores == (0,)


def test_pins_use_the_cores_that_the_engine_has() -> None:
    plan = plan_of(4, pin="auto", numbers=[2, 3, 6, 7])
    assert {n: p.core for n, p in plan.places.items() if p.core is not None} == {
        "feed-0": 3, "compute-0": 6, "orders": 7,
    }  # fmt: skip
    assert "pinned: feed-0 to 3, compute-0 to 6, orders to 7" in str(plan)


def test_own_pins_and_what_cannot_be() -> None:
    plan = plan_of(4, pin={"orders": 3, "feed-0": 9, "nobody": 1})
    assert plan.places["orders"].core == 3 and plan.places["orders"].cores == (0, 1, 2)
    assert dict(plan.places["feed-0"].refused) == {"core": "the engine may not run on core 9; it may on 0-3"}
    settings = Settings(performance=PerformanceSection(pin={"orders": 3, "nobody": 1}))
    assert unknown_pins(settings, plan.processes) == ["nobody"]


@pytest.mark.parametrize(
    ("cores", "performance", "expected", "why"),
    [
        (1, {"wait": "spin"}, {"park"}, "the only core"),
        (2, {"wait": "spin"}, {"spin"}, ""),
        (2, {"wait": "spin", "packing": "separate"}, {"adaptive"}, "3 processes would spin on 2 cores"),
        (2, {"waits": {"orders": "spin"}}, {"spin", "park"}, "3 needed to spin"),
        (4, {"wait": "park"}, {"park"}, ""),
        (4, {"wait": "spin", "pin": {"feed-0": 1, "orders": 1}}, {"adaptive", "spin"}, "spins on core 1"),
        (1, {"wait": "yield"}, {"yield"}, ""),
    ],
)
def test_a_wait_that_was_asked_for(
    cores: int, performance: dict[str, Any], expected: set[str], why: str
) -> None:
    plan = plan_of(cores, **performance)
    assert waits(plan) == expected
    assert why in describe(plan.places) and why in str(plan)


def test_the_wait_of_a_fused_process_is_that_of_its_feed() -> None:
    plan = plan_of(2, waits={"feed": "park", "compute": "spin", "orders": "yield"})
    assert {n: p.wait for n, p in plan.places.items() if p.hot} == {"market-0": "park", "orders": "yield"}
    assert "market-0: park, orders: yield" in str(plan)


def test_who_never_sleeps_gets_no_realtime_priority() -> None:
    spinning, parked = (plan_of(2, wait=w, realtime_priority=20).places["orders"] for w in ("spin", "park"))
    assert spinning.realtime is None and "never sleeps" in dict(spinning.refused)["realtime_priority"]
    assert parked.realtime == 20 and not parked.refused
    assert plan_of(2, wait="park", realtime_priority=20).places["recorder"].realtime is None


# What a process does with its place


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What would have been asked of the kernel."""
    calls: list[Any] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: calls.append((pid, cores)))
    monkeypatch.setattr(os, "sched_setscheduler", lambda *words: calls.append(words[1]))
    monkeypatch.setattr(placing, "_lock_memory", lambda wish: calls.append("locked"))
    yield calls


def test_a_place_is_asked_for_and_told(asked: list[Any]) -> None:
    plan = plan_of(4, pin="auto", wait="park", realtime_priority=7, lock_memory=True)
    rows = settle(asdict(plan.places["orders"]))
    assert asked == [(0, {3}), os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, "locked"]
    assert rows == {
        "wait": {"asked": "park", "got": "park"},
        "core": {"asked": "auto", "got": 3},
        "realtime_priority": {"asked": 7, "got": 7},
        "lock_memory": {"asked": True, "got": True},
    }
    assert complaints("orders", rows) == []


def test_nothing_is_asked_of_the_kernel_by_default(asked: list[Any]) -> None:
    places = plan_of(8).places
    for place in places.values():
        assert set(settle(asdict(place))) == {"wait"}
        keep_off(asdict(place))
    assert asked == []


def test_the_first_core_is_no_failure(asked: list[Any]) -> None:
    rows = settle(asdict(plan_of(2, pin="auto").places["orders"]))
    assert rows["core"] == {"asked": "auto", "got": 0} and complaints("orders", rows) == []


def test_the_house_keeps_off_the_cores_of_the_hot(asked: list[Any]) -> None:
    keep_off(asdict(plan_of(6, pin="auto").places["orders"]))
    assert asked == [(0, {0, 4, 5})]


def test_what_the_kernel_refuses_is_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(placing, "may_lock_memory", lambda: False)
    plan = plan_of(4, pin="auto", wait="park", realtime_priority=7, lock_memory=True)
    rows = settle(asdict(plan.places["orders"]))
    said = complaints("orders", rows)
    assert [row["got"] for row in rows.values()] == ["park", None, None, False]
    assert len(said) == 3
    assert "core auto is not given: core 3: Operation not permitted" in said[0]
    assert "ulimit -r 7" in said[1] and "ulimit -l unlimited" in said[2]


def test_a_wish_that_the_plan_refused_is_told_with_what_was_asked(asked: list[Any]) -> None:
    place = plan_of(2, wait="spin", realtime_priority=7, pin={"orders": 5}).places["orders"]
    rows = settle(asdict(place))
    assert rows["realtime_priority"]["asked"] == 7 and rows["realtime_priority"]["got"] is None
    assert rows["core"]["asked"] == 5 and "may not run on core 5" in rows["core"]["why"]
    assert len(complaints("orders", rows)) == 2


def test_a_thread_is_pinned_for_real() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    found: list[set[int]] = []

    def thread() -> None:
        place = places_of(
            Settings(performance=PerformanceSection(pin={"orders": allowed[-1]})),
            plan_of(2).processes, allowed,
        )["orders"]  # fmt: skip
        settle(asdict(place))
        found.append(os.sched_getaffinity(0))

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    assert found == [{allowed[-1]}] and os.sched_getaffinity(0) == set(allowed)
