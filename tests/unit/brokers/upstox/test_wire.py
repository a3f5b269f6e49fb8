"""Addresses, requests and text frames of Upstox's two websockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstox_rows import SAMPLES, answer, order_row, same_call, sdk, table

from kite_hft.brokers.upstox import wire
from kite_hft.brokers.values import AnswerError
from kite_hft.layout import SLOT_STATS
from kite_hft.net.ws_codes import Act
from kite_hft.trading.feed_words import WireError
from kite_hft.trading.instruments import Instrument, InstrumentTable

TABLE = table()
WORDS = wire.upstox_words(TABLE, lambda: "g")
TOKENS = [738561, 55775 * 256 + 2]


def test_requests() -> None:
    (sub,) = WORDS.subscription(TOKENS, "full")
    assert json.loads(sub) == {
        "guid": "g", "method": "sub",
        "data": {"mode": "full", "instrumentKeys": ["NSE_EQ|INE002A01018", "NSE_FO|55775"]},
    }  # fmt: skip
    (change,) = WORDS.change_mode(TOKENS[1:], "full_d30")
    assert json.loads(change)["method"] == "change_mode"
    (unsub,) = WORDS.unsubscribe(TOKENS[:1])
    assert json.loads(unsub)["data"] == {"instrumentKeys": ["NSE_EQ|INE002A01018"]}


@pytest.mark.data
@pytest.mark.parametrize("name", ["sub_full", "sub_ltpc_default", "unsub", "change_mode"])
def test_the_sample_requests(data_dir: Path, name: str) -> None:
    sample = (data_dir / SAMPLES / f"req_{name}.bin").read_bytes()
    theirs = json.loads(sample)
    data = theirs["data"]
    ours = wire.request(theirs["method"], data["instrumentKeys"], data.get("mode", ""), theirs["guid"])
    assert json.loads(ours) == theirs


def test_requests_are_cut_and_each_has_a_guid_of_its_own() -> None:
    n = 2 * wire.KEYS_PER_MESSAGE + 1
    rows = tuple(
        Instrument(i, (i + 1) * 256 + 2, i + 1, f"X{i}", "NFO", "NFO-FUT", "FUT", 5, 1,
                   upstox_key=f"NSE_FO|{i + 1}")
        for i in range(n)
    )  # fmt: skip
    words = wire.upstox_words(InstrumentTable(rows))
    messages = [json.loads(one) for one in words.subscription([row.token for row in rows], "ltpc")]
    assert [len(one["data"]["instrumentKeys"]) for one in messages] == [500, 500, 1]
    keys = [key for one in messages for key in one["data"]["instrumentKeys"]]
    assert keys == [row.upstox_key for row in rows]
    messages += [json.loads(one) for one in words.unsubscribe([rows[0].token])]
    assert [one["guid"] for one in messages] == [f"kite-hft-{i}" for i in (1, 2, 3, 4)]
    tokens = [row.token for row in rows]
    moved = [json.loads(one) for one in words.change_mode(tokens, "full")]
    assert [one["method"] for one in moved] == ["unsub"] * 3 + ["sub"] * 3, "half way both modes would count"
    assert [one["data"].get("mode") for one in moved] == [None] * 3 + ["full"] * 3
    assert [json.loads(one)["method"] for one in words.change_mode(tokens[:500], "full")] == ["change_mode"]


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="unknown mode 'quote': one of ltpc, option_greeks, full, full_d30"):
        WORDS.subscription(TOKENS, "quote")
    with pytest.raises(ValueError, match="no tokens"):
        WORDS.subscription([], "full")
    with pytest.raises(ValueError, match="token 1 is no instrument"):
        WORDS.unsubscribe([1])


def test_the_words_are_upstox() -> None:
    assert (WORDS.name, WORDS.binary, WORDS.heartbeats, WORDS.redirects) == ("upstox", True, False, 3)
    assert list(WORDS.modes.values()) == [1, 2, 3, 4] and "mode" in SLOT_STATS.names
    assert wire.PORTFOLIO_WORDS.subscription([1], "x") == []
    acts = {status: meaning.act for status, meaning in WORDS.handshake_meaning.items()}
    assert acts[401] is Act.TOKEN_DEAD and acts[403] is Act.WAIT_LONG and acts[429] is Act.WAIT_LONG
    closes = {code: meaning.act for code, meaning in WORDS.close_meaning.items()}
    assert closes[1000] is Act.RETRY and closes[1011] is Act.RETRY and closes[1008] is Act.WAIT_LONG
    dead = {status for status, act in acts.items() if act is Act.TOKEN_DEAD}
    assert dead == {401}, "403 comes for too many reconnects, too: it must not end the feed for good"


# Addresses


def test_authorize_as_the_sdk() -> None:
    market, portfolio = sdk(
        {"api": "WebsocketApi", "call": "get_market_data_feed_authorize_v3"},
        {"api": "WebsocketApi", "call": "get_portfolio_stream_feed_authorize", "args": ["2.0"],
         "kwargs": {"order_update": True, "position_update": True}},
    )  # fmt: skip
    same_call(wire.market_authorize(), market)
    same_call(wire.portfolio_authorize(["order", "position"]), portfolio)
    assert wire.portfolio_authorize(["order", "position"]).path.endswith("?update_types=order%2Cposition")
    for kinds in ([], ["orders"]):
        with pytest.raises(ValueError, match="update types"):
            wire.portfolio_authorize(kinds)


@pytest.mark.parametrize("name", ["authorized_redirect_uri", "authorizedRedirectUri"])
@pytest.mark.parametrize("url", ["wss://feed.example/x?code=1", "ws://127.0.0.1:9/x?code=1"])
def test_the_one_time_address(name: str, url: str) -> None:
    assert wire.parse_authorized(answer({name: url}).body) == url


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", answer(None).body, answer({}).body, answer({"authorized_redirect_uri": None}).body,
        answer({"authorized_redirect_uri": 7}).body, answer({"authorized_redirect_uri": "wss://"}).body,
        answer({"authorized_redirect_uri": "https://feed.example/secret"}).body,
        answer({"authorized_redirect_uri": "ws://feed.example/secret"}).body,
    ],
)  # fmt: skip
def test_no_address_or_a_bad_one(body: bytes) -> None:
    with pytest.raises(AnswerError) as raised:
        wire.parse_authorized(body)
    assert "secret" not in str(raised.value)


# Text frames


@pytest.mark.data
def test_the_sample_updates(data_dir: Path) -> None:
    for row in json.loads((data_dir / SAMPLES / "portfolio_order_updates.json").read_text()):
        assert wire.parse_text(json.dumps(row).encode()) == ("order", row)
    kind, _ = wire.parse_text((data_dir / SAMPLES / "portfolio_gtt_update.json").read_bytes())
    assert kind == "gtt_order"


def test_errors_are_words() -> None:
    frame = {"status": "error", "errors": [{"errorCode": "UDAPI100050", "message": "Invalid token"}]}
    assert wire.parse_text(json.dumps(frame).encode()) == ("error", "UDAPI100050: Invalid token")


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"\xff", b"{}", b'{"update_type":"news"}', b'{"status":"error"}', b"[" * 9000,
     b'{"update_type":"order","quantity":NaN}', b'{"update_type":"order","quantity":1e999}'[:30]],
)  # fmt: skip
def test_other_texts_are_refused(text: bytes) -> None:
    with pytest.raises(WireError):
        wire.parse_text(text)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        kind, _ = wire.parse_text(text)
    except WireError:
        return
    assert kind in (*wire.UPDATE_TYPES, "error")


def test_an_order_text_is_what_the_order_stage_reads() -> None:
    row: dict[str, Any] = order_row(update_type="order")
    assert wire.parse_text(json.dumps(row).encode()) == ("order", row)
