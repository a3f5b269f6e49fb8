"""One record across two spinning processes and back, beside bare C and what Python brings along.

    python benchmarks/bench_round_trip.py [--rounds 7] [--quick]

Two processes, pinned to the first and the last core, two rings. One publishes a TICK of 192 bytes, the
other drains it and publishes it back; both look all the time. A figure is wall time (CLOCK_MONOTONIC)
over the number of rounds, in ns, both copies at each end included.

kite_hft               ring_publish and ring_drain (ext/ring.h: odd mark, check after the copy, look for
                       parked readers) in compiled loops with the product's compiler flags
kite_hft, Python       RingWriter.publish and RingReader.drain of the built product, both ends in Python
bare C                 copy, store the number, see it, copy (peers/c/hops.c, -O3 -march=native)
multiprocessing.Pipe   send_bytes and recv_bytes of 192 bytes, both ends in Python
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import hops
import kit

BARE, PYTHON, PIPE = "bare C", "kite_hft, Python", "multiprocessing.Pipe"
ROUNDS = 1_000_000
PYTHON_SHARE, PIPE_SHARE = 5, 50


def pipe(count: int) -> float:
    words = [sys.executable, kit.PEERS / "eventfd_ends.py", "pipe", count, 0, *hops.cores()]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["median_ns"])


def ours(first: str, second: str, count: int) -> float:
    return hops.ours((first, second), "spin", count)[0]


def main() -> None:
    chosen = kit.options(__doc__).parse_args()
    count = ROUNDS // 10 if chosen.quick else ROUNDS
    row = kit.Row(
        "round trip of one TICK across two spinning processes",
        "ns",
        "less",
        [kit.Target(BARE, at_most=2.2), kit.Target(None, at_most=1200, ours=PYTHON)],
    )
    part = functools.partial
    contenders = {
        kit.OURS: part(ours, "begin", "echo", count),
        BARE: part(hops.bare, "round", count),
        PYTHON: part(ours, "begin-python", "echo-python", count // PYTHON_SHARE),
        PIPE: part(pipe, count // PIPE_SHARE),
    }
    kit.measure(row, contenders, 2 if chosen.quick else chosen.rounds)
    kit.write("round_trip", [row], chosen.json)


if __name__ == "__main__":
    main()
