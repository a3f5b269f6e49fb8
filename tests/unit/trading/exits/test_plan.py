"""A plan and the price, without any order; prices on the grid; stewards that cost nothing while idle."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_world import instrument

from kite_hft.layout import OrderType, Side
from kite_hft.trading.exits.plan import Mode, Plan, plan_of
from kite_hft.trading.exits.prices import beyond, on_grid
from kite_hft.trading.exits.stewards import NEVER_NS, Stewards


@given(
    st.integers(1, 50), st.integers(0, 40),
    st.lists(st.integers(100, 2_000), min_size=1, max_size=60), st.booleans(),
)  # fmt: skip
def test_a_trailing_stop_only_tightens_by_steps_and_keeps_its_distance(
    trail: int, step: int, prices: list[int], short: bool
) -> None:
    side = Side.BUY if short else Side.SELL
    plan = Plan(1, 0, 3, 1, trail_px=trail * 5, step_px=step)
    plan.begin(side, prices[0] * 5, 5)
    before = plan.level_px
    for px in prices:
        moved = plan.look(px * 5, 5, 1)
        better = (plan.level_px - before) * plan.sign
        assert better == 0 or (moved and better >= max(step, 5))
        assert (plan.best_px - plan.level_px) * plan.sign >= min(trail * 5, 5) - 5
        assert plan.level_px % 5 == 0 and plan.level_px > 0
        before = plan.level_px


def test_a_fixed_stop_bounds_a_trailing_one() -> None:
    plan = Plan(1, 0, 3, 1, stop_px=9_900, trail_px=500)
    plan.begin(Side.SELL, 10_000, 5)
    assert plan.level_px == 9_900  # trailing would be farther away
    plan.look(10_500, 5, 1)
    assert plan.level_px == 10_000


def test_once_out_it_stays_out() -> None:
    plan = Plan(1, 0, 3, 1, stop_px=9_900, target_px=10_100, until_ns=50)
    plan.begin(Side.SELL, 10_000, 5)
    assert plan.look(10_000, 5, 50) and plan.mode is Mode.OUT and plan.why == "time"
    assert not plan.look(20_000, 5, 60) and plan.mode is Mode.OUT


def test_a_plan_survives_its_record() -> None:
    plan = Plan(1, 4, 3, 9, 9_900, 10_100, 50, 10, 1_000, int(OrderType.SL), True)
    plan.begin(Side.SELL, 10_000, 5)
    again = plan_of(plan.payload(7), 7, 33)
    for name in (
        "key",
        "seq",
        "stop_px",
        "target_px",
        "trail_px",
        "step_px",
        "until_ns",
        "order_type",
        "gtt",
    ):
        assert getattr(again, name) == getattr(plan, name)
    assert (again.side, again.level_px, again.best_px) == (plan.side, plan.level_px, plan.best_px)


@pytest.mark.parametrize(
    ("px", "up", "on"), [(101, True, 105), (101, False, 100), (100, True, 100), (3, False, 5)]
)
def test_the_grid(px: int, up: bool, on: int) -> None:
    assert on_grid(px, 5, up=up) == on


def test_a_price_that_fills_lies_behind() -> None:
    row = instrument(0)
    assert beyond(10_000, Side.SELL, 1.0, row) == 9_900 and beyond(10_000, Side.BUY, 1.0, row) == 10_100
    assert beyond(10_003, Side.SELL, 0.5, row) == 9_950 and beyond(10_003, Side.BUY, 0.5, row) == 10_055


@dataclass
class Lazy:
    """A steward that counts."""

    alive: bool = False
    acted: int = 0
    due_ns: int = NEVER_NS
    asked: list[int] = field(default_factory=list)

    def act(self, now_ns: int) -> int:
        self.acted += 1
        return 1

    def next_ns(self, now_ns: int) -> int:
        return self.due_ns


@dataclass
class Stir:
    stirred: int = 0


def test_stewards_are_asked_when_something_happened_or_their_time_has_come() -> None:
    outbox, one, other = Stir(), Lazy(), Lazy()
    stewards = Stewards(outbox, (one, other))  # type: ignore[arg-type]
    assert stewards.act(1) == 0 and stewards.next_ns(1) is None
    one.alive, outbox.stirred = True, 1
    assert stewards.next_ns(1) == 1
    assert stewards.act(1) == 1 and stewards.act(2) == 0 and (one.acted, other.acted) == (1, 0)
    one.due_ns, outbox.stirred = 10, 2
    assert stewards.act(3) == 1 and stewards.next_ns(3) == 10
    assert stewards.act(9) == 0 and stewards.act(10) == 1
