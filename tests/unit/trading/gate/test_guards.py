"""What the gate remembers of a day: periods, repeats, losses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_world import PX, S, instruments

from kite_hft._tally import VALUE_MAX, Tally
from kite_hft.layout import Product, Side
from kite_hft.trading.book import Book
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.positions import Fill
from kite_hft.verify.risk.bench import Bench, each_kind

TABLE = instruments()
WHOSE = (1, 0, int(Product.MIS))
BUY, SELL = Side.BUY, Side.SELL


def tally(**limits: Any) -> Tally:
    return Tally(RiskLimits(**limits))


def test_sums_of_a_period_by_strategy_and_by_instrument() -> None:
    seen = tally(period_s=10.0)
    seen.add(1, 0, BUY, 10, 1000, 0)
    seen.add(1, 3, BUY, 20, 5000, 4 * S)
    seen.add(2, 0, SELL, 7, 300, 5 * S)
    one, slot = seen.of_strategy(1, 9 * S), seen.of_slot(0, 9 * S)
    assert (one.orders, one.quantity, one.value_paise) == (2, 30, 6000)
    assert (slot.orders, slot.quantity, slot.value_paise) == (2, 17, 1300)
    assert seen.of_strategy(1, 10 * S - 1).orders == 2
    one = seen.of_strategy(1, 10 * S)
    assert (one.orders, one.quantity, one.value_paise) == (1, 20, 5000), "ten seconds are over"
    assert seen.of_strategy(1, 14 * S).orders == 0 and seen.of_slot(0, 15 * S).value_paise == 0
    assert seen.of_strategy(9, 0).orders == seen.of_slot(9, 0).quantity == 0
    assert seen.gross_paise == 6300, "never less"


def test_the_same_order_again() -> None:
    seen = tally(repeats_s=10.0)
    for at in (0, 1, 2):
        seen.add(1, 0, BUY, 10, 1, at * S)
    seen.add(1, 0, BUY, 10, 1, 3 * S, placed=False)  # a modification is no repetition
    assert seen.same(1, 0, BUY, 10, 3 * S) == 3
    assert [seen.same(*words, 3 * S) for words in ((2, 0, BUY, 10), (1, 1, BUY, 10), (1, 0, SELL, 10))] == [
        0
    ] * 3
    assert seen.same(1, 0, BUY, 11, 3 * S) == 0
    assert seen.same(1, 0, BUY, 10, 10 * S - 1) == 3 and seen.same(1, 0, BUY, 10, 10 * S) == 2
    seen.add(2, 0, BUY, 10, 1, 10 * S)
    seen.forget_repeats(1)
    assert seen.same(1, 0, BUY, 10, 10 * S) == 0 and seen.same(2, 0, BUY, 10, 10 * S) == 1
    seen.forget_repeats()
    assert seen.same(2, 0, BUY, 10, 10 * S) == 0
    assert seen.of_strategy(1, 10 * S).orders == 4, "what was sent stays sent"


def test_sums_have_no_end() -> None:
    seen = tally(period_s=10.0)
    for at in range(100):
        seen.add(1, 0, BUY, 2**31, VALUE_MAX if at % 2 else 2**80, at)
    one = seen.of_strategy(1, 99)
    assert (one.orders, one.quantity, one.value_paise) == (100, 100 * 2**31, 100 * VALUE_MAX)
    assert seen.gross_paise == 100 * VALUE_MAX
    later = seen.of_slot(0, 10 * S + 49)
    assert (later.orders, later.value_paise) == (50, 50 * VALUE_MAX)
    assert seen.of_slot(0, 10 * S + 99).value_paise == 0 and seen.gross_paise == 100 * VALUE_MAX


def test_many_different_orders_leave_nothing_behind_when_they_are_over() -> None:
    seen = tally(repeats_s=1.0)
    for number in range(10_000):
        seen.add(1, number, BUY, 1, 1, number * S)
        assert seen.same(1, number, BUY, 1, number * S) == 1
    assert seen.different <= 4096
    fresh = tally(repeats_s=1.0)
    for number in range(5000):
        fresh.add(1, number, BUY, 1, 1, 0)
    assert fresh.different == 5000 and fresh.same(1, 0, BUY, 1, 0) == 1, "what still counts stays"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=200))
def test_windows_are_what_a_list_says(orders: list[tuple[int, int, bool]]) -> None:
    seen, told, now = tally(period_s=10e-9, repeats_s=7e-9), list[tuple[int, int, int, bool]](), 0
    for key, step, placed in orders:
        now += step
        seen.add(key, key % 2, BUY, key + 1, 100 * key, now, placed=placed)
        told.append((key, now, 100 * key, placed))
        for strategy in range(4):
            recent = [row for row in told if row[0] == strategy and row[1] > now - 10]
            one = seen.of_strategy(strategy, now)
            assert (one.orders, one.value_paise) == (len(recent), sum(row[2] for row in recent))
            assert one.quantity == len(recent) * (strategy + 1)
            same = [row for row in told if row[0] == strategy and row[1] > now - 7 and row[3]]
            assert seen.same(strategy, strategy % 2, BUY, strategy + 1, now) == len(same)


def guards(**limits: Any) -> Guards:
    return Guards(RiskLimits(**limits))


def closed(paise: int, strategy: int = 1, slot: int = 0) -> dict[str, Any]:
    return {"guard": "closed", "strategy": strategy, "slot": slot, "paise": paise, "peak_paise": 0}


class Fills:
    """A book whose positions fill at a price."""

    def __init__(self) -> None:
        self.book, self.guards, self.number = Book(TABLE), guards(), 0

    def fill(self, quantity: int, px: int, strategy: int = 1, slot: int = 0) -> None:
        self.number += 1
        position = self.book.position_of(strategy, slot, Product.MIS)
        position.apply(Fill(self.number, quantity, quantity * px))

    def right(self, units: int) -> None:
        """The broker tells that the last fill was worth so much more."""
        self.book.position_of(1, 0, Product.MIS).correct(self.number, -units)

    def look(self) -> list[tuple[int, int, int]]:
        found = self.guards.look(self.book, TABLE)
        return [(row["strategy"], row["slot"], row["paise"]) for row in found]


def test_what_a_position_has_realised_when_it_is_closed_or_turned() -> None:
    world = Fills()
    world.fill(10, PX)
    assert world.look() == [] and world.look() == []
    world.fill(-4, PX - 100)
    assert world.look() == [], "a part of it"
    world.fill(-6, PX + 200)
    assert world.look() == [(1, 0, 800)], "-400 and +1200"
    assert world.look() == []
    world.fill(-5, PX)
    assert world.look() == []
    world.fill(15, PX + 10)
    assert world.look() == [(1, 0, -50)], "turned from short to long"
    world.fill(-10, PX + 10)
    assert world.look() == [], "closed at its price: neither gain nor loss"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_part_that_is_closed_before_the_first_look_counts_with_the_rest(sign: int) -> None:
    world = Fills()
    world.fill(10 * sign, PX)
    world.fill(-4 * sign, PX - 100 * sign)
    assert world.look() == [], "it stands still"
    world.fill(-6 * sign, PX - 50 * sign)
    assert world.look() == [(1, 0, -700)], "-400 and -300"


def test_what_opens_and_closes_between_two_looks_counts() -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX - 100)
    assert world.look() == [(1, 0, -1000)]
    world.fill(10, PX)
    world.fill(-10, PX - 50)
    assert world.look() == [(1, 0, -500)]
    world.fill(3, PX, strategy=2, slot=1)
    world.fill(-3, PX + 1, strategy=2, slot=1)
    world.fill(5, PX, strategy=EXTERNAL)
    world.fill(-5, PX - 1, strategy=EXTERNAL)
    assert world.look() == [(2, 1, 3)], "what others do is not ours"


def test_a_value_that_is_set_right_after_the_close_is_no_closed_position() -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX + 10)
    assert world.look() == [(1, 0, 100)]
    world.right(-1)
    assert world.look() == [], "99 in place of 100: a gain as before"
    world.right(-99)
    assert world.look() == [], "neither gain nor loss"
    world.right(-2)
    assert world.look() == [(1, 0, -2)], "it was a loss after all"
    world.right(-5)
    world.look()
    world.right(50)
    assert world.look() == [], "a loss is told once"
    world.fill(10, PX)
    world.fill(-10, PX)
    assert world.look() == [], "what was set right is no part of the next one"
    world.right(-3)
    assert world.look() == [(1, 0, -3)]


def test_one_paisa_makes_a_loss_of_a_gain_that_is_set_right() -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX + 1)
    assert world.look() == [(1, 0, 10)]
    world.right(-11)
    assert world.look() == [(1, 0, -1)]
    world.right(-5)
    assert world.look() == [], "it is a loss already"


def test_a_value_that_is_set_right_after_a_restart_is_no_closed_position() -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX + 10)
    world.guards.begin(world.book, {WHOSE: 2})
    world.right(-1)
    assert world.look() == []
    world.fill(10, PX)
    world.fill(-10, PX + 1)
    assert world.look() == [(1, 0, 10)]


def test_a_gain_that_is_set_right_to_a_loss_after_a_restart_is_told_for_itself() -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX - 100)
    world.fill(10, PX)
    world.fill(-10, PX + 1)
    world.guards.begin(world.book, {WHOSE: 4})
    world.right(-30)
    assert world.look() == [(1, 0, -20)], "the loss before it is no part of it"


def test_what_was_closed_before_the_start_is_not_told_again() -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX - 100)
    world.fill(10, PX)
    world.guards.begin(world.book, {WHOSE: 2})
    assert world.look() == []
    world.fill(-10, PX - 100)
    assert world.look() == [(1, 0, -1000)], "only what was realised since"


def test_a_part_that_was_closed_before_the_start_counts_with_the_rest() -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX)  # at its price: nothing was told
    world.fill(10, PX)
    world.fill(-8, PX - 100)
    world.guards.begin(world.book, {})
    assert world.look() == []
    world.fill(-2, PX + 5)
    assert world.look() == [(1, 0, -790)]


@pytest.mark.parametrize(("second", "paise"), [(-1, -5), (-2, -5), (-3, -5)])
def test_one_share_that_was_closed_or_turned_and_not_told(second: int, paise: int) -> None:
    world = Fills()
    world.fill(1, PX)
    world.fill(second, PX - 5)
    world.guards.begin(world.book, {WHOSE: 1})  # something else of its strategy was closed between the two
    assert world.look() == [(1, 0, paise)]


@pytest.mark.parametrize("more", [0, 3])
def test_what_was_closed_and_not_told_before_the_start_is_told_by_the_first_look(more: int) -> None:
    world = Fills()
    world.fill(10, PX)
    world.fill(-10, PX - 100)  # this was
    world.fill(10, PX)
    world.fill(-10 - more, PX - 50)
    world.guards.begin(world.book, {WHOSE: 2})
    assert world.look() == [(1, 0, -500)] and world.look() == []


def test_cooling_down() -> None:
    guard = guards(cooldown_s=10.0)
    assert guard.calm and guard.fold(closed(-1), 0) == "" and not guard.calm
    assert guard.cooling_ns(1, 0, 0) == 10 * S and guard.cooling_ns(1, 0, 9 * S) == S
    assert guard.cooling_ns(1, 0, 10 * S) == guard.cooling_ns(1, 0, 11 * S) == 0
    assert guard.cooling_ns(2, 0, 0) == guard.cooling_ns(1, 1, 0) == 0
    guard.fold(closed(0, slot=1), 0)
    guard.fold(closed(5, slot=2), 0)
    assert guard.cooling_ns(1, 1, 0) == guard.cooling_ns(1, 2, 0) == 0, "no loss"
    guard.fold(closed(1), 9 * S)
    assert guard.cooling_ns(1, 0, 9 * S) == S and not guard.calm
    guard.fold(closed(1), 10 * S)
    assert guard.calm, "it is over"
    none = guards()
    none.fold(closed(-1), 0)
    assert none.cooling_ns(1, 0, 0) == 0 and none.calm


def test_a_pause_after_too_many_losses() -> None:
    guard = guards(stop_losses_max=2, stop_losses_s=10.0, stop_pause_s=5.0)
    assert guard.fold(closed(-1), 0) == "" and guard.paused_ns(0) == 0
    assert guard.fold(closed(-1, slot=1), 10 * S) == "", "the first is ten seconds ago"
    text = guard.fold(closed(-1, strategy=2), 20 * S - 1)
    assert "2 positions closed at a loss within 10 s" in text and "5 s" in text and guard.tripped == 1
    assert not guard.calm
    now = 20 * S - 1
    assert guard.paused_ns(now) == 5 * S and guard.paused_ns(now + 5 * S) == 0 == guard.paused_ns(now + 9 * S)
    assert guard.fold(closed(-1), now + S) == "", "they count anew"
    guard.fold(closed(1), now + 5 * S)
    assert guard.calm
    free = guards()
    for _ in range(100):
        assert free.fold(closed(-1), 0) == ""
    assert free.paused_ns(0) == 0


def test_a_drawdown_from_the_best_of_the_day_is_latched() -> None:
    guard = guards(max_drawdown=10.0)
    assert guard.mark(0) == [] == guard.mark(99), "less than a tenth of it"
    (best,) = guard.mark(500)
    assert best == {"guard": "peak", "peak_paise": 500} and guard.fold(best, 0) == "" and guard.calm
    assert guard.mark(599) == [] and guard.mark(-400) == []
    guard = guards(max_drawdown=10.0)
    guard.fold(best, 0)
    assert guard.mark(-499) == []
    (row,) = guard.mark(-500)
    assert row == {"guard": "drawdown", "peak_paise": 500, "text":
                   "10.00 below the day's best 5.00 >= max_drawdown 10.00"}  # fmt: skip
    assert guard.drawdown == "" and guard.fold(row, 0) == f"drawdown: {row['text']}"
    assert guard.drawdown == row["text"] and guard.tripped == 1 and not guard.calm
    assert guard.mark(-5000) == [], "once"
    assert guard.net_paise == -5000 and guard.peak_paise == 500
    row = guard.let_go()
    assert row == {"guard": "let_go", "peak_paise": -5000} and guard.fold(row, 0) == ""
    assert guard.calm and guard.drawdown == "" and guard.peak_paise == -5000
    assert guard.mark(-5999) == [] and guard.mark(-6000) != [], "from where it was let go"
    assert guards().mark(-(10**12)) == [], "no limit"
    assert guards(max_drawdown=0.0).mark(0) != [], "a limit of 0 refuses"


def test_the_best_of_the_day_is_told_from_a_tenth_of_the_limit_on() -> None:
    guard = guards(max_drawdown=10.0)
    assert guard.mark(99) == [] and guard.mark(100) == [{"guard": "peak", "peak_paise": 100}]
    guard.fold({"guard": "peak", "peak_paise": 100}, 0)
    assert guard.mark(199) == [] and guard.mark(200) == [{"guard": "peak", "peak_paise": 200}]


def test_a_person_ends_pauses_and_cooling() -> None:
    guard = guards(stop_losses_max=2, cooldown_s=100.0)
    for slot in (0, 1):
        guard.fold(closed(-1, slot=slot), 0)
    guard.fold(closed(-1, slot=2), 0)
    guard.fold(guard.let_go(), S)
    assert guard.calm and guard.paused_ns(S) == guard.cooling_ns(1, 0, S) == 0
    assert guard.fold(closed(-1), 2 * S) == "", "the losses before are forgotten"


def test_the_best_of_the_day_comes_back_with_the_records() -> None:
    guard = guards(max_drawdown=10.0)
    guard.fold(closed(5) | {"peak_paise": 900}, 0)
    assert guard.peak_paise == 900 and guard.mark(-100) != []
    guard.fold(closed(5) | {"peak_paise": 100}, 0)
    assert guard.peak_paise == 900


@pytest.mark.parametrize(
    "data", [{"guard": "nonsense", "peak_paise": 0}, {"guard": "closed", "peak_paise": 0}, {}]
)
def test_a_record_that_does_not_fit_is_an_error(data: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        guards().fold(data, 0)


def test_a_single_share_turned() -> None:
    world = Fills()
    world.fill(1, PX)
    world.look()
    world.fill(-2, PX - 7)
    assert world.look() == [(1, 0, -7)]


def test_a_single_share_sold_short_closes_nothing() -> None:
    world = Fills()
    world.fill(-1, PX)
    assert world.look() == []


def test_silence_is_what_none_of_the_questions_would_break() -> None:
    guard = guards(cooldown_s=10.0, stop_losses_max=2, stop_pause_s=5.0, max_drawdown=10.0)
    assert guard.silent(1, 0, 0)
    guard.fold(closed(-1), 0)
    assert not guard.silent(1, 0, 0) and guard.silent(2, 0, 0) and guard.silent(1, 1, 0)
    guard.fold(closed(-1, slot=5), 0)
    assert not guard.silent(2, 0, 5 * S - 1) and guard.silent(2, 0, 5 * S)
    guard.fold({"guard": "drawdown", "text": "x", "peak_paise": 0}, 0)
    assert not guard.silent(2, 0, 5 * S)


def test_a_day_that_only_loses_is_measured_from_nothing() -> None:
    for net, trips in ((-99, False), (-100, True)):
        guards = Guards(RiskLimits(max_drawdown=1.0))
        assert bool(guards.mark(net)) is trips and guards.peak_paise == 0


def test_a_position_that_was_opened_and_closed_between_two_looks_is_seen_whatever_it_made() -> None:
    for units in (-1, 1, 2):
        bench = Bench()
        position = bench.stage.book.position_of(1, 0, 3)
        position.net_units = -units
        found = Guards(RiskLimits()).look(bench.stage.book, each_kind())
        assert [(row["guard"], row["paise"]) for row in found] == [("closed", units)]


def test_a_position_closed_without_a_loss_trips_nothing() -> None:
    guards = Guards(RiskLimits(stop_losses_max=1, cooldown_s=60.0))
    for paise in (0, 5):
        row = {"guard": "closed", "strategy": 1, "slot": 0, "paise": paise, "peak_paise": 0}
        assert guards.fold(row, 10) == "" and guards.calm
