"""The official client, unchanged, against the simulator: quotes, candles, margins and charges agree
with one another and with what the client can work out by himself."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from sim_tools import simulator

IST = dt.timezone(dt.timedelta(hours=5, minutes=30))
MARKET_S = 5
TODAY = dt.datetime(2026, 11, 20, 11)
"""When the simulator's market begins: no midnight falls into these tests, and every contract lives."""
ORDER = {
    "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "variety": "regular",
    "product": "CNC", "order_type": "LIMIT", "quantity": 10, "price": 1500.0, "trigger_price": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def kite() -> Iterator[KiteConnect]:
    """A client of a market that falls silent after some seconds, so that answers can be compared."""
    options = ("--instruments", "60", "--rate", "20", "--no-limits", "--latency-us", "0", "--seed", "7")
    options += ("--exchange-time", TODAY.isoformat(), "--market-seconds", str(MARKET_S))
    with simulator(*options) as running:
        client = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
        last = None
        while (volume := client.quote("NSE:INFY")["NSE:INFY"]["volume"]) != last:
            last = volume
            time.sleep(0.5)
        yield client
        client.reqsession.close()


def token_of(kite: KiteConnect, key: str) -> int:
    return int(kite.ltp(key)[key]["instrument_token"])


def derivative(kite: KiteConnect, kind: str, number: int = 0) -> dict[str, Any]:
    rows = [r for r in kite.instruments("NFO") if r["instrument_type"] == kind]
    return dict(rows[number])


def test_the_three_quotes_agree(kite: KiteConnect) -> None:
    keys = ["NSE:INFY", "NSE:NIFTY 50", "CDS:USDINR26DECFUT", "NSE:NOSUCH"]
    full, ohlc, ltp = kite.quote(keys), kite.ohlc(keys), kite.ltp(keys)
    assert set(full) == set(ohlc) == set(ltp) == set(keys[:3])  # what does not exist is absent
    for key in keys[:3]:
        assert full[key]["last_price"] == ohlc[key]["last_price"] == ltp[key]["last_price"]
        assert full[key]["ohlc"] == ohlc[key]["ohlc"]
        change = full[key]["last_price"] - full[key]["ohlc"]["close"]
        assert full[key]["net_change"] == pytest.approx(change, abs=1e-6)
    row = full["NSE:INFY"]
    assert isinstance(row["timestamp"], dt.datetime) and isinstance(row["last_trade_time"], dt.datetime)
    assert row["lower_circuit_limit"] < row["ohlc"]["low"] <= row["last_price"] <= row["ohlc"]["high"]
    bids, asks = row["depth"]["buy"], row["depth"]["sell"]
    assert len(bids) == len(asks) == 5 and bids[0]["price"] < asks[0]["price"]
    assert [b["price"] for b in bids] == sorted((b["price"] for b in bids), reverse=True)
    assert full["NSE:NIFTY 50"]["depth"]["buy"][0] == {"price": 0, "quantity": 0, "orders": 0}


@pytest.mark.parametrize(("method", "most"), [("quote", 500), ("ohlc", 1000), ("ltp", 1000)])
def test_quotes_take_so_many_instruments(kite: KiteConnect, method: str, most: int) -> None:
    assert getattr(kite, method)(["NSE:INFY"] * most)
    with pytest.raises(ex.InputException):
        getattr(kite, method)(["NSE:INFY"] * (most + 1))


def test_candles_of_today_are_the_ticks_of_today(kite: KiteConnect) -> None:
    for key in ("NSE:INFY", "NSE:NIFTY 50", "MCX:GOLDM26DECFUT"):
        row = kite.quote(key)[key]
        now = row["timestamp"]
        midnight = now.replace(hour=0, minute=0, second=0)
        (day,) = kite.historical_data(row["instrument_token"], midnight, now, "day", oi=True)
        ours = {"open": day["open"], "high": day["high"], "low": day["low"]}
        assert {name: row["ohlc"][name] for name in ours} == ours
        assert (day["close"], day["volume"], day["oi"]) == (row["last_price"], row["volume"], row["oi"])
        for interval in ("minute", "5minute", "60minute"):
            bars = kite.historical_data(row["instrument_token"], midnight, now, interval)
            assert bars[0]["open"] == day["open"] and bars[-1]["close"] == day["close"]
            assert max(b["high"] for b in bars) == day["high"]
            assert min(b["low"] for b in bars) == day["low"]
            assert sum(b["volume"] for b in bars) == day["volume"]


def test_history_is_whole_and_the_same_however_it_is_asked_for(kite: KiteConnect) -> None:
    token, end = token_of(kite, "NSE:INFY"), TODAY.replace(hour=0, minute=0, second=0, microsecond=0)
    begin = end - dt.timedelta(days=10)
    minutes = kite.historical_data(token, begin, end, "minute")
    days = kite.historical_data(token, begin, end - dt.timedelta(seconds=1), "day")
    assert {b["date"].date() for b in minutes} == {d["date"].date() for d in days}
    assert all(d["date"].weekday() < 5 and d["date"].utcoffset() == IST.utcoffset(None) for d in days)
    for day in days:
        own = [b for b in minutes if b["date"].date() == day["date"].date()]
        # 375 minutes, or 360 where the closing auction begins at 15:15.
        assert len(own) in (360, 375) and own[0]["date"].strftime("%H:%M") == "09:15"
        assert own[0]["open"] == day["open"] and own[-1]["close"] == day["close"]
        assert max(b["high"] for b in own) == day["high"] and min(b["low"] for b in own) == day["low"]
        assert sum(b["volume"] for b in own) == day["volume"]
        assert all(b["low"] <= min(b["open"], b["close"]) <= b["high"] for b in own)
    # The last close before today is the close of the quotes.
    assert days[-1]["close"] == kite.ohlc("NSE:INFY")["NSE:INFY"]["ohlc"]["close"]
    one = days[2]["date"].replace(tzinfo=None)
    at = one.replace(hour=9, minute=15), one.replace(hour=9, minute=20)
    part = kite.historical_data(token, *at, "minute")
    assert [b["date"].strftime("%H:%M") for b in part] == [f"09:{m}" for m in range(15, 21)]  # both ends
    assert part == [b for b in minutes if b["date"] in {p["date"] for p in part}]
    assert [b["date"].strftime("%H:%M") for b in kite.historical_data(token, *at, "5minute")] == [
        "09:15", "09:20",
    ]  # fmt: skip
    by_text = kite.historical_data(
        token, f"{at[0]:%Y-%m-%d %H:%M:%S}", f"{at[1]:%Y-%m-%d %H:%M:%S}", "minute"
    )
    assert by_text == part
    assert len(kite.historical_data(token, one.date(), one.date(), "60minute")) == -(-len(own) // 60)


def test_history_keeps_the_calendar(kite: KiteConnect) -> None:
    """No bars on a holiday, bars on the Budget's Sunday, and MCX in the evening of a holiday of shares."""

    def bars(key: str, first: str, last: str, interval: str = "day", **more: Any) -> list[dict[str, Any]]:
        return list(kite.historical_data(token_of(kite, key), first, last, interval, **more))

    days = [b["date"].day for b in bars("NSE:INFY", "2026-01-23", "2026-02-03")]
    assert days == [23, 27, 28, 29, 30, 1, 2, 3]
    assert [b["date"].day for b in bars("NSE:NIFTY 50", "2026-11-09", "2026-11-11")] == [9, 11]
    gold = bars("MCX:GOLDM26DECFUT", "2026-11-10", "2026-11-10", "60minute")
    assert gold[0]["date"].strftime("%H:%M") == "17:00" and len(gold) == 7


@pytest.mark.parametrize(
    ("interval", "days"),
    [("minute", 60), ("3minute", 100), ("5minute", 100), ("10minute", 100), ("15minute", 200),
     ("30minute", 200), ("60minute", 400), ("day", 2000)],
)  # fmt: skip
def test_longest_span_of_each_interval(kite: KiteConnect, interval: str, days: int) -> None:
    token, end = token_of(kite, "NSE:INFY"), TODAY
    assert kite.historical_data(token, end - dt.timedelta(days=days), end, interval)
    with pytest.raises(ex.InputException) as error:
        kite.historical_data(token, end - dt.timedelta(days=days + 2), end, interval)
    assert str(error.value) == f"interval exceeds max limit: {days} days"


def test_candles_that_there_are_not(kite: KiteConnect) -> None:
    token, end = token_of(kite, "NSE:INFY"), TODAY
    week = end - dt.timedelta(days=7)
    future = derivative(kite, "FUT")
    for arguments, more in (
        ((1, week, end, "day"), {}),
        ((token, week, end, "2minute"), {}),
        ((token, "yesterday", end, "day"), {}),
        ((token, end, week, "day"), {}),
        ((token, week, end, "day"), {"continuous": True}),
        ((future["instrument_token"], week, end, "minute"), {"continuous": True}),
    ):
        with pytest.raises(ex.InputException):
            kite.historical_data(*arguments, **more)
    assert kite.historical_data(token, dt.datetime(2014, 1, 1), dt.datetime(2014, 2, 1), "day") == []
    # A contract has no past before it was listed; the continuous series has.
    year = end - dt.timedelta(days=365), end
    alone = kite.historical_data(future["instrument_token"], *year, "day")
    joined = kite.historical_data(future["instrument_token"], *year, "day", continuous=True, oi=True)
    assert len(alone) < 70 < 200 < len(joined)
    assert joined[-1]["oi"] > 0 and "oi" not in alone[-1]


def test_margins_of_orders(kite: KiteConnect) -> None:
    cnc, mis = kite.order_margins([ORDER, ORDER | {"product": "MIS"}])
    assert (cnc["type"], cnc["tradingsymbol"], cnc["leverage"], cnc["var"]) == ("equity", "INFY", 1, 15000)
    assert (cnc["total"], mis["total"], mis["leverage"]) == (15000, 3000, 5)
    market = kite.order_margins([ORDER | {"order_type": "MARKET", "price": 0}])[0]
    assert market["total"] == pytest.approx(10 * kite.ltp("NSE:INFY")["NSE:INFY"]["last_price"], abs=1e-6)
    option, future = derivative(kite, "CE"), derivative(kite, "FUT")
    terms = ORDER | {"exchange": "NFO", "product": "NRML"}
    size = {"tradingsymbol": option["tradingsymbol"], "quantity": option["lot_size"], "price": 100}
    bought, sold = kite.order_margins([terms | size, terms | size | {"transaction_type": "SELL"}])
    assert (bought["option_premium"], bought["span"]) == (option["lot_size"] * 100, 0)
    assert bought["total"] == bought["option_premium"]
    assert sold["span"] > 0 and sold["exposure"] > 0 and sold["option_premium"] == 0
    assert sold["total"] == pytest.approx(sold["span"] + sold["exposure"])
    size = {"tradingsymbol": future["tradingsymbol"], "quantity": future["lot_size"], "price": 500}
    row = kite.order_margins([terms | size])[0]
    assert 0 < row["exposure"] < row["span"] < row["charges"]["total"] * 1e6
    gold = ORDER | {"exchange": "MCX", "tradingsymbol": "GOLDM26DECFUT", "product": "NRML", "quantity": 1}
    assert kite.order_margins([gold])[0]["type"] == "commodity"


def test_a_hedge_lowers_the_margin_of_a_basket(kite: KiteConnect) -> None:
    future = derivative(kite, "FUT")
    leg = ORDER | {
        "exchange": "NFO", "tradingsymbol": future["tradingsymbol"], "product": "NRML",
        "quantity": future["lot_size"], "price": 1000,
    }  # fmt: skip
    hedge = leg | {"transaction_type": "SELL"}
    alone = kite.basket_order_margins([leg], consider_positions=False)
    assert alone["final"]["total"] == alone["initial"]["total"] == alone["orders"][0]["total"] > 0
    both = kite.basket_order_margins([leg, hedge], consider_positions=False)
    assert both["initial"]["span"] == pytest.approx(2 * alone["initial"]["span"])
    assert both["final"]["span"] == 0 and both["final"]["total"] < both["initial"]["total"]
    rows = [row["charges"]["total"] for row in both["orders"]]
    assert both["charges"]["total"] == pytest.approx(sum(rows)) and min(rows) > 0
    short = kite.basket_order_margins([leg, hedge], mode="compact")
    assert set(short["orders"][0]) == {"type", "tradingsymbol", "exchange", "total"}
    # An open position takes part when it is asked for.
    key = f"NFO:{future['tradingsymbol']}"
    order_id = kite.place_order(
        "regular", "NFO", future["tradingsymbol"], "BUY", future["lot_size"], "NRML", "MARKET",
        market_protection=5,
    )  # fmt: skip
    while kite.order_history(order_id)[-1]["status"] != "COMPLETE":
        time.sleep(0.01)
    assert kite.ltp(key)
    beside = kite.basket_order_margins([hedge], consider_positions=True)
    assert beside["final"]["span"] < 0 < kite.basket_order_margins([hedge], False)["final"]["span"]


def test_charges_of_orders(kite: KiteConnect) -> None:
    """Against the rates of the broker's list, worked out here by hand."""
    order = ORDER | {"order_id": "x", "average_price": 1500.0}
    buy, sell, intraday = kite.get_virtual_contract_note(
        [order, order | {"transaction_type": "SELL"}, order | {"transaction_type": "SELL", "product": "MIS"}]
    )
    assert (buy["price"], buy["quantity"], buy["charges"]["transaction_tax_type"]) == (1500, 10, "stt")
    parts = buy["charges"]
    assert parts["transaction_tax"] == pytest.approx(15.0) and parts["brokerage"] == 0
    assert parts["stamp_duty"] == 2.0  # 2.25, in whole rupees
    assert parts["exchange_turnover_charge"] == pytest.approx(15000 * 0.00307 / 100)
    assert parts["gst"]["total"] == pytest.approx(0.18 * 15000 * (0.00297 + 0.0001) / 100)
    names = ("transaction_tax", "exchange_turnover_charge", "sebi_turnover_charge", "brokerage", "stamp_duty")
    assert parts["total"] == pytest.approx(sum(parts[n] for n in names) + parts["gst"]["total"])
    assert sell["charges"]["stamp_duty"] == 0 and sell["charges"]["transaction_tax"] == pytest.approx(15.0)
    assert intraday["charges"]["transaction_tax"] == pytest.approx(3.75)
    assert intraday["charges"]["brokerage"] == pytest.approx(4.5)  # 0.03 %
    option, future = derivative(kite, "CE"), derivative(kite, "FUT")
    terms = {"exchange": "NFO", "product": "NRML", "transaction_type": "SELL", "average_price": 200.0}
    fo = [order | terms | {"tradingsymbol": r["tradingsymbol"], "quantity": 150} for r in (option, future)]
    tax = [row["charges"]["transaction_tax"] for row in kite.get_virtual_contract_note(fo)]  # since 2026-04
    assert tax == pytest.approx([30000 * 0.15 / 100, 30000 * 0.05 / 100])


@pytest.mark.parametrize(
    "order",
    [{}, ORDER | {"quantity": 0}, ORDER | {"tradingsymbol": "NIFTY 50"}, ORDER | {"product": "XYZ"},
     ORDER | {"quantity": [1]}, ORDER | {"price": "much"}],
)  # fmt: skip
def test_calculators_refuse_what_is_no_order(kite: KiteConnect, order: dict[str, Any]) -> None:
    with pytest.raises(ex.InputException):
        kite.order_margins([order])
    with pytest.raises(ex.InputException):
        kite.basket_order_margins([order])
    with pytest.raises(ex.InputException):
        kite.get_virtual_contract_note([order | {"order_id": "1", "average_price": 0}])
