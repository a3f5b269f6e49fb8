"""The writer of the journal when the disk obeys and when it does not, and the thread that syncs."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.memory.journal import Header, JournalError, Kind, scan
from kite_hft.memory.journal_files import open_journal
from kite_hft.memory.journal_writer import (
    PAYLOAD_MAX,
    RESERVE_BYTES,
    RESERVE_STEP_BYTES,
    JournalWriter,
    OsFile,
    SyncBeside,
)

HEADER = Header(build=1, config=2, created_real_ns=3)
MIB = 1 << 20


@dataclass
class Disk:
    """A file in memory. `size`: bytes that can be allocated; `wrong`: what each call raises or returns."""

    size: int = 1 << 40
    data: bytearray = field(default_factory=bytearray)
    calls: list[str] = field(default_factory=list)
    wrong: dict[str, OSError | int] = field(default_factory=dict)
    truncated: int = -1
    taken: list[tuple[int, int]] = field(default_factory=list)

    def _call(self, name: str) -> int | None:
        self.calls.append(name)
        wrong = self.wrong.get(name)
        if isinstance(wrong, OSError):
            raise wrong
        return wrong

    def write_at(self, data: bytes, offset: int) -> int:
        short = self._call("write")
        taken = data if short is None else data[:short]
        self.data[offset : offset + len(taken)] = taken
        return len(taken)

    def sync(self) -> None:
        self._call("sync")

    def allocate(self, offset: int, length: int) -> None:
        self._call("allocate")
        self.taken.append((offset, offset + length))
        if offset + length > self.size:
            raise OSError(errno.ENOSPC, "No space left on device")

    def free_bytes(self) -> int:
        return self._call("free") or 0

    def truncate(self, length: int) -> None:
        self._call("truncate")
        self.truncated = length


def broken(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def records(disk: Disk) -> list[Kind]:
    return [record.kind for record in scan(bytes(disk.data)).records]


def test_what_is_written_can_be_read_and_gone_on_with() -> None:
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER)
    assert disk.calls == ["write", "sync"]  # the header is on the disk before anything is told
    assert [writer.append(Kind.INTENT, 5, b"{}"), writer.append(Kind.END, 6, b"{}")] == [1, 2]
    assert (writer.synced_seq, writer.behind) == (0, True)
    assert writer.sync() == writer.synced_seq == 2 and not writer.behind
    again = JournalWriter(disk, resume=scan(bytes(disk.data)))
    assert again.synced_seq == 2 and again.append(Kind.START, 7, b"{}") == 3
    found = scan(bytes(disk.data))
    assert found.tail == "clean" and [r.kind.name for r in found.records] == ["INTENT", "END", "START"]
    assert found.on_disk == found.end - 42  # the third says of the second that it is on the disk


def test_arguments() -> None:
    with pytest.raises(JournalError, match="header"):
        JournalWriter(Disk())
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER)
    with pytest.raises(JournalError, match="payload"):
        writer.append(Kind.START, 0, bytes(PAYLOAD_MAX + 1))
    writer.append(Kind.START, 0, b"{}")
    torn = scan(bytes(disk.data[:-1]))
    with pytest.raises(JournalError, match="torn"):
        JournalWriter(disk, resume=torn)


@pytest.mark.parametrize("wrong", [broken(errno.ENOSPC), broken(errno.EIO), 0, 17, 41])
def test_after_a_failed_write_nothing_new_is_taken_and_the_rest_is_tried(wrong: OSError | int) -> None:
    disk, told = Disk(), list[str]()
    writer = JournalWriter(disk, header=HEADER, on_failure=told.append)
    writer.append(Kind.START, 0, b"{}")
    disk.wrong["write"] = wrong
    for _ in range(2):
        with pytest.raises(JournalError, match="write"):
            writer.append(Kind.CALL, 0, b"{}")
    disk.wrong.clear()
    with pytest.raises(JournalError, match="write"):
        writer.append(Kind.INTENT, 0, b"{}")
    with pytest.raises(JournalError, match="write"):
        writer.append(Kind.GTT, 0, b"{}")
    assert writer.append(Kind.CALL, 0, b"{}") == 2 and writer.append(Kind.ANSWER, 0, b"{}") == 3
    assert records(disk) == [Kind.START, Kind.CALL, Kind.ANSWER] and scan(bytes(disk.data)).tail == "clean"
    assert len(told) == 1 and writer.state() == (told[0], "")
    assert writer.sync() == 3  # what was written may still come to the disk


def test_the_longest_payload_is_taken_after_a_failure_as_before() -> None:
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER)
    assert writer.append(Kind.REPORT, 0, bytes(PAYLOAD_MAX)) == 1
    disk.wrong["write"] = broken(errno.EIO)
    with pytest.raises(JournalError, match="write"):
        writer.append(Kind.REPORT, 0, b"{}")
    disk.wrong.clear()
    assert writer.append(Kind.REPORT, 0, bytes(PAYLOAD_MAX)) == 2
    with pytest.raises(JournalError, match="payload"):
        writer.append(Kind.REPORT, 0, bytes(PAYLOAD_MAX + 1))


def test_a_failed_sync_is_never_tried_again() -> None:
    disk, told = Disk(), list[str]()
    writer = JournalWriter(disk, header=HEADER, on_failure=told.append)
    writer.append(Kind.START, 0, b"{}")
    disk.wrong["sync"] = broken(errno.EIO)
    for _ in range(3):
        with pytest.raises(JournalError, match="sync failed: Input/output error"):
            writer.sync()
        disk.wrong.clear()
    with pytest.raises(JournalError, match="sync failed"):
        writer.append(Kind.INTENT, 0, b"{}")
    assert writer.append(Kind.CALL, 0, b"{}") == 2
    writer.finish()
    assert disk.calls.count("sync") == 2 and not writer.behind and writer.synced_seq == 0 and len(told) == 1


def test_the_reserve_is_kept_and_low_when_the_disk_is_full() -> None:
    disk = Disk(size=20 * MIB)
    writer = JournalWriter(disk, header=HEADER, reserve=2 * MIB)
    writer.top_up()
    assert writer.state() == ("", "") and disk.calls.count("allocate") == 1
    writer.top_up()
    assert disk.calls.count("allocate") == 1  # nothing was used
    disk.size = 2 * MIB + 128  # filled by others; what is ours stays ours
    for _ in range(RESERVE_STEP_BYTES // 65536 + 1):
        writer.append(Kind.REPORT, 0, bytes(65536))
    writer.top_up()
    assert "nearly full" in writer.low and not writer.failed
    writer.append(Kind.INTENT, 0, b"{}")  # it lives on the reserve
    disk.size = 1 << 40
    writer.top_up()
    assert writer.low == ""
    writer.finish()
    assert disk.truncated == len(disk.data)  # the reserve is given back


def test_a_disk_with_room_for_the_reserve_alone_is_not_low() -> None:
    disk = Disk(size=MIB + 64)
    writer = JournalWriter(disk, header=HEADER, reserve=MIB)
    writer.top_up()
    assert writer.low == "" and disk.calls.count("allocate") == 2


def test_a_file_system_without_fallocate_counts_what_is_free() -> None:
    disk = Disk(wrong={"allocate": broken(errno.EOPNOTSUPP), "free": 5 * MIB})
    writer = JournalWriter(disk, header=HEADER, reserve=4 * MIB)
    writer.top_up()
    assert writer.low == ""
    disk.wrong["free"] = 3 * MIB
    writer.top_up()
    assert "3 MiB free" in writer.low


def test_a_real_file_keeps_its_size_and_gives_the_reserve_back(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fd = open_journal(path, allow_memory=True)
    writer = JournalWriter(fd, header=HEADER, reserve=MIB)
    writer.top_up()
    if writer.low:
        pytest.skip(f"this file system sets nothing apart: {writer.low}")
    writer.append(Kind.START, 0, b"{}")
    assert path.stat().st_size == 64 + 42 and path.stat().st_blocks * 512 >= MIB
    writer.finish()
    os.close(fd)
    assert path.stat().st_size == 64 + 42 and path.stat().st_blocks * 512 < MIB
    assert scan(path.read_bytes()).tail == "clean"


def until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(5000):
        if true():
            return
        pause.wait(0.002)
    raise AssertionError("it does not come about")


def test_the_thread_beside_syncs_when_it_is_woken_and_not_before() -> None:
    disk, synced = Disk(), list[int]()
    writer = JournalWriter(disk, header=HEADER)
    beside = SyncBeside(writer, on_sync=lambda: synced.append(writer.synced_seq), gather_s=0.0)
    beside.start()
    beside.wake()  # nothing is behind
    last = [writer.append(Kind.REPORT, 0, b"{}") for _ in range(50)][-1]
    assert writer.synced_seq == 0 and disk.calls.count("sync") == 1
    beside.wake()
    until(lambda: bool(synced))
    assert synced == [last] and disk.calls.count("sync") == 2
    writer.append(Kind.END, 0, b"{}")
    beside.stop()
    writer.finish()
    assert writer.synced_seq == last + 1
    assert not [t for t in threading.enumerate() if t.name == "journal-sync"]


def test_the_thread_beside_tells_of_a_failure_and_does_not_try_again() -> None:
    disk, told = Disk(), list[str]()
    writer = JournalWriter(disk, header=HEADER)
    beside = SyncBeside(writer, on_sync=lambda: told.append(writer.failed), gather_s=0.0)
    beside.start()
    disk.wrong["sync"] = broken(errno.EIO)
    writer.append(Kind.REPORT, 0, b"{}")
    beside.wake()
    until(lambda: bool(told))
    writer.append(Kind.REPORT, 0, b"{}")
    beside.wake()
    beside.stop()
    assert told == ["journal sync failed: Input/output error"] and disk.calls.count("sync") == 2


def test_a_payload_of_a_mebibyte_is_taken_and_no_longer_one() -> None:
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER)
    assert writer.append(Kind.PLAN, 0, b'"' + bytes(MIB - 2) + b'"') == 1
    with pytest.raises(JournalError, match="payload of 1048577 bytes > 1048576"):
        writer.append(Kind.PLAN, 0, bytes(MIB + 1))
    assert not writer.failed and len(scan(bytes(disk.data)).records[0].payload) == MIB


def test_which_part_of_the_disk_is_kept() -> None:
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER, reserve=RESERVE_BYTES)
    writer.top_up()
    assert disk.taken == [(64, 64 + 80 * MIB)], "64 MiB, and 16 of what comes next"
    disk = Disk(size=64 + MIB)
    writer = JournalWriter(disk, header=HEADER, reserve=MIB)
    writer.top_up()
    assert disk.taken == [(64, 64 + 17 * MIB), (64, 64 + MIB)]
    writer.top_up()
    assert len(disk.taken) == 2, "all of the reserve is there"
    writer.append(Kind.END, 0, b"{}")
    disk.size = 1 << 40
    writer.top_up()
    assert disk.taken[2:] == [(64 + MIB, 64 + 42 + 17 * MIB)], "only what is lacking"


def test_without_a_reserve_nothing_is_set_apart() -> None:
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER)
    writer.append(Kind.START, 0, b"{}")
    writer.top_up()
    assert disk.taken == [] and writer.state() == ("", "")


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_is_free_is_enough_when_it_is_the_reserve(number: int) -> None:
    disk = Disk(wrong={"allocate": broken(number), "free": 4 * MIB})
    writer = JournalWriter(disk, header=HEADER, reserve=4 * MIB)
    writer.top_up()
    assert writer.low == "" and disk.calls.count("allocate") == 1
    disk.wrong["free"] = 4 * MIB - 1
    writer.top_up()
    assert writer.low == "the disk is nearly full: 3 MiB free"


def test_the_end_syncs_what_is_behind_and_nothing_else() -> None:
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER)
    writer.finish()
    assert disk.calls.count("sync") == 1 and disk.truncated == 64, "the header's own"
    writer.append(Kind.END, 0, b"{}")
    writer.finish()
    assert disk.calls.count("sync") == 2 and not writer.behind and disk.truncated == 64 + 42


def test_a_real_file_sets_blocks_apart_or_says_that_it_cannot(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    file = OsFile(fd)
    try:
        file.allocate(0, MIB)
    except OSError as error:
        assert error.errno in (errno.EOPNOTSUPP, errno.ENOSYS)
    else:
        assert os.fstat(fd).st_blocks * 512 >= MIB and os.fstat(fd).st_size == 0
    os.close(fd)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor") as refused:
        OsFile(fd).allocate(0, MIB)
    assert refused.value.errno == errno.EBADF
    os.close(fd)


def test_free_bytes_are_those_that_we_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(f_bavail=3, f_bfree=5, f_frsize=4096, f_bsize=8192)
    monkeypatch.setattr(os, "fstatvfs", lambda fd: disk)
    assert OsFile(0).free_bytes() == 3 * 4096


class Idle:
    """A writer with nothing to sync; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def behind(self) -> bool:
        self.asked += 1
        return False


def test_the_thread_beside_sleeps_on_when_there_is_nothing_to_do() -> None:
    writer: Any = Idle()
    beside = SyncBeside(writer, gather_s=0.0)
    beside.start()
    beside.wake()
    threading.Event().wait(0.05)
    assert writer.asked == 1, "by wake alone"
    beside.stop()


def test_the_thread_beside_gathers_records_for_one_sync() -> None:
    disk = Disk()
    writer = JournalWriter(disk, header=HEADER)
    beside = SyncBeside(writer, gather_s=600.0)
    beside.start()
    writer.append(Kind.REPORT, 0, b"{}")
    beside.wake()
    threading.Event().wait(0.05)
    assert writer.synced_seq == 0, "it waits for more"
    writer.append(Kind.REPORT, 0, b"{}")
    beside.stop()
    assert writer.synced_seq == 2 and disk.calls.count("sync") == 2
