"""Where Upstox's websockets are made, what a refusal says, and when a token ends."""

from __future__ import annotations

import base64
import json

import pytest

from kite_hft.brokers.table import broker_of, market_door, updates_door, updates_words, words_of
from kite_hft.brokers.upstox.doors import refusal_words, token_expiry_ns
from kite_hft.trading.instruments import InstrumentTable

EMPTY = InstrumentTable(())


def jwt(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"head.{body}.signature"


def test_a_feed_is_authorised_or_redirected_by_the_scheme_of_its_address() -> None:
    door = market_door("upstox", "https://api.upstox.com/", "key", "token")
    assert door.url == "https://api.upstox.com/v3/feed/market-data-feed/authorize"
    assert ("Authorization", "Bearer token") in door.headers and door.parse is not None
    body = b'{"status":"success","data":{"authorized_redirect_uri":"wss://h.example/feeds?code=1"}}'
    assert door.parse(body) == "wss://h.example/feeds?code=1"
    with pytest.raises(ValueError):
        door.parse(b'{"status":"success","data":{}}')
    plain = market_door("upstox", "wss://api.upstox.com", "key", "token")
    assert plain.url == "wss://api.upstox.com/v3/feed/market-data-feed" and plain.parse is None
    assert ("Authorization", "Bearer token") in plain.headers


def test_order_updates_come_by_the_portfolio_socket() -> None:
    door = updates_door("upstox", "https://api.upstox.com", "key", "token")
    path = "/v2/feed/portfolio-stream-feed/authorize?update_types=order%2Cgtt_order"
    assert door.url == f"https://api.upstox.com{path}"
    assert updates_words("upstox", EMPTY).subscription([1], "full") == []


def test_kite_has_one_door_for_both() -> None:
    door = market_door("kite", "wss://ws.kite.trade", "k", "t")
    assert door == updates_door("kite", "wss://ws.kite.trade", "k", "t")
    assert door[:3] == ("wss://ws.kite.trade?api_key=k&access_token=t", (), None)


@pytest.mark.parametrize("name", ["kite", "upstox"])
def test_the_table_knows_the_brokers_by_name(name: str) -> None:
    assert (
        broker_of(name, EMPTY).name == name == words_of(name, EMPTY).name == updates_words(name, EMPTY).name
    )


def test_a_refusal_in_the_brokers_words() -> None:
    body = b'{"status":"error","errors":[{"errorCode":"UDAPI100050","message":"Invalid token"}]}'
    assert refusal_words(401, body) == "UDAPI100050: Invalid token"
    for other in (
        b"<html>1010</html>",
        b"[]",
        b'{"errors":[1]}',
        b'{"errors":[{"message":"a\\u0000b"}]}',
        b"",
    ):
        assert refusal_words(403, other) == ""


def test_when_a_token_ends() -> None:
    assert token_expiry_ns(jwt({"exp": 1_795_212_000})) == 1_795_212_000 * 10**9
    for token in ("plain", "a.b.c", jwt([]), jwt({"exp": "soon"}), jwt({"exp": -1}), jwt({}), "", "a.\xff.c"):
        assert token_expiry_ns(token) == 0
