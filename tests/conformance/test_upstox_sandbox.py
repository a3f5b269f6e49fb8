"""The sandbox and the session of the simulated Upstox, by the official client and without it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from upstox_sim import FAST, Sdk, Upstox, upstox

RELIANCE = "NSE_EQ|INE000288501"
MARKET_PATH = "/v3/feed/market-data-feed"


def order(**changed: Any) -> dict[str, Any]:
    return {
        "quantity": 1, "product": "D", "validity": "DAY", "price": 1300.0, "instrument_token": RELIANCE,
        "order_type": "LIMIT", "transaction_type": "BUY", "disclosed_quantity": 0, "trigger_price": 0.0,
        "is_amo": False, **changed,
    }  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Upstox]:
    with upstox(
        "--instruments", "10", "--rate", "5", "--latency-us", "2000", "--redirect-code", "307"
    ) as running:
        yield running


def test_the_sandbox_answers_ids_and_knows_nothing_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tls")
    with upstox("--sandbox", "--instruments", "10", *FAST, folder=folder) as running:
        with Sdk(running, sandbox=True) as sdk:
            body = {"model": "PlaceOrderV3Request", **order(), "slice": False}
            (order_id,) = sdk.answer("OrderApiV3", "place_order", body)["data"]["order_ids"]
            assert sdk.answer("OrderApiV3", "cancel_order", order_id)["data"]["order_id"] == order_id
            line = {"model": "MultiOrderRequest", **order(), "slice": False, "correlation_id": "x"}
            assert sdk.answer("OrderApi", "place_multi_order", [line])["summary"]["success"] == 1
            # The client itself refuses all else there.
            kind, name, _ = sdk.call("OrderApi", "get_order_book", "2.0")
            assert (kind, name) == ("failed", "ValueError")
        assert running.call("GET", "/v2/order/retrieve-all")[0] == 404
        assert running.call("GET", f"{MARKET_PATH}/authorize")[0] == 404
        assert running.call("POST", "/v3/order/place", order(quantity=0))[0] == 400
        assert running.stats()["exchange"]["orders"] == 0


def test_an_address_opens_once(server: Upstox) -> None:
    uri = server.data(f"{MARKET_PATH}/authorize")["authorized_redirect_uri"]
    server.connect(uri).shutdown()
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        server.connect(uri)


def first_answer(host: str, token: str) -> tuple[int, bool]:
    """(status, it leads to a one-time address) of a handshake that follows nothing."""
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Authorization": f"Bearer {token}",
    }  # fmt: skip
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(host).netloc, timeout=10)
    connection.request("GET", MARKET_PATH, headers=upgrade)
    answer = connection.getresponse()
    connection.close()
    return answer.status, "feeds?requestId=" in (answer.headers["Location"] or "")


def test_the_first_address_redirects_with_the_code_that_was_asked_for(server: Upstox) -> None:
    """websocket-client follows it, on both hosts."""
    auth = [f"Authorization: Bearer {server.token}"]
    for host in (server.ws, server.api.replace("http", "ws")):
        ws = websocket.create_connection(host + MARKET_PATH, header=auth, suppress_origin=True, timeout=10)
        assert ws.status == 101 and isinstance(ws.recv(), bytes)
        ws.shutdown()
        assert first_answer(host, server.token) == (307, True)
        with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
            websocket.create_connection(host + MARKET_PATH, suppress_origin=True, timeout=10)


def test_too_many_orders_in_a_second_are_429_for_a_while(server: Upstox) -> None:
    answers = [server.call("POST", "/v3/order/place", order()) for _ in range(12)]
    statuses = [status for status, _ in answers]
    assert statuses[:10] == [200] * 10 and 429 in statuses
    (error,) = next(a for s, a in answers if s == 429)["errors"]
    assert error["errorCode"] == "UDAPI10005"
    assert server.call("GET", "/v2/order/retrieve-all")[0] == 200  # other calls are not touched
    assert server.stats()["too_many_requests"]["order"] >= 1


def test_orders_come_from_the_registered_address_only() -> None:
    with upstox("--instruments", "5", "--allow-ip", "10.1.2.3", *FAST) as running:
        status, answer = running.call("POST", "/v3/order/place", order())
        assert (status, answer["errors"][0]["errorCode"]) == (403, "UDAPI1154")
        assert "127.0.0.1" in answer["errors"][0]["message"]
        assert running.call("GET", "/v2/order/retrieve-all")[0] == 200
        assert running.call("PUT", "/v2/user/ip", {"primary_ip": "127.0.0.1"})[0] == 200
        assert running.call("GET", "/v2/order/retrieve-all")[0] == 401  # tokens of before are dead
        token = running.running.post("/_sim/login")["access_token"]
        assert running.call("POST", "/v3/order/place", order(), token)[0] == 200
        again = running.call("PUT", "/v2/user/ip", {"primary_ip": "127.0.0.2"}, token)
        assert again[1]["errors"][0]["errorCode"] == "UDAPI1185"


def test_a_login_by_code_works_once(server: Upstox) -> None:
    app = json.loads(server.running.get("/_sim/app"))
    form = {
        "code": app["code"], "client_id": app["api_key"], "client_secret": app["api_secret"],
        "redirect_uri": app["redirect_uri"], "grant_type": "authorization_code",
    }  # fmt: skip

    def log_in() -> Any:
        url = f"{server.api}/v2/login/authorization/token"
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=20) as got:
            return json.loads(got.read())

    old, feed = server.token, server.feed()
    session = log_in()
    assert session["user_id"] == "SIM001" and "status" not in session
    server.token = session["access_token"]
    assert server.call("GET", "/v2/user/profile")[0] == 200
    assert server.call("GET", "/v2/user/profile", token=old)[0] == 401
    with pytest.raises(urllib.error.HTTPError) as refused:
        log_in()
    with refused.value:
        assert refused.value.code == 401
    deadline = time.monotonic() + 10
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        while time.monotonic() < deadline:
            feed.next()  # what was opened with the old token ends
    feed.ws.shutdown()
