"""What the cancel of an order that cannot exist proves, and the clock by Date headers."""

from __future__ import annotations

import json

import pytest

from kite_hft.app.day import brokers
from kite_hft.app.day.asking import Asking, narrowed
from kite_hft.app.day.brokers import ask_broker
from kite_hft.brokers.kite.rest import KITE
from kite_hft.brokers.login import Person
from kite_hft.brokers.upstox.answers import parse_outcome
from kite_hft.engine.plan.session import Access
from kite_hft.settings import Settings
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.sending.address import meaning

IP = "IP (203.0.113.9) is not allowed to place orders for this app."
KITES = [
    (400, "OrderException", "Couldn't find that `order_id`.", "allowed"),
    (404, "OrderException", "Order not found", "allowed"),
    (400, "OrderException", "Markets are closed right now.", "unknown"),
    (403, "PermissionException", IP, "address"),
    (403, "PermissionException", "Insufficient permission for that call.", "permission"),
    (400, "InputException", "Your IP is not whitelisted", "address"),
    (403, "TokenException", "Incorrect `api_key` or `access_token`.", "token"),
    (429, "NetworkException", "Too many requests", "unknown"),
    (500, "GeneralException", "Something went wrong", "unknown"),
]
UPSTOX = [
    (404, "UDAPI100010", "Order not found", "allowed"),
    (403, "UDAPI1154", "No static IP has been configured", "address"),
    (403, "UDAPI100073", "The app is inactive", "permission"),
    (401, "UDAPI100050", "Invalid token", "token"),
    (423, "UDAPI100072", "Service hours", "unknown"),
]
S = 10**9


@pytest.mark.parametrize(("status", "kind", "message", "word"), KITES)
def test_kite(status: int, kind: str, message: str, word: str) -> None:
    body = f'{{"status":"error","error_type":"{kind}","message":"{message}"}}'.encode()
    assert meaning(KITE.parse_outcome(HttpResponse(status, body))).word == word


@pytest.mark.parametrize(("status", "code", "message", "word"), UPSTOX)
def test_upstox(status: int, code: str, message: str, word: str) -> None:
    body = f'{{"status":"error","errors":[{{"errorCode":"{code}","message":"{message}"}}]}}'.encode()
    assert meaning(parse_outcome(HttpResponse(status, body))).word == word


def test_dates_narrow_the_skew_from_both_sides() -> None:
    date = b"Fri, 20 Nov 2026 04:00:00 GMT"
    at = 1_795_147_200 * S
    one = narrowed(None, date, at + S // 10, at + S // 5)
    assert one is not None and one[0] < 0 < one[1] == S // 5
    two = narrowed(one, b"Fri, 20 Nov 2026 04:00:01 GMT", at + S * 19 // 10, at + 2 * S)
    assert two is not None and one[0] < two[0] and two[1] <= one[1]
    behind = narrowed(None, date, at - 5 * S, at - 5 * S + 1)
    assert behind is not None and behind[1] < -4 * S
    assert narrowed(one, b"yesterday", 0, 0) == one


ADDRESSES = {"primary_ip": "203.0.113.9", "secondary_ip": None}


def switches(**thrown: object) -> list[dict[str, object]]:
    """Rows of the kill switch's states."""
    return [
        {"segment": name, "segment_status": "ACTIVE", "kill_switch_enabled": shut}
        for name, shut in thrown.items()
    ]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (switches(NSE_EQ=False, NSE_FO=True, MCX_FO=True), ("NSE_FO", "MCX_FO")),
        (switches(NSE_EQ=False), ()),
        (switches(NSE_EQ="perhaps"), None),  # never guessed
        (None, None),
    ],
)
def test_what_the_kill_switch_has_shut(
    monkeypatch: pytest.MonkeyPatch, rows: object, found: tuple[str, ...] | None
) -> None:
    def call(asking: Asking, request: HttpRequest) -> HttpResponse:
        data, status = (rows, 200 if rows else 404) if "kill" in request.path else (ADDRESSES, 200)
        return HttpResponse(status, json.dumps({"status": "success", "data": data}).encode())

    monkeypatch.setattr(Asking, "call", call)
    monkeypatch.setattr(brokers, "harmless_read", lambda asking: (200, "", Person("AB1234", "A")))
    access = Access("upstox", "ws://127.0.0.1:1", "http://127.0.0.1:1", "key1", "token1")
    assert ask_broker(Settings(), access, {}, 0, orders=True, prove=False).stopped == found
    assert ask_broker(Settings(), access, {}, 0, orders=False, prove=False).stopped is None


@pytest.mark.parametrize(
    ("broker", "orders", "status", "found"),
    [
        ("upstox", True, 200, ("203.0.113.9",)),
        ("upstox", False, 200, None),
        ("upstox", True, 401, None),
        ("kite", True, 200, None),
    ],
)
def test_registered_addresses_are_asked_of_who_gets_the_orders_and_tells(
    monkeypatch: pytest.MonkeyPatch, broker: str, orders: bool, status: int, found: tuple[str, ...] | None
) -> None:
    paths: list[str] = []

    def call(asking: Asking, request: HttpRequest) -> HttpResponse:
        paths.append(request.path)
        body = {"status": "success", "data": [] if "kill" in request.path else ADDRESSES}
        return HttpResponse(200, json.dumps(body).encode())

    monkeypatch.setattr(Asking, "call", call)
    monkeypatch.setattr(brokers, "harmless_read", lambda asking: (status, "", Person("AB1234", "A")))
    access = Access(broker, "ws://127.0.0.1:1", "http://127.0.0.1:1", "key1", "token1")
    contents = {f"{broker}/default": {"user_id": "ZZ9999"}}
    told = ask_broker(Settings(), access, contents, 0, orders=orders, prove=False)
    assert (told.user_id, told.wanted) == ("AB1234", "ZZ9999")
    assert told.registered == found and (told.status, told.who, told.orders) == (status, "A", orders)
    assert paths == (["/v2/user/ip", "/v2/user/kill-switch"] if found else [])
