"""The journal gives back what was written, up to the first byte that does not hold."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.layout import LAYOUT_FINGERPRINT
from kite_hft.memory import journal
from kite_hft.memory.journal import (
    Header,
    JournalError,
    JournalWriter,
    Kind,
    dump,
    open_journal,
    reopen_journal,
    scan,
)

HEADER = Header(build=1, config=2, created_real_ns=3)
PAYLOADS = [b'{"no":%d,"text":"%s"}' % (i, b"x" * (i * 7 % 40)) for i in range(12)]


def written(folder: Path, payloads: list[bytes] = PAYLOADS) -> bytes:
    path = folder / "journal"
    fd = open_journal(path, allow_tmpfs=True)
    writer = JournalWriter(fd, header=HEADER)
    for number, payload in enumerate(payloads, 1):
        assert writer.append(Kind.INTENT, 1000 + number, payload) == number
    assert writer.sync() == len(payloads)
    os.close(fd)
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("journal"))


def ends(data: bytes) -> list[int]:
    """Where the header and each record end."""
    found = [64]
    for payload in PAYLOADS:
        found.append(found[-1] + 32 + len(payload))
    assert found[-1] == len(data)
    return found


def test_replay_equals_what_was_written(data: bytes) -> None:
    found = scan(data)
    assert [r.payload for r in found.records] == PAYLOADS
    assert [r.seq for r in found.records] == list(range(1, 13))
    assert [r.time_ns for r in found.records] == [1001 + i for i in range(12)]
    assert found.tail == "clean" and found.end == len(data)
    assert found.header == HEADER and found.header.layout == LAYOUT_FINGERPRINT


def test_cut_at_every_byte_is_torn_and_keeps_all_whole_records(data: bytes) -> None:
    whole = ends(data)
    for length in range(64, len(data)):
        found = scan(data[:length])
        kept = sum(end <= length for end in whole) - 1
        assert len(found.records) == kept
        assert found.tail == ("clean" if length in whole else "torn")
        assert found.end == whole[kept]
        padded = scan(data[:length] + bytes(100))
        assert len(padded.records) == kept and padded.tail == "torn"
    for length in range(64):
        with pytest.raises(JournalError):
            scan(data[:length])


def test_every_flipped_bit_is_seen(data: bytes) -> None:
    whole = ends(data)
    for at in range(64, len(data)):
        for bit in (0, 3, 7):
            wrong = bytearray(data)
            wrong[at] ^= 1 << bit
            found = scan(bytes(wrong))
            record = next(i for i, end in enumerate(whole) if at < end) - 1
            assert len(found.records) == record
            assert found.tail in ("torn", "corrupt")
            if record < len(PAYLOADS) - 1:  # good records follow: never cut off silently
                assert found.tail == "corrupt", (at, bit)
    for at in range(64):
        wrong = bytearray(data)
        wrong[at] ^= 1
        with pytest.raises(JournalError):
            scan(bytes(wrong))


def test_lost_swapped_and_doubled_records_are_seen(data: bytes) -> None:
    whole = ends(data)
    parts = [data[a:b] for a, b in zip([0, *whole], whole, strict=False)]
    for order in ([0, 2], [0, 2, 1], [0, 1, 1], [0, 1, 3]):
        found = scan(b"".join(parts[i] for i in order))
        good = next((n for n, i in enumerate(order) if i != n), len(order))
        assert len(found.records) == good - 1 and found.tail != "clean"


def test_records_of_another_journal_are_seen(data: bytes) -> None:
    other = Header(build=9, config=2, created_real_ns=3).encode() + data[64:]
    assert scan(other).records == ()


def test_resume_after_a_torn_tail(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(data[:-5])
    fd, found = reopen_journal(path, allow_tmpfs=True)
    writer = JournalWriter(fd, resume=found)
    assert writer.append(Kind.END, 7, b"{}") == 12
    os.close(fd)
    again = scan(path.read_bytes())
    assert again.tail == "clean" and [r.kind for r in again.records][-1] is Kind.END
    assert [r.payload for r in again.records] == [*PAYLOADS[:-1], b"{}"]


def test_a_corrupt_journal_is_not_resumed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(data[:100] + b"\xff" + data[101:])
    fd, found = reopen_journal(path, allow_tmpfs=True)
    with pytest.raises(JournalError, match="corrupt"):
        JournalWriter(fd, resume=found)
    os.close(fd)


def test_files_are_private_new_and_not_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    os.close(open_journal(path, allow_tmpfs=True))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        open_journal(path)
    if Path("/dev/shm").is_dir():
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            with pytest.raises(JournalError, match="tmpfs"):
                open_journal(Path(memory) / "journal")
            assert not (Path(memory) / "journal").exists()
            os.close(open_journal(Path(memory) / "journal", allow_tmpfs=True))
    monkeypatch.setattr(journal, "FREE_BYTES_MIN", 1 << 62)
    with pytest.raises(JournalError, match="MiB free"):
        open_journal(tmp_path / "other", allow_tmpfs=True)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError):
        open_journal(tmp_path / "link", allow_tmpfs=True)


def test_one_failed_write_is_the_last(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fd = open_journal(path, allow_tmpfs=True)
    writer = JournalWriter(fd, header=HEADER)
    os.close(fd)
    closed = "Bad file descriptor"
    with pytest.raises(JournalError, match=closed):
        writer.append(Kind.START, 0, b"{}")
    for again in (lambda: writer.append(Kind.START, 0, b"{}"), writer.sync):
        with pytest.raises(JournalError, match=closed):
            again()


def test_a_write_cut_short_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = open_journal(tmp_path / "journal", allow_tmpfs=True)
    writer = JournalWriter(fd, header=HEADER)
    monkeypatch.setattr(journal.os, "write", lambda fd, data: len(data) - 1)
    with pytest.raises(JournalError, match="cut short"):
        writer.append(Kind.START, 0, b"{}")
    os.close(fd)


def test_a_failed_sync_is_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = open_journal(tmp_path / "journal", allow_tmpfs=True)
    writer = JournalWriter(fd, header=HEADER)
    writer.append(Kind.START, 0, b"{}")
    calls = []

    def broken(fd: int) -> None:
        calls.append(fd)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(journal.os, "fdatasync", broken)
    for _ in range(3):
        with pytest.raises(JournalError, match="sync failed"):
            writer.sync()
    with pytest.raises(JournalError, match="sync failed"):
        writer.append(Kind.START, 0, b"{}")
    assert len(calls) == 1
    os.close(fd)


def test_the_thread_beside_syncs_what_is_written(tmp_path: Path) -> None:
    fd = open_journal(tmp_path / "journal", allow_tmpfs=True)
    writer, stop = JournalWriter(fd, header=HEADER), threading.Event()
    thread = threading.Thread(target=journal.sync_until, args=(writer, stop, 0.001))
    thread.start()
    last = 0
    for _ in range(50):
        last = writer.append(Kind.REPORT, 0, b"{}")
    pause = threading.Event()
    for _ in range(2000):
        if writer.synced_seq == last:
            break
        pause.wait(0.002)
    stop.set()
    thread.join()
    assert writer.synced_seq == last == 50
    os.close(fd)


def test_dump(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(data[:-1])
    rows = list(dump(path))
    assert rows[0]["kind"] == "HEADER" and rows[1]["kind"] == "INTENT" and rows[1]["data"]["no"] == 0
    assert rows[-1]["kind"] == "TAIL" and rows[-1]["tail"] == "torn" and len(rows) == 13


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="header"):
        JournalWriter(0)
    fd = open_journal(tmp_path / "journal", allow_tmpfs=True)
    writer = JournalWriter(fd, header=HEADER)
    with pytest.raises(JournalError, match="payload"):
        writer.append(Kind.START, 0, bytes(journal.PAYLOAD_MAX + 1))
    os.close(fd)


@given(st.binary(max_size=300))
def test_any_bytes_behind_good_records_never_add_one(noise: bytes) -> None:
    crc = int.from_bytes(HEADER.encode()[-4:], "little")
    record, _ = journal.encode(Kind.START, 1, 5, b"{}", crc)
    found = scan(HEADER.encode() + record + noise)
    assert len(found.records) == 1 and (found.tail == "clean") == (noise == b"")
