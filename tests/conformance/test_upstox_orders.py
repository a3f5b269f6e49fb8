"""The official Upstox client's calls about orders and the account, unchanged, against the simulator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from upstox_sim import FAST, Sdk, Upstox, upstox

RELIANCE, INFY = "NSE_EQ|INE000288501", "NSE_EQ|INE000159401"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstox]:
    folder = tmp_path_factory.mktemp("tls")
    with upstox("--instruments", "60", "--rate", "4", *FAST, folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(server: Upstox) -> Iterator[Sdk]:
    with Sdk(server) as made:
        yield made


def order(key: str = RELIANCE, **changed: Any) -> dict[str, Any]:
    """A limit order far below the market, some of its fields changed."""
    return {
        "model": "PlaceOrderV3Request", "quantity": 1, "product": "I", "validity": "DAY", "price": 1300.0,
        "instrument_token": key, "order_type": "LIMIT", "transaction_type": "BUY", "tag": None,
        "disclosed_quantity": 0, "trigger_price": 0.0, "is_amo": False, "slice": False, **changed,
    }  # fmt: skip


def market(key: str = RELIANCE, **changed: Any) -> dict[str, Any]:
    return order(key, **{"price": 0.0, "order_type": "MARKET", **changed})


def placed(sdk: Sdk, body: dict[str, Any], until: str) -> str:
    (order_id,) = sdk.answer("OrderApiV3", "place_order", body)["data"]["order_ids"]
    settled(sdk, order_id, until)
    return str(order_id)


def settled(sdk: Sdk, order_id: str, until: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        row: dict[str, Any] = sdk.answer("OrderApi", "get_order_status", order_id=order_id)["data"]
        if row["status"] == until:
            return row
        assert time.monotonic() < deadline, row
        time.sleep(0.02)


def refused(answer: list[Any]) -> tuple[int, str]:
    kind, status, body = answer
    assert kind == "refused" and body["status"] == "error", answer
    (error,) = body["errors"]
    assert error["errorCode"] == error["error_code"] and "property_path" in error and "propertyPath" in error
    return status, error["errorCode"]


def test_an_order_lives_from_place_to_cancel(sdk: Sdk) -> None:
    order_id = placed(sdk, order(tag="life"), "open")
    change = {
        "model": "ModifyOrderRequest", "order_id": order_id, "quantity": 3, "validity": "DAY",
        "price": 1301.0, "order_type": "LIMIT", "trigger_price": 0.0, "disclosed_quantity": 0,
    }  # fmt: skip
    assert sdk.answer("OrderApiV3", "modify_order", change)["data"]["order_id"] == order_id
    row = settled(sdk, order_id, "open")
    while row["quantity"] != 3:
        row = settled(sdk, order_id, "open")
    assert (row["price"], row["order_request_id"], row["tag"]) == (1301.0, "2", "life")
    assert sdk.answer("OrderApiV3", "cancel_order", order_id)["metadata"]["latency"] >= 0
    settled(sdk, order_id, "cancelled")
    words = [
        r["status"] for r in sdk.answer("OrderApi", "get_order_details", "2.0", order_id=order_id)["data"]
    ]
    assert words == [
        "put order req received", "validation pending", "open pending", "open",
        "modify validation pending", "modify pending", "modified", "open", "cancel pending", "cancelled",
    ]  # fmt: skip
    by_tag = sdk.answer("OrderApi", "get_order_details", "2.0", tag="life")["data"]
    assert [r["status"] for r in by_tag] == words
    assert refused(sdk.call("OrderApiV3", "cancel_order", order_id)) == (400, "UDAPI100040")
    assert refused(sdk.call("OrderApiV3", "modify_order", change)) == (400, "UDAPI100041")


def test_the_version_2_calls_still_work(sdk: Sdk) -> None:
    body = {name: value for name, value in order().items() if name != "slice"} | {
        "model": "PlaceOrderRequest"
    }
    order_id = sdk.answer("OrderApi", "place_order", body, "2.0")["data"]["order_id"]
    settled(sdk, order_id, "open")
    assert sdk.answer("OrderApi", "cancel_order", order_id, "2.0")["data"]["order_id"] == order_id
    settled(sdk, order_id, "cancelled")


def test_a_fill_shows_in_trades_positions_and_funds(server: Upstox, sdk: Sdk) -> None:
    before = server.data("/v3/user/get-funds-and-margin")["available_to_trade"]["total"]
    order_id = placed(sdk, market(INFY, quantity=5), "complete")
    (book,) = [
        r for r in sdk.answer("OrderApi", "get_order_book", "2.0")["data"] if r["order_id"] == order_id
    ]
    trades = sdk.answer("OrderApi", "get_trades_by_order", order_id, "2.0")["data"]
    assert (
        sum(t["quantity"] for t in trades) == book["filled_quantity"] == 5 and book["pending_quantity"] == 0
    )
    paid = sum(t["quantity"] * t["average_price"] for t in trades)
    assert book["average_price"] == pytest.approx(paid / 5)
    day = sdk.answer("OrderApi", "get_trade_history", "2.0")["data"]
    assert [t for t in day if t["order_id"] == order_id] == trades
    (position,) = [p for p in sdk.answer("PortfolioApi", "get_positions", "2.0")["data"]
                   if p["instrument_token"] == INFY]  # fmt: skip
    assert (position["quantity"], position["product"], position["buy_value"]) == (5, "I", pytest.approx(paid))
    assert server.data("/v3/user/get-funds-and-margin")["available_to_trade"]["total"] < before
    funds = sdk.answer("UserApi", "get_user_fund_margin", "2.0")["data"]["equity"]
    assert funds["available_margin"] > 0
    truth = server.running.get("/_sim/account")
    assert order_id.encode() in truth


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"instrument_token": "NSE_EQ|RELIANCE"}, "UDAPI100011"),
        ({"quantity": 0}, "UDAPI1052"),
        ({"price": 0.0}, "UDAPI1008"),
        ({"price": 1300.02}, "UDAPI100036"),
        ({"order_type": "MARKET"}, "UDAPI1030"),
        ({"order_type": "MARKET", "price": 0.0, "market_protection": 0.0}, "UDAPI1158"),
        ({"order_type": "MARKET", "price": 0.0, "market_protection": 26.0}, "UDAPI1159"),
        ({"order_type": "SL"}, "UDAPI1031"),
        ({"order_type": "SL", "trigger_price": 1310.0}, "UDAPI1036"),
        ({"quantity": 100, "disclosed_quantity": 5}, "UDAPI1039"),
        ({"tag": "x" * 41}, "UDAPI1119"),
    ],
)
def test_what_the_call_itself_refuses(sdk: Sdk, changed: dict[str, Any], code: str) -> None:
    assert refused(sdk.call("OrderApiV3", "place_order", order(**changed))) == (400, code)


def test_what_the_risk_system_refuses_comes_later(sdk: Sdk) -> None:
    order_id = placed(sdk, order(quantity=10_000_000), "rejected")
    row = settled(sdk, order_id, "rejected")
    assert "Insufficient funds" in row["status_message"]
    order_id = placed(sdk, order(product="D", transaction_type="SELL", price=1600.0), "rejected")
    assert "holding" in settled(sdk, order_id, "rejected")["status_message"]


def test_an_unknown_order_is_404(sdk: Sdk) -> None:
    assert refused(sdk.call("OrderApi", "get_order_status", order_id="261121999999999")) == (
        404,
        "UDAPI100010",
    )
    assert refused(sdk.call("OrderApiV3", "cancel_order", "261121999999999")) == (404, "UDAPI100010")


def test_slices_are_orders_of_the_freeze_quantity(server: Upstox, sdk: Sdk) -> None:
    row = next(r for r in server.master() if r["instrument_type"] == "CE")
    freeze, lot, low = int(row["freeze_quantity"]), row["lot_size"], 0.05
    body = order(row["instrument_key"], quantity=freeze * 2 + lot, slice=True, price=low, product="D")
    ids = sdk.answer("OrderApiV3", "place_order", body)["data"]["order_ids"]
    sizes = [settled(sdk, i, "open")["quantity"] for i in ids]
    assert sizes == [freeze, freeze, lot]
    whole = order(row["instrument_key"], quantity=freeze * 2, price=low, product="D")
    assert "freeze" in settled(sdk, placed(sdk, whole, "rejected"), "rejected")["status_message"]
    many = order(row["instrument_key"], quantity=freeze * 25 + lot, slice=True, price=low, product="D")
    assert refused(sdk.call("OrderApiV3", "place_order", many)) == (400, "UDAPI1118")
    cancelled = sdk.answer("OrderApi", "cancel_multi_order", segment="NSE_FO")
    assert set(cancelled["data"]["order_ids"]) == set(ids) and cancelled["summary"]["success"] == 3


def line(name: str, **changed: Any) -> dict[str, Any]:
    return order(**changed) | {"model": "MultiOrderRequest", "correlation_id": name}


def test_multi_orders_all_some_and_none(sdk: Sdk) -> None:
    answer = sdk.answer("OrderApi", "place_multi_order", [line("a", tag="many"), line("b", tag="many")])
    assert [row["correlation_id"] for row in answer["data"]] == ["a", "b"]
    assert answer["summary"] == {"total": 2, "success": 2, "error": 0, "payload_error": 0}
    some = sdk.answer(
        "OrderApi", "place_multi_order", [line("c", tag="many"), line("d", quantity=7, price=1300.01)]
    )
    assert some["status"] == "partial_success" and [r["correlation_id"] for r in some["data"]] == ["c"]
    assert [e["correlation_id"] for e in some["errors"]] == ["d"]
    kind, status, body = sdk.call("OrderApi", "place_multi_order", [line("e"), line("e")])
    assert (kind, status, body["errors"][0]["error_code"]) == ("refused", 400, "UDAPI1117")
    assert (
        refused(sdk.call("OrderApi", "place_multi_order", [line(str(i)) for i in range(11)]))[1]
        == "UDAPI1118"
    )
    assert refused(sdk.call("OrderApi", "place_multi_order", []))[1] == "UDAPI1114"
    ids = {row["order_id"] for row in [*answer["data"], *some["data"]]}
    for order_id in ids:
        settled(sdk, order_id, "open")
    assert set(sdk.answer("OrderApi", "cancel_multi_order", tag="many")["data"]["order_ids"]) == ids
    for order_id in ids:
        settled(sdk, order_id, "cancelled")
    assert refused(sdk.call("OrderApi", "cancel_multi_order", tag="many"))[1] == "UDAPI1109"


def test_exit_leaves_the_positions(sdk: Sdk) -> None:
    placed(sdk, market(quantity=2, transaction_type="SELL", tag="leave"), "complete")
    ids = sdk.answer("OrderApi", "exit_positions", tag="leave")["data"]["order_ids"]
    for order_id in ids:
        settled(sdk, order_id, "complete")
    positions = sdk.answer("PortfolioApi", "get_positions", "2.0")["data"]
    assert [p["quantity"] for p in positions if p["instrument_token"] == RELIANCE] == [0]


def test_charges_and_margins(sdk: Sdk) -> None:
    charges = sdk.answer("ChargeApi", "get_brokerage", RELIANCE, 10, "I", "BUY", 1400.0, "2.0")["data"][
        "charges"
    ]
    parts = [charges["brokerage"], *charges["taxes"].values(), *charges["other_taxes"].values()]
    assert charges["total"] == pytest.approx(sum(parts)) and 0 < charges["brokerage"] <= 20
    asked = {"model": "Instrument", "instrument_key": RELIANCE, "quantity": 10, "product": "I",
             "transaction_type": "BUY", "price": 1400.0}  # fmt: skip
    margin = sdk.answer("ChargeApi", "post_margin", {"model": "MarginRequest", "instruments": [asked]})[
        "data"
    ]
    assert margin["required_margin"] == margin["final_margin"] == pytest.approx(2800.0)


def test_a_gtt_enters_and_its_target_leaves(sdk: Sdk) -> None:
    last = sdk.answer("MarketQuoteV3Api", "get_ltp", instrument_key=RELIANCE)["data"]["NSE_EQ:RELIANCE"][
        "last_price"
    ]

    def rule(strategy: str, kind: str, price: float) -> dict[str, Any]:
        return {"model": "GttRule", "strategy": strategy, "trigger_type": kind, "trigger_price": price}

    up, low = round(last * 1.01 * 20) / 20, round(last * 0.9 * 20) / 20
    body = {
        "model": "GttPlaceOrderRequest", "type": "MULTIPLE", "quantity": 1, "product": "D",
        "instrument_token": RELIANCE, "transaction_type": "BUY",
        "rules": [rule("ENTRY", "IMMEDIATE", up), rule("STOPLOSS", "IMMEDIATE", low)],
    }  # fmt: skip
    (gtt_id,) = sdk.answer("OrderApiV3", "place_gtt_order", body)["data"]["gtt_order_ids"]
    (gtt,) = sdk.answer("OrderApiV3", "get_gtt_order_details", gtt_order_id=gtt_id)["data"]
    assert {r["strategy"]: r["status"] for r in gtt["rules"]} == {"ENTRY": "COMPLETED", "STOPLOSS": "PENDING"}
    settled(sdk, gtt["rules"][0]["order_id"], "complete")
    change = {"model": "GttModifyOrderRequest", "gtt_order_id": gtt_id, "type": "MULTIPLE", "quantity": 1,
              "rules": [rule("STOPLOSS", "IMMEDIATE", up)]}  # fmt: skip
    sdk.answer("OrderApiV3", "modify_gtt_order", change)
    deadline = time.monotonic() + 20
    while gtt["rules"][1]["status"] != "COMPLETED":
        assert time.monotonic() < deadline, gtt
        (gtt,) = sdk.answer("OrderApiV3", "get_gtt_order_details", gtt_order_id=gtt_id)["data"]
    assert gtt["rules"][1]["transaction_type"] == "SELL" and gtt["rules"][1]["order_id"]
    body["rules"] = [rule("TARGET", "IMMEDIATE", up)]
    body["type"] = "SINGLE"
    assert refused(sdk.call("OrderApiV3", "place_gtt_order", body))[1] == "UDAPI1141"


def test_market_calls(sdk: Sdk) -> None:
    assert (
        sdk.answer("MarketHolidaysAndTimingsApi", "get_market_status", "NSE")["data"]["status"]
        == "NORMAL_OPEN"
    )
    (holiday,) = sdk.answer("MarketHolidaysAndTimingsApi", "get_holiday", "2026-11-24")["data"]
    assert "NSE" in holiday["closed_exchanges"]
    this_year = sdk.answer("MarketHolidaysAndTimingsApi", "get_holidays")["data"]  # as far as it is known
    assert all(row["closed_exchanges"] for row in this_year)
    assert len(sdk.answer("MarketHolidaysAndTimingsApi", "get_exchange_timings", "2026-11-20")["data"]) == 8
    ohlc = sdk.answer("MarketQuoteV3Api", "get_market_quote_ohlc", "1d", instrument_key=RELIANCE)["data"]
    assert ohlc["NSE_EQ:RELIANCE"]["live_ohlc"]["open"] > 0
    whole = sdk.answer("MarketQuoteV3Api", "get_full_market_quote_v3", instrument_key=RELIANCE)
    assert whole["data"]["NSE_EQ:RELIANCE"]["upper_circuit_limit"] > 0
    assert refused(sdk.call("MarketQuoteV3Api", "get_ltp", instrument_key="NSE_EQ|NONE")) == (
        400,
        "UDAPI100011",
    )
    assert sdk.answer("PortfolioApi", "get_holdings", "2.0")["data"][0]["isin"].startswith("INE")
    assert sdk.answer("UserApi", "get_profile", "2.0")["data"]["broker"] == "UPSTOX"
