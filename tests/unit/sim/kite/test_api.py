"""REST answers: routes, errors, limits, login, and the shape of rows against the official mocks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sim_tools import AUTH, NOW, SECOND, TABLE, api_of, ask, book_of, exchange_at, own_limits, settle, told

from kite_hft.sim.kite.api import KiteApi
from kite_hft.trading.instruments import parse_csv

BUY = (
    "exchange=NSE&tradingsymbol=SBIN&transaction_type=BUY&quantity=4&product=CNC"
    "&order_type=LIMIT&price=100.05"
)


def traded() -> KiteApi:
    """An API with one complete order, four shares bought at 100.05."""
    api = api_of(exchange_at())
    status, data = ask(api, "POST", "/orders/regular", BUY + "&tag=mine")
    assert status == 200 and set(data) == {"order_id"}
    settle(api.exchange)
    return api


def test_order_book_history_and_trades() -> None:
    api = traded()
    (row,) = ask(api, "GET", "/orders")[1]
    assert (row["status"], row["filled_quantity"], row["average_price"]) == ("COMPLETE", 4, 100.05)
    assert (row["tag"], row["tags"]) == ("mine", ["mine"])
    assert row["order_timestamp"] == "2025-12-15 09:32:48"
    history = ask(api, "GET", f"/orders/{row['order_id']}")[1]
    assert [r["status"] for r in history] == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "COMPLETE",
    ]  # fmt: skip
    (trade,) = ask(api, "GET", "/trades")[1]
    assert (trade["quantity"], trade["average_price"], trade["order_id"]) == (4, 100.05, row["order_id"])
    assert trade["order_timestamp"] == "09:32:48"
    assert ask(api, "GET", f"/orders/{row['order_id']}/trades")[1] == [trade]


def test_positions_and_margins() -> None:
    api = traded()
    api.exchange.on_ticks(book_of(0, 10_100, 10_105, 5, last=10_100, volume=1001), NOW + 2 * SECOND)
    (net,) = ask(api, "GET", "/portfolio/positions")[1]["net"]
    assert (net["quantity"], net["buy_value"], net["average_price"]) == (4, 400.2, 100.05)
    assert net["pnl"] == pytest.approx(4 * (101.00 - 100.05))
    margins = ask(api, "GET", "/user/margins")[1]
    assert margins["equity"]["net"] == 1_000_000 - 400.2
    assert margins["equity"]["available"]["opening_balance"] == 1_000_000
    assert ask(api, "GET", "/user/margins/equity")[1] == margins["equity"]
    assert ask(api, "GET", "/portfolio/holdings") == (200, [])


def test_modify_and_cancel() -> None:
    api = api_of(exchange_at())
    order_id = ask(api, "POST", "/orders/regular", BUY.replace("100.05", "95"))[1]["order_id"]
    settle(api.exchange)
    later = NOW + 2 * SECOND
    assert ask(api, "PUT", f"/orders/regular/{order_id}", "price=94.5&quantity=3", later)[0] == 200
    settle(api.exchange, later)
    (row,) = ask(api, "GET", "/orders", now=later + SECOND)[1]
    assert (row["price"], row["quantity"], row["modified"]) == (94.5, 3, True)
    assert ask(api, "DELETE", f"/orders/regular/{order_id}", now=later + SECOND)[0] == 200
    settle(api.exchange, later + SECOND)
    assert ask(api, "GET", "/orders", now=later + 3 * SECOND)[1][0]["status"] == "CANCELLED"


@pytest.mark.parametrize(
    ("method", "path", "form", "status", "kind"),
    [
        ("GET", "/nonsense", "", 404, "GeneralException"),
        ("GET", "/", "", 404, "GeneralException"),
        ("GET", "/orders/regular/1/2", "", 404, "GeneralException"),
        ("DELETE", "/orders", "", 405, "GeneralException"),
        ("POST", "/trades", "", 405, "GeneralException"),
        ("PUT", "/session/token", "", 405, "GeneralException"),
        ("GET", "/orders/123", "", 400, "OrderException"),
        ("GET", "/orders/123/trades", "", 400, "OrderException"),
        ("PUT", "/orders/regular/123", "price=1", 400, "OrderException"),
        ("DELETE", "/orders/regular/123", "", 400, "OrderException"),
        ("POST", "/orders/co", BUY, 400, "InputException"),
        ("POST", "/orders/regular", "", 400, "InputException"),
        ("POST", "/orders/regular", "=;&;", 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("SBIN", "NOSUCH"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("LIMIT", "MARKET"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("quantity=4", "quantity=-4"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("quantity=4", "quantity=1.5"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("100.05", "100.03"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("100.05", "NaN"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("100.05", "1e30"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("100.05", "100.051"), 400, "InputException"),
        ("POST", "/orders/regular", BUY.replace("CNC", "CNX"), 400, "InputException"),
        ("POST", "/orders/regular", BUY + "&market_protection=lots", 400, "InputException"),
        ("POST", "/orders/regular", BUY + "&tag=" + "x" * 21, 400, "InputException"),
        ("GET", "/quote", "", 400, "InputException"),
        ("GET", "/instruments/NASDAQ", "", 400, "InputException"),
    ],
)  # fmt: skip
def test_refused(method: str, path: str, form: str, status: int, kind: str) -> None:
    api = api_of(exchange_at())
    assert ask(api, method, path, form) == (status, kind)
    assert not api.exchange.orders


def test_exact_bodies() -> None:
    api = api_of(exchange_at(), own_limits(orders_per_second=1))
    form = BUY.replace("LIMIT", "MARKET").encode()
    assert json.loads(api.handle("POST", "/orders/regular", [], AUTH, form, NOW).body) == {
        "status": "error",
        "message": "Market orders without market protection are not allowed via API. "
        "Please set market protection or use a Limit order.",
        "error_type": "InputException",
    }
    limited = api.handle("POST", "/orders/regular", [], AUTH, form, NOW)
    assert (limited.status, limited.content_type) == (429, "application/json")
    assert limited.body == b'{"status":"error","message":"Too many requests","error_type":"NetworkException"}'


@pytest.mark.parametrize(
    "header",
    ["", "token key:wrong", "token key", "bearer key:token", "token :", "token other:token", "key:token"],
)
def test_token_is_checked_first(header: str) -> None:
    api = api_of(exchange_at())
    answer = api.handle("POST", "/orders/regular", [], {"authorization": header}, BUY.encode(), NOW)
    assert (answer.status, told(answer)) == (403, "TokenException")
    assert not api.exchange.orders


def test_login_and_logout() -> None:
    api = api_of(exchange_at())
    checksum = hashlib.sha256(b"keysim-request-tokensecret").hexdigest()
    form = f"api_key=key&request_token=sim-request-token&checksum={checksum}".encode()
    assert api.handle("POST", "/session/token", [], {}, form.replace(b"key=key", b"key=k"), NOW).status == 403
    session = told(api.handle("POST", "/session/token", [], {}, form, NOW))
    assert session["access_token"] != "token"
    assert not api.authorised("key", "token") and api.authorised("key", session["access_token"])
    query = [("api_key", "key"), ("access_token", session["access_token"])]
    assert told(api.handle("DELETE", "/session/token", query, {}, b"", NOW)) is True
    assert not api.authorised("key", session["access_token"]) and not api.authorised("key", "")
    assert api.handle("DELETE", "/session/token", query, {}, b"", NOW).status == 403


def test_limits_by_kind() -> None:
    limits = own_limits(
        orders_per_second=2, orders_per_minute=3, orders_per_day=4, quotes_per_second=1, others_per_second=2
    )
    api = api_of(exchange_at(), limits)

    def codes(method: str, path: str, form: str, times: int, now: int) -> list[int]:
        return [ask(api, method, path, form, now)[0] for _ in range(times)]

    second = NOW - NOW % SECOND
    minute = second - second % (60 * SECOND)
    assert codes("GET", "/quote/ltp", "i=NSE:SBIN", 2, second) == [200, 429]
    assert codes("GET", "/orders", "", 3, second) == [200, 200, 429]
    assert codes("POST", "/orders/regular", BUY, 3, minute) == [200, 200, 429]
    # Cancellations share the window; the minute's third was used up by the refused one.
    assert codes("DELETE", "/orders/regular/1", "", 1, minute + SECOND) == [429]
    assert codes("POST", "/orders/regular", BUY, 2, minute + 60 * SECOND) == [200, 200]
    status, kind = ask(api, "POST", "/orders/regular", BUY, minute + 120 * SECOND)
    assert (status, kind) == (400, "OrderException")  # the day's fifth
    cancel = api.handle("DELETE", "/orders/regular/1", [], AUTH, b"", minute + 120 * SECOND)
    assert b"Couldn't find" in cancel.body  # not in the day's cap
    assert api.quota.refused == 4


def test_quotes_by_symbol_and_token() -> None:
    api = api_of(exchange_at())
    for depth, fields in (
        ("/ltp", {"instrument_token", "last_price"}),
        ("/ohlc", {"instrument_token", "last_price", "ohlc"}),
    ):
        data = ask(api, "GET", "/quote" + depth, "i=NSE:SBIN&i=779521&i=NSE:NONE&i=NFO:SIMCE")[1]
        assert set(data) == {"NSE:SBIN", "779521"}  # unknown and without a tick: absent
        assert set(data["NSE:SBIN"]) == fields
    quote = ask(api, "GET", "/quote", "i=NSE:SBIN")[1]["NSE:SBIN"]
    assert quote["depth"]["buy"][1] == {"price": 99.95, "quantity": 10, "orders": 0}
    assert (quote["lower_circuit_limit"], quote["upper_circuit_limit"]) == (80.0, 120.0)
    assert ask(api, "GET", "/quote", "&".join(["i=1"] * 501))[1] == "InputException"


def test_instrument_dumps() -> None:
    api = api_of(exchange_at())
    whole = api.handle("GET", "/instruments", [("extended", "1")], AUTH, b"", NOW)
    assert whole.content_type == "text/csv"
    assert parse_csv(whole.body.decode().splitlines()).rows == TABLE.rows
    part = api.handle("GET", "/instruments/MCX", [], AUTH, b"", NOW).body.decode().splitlines()
    assert len(part) == 2


def test_update_frames_carry_the_postback() -> None:
    api = traded()
    (row,) = api.exchange.drain_updates()
    frame = json.loads(api.update_frame(row))
    assert frame["type"] == "order"
    data = frame["data"]
    assert (data["status"], data["unfilled_quantity"], data["user_id"]) == ("COMPLETE", 0, "SIM001")
    text = data["order_id"] + data["order_timestamp"] + "secret"
    assert data["checksum"] == hashlib.sha256(text.encode()).hexdigest()


# -- shapes, against the official mock responses


def mock(data_dir: Path, name: str) -> Any:
    return json.loads((data_dir / "kite" / name).read_text())


def same_kind(ours: Any, theirs: Any) -> bool:
    """Same JSON kind; null on either side says nothing, numbers may be whole or not."""
    if ours is None or theirs is None:
        return True
    if isinstance(theirs, bool) or isinstance(ours, bool):
        return type(ours) is type(theirs)
    if isinstance(theirs, int | float):
        return isinstance(ours, int | float)
    return type(ours) is type(theirs)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "path", "dig"),
    [
        ("orders.json", "/orders", lambda d: d[-2]),
        ("trades.json", "/trades", lambda d: d[0]),
        ("positions.json", "/portfolio/positions", lambda d: d["net"][0]),
        ("margins.json", "/user/margins", lambda d: d["equity"]),
        ("margins.json", "/user/margins", lambda d: d["equity"]["available"]),
        ("margins.json", "/user/margins", lambda d: d["equity"]["utilised"]),
        ("profile.json", "/user/profile", lambda d: d),
        ("quote.json", "/quote", lambda d: next(iter(d.values()))),
        ("ohlc.json", "/quote/ohlc", lambda d: next(iter(d.values()))),
        ("ltp.json", "/quote/ltp", lambda d: next(iter(d.values()))),
    ],
)
def test_rows_have_the_official_fields(data_dir: Path, name: str, path: str, dig: Any) -> None:
    theirs = dig(mock(data_dir, name)["data"])
    answer = ask(traded(), "GET", path, "i=NSE:SBIN")[1]
    ours = dig(answer * 2 if isinstance(answer, list) else answer)
    missing = set(theirs) - set(ours)
    assert not missing
    assert [k for k in theirs if not same_kind(ours[k], theirs[k])] == []


@pytest.mark.data
def test_update_has_the_fields_of_the_official_postback(data_dir: Path) -> None:
    api = traded()
    theirs = mock(data_dir, "postback.json")
    ours = json.loads(api.update_frame(api.exchange.drain_updates()[0]))["data"]
    assert set(theirs) <= set(ours)
    assert [k for k in theirs if not same_kind(ours[k], theirs[k])] == []


@pytest.mark.data
def test_session_has_the_official_fields(data_dir: Path) -> None:
    checksum = hashlib.sha256(b"keysim-request-tokensecret").hexdigest()
    form = f"api_key=key&request_token=sim-request-token&checksum={checksum}".encode()
    ours = told(api_of(exchange_at()).handle("POST", "/session/token", [], {}, form, NOW))
    assert set(mock(data_dir, "generate_session.json")["data"]) <= set(ours)
