"""The work whose instructions are counted: hot compiled calls on fixed inputs, one workload after another.

Started by count.py under callgrind, which collects inside the named calls only and dumps what it
has at each MARK. The inputs come from fixed seeds: the same build executes the same instructions.
Run by hand (`python benchmarks/instructions/workloads.py`) it does the same work uncounted.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _feed, _kernels, _kite_decode, _queue, _ring, _upstox_decode
from kite_hft.layout import BAR, COUNTERS, HISTOGRAMS, INTENT, KERNEL_ROW, TICK, SegmentKind, TickFlag
from kite_hft.memory.segment import attach, create, make_directory
from kite_hft.sim.kite.frames import FULL, encode_frames
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.upstox import frames as upstox_frames

INSTRUMENTS: Final = 3000
BATCH: Final = 100
ROUNDS: Final = 4
START_NS: Final = 1_765_770_000_000_000_000  # 09:10 IST of a trading day
MARK: Final = os.getppid  # a call that nothing else makes: callgrind dumps when it sees it


def segment(
    folder: Path, name: str, kind: SegmentKind, capacity: int, counters: int = 0, histograms: int = 0
) -> memoryview:
    """A whole segment, mapped."""
    path = create(
        folder, name, kind, capacity, counters=counters, histograms=histograms, now_mono_ns=1, now_real_ns=1
    )
    return attach(path, kind, writable=True).view


def frames() -> tuple[np.ndarray, list[bytes]]:
    """(tokens, frames): one full tick of every instrument, BATCH packets a frame."""
    table, base_px = default_instruments(INSTRUMENTS, 1)
    market = SyntheticMarket(table, base_px, 1.0, 1, START_NS)
    tokens = table.tokens()
    tokens = np.where(tokens & 0xFF == 9, tokens - 8, tokens).astype(np.uint32)  # all of them tradable
    return tokens, encode_frames(market.opening(), tokens, np.full(len(tokens), FULL, np.uint8), BATCH)


def ticks(n: int) -> np.ndarray:
    """(n,) TICK: random slots, prices that walk, day volumes that grow."""
    random = np.random.default_rng(1)
    made = np.zeros(n, TICK)
    made["slot"] = random.integers(0, INSTRUMENTS, n)
    made["last_px"] = 100_000 + np.cumsum(random.integers(-3, 4, n))
    made["volume"] = np.arange(1, n + 1) * 10
    made["flags"] = TickFlag.TRADE | TickFlag.EXCHANGE_TIME
    made["exch_ns"] = START_NS + np.arange(n) // (2 * INSTRUMENTS) * 1_000_000_000
    made["recv_ns"] = np.arange(n) // 30 * 1_000_000  # one socket read per 30 ticks
    return made


def decode(folder: Path) -> tuple[int, Callable[[], Any]]:
    tokens, sent = frames()
    decoder = _kite_decode.KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32), portable=True)
    out = np.zeros(len(tokens), TICK)
    return len(tokens), lambda: decoder.decode_frames(sent, out)


def upstox(folder: Path) -> tuple[int, Callable[[], Any]]:
    """Full frames of BATCH instruments: five levels, Greeks, two bars."""
    random = np.random.default_rng(1)
    rows = np.zeros(INSTRUMENTS, upstox_frames.FEED)
    rows["ltp"] = random.integers(1_000, 60_000, INSTRUMENTS) * 5 / 100
    rows["cp"] = rows["atp"] = rows["ltp"]
    rows["ltt"], rows["ltq"], rows["vtt"] = START_NS // 10**6, 75, random.integers(1, 10**7, INSTRUMENTS)
    for side, sign in (("bid", -1), ("ask", 1)):
        rows[f"{side}_p"] = np.rint(rows["ltp"][:, None] * 20 + sign * np.arange(1, 6)) / 20
        rows[f"{side}_q"] = random.integers(1, 10**5, (INSTRUMENTS, 5))
    rows["greeks"] = random.normal(size=(INSTRUMENTS, 5))
    rows["day"] = rows["minute"] = rows["ltp"][:, None]
    rows["day_vol"] = rows["minute_vol"] = rows["vtt"]
    rows["day_ts"] = rows["minute_ts"] = START_NS // 10**6
    rows["oi"], rows["iv"], rows["tbq"], rows["tsq"] = 1e6, 0.1, 1e5, 2e5
    rows["levels"] = 5
    rows["parts"] = (
        upstox_frames.LEVEL_PART
        | upstox_frames.GREEKS_PART
        | upstox_frames.MINUTE_PART
        | upstox_frames.DAY_PART
    )
    keys = [f"NSE_FO|{50_000 + i}" for i in range(INSTRUMENTS)]
    slots = np.arange(INSTRUMENTS, dtype=np.uint32)
    modes = np.full(INSTRUMENTS, upstox_frames.FULL, np.uint8)
    entries = upstox_frames.encode_entries(rows, slots, modes, upstox_frames.key_cells(keys))
    sent = [
        upstox_frames.frame(upstox_frames.LIVE_FEED, entries[at : at + BATCH], START_NS // 10**6)
        for at in range(0, INSTRUMENTS, BATCH)
    ]
    decoder = _upstox_decode.UpstoxDecoder(
        keys, slots, np.full(INSTRUMENTS, 100.0), np.full(INSTRUMENTS, 5, np.int32), portable=True
    )
    out = np.zeros(INSTRUMENTS, TICK)

    def run() -> None:
        if decoder.decode_frames(sent, out) != INSTRUMENTS:
            raise SystemExit("not every message became a tick")

    return INSTRUMENTS, run


def feed(folder: Path) -> tuple[int, Callable[[], Any]]:
    tokens, sent = frames()
    decoder = _kite_decode.KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32), portable=True)
    words = len(COUNTERS["feed"])
    sink = _feed.FeedSink(
        decoder, tokens,
        segment(folder, "ticks-0", SegmentKind.TICK_RING, 8192),
        segment(folder, "latest-0", SegmentKind.LATEST_TABLE, INSTRUMENTS),
        segment(folder, "counters-feed-0", SegmentKind.COUNTERS, words, words, len(HISTOGRAMS["feed"])),
        None, timed=False, stats=segment(folder, "slots-0", SegmentKind.SLOT_STATS, INSTRUMENTS),
    )  # fmt: skip

    def run() -> None:
        for frame in sent:
            sink.feed_bytes(frame, START_NS)

    return len(tokens), run


def ring(folder: Path) -> tuple[int, Callable[[], Any]]:
    buffer = segment(folder, "ring-0", SegmentKind.TICK_RING, 8192)
    writer, reader = _ring.RingWriter(buffer), _ring.RingReader(buffer)
    batch, out = ticks(BATCH), np.zeros(BATCH, TICK)

    def run() -> None:
        for _ in range(INSTRUMENTS // BATCH):
            writer.publish(batch)
            reader.drain(out)

    return INSTRUMENTS, run


def queue(folder: Path) -> tuple[int, Callable[[], Any]]:
    buffer = segment(folder, "queue-0", SegmentKind.INTENT_QUEUE, 4096)
    producer, consumer = _queue.QueueProducer(buffer), _queue.QueueConsumer(buffer)
    batch, out = np.zeros(BATCH, INTENT), np.zeros(BATCH, INTENT)

    def run() -> None:
        for _ in range(INSTRUMENTS // BATCH):
            producer.push(batch)
            consumer.drain(out)

    return INSTRUMENTS, run


def kernels(folder: Path) -> tuple[int, Callable[[], Any]]:
    made = _kernels.Kernels(INSTRUMENTS)
    given = ticks(INSTRUMENTS * 10)
    batches = [given[at : at + 1000] for at in range(0, len(given), 1000)]
    rows, bars = np.zeros(1000, KERNEL_ROW), np.zeros(1000 * _kernels.PERIODS, BAR)

    def run() -> None:
        for part in batches:
            made.run(part, len(part), rows, bars)

    return len(given), run


WORKLOADS: Final = {
    "decode": decode, "upstox": upstox, "feed": feed, "ring": ring, "queue": queue, "kernels": kernels,
}  # fmt: skip
"""name -> function that prepares it; returns (ticks a round, the round)."""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_directory(Path(scratch), "instructions")
        for name, prepare in WORKLOADS.items():
            per_round, run = prepare(folder)
            run()  # caches, first sights and growth are not counted
            MARK()
            for _ in range(ROUNDS):
                run()
            MARK()
            print(name, per_round * ROUNDS, flush=True)


if __name__ == "__main__":
    main()
