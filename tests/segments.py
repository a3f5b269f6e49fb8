"""Making, damaging and attaching segments in tests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from kite_hft import layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
from kite_hft.memory.header import seal_header


def now() -> dict[str, int]:
    return {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}


def folder(parent: Path) -> Path:
    return segment.make_directory(parent, "memory")


def make(parent: Path, kind: SegmentKind = SegmentKind.TICK_RING, capacity: int = 64, **more: Any) -> Path:
    name = more.pop("name", kind.name.lower())
    return segment.create(folder(parent), name, kind, capacity, **more, **now())


def forge(path: Path, **fields: Any) -> None:
    """Overwrite header fields and make the checksum right again."""
    page = np.frombuffer(path.read_bytes()[: layout.PAGE], layout.HEADER).copy()
    for name, value in fields.items():
        page[name] = value
    with path.open("r+b") as file:
        file.write(seal_header(page))


def set_control(held: segment.Segment, **words: int) -> None:
    page = np.frombuffer(held.view[layout.PAGE : 2 * layout.PAGE], layout.CONTROL)
    for name, value in words.items():
        page[name] = value


def ticks(first: int, n: int) -> np.ndarray:
    """`n` TICKs whose slot tells their number."""
    records = np.zeros(n, layout.TICK)
    records["slot"] = np.arange(first, first + n)
    return records
