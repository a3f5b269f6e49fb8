"""The official Upstox client's calls about the market, unchanged, against the simulator."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest
from upstox_sim import FAST, Sdk, Upstox, upstox

RELIANCE, NIFTY = "NSE_EQ|INE000288501", "NSE_INDEX|Nifty 50"
NAME = "NSE_EQ:RELIANCE"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstox]:
    folder = tmp_path_factory.mktemp("tls")
    options = ("--instruments", "60", "--rate", "4", "--exchange-time", "2026-11-20T11:00:30")
    with upstox(*options, "--hours", "exchange", "--algo-name", "ours", *FAST, folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(server: Upstox) -> Iterator[Sdk]:
    with Sdk(server) as made:
        yield made


def code(answer: list[Any]) -> tuple[int, str]:
    kind, status, body = answer
    assert kind == "refused", answer
    return status, body["errors"][0]["error_code"]


def first_minute(sdk: Sdk) -> list[Any]:
    """The day's oldest candle; there is none before the market's first tick, of which nobody tells."""
    for _ in range(200):
        answer = sdk.answer("HistoryApi", "get_intra_day_candle_data", NIFTY, "1minute", "2.0")
        if candles := answer["data"]["candles"]:
            oldest: list[Any] = candles[-1]
            return oldest
        time.sleep(0.05)
    pytest.fail("no candle of today after 10 seconds of ticks")


def test_candles_of_both_versions_without_a_token(server: Upstox, sdk: Sdk) -> None:
    """The client sends none with these calls."""
    for unit, interval, candles in (
        ("minutes", "1", 2 * 360), ("minutes", "15", 2 * 24), ("hours", "1", 2 * 6), ("days", "1", 2),
        ("weeks", "1", 1), ("months", "1", 1),
    ):  # fmt: skip
        answer = sdk.answer(
            "HistoryV3Api",
            "get_historical_candle_data1",
            RELIANCE,
            unit,
            interval,
            "2026-11-19",
            "2026-11-18",
        )
        rows = answer["data"]["candles"]
        assert len(rows) == candles, (unit, interval)
        for stamp, opened, high, low, closed, volume, oi in rows:
            assert dt.datetime.fromisoformat(stamp).utcoffset() == dt.timedelta(hours=5.5)
            assert low <= min(opened, closed) <= max(opened, closed) <= high and volume > 0 == oi
    old = sdk.answer(
        "HistoryApi", "get_historical_candle_data1", RELIANCE, "30minute", "2026-11-19", "2026-11-18", "2.0"
    )
    new = sdk.answer(
        "HistoryV3Api", "get_historical_candle_data1", RELIANCE, "minutes", "30", "2026-11-19", "2026-11-18"
    )
    assert old == new
    (today,) = sdk.answer("HistoryV3Api", "get_intra_day_candle_data", NIFTY, "days", "1")["data"]["candles"]
    assert today[0] == "2026-11-20T00:00:00+05:30" and today[5] == 0
    assert first_minute(sdk)[0].startswith("2026-11-20T11:00")
    far = sdk.call(
        "HistoryV3Api", "get_historical_candle_data1", RELIANCE, "minutes", "1", "2026-11-19", "2026-01-01"
    )
    assert code(far) == (400, "UDAPI1148")


def test_quotes_of_both_versions(sdk: Sdk) -> None:
    old = sdk.answer("MarketQuoteApi", "get_full_market_quote", f"{RELIANCE},{NIFTY}", "2.0")["data"]
    assert set(old) == {NAME, "NSE_INDEX:Nifty 50"}
    assert old[NAME]["depth"]["buy"][0]["orders"] > 0 and old[NAME]["ohlc"]["open"] > 0
    assert sdk.answer("MarketQuoteApi", "ltp", RELIANCE, "2.0")["data"][NAME]["last_price"] > 0
    day = sdk.answer("MarketQuoteApi", "get_market_quote_ohlc", RELIANCE, "1d", "2.0")["data"][NAME]["ohlc"]
    new = sdk.answer("MarketQuoteV3Api", "get_market_quote_ohlc", "1d", instrument_key=RELIANCE)["data"][NAME]
    assert day["close"] == new["prev_ohlc"]["close"] and day["open"] == new["live_ohlc"]["open"]
    assert code(sdk.call("MarketQuoteV3Api", "get_market_quote_ohlc", "5m", instrument_key=RELIANCE)) == (
        400, "UDAPI1028",
    )  # fmt: skip


def test_the_calls_that_a_feed_asks_for_prices_by(sdk: Sdk) -> None:
    keys = f"{RELIANCE},{NIFTY}"
    whole = sdk.answer("MarketQuoteV3Api", "get_full_market_quote_v3", instrument_key=keys)["data"]
    last = sdk.answer("MarketQuoteV3Api", "get_ltp", instrument_key=keys)["data"]
    assert set(whole) == set(last) == {NAME, "NSE_INDEX:Nifty 50"}
    assert whole[NAME]["instrument_token"] == last[NAME]["instrument_token"] == RELIANCE
    assert len(whole[NAME]["depth"]["buy"]) == 5 and whole[NAME]["timestamp"].startswith("2026-11-20T")
    assert whole[NAME]["prev_close_price"] == last[NAME]["cp"] > 0 and whole[NAME]["volume"] > 0


def test_options_search_and_trades(server: Upstox, sdk: Sdk) -> None:
    option = next(row for row in server.master() if row["instrument_type"] == "CE")
    key, name = option["underlying_key"], option["trading_symbol"]
    (contract,) = sdk.answer("OptionsApi", "get_option_contracts", key)["data"]
    assert (contract["instrument_key"], contract["underlying_key"]) == (option["instrument_key"], key)
    assert contract["strike_price"] == option["strike_price"]
    (strike,) = sdk.answer("OptionsApi", "get_put_call_option_chain", key, "2026-12-29")["data"]
    assert strike["call_options"]["market_data"]["ltp"] > 0 and strike["put_options"] is None
    assert 0 < strike["call_options"]["option_greeks"]["delta"] < 1
    found = sdk.answer("InstrumentsApi", "search_instrument", name)
    assert found["data"][0]["instrument_key"] == option["instrument_key"]
    assert found["meta_data"]["page"]["total_records"] == 1
    page = sdk.answer("PostTradeApi", "get_trades_by_date_range", "2026-11-20", "2026-11-20", 1, 10)
    assert page["data"] == [] and page["meta_data"]["page"]["total_records"] == 0
    lacking = sdk.call(
        "TradeProfitAndLossApi", "get_trade_wise_profit_and_loss_meta_data", "EQ", "2627", "2.0"
    )
    assert code(lacking) == (501, "UDAPI100060")


def test_the_algorithm_that_is_registered(sdk: Sdk) -> None:
    body = {
        "model": "PlaceOrderV3Request", "quantity": 1, "product": "I", "validity": "DAY", "price": 1300.0,
        "instrument_token": RELIANCE, "order_type": "LIMIT", "transaction_type": "BUY", "tag": None,
        "disclosed_quantity": 0, "trigger_price": 0.0, "is_amo": False, "slice": False,
    }  # fmt: skip
    assert sdk.answer("OrderApiV3", "place_order", body, algo_name="ours")["data"]["order_ids"]
    assert code(sdk.call("OrderApiV3", "place_order", body, algo_name="theirs")) == (400, "UDAPI1156")
