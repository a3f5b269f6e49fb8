"""The official client, unchanged, against the simulator: every refusal arrives as the exception, the
HTTP code and the words that the broker's page and threads give."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from sim_tools import Running, simulator

LIMIT = ("regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT")
MARKET = ("regular", "NSE", "INFY", "BUY", 1, "CNC", "MARKET")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    options = ("--instruments", "60", "--no-limits", "--latency-us", "0", "--allow-ip", "127.0.0.1")
    with simulator(*options) as process:
        yield process


@pytest.fixture(scope="module")
def kite(running: Running) -> Iterator[KiteConnect]:
    client = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    yield client
    client.reqsession.close()


def refused(call: Callable[[], Any], kind: type[Exception], code: int, *words: str) -> str:
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind and error.value.code == code, (error.value, error.value.code)
    for word in words:
        assert word in str(error.value)
    return str(error.value)


def test_orders_that_are_wrong_in_themselves(kite: KiteConnect) -> None:
    text = refused(lambda: kite.place_order(*MARKET), ex.InputException, 400)
    assert text == (
        "Market orders without market protection are not allowed via API. "
        "Please set market protection or use a Limit order."
    )
    for wrong in ({"market_protection": 0}, {"market_protection": 101}, {"market_protection": -2}):
        refused(lambda w=wrong: kite.place_order(*MARKET, **w), ex.InputException, 400)
    refused(lambda: kite.place_order(*LIMIT), ex.InputException, 400, "price")
    for place, value in ((0, "bo"), (1, "NYSE"), (2, "NOSUCH"), (3, "HOLD"), (4, -1), (4, "many"), (5, "ABC"),
                         (6, "STOP")):  # fmt: skip
        terms = [*LIMIT]
        terms[place] = value
        refused(lambda t=terms: kite.place_order(*t, price=1400), ex.InputException, 400)
    for quantity in ("1_0", " 1", "\u0663", "+1", "1.0", "1e1"):  # what Python's int() or float() would take
        terms = [*LIMIT]
        terms[4] = quantity
        refused(lambda t=terms: kite.place_order(*t, price=1400), ex.InputException, 400, "quantity")
    for price in (1400.01, -1, "NaN", 0, "1_400", " 1400", "inf"):
        refused(lambda p=price: kite.place_order(*LIMIT, price=p), ex.InputException, 400)
    refused(lambda: kite.place_order(*LIMIT, price=1400, tag="x" * 21), ex.InputException, 400, "tag")
    refused(lambda: kite.place_order(*LIMIT, price=1400, validity="GTC"), ex.InputException, 400)
    refused(lambda: kite.place_order(*LIMIT, price=1400, validity="TTL"), ex.InputException, 400)
    index = [*LIMIT]
    index[2] = "NIFTY 50"
    refused(lambda: kite.place_order(*index, price=100), ex.InputException, 400)
    assert kite.orders() == [], "a refused request leaves no order"


def test_orders_that_are_not_there_or_done(kite: KiteConnect) -> None:
    for call in (
        lambda: kite.cancel_order("regular", "1"),
        lambda: kite.modify_order("regular", "1", quantity=2),
        lambda: kite.order_history("1"),
        lambda: kite.order_trades("1"),
    ):
        refused(call, ex.OrderException, 400, "Couldn't find that `order_id`.")
    order_id = kite.place_order(*LIMIT, price=1300)
    while kite.order_history(order_id)[-1]["status"] != "OPEN":
        time.sleep(0.01)
    refused(lambda: kite.cancel_order("amo", order_id), ex.InputException, 400, "variety")
    for _ in range(25):
        kite.modify_order("regular", order_id, price=1300 + _)
        while kite.order_history(order_id)[-1]["status"] != "OPEN":
            time.sleep(0.01)
    refused(
        lambda: kite.modify_order("regular", order_id, price=1300), ex.OrderException, 400,
        "Maximum allowed order modifications exceeded.",
    )  # fmt: skip
    kite.cancel_order("regular", order_id)
    while kite.order_history(order_id)[-1]["status"] != "CANCELLED":
        time.sleep(0.01)
    refused(lambda: kite.cancel_order("regular", order_id), ex.OrderException, 400)


def test_an_order_beyond_the_funds_ends_rejected(kite: KiteConnect) -> None:
    order_id = kite.place_order("regular", "NSE", "RELIANCE", "BUY", 10**6, "CNC", "LIMIT", price=1400)
    while (row := kite.order_history(order_id)[-1])["status"] != "REJECTED":
        time.sleep(0.01)
    assert row["status_message"].startswith("Insufficient funds. Required margin is 1400000000.00")
    assert row["status_message_raw"].startswith("RMS:Margin Exceeds,Required:1400000000.00, Available:")
    assert (row["filled_quantity"], row["pending_quantity"], row["exchange_order_id"]) == (0, 0, None)


def test_triggers_that_are_wrong(kite: KiteConnect) -> None:
    last = kite.ltp("NSE:INFY")["NSE:INFY"]["last_price"]
    order = {"transaction_type": "BUY", "quantity": 1, "order_type": "LIMIT", "product": "CNC", "price": 1400}
    low, high = round(last * 18) / 20, round(last * 22) / 20

    def place(
        values: list[float], *orders: dict[str, Any], kind: str = "single", symbol: str = "INFY"
    ) -> Any:
        return kite.place_gtt(kind, symbol, "NSE", values, last, list(orders))

    refused(lambda: place([low], order | {"order_type": "SL", "price": 0}), ex.InputException, 400)
    for kind in ("MARKET", "SL", "SL-M"):
        wrong = order | {"order_type": kind, "price": 0}
        refused(lambda w=wrong: place([low], w), ex.InputException, 400, "Only LIMIT orders")
    refused(lambda: place([low], order | {"product": "MIS"}), ex.InputException, 400)
    refused(lambda: place([low], order, order), ex.InputException, 400)
    refused(lambda: place([low], order, symbol="NOSUCH"), ex.InputException, 400)
    refused(lambda: place([low, high], order, order, kind="two-leg"), ex.InputException, 400, "F&O")
    refused(lambda: kite.get_gtt(1), ex.GeneralException, 404)
    refused(lambda: kite.delete_gtt("x"), ex.GeneralException, 404)
    assert kite.get_gtts() == []


def test_reads_that_are_wrong(kite: KiteConnect) -> None:
    refused(lambda: kite.quote(), ex.InputException, 400, "`i`")
    refused(lambda: kite.margins("futures"), ex.InputException, 400)
    refused(lambda: kite.trigger_range("HOLD", "NSE:INFY"), ex.InputException, 400)
    refused(lambda: kite.mf_orders("nosuch"), ex.GeneralException, 404)
    refused(lambda: kite.mf_sips("nosuch"), ex.GeneralException, 404)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", 404), ("GET", "/nonsense", 404), ("GET", "/orders/regular/1/2", 404),
        ("POST", "/trades", 405), ("DELETE", "/orders", 405), ("PUT", "/user/profile", 405),
        ("PATCH", "/orders/regular/1", 405), ("POST", "/quote", 405), ("GET", "/charges/orders", 405),
    ],
)  # fmt: skip
def test_unknown_paths_and_methods(running: Running, method: str, path: str, code: int) -> None:
    headers = {"Authorization": f"token {running.api_key}:{running.access_token}"}
    answer = requests.request(method, running.api + path, headers=headers, timeout=20)
    assert answer.status_code == code and answer.headers["content-type"].startswith("application/json")
    assert (answer.json()["status"], answer.json()["error_type"]) == ("error", "GeneralException")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b"[1]", b"exchange=NSE", b"\xff", b"[" * 100_000, b'[{"exchange": {}}]']
)
def test_bodies_that_are_no_json(running: Running, body: bytes) -> None:
    headers = {
        "Authorization": f"token {running.api_key}:{running.access_token}",
        "Content-Type": "application/json",
    }
    for path in ("/margins/orders", "/margins/basket", "/charges/orders"):
        answer = requests.post(running.api + path, data=body, headers=headers, timeout=20)
        assert (answer.status_code, answer.json()["error_type"]) == (400, "InputException")


def test_a_wrong_token_opens_nothing(running: Running) -> None:
    for key, token in ((running.api_key, "wrong"), ("wrong", running.access_token), (running.api_key, None)):
        stranger = KiteConnect(key, access_token=token, root=running.api)
        for call in (stranger.orders, stranger.profile, lambda s=stranger: s.place_order(*LIMIT, price=1400)):
            refused(call, ex.TokenException, 403, "api_key")
        stranger.reqsession.close()


def test_orders_only_from_the_registered_address() -> None:
    """Place, modify and cancel are refused from elsewhere; reads and triggers are not."""
    with simulator("--instruments", "10", "--no-limits", "--allow-ip", "10.1.2.3") as elsewhere:
        client = KiteConnect(elsewhere.api_key, access_token=elsewhere.access_token, root=elsewhere.api)
        for call in (
            lambda: client.place_order(*LIMIT, price=1400),
            lambda: client.modify_order("regular", "1", quantity=1),
            lambda: client.cancel_order("regular", "1"),
        ):
            told = refused(call, ex.PermissionException, 403, "IP (127.0.0.1) is not allowed to place orders")
            assert told.endswith("Update allowed IPs on the Kite developer console.")
        last = client.ltp("NSE:INFY")["NSE:INFY"]["last_price"]
        low = round(last * 18) / 20
        order = {
            "transaction_type": "BUY",
            "quantity": 1,
            "order_type": "LIMIT",
            "product": "CNC",
            "price": low,
        }
        assert client.place_gtt("single", "INFY", "NSE", [low], last, [order])["trigger_id"]
        assert client.orders() == [] and client.profile()["user_id"]
        client.reqsession.close()


def many(call: Callable[[], Any], most: int) -> tuple[int, Any]:
    """Call until refused for the rate: (calls that passed, the refusal)."""
    for passed in range(most):
        try:
            call()
        except ex.NetworkException as error:
            return passed, error
    raise AssertionError(f"{most} calls passed")


def test_requests_over_the_limit() -> None:
    """One kind after the other; each is refused in its own window and cools down by itself."""
    with simulator("--instruments", "10", "--latency-us", "0") as limited:
        client = KiteConnect(limited.api_key, access_token=limited.access_token, root=limited.api)
        client.profile()  # the connection stands
        calls: dict[str, tuple[Callable[[], Any], int]] = {
            "order": (lambda: client.place_order(*LIMIT, price=1300), 10),
            "quote": (lambda: client.ltp("NSE:INFY"), 1),
            "historical": (lambda: client.historical_data(408065, "2026-01-05", "2026-01-06", "day"), 3),
            "other": (client.trades, 10),
        }
        for name, (call, per_second) in calls.items():
            passed, error = many(call, 200)
            assert passed >= per_second - (name == "other"), name  # the profile was one of the others
            assert (error.code, str(error)) == (429, "Too many requests")
            with pytest.raises(ex.NetworkException):
                call()  # cooling down
        body = requests.get(limited.api + "/trades", timeout=20, headers={
            "Authorization": f"token {client.api_key}:{client.access_token}"})  # fmt: skip
        assert body.status_code == 429
        assert body.json() == {
            "status": "error", "message": "Too many requests", "error_type": "NetworkException",
        }  # fmt: skip
        client.reqsession.close()


def test_a_new_login_ends_the_old_session() -> None:
    with simulator("--instruments", "10", "--no-limits") as other:
        client = KiteConnect(other.api_key, access_token=other.access_token, root=other.api)
        fresh = other.post("/_sim/login")["access_token"]
        refused(client.orders, ex.TokenException, 403)
        client.set_access_token(fresh)
        assert client.orders() == []
        app = json.loads(other.get("/_sim/app"))
        assert client.generate_session(app["request_token"], app["api_secret"])["access_token"] != fresh
        client.reqsession.close()
