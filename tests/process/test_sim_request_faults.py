"""Each REST fault, the token's death and each act of the broker, at the wire and in the log, once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fault_tools import inject, logged, wait
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from raw_ticks import Client
from sim_tools import Running, simulator

TIMED_OUT = "Order request timed out. Please check the order book and confirm before placing again."


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    arguments = ("--instruments", "20", "--rate", "10", "--packets-per-frame", "5", "--seed", "5")
    with simulator(*arguments, "--no-limits", "--latency-us", "2000") as process:
        yield process


@pytest.fixture
def kite(running: Running) -> Iterator[KiteConnect]:
    made = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    yield made
    made.reqsession.close()


def place(kite: KiteConnect, side: str = "BUY", quantity: int = 1, **terms: Any) -> str:
    """A limit order at the lower circuit (BUY rests, SELL trades), or as the terms say."""
    if "price" not in terms and terms.get("order_type", "LIMIT") == "LIMIT":
        terms["price"] = kite.quote("NSE:INFY")["NSE:INFY"]["lower_circuit_limit"]
    given = {"order_type": "LIMIT", "product": "MIS", **terms}
    return str(kite.place_order("regular", "NSE", "INFY", side, quantity, **given))


def ids(kite: KiteConnect) -> set[str]:
    return {row["order_id"] for row in kite.orders()}


def status(kite: KiteConnect, order_id: str, wanted: str) -> None:
    wait(lambda: kite.order_history(order_id)[-1]["status"] == wanted)


# -- requests


@pytest.mark.parametrize(
    ("row", "code", "error", "text"),
    [
        ({"kind": "http_429"}, 429, ex.NetworkException, "Too many requests"),
        ({"kind": "http_403"}, 403, ex.GeneralException, "blocked"),  # the client has no UserException
        ({"kind": "http_502", "processed": True}, 502, ex.DataException, "not understood"),
        ({"kind": "http_503"}, 503, ex.NetworkException, "unavailable"),
        ({"kind": "http_503", "processed": True}, 503, ex.NetworkException, "unavailable"),
        ({"kind": "http_504"}, 504, ex.DataException, "timed out"),
        ({"kind": "http_504", "processed": True}, 504, ex.DataException, "timed out"),
        ({"kind": "http_400_timed_out"}, 400, ex.OrderException, TIMED_OUT),
        ({"kind": "http_400_timed_out", "processed": False}, 400, ex.OrderException, TIMED_OUT),
    ],
)
def test_an_error_answer_with_and_without_an_order(
    running: Running, kite: KiteConnect, row: dict[str, Any], code: int, error: type[Exception], text: str
) -> None:
    book = ids(kite)
    before = inject(running, **row)
    kite.profile()  # not what was asked for: it passes
    with pytest.raises(error, match=text) as raised:
        place(kite)
    assert raised.value.code == code  # type: ignore[attr-defined]
    (told,) = logged(running, before, row["kind"])
    new = ids(kite) - book
    lives = row.get("processed", row["kind"] == "http_400_timed_out")
    assert new == ({told["order_id"]} if lives else set())
    assert told["request"] == "place"
    place(kite)  # once only
    logged(running, before, row["kind"])


@pytest.mark.parametrize("processed", [True, False])
def test_accept_then_drop_answers_nothing(running: Running, kite: KiteConnect, processed: bool) -> None:
    book = ids(kite)
    before = inject(running, kind="accept_then_drop", processed=processed)
    with pytest.raises(requests.exceptions.ConnectionError, match="without response"):
        place(kite)
    (told,) = logged(running, before, "accept_then_drop")
    assert ids(kite) - book == ({told["order_id"]} if processed else set())


def test_accept_then_drop_of_a_cancel(running: Running, kite: KiteConnect) -> None:
    order_id = place(kite)
    status(kite, order_id, "OPEN")
    inject(running, kind="accept_then_drop", request="cancel")
    with pytest.raises(requests.exceptions.ConnectionError):
        kite.cancel_order("regular", order_id)
    status(kite, order_id, "CANCELLED")


def test_slow_answer_is_done_at_once(running: Running, kite: KiteConnect) -> None:
    book = ids(kite)
    before = inject(running, kind="slow_answer", request="place", **{"for": 0.7})
    began = time.monotonic()
    order_id = place(kite)
    assert time.monotonic() - began > 0.7
    rows = [row for row in kite.orders() if row["order_id"] == order_id]
    assert len(rows) == 1 and ids(kite) - book == {order_id}
    assert logged(running, before, "slow_answer")[0]["order_id"] == order_id


def test_slow_answer_holds_nobody_else_up(running: Running, kite: KiteConnect) -> None:
    """Nor the simulator's own end: the answer is still due when this module's process stops."""
    inject(running, kind="slow_answer", request="read", **{"for": 300})
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(running.api + "/orders", headers=auth(running), timeout=0.5)
    assert kite.profile()["user_id"] == "SIM001"


def auth(running: Running) -> dict[str, str]:
    return {"Authorization": f"token {running.api_key}:{running.access_token}"}


def test_stuck_order_stays_received_for_so_long(running: Running, kite: KiteConnect) -> None:
    before = inject(running, kind="stuck_order", **{"for": 1.0})
    with pytest.raises(ex.InputException):
        place(kite, quantity=-1)  # refused: it is not the one
    assert running.faults()[before:] == []
    order_id = place(kite)
    time.sleep(0.6)
    assert [row["status"] for row in kite.order_history(order_id)] == ["PUT ORDER REQ RECEIVED"]
    status(kite, order_id, "OPEN")
    assert logged(running, before, "stuck_order")[0]["order_id"] == order_id
    status(kite, place(kite), "OPEN")


# -- the session


def test_token_death_until_a_new_login() -> None:
    with simulator("--instruments", "5", "--rate", "20") as dying:
        client = Client(dying.ws_url)
        client.subscribe([738561])
        assert client.read(until=lambda: client.ticks)
        kite = KiteConnect(dying.api_key, access_token=dying.access_token, root=dying.api)
        before = inject(dying, kind="token_death")
        client.read()
        assert client.ended == "eof"
        (row,) = logged(dying, before, "token_death")
        assert (row["count"], row["connections"]) == (1, 1)
        with pytest.raises(ex.TokenException) as raised:
            kite.orders()
        assert raised.value.code == 403
        with pytest.raises(Exception, match="403"):
            Client(dying.ws_url)
        dying.access_token = dying.post("/_sim/login")["access_token"]
        kite.set_access_token(dying.access_token)
        assert kite.orders() == []
        again = Client(dying.ws_url)
        again.close()
        kite.reqsession.close()


def test_a_logout_closes_the_websockets_too() -> None:
    with simulator("--instruments", "5") as ending:
        client = Client(ending.ws_url)
        kite = KiteConnect(ending.api_key, access_token=ending.access_token, root=ending.api)
        kite.invalidate_access_token()
        client.read()
        assert client.ended == "eof" and ending.faults() == []
        kite.reqsession.close()
