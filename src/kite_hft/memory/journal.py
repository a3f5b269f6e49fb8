"""Layer 1, orders process, hot: the format of the order journal, and what reading it tells.

    file   = HEADER record*
    HEADER = magic 8s, version u32, size u32, layout u64, build u64, config u64, rules u64,
             created_real_ns i64, reserved 4s, crc u32                              (64 bytes)
    record = mark 4s, crc u32, crc of the record before u32, length u32 (of the payload), seq u64,
             time_ns i64, kind u16, lag u16, zero u32, payload                      (40 bytes + payload)

All little-endian. A record's crc is the CRC-32 of everything behind the crc field, started from the
header's: a record can be told whole by itself, and belongs to this file alone. Its copy of the crc of
the record before (the header's for the first) chains them: none can be lost or swapped. `lag` says how
many records before it were not known to be on the disk when it was written.

Reading stops at the first record that does not hold. What follows is

    torn      what a crash leaves: nothing of it was known to be on the disk. Between two syncs a
              file system may write sectors in any order, so that a sector in the middle of a record,
              or whole records before good ones, may be zeros or what the disk held before;
    corrupt   when any whole record behind it says, by its lag, that the bad one had been on the disk.
              The engine must not trade on such a file.

Writing stands in journal_writer.py, opening in journal_files.py.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from kite_hft._journal import encode as encode  # one record as bytes: compiled, since each order waits for it
from kite_hft.layout import LAYOUT_FINGERPRINT

MAGIC: Final = b"KHFTJRN1"
VERSION: Final = 2
_HEADER: Final = struct.Struct("<8sIIQQQQq4sI")
HEADER_BYTES: Final = _HEADER.size
MARK: Final = b"\xf5KJ\xff"
"""Begins every record; no valid UTF-8 has these bytes, so no payload does."""
_HEAD: Final = struct.Struct("<4sI")
_RECORD: Final = struct.Struct("<4sIIIQqHHI")
PAYLOAD_MAX: Final = 1 << 20
LAG_MAX: Final = 0xFFFF
"""As a lag: so many or more, nothing is known."""


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
    """Which engine wrote the file, by which configuration and which dated rules; hashes, 0: not told."""

    build: int
    config: int
    created_real_ns: int
    rules: int = 0
    layout: int = LAYOUT_FINGERPRINT

    def encode(self) -> bytes:
        """The 64 bytes at the start of the file."""
        hashes = (self.layout, self.build, self.config, self.rules)
        words = (MAGIC, VERSION, HEADER_BYTES, *hashes, self.created_real_ns, b"", 0)
        body = _HEADER.pack(*words)[:-4]
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
    """A whole journal as read.

    end: where it holds up to. crc: of its last record, or of its header (`seed`). tail: "clean",
    "torn" or "corrupt", with its detail. on_disk: where the records end that are known, from the file
    alone, to be on the disk.
    """

    header: Header
    records: tuple[Record, ...]
    end: int
    crc: int
    seed: int
    on_disk: int
    tail: str
    detail: str

    @property
    def next_seq(self) -> int:
        return self.records[-1].seq + 1 if self.records else 1


def read_header(data: bytes) -> tuple[Header, int]:
    """The header of a journal, and its crc.

    Raises:
        JournalError: not a journal, another version, a damaged header.
    """
    if len(data) < HEADER_BYTES:
        raise JournalError(f"{len(data)} bytes are no journal: the header has {HEADER_BYTES}")
    magic, version, size, layout, build, config, rules, created, _, crc = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise JournalError(f"magic {magic!r} is not {MAGIC!r}")
    if zlib.crc32(data[: HEADER_BYTES - 4]) != crc:
        raise JournalError("the header's checksum does not hold")
    if version != VERSION or size != HEADER_BYTES:
        raise JournalError(f"version {version} with a header of {size} bytes; this engine reads {VERSION}")
    return Header(build, config, created, rules, layout), crc


def scan(data: bytes) -> Scan:
    """Read a whole journal.

    Raises:
        JournalError: as `read_header`.
    """
    header, seed = read_header(data)
    records: list[Record] = []
    ends = [HEADER_BYTES]
    at, crc, known, tail, detail = HEADER_BYTES, seed, 0, "clean", ""
    while at < len(data):
        found = _whole(data, at, seed)
        due = len(records) + 1
        if not isinstance(found, str) and (found.before, found.record.seq) != (crc, due):
            found = f"seq {found.record.seq} (due {due}), or it follows another record"
        if isinstance(found, str):
            tail = "corrupt" if _was_on_disk(data, at, seed, due) else "torn"
            detail = f"record {due} at byte {at}: {found}"
            break
        records.append(found.record)
        known = max(known, found.known)
        at, crc = found.end, found.crc
        ends.append(at)
    return Scan(header, tuple(records), at, crc, seed, ends[known], tail, detail)


@dataclass(frozen=True, slots=True)
class _Found:
    """A whole record. known: the last seq that it says was on the disk."""

    record: Record
    before: int
    crc: int
    end: int
    known: int


_KINDS: Final = {int(kind): kind for kind in Kind}


def _whole(data: bytes, at: int, seed: int) -> _Found | str:
    """The record of this file that begins at `at`, or why there is none."""
    if len(data) - at < _RECORD.size:
        return f"{len(data) - at} bytes of a head of {_RECORD.size}"
    mark, crc, before, length, seq, time_ns, number, lag, zero = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + length
    kind = _KINDS.get(number)
    if mark != MARK or kind is None or zero:
        return f"no record begins here: mark {mark!r}, kind {number}"
    if end > len(data):
        return f"ends {end - len(data)} bytes behind the file"
    if zlib.crc32(data[at + _HEAD.size : end], seed) != crc:
        return "checksum does not hold"
    known = seq - 1 - lag if lag < LAG_MAX else 0
    return _Found(Record(seq, kind, time_ns, data[at + _RECORD.size : end]), before, crc, end, known)


def _was_on_disk(data: bytes, at: int, seed: int, due: int) -> bool:
    """Whether any whole record from `at` on says that record `due`, which is not there, had been synced."""
    at = data.find(MARK, at)
    while at >= 0:
        found = _whole(data, at, seed)
        if not isinstance(found, str) and found.known >= due:
            return True
        at = data.find(MARK, at + 1)
    return False


class Journal(Protocol):
    """What ORDERS needs of a journal."""

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int: ...


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
        "rules": f"{header.rules:016x}",
        "created_real_ns": header.created_real_ns,
    }
    for record in found.records:
        # Under a name of its own: a payload has words like seq and kind, too.
        named = {"seq": record.seq, "time_ns": record.time_ns, "kind": record.kind.name}
        yield named | {"data": record.data()}
    if found.tail != "clean":
        yield {"kind": "TAIL", "tail": found.tail, "detail": found.detail}
