"""Damaged frames: each of exactly one class for a strict reader, and what it still reads."""

from __future__ import annotations

import random

import numpy as np
import pytest
from raw_ticks import Malformed, parse

from kite_hft import _kite_decode
from kite_hft.layout import TICK
from kite_hft.sim.kite.damage import packet_starts, recounted, truncated, with_unknown_packet
from kite_hft.sim.kite.frames import encode_frames
from kite_hft.sim.market.universe import default_instruments

TABLE, _ = default_instruments(20, 1)
TOKENS = TABLE.tokens()


def frame(slots: list[int], modes: list[int]) -> bytes:
    rows = np.zeros(len(slots), TICK)
    rows["slot"], rows["last_px"], rows["volume"] = slots, np.arange(len(slots)) + 100, 7
    by_slot = np.ones(len(TABLE), np.uint8)
    by_slot[slots] = modes
    return encode_frames(rows, TOKENS, by_slot, 3000)[0]


FRAMES = [
    frame([3], [1]),
    frame([3], [3]),
    frame([0, 1, 2, 3, 4], [1, 2, 3, 3, 1]),
    frame(list(range(20)), [3] * 20),
]


def classes(data: bytes) -> tuple[dict[str, int], int]:
    """The engine's decoder on a frame: (malformed classes that counted, ticks)."""
    decoder = _kite_decode.KiteDecoder(TOKENS, np.arange(len(TABLE), dtype=np.uint32))
    ticks = len(decoder.decode_frame(data))
    return {name: n for name, n in decoder.malformed.items() if n}, ticks


@pytest.mark.parametrize("whole", FRAMES, ids=len)
def test_starts_walk_the_packets(whole: bytes) -> None:
    starts = packet_starts(whole)
    assert starts[0] == 2 and starts[-1] == len(whole) and len(starts) == len(parse(whole)[0]) + 1


@pytest.mark.parametrize("whole", FRAMES, ids=len)
def test_truncated_is_a_cut_packet_wherever_it_falls(whole: bytes) -> None:
    seen = set()
    for seed in range(500):
        data, kept = truncated(whole, random.Random(seed))
        assert whole.startswith(data) and len(data) < len(whole)
        with pytest.raises(Malformed) as error:
            parse(data)
        assert (error.value.args[0], len(error.value.args[1])) == ("cut_packet", kept)
        assert classes(data) == ({"cut_packet": 1}, kept)
        seen.add(kept)
    assert seen == set(range(len(packet_starts(whole)) - 1))


@pytest.mark.parametrize("whole", FRAMES, ids=len)
@pytest.mark.parametrize("by", [1, 2, 70_000, -1, -3, -70_000])
def test_recounted_is_a_wrong_count_or_trailing_bytes(whole: bytes, by: int) -> None:
    data, kept = recounted(whole, by)
    damage = "wrong_count" if by > 0 else "trailing_bytes"
    with pytest.raises(Malformed) as error:
        parse(data)
    assert (error.value.args[0], len(error.value.args[1])) == (damage, kept)
    assert classes(data) == ({damage: 1}, kept) and data[2:] == whole[2:]
    assert (kept == len(parse(whole)[0])) == (by > 0)


@pytest.mark.parametrize("whole", FRAMES, ids=len)
@pytest.mark.parametrize("length", [1, 7, 99, 185, 999])
def test_an_unknown_packet_costs_no_tick(whole: bytes, length: int) -> None:
    places = set()
    for seed in range(60):
        data = with_unknown_packet(whole, length, random.Random(seed))
        assert parse(data) == (parse(whole)[0], 1)
        assert classes(data) == ({"unknown_length": 1}, len(parse(whole)[0]))
        places.add(next(i for i in range(2, len(data)) if data[i : i + 1] != whole[i : i + 1]))
    assert len(places) > 1
