"""What broker and exchange do unasked: square-off, risk desk, stops, closes, circuits, halts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sim_tools import EQUITY, NOW, OPTION, SECOND, book_of, exchange_at, settle, snapshot

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Change, NewOrder, Order, Refusal
from kite_hft.sim.kite.rows import order_row

LIMIT = NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, Product.MIS, 10, px=10_005, tag="mine")
STOP = NewOrder(EQUITY, Side.SELL, OrderType.SL, Product.MIS, 10, px=9_800, trigger_px=9_900)


def placed(exchange: Exchange, request: NewOrder, at: int) -> Order:
    order = exchange.orders[exchange.place(request, at)]
    settle(exchange, at)
    return order


def test_square_off_closes_mis_cancels_its_orders_and_notes_the_fee() -> None:
    exchange = exchange_at(quantity=50)
    placed(exchange, LIMIT, NOW)
    placed(exchange, replace(LIMIT, product=Product.CNC), NOW + SECOND)
    stop = placed(exchange, STOP, NOW + 2 * SECOND)
    (order_id,) = exchange.square_off_mis(NOW + 4 * SECOND)
    settle(exchange, NOW + 4 * SECOND)
    order = exchange.orders[order_id]
    assert (order.placed_by, order.tags, order.request.side) == ("RMS", [], Side.SELL)
    assert order_row(order, order.now, "ME")["placed_by"] == "RMS"
    assert order.now.status == "COMPLETE" and order.now.filled_units == 10 * 10_000
    assert stop.now.status == "CANCELLED" and stop.now.message is not None
    assert (exchange.account.net(0, Product.MIS), exchange.account.net(0, Product.CNC)) == (0, 10)
    assert [fee.paise for fee in exchange.account.fees] == [5_000] == [order.fee_paise]
    assert exchange.square_off_mis(NOW + 6 * SECOND) == []


def test_square_off_buys_back_shorts_first_and_slices() -> None:
    exchange = exchange_at(quantity=50, cash_paise=10**12)
    exchange.on_ticks(book_of(1, 5_000, 5_005, 75_000), NOW)
    placed(exchange, LIMIT, NOW)
    short = NewOrder(OPTION, Side.SELL, OrderType.LIMIT, Product.MIS, 1800, px=5_000)
    placed(exchange, short, NOW + SECOND)
    placed(exchange, replace(short, quantity=75), NOW + 2 * SECOND)
    ids = exchange.square_off_mis(NOW + 4 * SECOND)
    found = [exchange.orders[i] for i in ids]
    assert [(o.request.side, o.now.quantity) for o in found] == [
        (Side.BUY, 1800), (Side.BUY, 75), (Side.SELL, 10),
    ]  # fmt: skip
    assert exchange.square_off_mis(NOW + 4 * SECOND) == []  # they are under way
    settle(exchange, NOW + 4 * SECOND)
    assert exchange.account.net(1, Product.MIS) == 0


def test_square_off_of_some_slots_leaves_the_others() -> None:
    exchange = exchange_at(quantity=50)
    placed(exchange, LIMIT, NOW)
    assert exchange.square_off_mis(NOW + 2 * SECOND, [3]) == []
    assert len(exchange.square_off_mis(NOW + 2 * SECOND, [0])) == 1


def test_the_risk_desk_needs_no_money_and_no_shares() -> None:
    exchange = exchange_at(quantity=50, cash_paise=0)
    ids = exchange.rms_order(0, Side.BUY, 5, Product.CNC, NOW)
    settle(exchange)
    assert exchange.orders[ids[0]].now.status == "COMPLETE"
    assert exchange.desk.placed_today(NOW) == 0


def test_the_exchange_cancels_stops_that_have_not_gone_off() -> None:
    exchange = exchange_at()
    stop = placed(exchange, STOP, NOW)
    resting = placed(exchange, replace(LIMIT, px=9_900), NOW + SECOND)
    assert exchange.cancel_stops([1], NOW + 3 * SECOND) == []
    assert exchange.cancel_stops([0], NOW + 3 * SECOND) == [stop.order_id]
    assert (stop.now.status, resting.now.status) == ("CANCELLED", "OPEN")
    assert exchange.drain_updates()[-1]["status"] == "CANCELLED"


def test_an_ex_date_changes_close_and_band_also_in_later_ticks() -> None:
    exchange = exchange_at()
    assert exchange.band(0) == (8_000, 12_000)
    exchange.set_close(0, 5_000)
    assert exchange.band(0) == (4_000, 6_000)
    ticks = book_of(0, 5_000, 5_005, 10, close=10_000)
    exchange.on_ticks(ticks, NOW + SECOND)
    assert int(exchange.latest[0]["close_px"]) == 5_000 and exchange.band(0) == (4_000, 6_000)
    assert int(ticks[0]["close_px"]) == 10_000  # the market's own rows are left alone


@pytest.mark.parametrize(
    ("lock", "filled", "waits", "gone"),
    [("upper", Side.SELL, Side.BUY, "ask"), ("lower", Side.BUY, Side.SELL, "bid")],
)
def test_at_a_locked_circuit_one_side_trades(lock: str, filled: Side, waits: Side, gone: str) -> None:
    exchange = exchange_at()
    exchange.lock_circuit(0, lock)  # type: ignore[arg-type]
    easy = {Side.BUY: 10_010, Side.SELL: 9_990}
    one = placed(exchange, replace(LIMIT, side=filled, px=easy[filled]), NOW)
    other = placed(exchange, replace(LIMIT, side=waits, px=easy[waits]), NOW + SECOND)
    assert (one.now.status, other.now.status, other.now.filled) == ("COMPLETE", "OPEN", 0)
    tick = book_of(0, 10_000, 10_005, 10, volume=5_000, last=easy[filled])
    assert not exchange.overlay(tick)[f"{gone}_qty"].any() and tick[f"{gone}_qty"].any()
    exchange.on_ticks(tick, NOW + 3 * SECOND)
    assert other.now.filled == 0
    exchange.lock_circuit(0, None)
    assert np.array_equal(exchange.overlay(tick), tick)
    last = 9_995 if waits == Side.BUY else 10_010
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, volume=6_000, last=last), NOW + 4 * SECOND)
    assert other.now.status == "COMPLETE"


def test_a_halted_market_trades_nothing_and_takes_cancels_only() -> None:
    exchange = exchange_at()
    resting = placed(exchange, replace(LIMIT, px=9_990), NOW)
    under_way = exchange.orders[exchange.place(LIMIT, NOW + 2 * SECOND)]
    exchange.halt(True, NOW + 2 * SECOND)
    exchange.on_ticks(snapshot(0, [(9_900, 10)], [(9_950, 10)], last=9_950, volume=9_000), NOW + 4 * SECOND)
    assert resting.now.filled == 0
    assert under_way.now.status == "REJECTED" and "halt" in (under_way.now.message_raw or "")
    for act in (
        lambda: exchange.place(LIMIT, NOW + 4 * SECOND),
        lambda: exchange.modify(resting.order_id, Change(px=9_900), NOW + 4 * SECOND),
    ):
        with pytest.raises(Refusal):
            act()
    exchange.halt(False, NOW + 5 * SECOND)
    # What was traded before it resumed is not ours.
    exchange.on_ticks(snapshot(0, [(9_900, 10)], [(9_950, 10)], last=9_950, volume=9_000), NOW + 6 * SECOND)
    assert resting.now.filled == 0
    exchange.halt(True, NOW + 6 * SECOND)
    exchange.cancel(resting.order_id, NOW + 7 * SECOND)
    settle(exchange, NOW + 7 * SECOND)
    assert resting.now.status == "CANCELLED"


def test_one_order_is_held_at_the_broker() -> None:
    exchange = exchange_at()
    exchange.hold_order_ns = 83 * SECOND
    held = exchange.orders[exchange.place(LIMIT, NOW)]
    next_one = exchange.orders[exchange.place(LIMIT, NOW)]
    exchange.step(NOW + 83 * SECOND - 1)
    assert (held.now.status, next_one.now.status) == ("PUT ORDER REQ RECEIVED", "COMPLETE")
    with pytest.raises(Refusal, match="being processed"):
        exchange.cancel(held.order_id, NOW + 83 * SECOND - 1)
    exchange.step(NOW + 84 * SECOND)
    assert held.now.exchange_order_id is not None


def test_the_next_orders_are_rejected_for_funds() -> None:
    exchange = exchange_at()
    exchange.reject_next_margin(2)
    found = [placed(exchange, LIMIT, NOW + i * SECOND) for i in range(3)]
    assert [order.now.status for order in found] == ["REJECTED", "REJECTED", "COMPLETE"]
    assert (found[0].now.message_raw or "").startswith("RMS:Margin Exceeds,Required:1000.50, Available:0.00")


def test_the_stop_of_a_cover_order_is_not_rejected_for_funds() -> None:
    short = exchange_at(quantity=50, cash_paise=20_000)  # a fifth of ten at 100.00
    request = replace(LIMIT, side=Side.SELL, px=10_000, variety="co", trigger_px=10_100)
    short.place(request, NOW)
    short.reject_next_margin(1)
    settle(short)  # sold short with all the money there is, and covered by a buy beyond it
    assert [order.now.status for order in short.orders.values()] == ["COMPLETE", "TRIGGER PENDING"]
    assert short.chain.margin_rejections == 1
