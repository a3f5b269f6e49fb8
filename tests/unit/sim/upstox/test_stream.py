"""Requests, limits and partial frames of one feed connection."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from upstox_sim import frame_dict

from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.layout import TICK
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.upstox import stream as stream_module
from kite_hft.sim.upstox.frames import FULL, FULL_D30, LTPC, OPTION_GREEKS
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.sim.upstox.stream import NORMAL_LIMITS, PLUS_LIMITS, FeedStyle, Limits, Shares, UpstoxStream

TABLE, BASE = default_instruments(20, 1)
TABLE = with_upstox_keys(TABLE)
KEYS = [row.upstox_key for row in TABLE]
START = 1_795_150_800 * 10**9
MS = 1_000_000


def say(
    stream: UpstoxStream, method: str, keys: list[Any], mode: Any = None, binary: bool = True
) -> list[int]:
    data = {"instrumentKeys": keys} | ({} if mode is None else {"mode": mode})
    message = {"guid": "x", "method": method, "data": data}
    answers, slots = stream.on_message(json.dumps(message).encode(), binary=binary)
    assert answers == []  # nothing is ever answered
    return slots


def made(limits: Limits = NORMAL_LIMITS, **options: Any) -> UpstoxStream:
    return UpstoxStream(TABLE, FeedRows(TABLE), shares=Shares(limits), **options)


def told(stream: UpstoxStream) -> list[dict[str, Any]]:
    return [frame_dict(frame.data) for frame in stream.frames]


def test_sub_without_a_mode_is_ltpc_and_change_mode_needs_the_key() -> None:
    stream = made()
    assert say(stream, "sub", KEYS[:2]) == [0, 1]
    assert say(stream, "change_mode", KEYS[1:3], "full") == [1]
    assert stream.modes[:3].tolist() == [LTPC, FULL, 0]
    assert say(stream, "change_mode", KEYS[:1]) == []  # no mode: nothing
    assert say(stream, "sub", ["NSE_FO|1"], "full") == [] and stream.subscribed == 3  # held, and silent
    assert say(stream, "unsub", [KEYS[0], "NSE_FO|1"]) == [] and stream.subscribed == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"method":"sub"}', b'{"method":"sub","data":{"instrumentKeys":"x"}}',
     b'{"method":"sub","data":{"mode":"fast","instrumentKeys":["NSE_EQ|INE000288501"]}}',
     b'{"method":"sub","data":{"mode":["full"],"instrumentKeys":["NSE_EQ|INE000288501"]}}',
     b'{"method":"sub","data":{"mode":{},"instrumentKeys":["NSE_EQ|INE000288501"]}}',
     b'{"method":["sub"],"data":{"instrumentKeys":["NSE_EQ|INE000288501"]}}',
     b'{"method":"sub","data":{"instrumentKeys":' + b"[" * 100_000,
     b'{"method":"dance","data":{"instrumentKeys":["NSE_EQ|INE000288501"]}}', b"\xff\xfe",
     b'{"method":"sub","data":{"instrumentKeys":[1,null]}}'],
)  # fmt: skip
def test_what_is_no_request_is_passed_over(data: bytes) -> None:
    stream = made()
    assert stream.on_message(data, binary=True) == ([], [])
    assert stream.subscribed == 0


def test_requests_in_text_frames_are_passed_over() -> None:
    stream = made()
    assert say(stream, "sub", KEYS[:2], "full", binary=False) == [] and stream.subscribed == 0


def test_limits_alone_and_beside_other_modes() -> None:
    limits = {LTPC: (5, 3), OPTION_GREEKS: (4, 3), FULL: (4, 2), FULL_D30: (0, 0)}
    stream = made(limits)
    assert len(say(stream, "sub", KEYS[:6], "full")) == 4 and stream.shares.refused == 2
    assert say(stream, "sub", KEYS[8:9], "ltpc") == []  # four in mode full leave no room for a second mode
    say(stream, "unsub", KEYS[2:4])
    assert len(say(stream, "sub", KEYS[8:13], "ltpc")) == 3
    assert say(stream, "sub", KEYS[15:16], "full") == []
    assert say(stream, "sub", KEYS[15:16], "full_d30") == []
    assert say(stream, "change_mode", [KEYS[8]], "full") == []  # two are all that fit
    say(stream, "unsub", KEYS[8:13])
    assert say(stream, "change_mode", [KEYS[0], KEYS[1]], "ltpc") == [0, 1]  # keys may change over


def test_limits_of_the_user_count_over_connections() -> None:
    limits = {LTPC: (5, 3), OPTION_GREEKS: (4, 3), FULL: (4, 2), FULL_D30: (0, 0)}
    for per_user, wanted in ((True, 1), (False, 4)):
        shares = Shares(limits, per_user)
        one = UpstoxStream(TABLE, FeedRows(TABLE), shares=shares)
        two = UpstoxStream(TABLE, FeedRows(TABLE), shares=shares)
        say(one, "sub", KEYS[:3], "full")
        assert len(say(two, "sub", KEYS[5:10], "full")) == wanted
        one.leave()
        say(two, "sub", KEYS[10:14], "full")
        assert two.subscribed == 4


def test_plus_has_thirty_levels() -> None:
    assert len(say(made(PLUS_LIMITS), "sub", KEYS[:3], "full_d30")) == 3


def market(seconds: float, rate: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    source = SyntheticMarket(TABLE, BASE, rate, 3, START)
    return source.take(round(seconds * 1e9), 1 << 20)


def repeated(ticks: np.ndarray) -> np.ndarray:
    """Some ticks leave depth, or the last price, as the one before had it."""
    ticks = ticks.copy()
    last: dict[int, int] = {}
    for i, slot in enumerate(ticks["slot"].tolist()):
        if slot in last and i % 3:
            before = ticks[last[slot]]
            for name in ("bid_px", "ask_px", "bid_px_deep", "ask_px_deep", "bid_qty", "ask_qty"):
                ticks[name][i] = before[name]
        if slot in last and i % 2:
            ticks["last_px"][i] = ticks["last_px"][last[slot]]
        last[slot] = i
    return ticks


def put_together(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a reader knows after each frame: absent means unchanged."""
    known: dict[str, dict[str, Any]] = {}
    states = []
    for frame in frames:
        for key, feed in frame["feeds"].items():
            part = next(iter(feed["fullFeed"].values()))
            known[key] = {**known.get(key, {}), **part}
            states.append({"key": key, **known[key]})
    return states


def test_partial_frames_put_together_are_the_whole_ones() -> None:
    times, ticks = market(6)
    ticks = repeated(ticks)
    frames: dict[bool, list[dict[str, Any]]] = {}
    for partial in (True, False):
        rows = FeedRows(TABLE)
        stream = UpstoxStream(TABLE, rows, style=FeedStyle(partial=partial))
        say(stream, "sub", KEYS, "full")
        frames[partial] = []
        for part in np.array_split(np.arange(len(ticks)), 9):
            rows.see(ticks[part])
            stream.load(times[part], ticks[part])
            frames[partial] += told(stream)
            while stream.frames:
                stream.record(stream.frames.popleft(), 0)
    assert put_together(frames[True]) == put_together(frames[False])
    bodies = [feed["fullFeed"].get("marketFF", {}) for f in frames[True] for feed in f["feeds"].values()]
    assert sum("marketLevel" not in body for body in bodies) > 100
    assert sum("optionGreeks" not in body for body in bodies) > 100
    whole = [feed["fullFeed"].get("marketFF") for f in frames[False] for feed in f["feeds"].values()]
    assert all("marketLevel" in body for body in whole if body)


def test_how_many_are_encoded_at_once_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    times, ticks = market(6)
    ticks = repeated(ticks)
    found: list[list[bytes]] = []
    for at_once in (1, 7, len(ticks)):
        monkeypatch.setattr(stream_module, "ROWS_AT_ONCE", at_once)
        rows = FeedRows(TABLE)
        stream = UpstoxStream(TABLE, rows, packets_per_frame=5)
        say(stream, "sub", KEYS, "full")
        rows.see(ticks)
        stream.load(times, ticks)
        found.append([frame.data for frame in stream.frames])
    assert found[0] == found[1] == found[2] and len(found[0]) > 20


def test_a_stream_that_is_behind_takes_little_memory() -> None:
    """Encoded all together, these would take 4 KB each meanwhile; what stays are frames and ticks."""
    times, ticks = market(120)
    rows = FeedRows(TABLE)
    stream = UpstoxStream(TABLE, rows, packets_per_frame=30)
    say(stream, "sub", KEYS, "full")
    assert len(ticks) > 4 * stream_module.ROWS_AT_ONCE
    tracemalloc.start()
    try:
        stream.load(times, ticks)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - kept < 4 * stream_module.ROWS_AT_ONCE * 1024 + len(ticks) * 512


def test_what_was_never_sent_is_told_again() -> None:
    times, ticks = market(2)
    stream = made()
    say(stream, "sub", KEYS, "full")
    ticks["bid_px"], ticks["ask_px"], ticks["bid_qty"], ticks["ask_qty"] = 5, 10, 1, 1
    ticks["bid_px_deep"], ticks["ask_px_deep"] = 1, 20
    stream.load(times, ticks)
    rounds = len(TABLE)
    for _ in range(rounds):
        stream.record(stream.frames.popleft(), 0)
    tradable = [f for f in told(stream) if "_INDEX" not in next(iter(f["feeds"]))]
    assert all(
        "marketLevel" not in f["feeds"][next(iter(f["feeds"]))]["fullFeed"]["marketFF"] for f in tradable
    )
    stream.withhold(int(times[rounds + 3]))
    again = [f for f in told(stream) if "_INDEX" not in next(iter(f["feeds"]))]
    first: dict[str, Any] = {}
    for f in again:
        for key, feed in f["feeds"].items():
            first.setdefault(key, feed["fullFeed"]["marketFF"])
    assert all("marketLevel" in body for body in first.values())


def test_a_frame_holds_an_instrument_once() -> None:
    times, ticks = market(2)
    stream = made(packets_per_frame=50)
    say(stream, "sub", KEYS[:3], "ltpc")
    stream.load(times, ticks, flush=True)
    seen = [list(f["feeds"]) for f in told(stream)]
    assert max(map(len, seen)) == 3 and sum(map(len, seen)) == np.count_nonzero(ticks["slot"] < 3)
    assert [len(frame.ticks) for frame in stream.frames] == [len(keys) for keys in seen]


def test_snapshots_whole_and_empty() -> None:
    _, ticks = market(1)
    state = ticks[:3]
    whole, empty = made(), made(style=FeedStyle(empty_snapshot=True))
    for stream in (whole, empty):
        say(stream, "sub", KEYS[:3], "full")
    (frame,) = whole.snapshot(state)
    assert "type" not in frame_dict(frame.data) and len(frame.ticks) == 3
    assert "fullFeed" in frame_dict(frame.data)["feeds"][KEYS[0]]
    (frame,) = empty.snapshot(state)
    assert frame_dict(frame.data)["feeds"][KEYS[0]] == {"ltpc": {}, "requestMode": "full_d5"}
    assert len(frame.ticks) == 0


def test_a_placeholder_is_no_tick_that_was_sent() -> None:
    """What the simulator counts is what a reader of the wire gets as ticks, snapshots or placeholders."""
    times, ticks = market(1)
    for style in (FeedStyle(), FeedStyle(empty_snapshot=True)):
        stream = made(style=style)
        say(stream, "sub", KEYS[:3], "ltpc")
        stream.load(times, ticks, flush=True)
        frames = [(frame, True) for frame in stream.snapshot(ticks[:3])] + [(f, False) for f in stream.frames]
        for frame, snapshot in frames:
            stream.record(frame, 0, snapshot)
        stream.settle()
        steps = np.array([row.tick_px for row in TABLE], np.int32)
        reader = UpstoxDecoder(KEYS, np.arange(len(KEYS), dtype=np.uint32), TABLE.scales(), steps)
        read = sum(len(reader.decode_frame(frame.data)) for frame, _ in frames)
        assert stream.sent.ticks == stream.sent.packets == read > 0
        assert stream.sent.snapshot_ticks == (0 if style.empty_snapshot else 3)


def test_current_time_is_the_sources() -> None:
    times, ticks = market(1)
    stream = made(style=FeedStyle(start_ms=START // MS))
    say(stream, "sub", KEYS[:1], "ltpc")
    stream.load(times, ticks)
    mine = ticks["slot"] == 0
    assert [int(f["currentTs"]) for f in told(stream)] == (START // MS + times[mine] // MS).tolist()


def test_a_change_of_mode_encodes_anew_what_waits() -> None:
    times, ticks = market(1)
    stream = made()
    say(stream, "sub", KEYS[:1], "ltpc")
    stream.load(times, ticks)
    say(stream, "change_mode", KEYS[:1], "full")
    stream.reload(np.empty(0, np.int64), np.empty(0, TICK))
    feeds = [f["feeds"][KEYS[0]] for f in told(stream)]
    assert all(feed["requestMode"] == "full_d5" for feed in feeds)
    assert "marketLevel" in feeds[0]["fullFeed"]["marketFF"]
