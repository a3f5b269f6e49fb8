"""The recorded day, replayed as Upstox V3 frames, equals what was recorded, after protobuf's own parse."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upstox_sim import frame_dict, reserialised

from kite_hft.sim.server.hub import Hub
from kite_hft.sim.upstox.recorded import open_recorded
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.sim.upstox.stream import FeedStyle, UpstoxStream

MOST = 1500
"""Messages of each file: the whole day is the same, and takes minutes in protobuf's dicts."""


def heads(folder: Path, out: Path, most: int) -> list[dict[str, Any]]:
    """The first messages of each file, written to a folder of their own; all of them."""
    rows: list[dict[str, Any]] = []
    for file in sorted(folder.glob("*.jsonl.xz")):
        with lzma.open(file, "rt") as lines:
            head = [line for line, _ in zip(lines, range(most), strict=False)]
        (out / file.name.removesuffix(".xz")).write_text("".join(head))
        rows += [json.loads(line) for line in head]
    return rows


def played(folder: Path, per_frame: int) -> list[bytes]:
    """All frames of a replay, as fast as they come."""
    replay, rows, ticks = open_recorded(folder)
    feed = FeedRows(replay.instruments, recorded=rows, recorded_ticks=ticks)

    def stream() -> UpstoxStream:
        return UpstoxStream(
            replay.instruments, feed, style=FeedStyle(partial=False), packets_per_frame=per_frame
        )

    hub = Hub(replay, lambda ticks, now: None, lambda slots: np.empty(0, ticks.dtype), stream, speed=0)
    hub.watch = feed.see
    frames: list[bytes] = []
    link = hub.connect(lambda data: frames.append(data) or 0, lambda text: None)
    keys = [row.upstox_key for row in replay.instruments]
    request = {"guid": "1", "method": "sub", "data": {"mode": "full", "instrumentKeys": keys}}
    hub.on_message(link, json.dumps(request).encode(), 0, binary=True)
    hub.start(0)
    while not hub.ended or link.stream.frames:
        hub.step(1)
    return frames


@pytest.mark.data
@pytest.mark.parametrize("per_frame", [1, 5])
def test_frames_are_what_was_recorded(data_dir: Path, tmp_path: Path, per_frame: int) -> None:
    recorded = heads(data_dir / "upstox_v3_20251215", tmp_path, MOST)
    recorded.sort(key=lambda row: row["_insertion_time"])  # and then by file, as they were read
    frames = played(tmp_path, per_frame)
    told = [(key, feed) for data in frames for key, feed in sorted(frame_dict(data)["feeds"].items())]
    assert len(told) == len(recorded)
    if per_frame == 1:
        assert all(reserialised(data) == data for data in frames)
    else:
        assert len(frames) < len(recorded)
        recorded.sort(key=lambda row: row["instrumentKey"])
        told.sort(key=lambda pair: pair[0])
    for row, (key, feed) in zip(recorded, told, strict=True):
        wanted = {name: value for name, value in row.items() if name in ("fullFeed", "requestMode")}
        assert (key, feed) == (row["instrumentKey"], wanted)
