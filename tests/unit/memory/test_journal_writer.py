"""The writer of the journal when the disk obeys and when it does not, and the thread that syncs."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kite_hft.memory.journal import Header, JournalError, Kind, scan
from kite_hft.memory.journal_files import open_journal
from kite_hft.memory.journal_writer import PAYLOAD_MAX, RESERVE_STEP_BYTES, JournalWriter, SyncBeside

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
