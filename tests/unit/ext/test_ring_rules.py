"""The ten rules for rings in shared memory, one test each (further tests of a rule are named there)."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import segments

from kite_hft import _ring, layout
from kite_hft.layout import SegmentKind, SegmentState
from kite_hft.memory import generations, machine, segment

KIND = SegmentKind.TICK_RING
EXT = Path(__file__).resolve().parents[3] / "ext"


def test_rule_1_the_header_says_everything_and_hot_words_share_no_line(tmp_path: Path) -> None:
    """Each damaged field's named error: test_header.py; each damaged byte: verify header."""
    names = set(layout.HEADER.names or ())
    assert {"magic", "format_version", "layout_fingerprint", "record_size", "capacity"} <= names
    assert {"page_size", "build_fingerprint", "boot_id", "generation", "created_mono_ns", "crc"} <= names
    assert {"creator_pid", "creator_start_ticks"} <= names
    fields = layout.CONTROL.fields or {}
    assert {"writer_pid", "writer_start_ticks", "state"} <= set(fields)
    lines = {name: fields[name][1] // 128 for name in ("head", "tail", "wake_word", "heartbeat_ns")}
    assert len(set(lines.values())) == 4, "writer, consumer, wake-up and liveness: 128 bytes apart"
    assert lines["head"] == fields["intent"][1] // 128, "the pair that is written together"
    with segment.attach(segments.make(tmp_path, KIND), KIND, writable=False) as held:
        base = np.frombuffer(held.view, np.uint8).ctypes.data
        assert base % layout.PAGE == 0


def test_rule_2_every_slot_has_its_number_and_got_plus_lost_is_produced(tmp_path: Path) -> None:
    """Any sequence of operations: tests/property/test_ring_model.py; two processes: verify ring."""
    path = segments.make(tmp_path, KIND, 16)
    with segment.attach(path, KIND, writable=True) as held:
        writer, reader, out = (
            _ring.RingWriter(held.view),
            _ring.RingReader(held.view),
            np.zeros(9, layout.TICK),
        )
        got = 0
        for batch in (1, 5, 16, 17, 40, 3):
            writer.publish(segments.ticks(writer.next_seq, batch))
            got += reader.drain(out)
        while n := reader.drain(out):
            got += n
        assert got + reader.lost == writer.next_seq == 82
        stored = np.frombuffer(held.view[8192:], layout.TICK)["seq"]
        assert sorted(stored.tolist()) == list(range(82 - 16, 82))


def test_rule_3_a_restart_is_a_new_file_and_a_gap_is_lost_never_a_mix(tmp_path: Path) -> None:
    """In detail: test_generations.py."""
    path = segments.make(tmp_path, KIND)
    held = segment.attach(path, KIND, writable=True)
    _ring.RingWriter(held.view).publish(segments.ticks(0, 10))
    segments.set_control(held, intent=14)
    held.close()
    with (
        pytest.raises(ValueError, match="next generation"),
        segment.attach(path, KIND, writable=True) as dead,
    ):
        _ring.RingWriter(dead.view)
    made = generations.next_generation(path, KIND, **segments.now())
    with segment.attach(made, KIND, writable=False) as fresh:
        assert _ring.RingReader(fresh.view, 10).lost == 4


def test_rule_4_a_writer_dead_inside_a_batch_is_seen_and_nobody_hangs(tmp_path: Path) -> None:
    """Killed at every store: tests/process/test_writer_death.py."""
    path = segments.make(tmp_path, KIND)
    held = segment.attach(path, KIND, writable=True)
    _ring.RingWriter(held.view).publish(segments.ticks(0, 10))
    segments.set_control(held, intent=20)
    held.close()
    with segment.attach(path, KIND, writable=False) as watching:
        reader, out = _ring.RingReader(watching.view), np.zeros(99, layout.TICK)
        assert [reader.drain(out) for _ in range(1000)] == [10] + [0] * 999
        assert reader.writer_mid_batch()
        assert generations.writer_life(watching, 0) is generations.WriterLife.STALLED


def test_rule_5_every_byte_is_backed_before_it_is_mapped(tmp_path: Path) -> None:
    """Full file systems, cut and sparse files: test_segment.py."""
    path = segments.make(tmp_path, KIND, 1 << 12)
    assert path.stat().st_blocks * 512 >= path.stat().st_size == segment.segment_bytes(KIND, 1 << 12)


def test_rule_6_nobody_else_can_enter(tmp_path: Path) -> None:
    """Each refusal: test_segment.py."""
    before = os.umask(0)
    try:
        path = segments.make(tmp_path, KIND)
        generations.point(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    with segment.attach(path, KIND, writable=False) as held:
        assert not os.get_inheritable(held.fileno())


def test_rule_7_the_lock_tells_dead_and_the_heartbeat_tells_hung(tmp_path: Path) -> None:
    """Real deaths, an unreaped child among them: tests/process/test_writer_death.py."""
    path = segments.make(tmp_path, KIND)
    assert generations.HUNG_AFTER_NS == 2_000_000_000
    with segment.attach(path, KIND, writable=False) as watching:
        held = segment.attach(path, KIND, writable=True)
        held.heartbeat(1)
        assert generations.writer_life(watching, 2_000_000_002) is generations.WriterLife.HUNG
        held.close()
        assert generations.writer_life(watching, 2_000_000_002) is generations.WriterLife.DEAD


def test_rule_8_huge_pages_and_locked_memory_are_reported_and_not_needed(tmp_path: Path) -> None:
    facts = machine.memory_facts(tmp_path)
    assert {"shmem_huge_pages", "huge_pages", "lockable_bytes"} <= set(facts)
    sources = list((EXT.parent / "src/kite_hft/memory").glob("*.py"))
    calls = {
        n.attr for s in sources for n in ast.walk(ast.parse(s.read_text())) if isinstance(n, ast.Attribute)
    }
    assert not calls & {"mlock", "mlockall", "MAP_HUGETLB", "MAP_LOCKED"}


def test_rule_9_only_fixed_width_little_endian_numbers(tmp_path: Path) -> None:
    for name, record in layout.RECORDS.items():
        for field, info in (record.fields or {}).items():
            base = info[0].base
            assert base.kind in "uifSV", f"{name}.{field} is no plain number"
            assert base.str[0] in "<|", f"{name}.{field} is not little-endian"
            assert base.str != "<f4", f"{name}.{field}: float32 loses paise"
    # Nothing in the file depends on where it is mapped: two mappings, two addresses, one content.
    path = segments.make(tmp_path, KIND)
    with segment.attach(path, KIND, writable=True) as a, segment.attach(path, KIND, writable=False) as b:
        assert np.frombuffer(a.view, np.uint8).ctypes.data != np.frombuffer(b.view, np.uint8).ctypes.data
        _ring.RingWriter(a.view).publish(segments.ticks(0, 4))
        assert _ring.RingReader(b.view).drain(np.zeros(4, layout.TICK)) == 4


def test_rule_10_monotonic_for_ages_real_time_for_people_one_boot(tmp_path: Path) -> None:
    path = segment.create(
        segments.folder(tmp_path),
        "ticks",
        KIND,
        16,
        now_mono_ns=5_000_000_000,
        now_real_ns=1_764_000_000 * 10**9,
    )
    with segment.attach(path, KIND, writable=True) as held:
        assert int(held.header["created_mono_ns"]) == 5_000_000_000
        assert int(held.header["created_real_ns"]) == 1_764_000_000 * 10**9
        assert bytes(held.header["boot_id"]) == Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
        # A segment that never beat is judged by its creation, on the same clock.
        assert generations.writer_life(held, 6_000_000_000) is generations.WriterLife.ALIVE
        assert generations.writer_life(held, 8_000_000_000) is generations.WriterLife.HUNG
        assert held.control()["state"] == SegmentState.OPEN
    segments.forge(path, boot_id=b"0" * 36)
    with pytest.raises(segment.OtherBoot, match="last reboot"):
        segment.attach(path, KIND, writable=False)
