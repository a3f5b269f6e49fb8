"""Frames byte by byte, read by a plain struct parser behind websocket-client, not by the official one."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator

import pytest
import websocket
from kiteconnect import KiteConnect, KiteTicker
from raw_ticks import Client, checksum, packet, parse
from sim_tools import Running, simulator

RELIANCE, INFY, SBIN, NIFTY = 738561, 408065, 779521, 256265
SIZES = {"ltp": (8, 8), "quote": (44, 28), "full": (184, 32)}  # (tradable, index)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with simulator(
        "--instruments", "60", "--rate", "8", "--no-limits", "--packets-per-frame", "4"
    ) as process:
        yield process


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    made = Client(running.ws_url)
    yield made
    made.ws.shutdown()


def raw(client: Client) -> bytes:
    """The next binary frame that is no heartbeat."""
    while True:
        try:
            code, data = client.ws.recv_data()
        except websocket.WebSocketTimeoutException:
            continue
        if code == websocket.ABNF.OPCODE_BINARY and len(data) > 1:
            return bytes(data)


def lengths(frame: bytes) -> dict[int, int]:
    """Packet length by token, walked by hand."""
    (n,) = struct.unpack_from(">H", frame)
    found, at = {}, 2
    for _ in range(n):
        length, token = struct.unpack_from(">HI", frame, at)
        found[token] = length
        at += 2 + length
    assert at == len(frame)
    return found


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
def test_every_mode_has_its_packet_lengths(client: Client, mode: str) -> None:
    client.say("subscribe", [RELIANCE, NIFTY])
    assert lengths(raw(client)) == {RELIANCE: 44, NIFTY: 28}  # the state, at once, in mode quote
    client.say("mode", [mode, [RELIANCE, NIFTY]])
    tradable, index = SIZES[mode]
    wanted = {RELIANCE: tradable, NIFTY: index}
    deadline = time.monotonic() + 10
    while not lengths(raw(client)).items() <= wanted.items():
        assert time.monotonic() < deadline
    seen: dict[int, int] = {}
    while seen != wanted:
        seen |= lengths(raw(client))
        assert seen.items() <= wanted.items()


def test_the_fields_are_those_of_the_quote(running: Running, client: Client) -> None:
    kite = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
    client.subscribe([RELIANCE])

    def both() -> bool:
        quote = kite.quote("NSE:RELIANCE")["NSE:RELIANCE"]
        client.read(0.05)
        same = [t for t in client.ticks if t["mode"] == "full" and t["volume"] == quote["volume"]]
        if not same:
            return False
        tick, paise = same[-1], lambda rupees: round(rupees * 100)
        assert tick["last"] == paise(quote["last_price"])
        assert tick["last_quantity"] == quote["last_quantity"]
        assert tick["average"] == paise(quote["average_price"])
        assert (tick["buy"], tick["sell"]) == (quote["buy_quantity"], quote["sell_quantity"])
        names = ("open", "high", "low", "close")
        assert [tick[name] for name in names] == [paise(quote["ohlc"][name]) for name in names]
        for ours, theirs in (("bids", "buy"), ("asks", "sell")):
            levels = [(one["quantity"], paise(one["price"]), one["orders"]) for one in quote["depth"][theirs]]
            assert tick[ours] == levels
        assert abs(tick["time"] - time.time()) < 60 and abs(tick["trade_time"] - time.time()) < 60
        return True

    assert client.read(until=both)
    kite.reqsession.close()


def test_the_official_parser_reads_the_same(client: Client) -> None:
    client.subscribe([RELIANCE, INFY, SBIN, NIFTY])
    official = KiteTicker("key", "token")
    for _ in range(30):
        frame = raw(client)
        ours, unknown = parse(frame)
        theirs = official._parse_binary(frame)
        assert unknown == 0 and [t["token"] for t in ours] == [t["instrument_token"] for t in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert (a["last"], a["mode"]) == (round(b["last_price"] * 100), b["mode"])
            assert a.get("volume") == b.get("volume_traded")
            assert a["high"] == round(b["ohlc"]["high"] * 100)


def test_the_servers_own_count_and_checksum(running: Running, client: Client) -> None:
    client.subscribe([RELIANCE, INFY, NIFTY])
    client.read(1.0)
    client.say("unsubscribe", [RELIANCE, INFY, NIFTY])
    client.read(0.5)
    (sent,) = running.stats()["connections"]
    assert (sent["ticks"], sent["checksum"]) == (len(client.ticks), checksum(client.ticks))
    assert sent["packets"] == sent["ticks"] > 10


def test_pings_are_answered_with_what_they_said(running: Running, client: Client) -> None:
    for payload in (b"", b"hello", bytes(125)):
        client.ws.ping(payload)
        client.read(5, until=lambda p=payload: client.pongs and client.pongs[-1] == p)
        assert client.pongs[-1] == payload
    assert running.stats()["connections"][-1]["pongs"] == 3


def test_heartbeats_are_one_byte_about_every_second(client: Client) -> None:
    client.read(until=lambda: client.heartbeats == 3)
    times = [at for at, size in client.frames if size == 1]
    assert len(times) == len(client.frames) and times[2] - times[0] > 1.8
    client.subscribe([RELIANCE, INFY, SBIN, NIFTY])  # 32 ticks a second
    client.read(until=lambda: len(client.ticks) > 20)
    beats = client.heartbeats
    client.read(1.5)
    assert client.heartbeats == beats  # none while there is something to send


def test_a_message_in_parts_is_a_message(client: Client) -> None:
    text = json.dumps({"a": "subscribe", "v": [RELIANCE]}).encode()
    abnf = websocket.ABNF
    for data, code, last in ((text[:9], abnf.OPCODE_TEXT, 0), (text[9:], abnf.OPCODE_CONT, 1)):
        client.ws.send_frame(abnf(fin=last, opcode=code, data=data))
    client.read(until=lambda: client.ticks)
    assert client.ticks[0]["token"] == RELIANCE


@pytest.mark.parametrize("code", [1000, 1001, 3000])
def test_a_close_is_answered_with_a_close(running: Running, code: int) -> None:
    client = Client(running.ws_url)
    client.ws.send_close(code, b"bye")
    client.read(5)
    assert client.ended == f"close {code}"
    client.ws.shutdown()


def test_packets_of_the_published_example() -> None:
    """The parser itself, against the lengths of the description."""
    assert packet(struct.pack(">2I", RELIANCE, 12345)) == {"token": RELIANCE, "last": 12345, "mode": "ltp"}
    assert packet(bytes(99)) is None
