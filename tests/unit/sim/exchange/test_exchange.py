"""The status chain, fills against the moving book, modification and cancellation."""

from __future__ import annotations

import pytest
from sim_tools import (
    COMMODITY,
    EQUITY,
    MS,
    NOW,
    OPTION,
    SECOND,
    book_of,
    exchange_at,
    settle,
    snapshot,
)

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Change, NewOrder, Order, Refusal
from kite_hft.sim.exchange.rules import ExchangeParams, FillRule, Latency


def limit(side: Side, quantity: int, px: int, **more: object) -> NewOrder:
    return NewOrder(EQUITY, side, OrderType.LIMIT, Product.MIS, quantity, px=px, **more)  # type: ignore[arg-type]


def placed(exchange: Exchange, order: NewOrder, now: int = NOW) -> Order:
    order_id = exchange.place(order, now)
    settle(exchange, now)
    return exchange.orders[order_id]


def statuses(order: Order) -> list[str]:
    return [state.status for state in order.states]


def fills(exchange: Exchange) -> list[tuple[int, int]]:
    return [(trade.px, trade.quantity) for trade in exchange.account.trades]


def test_the_chain_takes_its_time() -> None:
    exchange = exchange_at()
    order = exchange.orders[exchange.place(limit(Side.BUY, 1, 9_000), NOW)]
    seen = []
    for ms in range(5):
        exchange.step(NOW + ms * MS)
        seen.append(order.now.status)
    assert seen == ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "OPEN"]
    assert exchange.next_due_ns() is None
    assert order.states[2].exchange_order_id is None
    assert order.now.exchange_order_id is not None
    assert exchange.drain_updates() == []  # placing alone tells nobody


def test_an_order_takes_thirty_to_a_hundred_and_fifty_milliseconds_when_asked_to() -> None:
    exchange = exchange_at(latency=Latency())
    took = []
    for i in range(200):
        at = NOW + 3 * i * SECOND
        order = placed(exchange, limit(Side.BUY, 1, 9_000), at)
        for act in (
            lambda t, o=order: exchange.modify(o.order_id, Change(px=9_005), t),
            lambda t, o=order: exchange.cancel(o.order_id, t),
        ):
            took.append(order.now.at_ns - at)
            at += SECOND
            act(at)
            settle(exchange, at)
        took.append(order.now.at_ns - at)
    assert 29 * MS < min(took) < 40 * MS and 100 * MS < max(took) <= 150 * MS


def test_aggressive_order_walks_the_levels_and_the_rest_waits() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 35, 10_015))
    assert fills(exchange) == [(10_005, 10), (10_010, 10), (10_015, 10)]
    assert (order.now.status, order.now.filled, order.now.pending) == ("OPEN", 30, 5)
    assert [u["status"] for u in exchange.drain_updates()] == ["UPDATE"] * 3


def test_displayed_quantity_is_gone_until_the_next_snapshot() -> None:
    exchange = exchange_at(quantity=10, fills=FillRule(touch=True))
    placed(exchange, limit(Side.BUY, 10, 10_005))
    second = placed(exchange, limit(Side.BUY, 5, 10_005), NOW + SECOND)
    assert second.now.filled == 0
    # The next snapshot shows the ask again: the waiting order takes from it at its own price.
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10), NOW + 3 * SECOND)
    assert second.now.status == "COMPLETE"
    third = placed(exchange, limit(Side.BUY, 10, 10_005), NOW + 3 * SECOND)
    assert third.now.filled == 5  # of ten shown, five went to the second order


def test_ioc_cancels_its_rest() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 25, 10_010, validity=Validity.IOC))
    assert (order.now.status, order.now.filled, order.now.cancelled) == ("CANCELLED", 20, 5)
    assert exchange.drain_updates()[-1]["status"] == "CANCELLED"


def test_resting_order_waits_behind_the_queue_at_its_price() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 4, 10_000))
    later = NOW + 2 * SECOND
    assert order.queue_ahead == 10
    # 8 traded at our price: all of it in front of us.
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=1008), later)
    assert (order.now.filled, order.queue_ahead) == (0, 2)
    # 5 more: 2 in front, 3 for us.
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=1013), later)
    assert order.now.filled == 3
    # Trades elsewhere do not matter, nor does a snapshot without a trade.
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_005, volume=1050), later)
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=1050), later)
    assert order.now.filled == 3
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=1060), later)
    assert order.now.status == "COMPLETE"
    assert fills(exchange) == [(10_000, 3), (10_000, 1)]


def test_a_trade_through_the_price_fills_what_was_traded() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 4, 10_000))
    exchange.on_ticks(snapshot(0, [(9_980, 10)], [(10_005, 10)], last=9_990, volume=1003), NOW + 2 * SECOND)
    assert fills(exchange) == [(10_000, 3)]
    assert order.now.pending == 1


def test_a_day_volume_that_goes_back_is_no_trade_when_it_recovers() -> None:
    exchange = exchange_at(quantity=10)
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, volume=900), NOW)  # the book before had 1000
    order = placed(exchange, limit(Side.BUY, 4, 10_000))
    low = ([(9_980, 10)], [(10_005, 10)])
    exchange.on_ticks(snapshot(0, *low, last=9_990, volume=1000), NOW + 2 * SECOND)
    assert order.now.filled == 0
    exchange.on_ticks(snapshot(0, *low, last=9_990, volume=1001), NOW + 2 * SECOND)
    assert order.now.filled == 1


def test_one_traded_unit_fills_one_order_only() -> None:
    exchange = exchange_at(quantity=10)
    first = placed(exchange, limit(Side.BUY, 4, 10_000))
    second = placed(exchange, limit(Side.BUY, 4, 9_995), NOW + SECOND)
    exchange.on_ticks(snapshot(0, [(9_980, 1)], [(10_050, 1)], last=9_990, volume=1006), NOW + 3 * SECOND)
    assert (first.now.filled, second.now.filled) == (4, 2)
    third = placed(exchange, limit(Side.BUY, 4, 10_000), NOW + 3 * SECOND)  # a better price goes first
    exchange.on_ticks(snapshot(0, [(9_980, 1)], [(10_050, 1)], last=9_990, volume=1009), NOW + 5 * SECOND)
    assert (second.now.filled, third.now.filled) == (2, 3)


def test_touch_crossing_a_resting_sell_fills_at_its_price_only_when_asked_for() -> None:
    for touch, expected in ((True, [(10_050, 3), (10_050, 1)]), (False, [])):
        exchange = exchange_at(quantity=10, fills=FillRule(touch=touch))
        placed(exchange, limit(Side.SELL, 4, 10_050))
        exchange.on_ticks(book_of(0, 10_060, 10_065, 3), NOW + 2 * SECOND)
        assert fills(exchange) == expected


def test_a_quote_at_the_price_is_no_trade_and_shown_quantity_is_not_taken_twice() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 15, 10_005))
    for i in range(3):  # the same ten are shown again and again: nobody sold them to us
        exchange.on_ticks(book_of(0, 10_000, 10_005, 10), NOW + (2 + i) * SECOND)
    assert order.now.filled == 10


def test_part_of_the_queue_and_part_of_the_volume_can_be_taken_as_ours() -> None:
    exchange = exchange_at(quantity=10, fills=FillRule(queue_share=0.25, volume_share=0.5))
    order = placed(exchange, limit(Side.BUY, 9, 10_000))
    assert order.queue_ahead == 3  # a quarter of ten, rounded up
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=1010), NOW + 2 * SECOND)
    assert order.now.filled == 2  # half of ten, less three


def test_a_feed_without_day_volume_fills_what_the_price_went_through() -> None:
    exchange = exchange_at(quantity=10)
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, volume=0), NOW)
    order = placed(exchange, limit(Side.BUY, 4, 10_000))
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=0), NOW + 2 * SECOND)
    assert order.now.filled == 0
    exchange.on_ticks(book_of(0, 9_990, 9_995, 10, last=9_995, volume=0), NOW + 3 * SECOND)
    assert fills(exchange) == [(10_000, 4)]


def test_disclosed_parts_stand_behind_the_queue_each_time() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 20, 10_000, disclosed_quantity=4))
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=1030), NOW + 2 * SECOND)
    assert (order.now.filled, order.queue_ahead) == (4, 10)  # ten in front, then only four are shown
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, volume=1042), NOW + 3 * SECOND)
    assert (order.now.filled, order.queue_ahead) == (6, 0)


def test_stages_before_a_tick_meet_the_book_before_it() -> None:
    exchange = exchange_at(quantity=10)
    exchange.place(limit(Side.BUY, 4, 10_005), NOW)
    # Nobody stepped the exchange meanwhile; the order arrived long before the market moved away.
    exchange.on_ticks(book_of(0, 10_050, 10_055, 10), NOW + SECOND)
    assert fills(exchange) == [(10_005, 4)]


def test_price_beyond_the_shown_levels_gets_its_queue_when_it_shows() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 4, 9_000))
    assert order.queue_ahead is None
    exchange.on_ticks(book_of(0, 9_010, 9_015, 7, last=9_015, volume=1001), NOW + 2 * SECOND)
    assert order.queue_ahead == 7


def test_protected_market_order_becomes_a_limit_and_rests() -> None:
    exchange = exchange_at(quantity=10)
    request = NewOrder(EQUITY, Side.BUY, OrderType.MARKET, Product.MIS, 60, protection_percent=-1, tag="mine")
    order = placed(exchange, request)
    # LTP 100.00: band of 100..500 rupees is 1 %.
    assert (order.now.order_type, order.now.px) == (OrderType.LIMIT, 10_100)
    assert (order.now.status, order.now.filled) == ("OPEN", 50)
    assert order.tags == ["mktp", "mktp:1.00", "mine"]
    row = exchange.drain_updates()[-1]
    assert (row["order_type"], row["market_protection"], row["tag"]) == ("LIMIT", 0, "mine")


def test_market_order_in_an_option_without_a_trade_is_rejected() -> None:
    exchange = exchange_at()
    exchange.on_ticks(book_of(1, 5_000, 5_005, 75, volume=0), NOW)
    request = NewOrder(OPTION, Side.BUY, OrderType.MARKET, Product.NRML, 75, protection_percent=-1)
    assert placed(exchange, request).now.status == "REJECTED"


def test_stop_order_waits_for_its_trigger() -> None:
    exchange = exchange_at(quantity=10)
    stop = NewOrder(
        EQUITY, Side.BUY, OrderType.SL, Product.MIS, 5, px=10_060, trigger_px=10_050, validity=Validity.DAY
    )
    order = placed(exchange, stop)
    assert order.now.status == "TRIGGER PENDING"
    exchange.on_ticks(book_of(0, 10_040, 10_045, 10, last=10_045, volume=1001), NOW + 2 * SECOND)
    assert order.now.status == "TRIGGER PENDING"
    exchange.on_ticks(book_of(0, 10_045, 10_050, 10, last=10_050, volume=1002), NOW + 3 * SECOND)
    assert order.now.status == "COMPLETE"
    assert fills(exchange) == [(10_050, 5)]
    assert statuses(order)[3:] == ["TRIGGER PENDING", "OPEN", "COMPLETE"]


def test_stop_market_is_protected_from_the_price_that_triggered_it() -> None:
    exchange = exchange_at(quantity=10)
    stop = NewOrder(EQUITY, Side.SELL, OrderType.SLM, Product.MIS, 5, trigger_px=9_900, protection_percent=2)
    order = placed(exchange, stop)
    exchange.on_ticks(book_of(0, 9_000, 9_500, 10, last=9_890, volume=1001), NOW + 2 * SECOND)
    assert order.now.order_type == OrderType.LIMIT
    assert order.now.px == 9_695  # 2 % below 98.90 is 96.922: up to the grid, inside the band
    assert order.now.filled == 0


def test_modification_walks_its_chain_and_loses_the_queue() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 4, 10_000))
    exchange.modify(order.order_id, Change(px=9_995, quantity=6), NOW + 2 * SECOND)
    settle(exchange, NOW + 2 * SECOND)
    assert statuses(order)[3:] == ["OPEN", "MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED", "OPEN"]
    assert (order.now.px, order.now.quantity, order.queue_ahead, order.now.modified) == (9_995, 6, 10, True)
    assert exchange.drain_updates()[-1]["status"] == "UPDATE"


def test_modification_to_a_reachable_price_trades_at_once() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 4, 9_900))
    exchange.modify(order.order_id, Change(px=10_005), NOW + 2 * SECOND)
    settle(exchange, NOW + 2 * SECOND)
    assert order.now.status == "COMPLETE"


def test_modification_that_needs_more_cash_than_there_is_changes_nothing() -> None:
    exchange = exchange_at(cash_paise=9_000)  # MIS: a fifth of the value
    order = placed(exchange, limit(Side.BUY, 4, 9_000))
    exchange.modify(order.order_id, Change(quantity=6), NOW + 2 * SECOND)
    settle(exchange, NOW + 2 * SECOND)
    assert (order.now.status, order.now.quantity) == ("OPEN", 4)
    assert order.now.message_raw is not None and order.now.message_raw.startswith("RMS:Margin Exceeds")
    assert exchange.account.reserved_paise == 4 * 9_000 // 5


def test_fill_during_a_modification_wins() -> None:
    exchange = exchange_at(quantity=10)
    order = placed(exchange, limit(Side.BUY, 4, 10_000))
    exchange.modify(order.order_id, Change(px=9_000), NOW + 2 * SECOND)
    exchange.on_ticks(book_of(0, 9_990, 9_995, 10, last=9_995, volume=1010), NOW + 2 * SECOND)
    settle(exchange, NOW + 2 * SECOND)
    assert order.now.status == "COMPLETE"
    assert order.now.px == 10_000


def test_cancel_keeps_the_partial_fill() -> None:
    exchange = exchange_at(quantity=1)
    order = placed(exchange, limit(Side.BUY, 4, 10_005))
    exchange.cancel(order.order_id, NOW + 2 * SECOND)
    assert order.now.status == "CANCEL PENDING"
    settle(exchange, NOW + 2 * SECOND)
    assert (order.now.status, order.now.filled, order.now.cancelled) == ("CANCELLED", 1, 3)
    assert exchange.account.reserved_paise == 0


@pytest.mark.parametrize("verb", ["cancel", "modify"])
def test_done_busy_and_unknown_orders_cannot_be_changed(verb: str) -> None:
    exchange = exchange_at()

    def act(order_id: str) -> None:
        if verb == "cancel":
            exchange.cancel(order_id, NOW)
        else:
            exchange.modify(order_id, Change(px=9_000), NOW)

    with pytest.raises(Refusal, match="order_id"):
        act("nonsense")
    order_id = exchange.place(limit(Side.BUY, 1, 10_005), NOW)
    with pytest.raises(Refusal, match="being processed"):
        act(order_id)
    settle(exchange)
    with pytest.raises(Refusal, match="already complete"):
        act(order_id)


def test_the_26th_modification_is_refused() -> None:
    exchange = exchange_at()
    order = placed(exchange, limit(Side.BUY, 1, 9_000))
    for i in range(25):
        now = NOW + (i + 1) * SECOND
        exchange.modify(order.order_id, Change(px=9_005 if i % 2 else 9_000), now)
        settle(exchange, now)
    with pytest.raises(Refusal, match="Maximum allowed order modifications exceeded"):
        exchange.modify(order.order_id, Change(px=9_010), NOW + 100 * SECOND)


def test_rejections_keep_cash_and_name_the_reason() -> None:
    exchange = exchange_at(cash_paise=7_999)
    funds = placed(exchange, limit(Side.BUY, 4, 10_000))
    assert funds.now.status == "REJECTED"
    assert funds.now.message == (
        "Insufficient funds. Required margin is 80.00 but available margin is 79.99. "
        "Check the orderbook for open orders."
    )
    assert placed(exchange, limit(Side.BUY, 2, 13_000)).now.status == "REJECTED"  # above the circuit
    assert placed(exchange, limit(Side.BUY, 2, 7_995)).now.status == "REJECTED"
    cnc = NewOrder(EQUITY, Side.SELL, OrderType.LIMIT, Product.CNC, 1, px=10_000)
    assert placed(exchange, cnc).now.status == "REJECTED"  # nothing held
    assert [u["status"] for u in exchange.drain_updates()] == ["REJECTED"] * 4
    assert exchange.account.available_paise == 7_999


def test_the_last_paisa_may_be_spent_and_no_more() -> None:
    assert placed(exchange_at(cash_paise=4_000), limit(Side.BUY, 2, 10_000)).now.status == "OPEN"
    assert placed(exchange_at(cash_paise=3_999), limit(Side.BUY, 2, 10_000)).now.status == "REJECTED"


def test_open_buys_reserve_cash() -> None:
    exchange = exchange_at(cash_paise=6_000)
    first = placed(exchange, limit(Side.BUY, 2, 9_500))
    assert exchange.account.available_paise == 2_200
    assert placed(exchange, limit(Side.BUY, 2, 9_500)).now.status == "REJECTED"
    exchange.cancel(first.order_id, NOW + 2 * SECOND)
    settle(exchange, NOW + 2 * SECOND)
    assert placed(exchange, limit(Side.BUY, 2, 9_500), NOW + 4 * SECOND).now.status == "OPEN"


def test_delivery_can_sell_what_was_bought_and_no_more() -> None:
    exchange = exchange_at(quantity=10)
    placed(exchange, NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, Product.CNC, 5, px=10_005))
    sell = NewOrder(EQUITY, Side.SELL, OrderType.LIMIT, Product.CNC, 3, px=10_100)
    assert placed(exchange, sell, NOW + SECOND).now.status == "OPEN"
    assert placed(exchange, sell, NOW + 2 * SECOND).now.status == "REJECTED"


def test_freeze_quantity_and_multiplier() -> None:
    exchange = exchange_at(cash_paise=10**12)
    exchange.on_ticks(book_of(1, 5_000, 5_005, 750), NOW)
    exchange.on_ticks(book_of(4, 12_000_000, 12_000_100, 5, step=100), NOW)
    big = NewOrder(OPTION, Side.BUY, OrderType.LIMIT, Product.NRML, 1875, px=5_000)
    assert placed(exchange, big).now.status == "REJECTED"
    gold = NewOrder(COMMODITY, Side.BUY, OrderType.LIMIT, Product.NRML, 2, px=12_000_100)
    placed(exchange, gold, NOW + SECOND)
    assert exchange.account.cash_paise == 10**12 - 2 * 12_000_100 * 100


def test_tags_can_be_dropped() -> None:
    exchange = exchange_at(keep_tags=False)
    order = placed(exchange, limit(Side.BUY, 1, 9_000, tag="mine"))
    assert order.tags == []


def test_same_seed_same_trace() -> None:
    def trace(seed: int) -> list[tuple[object, ...]]:
        exchange = Exchange(exchange_at().instruments, 10**9, seed, ExchangeParams(latency_ns=(1, MS)))
        exchange.on_ticks(book_of(0, 10_000, 10_005, 3), NOW)
        for i in range(20):
            exchange.place(limit(Side.BUY, 1 + i % 3, 10_005), NOW + i * MS)
            exchange.on_ticks(book_of(0, 10_000, 10_005, 3), NOW + i * MS)
        settle(exchange)
        return [(o.order_id, *o.states) for o in exchange.orders.values()]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
