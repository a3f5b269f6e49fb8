"""The engine's recordings of an Upstox feed played back: frames, compact rows, another broker's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from kite_hft._kite_decode import KiteDecoder
from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.layout import TICK, AuxKind
from kite_hft.memory.recording import Kind, Origin, file_name
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.sim.kite.frames import FULL, encode_frames
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.replay import Replay, open_replay
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.hub import Hub
from kite_hft.sim.upstox.recorded import open_recorded
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.sim.upstox.stream import FeedStyle, UpstoxStream
from kite_hft.trading.instruments import write_csv

INSTRUMENTS, BASE_PX = default_instruments(30, 1)
INSTRUMENTS = with_upstox_keys(INSTRUMENTS)
N = len(INSTRUMENTS)
KEYS = [row.upstox_key for row in INSTRUMENTS]
EXCHANGE_NS = 1_765_771_368_000_000_000
VALUES = [name for name in TICK.names or () if name not in ("seq", "recv_ns", "exch_ns", "flags")]


def decoder() -> UpstoxDecoder:
    ticks = np.array([row.tick_px for row in INSTRUMENTS], np.int32)
    return UpstoxDecoder(KEYS, np.arange(N, dtype=np.uint32), INSTRUMENTS.scales(), ticks)


def served(replay: Replay, rows: FeedRows, style: FeedStyle, mode: str, per_frame: int = 7) -> list[bytes]:
    """All frames that a client gets who asks for everything."""
    hub = Hub(
        replay, lambda ticks, now: None, lambda slots: np.empty(0, TICK),
        lambda: UpstoxStream(replay.instruments, rows, style=style, packets_per_frame=per_frame), speed=0,
    )  # fmt: skip
    hub.watch = rows.see
    frames: list[bytes] = []
    link = hub.connect(lambda data: frames.append(data) or 0, lambda text: None)
    request = {"guid": "1", "method": "sub", "data": {"mode": mode, "instrumentKeys": KEYS}}
    hub.on_message(link, json.dumps(request).encode(), 0, binary=True)
    hub.start(0)
    while not hub.ended or link.stream.frames:
        hub.step(1)
    return frames


def original(mode: str, n: int = 400) -> list[bytes]:
    """Frames of a market as Upstox sends them, partial ones among them."""
    times, ticks = SyntheticMarket(INSTRUMENTS, BASE_PX, 100.0, 1, EXCHANGE_NS).take(10**12, n)
    style = FeedStyle(start_ms=EXCHANGE_NS // 1_000_000)
    return served(Replay(INSTRUMENTS, times, ticks), FeedRows(INSTRUMENTS), style, mode, 3)


def writer_of(folder: Path, kind: Kind, connection: int = 0, broker: str = "upstox") -> RecordingWriter:
    write_csv(INSTRUMENTS, folder / "instruments.csv")
    digest = hashlib.sha256((folder / "instruments.csv").read_bytes()).hexdigest()
    origin = Origin(kind, connection, digest, 0, EXCHANGE_NS, broker)
    return RecordingWriter(folder / file_name(kind, connection), origin, b"boot")


def record_frames(folder: Path, frames: list[bytes], connection: int = 0, broker: str = "upstox") -> None:
    writer = writer_of(folder, Kind.FRAMES, connection, broker)
    for number, data in enumerate(frames, 1):
        writer.write_frame(10_000 + number * 1_000_000, number, data, number)
    writer.close()


def told(frames: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(ticks, AUX) as an engine reads them."""
    reader = decoder()
    pairs = [reader.decode_both(data) for data in frames]
    return np.concatenate([t for t, _ in pairs]), np.concatenate([a for _, a in pairs])


@pytest.mark.parametrize("broker", ["upstox", ""])
@pytest.mark.parametrize("mode", ["full", "option_greeks", "ltpc"])
def test_what_was_recorded_is_told_again(tmp_path: Path, mode: str, broker: str) -> None:
    frames = original(mode)
    record_frames(tmp_path, frames, broker=broker)
    replay, rows, ticks = open_recorded(tmp_path)
    assert rows is not None and replay.notes == ()
    feed = FeedRows(replay.instruments, recorded=rows, recorded_ticks=ticks)
    again = served(replay, feed, FeedStyle(partial=False), mode)
    (first, aux), (second, aux_again) = told(frames), told(again)
    assert len(first) == len(second) == len(replay) > 300
    for name in [*VALUES, "exch_ns"]:  # in frames of several instruments, too, each has its own time
        assert np.array_equal(first[name], second[name]), name
    assert len(again) < len(second) and len(np.unique(first["exch_ns"])) > 1
    if mode == "ltpc":
        return
    greeks = [a[a["kind"] == AuxKind.GREEKS] for a in (aux, aux_again)]
    newest = [{int(r["slot"]): np.nan_to_num(r["values"][:6], nan=-9).tolist() for r in f} for f in greeks]
    assert newest[0] == newest[1] and newest[0]
    if mode == "full":
        bars = [a[(a["kind"] == AuxKind.BAR) & (a["part"] == 0)]["values"][:, :6] for a in (aux, aux_again)]
        assert np.array_equal(*bars) and len(bars[0])


def test_compact_rows_are_played(tmp_path: Path) -> None:
    ticks, _ = told(original("full"))
    ticks["recv_ns"] = 10_000 + np.arange(len(ticks)) * 1_000_000
    writer = writer_of(tmp_path, Kind.ROWS)
    writer.write_rows(ticks, len(ticks), len(ticks))
    writer.close()
    replay, rows, _ = open_recorded(tmp_path)
    assert rows is None and replay.notes == ()
    second, _ = told(served(replay, FeedRows(replay.instruments), FeedStyle(partial=False), "full"))
    for name in ("slot", "last_px", "last_qty", "bid_px", "ask_px", "close_px", "volume"):
        assert np.array_equal(ticks[name], second[name]), name


def test_rows_beside_frames_keep_what_they_are(tmp_path: Path) -> None:
    """Connection 1 was recorded in compact rows alone: nothing of connection 0's frames is told of it."""
    record_frames(tmp_path, original("full", 60))
    ticks, _ = told(original("full", 60))
    ticks["recv_ns"] = 20_000 + np.arange(len(ticks)) * 1_000_000
    ticks["last_px"] += 500
    writer = writer_of(tmp_path, Kind.ROWS, 1)
    writer.write_rows(ticks, len(ticks), len(ticks))
    writer.close()
    replay, rows, recorded = open_recorded(tmp_path)
    feed = FeedRows(replay.instruments, recorded=rows, recorded_ticks=recorded)
    found = feed.rows(replay.ticks)
    scale = replay.instruments.scales()[replay.ticks["slot"]]
    assert np.array_equal(found["ltp"], replay.ticks["last_px"] / scale)


def kites_frames() -> list[bytes]:
    _times, ticks = SyntheticMarket(INSTRUMENTS, BASE_PX, 100.0, 2, EXCHANGE_NS).take(10**12, 50)
    return encode_frames(ticks, INSTRUMENTS.tokens(), np.full(N, FULL, np.uint8), 10)


def test_another_brokers_recording_is_played_and_said(tmp_path: Path) -> None:
    record_frames(tmp_path, original("full", 50))
    replay = open_replay(tmp_path)  # on the simulator of Kite
    assert replay.notes == (
        "frames-0.rec: holds upstox's market data: kite's frames are made from its ticks",
    )
    ticks = replay.ticks
    frames = replay.encode(ticks, INSTRUMENTS.tokens(), np.full(N, FULL, np.uint8), 1)
    reader = KiteDecoder(INSTRUMENTS.tokens(), np.arange(N, dtype=np.uint32))
    assert [int(reader.decode_frame(f)["last_px"][0]) for f in frames] == ticks["last_px"].tolist()

    (tmp_path / "frames-0.rec").unlink()
    record_frames(tmp_path, kites_frames(), broker="kite")
    replay, rows, _ = open_recorded(tmp_path)
    assert rows is None and len(replay) == 50
    assert replay.notes == (
        "frames-0.rec: holds kite's market data: upstox's frames are made from its ticks",
    )


def test_of_two_brokers_his_own_is_played(tmp_path: Path) -> None:
    record_frames(tmp_path, original("full", 50))
    record_frames(tmp_path, kites_frames(), 1, "kite")
    replay, rows, _ = open_recorded(tmp_path)
    assert rows is not None
    assert replay.notes == ("frames-1.rec: holds kite's market data; upstox's is played",)
    replay = open_replay(tmp_path)
    assert len(replay) == 50
    assert replay.notes == ("frames-0.rec: holds upstox's market data; kite's is played",)
