"""The engine's recordings played back: rows as far as they go, frames to the bit, gaps told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from kite_hft._kite_decode import KiteDecoder
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import TICK
from kite_hft.memory.recording import Gap, GapReason, Kind, Origin, file_name
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.sim.kite.frames import FULL, LTP, QUOTE, encode_frames
from kite_hft.sim.kite.stream import KiteStream
from kite_hft.sim.market.recordings import packets_of
from kite_hft.sim.market.replay import Replay, ReplayError, open_replay
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.hub import Hub
from kite_hft.trading.instruments import write_csv

INSTRUMENTS, BASE_PX = default_instruments(60, 1)
TOKENS = INSTRUMENTS.tokens()
EXCHANGE_NS = 1_765_771_368_000_000_000
OFFSET_NS = EXCHANGE_NS - 7_000


def market(n: int, seed: int = 1) -> np.ndarray:
    """`n` TICKs of a synthetic market as a feed would publish them, `recv_ns` 1 ms apart."""
    _times, ticks = SyntheticMarket(INSTRUMENTS, BASE_PX, 100.0, seed, EXCHANGE_NS).take(10**12, n)
    modes = np.full(len(TOKENS), FULL, np.uint8)
    decoder = KiteDecoder(TOKENS, np.arange(len(TOKENS), dtype=np.uint32))
    found = [decoder.decode_frame(f) for f in encode_frames(ticks, TOKENS, modes, 1)]
    ticks = np.frombuffer(b"".join(t.tobytes() for t in found), TICK).copy()
    ticks["recv_ns"] = 10_000 + np.arange(n) * 1_000_000
    return ticks


def record(folder: Path, kind: Kind, connection: int = 0) -> RecordingWriter:
    write_csv(INSTRUMENTS, folder / "instruments.csv")
    digest = hashlib.sha256((folder / "instruments.csv").read_bytes()).hexdigest()
    origin = Origin(kind, connection, digest, 0, OFFSET_NS)
    return RecordingWriter(folder / file_name(kind, connection), origin, b"boot")


def recorded_rows(folder: Path, ticks: np.ndarray, connection: int = 0) -> None:
    writer = record(folder, Kind.ROWS, connection)
    writer.write_rows(ticks, len(ticks), len(ticks))
    writer.close()


def drain(replay: Replay) -> tuple[np.ndarray, np.ndarray]:
    return replay.take(1 << 62, 10**9)


def test_rows_come_back_with_their_level_and_their_times(tmp_path: Path) -> None:
    ticks = market(500)
    recorded_rows(tmp_path, ticks)
    for path in (tmp_path, tmp_path / "ticks-0.rec"):
        times, found = drain(open_replay(path))
        assert np.array_equal(times, np.arange(500) * 1_000_000)
        for name in (
            "slot",
            "last_px",
            "last_qty",
            "bid_px",
            "ask_px",
            "close_px",
            "oi",
            "volume",
            "exch_ns",
        ):
            assert np.array_equal(found[name], ticks[name]), name
        for name in ("bid_qty", "ask_qty", "bid_px_deep", "open_px", "total_buy_qty"):
            assert not found[name].any(), name
        tokens = TOKENS[ticks["slot"]]
        assert tick_checksum(tokens, found["last_px"], found["volume"]) == tick_checksum(
            tokens, ticks["last_px"], ticks["volume"]
        )


def test_connections_are_merged_by_time(tmp_path: Path) -> None:
    ticks = market(300)
    recorded_rows(tmp_path, ticks[::2].copy(), 0)
    recorded_rows(tmp_path, ticks[1::2].copy(), 1)
    _, found = drain(open_replay(tmp_path))
    assert np.array_equal(found["recv_ns"], ticks["recv_ns"])


def frames_of(ticks: np.ndarray, modes: np.ndarray, per_frame: int) -> list[bytes]:
    """Frames with something in the bytes that no TICK holds: the padding of the depth levels."""
    frames = []
    for frame in encode_frames(ticks, TOKENS, modes, per_frame):
        at, out = 2, bytearray(frame)
        while at < len(frame):
            length = int.from_bytes(frame[at : at + 2])
            if length == 184:
                for level in range(10):
                    out[at + 2 + 64 + 12 * level + 10] = 0xA5
            at += 2 + length
        frames.append(bytes(out))
    return frames


def record_frames(folder: Path, frames: list[bytes]) -> None:
    writer = record(folder, Kind.FRAMES)
    for number, data in enumerate([b"\0", *frames], 1):  # a heartbeat among them
        writer.write_frame(10_000 + number * 1_000_000, number, data, number)
    writer.close()


def served(replay: Replay, mode: str, per_frame: int = 7) -> list[bytes]:
    """The packets that a client gets who asks for everything in `mode`."""
    make = lambda: KiteStream(replay.instruments, per_frame, False, replay.encode)  # noqa: E731
    hub = Hub(replay, lambda ticks, now: None, lambda slots: np.empty(0, TICK), make, speed=0)
    frames: list[bytes] = []
    link = hub.connect(lambda data: frames.append(data) or 0, lambda text: None)
    tokens = TOKENS.tolist()
    hub.on_message(link, f'{{"a":"subscribe","v":{tokens}}}'.encode(), 0)
    hub.on_message(link, f'{{"a":"mode","v":["{mode}",{tokens}]}}'.encode(), 0)
    hub.start(0)
    while not hub.ended or link.stream.frames:
        hub.step(1)
    return [packet for frame in frames for packet in packets_of(frame)]


@pytest.mark.parametrize("mode", ["full", "quote", "ltp"])
def test_recorded_packets_are_served_to_the_bit(tmp_path: Path, mode: str) -> None:
    modes = np.full(len(TOKENS), {"full": FULL, "quote": QUOTE, "ltp": LTP}[mode], np.uint8)
    frames = frames_of(market(400), modes, 30)
    record_frames(tmp_path, frames)
    recorded = [packet for frame in frames for packet in packets_of(frame)]
    assert len(recorded) == 400
    assert served(open_replay(tmp_path), mode) == recorded


def test_another_mode_is_encoded_from_the_recorded_fields(tmp_path: Path) -> None:
    ticks = market(100)
    record_frames(tmp_path, frames_of(ticks, np.full(len(TOKENS), FULL, np.uint8), 10))
    modes = np.full(len(TOKENS), QUOTE, np.uint8)
    expected = [p for f in encode_frames(ticks, TOKENS, modes, 1) for p in packets_of(f)]
    assert served(open_replay(tmp_path), "quote") == expected


def test_a_tick_that_was_altered_since_is_encoded_anew(tmp_path: Path) -> None:
    ticks = market(50)
    modes = np.full(len(TOKENS), FULL, np.uint8)
    record_frames(tmp_path, frames_of(ticks, modes, 10))
    replay = open_replay(tmp_path)
    _, found = drain(replay)
    found = found.copy()
    found["last_px"][3] += 5
    packets = [p for f in replay.encode(found, TOKENS, modes, 10) for p in packets_of(f)]
    assert packets[3] == packets_of(encode_frames(found[3:4], TOKENS, modes, 1)[0])[0]
    assert packets[4][64 + 10] == 0xA5 or len(packets[4]) != 184


def test_packets_that_are_no_tick_are_left_out(tmp_path: Path) -> None:
    good = encode_frames(market(3), TOKENS, np.full(len(TOKENS), FULL, np.uint8), 3)[0]
    unknown = (8).to_bytes(2) + (77).to_bytes(4) + (5).to_bytes(4)
    odd = (5).to_bytes(2) + b"hello"
    mixed = (5).to_bytes(2) + unknown + good[2:] + odd
    record_frames(tmp_path, [mixed, b"", mixed[:-3]])
    found = served(open_replay(tmp_path), "full")
    assert found == packets_of(good) * 2


def test_frames_count_where_both_were_recorded(tmp_path: Path) -> None:
    ticks = market(40)
    recorded_rows(tmp_path, ticks)
    recorded_rows(tmp_path, ticks, 1)  # of this connection there are no frames
    record_frames(tmp_path, frames_of(ticks, np.full(len(TOKENS), FULL, np.uint8), 10))
    replay = open_replay(tmp_path)
    _, found = drain(replay)
    assert len(found) == 80
    assert np.count_nonzero(found["bid_qty"].any(axis=1)) > 20


def test_a_gap_stays_a_silence_and_is_told(tmp_path: Path) -> None:
    ticks = market(20)
    ticks["recv_ns"][10:] += 3_000_000_000
    writer = record(tmp_path, Kind.ROWS)
    writer.write_rows(ticks, 10, 10)
    writer.write_gap(Gap(2_500_000_000, 123, GapReason.RESTART, 0), OFFSET_NS, 133)
    writer.write_rows(np.ascontiguousarray(ticks[10:]), 10, 143)
    writer._slots["closed"][:] = 0  # killed
    replay = open_replay(tmp_path)
    times, found = drain(replay)
    assert len(found) == 20 and np.diff(times)[9] == 3_001_000_000
    assert replay.notes == (
        "ticks-0.rec: 123 rows are missing before 2025-12-15 09:32:50 (restart)",
        "ticks-0.rec: was not closed in order; it ends with its last whole record",
    )


def test_a_reboot_moves_the_clock_and_a_night_is_cut(tmp_path: Path) -> None:
    ticks = market(3)
    writer = record(tmp_path, Kind.ROWS)
    writer.write_rows(ticks, 1, 1)
    late = ticks[1:].copy()
    late["recv_ns"] = [5, 500]  # the monotonic clock began anew
    night = 10 * 3600 * 10**9
    writer.write_gap(Gap(1, 0, GapReason.RESTART, 0), OFFSET_NS + night, 1)
    writer.write_rows(late, 2, 3)
    writer.close()
    times, _ = drain(open_replay(tmp_path))
    assert times.tolist() == [0, 10**9, 10**9 + 495]


def test_what_cannot_be_replayed_is_said(tmp_path: Path) -> None:
    recorded_rows(tmp_path, market(5))
    with (tmp_path / "instruments.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(ReplayError, match=r"recorded with another instruments\.csv"):
        open_replay(tmp_path)
    (tmp_path / "instruments.csv").unlink()
    with pytest.raises(ReplayError, match="needs its instrument list"):
        open_replay(tmp_path)
    (tmp_path / "ticks-0.rec").write_bytes(b"nonsense")
    with pytest.raises(ReplayError, match="not a recording of kite_hft"):
        open_replay(tmp_path / "ticks-0.rec")


def test_an_empty_recording_is_said(tmp_path: Path) -> None:
    record(tmp_path, Kind.ROWS).close()
    with pytest.raises(ReplayError, match=r"nothing is recorded in ticks-0\.rec"):
        open_replay(tmp_path)
