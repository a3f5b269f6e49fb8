"""Commodities and currencies: the wire counts lots, also where a table counts units; both sides agree."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from sim_tools import SECOND, book_of
from upstox_bench import Bench, change, order

from kite_hft.brokers.upstox import basket, gtt
from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.upstox.rest import upstox
from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.trading.broker import Confirmed, HttpRequest, HttpResponse, OrderRequest
from kite_hft.trading.exits.trigger import Leg, request_of
from kite_hft.trading.instruments import Instrument, InstrumentTable


def contract(
    slot: int, number: int, exchange: str, lot: int, multiplier: int, scale: int = 100
) -> Instrument:
    return Instrument(
        slot, (700 + slot) * 256 + number, 700 + slot, f"LOT{slot}", exchange, f"{exchange}-FUT", "FUT",
        scale // 100, lot, scale=scale, name=f"LOT{slot}", expiry="2026-12-29", multiplier=multiplier,
        freeze_quantity=1000 * lot,
    )  # fmt: skip


TABLE = with_upstox_keys(
    InstrumentTable(
        (
            contract(0, 12, "NCO", 100, 1, 10_000),
            contract(1, 3, "CDS", 1000, 1, 10_000_000),
            contract(2, 7, "MCX", 100, 1),
            contract(3, 12, "NCO", 1, 100, 10_000),  # the table of the broker's own list: lots already
        )
    )
)
BROKER = upstox(TABLE)
COUNTED = (0, 1)
"""What takes orders, and is counted in units by the table."""


class Market(Bench):
    """Every contract with a book of ten lots a level around 100 rupees."""

    def __init__(self) -> None:
        super().__init__(table=TABLE)
        for row in TABLE:
            px, lot = 100 * row.scale, max(1, row.lot_size)
            ticks = book_of(
                row.slot, px, px + row.tick_px, 10 * lot, row.tick_px, volume=1000 * lot, close=px
            )
            self.exchange.on_ticks(ticks, self.now)

    def send(self, request: HttpRequest) -> HttpResponse:
        parts = urlsplit(request.path)
        headers = {"authorization": "Bearer token"}
        answer = self.api.handle(
            request.method, parts.path, parse_qsl(parts.query), headers, request.body or b"", self.now
        )
        self.pass_time()
        self.pass_time(5 * SECOND)
        return HttpResponse(answer.status, bytes(answer.body))


def wanted(slot: int, lots: int, px: int = 0, side: Side = Side.BUY) -> OrderRequest:
    row = TABLE[slot]
    kind = OrderType.LIMIT if px else OrderType.MARKET
    return OrderRequest(row, side, kind, Product.NRML, Validity.DAY, lots * row.lot_size, px)


@pytest.mark.parametrize("slot", COUNTED)
def test_an_order_is_sent_in_lots_and_read_back_in_units(slot: int) -> None:
    market, row = Market(), TABLE[slot]
    request = BROKER.place(wanted(slot, 3, 90 * row.scale))
    assert json.loads(request.body)["quantity"] == 3
    placed = BROKER.parse_outcome(market.send(request))
    assert isinstance(placed, Confirmed)
    assert market.exchange.orders[placed.order_id].request.quantity == 3 * row.lot_size
    (shown,) = market.data("GET", "/v2/order/retrieve-all")
    assert (shown["quantity"], shown["pending_quantity"], shown["filled_quantity"]) == (3, 3, 0)
    (report,) = BROKER.parse_orders(market.send(BROKER.order_book()).body)
    assert (report.quantity, report.pending_quantity) == (3 * row.lot_size, 3 * row.lot_size)
    more = BROKER.modify(placed.order_id, row, 5 * row.lot_size, 90 * row.scale, 0, OrderType.LIMIT, -1.0)
    assert isinstance(BROKER.parse_outcome(market.send(more)), Confirmed)
    assert market.exchange.orders[placed.order_id].now.quantity == 5 * row.lot_size
    told = [row for row in market.api.updates.drain() if row["update_type"] == "order"]
    assert told[-1]["quantity"] == 5


@pytest.mark.parametrize("slot", COUNTED)
def test_fills_positions_and_trades_are_lots_too(slot: int) -> None:
    market, row = Market(), TABLE[slot]
    placed = BROKER.parse_outcome(market.send(BROKER.place(wanted(slot, 3, 101 * row.scale))))
    assert isinstance(placed, Confirmed)
    (report,) = BROKER.parse_orders(market.send(BROKER.order_book()).body)
    assert (report.status, report.filled_quantity) == (OrderStatus.COMPLETE, 3 * row.lot_size)
    trades = market.data("GET", "/v2/order/trades/get-trades-for-day")
    assert sum(trade["quantity"] for trade in trades) == 3
    (shown,) = market.data("GET", "/v2/portfolio/short-term-positions")
    # As the broker's sample of a currency: so many lots, and what a lot holds.
    assert (shown["quantity"], shown["multiplier"]) == (3, float(row.lot_size))
    assert (shown["day_buy_quantity"], shown["overnight_quantity"]) == (3, 0)
    (held,) = BROKER.parse_positions(market.send(BROKER.positions()).body)
    assert (held.quantity, held.buy_quantity) == (3 * row.lot_size, 3 * row.lot_size)
    assert held.buy_value == pytest.approx(3 * row.lot_size * held.average_price)
    pushed = [row for row in market.api.updates.drain() if row["update_type"] == "position"]
    assert pushed[-1]["quantity"] == 3


def test_what_was_carried_in_is_told_in_lots() -> None:
    """Also in MCX, where the API takes no orders: a position made elsewhere is seen."""
    market, row = Market(), TABLE[2]
    market.exchange.account.carry_in(row, Product.NRML, -300, 99 * row.scale)
    (shown,) = market.data("GET", "/v2/portfolio/short-term-positions")
    assert (shown["quantity"], shown["overnight_quantity"], shown["overnight_sell_quantity"]) == (-3, -3, 3)
    (held,) = BROKER.parse_positions(market.send(BROKER.positions()).body)
    assert (held.quantity, held.overnight_quantity) == (-300, -300)


def test_triggers_conversions_margins_and_costs_take_lots() -> None:
    market, row = Market(), TABLE[0]
    leg = Leg(Side.SELL, 2 * row.lot_size, 90 * row.scale, 90 * row.scale)
    market.send(gtt.place(request_of(row, Product.NRML, [leg], 100 * row.scale)))
    (made,) = market.api.gtts.book.all.values()
    assert made.quantity == 2 * row.lot_size
    assert market.data("GET", "/v3/order/gtt")[0]["quantity"] == 2
    (report,) = gtt.parse_triggers(Names(TABLE), market.send(gtt.triggers()).body)
    assert report.legs[0].quantity == 2 * row.lot_size

    market.send(BROKER.place(wanted(0, 3, 101 * row.scale)))
    body = {"instrument_token": row.upstox_key, "old_product": "D", "new_product": "I",
            "transaction_type": "BUY", "quantity": 2}  # fmt: skip
    market.data("PUT", "/v2/portfolio/convert-position", body)
    held = {p.product: p.net for p in market.exchange.account.positions.values()}
    assert held == {Product.NRML: row.lot_size, Product.MIS: 2 * row.lot_size}

    in_units, in_lots = wanted(0, 2, 100 * row.scale), wanted(3, 2, 100 * TABLE[3].scale)
    worth = [basket.parse_margin(market.send(basket.margin([one])).body) for one in (in_units, in_lots)]
    assert worth[0] == worth[1] and worth[0].initial_paise > 0
    costs = [basket.parse_brokerage(market.send(basket.brokerage(one)).body) for one in (in_units, in_lots)]
    assert costs[0] == costs[1]


def test_the_instrument_file_says_lots_of_one_and_what_a_lot_holds() -> None:
    rows = {row["instrument_key"]: row for row in Market().api_rows()}
    for slot in (0, 3):
        found = rows[TABLE[slot].upstox_key]
        assert (found["lot_size"], found["qty_multiplier"]) == (1, 100.0), slot
    currency = rows[TABLE[1].upstox_key]
    assert (currency["lot_size"], currency["qty_multiplier"], currency["freeze_quantity"]) == (
        1,
        1000.0,
        1000.0,
    )
    assert (rows[TABLE[2].upstox_key]["lot_size"], rows[TABLE[2].upstox_key]["qty_multiplier"]) == (
        100,
        100.0,
    )


def test_a_table_that_counts_lots_is_left_as_it_is() -> None:
    market, row = Market(), TABLE[3]
    order_id = market.place(instrument_token=row.upstox_key, quantity=3, price=90.0, product="D")
    assert market.exchange.orders[order_id].request.quantity == 3
    market.pass_time()
    market.data("PUT", "/v3/order/modify", change(order_id, quantity=4, price=90.0))
    market.pass_time()
    assert market.data("GET", f"/v2/order/details?order_id={order_id}")["quantity"] == 4
    assert (
        market.code("POST", "/v3/order/place", order(instrument_token=TABLE[2].upstox_key))[1] == "UDAPI1161"
    )
