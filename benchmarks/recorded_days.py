"""Minutes out of a recorded day of 9,000 instruments, as a run folder: what bench_convert.py converts.

synthetic: the simulator's own market at 2 ticks a second and instrument, which go round in turn: kind to
whoever compresses. recorded: the nine instruments of a real feed, each copied a thousand times.
A copy begins at another moment of the day and has prices, day volume, open interest and lot moved
by amounts of its own, so that no two rows beside one another repeat what stood before; what a real
market has more of is kinds of instruments. Rows are in order of arrival; reads gather what came in
2 ms, or 30 ticks, and arrive with some jitter.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from kite_hft.layout import TICK
from kite_hft.memory.recording import Kind, Origin, file_name
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.sim.market.replay import open_replay
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import write_csv

INSTRUMENTS, CONNECTIONS, SEED = 9000, 3, 1
MONO_NS, START_NS = 10**13, 1_795_000_000_000_000_000
READ_NS = 2_000_000
FRAME_TICKS = 30
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "upstox_v3_20251215"
"""The real feed, beside the project and no part of it."""


def synthetic(rows: int) -> np.ndarray:
    """(rows,) TICK."""
    table, base = default_instruments(INSTRUMENTS, SEED)
    times, ticks = SyntheticMarket(table, base, 2.0, SEED, START_NS).take(1 << 62, rows)
    random = np.random.default_rng(SEED)
    ticks["connection"] = ticks["slot"] // (INSTRUMENTS // CONNECTIONS)
    for connection in range(CONNECTIONS):
        mine = np.flatnonzero(ticks["connection"] == connection)
        frame = np.arange(len(mine)) // FRAME_TICKS
        ends = times[mine[np.minimum((frame + 1) * FRAME_TICKS, len(mine)) - 1]]
        ticks["recv_ns"][mine] = MONO_NS + ends + random.gamma(2.0, 30_000, frame[-1] + 1).astype(int)[frame]
    return ticks[np.argsort(ticks["recv_ns"], kind="stable")]


def recorded(rows: int) -> np.ndarray | None:
    """(up to rows,) TICK; None: the real feed is not there."""
    if not DATA.is_dir():
        return None
    times, ticks = open_replay(DATA).take(1 << 62, 1 << 62)
    streams = [np.flatnonzero(ticks["slot"] == slot) for slot in np.unique(ticks["slot"])]
    per_second = len(ticks) / (times[-1] / 1e9) / len(streams) * INSTRUMENTS
    random, span_ns = np.random.default_rng(SEED), int(1.3 * rows / per_second * 1e9)
    parts = []
    for slot in range(INSTRUMENTS):
        stream = streams[slot % len(streams)]
        start = int(random.integers(0, int(times[-1]) * 9 // 10 - span_ns))
        first, last = np.searchsorted(times[stream], (start, start + span_ns))
        part = ticks[stream[first:last]].copy()
        part["recv_ns"] = times[stream[first:last]] - start + random.integers(0, 10**9)
        part["slot"] = slot
        shift, lot = int(random.integers(0, 200_000)) * 5, int(random.integers(1, 100))
        for name in ("last_px", "bid_px", "ask_px", "close_px"):
            part[name] += shift
        part["last_qty"] *= lot
        part["volume"] = part["volume"] * lot + int(random.integers(0, 10**7))
        part["oi"] += np.where(part["oi"] > 0, int(random.integers(0, 10**6)) * 25, 0).astype(np.uint32)
        parts.append(part)
    found = np.concatenate(parts)
    found["connection"] = found["slot"] // (INSTRUMENTS // CONNECTIONS)
    reads = found["recv_ns"] // READ_NS
    jitter = random.integers(0, READ_NS * 3 // 4, int(reads.max()) * CONNECTIONS + CONNECTIONS)
    found["recv_ns"] = MONO_NS + reads * READ_NS + jitter[reads * CONNECTIONS + found["connection"]]
    found["exch_ns"] = START_NS + (found["recv_ns"] - MONO_NS) // 10**9 * 10**9
    return found[np.argsort(found["recv_ns"], kind="stable")][:rows]


def write(folder: Path, ticks: np.ndarray) -> Path:
    """A run folder with the recordings of all connections."""
    folder.mkdir()
    instruments = folder / "instruments.csv"
    write_csv(default_instruments(INSTRUMENTS, SEED)[0], instruments)
    digest = hashlib.sha256(instruments.read_bytes()).hexdigest()
    for connection in range(CONNECTIONS):
        mine = ticks[ticks["connection"] == connection]
        mine["seq"] = np.arange(len(mine))
        origin = Origin(Kind.ROWS, connection, digest, MONO_NS, START_NS)
        writer = RecordingWriter(folder / file_name(Kind.ROWS, connection), origin, b"bench")
        for at in range(0, len(mine), 4096):
            part = np.ascontiguousarray(mine[at : at + 4096], TICK)
            writer.write_rows(part, len(part), at + len(part))
        writer.close()
    return folder
