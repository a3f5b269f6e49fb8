"""The journal's file: on a real disk or refused, opened again after a crash, torn tails kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

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
