"""Entries by five questions: when they are asked, what is asked for, what comes after."""

from __future__ import annotations

import numpy as np
import pytest
from strategy_tools import OPEN_S, Market, event, refused, unanswered

from kite_hft import BaseStrategy
from kite_hft._kernels import Kernels
from kite_hft.layout import EventKind, OrderStatus
from kite_hft.strategies.entry_exit import EntryExitStrategy, second_of
from kite_hft.strategies.hosts import PythonHost, new_batch

OPEN = "09:15"


class Above(EntryExitStrategy):
    """Enters above a price."""

    def __init__(self, above: float = 100.0, **more: object) -> None:
        super().__init__(start=OPEN, **more)  # type: ignore[arg-type]
        self.above = above

    def validate_entry_conditions(self, tick) -> bool:  # type: ignore[no-untyped-def]
        return bool(tick.last_price > self.above)


def test_an_entry_and_its_exits_on_the_price_grid() -> None:
    market = Market(Above(quantity=3, stop_percent=2.0, target_percent=4.0)).run([99.9, 100.55, 101, 102])
    assert market.made() == [(1, "BUY", 3), (1, "EXITS", 0)]
    exits = market.intents[1]
    assert (int(exits["trigger_px"]), int(exits["px"])) == (98_55, 104_55), "98.539 and 104.572 on 0.05"


def test_the_other_side_has_its_stop_above() -> None:
    strategy = Above(quantity=1)
    strategy.entry_side = "SELL"
    exits = Market(strategy).run([101.0]).intents[1]
    assert (int(exits["trigger_px"]), int(exits["px"])) == (103_00, 96_95)


def test_no_second_entry_while_one_is_under_way_and_none_after_the_last() -> None:
    waits = Market(Above(entries_max=9), answers={1: unanswered}).run([101.0] * 5)
    assert [name for _, name, _ in waits.made()] == ["BUY", "EXITS"]
    again = Market(Above(entries_max=2), answers={1: refused, 3: refused, 5: refused}).run([101.0] * 9)
    assert [name for _, name, _ in again.made()] == ["BUY", "EXITS"] * 2


def test_outside_its_hours_it_is_not_asked() -> None:
    early = EntryExitStrategy(start="09:16", end="09:17")
    early.validate_entry_conditions = lambda tick: True  # type: ignore[method-assign]
    market = Market(early).run([100.0] * 200, step_s=1.0)
    assert market.ticks[0] == 60
    late = EntryExitStrategy(start="09:00", end=OPEN)
    late.validate_entry_conditions = lambda tick: True  # type: ignore[method-assign]
    assert not Market(late).run([100.0] * 3).intents
    assert second_of(OPEN) == (OPEN_S + 19_800) % 86_400


def test_what_it_remembers_comes_back() -> None:
    before = Market(Above(entries_max=1), answers={1: refused}).run([101.0, 101.0])
    after = Above(entries_max=1)
    after.restore(before.strategy.save())  # type: ignore[union-attr, arg-type]
    assert not Market(after).run([101.0] * 3).intents, "the day's entry is spent"
    after.on_session()
    assert Market(after).run([101.0]).made()[0][1] == "BUY"


@pytest.mark.parametrize("status", ["REFUSED", "REJECTED", "CANCELLED", "COMPLETE", "ABSENT"])
def test_an_entry_that_ended_while_nobody_listened_is_waited_for_no_more(status: str) -> None:
    """Its end is told by a snapshot only, after a restart of this process or of the orders process."""
    market = Market(Above(entries_max=2), answers={1: unanswered}).run([101.0] * 3)
    market.tell(event(market.intents[0], EventKind.SNAPSHOT, OrderStatus[status], 0))
    assert [name for _, name, _ in market.run([101.0]).made()] == ["BUY", "EXITS"] * 2


def test_an_entry_asked_for_after_the_last_save_is_learned_again() -> None:
    before = Market(Above(entries_max=2), answers={1: unanswered})
    saved = before.strategy.save()  # type: ignore[union-attr]
    entry = before.run([101.0]).intents[0]
    again = Above(entries_max=2)
    again.restore(saved)  # type: ignore[arg-type]
    after = Market(again, answers={1: refused, 3: refused})
    snapshot = event(entry, EventKind.SNAPSHOT, OrderStatus.OPEN, 0)
    after.tell(snapshot, snapshot)
    assert not after.run([101.0] * 3).intents, "it is under way"
    after.tell(event(entry, EventKind.CANCELLED, OrderStatus.CANCELLED, 0))
    assert [name for _, name, _ in after.run([101.0] * 5).made()] == ["BUY", "EXITS"], "and it counted"


@pytest.mark.parametrize(
    "wrong", [{"start": "9"}, {"end": "25:00"}, {"quantity": 0}, {"stop_percent": 100}, {"target_percent": 0}]
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        EntryExitStrategy(**wrong)  # type: ignore[arg-type]


class MyStrategy(BaseStrategy):
    """As it stands in docs/python.md."""

    def on_tick(self, tick):  # type: ignore[no-untyped-def]
        if self.should_buy(tick):
            self.place_order("BUY", tick.instrument_token, 1)

    def should_buy(self, tick):  # type: ignore[no-untyped-def]
        return tick.change_percent > 2.0


@pytest.mark.parametrize(("last_px", "bought"), [(102_00, 0), (102_05, 1), (98_00, 0)])
def test_the_promised_strategy_buys_above_two_percent(last_px: int, bought: int) -> None:
    token = np.array([738561], np.uint32)
    batch = new_batch(1, token, np.array([100.0]))
    host = PythonHost(MyStrategy(), 1, batch)
    host.start()
    host.outbox.begin(10)
    batch.ticks["last_px"], batch.ticks["close_px"], batch.ticks["exch_ns"] = last_px, 100_00, OPEN_S * 10**9
    Kernels(1, scale=np.array([100.0]), token=token).run(batch.ticks, 1, batch.rows, batch.bars)
    host.run(1)
    assert host.outbox.n == bought
