"""The simulated Upstox over real sockets: pings, silence, limits, clocks, a burst, two full connections."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
import websocket
from upstox_sim import FAST, Upstox, frame_dict, upstox


@pytest.fixture(scope="module")
def server() -> Iterator[Upstox]:
    with upstox("--instruments", "60", "--rate", "5", *FAST) as running:
        yield running


def test_an_idle_connection_is_pinged_and_both_sides_answer(server: Upstox) -> None:
    feed = server.feed()
    assert feed.next()["type"] == "market_info"
    began = time.monotonic()
    code, _ = feed.ws.recv_data(control_frame=True)  # websocket-client answers by itself
    assert code == websocket.ABNF.OPCODE_PING and 4 < time.monotonic() - began < 8
    feed.ws.ping(b"are you there")
    code, data = feed.ws.recv_data(control_frame=True)
    assert (code, data) == (websocket.ABNF.OPCODE_PONG, b"are you there")
    (connection,) = server.stats()["connections"]
    assert (connection["heartbeats"], connection["pongs"]) == (1, 1)
    feed.close()


def test_silence_drops_what_was_due_and_depth_comes_back_whole(server: Upstox) -> None:
    feed, keys = server.feed(), server.keys()[:3]
    feed.request("sub", keys, "full")
    feed.until(lambda m: m.get("type") == "live_feed")
    server.inject("silence", **{"for": 1.0})
    time.sleep(0.2)
    feed.quiet(0.3)
    assert feed.quiet(0.4) == []
    seen: dict[str, dict[str, object]] = {}
    while len(seen) < len(keys):
        for key, value in feed.next()["feeds"].items():
            seen.setdefault(key, value["fullFeed"]["marketFF"])
    assert all("marketLevel" in body for body in seen.values())
    assert server.stats()["withheld"] > 0
    feed.close()


def test_text_requests_and_nonsense_are_passed_over(server: Upstox) -> None:
    feed, keys = server.feed(), server.keys()[:2]
    feed.request("sub", keys, "full", text=True)
    feed.ws.send_binary(b"\x00\xff{")
    feed.request("sub", ["NSE_FO|999999999"], "full")
    assert [m.get("type") for m in feed.quiet(1.0)] == ["market_info"]
    feed.request("sub", keys)
    assert set(feed.next()["feeds"]) == set(keys)
    feed.close()


def test_damaged_frames_and_their_counts(server: Upstox) -> None:
    feed = server.feed()
    feed.request("sub", server.keys(), "full")
    feed.until(lambda m: m.get("type") == "live_feed")
    server.inject("truncate", count=3)
    bad = 0
    deadline = time.monotonic() + 20
    while bad < 3:
        assert time.monotonic() < deadline
        try:
            feed.next()
        except Exception as error:
            assert type(error).__name__ == "DecodeError"
            bad += 1
    assert server.stats()["spoiled"] == 3
    status, answer = server.call("POST", "/_sim/inject", {"kind": "wrong_count"})
    assert status == 400 and "no count" in answer["error"]
    feed.close()


def test_faulty_answers_are_in_upstoxs_words(server: Upstox) -> None:
    server.inject("http_429", request="order")
    body = {"order_id": "1"}
    assert server.call("PUT", "/v3/order/modify", body)[1]["errors"][0]["errorCode"] == "UDAPI10005"
    server.inject("http_503", request="place")
    assert server.call("POST", "/v3/order/place", {})[0] == 503
    assert server.call("GET", "/v2/order/retrieve-all")[0] == 200


def test_updates_of_the_portfolio_are_not_told_again(server: Upstox) -> None:
    key = server.keys()[0]
    order = {
        "quantity": 1, "product": "I", "validity": "DAY", "price": 0, "instrument_token": key,
        "order_type": "MARKET", "transaction_type": "BUY", "disclosed_quantity": 0, "trigger_price": 0,
        "is_amo": False,
    }  # fmt: skip
    first = server.portfolio("order,position")
    other = server.portfolio("gtt_order")
    assert server.call("POST", "/v3/order/place", order)[0] == 200
    told = [json.loads(first.recv()) for _ in range(6)]
    assert [m["update_type"] for m in told] == ["order"] * 5 + ["position"]
    first.shutdown()
    second = server.portfolio("order")
    for quiet in (second, other):
        quiet.settimeout(0.5)
        with pytest.raises(websocket.WebSocketTimeoutException):
            quiet.recv()
        quiet.shutdown()


def test_the_exchange_keeps_hours_and_tells_the_segments() -> None:
    with upstox(
        "--hours", "exchange", "--exchange-time", "2026-11-20T15:14:59", "--instruments", "10"
    ) as running:
        feed = running.feed()
        info = feed.next()["marketInfo"]
        assert info["segmentStatus"]["NSE_EQ"] == "NORMAL_OPEN" and "casMarketStatus" not in info
        later = feed.until(lambda m: m.get("type") == "market_info")["marketInfo"]
        assert later["casMarketStatus"]["NSE_EQ"]["status"] == "CTS_CLOSE"
        assert running.data("/v2/market/status/NFO")["status"] == "NORMAL_OPEN"
        feed.close()


def test_the_token_dies_at_half_past_three() -> None:
    with upstox(
        "--hours", "exchange", "--exchange-time", "2026-11-20T03:29:57", "--instruments", "5"
    ) as running:
        feed = running.feed()
        feed.next()
        with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
            while True:
                feed.next()
        assert running.call("GET", "/v2/user/profile")[0] == 401
        feed.close()


def test_two_connections_of_2000_full_keys_get_every_tick() -> None:
    arguments = ("--instruments", "4000", "--rate", "0.5", "--packets-per-frame", "100")
    with upstox(
        *arguments, "--start-when-subscribed", "4000", "--market-seconds", "4", "--no-limits"
    ) as running:
        keys = running.keys()
        feeds = [running.feed(), running.feed()]
        for i, feed in enumerate(feeds):
            feed.request("sub", keys[i * 2000 : (i + 1) * 2000], "full")
        counts = [0, 0]
        last: list[dict[str, dict[str, object]]] = [{}, {}]

        def read(i: int) -> None:
            feeds[i].ws.settimeout(4)
            try:
                while True:
                    found = frame_dict(feeds[i].ws.recv()).get("feeds", {})
                    counts[i] += len(found)
                    last[i] |= found
            except websocket.WebSocketTimeoutException:
                pass

        readers = [threading.Thread(target=read, args=(i,)) for i in range(2)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        stats = running.stats()
        assert stats["ended"] and sum(counts) == stats["ticks"] == stats["taken"] + 4000
        assert [c["subscribed"] for c in stats["connections"]] == [2000, 2000]
        assert set(last[0]) | set(last[1]) == set(keys)
        for feed in feeds:
            feed.close()
