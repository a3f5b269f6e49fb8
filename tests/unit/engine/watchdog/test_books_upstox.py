"""The watchdog's own reading of Upstox's books, and that it agrees with the one that trades."""

from __future__ import annotations

from typing import Any

import pytest
from upstox_rows import answer, order_row, table

from kite_hft.brokers.upstox.rest import upstox
from kite_hft.engine.watchdog.books import KITE, BadBook
from kite_hft.engine.watchdog.books_upstox import reading_of
from kite_hft.engine.watchdog.guard import Guard, Limits
from kite_hft.engine.watchdog.plan import called_of
from kite_hft.layout import OrderStatus
from kite_hft.settings import Settings
from kite_hft.trading.exits.protection import Facts, Held, Leg, Resting, Trigger, covers

TABLE = table()
BROKER = upstox(TABLE)
ALWAYS = Facts({}, frozenset())


def settings(**words: Any) -> Settings:
    return Settings.model_validate({"broker": "upstox", "strategies": [{"name": "probe"}], **words})


CALLED = called_of(settings(), TABLE)
READING = reading_of(CALLED)


def body(data: Any) -> bytes:
    return answer(data).body


def position(**more: Any) -> dict[str, Any]:
    base = {"instrument_token": "NSE_EQ|INE002A01018", "product": "I", "exchange": "NSE", "quantity": 10,
            "last_price": 1420.0, "average_price": 1400.0, "multiplier": 1.0,
            "trading_symbol": "RELIANCE"}  # fmt: skip
    return base | more


def stop(**more: Any) -> dict[str, Any]:
    words = {"instrument_token": "NSE_EQ|INE002A01018", "exchange": "NSE", "order_type": "SL-M",
             "transaction_type": "SELL", "status": "trigger pending", "quantity": 10,
             "pending_quantity": 10}  # fmt: skip
    return order_row(**words | more)


def gtt(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"instrument_token": "NSE_EQ|INE002A01018", "product": "D", "exchange": "NSE_EQ", "quantity": 10}
    return base | {"rules": list(rules) or [rule()]} | more


def rule(**more: Any) -> dict[str, Any]:
    base = {"strategy": "ENTRY", "status": "SCHEDULED", "trigger_type": "BELOW", "trigger_price": 1400.0,
            "transaction_type": "SELL", "order_id": None}  # fmt: skip
    return base | more


def test_who_needs_which_reading() -> None:
    assert CALLED["NSE_EQ|INE002A01018"] == ["NSE:RELIANCE", 1, 1]
    assert CALLED["MCX_FO|447500"] == ["MCX:CRUDEOIL26DECFUT", 100, 1]
    assert called_of(settings(mode="paper"), TABLE) == {}
    assert called_of(settings(broker="kite"), TABLE) == {}


def test_positions() -> None:
    rows = [
        position(),
        position(product="D", quantity=-5, last_price=None),
        position(
            instrument_token="MCX_FO|447500", exchange="MCX", product="D", quantity=-2, multiplier=100.0
        ),
        position(
            instrument_token="NSE_FO|1", exchange="NFO", product="D", trading_symbol="OTHER", multiplier=3.0
        ),
    ]
    assert READING.positions(body(rows)) == [
        Held("NSE:RELIANCE", "MIS", 10, 1420.0), Held("NSE:RELIANCE", "CNC", -5, 1400.0),
        Held("MCX:CRUDEOIL26DECFUT", "NRML", -200, 1420.0), Held("NFO:OTHER", "NRML", 10, 1420.0, 3),
    ]  # fmt: skip


def test_orders_in_the_words_of_protection() -> None:
    seen: dict[tuple[str, ...], int] = {}
    rows = [stop(filled_quantity=4), stop(order_id="2", status="cancelled after market order")]
    found = READING.orders(body(rows), seen, 5)
    name = ("NSE:RELIANCE", "MIS", "SELL", "SL-M")
    assert found == [
        Resting(*name, "TRIGGER PENDING", 6, 5, "261123000000001", filled=4),
        Resting(*name, "CANCELLED AMO", 10, 5, "2"),
    ]  # fmt: skip
    assert READING.orders(body(rows), seen, 9)[0].since_ns == 5


def test_trades_by_instrument_in_our_units() -> None:
    share = position(quantity=3, transaction_type="BUY")
    crude = {"instrument_token": "MCX_FO|447500", "exchange": "MCX", "product": "D", "quantity": 2}
    other = {"instrument_token": "NSE_FO|1", "exchange": "NFO", "product": "I", "trading_symbol": "O"}
    sold = [row | {"transaction_type": "SELL"} for row in (share, crude, other | {"quantity": 5})]
    strange = {"quantity": 9, "instrument_token": None, "transaction_type": None}
    found = READING.trades(body([share, share | {"quantity": 4}, strange, *sold]))
    assert found.pop(("None:None", "")) == 9
    assert found.pop(("NSE:RELIANCE", "BUY")) == 7
    names = ("NSE:RELIANCE", "MCX:CRUDEOIL26DECFUT", "NFO:O")
    assert [found.pop((name, "SELL")) for name in names] == [3, 200, 5] and not found


def protected(**books: Any) -> int:
    """Of ten shares held in CNC: how many something protects."""
    dog = READING.triggers(body(books.get("gtts", [])))
    orders = READING.orders(body(books.get("orders", [])), {}, 0)
    held = READING.positions(body([position(product=books.get("product", "D"))]))
    (cover,) = covers(held, orders, dog, ALWAYS, 0, 10**18)
    return 10 - cover.naked


def test_what_protects_a_position() -> None:
    assert protected(gtts=[gtt()]) == 10
    assert protected(gtts=[gtt(rule(trigger_type="ABOVE", trigger_price=1500.0))]) == 0  # a target
    assert protected(gtts=[gtt(rule(transaction_type="BUY"))]) == 0
    for status in ("CANCELLED", "COMPLETED", "FAILED"):
        assert protected(gtts=[gtt(rule(status=status))]) == 0
    assert protected(gtts=[gtt(rule(status="OPEN", order_id="2611"))]) == 0  # fired
    assert protected(orders=[stop()], product="I") == 10
    assert protected(orders=[stop(status="cancelled")], product="I") == 0
    assert protected(orders=[stop(product="D")], product="I") == 0


def test_a_bracket_protects_once_its_entry_is_through() -> None:
    exits = [
        rule(strategy="STOPLOSS", status="PENDING", trigger_type="IMMEDIATE", trigger_price=1390.0),
        rule(strategy="TARGET", status="PENDING", trigger_type="IMMEDIATE", trigger_price=1500.0),
    ]
    entry = rule(trigger_type="ABOVE", transaction_type="BUY")
    assert protected(gtts=[gtt(entry, *exits)]) == 0
    assert protected(gtts=[gtt(entry | {"status": "COMPLETED", "order_id": "1"}, *exits)]) == 10
    short = [gtt(rule(strategy="STOPLOSS", trigger_type="IMMEDIATE", transaction_type="BUY"))]
    (found,) = READING.triggers(body(short))
    assert found == Trigger("NSE:RELIANCE", "active", "single", (1400.0,), 1399.0, (Leg("BUY", "CNC", 10),))


@pytest.mark.parametrize("text", [b"", b"<html>", b"null", b'{"data": null}', b'{"data": [{}]}', b"\xff"])
def test_what_cannot_be_read_is_named(text: bytes) -> None:
    for read in (READING.positions, READING.trades, READING.triggers, lambda b: READING.orders(b, {}, 0)):
        with pytest.raises(BadBook):
            read(text)


def test_both_readings_agree() -> None:
    statuses = ("open", "trigger pending", "complete", "rejected", "cancelled", "put order req received")
    rows = [
        stop(order_id=str(i), status=word, filled_quantity=i, pending_quantity=10 - i)
        for i, word in enumerate(statuses)
    ]
    theirs = BROKER.parse_orders(body(rows))
    ours = READING.orders(body(rows), {}, 0)
    for report, resting in zip(theirs, ours, strict=True):
        assert resting.key == f"{report.exchange}:{report.symbol}"
        assert report.product is not None and resting.product == report.product.name
        assert (resting.side, resting.order_id) == (report.side.name, report.order_id)
        assert (resting.status == "TRIGGER PENDING") is (report.status is OrderStatus.TRIGGER_PENDING)
    held = [position(), position(instrument_token="MCX_FO|447500", exchange="MCX", product="D", quantity=-2)]
    for report, mine in zip(BROKER.parse_positions(body(held)), READING.positions(body(held)), strict=True):
        assert (report.quantity, report.multiplier) == (mine.quantity, mine.multiplier)
        assert report.product is not None and mine.product == report.product.name


def test_the_guard_reads_as_it_is_told() -> None:
    assert Guard(Limits(), ALWAYS, 0).reading is KITE
    assert Guard(Limits(), ALWAYS, 0, READING).reading is READING
