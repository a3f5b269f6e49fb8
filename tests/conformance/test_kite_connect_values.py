"""The official client, unchanged, against the simulator: what it is told is what was done.

Orders of every variety and type, trades, positions, funds, holdings, triggers: each number that
the client reads is checked against the others that it must agree with.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from sim_tools import Running, simulator


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with simulator("--instruments", "60", "--rate", "10", "--no-limits", "--latency-us", "2000") as process:
        yield process


@pytest.fixture(scope="module")
def kite(running: Running) -> Iterator[KiteConnect]:
    client = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    yield client
    client.reqsession.close()


def eventually(read: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 20
    while not wanted(value := read()):
        assert time.monotonic() < deadline, value
        time.sleep(0.01)
    return value


def last_state(kite: KiteConnect, order_id: str, *statuses: str) -> dict[str, Any]:
    history = eventually(lambda: kite.order_history(order_id), lambda rows: rows[-1]["status"] in statuses)
    return dict(history[-1])


def labels(kite: KiteConnect, order_id: str) -> list[str]:
    return [row["status"] for row in kite.order_history(order_id)]


def grid(price: float) -> float:
    return round(price * 20) / 20


def quote(kite: KiteConnect, symbol: str) -> dict[str, Any]:
    return dict(kite.quote(f"NSE:{symbol}")[f"NSE:{symbol}"])


def position(kite: KiteConnect, symbol: str, product: str) -> dict[str, Any]:
    return next(p for p in kite.positions()["net"] if (p["tradingsymbol"], p["product"]) == (symbol, product))


def test_market_order_from_request_to_position(kite: KiteConnect) -> None:
    before = kite.margins("equity")["available"]["cash"]
    order_id = kite.place_order(
        kite.VARIETY_REGULAR, kite.EXCHANGE_NSE, "RELIANCE", kite.TRANSACTION_TYPE_BUY, 5, kite.PRODUCT_MIS,
        kite.ORDER_TYPE_MARKET, market_protection=kite.MARKET_PROTECTION_AUTO, tag="conformance",
    )  # fmt: skip
    assert isinstance(order_id, str)
    row = last_state(kite, order_id, "COMPLETE")
    assert (row["order_type"], row["market_protection"], row["filled_quantity"]) == ("LIMIT", 0, 5)
    # The client's tag is echoed, and stands behind the broker's own marks too.
    assert (row["tag"], row["tags"]) == ("conformance", ["mktp", "mktp:0.50", "conformance"])
    assert isinstance(row["order_timestamp"], dt.datetime)
    trades = kite.order_trades(order_id)
    assert sum(t["quantity"] for t in trades) == 5
    assert [t for t in kite.trades() if t["order_id"] == order_id] == trades
    value = sum(t["quantity"] * t["average_price"] for t in trades)
    assert row["average_price"] == pytest.approx(value / 5, abs=1e-9)
    held = position(kite, "RELIANCE", "MIS")
    assert (held["quantity"], held["overnight_quantity"], held["multiplier"]) == (5, 0, 1)
    assert held["buy_value"] == pytest.approx(value, abs=1e-6)
    assert held["pnl"] == pytest.approx(
        held["sell_value"] - held["buy_value"] + held["quantity"] * held["last_price"], abs=1e-6
    )
    assert before - kite.margins("equity")["available"]["cash"] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("price", "shown"), [(1300.05 + 0.1, 1300.15), (1300.2 - 0.05, 1300.15), (0.1 * 13001, 1300.1)]
)
def test_prices_may_carry_the_noise_of_floats(kite: KiteConnect, price: float, shown: float) -> None:
    order_id = kite.place_order("regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=price)
    assert last_state(kite, order_id, "OPEN")["price"] == shown
    kite.cancel_order("regular", order_id)
    with pytest.raises(ex.InputException, match="Tick size"):
        kite.place_order("regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=shown + 0.001)


@pytest.mark.parametrize("tag", ["mktp", "autoslice:1", "a-b_c.d e"])
def test_a_tag_is_echoed_whatever_it_says(kite: KiteConnect, tag: str) -> None:
    order_id = kite.place_order("regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=1300, tag=tag)
    row = last_state(kite, order_id, "OPEN")
    assert (row["tag"], row["tags"]) == (tag, [tag])
    kite.modify_order("regular", order_id, order_type="MARKET", market_protection=5)
    row = last_state(kite, order_id, "COMPLETE")
    assert (row["tag"], row["tags"]) == (tag, ["mktp", "mktp:5.00", tag])


def test_funds_go_by_the_margin_call() -> None:
    """What the calculator names is what an order takes: all of it is enough, a paisa less is not."""
    with simulator("--instruments", "60", "--no-limits", "--latency-us", "0", "--cash", "3000") as small:
        client = KiteConnect(small.api_key, access_token=small.access_token, root=small.api)
        terms = {"exchange": "NSE", "tradingsymbol": "INFY", "order_type": "LIMIT", "variety": "regular"}

        def total(**more: Any) -> float:
            return float(client.order_margins([terms | more])[0]["total"])

        def outcome(**more: Any) -> dict[str, Any]:
            order_id = client.place_order(**(terms | more))
            return last_state(client, order_id, "OPEN", "REJECTED")

        for side, price in (("BUY", 1500.0), ("SELL", 1500.0)):
            price = grid(price * (0.85 if side == "BUY" else 1.15))  # it waits
            order = {"transaction_type": side, "price": price, "product": "MIS"}
            fits = int(3000 // total(quantity=1, **order))
            assert fits >= 8, "a fifth of the value"
            row = outcome(quantity=fits + 1, **order)
            assert row["status"] == "REJECTED"
            assert f"Required margin is {total(quantity=fits + 1, **order):.2f} " in row["status_message"]
            row = outcome(quantity=fits, **order)
            assert row["status"] == "OPEN"
            left = client.margins("equity")["net"]
            assert left == pytest.approx(3000 - total(quantity=fits, **order), abs=0.011)
            client.cancel_order("regular", row["order_id"])
            last_state(client, row["order_id"], "CANCELLED")
            assert client.margins("equity")["net"] == 3000
        whole = {"transaction_type": "BUY", "price": 1300.0, "product": "CNC"}
        assert [outcome(quantity=n, **whole)["status"] for n in (3, 2)] == ["REJECTED", "OPEN"]
        client.reqsession.close()


def test_limit_order_modified_and_cancelled(kite: KiteConnect) -> None:
    order_id = kite.place_order("regular", "NSE", "INFY", "BUY", 3, "CNC", "LIMIT", price=1300, tag="a b")
    row = last_state(kite, order_id, "OPEN")
    assert (row["tag"], row["tags"]) == ("a b", ["a b"])
    assert kite.modify_order("regular", order_id, price=1310.5, quantity=4) == order_id
    row = eventually(
        lambda: kite.order_history(order_id)[-1], lambda r: r["modified"] and r["status"] == "OPEN"
    )
    assert (row["price"], row["quantity"], row["pending_quantity"]) == (1310.5, 4, 4)
    assert kite.cancel_order("regular", order_id) == order_id
    row = last_state(kite, order_id, "CANCELLED")
    assert (row["cancelled_quantity"], row["filled_quantity"]) == (4, 0)
    assert labels(kite, order_id) == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "MODIFY VALIDATION PENDING",
        "MODIFY PENDING", "MODIFIED", "OPEN", "CANCEL PENDING", "CANCELLED",
    ]  # fmt: skip
    assert next(r for r in kite.orders() if r["order_id"] == order_id)["status"] == "CANCELLED"
    with pytest.raises(ex.OrderException):
        kite.cancel_order("regular", order_id)
    with pytest.raises(ex.OrderException):
        kite.modify_order("regular", order_id, quantity=5)


def test_the_book_is_not_in_order_of_time_but_a_history_is(kite: KiteConnect) -> None:
    placed = [
        kite.place_order("regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=1300) for _ in range(12)
    ]
    book = [row["order_id"] for row in kite.orders() if row["order_id"] in placed]
    assert sorted(book) == placed and book != placed
    for order_id in placed:
        last_state(kite, order_id, "OPEN")
        kite.cancel_order("regular", order_id)
    assert labels(kite, placed[0])[:4] == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN",
    ]  # fmt: skip


def test_stops_wait_for_their_trigger(kite: KiteConnect) -> None:
    last = quote(kite, "TCS")["last_price"]
    stop = kite.place_order(
        "regular",
        "NSE",
        "TCS",
        "BUY",
        1,
        "MIS",
        "SL",
        price=grid(last * 1.1),
        trigger_price=grid(last * 1.09),
    )
    row = last_state(kite, stop, "TRIGGER PENDING")
    assert (row["order_type"], row["trigger_price"]) == ("SL", grid(last * 1.09))
    kite.cancel_order("regular", stop)
    last_state(kite, stop, "CANCELLED")
    at_once = kite.place_order(
        "regular", "NSE", "TCS", "BUY", 1, "MIS", "SL-M", trigger_price=grid(last * 0.9), market_protection=5
    )
    row = last_state(kite, at_once, "COMPLETE")
    assert row["tags"] == ["mktp", "mktp:5.00"]
    with pytest.raises(ex.InputException, match="market protection"):
        kite.place_order("regular", "NSE", "TCS", "BUY", 1, "MIS", "SL-M", trigger_price=grid(last))


def test_immediate_or_cancel_and_minutes_to_live(kite: KiteConnect) -> None:
    ioc = kite.place_order("regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=1300, validity="IOC")
    row = last_state(kite, ioc, "CANCELLED")
    assert (row["validity"], row["cancelled_quantity"]) == ("IOC", 1)
    ttl = kite.place_order(
        "regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=1300, validity="TTL", validity_ttl=10
    )
    row = last_state(kite, ttl, "OPEN")
    assert (row["validity"], row["validity_ttl"]) == ("TTL", 10)
    kite.cancel_order("regular", ttl)
    gold = next(r for r in kite.instruments("MCX"))
    price = kite.ltp(f"MCX:{gold['tradingsymbol']}")[f"MCX:{gold['tradingsymbol']}"]["last_price"]
    with pytest.raises(ex.InputException, match="IOC"):
        kite.place_order(
            "regular", "MCX", gold["tradingsymbol"], "BUY", 1, "NRML", "LIMIT", price=price, validity="IOC"
        )


def test_cover_order_and_its_exit(kite: KiteConnect) -> None:
    last = quote(kite, "ITC")["last_price"]
    first = kite.place_order(
        "co", "NSE", "ITC", "BUY", 4, "MIS", "MARKET", trigger_price=grid(last * 0.95), market_protection=-1
    )
    last_state(kite, first, "COMPLETE")
    (second,) = eventually(
        lambda: [o for o in kite.orders() if o["parent_order_id"] == first],
        lambda rows: [r["status"] for r in rows] == ["TRIGGER PENDING"],
    )
    assert (second["transaction_type"], second["quantity"], second["variety"]) == ("SELL", 4, "co")
    moved = grid(last * 0.94)
    kite.modify_order("co", second["order_id"], parent_order_id=first, trigger_price=moved)
    row = eventually(
        lambda: kite.order_history(second["order_id"])[-1],
        lambda r: r["modified"] and r["status"] == "TRIGGER PENDING",
    )
    assert row["trigger_price"] == moved
    assert kite.exit_order("co", second["order_id"], parent_order_id=first) == second["order_id"]
    last_state(kite, second["order_id"], "COMPLETE", "CANCELLED")
    eventually(lambda: position(kite, "ITC", "MIS")["quantity"], lambda quantity: quantity == 0)


def test_iceberg_shows_one_leg_at_a_time(kite: KiteConnect) -> None:
    ask = quote(kite, "SBIN")["last_price"]
    first = kite.place_order(
        "iceberg", "NSE", "SBIN", "BUY", 6, "MIS", "LIMIT", price=grid(ask * 1.02), iceberg_legs=3,
        iceberg_quantity=2, tag="berg",
    )  # fmt: skip

    def legs() -> list[dict[str, Any]]:
        rows = [o for o in kite.orders() if o["variety"] == "iceberg" and "berg" in o["tags"]]
        return sorted(rows, key=lambda o: o["meta"]["iceberg"]["leg"])

    rows = eventually(legs, lambda found: [o["status"] for o in found] == ["COMPLETE"] * 3)
    assert rows[0]["order_id"] == first
    assert [o["meta"]["iceberg"]["remaining_quantity"] for o in rows] == [4, 2, 0]
    assert {o["quantity"] for o in rows} == {2}
    with pytest.raises(ex.InputException):
        kite.place_order(
            "iceberg", "NSE", "SBIN", "BUY", 51, "MIS", "LIMIT", price=grid(ask), iceberg_legs=51,
            iceberg_quantity=1,
        )  # fmt: skip


def test_autoslice_splits_over_the_freeze_quantity(kite: KiteConnect) -> None:
    row = next(r for r in kite.instruments("NFO") if r["instrument_type"] == "FUT")
    symbol, lot = row["tradingsymbol"], row["lot_size"]
    low = kite.quote(f"NFO:{symbol}")[f"NFO:{symbol}"]["lower_circuit_limit"]
    answer = kite.place_autoslice_order("regular", "NFO", symbol, "BUY", 4000, "NRML", "LIMIT", price=low)
    children = [child["order_id"] for child in answer["children"]]
    rows = {o["order_id"]: o for o in kite.orders()}
    assert [rows[c]["quantity"] for c in children] == [1800, 1800, 400]
    assert {tuple(rows[c]["tags"]) for c in children} == {("autoslice", f"autoslice:{answer['order_id']}")}
    assert all(rows[c]["tag"] is None for c in children) and answer["order_id"] not in rows
    for child in children:
        last_state(kite, child, "OPEN")
        kite.cancel_order("regular", child)
        last_state(kite, child, "CANCELLED")
    with pytest.raises(ex.InputException):  # eleven slices
        kite.place_autoslice_order(
            "regular", "NFO", symbol, "BUY", 1800 * 10 + lot, "NRML", "LIMIT", price=low
        )
    # What the money does not suffice for is an error of its slice, not of the call: an order that
    # waits takes most of it.
    free = kite.margins("equity")["net"]
    reserve = kite.place_order(
        "regular", "NSE", "INFY", "BUY", int(free // 1300) - 300, "CNC", "LIMIT", price=1300
    )
    last_state(kite, reserve, "OPEN")
    answer = kite.place_autoslice_order("regular", "NFO", symbol, "BUY", 18000, "NRML", "LIMIT", price=low)
    errors = [child["error"] for child in answer["children"] if "error" in child]
    assert errors and {(e["code"], e["error_type"]) for e in errors} == {(400, "MarginException")}
    for child in answer["children"]:
        if (
            "order_id" in child
            and last_state(kite, child["order_id"], "OPEN", "REJECTED")["status"] == "OPEN"
        ):
            kite.cancel_order("regular", child["order_id"])
    kite.cancel_order("regular", reserve)


def test_trigger_fires_once_and_names_its_order(kite: KiteConnect) -> None:
    last = quote(kite, "LT")["last_price"]
    near = round(grid(last) - 0.05, 2)
    order = {"transaction_type": "BUY", "quantity": 1, "order_type": "LIMIT", "product": "CNC", "price": near}
    fires = kite.place_gtt("single", "LT", "NSE", [near], max(last, near + 0.05), [order])["trigger_id"]
    gtt = eventually(lambda: kite.get_gtt(fires), lambda g: g["status"] == "triggered")
    result = gtt["orders"][0]["result"]
    placed = next(o for o in kite.orders() if o["order_id"] == result["order_result"]["order_id"])
    assert (placed["tradingsymbol"], placed["price"], placed["tag"]) == ("LT", near, None)
    assert result["triggered_at"] <= near and result["order_result"]["status"] == "success"
    with pytest.raises(ex.GeneralException):
        kite.delete_gtt(fires)
    legs = [
        {"transaction_type": "SELL", "quantity": 1, "order_type": "LIMIT", "product": "CNC", "price": price}
        for price in (grid(last * 0.9), grid(last * 1.1))
    ]
    values = [leg["price"] for leg in legs]
    two = kite.place_gtt("two-leg", "LT", "NSE", values, last, legs)["trigger_id"]
    row = kite.get_gtt(two)
    assert (row["type"], row["status"], row["condition"]["trigger_values"]) == ("two-leg", "active", values)
    moved = [grid(last * 0.91), grid(last * 1.1)]
    assert kite.modify_gtt(two, "two-leg", "LT", "NSE", moved, last, legs) == {"trigger_id": two}
    assert kite.get_gtt(two)["condition"]["trigger_values"] == moved
    assert kite.delete_gtt(two) == {"trigger_id": two} and kite.get_gtt(two)["status"] == "deleted"
    assert {g["id"] for g in kite.get_gtts()} >= {fires, two}


def test_position_converted_to_another_product(kite: KiteConnect) -> None:
    order_id = kite.place_order("regular", "NSE", "HDFCBANK", "BUY", 4, "MIS", "MARKET", market_protection=-1)
    value = 4 * last_state(kite, order_id, "COMPLETE")["average_price"]
    assert kite.convert_position("NSE", "HDFCBANK", "BUY", "day", 3, "MIS", "CNC") is True
    mis, cnc = position(kite, "HDFCBANK", "MIS"), position(kite, "HDFCBANK", "CNC")
    assert (mis["quantity"], cnc["quantity"]) == (1, 3)
    assert mis["buy_value"] + cnc["buy_value"] == pytest.approx(value, abs=1e-6)
    with pytest.raises(ex.OrderException):
        kite.convert_position("NSE", "HDFCBANK", "BUY", "day", 2, "MIS", "CNC")
    with pytest.raises(ex.InputException):
        kite.convert_position("NSE", "HDFCBANK", "BUY", "week", 1, "MIS", "CNC")


def test_holdings_and_their_sale(kite: KiteConnect, running: Running) -> None:
    """Unauthorised shares are refused with 428 until the client has been to the depository's page."""
    rows = kite.holdings()
    locked = next(h for h in rows if h["quantity"] == 100)
    with_t1 = next(h for h in rows if h["t1_quantity"])
    assert (locked["authorised_quantity"], with_t1["quantity"], with_t1["t1_quantity"]) == (0, 40, 10)
    value = 100 * (locked["last_price"] - locked["average_price"])
    assert locked["pnl"] == pytest.approx(value, abs=1e-6)

    def sell(quantity: int) -> str:
        price = grid(quote(kite, locked["tradingsymbol"])["last_price"] * 0.99)
        name = locked["tradingsymbol"]
        return str(kite.place_order("regular", "NSE", name, "SELL", quantity, "CNC", "LIMIT", price=price))

    with pytest.raises(ex.KiteException) as error:
        sell(1)
    assert error.value.code == 428
    headers = {"Authorization": f"token {kite.api_key}:{kite.access_token}"}
    begun = kite.reqsession.post(
        f"{running.api}/portfolio/holdings/authorise", headers=headers, data={"isin": locked["isin"]}
    ).json()["data"]
    with pytest.raises(ex.KiteException):  # begun is not done
        sell(1)
    page = f"{running.api}/connect/portfolio/authorise/holdings/{kite.api_key}/{begun['request_id']}"
    assert kite.reqsession.get(page).status_code == 200
    last_state(kite, sell(30), "COMPLETE")
    after = next(h for h in kite.holdings() if h["isin"] == locked["isin"])
    assert (after["quantity"], after["used_quantity"], after["opening_quantity"]) == (70, 30, 100)
    assert position(kite, locked["tradingsymbol"], "CNC")["quantity"] == -30
    rejected = last_state(kite, sell(71), "REJECTED")
    assert "holding" in rejected["status_message"].lower()
