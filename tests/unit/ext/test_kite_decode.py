"""Every packet kind, every malformed class and the extremes of every field, by hand-made frames."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from kite_hft._kite_decode import KiteDecoder
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import COUNTERS, NO_SLOT, TICK, TickFlag, TickKind

INFY, CDS, NIFTY = 408065, 1024003, 256265
SLOTS = {INFY: 7, CDS: 3, NIFTY: 0, 0xFFFFFF01: 9, 0: 5}
TIMES = TickFlag.EXCHANGE_TIME | TickFlag.LAST_TRADE_TIME


class CodePath:
    """Which code path the tests below run on: the fixture sets it."""

    portable = False


@pytest.fixture(autouse=True, params=["this processor", "portable"])
def code_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CodePath, "portable", request.param == "portable")


def make_decoder(connection: int = 0) -> KiteDecoder:
    tokens, slots = np.array(list(SLOTS), np.uint32), np.array(list(SLOTS.values()), np.uint32)
    return KiteDecoder(tokens, slots, connection, CodePath.portable)


def frame_of(*packets: bytes, count: int | None = None) -> bytes:
    body = b"".join(struct.pack(">H", len(packet)) + packet for packet in packets)
    return struct.pack(">H", len(packets) if count is None else count) + body


def ltp(token: int = INFY, price: int = 100) -> bytes:
    return struct.pack(">2I", token, price)


def full(token: int = INFY, first: int = 1000) -> bytes:
    """Every number different, so that two swapped fields cannot hide; padding is not zero."""
    head = [token, *range(first, first + 15)]
    levels = [n for i in range(10) for n in (first + 100 + i, first + 200 + i, 300 + i, 0xDEAD)]
    return struct.pack(">16I" + "2I2H" * 10, *head, *levels)


def nonzero_fields(tick: np.void) -> set[str]:
    return {name for name in TICK.names or () if np.any(tick[name])}


def malformed_counts(decoder: KiteDecoder) -> dict[str, int]:
    return {name: n for name, n in decoder.malformed.items() if n}


def test_ltp_fills_nothing_else() -> None:
    (tick,) = make_decoder(2).decode_frame(frame_of(ltp()), 55)
    assert nonzero_fields(tick) == {"recv_ns", "slot", "kind", "connection", "last_px"}
    assert (tick["recv_ns"], tick["slot"], tick["connection"], tick["last_px"]) == (55, 7, 2, 100)
    assert tick["kind"] == TickKind.LTP and tick["flags"] == 0


def test_index_packets_are_high_low_open_close() -> None:
    quote = struct.pack(">7I", NIFTY, 10, 20, 30, 40, 50, 0xFFFFFFFF)
    one, two = make_decoder().decode_frame(frame_of(quote, quote + struct.pack(">I", 1_700_000_000)), 1)
    for tick, kind in ((one, TickKind.INDEX_QUOTE), (two, TickKind.INDEX_FULL)):
        prices = ("last_px", "high_px", "low_px", "open_px", "close_px")
        assert [int(tick[name]) for name in prices] == [10, 20, 30, 40, 50]
        assert tick["kind"] == kind
        assert nonzero_fields(tick) - {"exch_ns"} == {"recv_ns", "flags", "kind", *prices}
    assert (one["exch_ns"], two["exch_ns"]) == (0, 1_700_000_000_000_000_000)
    assert one["flags"] == TickFlag.OHLC | TickFlag.INDEX
    assert two["flags"] == TickFlag.OHLC | TickFlag.INDEX | TickFlag.EXCHANGE_TIME


def test_quote_fields() -> None:
    (tick,) = make_decoder().decode_frame(frame_of(full()[:44]), 1)
    names = ["last_px", "last_qty", "average_px", "volume", "total_buy_qty", "total_sell_qty"]
    names += ["open_px", "high_px", "low_px", "close_px"]
    assert [int(tick[name]) for name in names] == list(range(1000, 1010))
    assert nonzero_fields(tick) == {*names, "recv_ns", "slot", "flags", "kind"}
    assert tick["kind"] == TickKind.QUOTE and tick["flags"] == TickFlag.TRADE | TickFlag.OHLC


def test_full_fields() -> None:
    (tick,) = make_decoder().decode_frame(frame_of(full()), 1)
    names = ["last_px", "last_qty", "average_px", "volume", "total_buy_qty", "total_sell_qty"]
    names += ["open_px", "high_px", "low_px", "close_px", "last_trade_s", "oi", "oi_day_high", "oi_day_low"]
    assert [int(tick[name]) for name in names] == list(range(1000, 1014))
    assert tick["exch_ns"] == 1014 * 10**9
    assert tick["bid_qty"].tolist() == [1100, 1101, 1102, 1103, 1104]
    assert tick["ask_qty"].tolist() == [1105, 1106, 1107, 1108, 1109]
    assert [int(tick["bid_px"]), *tick["bid_px_deep"].tolist()] == [1200, 1201, 1202, 1203, 1204]
    assert [int(tick["ask_px"]), *tick["ask_px_deep"].tolist()] == [1205, 1206, 1207, 1208, 1209]
    assert tick["bid_orders"].tolist() == [300, 301, 302, 303, 304]
    assert tick["ask_orders"].tolist() == [305, 306, 307, 308, 309]
    groups = TickFlag.TRADE | TickFlag.OHLC | TickFlag.DEPTH | TickFlag.OI | TIMES
    assert tick["kind"] == TickKind.FULL and tick["flags"] == groups
    assert tick["seq"] == 0


def test_quantities_are_unsigned_and_times_of_zero_absent() -> None:
    body = bytearray(b"\xff" * 184)
    body[0:4] = struct.pack(">I", INFY)
    for at in (4, 12, 28, 32, 36, 40, *range(68, 184, 12)):
        body[at : at + 4] = struct.pack(">I", 2**31 - 1)
    (tick,) = make_decoder().decode_frame(frame_of(bytes(body)))
    for name in ("last_qty", "volume", "total_buy_qty", "oi", "oi_day_low", "last_trade_s"):
        assert tick[name] == 2**32 - 1
    assert tick["exch_ns"] == (2**32 - 1) * 10**9
    assert (tick["bid_orders"] == 65535).all() and (tick["ask_qty"] == 2**32 - 1).all()
    assert (tick["ask_px_deep"] == 2**31 - 1).all() and tick["low_px"] == 2**31 - 1
    body[44:48] = body[60:64] = b"\0" * 4
    (tick,) = make_decoder().decode_frame(frame_of(bytes(body)))
    assert tick["exch_ns"] == 0 and not tick["flags"] & TIMES


def test_length_decides_the_kind_and_segment_the_index_flag() -> None:
    """As in the official client: 28 bytes of a share, 44 and 184 bytes of an index, ltp of an index."""
    share = struct.pack(">7I", INFY, 1, 2, 3, 4, 5, 6)
    frame = frame_of(share, full(NIFTY)[:44], full(NIFTY), ltp(NIFTY))
    ticks = make_decoder().decode_frame(frame)
    kinds = [TickKind.INDEX_QUOTE, TickKind.QUOTE, TickKind.FULL, TickKind.LTP]
    assert ticks["kind"].tolist() == kinds
    assert [bool(flags & TickFlag.INDEX) for flags in ticks["flags"]] == [False, True, True, True]


@pytest.mark.parametrize("at", [4, 12, 28, 32, 36, 40, *range(68, 184, 12)])
@pytest.mark.parametrize("price", [2**31, 2**32 - 1])
def test_a_price_beyond_int32_drops_its_packet_only(at: int, price: int) -> None:
    body = bytearray(full())
    body[at : at + 4] = struct.pack(">I", price)
    decoder = make_decoder()
    ticks = decoder.decode_frame(frame_of(ltp(price=1), bytes(body), ltp(price=2)))
    assert ticks["last_px"].tolist() == [1, 2]
    assert malformed_counts(decoder) == {"price_range": 1}
    assert (decoder.received, decoder.decoded) == (3, 2)


@pytest.mark.parametrize(
    ("length", "at"),
    [(8, 4), (28, 4), (28, 8), (28, 12), (28, 16), (28, 20), (32, 20), (44, 4), (44, 12), (44, 28), (44, 40)],
)
def test_price_range_in_every_kind(length: int, at: int) -> None:
    body = bytearray(full()[:length])
    body[at : at + 4] = b"\x80\0\0\0"
    decoder = make_decoder()
    assert len(decoder.decode_frame(frame_of(bytes(body)))) == 0
    assert malformed_counts(decoder) == {"price_range": 1}


GOOD = frame_of(ltp(price=1), ltp(price=2))


@pytest.mark.parametrize(
    ("frame", "prices", "counted"),
    [
        (b"", [], {"short_frame": 1}),
        (b"\0", [], {}),  # heartbeat
        (b"\0\0", [], {"short_frame": 1}),
        (b"\0\0\0", [], {"short_frame": 1}),
        (b"\0\0\0\0", [], {"trailing_bytes": 1}),
        (b"\0\1\0\0", [], {"unknown_length": 1}),
        (GOOD, [1, 2], {}),
        (frame_of(ltp(price=1), count=5), [1], {"wrong_count": 1}),
        (GOOD + b"x", [1, 2], {"trailing_bytes": 1}),
        (frame_of(ltp(price=1), ltp(price=2), count=1), [1], {"trailing_bytes": 1}),
        (GOOD[:-1], [1], {"cut_packet": 1}),
        (GOOD[:-8], [1], {"cut_packet": 1}),  # only the second length is left
        (GOOD[:-9], [1], {"cut_packet": 1}),  # half of it
        (GOOD[:-10], [1], {"wrong_count": 1}),
        (frame_of(ltp(price=1), b"y" * 99, b"", ltp(price=2)), [1, 2], {"unknown_length": 2}),
        (frame_of(full()[:44], ltp())[:22], [], {"cut_packet": 1}),  # the official client: two ltp ticks
        (frame_of(b"z" * 99, count=2), [], {"unknown_length": 1, "wrong_count": 1}),
    ],
)
@pytest.mark.parametrize("capacity", [0, 1])
def test_malformed_classes(frame: bytes, prices: list[int], counted: dict[str, int], capacity: int) -> None:
    decoder = make_decoder()
    assert decoder.decode_frame(frame, 0, capacity)["last_px"].tolist() == prices
    assert malformed_counts(decoder) == counted
    whole = decoder.decoded + decoder.unknown_instrument
    assert decoder.received == whole + counted.get("unknown_length", 0) + counted.get("price_range", 0)


def test_unknown_tokens_are_counted_not_emitted() -> None:
    decoder = make_decoder()
    ticks = decoder.decode_frame(frame_of(ltp(12345), ltp(0xFFFFFF01), ltp(0), full(999)))
    assert ticks["slot"].tolist() == [9, 5]
    assert (decoder.received, decoder.decoded, decoder.unknown_instrument) == (4, 2, 2)
    assert malformed_counts(decoder) == {}


def test_lookup_over_many_tokens() -> None:
    """Neighbouring exchange tokens of one segment, which is what a subscription looks like."""
    tokens = (np.arange(9000, dtype=np.uint32) << np.uint32(8)) | np.uint32(1)
    slots = np.random.default_rng(1).permutation(9000).astype(np.uint32)
    decoder = KiteDecoder(tokens, slots, portable=CodePath.portable)
    frame = frame_of(*(ltp(int(token)) for token in tokens))
    assert decoder.decode_frame(frame)["slot"].tolist() == slots.tolist()
    strangers = frame_of(*(ltp(int(token) + 1) for token in tokens))
    assert len(decoder.decode_frame(strangers)) == 0 and decoder.unknown_instrument == 9000


def test_decode_frames_fills_one_array() -> None:
    decoder, out = make_decoder(), np.zeros(3, TICK)
    assert decoder.decode_frames([GOOD, b"\0", frame_of(ltp(price=3))], out, 8) == 3
    assert out["last_px"].tolist() == [1, 2, 3] and out["recv_ns"].tolist() == [8, 8, 8]
    with pytest.raises(ValueError, match="room for 3"):
        decoder.decode_frames([GOOD, GOOD], out)
    with pytest.raises(ValueError, match="TICK"):
        decoder.decode_frames([GOOD], np.zeros(3, np.int64))
    with pytest.raises(TypeError):
        decoder.decode_frames([bytearray(GOOD)], out)  # type: ignore[list-item]


def test_counts_have_the_feed_counters_names_and_checksum_its_twin() -> None:
    decoder = make_decoder()
    ticks = decoder.decode_frame(frame_of(full(), ltp(CDS, 2**31 - 1), full(NIFTY, 5)[:44]))
    by_slot = {slot: token for token, slot in SLOTS.items()}
    tokens = [by_slot[slot] for slot in ticks["slot"].tolist()]
    expected = tick_checksum(tokens, ticks["last_px"], ticks["volume"])
    assert decoder.checksum == expected != 0
    assert tuple(decoder.counts()) == COUNTERS["feed"]
    assert decoder.counts()["checksum_decoded"] == expected
    assert decoder.live_counts[COUNTERS["feed"].index("decoded")] == 3
    assert list(decoder.malformed) == [
        "short_frame",
        "wrong_count",
        "unknown_length",
        "cut_packet",
        "trailing_bytes",
        "price_range",
    ]


def test_an_abandoned_frame_leaves_nothing_behind() -> None:
    """`decode_frames` gives up in the middle of a frame; the next frame starts afresh."""
    decoder = make_decoder()
    with pytest.raises(ValueError, match="room"):
        decoder.decode_frames([GOOD], np.zeros(1, TICK))
    assert decoder.decode_frame(GOOD)["last_px"].tolist() == [1, 2]
    assert malformed_counts(decoder) == {}


U32 = np.uint32


@pytest.mark.parametrize(
    ("tokens", "slots"),
    [
        (np.array([1, 1], U32), np.array([0, 1], U32)),
        (np.array([1, 2], U32), np.array([0], U32)),
        (np.array([1], U32), np.array([NO_SLOT], U32)),
        (np.array([1], np.int64), np.array([0], U32)),
        (np.array([[1]], U32), np.array([0], U32)),
        ([1], np.array([0], U32)),
    ],
)
def test_constructor_refuses(tokens: np.ndarray, slots: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError)):
        KiteDecoder(tokens, slots)


def test_no_tokens_at_all() -> None:
    decoder = KiteDecoder(np.array([], U32), np.array([], U32))
    assert len(decoder.decode_frame(frame_of(ltp(0)))) == 0 and decoder.unknown_instrument == 1


EXPECTED_MALFORMED = {
    "empty": {"short_frame": 1},
    "zero_count": {"short_frame": 1},
    "unknown_length_10_then_ltp": {"unknown_length": 1},
    "truncated_second_packet": {"cut_packet": 1},
    "count_larger_than_packets": {"wrong_count": 1},
}


@pytest.mark.data
def test_recorded_and_synthetic_vectors(data_dir: Path) -> None:
    """data/kite/expected.json; the dicts themselves are compared in brokers/kite/test_wire.py."""
    frames = json.loads((data_dir / "kite" / "expected.json").read_text())["frames"]
    assert len(frames) == 15 and EXPECTED_MALFORMED.keys() <= frames.keys()
    for name, entry in frames.items():
        frame = bytes.fromhex(entry["frame_hex"])
        tokens = {t["instrument_token"] for t in entry.get("ticks", [])} | {INFY}
        decoder = KiteDecoder(np.array(sorted(tokens), U32), np.arange(len(tokens), dtype=U32))
        # Where the official client raises, the packet before the damage is whole.
        wanted = 1 if name == "count_larger_than_packets" else len(entry["ticks"])
        assert len(decoder.decode_frame(frame)) == wanted, name
        assert malformed_counts(decoder) == EXPECTED_MALFORMED.get(name, {}), name
