"""The recorder process: which files it opens, from where it reads on, what it does without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segments import folder, make

from kite_hft import _ring
from kite_hft.clock import ManualClock
from kite_hft.engine.market.recorder import make_tracks
from kite_hft.layout import TICK, SegmentKind
from kite_hft.memory.generations import point
from kite_hft.memory.recording import Kind, Recording
from kite_hft.memory.segment import attach
from kite_hft.settings import Settings
from kite_hft.stages.recorder import Recorder

RINGS = {"ticks": SegmentKind.TICK_RING, "frames": SegmentKind.FRAME_RING}


class Nothing:
    """Counters that nobody reads."""

    def add(self, index: int, n: int = 1) -> None: ...
    def record(self, histogram: int, ns: int, n: int = 1) -> None: ...


class Run:
    """The rings of two connections and a run's folder."""

    def __init__(self, tmp_path: Path) -> None:
        self.shm, self.folder = folder(tmp_path), tmp_path / "run"
        self.folder.mkdir()
        (self.folder / "instruments.csv").write_text("x")
        for number in (0, 1):
            for name, kind in RINGS.items():
                point(make(tmp_path, kind, 64, name=f"{name}-{number}"))
        self.alerts: list[tuple[str, str, str]] = []

    def tracks(self, wanted: str, restarted: bool = False) -> list[Any]:
        config = {
            "folder": str(self.folder), "instruments": str(self.folder / "instruments.csv"),
            "shm": str(self.shm), "connections": [{"number": 0}, {"number": 1}], "restarted": restarted,
        }  # fmt: skip
        settings = Settings.model_validate({"datafeed": {"tick_storage_format": wanted}})
        return make_tracks(settings, config, ManualClock(5, 10), lambda *what: self.alerts.append(what))

    def publish(self, n: int) -> None:
        path = self.shm / "ticks-0.g1.seg"
        with attach(path, SegmentKind.TICK_RING, writable=True) as segment:
            _ring.RingWriter(segment.view).publish(np.ones(n, TICK))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        ("binary", ["ticks-0", "ticks-1"]),
        ("frames", ["frames-0", "frames-1"]),
        ("both", ["frames-0", "frames-1", "ticks-0", "ticks-1"]),
    ],
)
def test_one_file_for_each_connection_and_format(run: Run, wanted: str, files: list[str]) -> None:
    for track in run.tracks(wanted):
        assert not track.resumed
        assert track.frames == (track.writer.kind is Kind.FRAMES)
        track.writer.close()
    assert sorted(p.stem for p in run.folder.glob("*.rec")) == files
    assert not run.alerts
    origin = Recording(run.folder / f"{files[0]}.rec").origin
    assert (origin.created_mono_ns, origin.created_real_ns, len(origin.instruments)) == (5, 10, 64)


def test_it_reads_on_behind_its_file_only_where_the_rings_went_on(run: Run) -> None:
    run.publish(20)
    first = run.tracks("binary")[0]
    first.writer.write_rows(np.ones(12, TICK), 12, 12)
    first.writer.close()
    again = run.tracks("binary", restarted=True)[0]
    assert again.resumed and again.reader.position == 12
    again.writer.close()
    anew = run.tracks("binary", restarted=False)[0]  # the rings are new: all they hold is wanted
    assert anew.resumed and anew.reader.position == 0
    Recorder([anew], Nothing(), lambda: 1, lambda: 1, lambda *what: None).start()
    assert anew.writer.next_seq == 0  # killed now, it would ask for what these rings can give
    anew.writer.close()


def test_a_file_that_cannot_be_opened_is_told_and_left_out(run: Run) -> None:
    (run.folder / "ticks-0.rec").write_bytes(b"x" * 9000)
    tracks = run.tracks("binary")
    assert [track.writer.path.name for track in tracks] == ["ticks-1.rec"]
    assert [(code, key) for code, key, _ in run.alerts] == [("FILE_FAILED", "ticks-0.rec")]
    assert "not a recording of kite_hft" in run.alerts[0][2]
    tracks[0].writer.close()
