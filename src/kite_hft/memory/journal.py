"""Layer 1, orders process, hot: the order journal, an append-only binary file with one writer.

    file   = HEADER record*
    HEADER = magic 8s, version u32, size u32, layout u64, build u64, config u64, created_real_ns i64,
             reserved 12s, crc u32                                                (64 bytes)
    record = length u32 (of the payload), crc u32, seq u64, time_ns i64, kind u16, zero u16,
             length again u32 (inverted), payload                                 (32 bytes + payload)

All little-endian. A record's crc is the CRC-32 of everything behind the crc field, started from the
crc of the record before it (the header's for the first): records can be neither lost nor swapped
nor taken from another file unnoticed. An intent is written before its request is sent; fsync runs
beside, in a thread that the engine owns (`sync`).

Reading stops at the first record that does not hold. Where the file ends inside or with that record,
or only zeros follow, it is a torn tail: what a crash leaves; the writer goes on behind the last good
record. Anything else is corruption, and the engine must not trade on it. The second copy of the
length tells a record that was cut from one whose length is damaged, behind which good ones may lie.
"""

from __future__ import annotations

import ctypes
import enum
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from kite_hft.layout import LAYOUT_FINGERPRINT

MAGIC: Final = b"KHFTJRN1"
VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIIQQQq12sI")
_RECORD: Final = struct.Struct("<IIQqHHI")
_HEAD: Final = struct.Struct("<II")
_BODY: Final = struct.Struct("<QqHHI")
_U32: Final = 0xFFFFFFFF
PAYLOAD_MAX: Final = 1 << 20
FREE_BYTES_MIN: Final = 64 << 20
_TMPFS: Final = frozenset({0x01021994, 0x858458F6})  # TMPFS_MAGIC, RAMFS_MAGIC of linux/magic.h


class Kind(enum.IntEnum):
    """What a record tells. Values stand in files: none is ever used again for something else."""

    START = 1  # a process opened the journal
    INTENT = 2  # an order is about to be sent: everything to find it again, and what it was judged by
    REFUSED = 3  # an intent was refused by us
    ANSWER = 4  # what the broker's answer to a call proves
    CALL = 5  # a modification or a cancel is about to be sent
    REPORT = 6  # a report of the broker that taught something
    TRADE = 7  # an execution that taught something
    STATE = 8  # active, halted, stopping; with the reason
    RESOLVED = 9  # an ambiguous order was found, or proved absent
    EXTERNAL = 10  # what the account holds beyond our own orders
    END = 11  # orderly end
    WAITING = 12  # an intent was taken in and has to wait for its turn
    WITHDRAWN = 13  # a waiting intent was taken back by its own strategy
    ALERT = 14  # what a person was told
    PLAN = 15  # exits of a position: as wished, as they moved, as they ended
    GROUP = 16  # intents that belong together
    COMMAND = 17  # what a person told the engine to do
    GTT = 18  # a trigger that lies at the broker
    GUARD = 19  # a guard of the gate has tripped or was let go: cooldowns, repeats, losses


class JournalError(Exception):
    """The journal cannot be written, or cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Header:
    """Which engine wrote the file."""

    build: int
    config: int
    created_real_ns: int
    layout: int = LAYOUT_FINGERPRINT

    def encode(self) -> bytes:
        """The 64 bytes at the start of the file."""
        body = _HEADER.pack(
            MAGIC, VERSION, _HEADER.size, self.layout, self.build, self.config, self.created_real_ns, b"", 0
        )[:-4]
        return body + struct.pack("<I", zlib.crc32(body))


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `time_ns` is CLOCK_REALTIME."""

    seq: int
    kind: Kind
    time_ns: int
    payload: bytes

    def data(self) -> dict[str, Any]:
        """The payload as what was journalled."""
        decoded: dict[str, Any] = msgspec.json.decode(self.payload)
        return decoded


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole journal as read: `tail` is "clean", "torn" or "corrupt"; `end` is where it holds up to."""

    header: Header
    records: tuple[Record, ...]
    end: int
    crc: int
    tail: str
    detail: str

    @property
    def next_seq(self) -> int:
        return self.records[-1].seq + 1 if self.records else 1


def encode(kind: Kind, seq: int, time_ns: int, payload: bytes, crc: int) -> tuple[bytes, int]:
    """One record and its crc; `crc` is that of the record before."""
    body = _BODY.pack(seq, time_ns, kind, 0, ~len(payload) & _U32) + payload
    crc = zlib.crc32(body, crc)
    return _HEAD.pack(len(payload), crc) + body, crc


def scan(data: bytes) -> Scan:
    """Read a whole journal.

    Raises:
        JournalError: not a journal, another version, a damaged header.
    """
    if len(data) < _HEADER.size:
        raise JournalError(f"{len(data)} bytes are no journal: the header has {_HEADER.size}")
    magic, version, size, layout, build, config, created, _, crc = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise JournalError(f"magic {magic!r} is not {MAGIC!r}")
    if zlib.crc32(data[: _HEADER.size - 4]) != crc:
        raise JournalError("the header's checksum does not hold")
    if version != VERSION or size != _HEADER.size:
        raise JournalError(f"version {version} with a header of {size} bytes; this engine reads {VERSION}")
    records: list[Record] = []
    at, tail, detail = _HEADER.size, "clean", ""
    while at < len(data):
        found = _read(data, at, crc, len(records) + 1)
        if isinstance(found, str):
            tail, detail = _tail(data, at), f"record {len(records) + 1} at byte {at}: {found}"
            break
        record, crc, at = found
        records.append(record)
    return Scan(Header(build, config, created, layout), tuple(records), at, crc, tail, detail)


def _read(data: bytes, at: int, crc_before: int, seq_due: int) -> tuple[Record, int, int] | str:
    if len(data) - at < _RECORD.size:
        return f"{len(data) - at} bytes of a head of {_RECORD.size}"
    length, crc, seq, time_ns, kind, zero, inverted = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + length
    if length != ~inverted & _U32:
        return f"length {length}, its copy {~inverted & _U32}"
    if end > len(data):
        return f"ends {end - len(data)} bytes behind the file"
    if zlib.crc32(data[at + _HEAD.size : end], crc_before) != crc:
        return "checksum does not hold"
    if seq != seq_due or zero or kind not in set(Kind):
        return f"seq {seq} (due {seq_due}), kind {kind}"
    return Record(seq, Kind(kind), time_ns, data[at + _RECORD.size : end]), crc, end


def _tail(data: bytes, at: int) -> str:
    """Torn: what was written from `at` on is no more than the one record that begins there."""
    written = data[at:].rstrip(b"\0")
    if len(written) < _RECORD.size:
        return "torn"
    length, inverted = _HEAD.unpack_from(written)[0], _RECORD.unpack_from(written)[-1]
    whole = length == ~inverted & _U32
    return "torn" if whole and len(written) <= _RECORD.size + length else "corrupt"


class Journal(Protocol):
    """What ORDERS needs of a journal."""

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int: ...


class JournalWriter:
    """Appends records to an open file descriptor (handed in, not closed here).

    After one failed write or sync nothing is written any more: a second fsync may succeed without
    the data being on the disk.
    """

    def __init__(self, fd: int, *, header: Header | None = None, resume: Scan | None = None) -> None:
        """`header` begins a new file, `resume` goes on behind what was read of an old one.

        Raises:
            JournalError: neither or both, or the old file is corrupt; OSError of the write.
        """
        if (header is None) == (resume is None):
            raise JournalError("give a header for a new journal or a scan of an old one")
        self._fd = fd
        self.failed = ""
        self.synced_seq = 0
        self._lock = threading.Lock()  # of `failed` and `synced_seq`: sync runs in another thread
        if resume is not None:
            if resume.tail == "corrupt":
                raise JournalError(f"the journal is corrupt: {resume.detail}")
            os.ftruncate(fd, resume.end)
            os.lseek(fd, resume.end, os.SEEK_SET)
            self.next_seq, self._crc = resume.next_seq, resume.crc
        elif header is not None:
            encoded = header.encode()
            self.next_seq, self._crc = 1, zlib.crc32(encoded[:-4])
            self._write(encoded)

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        """Write one record with one write call; returns its seq.

        Raises:
            JournalError: this or an earlier write or sync failed, or the payload is too long.
        """
        if self.failed:
            raise JournalError(self.failed)
        if len(payload) > PAYLOAD_MAX:
            raise JournalError(f"payload of {len(payload)} bytes > {PAYLOAD_MAX}")
        seq = self.next_seq
        record, crc = encode(kind, seq, time_ns, payload, self._crc)
        self._write(record)
        self.next_seq, self._crc = seq + 1, crc
        return seq

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            self._fail(f"journal write failed: {error.strerror}")
            raise JournalError(self.failed) from error
        if written != len(data):
            self._fail(f"journal write cut short: {written} of {len(data)} bytes")
            raise JournalError(self.failed)

    def sync(self) -> int:
        """fdatasync; returns the last seq that is on the disk. May run in another thread.

        Raises:
            JournalError: it failed; it is never tried again.
        """
        if self.failed:
            raise JournalError(self.failed)
        written = self.next_seq - 1
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._fail(f"journal sync failed: {error.strerror}")
            raise JournalError(self.failed) from error
        with self._lock:
            self.synced_seq = max(self.synced_seq, written)
        return written

    def _fail(self, text: str) -> None:
        with self._lock:
            self.failed = self.failed or text


def sync_until(writer: JournalWriter, stop: threading.Event, interval_s: float = 0.005) -> None:
    """Body of the thread beside: group fsync while there is something new, until `stop` or a failure."""
    while not stop.wait(interval_s):
        if writer.next_seq - 1 > writer.synced_seq:
            try:
                writer.sync()
            except JournalError:
                return  # latched in writer.failed: the next append raises, and ORDERS halts


def on_tmpfs(fd: int) -> bool:
    """True when the file lies in memory (statfs(2): f_type is the struct's first word)."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_long * 32)()
    if libc.fstatfs(fd, ctypes.byref(buffer)):
        raise OSError(ctypes.get_errno(), "fstatfs")
    return (buffer[0] & 0xFFFFFFFF) in _TMPFS


def open_journal(path: Path, *, allow_tmpfs: bool = False) -> int:
    """A file descriptor for a new journal (0600, must not exist).

    Raises:
        JournalError: the file lies in memory, where a sync means nothing, or the disk is nearly full.
        OSError: it exists already, or cannot be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _require_disk(fd, path, allow_tmpfs)
    except BaseException:
        os.close(fd)
        path.unlink()
        raise
    return fd


def reopen_journal(path: Path, *, allow_tmpfs: bool = False) -> tuple[int, Scan]:
    """The descriptor of an existing journal and what it holds; hand both to JournalWriter.

    Raises:
        JournalError: as `scan` and `open_journal`. OSError: it cannot be opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _require_disk(fd, path, allow_tmpfs)
        return fd, scan(path.read_bytes())
    except BaseException:
        os.close(fd)
        raise


def _require_disk(fd: int, path: Path, allow_tmpfs: bool) -> None:
    if not allow_tmpfs and on_tmpfs(fd):
        raise JournalError(f"{path} lies in memory (tmpfs): a journal must survive a power cut")
    disk = os.fstatvfs(fd)
    free = disk.f_bavail * disk.f_frsize
    if free < FREE_BYTES_MIN:
        raise JournalError(f"{path}: {free >> 20} MiB free < {FREE_BYTES_MIN >> 20} MiB")


def dump(path: Path) -> Iterator[dict[str, Any]]:
    """The journal as dicts for people: the header, each record, and how it ends.

    Raises:
        JournalError: as `scan`.
    """
    found = scan(path.read_bytes())
    header = found.header
    yield {
        "kind": "HEADER",
        "layout": f"{header.layout:016x}",
        "build": f"{header.build:016x}",
        "config": f"{header.config:016x}",
        "created_real_ns": header.created_real_ns,
    }
    for record in found.records:
        # Under a name of its own: a payload has words like seq and kind, too.
        named = {"seq": record.seq, "time_ns": record.time_ns, "kind": record.kind.name}
        yield named | {"data": record.data()}
    if found.tail != "clean":
        yield {"kind": "TAIL", "tail": found.tail, "detail": found.detail}
