"""Every field of the header page, damaged one at a time under a right checksum: the error by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import segments

from kite_hft import _ring, builds, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import header, segment

KIND = SegmentKind.TICK_RING


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("magic", b"KHFTSEG2", segment.BadMagic),
        ("format_version", 2, segment.WrongVersion),
        ("layout_fingerprint", 1, segment.LayoutMismatch),
        ("build_fingerprint", 1, segment.BuildMismatch),
        ("kind", SegmentKind.BAR_RING, segment.WrongKind),
        ("kind", 99, segment.WrongKind),
        ("record_size", 128, segment.WrongRecordSize),
        ("capacity", 63, segment.BadCapacity),
        ("capacity", 0, segment.BadCapacity),
        ("capacity", 1, segment.BadCapacity),
        ("capacity", 1 << 63, segment.BadCapacity),
        ("capacity", 128, segment.BadGeometry),
        ("total_size", 8192, segment.BadGeometry),
        ("page_size", 16384, segment.BadGeometry),
        ("payload_offset", 4096, segment.BadGeometry),
        ("boot_id", b"another", segment.OtherBoot),
    ],
)
def test_each_field_has_its_error(tmp_path: Path, field: str, value: Any, error: type[Exception]) -> None:
    path = segments.make(tmp_path, KIND)
    segments.forge(path)
    segment.attach(path, KIND, writable=False).close()
    segments.forge(path, **{field: value})
    with pytest.raises(error) as caught:
        segment.attach(path, KIND, writable=False)
    assert str(caught.value).startswith(f"{path}: "), "the message names the file"


@pytest.mark.parametrize("field", ["layout_fingerprint", "build_fingerprint"])
def test_a_wrong_build_is_refused_naming_both_fingerprints(tmp_path: Path, field: str) -> None:
    path = segments.make(tmp_path, KIND)
    theirs = 0x0123456789ABCDEF
    mine = {"layout_fingerprint": layout.LAYOUT_FINGERPRINT, "build_fingerprint": builds.fingerprint()}[field]
    segments.forge(path, **{field: theirs})
    with pytest.raises(segment.SegmentError, match=f"(?s){theirs:016x}.*{mine:016x}.*one build"):
        segment.attach(path, KIND, writable=True)


def test_stale_compiled_modules_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "LAYOUT_FINGERPRINT", 0xABC)
    with pytest.raises(segment.LayoutMismatch, match=r"0000000000000abc.*make build"):
        segments.make(tmp_path, KIND)


def test_modules_of_several_builds_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "_mixed_here", lambda: "_queue has id 1, this build 2")
    with pytest.raises(segment.BuildMismatch, match=r"_queue has id 1.*make build"):
        segments.make(tmp_path, KIND)


def test_one_flipped_bit_breaks_the_checksum(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    with path.open("r+b") as file:
        file.seek(4000)
        file.write(b"\x01")
    with pytest.raises(segment.BadChecksum):
        segment.attach(path, KIND, writable=False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"head": 101}, "head 101, intent 100"),
        ({"intent": 99}, "intent 99"),
        ({"intent": 100 + 65}, "intent 165"),
        ({"head": 6, "intent": 6}, "first 7"),
        ({"head": 120, "intent": 120}, "the slot before it holds record"),
        ({"head": 80, "intent": 80}, "the slot before it holds record 79 *|holds record"),
        ({"state": 7}, "state 7"),
        ({"state": 2, "final_seq": 99}, "closed at 99 but head is 100"),
        ({"writer_pad": b"x"}, "reserved"),
        ({"reserved": b"x"}, "reserved"),
    ],
)
def test_control_words_that_contradict_one_another(tmp_path: Path, words: dict[str, Any], says: str) -> None:
    path = segments.make(tmp_path, KIND, 16, first_seq=7)
    with segment.attach(path, KIND, writable=True) as held:
        _ring.RingWriter(held.view).publish(segments.ticks(7, 93))
        segments.set_control(held, **words)
    if words == {"intent": 165}:
        says = "intent 165, first 7, capacity 16"
    with pytest.raises(segment.BadControl, match=says):
        segment.attach(path, KIND, writable=False)


def test_a_batch_in_progress_is_no_contradiction(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND, 16)
    with segment.attach(path, KIND, writable=True) as held:
        segments.set_control(held, intent=16)
        segment.attach(path, KIND, writable=False).close()
        segments.set_control(held, intent=17)
        with pytest.raises(segment.BadControl):
            segment.attach(path, KIND, writable=False)


@pytest.mark.parametrize("words", [{"tail": 9}, {"tail": 6}, {"head": 30, "intent": 30}])
def test_a_queues_tail_stays_between_head_and_capacity(tmp_path: Path, words: dict[str, int]) -> None:
    kind = SegmentKind.INTENT_QUEUE
    path = segments.make(tmp_path, kind, 16, first_seq=7)
    with segment.attach(path, kind, writable=True) as held:
        segments.set_control(held, head=8, intent=8)
        segment.attach(path, kind, writable=False).close()
        segments.set_control(held, **words)
    with pytest.raises(segment.BadControl):
        segment.attach(path, kind, writable=False)


def test_one_bad_look_at_a_moving_segment_is_repeated() -> None:
    """A live writer may change words between two of our reads."""
    import numpy as np

    page = np.zeros(1, layout.HEADER)
    page["capacity"] = 16
    looks = np.zeros(3, layout.CONTROL)
    looks["head"], looks["intent"] = [5, 6, 7], [4, 6, 7]
    left = list(looks)
    header.check_control(lambda: left.pop(0), lambda number: number, page[0], KIND)
    assert not left, "bad look, a second one that differs, a good one"
    bad = looks[0]
    with pytest.raises(segment.BadControl):
        header.check_control(lambda: bad, lambda number: number, page[0], KIND)


@pytest.mark.parametrize(
    ("kind", "arguments", "size"),
    [
        (SegmentKind.TICK_RING, (1 << 16,), 8192 + 192 * 65536),
        (SegmentKind.BAR_RING, (4,), 8192 + 64 * 4),
        (SegmentKind.TEXT_QUEUE, (4,), 8192 + 8256 * 4),
        (SegmentKind.LATEST_TABLE, (9000,), 8192 + 256 * 9000),
        (SegmentKind.COUNTERS, (0, 19, 2), 8192 + 24 * 8 + 2 * 8192),
    ],
)
def test_sizes(kind: SegmentKind, arguments: tuple[int, ...], size: int) -> None:
    assert segment.segment_bytes(kind, *arguments) == size
    assert segment.payload_bytes(kind, *arguments) == size - 8192


@pytest.mark.parametrize("kind", list(SegmentKind))
@pytest.mark.parametrize("capacity", [0, -2, 3, (1 << 40) + 1])
def test_unusable_capacities(kind: SegmentKind, capacity: int) -> None:
    rows = (SegmentKind.LATEST_TABLE, SegmentKind.COUNTERS, SegmentKind.SLOT_STATS)
    if kind in rows and capacity == 3:
        assert segment.segment_bytes(kind, 3, 3) > 8192
        return
    with pytest.raises(segment.BadCapacity):
        segment.segment_bytes(kind, capacity, capacity)
