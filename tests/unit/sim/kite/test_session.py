"""Login, tokens and their end; the address that orders come from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from mock_shapes import differences, mock
from sim_tools import AUTH, NOW, SECOND, TABLE, api_of, ask, book_of, exchange_at, told

from kite_hft.sim.kite.api import Credentials, KiteApi, Response
from kite_hft.sim.kite.quota import UNLIMITED
from kite_hft.sim.kite.session import next_six_ns

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DIES = NOW + 20 * HOUR + 27 * MINUTE + 12 * SECOND  # 2025-12-16 06:00:00 in India
BUY = b"exchange=NSE&tradingsymbol=SBIN&transaction_type=BUY&quantity=1&product=CNC&order_type=LIMIT&price=99"


def login(api: KiteApi, request_token: str, now: int = NOW, /, **changed: str) -> Response:
    checksum = hashlib.sha256(f"key{request_token}secret".encode()).hexdigest()
    form = {"api_key": "key", "request_token": request_token, "checksum": checksum, **changed}
    body = "&".join(f"{name}={value}" for name, value in form.items() if value).encode()
    return api.handle("POST", "/session/token", [], {}, body, now)


def page(api: KiteApi, now: int = NOW, **query: str) -> Response:
    pairs = list(({"v": "3", "api_key": "key"} | query).items())
    return api.handle("GET", "/connect/login", pairs, {}, b"", now)


def sent_back(answer: Response) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(dict(answer.headers)["Location"]).query))


def test_the_page_gives_a_request_token_that_serves_once() -> None:
    api = api_of(exchange_at())
    answer = page(api, redirect_params="strategy=9&x=%20y")
    assert answer.status == 302
    back = sent_back(answer)
    assert (back["status"], back["action"], back["strategy"], back["x"]) == ("success", "login", "9", " y")
    session = told(login(api, back["request_token"]))
    assert api.authorised("key", session["access_token"]) and not api.authorised("key", "token")
    assert (login(api, back["request_token"]).status, told(login(api, back["request_token"]))) == (
        403, "TokenException",
    )  # fmt: skip
    assert page(api, api_key="other").status == 400


def test_a_request_token_lives_five_minutes_and_another_login_does_not_end_it() -> None:
    api = api_of(exchange_at())
    tokens = [sent_back(page(api))["request_token"] for _ in range(3)]
    assert len(set(tokens)) == 3
    assert login(api, tokens[0], NOW + 5 * MINUTE).status == 200
    assert login(api, tokens[1], NOW + 5 * MINUTE + 1).status == 403
    assert login(api, tokens[2], NOW + 5 * MINUTE).status == 200


@pytest.mark.parametrize(
    ("changed", "status", "kind"),
    [
        ({"api_key": "other"}, 403, "TokenException"), ({"checksum": "0" * 64}, 403, "TokenException"),
        ({"request_token": ""}, 400, "InputException"), ({"checksum": ""}, 400, "InputException"),
        ({"api_key": ""}, 400, "InputException"),
    ],
)  # fmt: skip
def test_refused_logins_leave_the_session_alone(changed: dict[str, str], status: int, kind: str) -> None:
    api = api_of(exchange_at())
    answer = login(api, "sim-request-token", **changed)
    assert (answer.status, told(answer)) == (status, kind)
    assert api.authorised("key", "token")
    assert login(api, "sim-request-token").status == 200, "a failed try does not use the token up"


@pytest.mark.parametrize(
    ("now", "wanted"),
    [(NOW, DIES), (DIES - 1, DIES), (DIES, DIES + 24 * HOUR), (DIES - 24 * HOUR, DIES)],
)
def test_six_in_the_morning_in_india(now: int, wanted: int) -> None:
    assert next_six_ns(now) == wanted


def test_the_token_dies_at_six_by_the_exchanges_clock() -> None:
    api = api_of(exchange_at())
    assert ask(api, "GET", "/orders") == (200, []) and api.token_dies_at_ns == DIES
    assert ask(api, "GET", "/orders", now=DIES - 1)[0] == 200
    assert ask(api, "GET", "/orders", now=DIES) == (403, "TokenException")
    assert not api.authorised("key", "token") and not api.authorised("key", "")
    fresh = api.new_token(DIES + HOUR)
    assert api.authorised("key", fresh) and api.token_dies_at_ns == DIES + 24 * HOUR
    api.step(DIES + 23 * HOUR)
    assert api.authorised("key", fresh)


def test_ticks_alone_tell_the_time_too() -> None:
    api = api_of(exchange_at())
    api.step(NOW)
    api.on_ticks(book_of(0, 10_000, 10_005, 5), DIES)
    assert not api.authorised("key", "token")


def test_killed_and_renewed() -> None:
    api = api_of(exchange_at())
    api.kill_token(NOW)
    assert ask(api, "GET", "/user/profile") == (403, "TokenException")
    first, second = api.new_token(NOW), api.new_token(NOW)
    assert first != second and not api.authorised("key", first) and api.authorised("key", second)


def test_refresh_tokens_are_for_platforms_that_have_one() -> None:
    def refresh(api: KiteApi, token: str) -> Response:
        checksum = hashlib.sha256(f"key{token}secret".encode()).hexdigest()
        body = f"api_key=key&refresh_token={token}&checksum={checksum}".encode()
        return api.handle("POST", "/session/refresh_token", [], {}, body, NOW)

    assert refresh(api_of(exchange_at()), "r").status == 403
    api = KiteApi(
        exchange_at(), TABLE, Credentials("key", "secret", "token", refresh_token="r"), UNLIMITED
    )  # fmt: skip
    assert refresh(api, "wrong").status == 403
    renewed = told(refresh(api, "r"))
    assert api.authorised("key", renewed["access_token"]) and renewed["refresh_token"] == "r"
    gone = [("api_key", "key"), ("refresh_token", "r")]
    assert told(api.handle("DELETE", "/session/token", gone, {}, b"", NOW)) is True
    assert refresh(api, "r").status == 403 and api.authorised("key", renewed["access_token"])


def test_orders_come_from_the_registered_address_only() -> None:
    exchange = exchange_at()
    api = KiteApi(exchange, TABLE, Credentials("key", "secret", "token"), UNLIMITED, allowed_ips=["10.0.0.1"])

    def call(method: str, path: str, body: bytes = b"", remote: str = "10.0.0.2") -> tuple[int, Any]:
        answer = api.handle(method, path, [], AUTH, body, NOW, remote)
        return answer.status, told(answer)

    for method, path in (
        ("POST", "/orders/regular"),
        ("PUT", "/orders/regular/1"),
        ("DELETE", "/orders/regular/1"),
    ):
        assert call(method, path, BUY) == (403, "PermissionException")
    assert not exchange.orders
    for path in ("/orders", "/trades", "/portfolio/positions", "/gtt/triggers", "/user/margins"):
        assert call("GET", path)[0] == 200
    assert call("POST", "/orders/regular", BUY, "10.0.0.1")[0] == 200
    assert call("DELETE", "/orders/regular/1", b"", "10.0.0.1") == (400, "OrderException")


@pytest.mark.data
def test_shapes(data_dir: Path) -> None:
    api = api_of(exchange_at())
    session = told(login(api, "sim-request-token"))
    optional = frozenset({".avatar_url"})
    assert differences(session, [mock(data_dir, "generate_session.json")], optional) == []
    auth = {"authorization": f"token key:{session['access_token']}"}
    for path, like in (("/user/profile", "profile.json"), ("/user/profile/full", "full_profile.json")):
        data = told(api.handle("GET", path, [], auth, b"", NOW))
        assert differences(data, [mock(data_dir, like)]) == []
    query = [("api_key", "key"), ("access_token", session["access_token"])]
    gone = told(api.handle("DELETE", "/session/token", query, {}, b"", NOW))
    assert gone is mock(data_dir, "session_logout.json") is True
    assert json.loads(api.handle("GET", "/orders", [], auth, b"", NOW).body) == {
        "status": "error",
        "message": "Incorrect `api_key` or `access_token`.",
        "error_type": "TokenException",
    }
