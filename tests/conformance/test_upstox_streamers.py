"""The official Upstox streamers, unchanged, against the simulator: they cannot tell it from the broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from upstox_sim import FAST, Sdk, Upstox, upstox

RELIANCE, NIFTY = "NSE_EQ|INE000288501", "NSE_INDEX|Nifty 50"
SEGMENTS = {
    "NSE_EQ", "NSE_FO", "NSE_INDEX", "NSE_COM", "NCD_FO", "BSE_EQ", "BSE_FO", "BSE_INDEX", "BCD_FO", "MCX_FO",
    "MCX_INDEX",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstox]:
    folder = tmp_path_factory.mktemp("tls")
    with upstox("--instruments", "60", "--rate", "4", *FAST, folder=folder) as running:
        yield running


@pytest.fixture
def sdk(server: Upstox) -> Iterator[Sdk]:
    with Sdk(server) as made:
        yield made
    deadline = time.monotonic() + 20
    while server.stats()["connections"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def option_of(server: Upstox) -> str:
    return next(row["instrument_key"] for row in server.master() if row["instrument_type"] == "CE")


def entry(message: dict[str, Any], key: str) -> dict[str, Any]:
    return message.get("feeds", {}).get(key, {})


def test_market_info_first_then_the_state_then_what_changes(server: Upstox, sdk: Sdk) -> None:
    sdk.tell(
        "stream", "m", "MarketDataStreamerV3", {"instrumentKeys": [RELIANCE, NIFTY], "mode": "full"}, None
    )
    _, first = sdk.until("message")
    assert first["type"] == "market_info" and set(first["marketInfo"]["segmentStatus"]) == SEGMENTS
    assert set(first["marketInfo"]["segmentStatus"].values()) == {"NORMAL_OPEN"}
    _, state = sdk.until("message")
    assert "type" not in state  # initial_feed is 0 on the wire
    assert set(state["feeds"]) == {RELIANCE, NIFTY}
    market = entry(state, RELIANCE)["fullFeed"]["marketFF"]
    assert len(market["marketLevel"]["bidAskQuote"]) == 5 and market["optionGreeks"] == {}
    index = entry(state, NIFTY)
    assert index["requestMode"] == "full_d5" and set(index["fullFeed"]) == {"indexFF"}
    assert "ltq" not in index["fullFeed"]["indexFF"]["ltpc"]
    assert "vol" not in index["fullFeed"]["indexFF"]["marketOHLC"]["ohlc"][0]
    live = [sdk.until("message")[1] for _ in range(20)]
    assert all(message["type"] == "live_feed" and len(message["feeds"]) == 1 for message in live)
    assert {key for message in live for key in message["feeds"]} == {RELIANCE, NIFTY}
    stamps = [int(message["currentTs"]) for message in [first, state, *live]]
    assert stamps[1:] == sorted(stamps[1:])


def test_every_mode_has_its_shape(server: Upstox, sdk: Sdk) -> None:
    option = option_of(server)
    shapes = {"ltpc": "ltpc", "option_greeks": "firstLevelWithGreeks", "full": "fullFeed"}
    sdk.tell("stream", "m", "MarketDataStreamerV3", {"instrumentKeys": [option], "mode": "ltpc"}, None)
    sdk.until("open")
    for mode, shape in shapes.items():
        if mode != "ltpc":
            sdk.tell("do", "m", "change_mode", [option], mode)
        _, message = sdk.until("message", lambda _, m, s=shape: s in entry(m, option))
        assert set(entry(message, option)) - {"requestMode"} == {shape}
    market = entry(message, option)["fullFeed"]["marketFF"]
    assert set(market["optionGreeks"]) == {"delta", "theta", "gamma", "vega", "rho"} and 0 < market["iv"] < 10
    sdk.tell("do", "m", "unsubscribe", [option])
    time.sleep(0.3)
    while sdk.next(0.6) is not None:
        pass
    before = len(sdk.heard)
    time.sleep(0.6)
    assert sdk.next(0.1) is None and len(sdk.heard) == before


def test_the_last_state_that_was_told_is_the_exchanges(server: Upstox, sdk: Sdk) -> None:
    """Partial frames put together give what the quote call says, at the same day volume."""
    sdk.tell("stream", "m", "MarketDataStreamerV3", {"instrumentKeys": [RELIANCE], "mode": "full"}, None)
    states: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    deadline = time.monotonic() + 30
    while True:
        _, message = sdk.until("message", lambda _, m: entry(m, RELIANCE))
        market = entry(message, RELIANCE)["fullFeed"]["marketFF"]
        whole = {**whole, **market}
        states[int(market["vtt"])] = whole
        quote = server.data(f"/v3/market-quote/quotes?instrument_key={RELIANCE.replace('|', '%7C')}")
        quote = quote["NSE_EQ:RELIANCE"]
        if quote["volume"] in states:
            break
        assert time.monotonic() < deadline
    told = states[quote["volume"]]
    assert told["ltpc"]["ltp"] == quote["last_price"] and told["ltpc"]["cp"] == quote["prev_close_price"]
    assert told["atp"] == quote["average_price"]
    assert (told["tbq"], told["tsq"]) == (quote["total_buy_quantity"], quote["total_sell_quantity"])
    levels = told["marketLevel"]["bidAskQuote"]
    assert [(int(x["bidQ"]), x["bidP"]) for x in levels] == [
        (x["quantity"], x["price"]) for x in quote["depth"]["buy"]
    ]
    assert [(int(x["askQ"]), x["askP"]) for x in levels] == [
        (x["quantity"], x["price"]) for x in quote["depth"]["sell"]
    ]
    bar = told["marketOHLC"]["ohlc"][0]
    assert {name: bar[name] for name in ("open", "high", "low", "close")} == {
        name: quote["ohlc"][name] for name in ("open", "high", "low", "close")
    }


def test_order_updates_step_by_step_as_in_the_history(server: Upstox, sdk: Sdk) -> None:
    sdk.tell(
        "stream", "p", "PortfolioDataStreamer",
        {"order_update": True, "position_update": True, "gtt_update": True}, None,
    )  # fmt: skip
    sdk.until("open")
    body = {
        "model": "PlaceOrderV3Request", "quantity": 2, "product": "I", "validity": "DAY", "price": 0.0,
        "instrument_token": RELIANCE, "order_type": "MARKET", "transaction_type": "BUY", "tag": "told",
        "disclosed_quantity": 0, "trigger_price": 0.0, "is_amo": False, "slice": False,
    }  # fmt: skip
    placed = sdk.answer("OrderApiV3", "place_order", body)
    (order_id,) = placed["data"]["order_ids"]
    assert placed["status"] == "success" and 30 <= placed["metadata"]["latency"] <= 90
    sdk.until("message", lambda _, m: m.get("status") == "complete")
    _, position = sdk.until("message", lambda _, m: m["update_type"] == "position")
    told = [
        m for kind, *rest in sdk.heard if kind == "message" for m in rest[1:] if m["update_type"] == "order"
    ]
    assert [m["status"] for m in told][:4] == [
        "put order req received", "validation pending", "open pending", "open",
    ]  # fmt: skip
    history = sdk.answer("OrderApi", "get_order_details", "2.0", order_id=order_id)["data"]
    assert [m["status"] for m in told] == [row["status"] for row in history]
    for one, row in zip(told, history, strict=True):
        same = (
            "order_id",
            "average_price",
            "filled_quantity",
            "quantity",
            "tag",
            "exchange_order_id",
            "price",
        )
        assert {n: one[n] for n in same} == {n: row[n] for n in same}
        assert (
            one["userId"] == one["user_id"] and one["instrument_key"] == one["instrument_token"] == RELIANCE
        )
    assert (position["quantity"], position["product"]) == (2, "I")
    assert "pnl" not in position and "last_price" not in position


@pytest.mark.parametrize("kind", ["drop", "reset", "close"])
def test_it_comes_back_after_an_end_and_asks_again(server: Upstox, sdk: Sdk, kind: str) -> None:
    sdk.tell("stream", "m", "MarketDataStreamerV3", {"instrumentKeys": [RELIANCE], "mode": "full"}, None)
    sdk.until("message", lambda _, m: entry(m, RELIANCE))
    server.inject(kind)
    sdk.until("reconnecting")
    sdk.until("open")
    _, message = sdk.until("message", lambda _, m: entry(m, RELIANCE))
    assert "type" not in message


def test_a_server_that_accepts_and_ends_is_hammered_without_end(server: Upstox, sdk: Sdk) -> None:
    """The counter-example to our table: each connection that opens lets its count of tries begin anew, and
    the next try comes at once. What ours does: tests/unit/net/test_ws_addresses.py."""
    tries = 5
    words = {"instrumentKeys": [RELIANCE], "mode": "ltpc"}
    sdk.tell("stream", "m", "MarketDataStreamerV3", words, [True, 1, tries])
    sdk.until("open")
    opened, began = 0, time.monotonic()
    while time.monotonic() - began < 3.0:
        server.inject("close", code=1011)
        sdk.until("open")
        opened += 1
    assert opened > 2 * tries, "one a second, and five of them, is what it was told"
    assert not [h for h in sdk.heard if h[0] == "autoReconnectStopped"]
    sdk.until("message", lambda _, m: entry(m, RELIANCE))


def test_close_1000_leaves_it_silent_for_good(server: Upstox, sdk: Sdk) -> None:
    sdk.tell("stream", "m", "MarketDataStreamerV3", {"instrumentKeys": [RELIANCE], "mode": "ltpc"}, None)
    sdk.until("message", lambda _, m: entry(m, RELIANCE))
    server.inject("close", code=1000)
    _, code, _ = sdk.until("close")
    assert code == 1000
    time.sleep(1.0)
    assert not [h for h in sdk.heard if h[0] in ("reconnecting", "autoReconnectStopped")]


def test_a_dead_token_is_401_and_ends_it(server: Upstox) -> None:
    with Sdk(server, "wrong") as refused:
        refused.tell(
            "stream", "m", "MarketDataStreamerV3", {"instrumentKeys": [RELIANCE], "mode": "ltpc"}, None
        )
        _, error = refused.until("error")
        assert "401 Unauthorized" in str(error)
        assert refused.call("UserApi", "get_profile", "2.0")[:2] == ["refused", 401]


def test_the_third_connection_is_403(server: Upstox, sdk: Sdk) -> None:
    two = [server.feed(), server.feed()]
    sdk.tell(
        "stream", "m", "MarketDataStreamerV3", {"instrumentKeys": [RELIANCE], "mode": "ltpc"}, [True, 1, 5]
    )
    _, error = sdk.until("error")
    assert "403" in str(error)
    two.pop().close()
    sdk.until("message", lambda _, m: entry(m, RELIANCE))
    two.pop().close()


def test_unknown_fields_and_bursts_are_nothing_to_it(server: Upstox, sdk: Sdk) -> None:
    keys = server.keys()
    sdk.tell("stream", "m", "MarketDataStreamerV3", {"instrumentKeys": keys, "mode": "full"}, None)
    sdk.until("message", lambda _, m: len(m.get("feeds", {})) == len(keys))
    server.inject("unknown_packet", count=20)
    server.inject("burst", size=500)
    _, burst = sdk.until("message", lambda _, m: m.get("type") == "live_feed" and len(m["feeds"]) > 1)
    assert set(burst["feeds"]) == set(keys)
    [sdk.until("message") for _ in range(60)]
    assert not [h for h in sdk.heard if h[0] in ("error", "close")]
