"""Ticks read backwards out of a ring, and bars of the engine's kernel."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import kite_hft.app.face.history as history
from kite_hft._ring import RingReader, RingWriter
from kite_hft.app.face.history import Bars, Rings
from kite_hft.layout import TICK, SegmentKind, TickFlag
from kite_hft.memory.generations import next_generation, point
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.trading.instruments import Instrument, InstrumentTable

ROW = Instrument(0, 738561, 2885, "RELIANCE", "NSE", "NSE", "EQ", 5, 1, multiplier=1)
S = 1_000_000_000


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    made = make_directory(tmp_path, "rings")
    now = time.monotonic_ns()
    point(create(made, "ticks-0", SegmentKind.TICK_RING, 64, now_mono_ns=now, now_real_ns=now))
    return made


def ticks(n: int, first: int = 0) -> np.ndarray:
    found = np.zeros(n, TICK)
    found["slot"] = (first + np.arange(n)) % 2
    found["last_px"] = 100_00 + first + np.arange(n)
    found["recv_ns"] = first + np.arange(n)
    return found


@pytest.mark.parametrize("chunk", [3, 16, 1000])
def test_the_newest_ticks_of_a_slot_oldest_first(
    ring: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(history, "CHUNK", chunk)
    rings = Rings(ring, 1)
    assert not len(rings.newest(0, 5)), "an empty ring"
    with attach(ring / "ticks-0.g1.seg", SegmentKind.TICK_RING, writable=True) as segment:
        writer = RingWriter(segment.view)
        writer.publish(ticks(21))
        assert rings.newest(1, 4)["last_px"].tolist() == [100_13, 100_15, 100_17, 100_19]
        assert len(rings.newest(1, 1000)) == 10 and len(rings.newest(0, 1000)) == 11
        writer.publish(ticks(60, 21))
        writer.publish(ticks(60, 81))
        kept = rings.newest(0, 1000)
        assert kept["last_px"][-1] == 100_00 + 140 and 0 < len(kept) <= 32
        assert (np.diff(kept["seq"]) == 2).all(), "whole, without a hole"
        assert rings.capacity() == 64
        del writer
    rings.close()


def test_a_writer_that_overtakes_the_look_leaves_no_tick_twice(
    ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHUNK", 16)
    with attach(ring / "ticks-0.g1.seg", SegmentKind.TICK_RING, writable=True) as segment:
        writer = RingWriter(segment.view)
        writer.publish(ticks(60))

        def overtaken(view: memoryview, start: str | int) -> RingReader:
            """Between two chunks the writer goes on by half a ring."""
            if start != "newest":
                writer.publish(ticks(32, writer.next_seq))
            return RingReader(view, start)

        monkeypatch.setattr(history, "RingReader", overtaken)
        rings = Rings(ring, 1)
        found = rings.newest(0, 1000)["seq"]
        assert len(found) and (np.diff(found.astype(np.int64)) > 0).all(), found
        rings.close()


def test_it_goes_on_in_the_next_generation(ring: Path) -> None:
    rings, now = Rings(ring, 1), time.monotonic_ns()
    path = ring / "ticks-0.g1.seg"
    with attach(path, SegmentKind.TICK_RING, writable=True) as segment:
        RingWriter(segment.view).publish(ticks(4))
    assert len(rings.newest(0, 9)) == 2
    second = next_generation(path, SegmentKind.TICK_RING, now_mono_ns=now, now_real_ns=now)
    with attach(second, SegmentKind.TICK_RING, writable=True) as segment:
        RingWriter(segment.view).publish(ticks(2, 4))
        assert rings.newest(0, 9)["last_px"].tolist() == [100_04]
    rings.close()


def test_bars_are_those_of_the_seconds_and_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BARS_KEPT", 8)
    bars = Bars(InstrumentTable((ROW,)), 200)
    made = np.zeros(130, TICK)
    made["flags"] = TickFlag.EXCHANGE_TIME | TickFlag.TRADE
    made["exch_ns"] = 1_795_296_240 * S + np.arange(130) * S
    made["last_px"] = 100_00 + np.arange(130)
    made["volume"] = 10 * (1 + np.arange(130))
    for first in range(0, 130, 13):
        bars.add(np.ascontiguousarray(made[first : first + 13]), 13)
    minutes = bars.newest(ROW, 5, 60)
    assert minutes["start_ns"].tolist() == [1_795_296_240 * S, 1_795_296_300 * S]
    # The first message tells the day's volume so far, which is no trade of this bar.
    assert minutes["open"].tolist() == [100.01, 100.6] and minutes["close"].tolist() == [100.59, 101.19]
    assert minutes["ticks"].tolist() == [59, 60] and minutes["volume"].tolist() == [590, 600]
    seconds = bars.newest(ROW, 100, 1)
    assert len(seconds) == 8 and seconds["close"][-1] == 101.28, "the newest are kept"
    assert bars.newest(ROW, 3, 1)["close"].tolist() == [101.26, 101.27, 101.28]
