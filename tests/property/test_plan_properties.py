"""Any set of strategies on any number of connections: the plan keeps its promises."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft.engine.plan.plan import Plan, PlanError, make_plan
from kite_hft.settings import DatafeedSection, PerformanceSection, Settings, StrategySection

CONNECTIONS = 3


@st.composite
def cases(draw: st.DrawFn) -> tuple[Settings, int, list[tuple[int, ...] | None], int, int]:
    instruments = draw(st.integers(1, 60))
    room = draw(st.integers(max(1, -(-instruments // CONNECTIONS)), 70))
    needed = -(-instruments // room)
    asked = draw(st.none() | st.integers(needed, min(CONNECTIONS, max(needed, instruments))))
    slots = st.integers(0, instruments - 1)
    some = st.lists(slots, unique=True, max_size=instruments).map(tuple)
    run = st.tuples(slots, slots).map(lambda ends: tuple(range(min(ends), max(ends) + 1)))
    wanted = draw(st.lists(st.none() | some | run, max_size=6))
    copies = [draw(st.sampled_from(["whole", "whole", "per_connection"])) for _ in wanted]
    configured = Settings(
        strategies=[StrategySection(name=f"s{n}", copies=c) for n, c in enumerate(copies)],
        datafeed=DatafeedSection(connections=asked),
        performance=PerformanceSection(packing=draw(st.sampled_from(["auto", "fused", "separate"]))),
    )
    return configured, instruments, wanted, draw(st.integers(1, 8)), room


def plan_of(case: tuple[Settings, int, list[tuple[int, ...] | None], int, int]) -> Plan:
    configured, instruments, wanted, cores, room = case
    return make_plan(configured, instruments, wanted, cores, room, CONNECTIONS)


@settings(max_examples=400, deadline=None)
@given(cases())
def test_every_slot_is_on_one_connection_and_none_is_too_full_or_empty(case) -> None:
    configured, instruments, _, _, room = case
    plan = plan_of(case)
    assert sorted(slot for c in plan.connections for slot in c.slots) == list(range(instruments))
    assert all(0 < len(c.slots) <= room for c in plan.connections)
    assert all(a < b for c in plan.connections for a, b in pairwise(c.slots))
    assert [c.number for c in plan.connections] == list(range(len(plan.connections)))
    assert len(plan.connections) == (configured.datafeed.connections or -(-instruments // room))


@settings(max_examples=400, deadline=None)
@given(cases())
def test_a_strategy_sees_all_of_its_instruments_once(case) -> None:
    configured, instruments, wanted, _, _ = case
    plan = plan_of(case)
    carried = [c.slots for c in plan.connections]
    seen: dict[int, list[int]] = {index: [] for index in range(len(wanted))}
    copies = dict.fromkeys(seen, 0)
    for worker in plan.workers:
        here = {slot for n in worker.connections for slot in carried[n]}
        for _, index, slots in worker.strategies:
            assert slots is None or set(slots) <= here
            seen[index] += sorted(here) if slots is None else slots
            copies[index] += 1
    for index, slots in enumerate(wanted):
        asked = range(instruments) if slots is None else slots
        assert sorted(seen[index]) == sorted(asked)
        if configured.strategies[index].copies == "whole":
            assert copies[index] == 1
        else:
            assert copies[index] == sum(bool(set(asked) & set(c)) for c in carried)


@settings(max_examples=200, deadline=None)
@given(cases())
def test_numbers_are_unique_and_every_connection_has_one_worker_and_one_process(case) -> None:
    configured, plan = case[0], plan_of(case)
    numbers = [(number, index) for w in plan.workers for number, index, _ in w.strategies]
    assert sorted(number for number, _ in numbers) == sorted({number for number, _ in numbers})
    first = {index: min(n for n, i in numbers if i == index) for _, index in numbers}
    assert all(number == index + 1 for index, number in first.items())
    assert all(n > len(configured.strategies) for n, i in numbers if n != first[i])
    assert sorted(n for w in plan.workers for n in w.connections) == list(range(len(plan.connections)))
    feeds = [p.connection for p in plan.processes if "feed" in p.stages]
    assert sorted(feeds) == list(range(len(plan.connections)))
    assert sorted(p.worker for p in plan.processes if "compute" in p.stages) == [
        w.number for w in plan.workers
    ]
    for process in plan.processes:
        if process.stages == ("feed", "compute"):
            assert plan.workers[process.worker].connections == (process.connection,)
    assert len({s.name for s in plan.segments}) == len(plan.segments)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_plan_is_the_same_again(case) -> None:
    assert plan_of(case) == plan_of(case)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), st.integers(1, 300))
def test_too_many_instruments_are_an_error_before_anything(room: int, over: int) -> None:
    try:
        make_plan(Settings(), CONNECTIONS * room + over, [], 2, room, CONNECTIONS)
    except PlanError as error:
        assert "datafeed.instruments" in str(error)
    else:
        raise AssertionError("accepted")
