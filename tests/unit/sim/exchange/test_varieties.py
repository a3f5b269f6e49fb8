"""Cover orders, icebergs, after-market orders, slices, time to live, auctions: leg by leg."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_tools import EQUITY, MS, NOW, OPTION, SECOND, TABLE, book_of, exchange_at, settle, snapshot

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sessions import ist_text
from kite_hft.sim.exchange.account import Holding
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Change, NewOrder, Order, Refusal
from kite_hft.sim.exchange.rules import ExchangeParams

LIMIT = NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, Product.MIS, 4, px=10_005, tag="mine")
COVER = replace(LIMIT, variety="co", trigger_px=9_900)
ICEBERG = replace(LIMIT, quantity=50, variety="iceberg", iceberg_legs=3, iceberg_quantity=20)


def orders(exchange: Exchange) -> list[Order]:
    return list(exchange.orders.values())


def statuses(order: Order) -> list[str]:
    return [state.status for state in order.states]


# -- cover orders


def covered(exchange: Exchange, request: NewOrder = COVER) -> tuple[Order, Order]:
    exchange.place(request, NOW)
    settle(exchange)
    first, second = orders(exchange)
    return first, second


def test_a_filled_cover_order_brings_its_stop() -> None:
    exchange = exchange_at()
    first, second = covered(exchange)
    assert first.now.status == "COMPLETE"
    assert (second.parent_id, second.now.status) == (first.order_id, "TRIGGER PENDING")
    assert (second.request.side, second.now.order_type) == (Side.SELL, OrderType.SLM)
    assert (second.now.quantity, second.now.trigger_px, second.request.variety) == (4, 9_900, "co")
    assert exchange.desk.placed_today(NOW) == 1
    exchange.on_ticks(snapshot(0, [(9_895, 10)], [(9_905, 10)], last=9_900, volume=1001), NOW + 2 * SECOND)
    assert second.now.status == "COMPLETE" and exchange.account.net(0, Product.MIS) == 0


def test_what_was_filled_before_a_cancel_is_covered() -> None:
    exchange = exchange_at(quantity=1)
    exchange.place(COVER, NOW)
    settle(exchange)
    (first,) = orders(exchange)
    assert (first.now.status, first.now.filled) == ("OPEN", 1)
    exchange.cancel(first.order_id, NOW + 2 * SECOND)
    settle(exchange, NOW + 2 * SECOND)
    assert (first.now.status, orders(exchange)[1].now.quantity) == ("CANCELLED", 1)


def test_an_unfilled_cover_order_brings_nothing() -> None:
    exchange = exchange_at()
    order_id = exchange.place(replace(COVER, px=9_950), NOW)
    settle(exchange)
    exchange.cancel(order_id, NOW + 2 * SECOND)
    settle(exchange, NOW + 2 * SECOND)
    assert len(exchange.orders) == 1


def test_a_cover_position_is_left_by_its_second_leg_with_the_parent() -> None:
    exchange = exchange_at()
    first, second = covered(exchange)
    for parent, text in ((None, "needs `parent_order_id`"), ("17", "Invalid `parent_order_id`")):
        with pytest.raises(Refusal, match=text):
            exchange.cancel(second.order_id, NOW + 2 * SECOND, parent)
    exchange.cancel(second.order_id, NOW + 2 * SECOND, first.order_id)
    settle(exchange, NOW + 2 * SECOND)
    assert second.now.status == "COMPLETE" and exchange.account.net(0, Product.MIS) == 0
    assert statuses(second)[-2:] == ["OPEN", "COMPLETE"]


def test_a_cover_order_lives_for_the_day_whatever_product_is_named() -> None:
    exchange = exchange_at()
    first, second = covered(exchange, replace(COVER, product=Product.CNC))
    assert (first.request.product, second.request.product) == (Product.MIS, Product.MIS)


def test_an_exit_that_comes_after_the_stop_went_off_does_nothing() -> None:
    exchange = exchange_at()
    first, second = covered(exchange)
    exchange.cancel(second.order_id, NOW + 2 * SECOND, first.order_id)
    low = snapshot(0, [(9_895, 10)], [(9_905, 10)], last=9_900, volume=1001)
    exchange.on_ticks(low, NOW + 2 * SECOND + 1)
    done = list(second.states)
    assert second.now.status == "COMPLETE"
    settle(exchange, NOW + 2 * SECOND)
    assert second.states == done and exchange.account.net(0, Product.MIS) == 0


def test_an_exit_in_a_halted_market_waits() -> None:
    exchange = exchange_at()
    first, second = covered(exchange)
    exchange.halt(True, NOW + 2 * SECOND)
    exchange.cancel(second.order_id, NOW + 2 * SECOND, first.order_id)
    settle(exchange, NOW + 2 * SECOND)
    assert (second.now.status, second.now.filled) == ("OPEN", 0)
    exchange.halt(False, NOW + 4 * SECOND)
    exchange.on_ticks(book_of(0, 9_990, 9_995, 10, last=9_990, volume=1050), NOW + 5 * SECOND)
    exchange.on_ticks(book_of(0, 9_990, 9_995, 10, last=9_990, volume=1100), NOW + 6 * SECOND)
    assert second.now.status == "COMPLETE"


def test_of_a_cover_order_only_prices_change() -> None:
    exchange = exchange_at()
    first, second = covered(exchange)
    exchange.modify(second.order_id, Change(trigger_px=9_950, parent_order_id=first.order_id), NOW + SECOND)
    settle(exchange, NOW + SECOND)
    assert second.now.trigger_px == 9_950
    for change in (Change(quantity=2), Change(order_type=OrderType.LIMIT, px=9_000)):
        with pytest.raises(Refusal, match="Only price and trigger price"):
            exchange.modify(second.order_id, change, NOW + 3 * SECOND)
    with pytest.raises(Refusal, match="parent_order_id"):
        exchange.modify(second.order_id, Change(trigger_px=9_940, parent_order_id="17"), NOW + 3 * SECOND)


def test_a_changed_trigger_of_the_first_leg_is_the_second_legs() -> None:
    exchange = exchange_at()
    order_id = exchange.place(replace(COVER, px=9_995), NOW)
    settle(exchange)
    with pytest.raises(Refusal, match="should be below its price"):
        exchange.modify(order_id, Change(trigger_px=9_995), NOW + SECOND)
    exchange.modify(order_id, Change(trigger_px=9_800), NOW + SECOND)
    settle(exchange, NOW + SECOND)
    exchange.on_ticks(book_of(0, 9_900, 9_905, 10, last=9_905, volume=1100), NOW + 3 * SECOND)
    settle(exchange, NOW + 3 * SECOND)
    assert orders(exchange)[1].now.trigger_px == 9_800


def test_a_market_cover_order_is_protected_and_its_trigger_checked_against_the_last_price() -> None:
    exchange = exchange_at()
    market = replace(COVER, order_type=OrderType.MARKET, px=0, protection_percent=-1)
    with pytest.raises(Refusal, match="should be below"):
        exchange.place(replace(market, trigger_px=10_000), NOW)
    first, second = covered(exchange, market)
    assert first.now.status == "COMPLETE" and second.now.status == "TRIGGER PENDING"


# -- icebergs


def test_an_iceberg_shows_one_leg_at_a_time() -> None:
    exchange = exchange_at(quantity=20)
    first_id = exchange.place(ICEBERG, NOW)
    settle(exchange)
    first, second = orders(exchange)
    assert (first.order_id, first.now.status, first.now.quantity) == (first_id, "COMPLETE", 20)
    assert first.leg == (1, 3, 20, 50, 30) and second.leg == (2, 3, 20, 50, 10)
    assert (second.now.status, second.tags, second.now.filled) == ("OPEN", ["mine"], 0)
    at = NOW + 2 * SECOND
    exchange.on_ticks(snapshot(0, [(9_990, 5)], [(10_000, 5)], last=10_000, volume=1100), at)
    settle(exchange, at)
    third = orders(exchange)[2]
    assert second.now.status == "COMPLETE" and third.leg == (3, 3, 10, 50, 0)
    exchange.on_ticks(snapshot(0, [(9_990, 5)], [(10_000, 5)], last=9_995, volume=1200), at + 2 * SECOND)
    settle(exchange, at + 2 * SECOND)
    assert sum(order.now.filled for order in orders(exchange)) == 50 and len(exchange.orders) == 3
    assert exchange.desk.placed_today(NOW) == 3  # each leg counts


def test_a_cancelled_leg_ends_the_iceberg() -> None:
    exchange = exchange_at()
    order_id = exchange.place(replace(ICEBERG, px=9_000), NOW)
    settle(exchange)
    exchange.cancel(order_id, NOW + SECOND)
    settle(exchange, NOW + SECOND)
    assert [order.now.status for order in orders(exchange)] == ["CANCELLED"]


def test_an_iceberg_stops_at_the_days_cap() -> None:
    exchange = exchange_at(quantity=100, orders_per_day=2)
    exchange.place(ICEBERG, NOW)
    settle(exchange)
    settle(exchange, NOW + SECOND)
    assert [order.now.filled for order in orders(exchange)] == [20, 20]


def test_a_changed_quantity_is_one_legs_alone_a_changed_price_stays() -> None:
    exchange = exchange_at(quantity=100)
    order_id = exchange.place(replace(ICEBERG, px=9_000), NOW)
    settle(exchange)
    exchange.modify(order_id, Change(quantity=15, px=10_005), NOW + SECOND)
    settle(exchange, NOW + SECOND)
    settle(exchange, NOW + 3 * SECOND)
    assert [order.now.filled for order in orders(exchange)] == [15, 20, 10]
    assert {order.now.px for order in orders(exchange)} == {10_005}


# -- slices


def option_exchange(cash_paise: int = 10**12, **options: object) -> Exchange:
    exchange = exchange_at(cash_paise=cash_paise, **options)
    exchange.on_ticks(book_of(1, 5_000, 5_005, 7_500), NOW)
    return exchange


SLICED = NewOrder(
    OPTION, Side.BUY, OrderType.LIMIT, Product.NRML, 75 * 60, px=5_005, tag="mine", autoslice=True
)


def test_a_big_order_is_split_over_the_freeze_quantity() -> None:
    exchange = option_exchange()
    parent, children = exchange.place_sliced(SLICED, NOW)
    settle(exchange)
    assert parent not in exchange.orders and children == list(exchange.orders)
    assert [order.now.quantity for order in orders(exchange)] == [1800, 1800, 900]
    assert orders(exchange)[0].tags == ["autoslice", f"autoslice:{parent}", "mine"]
    assert {order.now.status for order in orders(exchange)} == {"COMPLETE"}
    assert exchange.desk.placed_today(NOW) == 3


def test_a_small_order_is_not_split() -> None:
    exchange = option_exchange()
    order_id, children = exchange.place_sliced(replace(SLICED, quantity=1800), NOW)
    assert children == [] and list(exchange.orders) == [order_id]
    order_id, children = exchange.place_sliced(replace(LIMIT, autoslice=True), NOW)  # shares: no freeze
    assert children == [] and order_id in exchange.orders


def test_slices_that_cannot_be_paid_are_refused_one_by_one() -> None:
    exchange = option_exchange(cash_paise=1800 * 5_005 + 900 * 5_005)
    _, children = exchange.place_sliced(SLICED, NOW)
    settle(exchange)
    assert [isinstance(child, Refusal) for child in children] == [False, True, False]
    refusal = children[1]
    assert isinstance(refusal, Refusal) and refusal.error_type == "MarginException"
    assert refusal.message == (
        "Insufficient funds. Required margin is 90090.00 but available margin is 45045.00."
    )
    assert [order.now.status for order in orders(exchange)] == ["COMPLETE", "COMPLETE"]


def test_at_most_ten_slices() -> None:
    exchange = option_exchange()
    assert len(exchange.place_sliced(replace(SLICED, quantity=18_000), NOW)[1]) == 10
    with pytest.raises(Refusal, match="split into 11 orders; 10 are allowed"):
        exchange.place_sliced(replace(SLICED, quantity=18_075), NOW)


def test_slices_beyond_the_days_cap_are_refused() -> None:
    exchange = option_exchange(orders_per_day=2)
    children = exchange.place_sliced(SLICED, NOW)[1]
    assert isinstance(children[2], Refusal) and "Maximum allowed order requests" in children[2].message


# -- after-market orders, time to live, the day's cap


def test_an_after_market_order_waits_for_the_open() -> None:
    exchange = exchange_at()
    order = exchange.orders[exchange.place(replace(LIMIT, variety="amo"), NOW)]
    settle(exchange)
    assert order.now.status == "AMO REQ RECEIVED"
    due = exchange.next_due_ns()
    assert due is not None and ist_text(due) == "2025-12-16 09:00:00"
    exchange.step(due + SECOND)
    assert statuses(order)[:3] == ["AMO REQ RECEIVED", "PUT ORDER REQ RECEIVED", "VALIDATION PENDING"]
    assert order.now.status == "COMPLETE"
    stop = replace(LIMIT, variety="amo", order_type=OrderType.SL, trigger_px=10_005)
    later = exchange_at()
    later.place(stop, NOW)
    due = later.next_due_ns()
    assert due is not None and ist_text(due) == "2025-12-16 09:15:00"  # no stops before the open


def test_an_after_market_order_can_be_changed_and_cancelled() -> None:
    exchange = exchange_at()
    order = exchange.orders[exchange.place(replace(LIMIT, variety="amo"), NOW)]
    exchange.modify(order.order_id, Change(px=9_000, quantity=2), NOW + MS)
    assert (order.now.status, order.now.px, order.now.quantity) == ("AMO REQ RECEIVED", 9_000, 2)
    assert [(row["status"], row["price"]) for row in exchange.drain_updates()] == [("UPDATE", 90.0)]
    exchange.cancel(order.order_id, NOW + SECOND)
    assert order.now.status == "CANCELLED"
    exchange.step(NOW + 86_400 * SECOND)
    assert order.now.status == "CANCELLED"


def test_time_to_live_ends_an_order_after_its_minutes() -> None:
    exchange = exchange_at()
    request = replace(LIMIT, px=9_000, validity=Validity.TTL, validity_ttl=2)
    order = exchange.orders[exchange.place(request, NOW)]
    exchange.step(NOW + 120 * SECOND - 1)
    assert order.now.status == "OPEN"
    exchange.step(NOW + 120 * SECOND)
    assert (order.now.status, order.now.cancelled) == ("CANCELLED", 4)


def test_the_day_takes_so_many_orders_rejected_ones_too() -> None:
    exchange = exchange_at(orders_per_day=2)
    exchange.place(LIMIT, NOW)
    exchange.place(replace(LIMIT, px=15_000), NOW)  # beyond the circuit: rejected, and counted
    with pytest.raises(Refusal, match="Maximum allowed order requests exceeded"):
        exchange.place(LIMIT, NOW)
    exchange.place(LIMIT, NOW + 86_400 * SECOND)
    assert exchange_at().desk.orders_per_day == 5_000
    assert exchange_at(orders_per_day=0).desk.count_placement(NOW)


# -- buy-in auctions


def test_an_auction_order_needs_its_auction() -> None:
    holding = Holding(EQUITY, 10, authorised=10)
    exchange = Exchange(TABLE, 10**8, params=ExchangeParams(latency_ns=(0, 0)), opening_holdings=[holding])
    exchange.on_ticks(book_of(0, 10_000, 10_005, 50), NOW)
    request = replace(LIMIT, side=Side.SELL, product=Product.CNC, variety="auction", px=10_000)
    with pytest.raises(Refusal, match="no such auction"):
        exchange.place(replace(request, auction_number="99"), NOW)
    order = exchange.orders[exchange.place(replace(request, auction_number="20"), NOW)]
    settle(exchange)
    assert (order.now.status, order.now.filled) == ("OPEN", 0)  # not in the book of the day
    exchange.on_ticks(book_of(0, 10_500, 10_505, 50, volume=9_000), NOW + 2 * SECOND)
    assert order.now.filled == 0
    with pytest.raises(Refusal, match="cannot be modified"):
        exchange.modify(order.order_id, Change(px=9_000), NOW + 3 * SECOND)
    exchange.cancel(order.order_id, NOW + 3 * SECOND)
    settle(exchange, NOW + 3 * SECOND)
    assert order.now.status == "CANCELLED"
