"""Layer 6, a face for people, cold: is every damaged segment refused by name, and nothing ever crashes?

`python -m kite_hft.verify header --mutations N` damages a ring, a queue, a table and a set of
counters: every byte of both leading pages, every page edge and odd sizes, a sparse file, then at
random. A child process attaches and reads each one. Held to: a damaged header page or a wrong size
is always refused with a named error; a damaged control page is refused or harmless (no record that
was never written, every number accounted for); no other exception, no signal.

One JSON line on standard output; exit code 0 only when everything held.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _counters, _queue, _ring, _table, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
from kite_hft.verify.memory.header_worker import PAGES, RECORDS, sizes
from kite_hft.verify.memory.ring import count, memory_directory
from kite_hft.verify.memory.ring_worker import Payload

CAPACITY: Final = 16
KINDS: Final = (
    SegmentKind.TICK_RING,
    SegmentKind.INTENT_QUEUE,
    SegmentKind.LATEST_TABLE,
    SegmentKind.COUNTERS,
)
WORKER: Final = "from kite_hft.verify.memory.header_worker import run; run()"
CRASHES_MAX: Final = 20
TIMEOUT_S: Final = 600


def make(folder: Path, kind: SegmentKind) -> Path:
    """A good segment of `kind`, with something in it."""
    sized = {"counters": CAPACITY, "histograms": 1} if kind is SegmentKind.COUNTERS else {}
    now = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    path = segment.create(folder, kind.name.lower(), kind, CAPACITY, **sized, **now)
    payload = Payload(RECORDS)
    with segment.attach(path, kind, writable=True, claim=True) as held:
        if kind is SegmentKind.TICK_RING:
            _ring.RingWriter(held.view).publish(payload.fill(0, RECORDS))
        elif kind is SegmentKind.INTENT_QUEUE:
            _queue.QueueProducer(held.view).push(np.ones(CAPACITY // 2, layout.INTENT))
        elif kind is SegmentKind.LATEST_TABLE:
            ticks = np.zeros(CAPACITY, layout.TICK)
            ticks["slot"] = np.arange(CAPACITY)
            _table.TableWriter(held.view).put(ticks)
        else:
            _counters.CounterWriter(held.view).record(0, 1234)
    return path


def damage(folder: Path, kind: SegmentKind, mutations: int, seed: int) -> dict[str, Any]:
    """Outcomes and violations of `mutations` damaged copies; a crash is one and the rest goes on."""
    image = make(folder, kind)
    task = {"kind": int(kind), "image": str(image), "path": str(folder / "damaged.seg"), "seed": seed}
    outcomes: collections.Counter[str] = collections.Counter()
    violations: list[dict[str, Any]] = []
    at, first = folder / "at", 0
    while first < mutations and len(violations) < CRASHES_MAX:
        at.unlink(missing_ok=True)
        asked = json.dumps(task | {"at": str(at), "first": first, "end": mutations})
        child = subprocess.run(
            [sys.executable, "-c", WORKER], input=asked, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        if child.returncode == 0:
            answer = json.loads(child.stdout)
            outcomes.update(answer["outcomes"])
            return {"outcomes": dict(outcomes), "violations": violations + answer["violations"]}
        crashed = int.from_bytes(at.read_bytes(), "little") if at.exists() else first
        outcome = f"the process ended with {child.returncode}: {child.stderr[-300:]}"
        violations.append({"kind": kind.name, "index": crashed, "what": "crash", "outcome": outcome})
        first = crashed + 1
    return {"outcomes": dict(outcomes), "violations": violations}


def main(argv: list[str]) -> int:
    """Run the verification; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kite_hft.verify header", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--mutations", type=count, default=40_000, help="damaged files (default 40000)")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args(argv)
    report: dict[str, Any] = {"verify": "header", "mutations": 0, "seed": wanted.seed, "violations": []}
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="khft-verify-", dir=memory_directory()) as parent:
            folder = segment.make_directory(Path(parent), "header")
            total = segment.segment_bytes(kind, CAPACITY, CAPACITY, 1)
            # Fewer would leave out a byte of the leading pages or a wrong size.
            mutations = max(wanted.mutations // len(KINDS), PAGES + len(sizes(total)) + 1)
            result = damage(folder, kind, mutations, wanted.seed)
        report["mutations"] += mutations
        report[kind.name.lower()] = result["outcomes"]
        report["violations"] += result["violations"]
    report["ok"] = not report["violations"]
    if not report["ok"]:
        report["replay"] = (
            f"python -m kite_hft.verify header --mutations {wanted.mutations} --seed {wanted.seed}"
        )
    print(json.dumps(report))
    return 0 if report["ok"] else 1
