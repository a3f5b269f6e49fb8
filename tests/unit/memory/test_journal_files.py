"""The journal's file: on a real disk or refused, opened again after a crash, torn tails kept."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.memory import journal_files
from kite_hft.memory.journal import Header, JournalError, Kind, scan
from kite_hft.memory.journal_files import (
    OVERLAY,
    failure_note,
    give_back_reserves,
    in_memory,
    keep_name,
    note_failure,
    open_journal,
    reopen_journal,
    upper_layer,
)
from kite_hft.memory.journal_writer import JournalWriter

HEADER = Header(build=1, config=2, created_real_ns=3)


def journal(path: Path, n: int = 3, *, sync: bool = False) -> bytes:
    """A journal of `n` records."""
    fd = open_journal(path, allow_memory=True)
    writer = JournalWriter(fd, header=HEADER)
    for number in range(n):
        writer.append(Kind.REPORT, number, b'{"number": %d}' % number)
        if sync:
            writer.sync()
    os.close(fd)
    return path.read_bytes()


def test_files_are_private_and_new(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        open_journal(path, allow_memory=True)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for opened in (open_journal, reopen_journal):
        with pytest.raises(OSError):
            opened(tmp_path / "link", allow_memory=True)


def test_the_name_is_brought_to_the_disk_with_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def told(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(journal_files.os, "fsync", told)
    path = tmp_path / "product" / "account" / "day" / "run" / "journal.bin"
    path.parent.mkdir(parents=True)
    journal(path)
    keep_name(path)
    assert [Path(folder).name for folder in synced] == ["run", "day", "account", "product"]


def test_memory_is_no_disk(tmp_path: Path) -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        path = Path(memory) / "journal"
        with pytest.raises(JournalError, match=r"power cut .tmpfs.*XDG_STATE_HOME"):
            open_journal(path)
        assert not path.exists()
        journal(path)
        with pytest.raises(JournalError, match="tmpfs"):
            reopen_journal(path)


def test_an_overlay_is_judged_by_its_upper_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = "\n".join(
        [
            "22 1 0:21 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/up/root,workdir=/w",
            "23 22 0:22 / /data rw - ext4 /dev/vda rw",
            "24 22 0:23 / /with\\040space rw - overlay overlay rw,upperdir=/up/space",
        ]
    )
    assert upper_layer(Path("/home/x/journal"), mounts) == Path("/up/root")
    assert upper_layer(Path("/data/journal"), mounts) is None
    assert upper_layer(Path("/with space/journal"), mounts) == Path("/up/space")
    path = tmp_path / "journal"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    real = journal_files._fs_type

    def as_overlay(number: int) -> int:
        return OVERLAY if number == fd else real(number)

    monkeypatch.setattr(journal_files, "_fs_type", as_overlay)
    for upper, said in (
        (None, "not told"),
        (tmp_path / "gone", "container"),
        (Path("/dev/shm"), "over tmpfs"),
    ):
        monkeypatch.setattr(journal_files, "upper_layer", lambda path, mounts, upper=upper: upper)
        assert said in in_memory(fd)
    os.close(fd)


def test_a_full_disk_refuses_a_new_journal_and_not_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal(path)
    monkeypatch.setattr(journal_files, "FREE_BYTES_MIN", 1 << 62)
    with pytest.raises(JournalError, match="MiB free"):
        open_journal(tmp_path / "other", allow_memory=True)
    assert not (tmp_path / "other").exists()
    os.close(reopen_journal(path, allow_memory=True).fd)


def test_a_torn_tail_is_kept_beside_and_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    data = journal(path)
    for round_ in (1, 2):
        path.write_bytes(data[:-5])
        again = reopen_journal(path, allow_memory=True)
        assert f"journal.torn-{round_}" in again.set_aside and "record 3" in again.set_aside
        writer = JournalWriter(again.fd, resume=again.found)
        assert writer.append(Kind.END, 7, b"{}") == 3
        os.close(again.fd)
        found = scan(path.read_bytes())
        assert found.tail == "clean" and [r.kind for r in found.records][-1] is Kind.END
        kept = path.with_name(f"journal.torn-{round_}")
        assert kept.read_bytes() == data[again.found.end : -5] and kept.stat().st_mode & 0o777 == 0o600


def test_zeros_are_cut_off_and_keep_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    data = journal(path)
    path.write_bytes(data + bytes(5000))
    again = reopen_journal(path, allow_memory=True)
    os.close(again.fd)
    assert again.set_aside == "" and path.read_bytes() == data and os.listdir(tmp_path) == ["journal"]


def test_a_torn_tail_that_cannot_be_kept_does_not_keep_cancels_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    path.write_bytes(journal(path) + b"half a record")

    def full(folders: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_files, "sync_folders", full)
    again = reopen_journal(path, allow_memory=True)
    os.close(again.fd)
    assert "lost" in again.set_aside and "No space" in again.set_aside and len(again.found.records) == 3


def test_a_corrupt_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    data = journal(path, sync=True)
    wrong = data[:100] + b"\xff" + data[101:]
    path.write_bytes(wrong)
    with pytest.raises(JournalError, match="corrupt: record 1"):
        reopen_journal(path, allow_memory=True)
    assert path.read_bytes() == wrong and os.listdir(tmp_path) == ["journal"]


def test_what_may_not_be_on_the_disk_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync the kernel may show pages that the disk never got."""
    path = tmp_path / "journal"
    data = journal(path)
    wrote: list[tuple[bytes, int]] = []
    pwrite = os.pwrite
    monkeypatch.setattr(
        journal_files.os, "pwrite", lambda fd, part, at: (wrote.append((part, at)), pwrite(fd, part, at))[1]
    )
    os.close(reopen_journal(path, allow_memory=True).fd)
    assert wrote == [(data[64:], 64)] and path.read_bytes() == data


def test_the_note_of_a_failure_reaches_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal(path)
    note_failure(path, "journal sync failed: Input/output error")
    again = reopen_journal(path, allow_memory=True)
    os.close(again.fd)
    assert again.failed == "journal sync failed: Input/output error"
    failure_note(path).write_bytes(b"")  # a full disk takes a name, and no more
    again = reopen_journal(path, allow_memory=True)
    os.close(again.fd)
    assert "could not be written" in again.failed
    failure_note(path).unlink()
    note_failure(tmp_path / "no" / "journal", "nowhere")  # harmless


def test_reserves_of_the_dead_are_given_back(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fd = open_journal(path, allow_memory=True)
    writer = JournalWriter(fd, header=HEADER, reserve=4 << 20)
    writer.top_up()
    os.close(fd)
    if path.stat().st_blocks * 512 < 4 << 20:
        pytest.skip("this file system sets nothing apart")
    give_back_reserves([path, tmp_path / "missing"])
    assert path.stat().st_blocks * 512 < 1 << 20 and scan(path.read_bytes()).tail == "clean"


EXT4 = 0xEF53
TMPFS = 0x01021994


@pytest.mark.parametrize(
    ("number", "name"),
    [(TMPFS, "tmpfs"), (0x858458F6, "ramfs"), (0x958458F6, "hugetlbfs")],  # linux/magic.h
)
def test_file_systems_in_memory_are_known_by_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    monkeypatch.setattr(journal_files, "_fs_type", lambda fd: number)
    with pytest.raises(JournalError, match=f"power cut .{name}.: put the state"):
        open_journal(tmp_path / "journal")
    assert os.listdir(tmp_path) == []


def test_an_overlay_is_known_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_files, "_fs_type", lambda fd: 0x794C7630)  # linux/magic.h
    monkeypatch.setattr(journal_files, "upper_layer", lambda path, mounts: None)
    with pytest.raises(JournalError, match="an overlay whose upper layer is not told"):
        open_journal(tmp_path / "journal")


@pytest.mark.parametrize(
    ("mounts", "upper"),
    [
        ("22 1 0:21 / / rw - overlay none rw,upperdir=/up", "/up"),
        ("22 1 0:21 / / rw shared:1 - overlay none rw,upperdir=/up", "/up"),
        ("22 1 0:21 / / rw - ext4 overlay rw,upperdir=/up", None),
        ("22 1 0:21 / / rw - overlay overlay", None),
        ("22 1 0:21 / / rw - overlay x rw,upperdir=/a\n23 1 0:22 / / rw - overlay x rw,upperdir=/b", "/b"),
        ("22 1 0:21 / /x rw - overlay x rw,upperdir=/a\n23 1 0:22 / / rw - overlay x rw,upperdir=/b", "/a"),
        ("22 1 0:21 / /y rw - overlay x rw,upperdir=/a", None),
    ],
)
def test_the_upper_layer_is_that_of_the_last_and_nearest_mount(mounts: str, upper: str | None) -> None:
    assert upper_layer(Path("/x/journal"), mounts) == (Path(upper) if upper else None)


@pytest.mark.parametrize(
    ("name", "backing", "why"),
    [
        (None, None, ""),  # a network file system: no block device below
        ("sda1", None, ""),
        ("ram0", None, "the RAM disk ram0"),
        ("zram1", None, "the RAM disk zram1"),
        ("loop3", "on_disk", ""),
        ("loop3", "gone", ""),
        ("loop3", "in_memory", "a loop device over tmpfs"),
    ],
)
def test_what_lies_below_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, backing: str | None, why: str
) -> None:
    files = {part: tmp_path / part for part in ("journal", "on_disk", "in_memory")}
    for file in files.values():
        file.touch()
    numbers = dict.fromkeys(files.values(), os.makedev(7, 3)) | {files["on_disk"]: os.makedev(8, 1)}

    def opened(fd: int) -> Path:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))

    block = tmp_path / "sys/dev/block"
    block.mkdir(parents=True)
    if name:
        device = tmp_path / "sys/devices" / name
        (device / "loop" if backing else device).mkdir(parents=True)
        (block / "7:3").symlink_to(device)
        if backing:
            (device / "loop/backing_file").write_text(f"{tmp_path / backing}\n")
    monkeypatch.setattr(
        journal_files, "_fs_type", lambda fd: TMPFS if opened(fd).name == "in_memory" else EXT4
    )
    monkeypatch.setattr(journal_files, "Path", lambda path: Path(path.replace("/sys", f"{tmp_path}/sys", 1)))
    fd = os.open(files["journal"], os.O_RDWR)
    monkeypatch.setattr(os, "fstat", lambda fd: SimpleNamespace(st_dev=numbers[opened(fd)]))
    found = in_memory(fd)
    monkeypatch.undo()
    os.close(fd)
    assert found == why


def test_a_new_journal_asks_for_64_mebibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(f_bavail=(64 << 10) - 1, f_bfree=1 << 40, f_frsize=1024, f_bsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda fd: disk)
    with pytest.raises(JournalError, match="63 MiB free < 64 MiB"):
        open_journal(tmp_path / "journal", allow_memory=True)
    disk.f_bavail += 1
    os.close(open_journal(tmp_path / "journal", allow_memory=True))


def test_a_torn_tail_is_whole_in_its_file_before_it_is_synced_and_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    data = journal(path)
    path.write_bytes(data + b"half a record")
    synced: list[tuple[str, int, int]] = []
    fsync = os.fsync

    def told(fd: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd).st_size, path.stat().st_size))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", told)
    again = reopen_journal(path, allow_memory=True)
    os.close(again.fd)
    assert synced[0] == (f"{path}.torn-1", 13, len(data) + 13) and synced[1][0] == str(tmp_path)
    assert path.stat().st_size == len(data)


@dataclass
class Dead:
    """A file with `spare` bytes of the disk behind its end."""

    spare: int

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_blocks=1 << 20, st_size=(512 << 20) - self.spare)


def test_a_reserve_is_what_is_more_than_a_mebibyte_behind_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[tuple[object, int]] = []
    monkeypatch.setattr(os, "truncate", lambda path, length: cut.append((path, length)))
    files: Any = [Dead(0), Dead(1 << 20), Dead((1 << 20) + 1), Dead(64 << 20)]
    give_back_reserves(files)
    assert cut == [(files[2], (511 << 20) - 1), (files[3], 448 << 20)]
