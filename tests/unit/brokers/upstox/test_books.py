"""Orders, executions, positions and order updates of Upstox as our reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from upstox_rows import SAMPLES, answer, order_row, sdk, table

from kite_hft.brokers.upstox.books import parse_orders, parse_positions, parse_trades, parse_update
from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.values import COUNT_MAX, PX_MAX, AnswerError
from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import OrderReport

NAMES = Names(table())
OPTION = 55775 * 256 + 2


def one(**more: Any) -> OrderReport:
    (found,) = parse_orders(NAMES, answer([order_row(**more)]).body)
    return found


def test_a_resting_order() -> None:
    assert one() == OrderReport(
        "261123000000001", OrderStatus.OPEN, "open", "", "NFO", "NIFTY26NOV26000CE", OPTION, Side.BUY,
        OrderType.LIMIT, Product.MIS, 75, 0, 75, 0, 0.0, 21_930, 0, ("kh1",), "", "2026-11-23 09:15:02",
        "2026-11-23 09:15:02", "AB1234",
    )  # fmt: skip


def test_a_part_that_filled_is_open() -> None:
    found = one(filled_quantity=25, pending_quantity=50, average_price=219.3)
    assert (found.status, found.filled_quantity, found.pending_quantity) == (OrderStatus.OPEN, 25, 50)
    assert found.average_price == 219.3 and found.cancelled_quantity == 0


@pytest.mark.parametrize(
    ("status", "filled", "cancelled"),
    [
        ("cancelled", 25, 50),
        ("rejected", 0, 75),
        ("complete", 75, 0),
        ("cancelled after market order", 0, 75),
    ],
)
def test_what_ended_has_nothing_pending(status: str, filled: int, cancelled: int) -> None:
    found = one(status=status, filled_quantity=filled, pending_quantity=75 - filled)
    assert (found.pending_quantity, found.cancelled_quantity) == (0, cancelled)


def test_pending_is_told_or_follows() -> None:
    assert one(pending_quantity=None, filled_quantity=25).pending_quantity == 50


def test_orders_carry_their_product_type_and_message() -> None:
    share = one(instrument_token="NSE_EQ|INE002A01018", product="D", order_type="SL-M", trigger_price=1420.1)
    assert (share.product, share.order_type, share.trigger_px) == (Product.CNC, OrderType.SLM, 142_010)
    assert one(product="D").product is Product.NRML and one(product="OCO").product is None
    assert one(order_type="ICEBERG").order_type is None
    told = one(status="rejected", status_message=None, status_message_raw="RMS: margin")
    assert told.message == "RMS: margin"
    assert one(tag=None).tags == ()


def test_commodities_are_reported_in_our_units() -> None:
    found = one(
        instrument_token="MCX_FO|447500", exchange="MCX", quantity=3, filled_quantity=1, pending_quantity=2
    )
    assert (found.quantity, found.filled_quantity, found.pending_quantity) == (300, 100, 200)


def test_a_foreign_row_does_not_hide_the_book() -> None:
    foreign = order_row(
        order_id="9",
        instrument_token="NSE_FO|1",
        trading_symbol="OTHER",
        quantity=10**12,
        price=1e30,
        tag="kh9",
    )
    ours, other = parse_orders(NAMES, answer([order_row(), foreign]).body)
    assert ours.order_id == "261123000000001"
    assert (other.order_id, other.symbol, other.token, other.tags) == ("9", "OTHER", 258, ("kh9",))
    assert other.status is OrderStatus.OPEN and other.quantity == 0


BAD: list[dict[str, Any]] = [
    {"order_id": ""}, {"order_id": None}, {"status": None}, {"transaction_type": "HOLD"}, {"quantity": -1},
    {"quantity": 1.5}, {"quantity": COUNT_MAX + 1}, {"price": -1.0}, {"price": PX_MAX}, {"price": "x"},
    {"instrument_token": 7}, {"average_price": 1e7, "filled_quantity": COUNT_MAX},
]  # fmt: skip


@pytest.mark.parametrize("more", BAD)
def test_a_row_of_ours_that_cannot_be_read_ends_the_read(more: dict[str, Any]) -> None:
    with pytest.raises(AnswerError, match="order row"):
        one(**more)


def test_a_foreign_row_must_name_its_order() -> None:
    with pytest.raises(AnswerError):
        one(instrument_token="NSE_FO|1", order_id=None)


@pytest.mark.parametrize("body", [b"", b"{}", answer({}).body, answer([1]).body, answer(None).body])
def test_what_is_no_book_proves_nothing(body: bytes) -> None:
    for parse in (parse_orders, parse_trades, parse_positions):
        with pytest.raises(AnswerError):
            parse(NAMES, body)


# Updates


@pytest.mark.data
def test_the_sample_updates(data_dir: Path) -> None:
    rows = json.loads((data_dir / SAMPLES / "portfolio_order_updates.json").read_text())
    found = [parse_update(NAMES, json.dumps(row).encode()) for row in rows]
    assert [(r.status, r.filled_quantity) for r in found if r] == [
        (OrderStatus.PENDING, 0), (OrderStatus.OPEN, 0), (OrderStatus.OPEN, 25), (OrderStatus.COMPLETE, 75),
        (OrderStatus.REJECTED, 0),
    ]  # fmt: skip
    assert found[-1] is not None and found[-1].message == "RMS: margin shortfall"
    gtt = (data_dir / SAMPLES / "portfolio_gtt_update.json").read_bytes()
    assert parse_update(NAMES, gtt) is None


def test_updates_about_other_things_are_none() -> None:
    for kind in ("gtt_order", "position", "holding", "something new"):
        assert parse_update(NAMES, json.dumps({"update_type": kind}).encode()) is None
    row = order_row()  # a webhook's call is the bare row
    assert parse_update(NAMES, json.dumps(row).encode()) == one()
    assert parse_update(NAMES, json.dumps(row | {"update_type": "order"}).encode()) == one()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"update_type":"order"}', b"{" * 9000])
def test_unreadable_updates(body: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_update(NAMES, body)


# Executions and positions

TRADE: dict[str, Any] = {
    "exchange": "NFO", "product": "D", "trading_symbol": "NIFTY 26000 CE", "tradingsymbol": "NIFTY 26000 CE",
    "instrument_token": "NSE_FO|55775", "order_type": "LIMIT", "transaction_type": "SELL", "quantity": 75,
    "exchange_order_id": "11", "order_id": "2611", "exchange_timestamp": "03-Nov-2026 15:03:42",
    "average_price": 219.3, "trade_id": "4001", "order_ref_id": "1", "order_timestamp": "2026-11-03 15:03:41",
}  # fmt: skip


def test_executions() -> None:
    far = TRADE | {"instrument_token": "BSE_FO|1", "quantity": -4}
    (found,) = parse_trades(NAMES, answer([TRADE, far]).body)
    assert (found.trade_id, found.order_id, found.token, found.side) == ("4001", "2611", OPTION, Side.SELL)
    assert (found.quantity, found.average_price, found.product) == (75, 219.3, Product.NRML)
    assert found.fill_timestamp == "2026-11-03 15:03:42"
    with pytest.raises(AnswerError, match="trade row"):
        parse_trades(NAMES, answer([TRADE | {"trade_id": ""}]).body)


def test_executions_in_lots() -> None:
    crude = TRADE | {"instrument_token": "MCX_FO|447500", "exchange": "MCX", "quantity": 3}
    (found,) = parse_trades(NAMES, answer([crude]).body)
    assert (found.quantity, found.exchange) == (300, "MCX")


POSITION: dict[str, Any] = {
    "exchange": "NFO", "multiplier": 1.0, "value": 0.0, "pnl": -6.0, "product": "D",
    "instrument_token": "NSE_FO|55775", "average_price": 219.3, "buy_value": 0.0, "overnight_quantity": 0,
    "day_buy_value": 16447.5, "day_buy_price": 219.3, "overnight_buy_amount": 0.0,
    "overnight_buy_quantity": 0, "day_buy_quantity": 75, "day_sell_value": 0.0, "day_sell_price": 0.0,
    "overnight_sell_amount": 0.0, "overnight_sell_quantity": 0, "day_sell_quantity": 0, "quantity": 75,
    "last_price": 210.0,
    "unrealised": 0.0, "realised": 0.0, "sell_value": 0.0, "tradingsymbol": "NIFTY 26000 CE",
    "trading_symbol": "NIFTY 26000 CE", "close_price": 200.0, "buy_price": 219.3, "sell_price": 0.0,
}  # fmt: skip


def position(**more: Any) -> Any:
    (found,) = parse_positions(NAMES, answer([POSITION | more]).body)
    return found


def test_positions() -> None:
    found = position()
    assert (found.token, found.product, found.quantity) == (OPTION, Product.NRML, 75)
    assert (found.buy_quantity, found.sell_quantity, found.overnight_quantity) == (75, 0, 0)
    assert found.average_price == 219.3 and found.multiplier == 1
    assert position(average_price=None, quantity=0, day_sell_quantity=75).quantity == 0


@pytest.mark.parametrize("unsaid", [None, 0, 0.0])
def test_a_position_of_today_has_the_price_of_its_side_where_no_average_is_told(unsaid: float | None) -> None:
    """The broker's own sample row: average_price null, buy_price 0.8."""
    words = {"average_price": unsaid, "buy_price": 0.8, "sell_price": 1.25}
    assert position(**words).average_price == 0.8
    assert position(**words, quantity=-75).average_price == 1.25
    assert position(**words, quantity=0).average_price == 0, "nothing is held at any price"
    assert position(**words | {"average_price": 219.3}).average_price == 219.3
    assert position(average_price=unsaid, buy_price=None).average_price == 0


@pytest.mark.parametrize(
    ("shown", "quantity", "bought", "sold", "carried"),
    [
        (-150, -75, 75, 0, -150),  # a short, partly bought back
        (150, -75, 75, 0, -150),  # the same, printed without its sign
        (150, 225, 75, 0, 150),
        (0, 75, 75, 0, 0),
        (150, 75, 0, 75, 150),
        (75, 10, 0, 0, 75),  # nothing adds up: as it is printed
    ],
)
def test_what_was_carried_in_has_its_sign(
    shown: int, quantity: int, bought: int, sold: int, carried: int
) -> None:
    found = position(
        overnight_quantity=shown, quantity=quantity, day_buy_quantity=bought, day_sell_quantity=sold
    )
    assert found.overnight_quantity == carried


def test_positions_in_lots_and_in_foreign_instruments() -> None:
    words = {"instrument_token": "MCX_FO|447500", "exchange": "MCX", "multiplier": 100.0}
    found = position(**words, quantity=-2, day_buy_quantity=0, day_sell_quantity=2)
    assert (found.quantity, found.sell_quantity, found.multiplier) == (-200, 200, 1)
    foreign = POSITION | {"instrument_token": "NSE_FO|1", "average_price": -3.0}
    assert [p.token for p in parse_positions(NAMES, answer([POSITION, foreign]).body)] == [OPTION]
    with pytest.raises(AnswerError, match="position row"):
        position(quantity="many")


# As the SDK reads the same answers


def test_the_sdk_reads_the_same() -> None:
    book, trades, held = sdk(
        {
            "api": "OrderApi",
            "call": "get_order_book",
            "args": ["2.0"],
            "reply": [order_row(), order_row(tag=None)],
        },
        {"api": "OrderApi", "call": "get_trade_history", "args": ["2.0"], "reply": [TRADE]},
        {"api": "PortfolioApi", "call": "get_positions", "args": ["2.0"], "reply": [POSITION]},
    )
    ours = parse_orders(NAMES, answer([order_row(), order_row(tag=None)]).body)
    for report, theirs in zip(ours, book.result["data"], strict=True):
        assert report.order_id == theirs["order_id"] and report.status_text == theirs["status"]
        assert report.quantity == theirs["quantity"] and report.px == round(theirs["price"] * 100)
        assert report.side.name == theirs["transaction_type"]
        assert report.tags == ((theirs["tag"],) if theirs["tag"] else ())
        assert report.order_timestamp == theirs["order_timestamp"]
    (trade,) = parse_trades(NAMES, answer([TRADE]).body)
    (theirs,) = trades.result["data"]
    assert (trade.trade_id, trade.quantity, trade.average_price) == (
        theirs["trade_id"], theirs["quantity"], theirs["average_price"],
    )  # fmt: skip
    (theirs,) = held.result["data"]
    assert (position().quantity, position().average_price) == (theirs["quantity"], theirs["average_price"])
