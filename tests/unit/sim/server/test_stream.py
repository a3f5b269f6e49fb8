"""Subscriptions of one connection, frames and their due times."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from kiteconnect import KiteTicker

from kite_hft.layout import TICK
from kite_hft.sim.kite.stream import TOO_MANY
from kite_hft.sim.kite.stream import KiteStream as Stream
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.stream import LINGER_NS

TABLE, BASE = default_instruments(20, 1)
TOKENS = TABLE.tokens().tolist()
PARSER = KiteTicker("key", "token")


def say(stream: Stream, action: str, value: Any) -> tuple[list[bytes], list[int]]:
    return stream.on_message(json.dumps({"a": action, "v": value}).encode(), binary=False)


def ticks(slots: list[int], px: int = 10_000) -> np.ndarray:
    rows = np.zeros(len(slots), TICK)
    rows["slot"], rows["last_px"] = slots, np.arange(px, px + len(slots))
    return rows


def parsed(stream: Stream) -> list[dict[str, Any]]:
    return [tick for frame in stream.frames for tick in PARSER._parse_binary(frame.data)]


def test_bare_subscribe_is_quote_and_mode_changes_it() -> None:
    stream = Stream(TABLE, 1)
    assert say(stream, "subscribe", TOKENS[:3]) == ([], [0, 1, 2])
    assert say(stream, "subscribe", TOKENS[:3]) == ([], [])  # a second time: nothing new
    assert say(stream, "mode", ["full", TOKENS[1:5]]) == ([], [1, 2])  # only what is subscribed
    assert say(stream, "mode", ["ltp", [TOKENS[2]]]) == ([], [2])
    stream.load(np.zeros(4, np.int64), ticks([0, 1, 2, 3]))
    assert [t["mode"] for t in parsed(stream)] == ["quote", "full", "ltp"]
    assert say(stream, "unsubscribe", [TOKENS[0], 1]) == ([], [])
    assert stream.subscribed == 2


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"1", b'{"a":"subscribe"}', b'{"a":"subscribe","v":["738561",true,null]}',
     b'{"a":"mode","v":[]}',
     b'{"a":"mode","v":["fast",[738561]]}', b'{"a":"dance","v":[738561]}', b"\xff\xfe"],
)  # fmt: skip
def test_anything_else_is_ignored(text: bytes) -> None:
    stream = Stream(TABLE, 1)
    assert stream.on_message(text, binary=False) == ([], [])
    assert stream.subscribed == 0


def test_more_than_3000_tokens_fail_and_the_earlier_ones_stay() -> None:
    table, _ = default_instruments(3100, 1)
    stream = Stream(table, 1)
    tokens = table.tokens().tolist()
    assert say(stream, "subscribe", tokens[:2999]) == ([], list(range(2999)))
    answers, fresh = say(stream, "subscribe", [7, *tokens[2999:]])  # 7 is unknown and counts
    assert (answers, fresh) == ([TOO_MANY], [])
    assert stream.subscribed == 3000
    say(stream, "unsubscribe", [7])
    assert say(stream, "subscribe", tokens[3000:3001]) == ([], [3000])


def test_frames_fill_and_are_due_with_their_last_tick() -> None:
    stream = Stream(TABLE, 3)
    say(stream, "subscribe", TOKENS)
    stream.load(np.arange(5, dtype=np.int64), ticks([0, 1, 2, 3, 4]))
    assert [(f.due_ns, len(f.ticks)) for f in stream.frames] == [(2, 3)]
    stream.load(np.arange(5, 7, dtype=np.int64), ticks([5, 6]))
    assert [f.due_ns for f in stream.frames] == [2, 5]
    stream.load(np.array([LINGER_NS + 7]), ticks([7]))  # the one left over has waited too long
    assert [(f.due_ns, len(f.ticks)) for f in stream.frames][2:] == [(LINGER_NS + 7, 2)]
    stream.load(np.array([LINGER_NS + 8]), ticks([8]), flush=True)
    assert [len(f.ticks) for f in stream.frames] == [3, 3, 2, 1]
    assert [t["instrument_token"] for t in parsed(stream)] == TOKENS[:9]


def test_a_change_reencodes_what_is_not_sent_and_loses_nothing() -> None:
    stream = Stream(TABLE, 2)
    say(stream, "subscribe", TOKENS[:3])
    times = np.arange(6, dtype=np.int64)
    rows = ticks([0, 1, 2, 3, 0, 1])
    stream.load(times, rows)
    before = stream.modes.copy()
    say(stream, "subscribe", [TOKENS[3]])
    say(stream, "mode", ["full", TOKENS[:1]])
    fresh = (before == 0)[rows["slot"]]
    stream.reload(times[fresh], rows[fresh])
    assert [t["instrument_token"] for t in parsed(stream)] == [TOKENS[i] for i in (0, 1, 2, 3, 0, 1)]
    assert [t["mode"] for t in parsed(stream)] == ["full", "quote", "quote", "quote", "full", "quote"]
    say(stream, "unsubscribe", [TOKENS[0]])
    stream.reload(times[:0], rows[:0])
    assert [t["instrument_token"] for t in parsed(stream)] == [TOKENS[i] for i in (1, 2, 3, 1)]


def test_stamps_carry_the_intended_time_in_64_bits() -> None:
    stream = Stream(TABLE, 2, stamp=True)
    stream.intended_from_ns = 12_345_678_901_234
    index = next(row.slot for row in TABLE if row.is_index)
    say(stream, "subscribe", TOKENS)
    stream.load(np.array([100, 200, 300, 400]), ticks([0, 1, index, 2]))
    told = parsed(stream)
    stamps = [
        t["total_buy_quantity"] << 32 | t["total_sell_quantity"] for t in told if "total_buy_quantity" in t
    ]
    assert stamps == [12_345_678_901_434, 12_345_678_901_434, 12_345_678_901_634]


def test_count_and_checksum_are_those_of_a_reader() -> None:
    stream = Stream(TABLE, 4)
    index = next(row.slot for row in TABLE if row.is_index)
    say(stream, "subscribe", [*TOKENS[:2], TOKENS[index]])
    say(stream, "mode", ["ltp", [TOKENS[1]]])
    rows = ticks([0, 1, index, 0])
    rows["volume"] = [2**32 + 5, 6, 7, 8]
    stream.load(np.zeros(4, np.int64), rows)
    stream.record(stream.frames[0], 1_500_000)
    expected = 0
    for tick in PARSER._parse_binary(stream.frames[0].data):
        expected += plain_mix(
            tick["instrument_token"], round(tick["last_price"] * 100), tick.get("volume_traded", 0)
        )
    stream.settle()
    sent = stream.sent
    assert (sent.ticks, sent.frames, sent.max_delay_ns, sent.late_frames) == (4, 1, 1_500_000, 1)
    assert sent.checksum == expected % 2**64


def plain_mix(token: int, px: int, volume: int) -> int:
    """splitmix64's finaliser over (token, price, volume), in plain integers."""
    gamma, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    z = ((token << 32 | px) + gamma & mask) ^ (volume * gamma & mask)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31
