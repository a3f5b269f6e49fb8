"""The encoder against the decoder, the official client, and packets made by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from kiteconnect import KiteTicker

from kite_hft._kite_decode import KiteDecoder
from kite_hft.brokers.kite.wire import tick_dict
from kite_hft.layout import TICK, TickKind
from kite_hft.sim.kite.frames import FULL, LTP, QUOTE, encode_frames

SEGMENTS = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 12], np.uint32)
TOKENS = (np.arange(1, 41, dtype=np.uint32) << np.uint32(8)) | np.tile(SEGMENTS, 4)
SLOTS = np.arange(len(TOKENS), dtype=np.uint32)


def random_ticks(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ticks = np.zeros(n, TICK)
    for name, (dtype, _offset) in (TICK.fields or {}).items():
        limit = 2**31 if "_px" in name else 2 ** (8 * dtype.base.itemsize)
        if dtype.base.itemsize < 8:
            ticks[name] = rng.integers(0, limit, (n, *dtype.shape))
    ticks["volume"] = rng.integers(0, 2**32, n)
    ticks["exch_ns"] = rng.integers(0, 2**32, n) * 10**9
    ticks["slot"] = rng.integers(0, len(TOKENS), n)
    return ticks


@pytest.mark.parametrize("packets_per_frame", [1, 7, 100, 65535])
@pytest.mark.parametrize("mode", [LTP, QUOTE, FULL, None])
def test_round_trip(packets_per_frame: int, mode: int | None) -> None:
    rng = np.random.default_rng(5)
    modes = rng.integers(1, 4, len(TOKENS)) if mode is None else np.full(len(TOKENS), mode)
    ticks = random_ticks(1000, 1)
    frames = encode_frames(ticks, TOKENS, modes.astype(np.uint8), packets_per_frame)
    assert len(frames) == -(-1000 // packets_per_frame)
    decoder = KiteDecoder(TOKENS, SLOTS)
    back = np.concatenate([decoder.decode_frame(frame) for frame in frames])
    assert not any(decoder.malformed.values()) and len(back) == 1000
    assert (back["slot"] == ticks["slot"]).all() and (back["last_px"] == ticks["last_px"]).all()
    index = (TOKENS[ticks["slot"]] & 0xFF) == 9
    sent = modes[ticks["slot"]]
    kinds = np.select(
        [sent == LTP, index & (sent == QUOTE), index, sent == QUOTE],
        [TickKind.LTP, TickKind.INDEX_QUOTE, TickKind.INDEX_FULL, TickKind.QUOTE],
        TickKind.FULL,
    )
    assert (back["kind"] == kinds).all()
    carried = {
        "open_px high_px low_px close_px": sent > LTP,
        "last_qty average_px volume total_buy_qty total_sell_qty": ~index & (sent > LTP),
        "exch_ns": sent == FULL,
        "oi oi_day_high oi_day_low last_trade_s bid_px ask_px": ~index & (sent == FULL),
        "bid_px_deep ask_px_deep bid_qty ask_qty bid_orders ask_orders": ~index & (sent == FULL),
    }
    for names, there in carried.items():
        for name in names.split():
            assert (back[name][there] == ticks[name][there]).all(), name
            assert not back[name][~there].any(), name


def test_official_client_reads_the_same() -> None:
    modes = (np.arange(len(TOKENS)) % 3 + 1).astype(np.uint8)
    client, decoder = KiteTicker("key", "token"), KiteDecoder(TOKENS, SLOTS)
    for frame in encode_frames(random_ticks(600, 2), TOKENS, modes, 50):
        ticks = decoder.decode_frame(frame)
        assert client._parse_binary(frame) == [tick_dict(t, int(TOKENS[t["slot"]])) for t in ticks]


def test_bytes_of_an_index_packet() -> None:
    tick = np.zeros(1, TICK)
    tick["last_px"], tick["close_px"], tick["exch_ns"] = 90, 100, 1_700_000_000_999_999_999
    tick["high_px"], tick["low_px"], tick["open_px"] = 95, 85, 92
    (frame,) = encode_frames(tick, np.array([256265], np.uint32), np.array([FULL], np.uint8), 10)
    assert frame == struct.pack(">HH6IiI", 1, 32, 256265, 90, 95, 85, 92, 100, -10, 1_700_000_000)


def test_volume_wraps_and_frames_have_their_counts() -> None:
    ticks = np.zeros(5, TICK)
    ticks["volume"] = 2**32 + 5
    frames = encode_frames(ticks, np.array([257], np.uint32), np.array([QUOTE], np.uint8), 2)
    assert [frame[:2] for frame in frames] == [b"\0\2", b"\0\2", b"\0\1"]
    assert struct.unpack(">I", frames[0][20:24]) == (5,)


def test_refusals() -> None:
    ticks, tokens, modes = np.zeros(2, TICK), np.array([257], np.uint32), np.array([FULL], np.uint8)
    assert encode_frames(ticks[:0], tokens, modes, 1) == []
    for packets in (0, 65536):
        with pytest.raises(ValueError, match="packets_per_frame"):
            encode_frames(ticks, tokens, modes, packets)
    for mode in (0, 4):
        with pytest.raises(ValueError, match="modes"):
            encode_frames(ticks, tokens, np.array([mode], np.uint8), 1)
    for name in ("low_px", "ask_px_deep"):
        bad = ticks.copy()
        bad[name] = -1
        with pytest.raises(ValueError, match="negative"):
            encode_frames(bad, tokens, modes, 1)
    ticks["slot"] = 1
    with pytest.raises(IndexError):
        encode_frames(ticks, tokens, modes, 1)
