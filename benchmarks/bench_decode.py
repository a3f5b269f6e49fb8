"""Full-mode Kite frames to TICK: ours, memcpy of the same bytes, and the official parser, in one run.

    python benchmarks/bench_decode.py [--instruments 9000] [--rounds 5]

100 packets a frame over all instruments; CPU time of this thread; per round the three in turn, so
that the machine's speed drifts through all of them. Prints medians and the spread of the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from kiteconnect import KiteTicker

from kite_hft import _kite_decode
from kite_hft.layout import TICK
from kite_hft.sim.kite.frames import FULL, encode_frames
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments

PACKETS_PER_FRAME = 100
SDK_FRAMES = 5


def make_frames(instruments: int) -> tuple[np.ndarray, list[bytes]]:
    """(tokens, frames): one tick of every instrument."""
    table, base_px = default_instruments(instruments, 1)
    market = SyntheticMarket(table, base_px, 1.0, 1, 1_765_770_000_000_000_000)
    tokens = table.tokens()
    tokens = np.where(tokens & 0xFF == 9, tokens - 8, tokens).astype(np.uint32)  # all of them tradable
    modes = np.full(len(tokens), FULL, np.uint8)
    return tokens, encode_frames(market.opening(), tokens, modes, PACKETS_PER_FRAME)


def per_second(work: Callable[[], object], ticks: int, seconds: float = 0.2) -> float:
    """Ticks per CPU second of this thread."""
    done, start = 0, time.thread_time()
    while (spent := time.thread_time() - start) < seconds:
        work()
        done += ticks
    return done / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=9000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    tokens, frames = make_frames(options.instruments)
    slots, n = np.arange(len(tokens), dtype=np.uint32), len(tokens)
    out = np.zeros(n, TICK)
    ours = _kite_decode.KiteDecoder(tokens, slots)
    portable = _kite_decode.KiteDecoder(tokens, slots, portable=True)
    whole = np.frombuffer(b"".join(frames), np.uint8)
    copy = np.empty_like(whole)
    sdk = KiteTicker("key", "token")
    contenders: dict[str, Callable[[], float]] = {
        "memcpy": lambda: per_second(lambda: np.copyto(copy, whole), n),
        f"ours ({ours.path})": lambda: per_second(lambda: ours.decode_frames(frames, out), n),
        "ours (portable)": lambda: per_second(lambda: portable.decode_frames(frames, out), n),
        "pykiteconnect": lambda: per_second(
            lambda: [sdk._parse_binary(f) for f in frames[:SDK_FRAMES]], SDK_FRAMES * PACKETS_PER_FRAME
        ),
    }
    rounds = [{name: run() for name, run in contenders.items()} for _ in range(options.rounds)]
    print(f"{'':18}{'M ticks/s':>11}{'of memcpy':>22}{'x pykiteconnect':>24}")
    for name in contenders:
        speed = statistics.median(r[name] for r in rounds) / 1e6
        of_copy = sorted(r[name] / r["memcpy"] for r in rounds)
        of_sdk = sorted(r[name] / r["pykiteconnect"] for r in rounds)
        print(
            f"{name:18}{speed:11.3f}"
            f"{of_copy[len(of_copy) // 2]:10.3f} ({of_copy[0]:.3f}-{of_copy[-1]:.3f})"
            f"{of_sdk[len(of_sdk) // 2]:11.0f} ({of_sdk[0]:.0f}-{of_sdk[-1]:.0f})"
        )


if __name__ == "__main__":
    main()
