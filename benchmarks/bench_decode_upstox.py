"""Upstox's V3 frames to TICK records, beside protobuf's bare parse and the official SDK's way.

    python benchmarks/bench_decode_upstox.py [--instruments 2000] [--rounds 7] [--quick]

Frames of 50, 1 and 500 instruments in mode full (5 levels, Greeks, two bars), of 50 in mode ltpc, and
live ones of 50 that leave depth and Greeks out; over 2,000 instruments, again and again. Measured:
instruments per CPU second (CLOCK_THREAD_CPUTIME_ID) of the one thread that decodes, pinned to the
first core; each figure is the mean over a fifth of a second. Before anything is timed, the records of
all code paths are compared byte for byte, and prices with those that protobuf parsed.

kite_hft            UpstoxDecoder.decode_frames: the path that this processor can take (the row's note
                    says which); lookup of the key, all checks, what partial frames leave out,
                    counters and checksum included
kite_hft, portable  the same decoder without AVX2 and BMI2
kite_hft, with AUX  and with all AUX records made: Greeks, bars
upb parse           FeedResponse.FromString of the SDK's schema: protobuf's C parser, nothing read
SDK                 what its streamer does with each frame: FromString and MessageToDict
"""

from __future__ import annotations

import functools
import importlib
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import kit
import numpy as np

from kite_hft import _upstox_decode
from kite_hft.layout import AUX, TICK

RECV_NS: Final = 1_000_000_007
TIME_MS: Final = 1_795_416_300_600
SECONDS: Final = 0.2
ROWS: Final = (("full", 50), ("full", 1), ("full", 500), ("ltpc", 50), ("partial", 50))
"""(mode, instruments in a frame); the first row is what the targets are about."""


def put_price(ltpc: Any, rng: np.random.Generator) -> float:
    """Usual numbers into an LTPC; the last price in rupees."""
    last = int(rng.integers(1_000, 60_000)) * 5 / 100
    ltpc.ltp, ltpc.cp = last, int(rng.integers(1_000, 60_000)) * 5 / 100
    ltpc.ltt, ltpc.ltq = TIME_MS - int(rng.integers(1, 3000)), int(rng.integers(1, 20)) * 75
    return last


def put_full(ff: Any, rng: np.random.Generator) -> None:
    """Usual numbers into a MarketFullFeed."""
    last = put_price(ff.ltpc, rng)
    for i in range(1, 6):
        bid_qty, ask_qty = (int(n) * 75 for n in rng.integers(1, 400, 2))
        ff.marketLevel.bidAskQuote.add(
            bidQ=bid_qty, bidP=round(last - 0.05 * i, 2), askQ=ask_qty, askP=round(last + 0.05 * i, 2)
        )
    for name in ("delta", "theta", "gamma", "vega", "rho"):
        setattr(ff.optionGreeks, name, float(rng.normal()))
    for interval, start_ms in (("1d", TIME_MS - 30_000_000), ("I1", TIME_MS - 60_000)):
        ff.marketOHLC.ohlc.add(
            interval=interval, open=last, high=round(last + 5, 2), low=round(last - 5, 2), close=last,
            vol=int(rng.integers(10**3, 10**7)), ts=start_ms,
        )  # fmt: skip
    ff.atp, ff.vtt, ff.oi, ff.iv = round(last + 0.37, 2), int(rng.integers(10**4, 10**7)), 1e6, 0.1325
    ff.tbq, ff.tsq = float(rng.integers(10**4, 10**6)), float(rng.integers(10**4, 10**6))


def make_frames(messages: Any, mode: str, size: int, keys: list[str]) -> list[bytes]:
    """One message of each key, `size` to a frame."""
    rng = np.random.default_rng(1)
    frames = []
    for first in range(0, len(keys), size):
        message = messages.FeedResponse(type=1, currentTs=TIME_MS)
        for key in keys[first : first + size]:
            feed = message.feeds[key]
            if mode == "ltpc":
                put_price(feed.ltpc, rng)
                continue
            put_full(feed.fullFeed.marketFF, rng)
            feed.requestMode = 1
            if mode == "partial":
                feed.fullFeed.marketFF.ClearField("marketLevel")
                feed.fullFeed.marketFF.ClearField("optionGreeks")
        frames.append(bytes(message.SerializeToString()))
    return frames


def per_second(work: Callable[[], int], seconds: float) -> float:
    """Instruments per CPU second of this thread."""
    done, start = 0, time.thread_time()
    while (spent := time.thread_time() - start) < seconds:
        done += work()
    return done / spent


def in_turn(
    parse: Callable[[bytes], object], frames: list[bytes], size: int, at_once: int
) -> Callable[[], int]:
    """Parse the next frames at each call, all of them in turn; `at_once` instruments a call."""
    n, place = max(1, at_once // size), 0

    def work() -> int:
        nonlocal place
        part = frames[place : place + n]
        place = place + n if place + n < len(frames) else 0
        for frame in part:
            parse(frame)
        return len(part) * size

    return work


def make_decoder(
    keys: list[str], *, portable: bool = False, aux: bool = False
) -> _upstox_decode.UpstoxDecoder:
    n = len(keys)
    slots = np.arange(n, dtype=np.uint32)
    made = _upstox_decode.UpstoxDecoder(
        keys, slots, np.full(n, 100.0), np.full(n, 5, np.int32), 0, slots, portable
    )
    if aux:
        made.aux_out(np.zeros(4096, AUX))
    return made


def check(messages: Any, frames: list[bytes], keys: list[str]) -> None:
    """All paths give the same bytes, and the prices that protobuf parsed."""
    outs = [np.zeros(len(keys), TICK) for _ in range(3)]
    for out, more in zip(outs, ({}, {"portable": True}, {"aux": True}), strict=True):
        if make_decoder(keys, **more).decode_frames(frames, out, RECV_NS) != len(keys):
            raise SystemExit("not every message became a tick")
    if any(out.tobytes() != outs[0].tobytes() for out in outs):
        raise SystemExit("the code paths do not agree")
    last = {int(tick["slot"]): int(tick["last_px"]) for tick in outs[0]}
    slots = {key: slot for slot, key in enumerate(keys)}
    for frame in frames:
        for key, feed in messages.FeedResponse.FromString(frame).feeds.items():
            ltpc = feed.ltpc if feed.HasField("ltpc") else feed.fullFeed.marketFF.ltpc
            if last[slots[key]] != round(ltpc.ltp * 100):
                raise SystemExit(f"{key}: {last[slots[key]]}, but protobuf parsed {ltpc.ltp}")


def row_of(
    messages: Any, to_dict: Callable[[Any], object], keys: list[str], mode: str, size: int, seconds: float
) -> tuple[kit.Row, dict[str, Callable[[], float]]]:
    """One row, and what is to be measured for it."""
    targets = [kit.Target("upb parse", at_least=4), kit.Target("SDK", at_least=400)]
    name = f"decode Upstox {mode} frames of {size}, {len(keys):,} instruments"
    row = kit.Row(name, "instruments per CPU second", "more", targets if (mode, size) == ROWS[0] else ())
    frames = make_frames(messages, mode, size, keys)
    check(messages, frames, keys)
    out, parse = np.zeros(len(keys), TICK), messages.FeedResponse.FromString
    decoders = {
        kit.OURS: make_decoder(keys),
        "kite_hft, portable": make_decoder(keys, portable=True),
        "kite_hft, with AUX": make_decoder(keys, aux=True),
    }
    work: dict[str, Callable[[], int]] = {
        name: functools.partial(decoder.decode_frames, frames, out, RECV_NS)
        for name, decoder in decoders.items()
    }
    work["upb parse"] = in_turn(parse, frames, size, 500)
    work["SDK"] = in_turn(lambda frame: to_dict(parse(frame)), frames, size, 50)
    for run in work.values():
        run()
    row.notes[kit.OURS] = decoders[kit.OURS].path
    row.notes["upb parse"] = f"protobuf {version('protobuf')}"
    row.notes["SDK"] = f"upstox-python-sdk {version('upstox-python-sdk')}"
    return row, {name: functools.partial(per_second, run, seconds) for name, run in work.items()}


def main() -> None:
    parser = kit.options(__doc__)
    parser.add_argument("--instruments", type=int, default=2000)
    options = parser.parse_args()
    rounds, seconds = (1, SECONDS / 4) if options.quick else (options.rounds, SECONDS)
    try:
        messages = importlib.import_module("upstox_client.feeder.proto.MarketDataFeedV3_pb2")
        to_dict = importlib.import_module("google.protobuf.json_format").MessageToDict
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}: the rival is the official SDK; pip install upstox-python-sdk") from error
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    keys = [f"NSE_FO|{50_000 + i}" for i in range(max(500, options.instruments // 500 * 500))]
    rows = []
    for mode, size in ROWS:
        row, contenders = row_of(messages, to_dict, keys, mode, size, seconds)
        rows.append(kit.measure(row, contenders, rounds))
    kit.write("decode_upstox", rows, options.json)


if __name__ == "__main__":
    main()
