"""The writer's life as others see it, and what comes after its death."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import segments

from kite_hft import _ring, layout
from kite_hft.layout import SegmentKind, SegmentState
from kite_hft.memory import generations, segment
from kite_hft.memory.generations import WriterLife

KIND = SegmentKind.TICK_RING
S = 1_000_000_000


def test_the_stages_of_a_writers_life(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    with segment.attach(path, KIND, writable=False) as watching:
        assert generations.writer_life(watching, 0) is WriterLife.UNSTARTED
        held = segment.attach(path, KIND, writable=True)
        writer = _ring.RingWriter(held.view)
        writer.heartbeat(100 * S)
        assert generations.writer_life(watching, 100 * S) is WriterLife.ALIVE
        assert generations.writer_life(watching, 102 * S) is WriterLife.ALIVE
        assert generations.writer_life(watching, 102 * S + 1) is WriterLife.HUNG
        held.heartbeat(103 * S)
        assert generations.writer_life(watching, 104 * S) is WriterLife.ALIVE
        segments.set_control(held, intent=3)
        held.close()
        assert generations.writer_life(watching, 104 * S) is WriterLife.STALLED
        again = segment.attach(path, KIND, writable=True)
        segments.set_control(again, intent=0)
        again.close()
        assert generations.writer_life(watching, 104 * S) is WriterLife.DEAD
        with segment.attach(path, KIND, writable=True) as last:
            _ring.RingWriter(last.view).close_clean()
        assert generations.writer_life(watching, 104 * S) is WriterLife.CLOSED


def test_looking_does_not_take_the_claim_away(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    with segment.attach(path, KIND, writable=True) as held:
        for _ in range(3):
            assert generations.writer_life(held, 0) is WriterLife.ALIVE
        with pytest.raises(segment.WriterAlive):
            segment.attach(path, KIND, writable=True)


def test_the_next_generation_carries_the_numbering_on(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND, name="ticks0")
    generations.point(path)
    held = segment.attach(path, KIND, writable=True)
    _ring.RingWriter(held.view).publish(segments.ticks(0, 100))
    reading = segment.attach(path, KIND, writable=False)
    reader, out = _ring.RingReader(reading.view, 30), np.zeros(99, layout.TICK)
    with pytest.raises(segment.WriterAlive, match="stop it before"):
        generations.next_generation(path, KIND, **segments.now())
    segments.set_control(held, intent=107)
    held.close()
    made = generations.next_generation(path, KIND, **segments.now())
    assert made.name == "ticks0.g2.seg"
    assert generations.current(path.parent, "ticks0") == made
    assert (reading.control()["state"], reading.control()["final_seq"]) == (SegmentState.CLOSED, 100)
    # The reader finishes the old file (7 slots may be half overwritten), then goes on in the new one.
    assert not reader.finished()
    assert [reader.drain(out), reader.first_seq, reader.lost, reader.finished()] == [57, 43, 13, True]
    with segment.attach(made, KIND, writable=True) as fresh:
        assert int(fresh.header["generation"]) == 2
        writer, following = _ring.RingWriter(fresh.view), _ring.RingReader(fresh.view, reader.position)
        assert writer.publish(segments.ticks(107, 5)) == 107
        assert [following.drain(out), following.first_seq, following.lost] == [5, 107, 7]
    with pytest.raises(ValueError, match="closed"), segment.attach(path, KIND, writable=True) as old:
        _ring.RingWriter(old.view)


def test_a_clean_end_leaves_no_gap(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    with segment.attach(path, KIND, writable=True) as held:
        writer = _ring.RingWriter(held.view)
        writer.publish(segments.ticks(0, 9))
        writer.close_clean()
    made = generations.next_generation(path, KIND, **segments.now())
    with (
        segment.attach(made, KIND, writable=False) as fresh,
        segment.attach(path, KIND, writable=False) as old,
    ):
        assert int(fresh.header["first_seq"]) == 9
        assert old.control()["state"] == SegmentState.CLEAN


def test_only_rings_have_generations(tmp_path: Path) -> None:
    path = segments.make(tmp_path, SegmentKind.INTENT_QUEUE)
    with pytest.raises(ValueError, match="INTENT_QUEUE has no generations"):
        generations.next_generation(path, SegmentKind.INTENT_QUEUE, **segments.now())


@pytest.mark.parametrize(
    "text", ["", "other.g1.seg", "ticks.g1.seg.x", "ticks.gx.seg", "../ticks.g1.seg", "ticks.g01.seg"]
)
def test_a_manifest_names_a_generation_or_is_refused(tmp_path: Path, text: str) -> None:
    directory = segments.folder(tmp_path)
    with pytest.raises(segment.Missing, match="no manifest for ticks"):
        generations.current(directory, "ticks")
    (directory / "ticks.current").write_text(text)
    with pytest.raises(generations.BadManifest, match="start the engine anew"):
        generations.current(directory, "ticks")


def test_the_manifest_is_swapped_whole(tmp_path: Path) -> None:
    directory = segments.folder(tmp_path)
    for generation in (1, 2, 12):
        (directory / "ticks.fresh").write_text("left by a crash")
        generations.point(directory / segment.file_name("ticks", generation))
        assert generations.current(directory, "ticks").name == f"ticks.g{generation}.seg"
    assert [path.name for path in directory.iterdir()] == ["ticks.current"]


def test_sleepers_that_died_are_forgotten(tmp_path: Path) -> None:
    """A consumer killed in its sleep stays announced for ever, and its producers keep waking it."""
    path = segments.make(tmp_path, KIND)
    with segment.attach(path, KIND, writable=True, claim=False) as held:
        segments.set_control(held, parked=1)
        generations.forget_parked(held)
        assert held.control()["parked"] == 0
