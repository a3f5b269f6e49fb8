"""The input log: one record per drain, readable by whoever starts the worker again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import segments

from kite_hft import _inputs, _ring
from kite_hft.layout import INPUT, InputKind, SegmentKind
from kite_hft.memory import segment


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = segments.make(tmp_path, SegmentKind.INPUT_RING, 4)
    with segment.attach(path, SegmentKind.INPUT_RING, writable=True) as held:
        log, reader = _inputs.InputLog(held.view), _ring.RingReader(held.view)
        log.drained(2, 3, 100, 30, 5, 77, 4096)
        log.events(1, 8, 2, 78, 4000)
        out = np.zeros(8, INPUT)
        assert reader.drain(out) == 2 and log.next_seq == 2
        names = ("seq", "now_ns", "first_seq", "generation", "n", "kind", "source", "lost")
        assert [int(out[0][name]) for name in names] == [0, 77, 100, 3, 30, InputKind.DRAIN, 2, 5]
        assert [int(out[1][name]) for name in names] == [1, 78, 8, 0, 2, InputKind.EVENTS, 1, 0]
        assert out["room"][:2].tolist() == [4096, 4000]
        for number in range(9):
            log.events(1, number, 1, 0, 0)
        assert reader.drain(out) == 4 and reader.lost == 5 and out["first_seq"][:4].tolist() == [5, 6, 7, 8]
        del log, reader


def test_another_ring_is_refused(tmp_path: Path) -> None:
    path = segments.make(tmp_path, SegmentKind.BAR_RING, 4)
    with (
        segment.attach(path, SegmentKind.BAR_RING, writable=True) as held,
        pytest.raises(ValueError, match=r"record|INPUT"),
    ):
        _inputs.InputLog(held.view)
    path = segments.make(tmp_path, SegmentKind.INPUT_RING, 4)
    with segment.attach(path, SegmentKind.INPUT_RING, writable=True) as held:
        segments.set_control(held, intent=1)
        with pytest.raises(ValueError, match="died inside a batch"):
            _inputs.InputLog(held.view)
