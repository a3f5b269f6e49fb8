"""Layer 6, one process of the campaign of mixed builds, cold: takes itself for a build, makes or uses files.

Started by verify/shield/build_id.py with its task as JSON on standard input; answers with one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final

from kite_hft import _ring, builds, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import header, segment, snapshots

CAPACITY: Final = 16
OTHER: Final = 0x5A5A


def become(layout_change: int, build_change: int) -> None:
    """Take another fingerprint for one's own, at each place that compares it."""
    fingerprint = layout.LAYOUT_FINGERPRINT ^ (OTHER * layout_change)
    build = builds.fingerprint() ^ (OTHER * build_change)
    for module in (layout, _ring, snapshots):
        vars(module)["LAYOUT_FINGERPRINT"] = fingerprint
    vars(builds)["fingerprint"] = lambda: build


def make(folder: Path, kinds: list[SegmentKind]) -> dict[str, str]:
    """A segment of each kind, and a snapshot."""
    now = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    for kind in kinds:
        sized = {"counters": CAPACITY, "histograms": 1} if kind is SegmentKind.COUNTERS else {}
        made = segment.create(folder, kind.name.lower(), kind, CAPACITY, **sized, **now)
        made.rename(folder / f"{kind.name}.seg")
    writer = snapshots.SnapshotWriter(folder, "worker")
    writer.write({"answer": 42})
    writer.close()
    return {}


def use(folder: Path, kinds: list[SegmentKind]) -> dict[str, str]:
    """What came of each: "taken", "none", or the name of the refusal."""
    came = {}
    for kind in kinds:
        for how, writable in (("read", False), ("written", True)):
            try:
                segment.attach(folder / f"{kind.name}.seg", kind, writable=writable, claim=False).close()
                came[f"{kind.name} {how}"] = "taken"
            except header.SegmentError as error:
                came[f"{kind.name} {how}"] = type(error).__name__
    came["snapshot"] = "taken" if snapshots.read_newest(folder, "worker") else "none"
    return came


def run() -> None:
    """Do the task on standard input."""
    task = json.load(sys.stdin)
    become(*task["change"])
    act = {"make": make, "use": use}[task["act"]]
    print(json.dumps(act(Path(task["folder"]), [SegmentKind(kind) for kind in task["kinds"]])))
