"""Segment files: who may have them, that they are whole, and who may write."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import segments

from kite_hft import _counters, _queue, _ring, _table, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment

KIND = SegmentKind.TICK_RING


def test_what_create_writes(tmp_path: Path) -> None:
    directory = segments.folder(tmp_path)
    path = segment.create(
        directory, "ticks0", KIND, 64, generation=3, first_seq=500, now_mono_ns=11, now_real_ns=22
    )
    assert path == directory / "ticks0.g3.seg"
    with segment.attach(path, KIND, writable=False) as held:
        header = held.header
        names = ("capacity", "generation", "first_seq", "created_mono_ns", "created_real_ns", "record_size")
        assert [int(header[name]) for name in names] == [64, 3, 500, 11, 22, 192]
        assert (header["creator_pid"], bytes(header["name"])) == (os.getpid(), b"ticks0")
        assert header["creator_start_ticks"] == segment.start_ticks(os.getpid()) > 0
        control = held.control()
        assert [int(control[word]) for word in ("head", "intent", "tail")] == [500, 500, 500]
        assert len(held.view) == path.stat().st_size == segment.segment_bytes(KIND, 64)
        assert held.view.readonly


@pytest.mark.parametrize("kind", list(SegmentKind))
def test_every_kind_can_be_created_and_attached(tmp_path: Path, kind: SegmentKind) -> None:
    path = segments.make(tmp_path, kind, 4, counters=4, histograms=1)
    with segment.attach(path, kind, writable=True, claim=True) as held:
        makers: dict[SegmentKind, Any] = {
            SegmentKind.LATEST_TABLE: _table.TableWriter,
            SegmentKind.COUNTERS: _counters.CounterWriter,
            SegmentKind.SLOT_STATS: len,  # plain rows: no class of their own
        }
        default = _queue.QueueProducer if kind.name.endswith("QUEUE") else _ring.RingWriter
        makers.get(kind, default)(held.view)


def test_a_name_is_used_once(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    before = path.read_bytes()
    with pytest.raises(segment.Exists, match="stop the engine that uses it"):
        segments.make(tmp_path, KIND)
    assert path.read_bytes() == before
    segment.unlink(path)
    segment.unlink(path)
    with pytest.raises(segment.Missing, match="is the engine running"):
        segment.attach(path, KIND, writable=False)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a.b", "x" * 49, "-x"])
def test_names_are_plain_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        segment.file_name(name, 1)
    with pytest.raises(ValueError, match="lower-case"):
        segment.make_directory(tmp_path, name)


def test_room_is_asked_for_before_anything_starts(tmp_path: Path) -> None:
    segment.require_room(tmp_path, 1)

    def small(path: Path) -> Any:
        assert path == tmp_path
        return SimpleNamespace(f_bavail=10, f_frsize=4096)

    segment.require_room(tmp_path, 40_960, statvfs=small)
    with pytest.raises(segment.NoRoom, match=r"40,961 bytes.*40,960 free.*remount.*ring_buffer_size"):
        segment.require_room(tmp_path, 40_961, statvfs=small)


def test_a_full_file_system_is_an_error_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(segment.NoRoom):
        segments.make(tmp_path, KIND)
    assert list(segments.folder(tmp_path).iterdir()) == []


def test_a_small_tmpfs_refuses_instead_of_killing(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "khft-test", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    try:
        with pytest.raises(segment.NoRoom, match=r"12,591,104 bytes.*free"):
            segments.make(mount, KIND, 1 << 16)
        directory = segments.folder(mount)
        assert list(directory.iterdir()) == []
        with pytest.raises(segment.NoRoom):
            segment.require_room(directory, 1 << 20)
        segments.make(mount, KIND, 64)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_failing_file_system_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int, data: bytes, offset: int) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(OSError, match="Input/output"):
        segments.make(tmp_path, KIND)
    assert list(segments.folder(tmp_path).iterdir()) == []


def test_directories_are_ours_alone(tmp_path: Path) -> None:
    made = segment.make_directory(tmp_path, "mine")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert segment.make_directory(tmp_path, "mine") == made
    made.chmod(0o750)
    with pytest.raises(segment.WrongOwner, match="mode 750 lets others in"):
        segment.make_directory(tmp_path, "mine")
    with pytest.raises(segment.WrongOwner):
        segment.create(made, "ticks", KIND, 64, now_mono_ns=0, now_real_ns=0)
    made.chmod(0o2700)
    with pytest.raises(segment.WrongOwner, match="mode 2700"):
        segment.make_directory(tmp_path, "mine")
    made.chmod(0o700)
    (tmp_path / "link").symlink_to(made)
    with pytest.raises(segment.WrongOwner, match="symlinks are refused"):
        segment.make_directory(tmp_path, "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(segment.WrongOwner, match="not a directory"):
        segment.make_directory(tmp_path, "file")
    with pytest.raises(segment.Missing, match="no such directory"):
        segment.make_directory(tmp_path / "nowhere", "mine")


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(segment.WrongOwner, match="mode 640"):
        segment.attach(path, KIND, writable=False)
    path.chmod(0o600)
    link = path.with_name("link.seg")
    link.symlink_to(path)
    with pytest.raises(segment.WrongOwner, match="symlink"):
        segment.attach(link, KIND, writable=False)
    link.unlink()
    link.hardlink_to(path)
    with pytest.raises(segment.WrongOwner, match="one name"):
        segment.attach(path, KIND, writable=False)
    link.unlink()
    path.parent.chmod(0o755)
    with pytest.raises(segment.WrongOwner, match="mode 755"):
        segment.attach(path, KIND, writable=False)


def test_a_foreign_owner_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    path = segments.make(tmp_path, KIND)
    os.chown(path, 12345, 12345)
    with pytest.raises(segment.WrongOwner, match="owner 12345"):
        segment.attach(path, KIND, writable=False)
    os.chown(path.parent, 12345, 12345)
    with pytest.raises(segment.WrongOwner, match="belongs to user 12345"):
        segment.make_directory(path.parent.parent, path.parent.name)


def test_cut_grown_and_sparse_files_are_refused(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    image = path.read_bytes()
    for size in (0, 1, 4096, 8191, 8192, len(image) - 1, len(image) + 1):
        os.truncate(path, size)
        with pytest.raises(segment.Truncated):
            segment.attach(path, KIND, writable=False)
        path.write_bytes(image)
    os.truncate(path, 0)
    os.truncate(path, len(image))
    with path.open("r+b") as file:
        file.write(image[:8192])
    with pytest.raises(segment.Truncated, match="sparse"):
        segment.attach(path, KIND, writable=False)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    first = segment.attach(path, KIND, writable=True)
    _ring.RingWriter(first.view)
    with pytest.raises(segment.WriterAlive, match=f"process {os.getpid()} writes it"):
        segment.attach(path, KIND, writable=True)
    segment.attach(path, KIND, writable=False).close()
    segment.attach(path, KIND, writable=True, claim=False).close()
    control = first.control()
    assert (control["writer_pid"], control["writer_start_ticks"]) == (
        os.getpid(),
        segment.start_ticks(os.getpid()),
    )
    first.close()
    first.close()
    segment.attach(path, KIND, writable=True).close()


def test_both_ends_of_a_queue_are_writable_and_one_is_the_producer(tmp_path: Path) -> None:
    kind = SegmentKind.INTENT_QUEUE
    path = segments.make(tmp_path, kind)
    with (
        segment.attach(path, kind, writable=True, claim=True),
        segment.attach(path, kind, writable=True),
        pytest.raises(segment.WriterAlive),
    ):
        segment.attach(path, kind, writable=True, claim=True)


def test_a_mapping_lives_as_long_as_its_user(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    held = segment.attach(path, KIND, writable=True)
    writer, reader = _ring.RingWriter(held.view), _ring.RingReader(held.view)
    held.close()
    writer.publish(segments.ticks(0, 3))
    assert reader.drain(np.zeros(4, layout.TICK)) == 3
    segment.attach(path, KIND, writable=True).close()  # the claim went with close()
    writer.publish(segments.ticks(0, 3))


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    path = segments.make(tmp_path, KIND)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        segment.attach(path, KIND, writable=True).close()
        with pytest.raises(segment.WrongKind):
            segment.attach(path, SegmentKind.BAR_RING, writable=True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_is_named_by_pid_and_start(tmp_path: Path) -> None:
    assert segment.start_ticks(os.getpid()) == segment.start_ticks(os.getpid()) > 0
    assert segment.start_ticks(2**22 + 1) == 0
