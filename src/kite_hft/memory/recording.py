"""Layer 1, recorder and whoever reads a recording, cold: the files of recorded market data.

    page 0   FILE_HEADER: written once, covered by its CRC
    page 1   COMMITS: two slots, used in turn; the one with the higher count holds
    then     ROWS: rows of 64 bytes, the hot line of TICK        (ticks-<connection>.rec)
             or FRAMES: entries of 32 bytes + data, padded to 8  (frames-<connection>.rec)

The file grows by chunks that the disk has promised (posix_fallocate). Data go into its pages by
pwrite: storing through a mapping costs twice the time (every new page is zeroed first) and makes a
SIGBUS of a failing disk, where this is an error code. The commits are stored through a mapping, and
readers map the whole file. A commit is stored after its data, and
its count last, so that whoever reads, also after a kill at any instruction, sees whole rows and
the number of the record wanted next that belongs to them. After a loss of power, data that never
reached the disk reads as zeros or as a damaged frame: readers stop there.

What is missing stands in the file as a gap (kind 0, GAP): how many, why, and the offset from
monotonic to real time from there on. An orderly close cuts the file to its data.
"""

from __future__ import annotations

import enum
import mmap
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import LAYOUT_FINGERPRINT, NO_SLOT, PAGE, TICK
from kite_hft.plain import open_plain

MAGIC: Final = b"KHFTREC1"
VERSION: Final = 1
SUFFIX: Final = ".rec"
DATA_OFFSET: Final = 2 * PAGE
ROW_BYTES: Final = 64
RECORDING_BYTES_MAX: Final = 1 << 40

FILE_HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("kind", "<u4"),
        ("layout_fingerprint", "<u8"),
        ("created_mono_ns", "<i8"),
        ("created_real_ns", "<i8"),
        ("row_size", "<u4"),
        ("connection", "<u4"),
        ("instruments", "S64"),  # SHA-256 of the instruments.csv beside the file, in hex
        ("boot_id", "S40"),
        ("broker", "S16"),  # whose market data; empty in files of earlier versions
        ("build", "<u8"),  # which engine, configuration and dated rules recorded it; hashes, 0: not told
        ("config", "<u8"),
        ("rules", "<u8"),
        ("reserved", "V3900"),
        ("crc", "<u4"),  # CRC-32 of all bytes before it
    ]
)
COMMIT: Final = np.dtype(
    [
        ("count", "<u8"),
        ("size", "<u8"),  # bytes of data
        ("next_seq", "<u8"),  # of the ring
        ("frame_no", "<u8"),  # FRAMES: of the last frame
        ("closed", "<u8"),
    ]
)
ROW: Final = np.dtype(
    {
        "names": [name for name, field in (TICK.fields or {}).items() if field[1] < ROW_BYTES],
        "formats": [field[0] for field in (TICK.fields or {}).values() if field[1] < ROW_BYTES],
        "offsets": [field[1] for field in (TICK.fields or {}).values() if field[1] < ROW_BYTES],
        "itemsize": ROW_BYTES,
    }
)
"""A compact row: the first 64 bytes of TICK."""
ENTRY: Final = np.dtype(
    [
        ("mark", "<u4"),
        ("length", "<u4"),  # bytes of data behind this entry, without padding
        ("recv_ns", "<i8"),
        ("frame_no", "<u8"),
        ("crc", "<u4"),  # CRC-32 of the data
        ("kind", "<u4"),
    ]
)
GAP_DATA: Final = np.dtype([("lost", "<u8"), ("reason", "<u8"), ("offset_ns", "<i8")])
ENTRY_MARK: Final = 0x4D415246  # "FRAM"
GAP: Final = 0
FRAME_ENTRY: Final = 1

Array = npt.NDArray[Any]


class Kind(enum.IntEnum):
    """What a file holds."""

    ROWS = 1
    FRAMES = 2


class GapReason(enum.IntEnum):
    """Why something is missing."""

    TOO_SLOW = 1  # overwritten in the ring before the recorder came by
    RESTART = 2  # the recorder was not there
    INCOMPLETE = 3  # a frame of which parts were lost


class RecordingError(Exception):
    """A recording that cannot be written or read; the message says why."""


class DiskFull(RecordingError):
    """No room to grow; what is recorded stays readable."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in a recording. `at_ns`: CLOCK_MONOTONIC when it was noticed; `before`: rows or
    frames that stand before it."""

    at_ns: int
    lost: int
    reason: GapReason
    before: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What a recording says of itself. `offset_ns`: real minus monotonic time at its start. broker: whose
    market data it holds; "": an earlier version wrote it. build, config, rules: hashes of the run that made
    it, as in its journal; 0: not told."""

    kind: Kind
    connection: int
    instruments: str
    created_mono_ns: int
    created_real_ns: int
    broker: str = ""
    build: int = 0
    config: int = 0
    rules: int = 0

    @property
    def offset_ns(self) -> int:
        return self.created_real_ns - self.created_mono_ns


def file_name(kind: Kind, connection: int) -> str:
    """`ticks-0.rec`, `frames-0.rec`."""
    return f"{'ticks' if kind is Kind.ROWS else 'frames'}-{connection}{SUFFIX}"


def seal(origin: Origin, boot_id: bytes) -> bytes:
    """The header page of a new file."""
    page = np.zeros(1, FILE_HEADER)
    page["magic"], page["version"], page["kind"] = MAGIC, VERSION, origin.kind
    page["layout_fingerprint"] = LAYOUT_FINGERPRINT
    page["created_mono_ns"], page["created_real_ns"] = origin.created_mono_ns, origin.created_real_ns
    page["row_size"], page["connection"] = ROW_BYTES, origin.connection
    page["instruments"], page["boot_id"] = origin.instruments.encode(), boot_id
    page["broker"] = origin.broker.encode()
    page["build"], page["config"], page["rules"] = origin.build, origin.config, origin.rules
    page["crc"] = zlib.crc32(page.tobytes()[:-4])
    return page.tobytes()


def check(page: bytes, where: str) -> Origin:
    """The header of a file, checked.

    Raises:
        RecordingError: names what does not fit.
    """
    if len(page) < PAGE or page[:8] != MAGIC:
        raise RecordingError(f"{where}: not a recording of kite_hft")
    header = np.frombuffer(page, FILE_HEADER, 1)[0]
    if zlib.crc32(page[: PAGE - 4]) != header["crc"]:
        raise RecordingError(f"{where}: its header is damaged")
    if header["version"] != VERSION or header["row_size"] != ROW_BYTES:
        raise RecordingError(f"{where}: format version {header['version']}; this version reads {VERSION}")
    if header["kind"] == Kind.ROWS and header["layout_fingerprint"] != LAYOUT_FINGERPRINT:
        raise RecordingError(f"{where}: rows of another build; read it with the version that wrote it")
    return Origin(
        Kind(int(header["kind"])),
        int(header["connection"]),
        bytes(header["instruments"]).decode(),
        int(header["created_mono_ns"]),
        int(header["created_real_ns"]),
        bytes(header["broker"]).decode("ascii", "replace"),
        *(int(header[name]) for name in ("build", "config", "rules")),
    )


def last_commit(page: bytes | memoryview | mmap.mmap) -> np.void:
    """The slot of a COMMITS page that holds."""
    slots = np.frombuffer(page, COMMIT, 2).copy()
    newest: np.void = slots[int(slots["count"][1] > slots["count"][0])]
    return newest


def gap_rows(rows: npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
    """Where gaps stand among rows of a file."""
    found: npt.NDArray[np.intp] = np.flatnonzero(rows["kind"] == GAP)
    gaps: npt.NDArray[np.intp] = found[rows["slot"][found] == NO_SLOT]
    return gaps


def without_blank(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The rows before the first that was never written to the disk (power was lost): a row has a time."""
    found = np.flatnonzero(rows["kind"] == GAP)
    blank = found[(rows["recv_ns"][found] == 0) & (rows["slot"][found] != NO_SLOT)]
    return rows[: blank[0]] if len(blank) else rows


class Recording:
    """A recording to read, also while it is written or after a crash: what it held when opened.

    `origin`, `closed` (ended in order), `damaged` ("" or what is), `gaps`, and `rows` or `frames()`.
    """

    def __init__(self, path: Path) -> None:
        """Raises RecordingError: no recording, or one of another version."""
        self.path = path
        try:
            with open_plain(path, RECORDING_BYTES_MAX) as file:
                size = os.fstat(file.fileno()).st_size
                head = file.read(DATA_OFFSET)
                self.origin = check(head, str(path))
                if len(head) < DATA_OFFSET:
                    raise RecordingError(f"{path}: cut off within its first two pages")
                self._mapping = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror}") from error
        commit = last_commit(memoryview(self._mapping)[PAGE:DATA_OFFSET])
        self.closed = bool(commit["closed"])
        self.next_seq = int(commit["next_seq"])
        self.size = max(0, min(int(commit["size"]), size - DATA_OFFSET))
        self.damaged = ""  # what a recording that ended in order has lost since
        self.gaps: list[Gap] = []
        self.offsets_ns: list[tuple[int, int]] = [(0, self.origin.offset_ns)]  # from which row on
        self._rows = self._read_rows() if self.origin.kind is Kind.ROWS else np.empty(0, ROW)
        self._entries = self._read_entries() if self.origin.kind is Kind.FRAMES else []

    @property
    def rows(self) -> npt.NDArray[np.void]:
        """ROW[n]: every compact row, gaps left out; read-only."""
        return self._rows

    @property
    def frames(self) -> list[tuple[int, int, bytes]]:
        """(recv_ns, frame_no, data) of every frame."""
        return [
            (recv_ns, number, self._mapping[at : at + length])
            for recv_ns, number, at, length in self._entries
        ]

    def __len__(self) -> int:
        """Rows, or frames."""
        return len(self._rows) + len(self._entries)

    def times_real_ns(self, recv_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Real time of the rows or frames whose monotonic times are given, one for each."""
        starts = np.array([start for start, _ in self.offsets_ns])
        offsets = np.array([offset for _, offset in self.offsets_ns], np.int64)
        found: npt.NDArray[np.int64] = (
            recv_ns + offsets[np.searchsorted(starts, np.arange(len(recv_ns)), "right") - 1]
        )
        return found

    def _read_rows(self) -> npt.NDArray[np.void]:
        whole = np.frombuffer(self._mapping, ROW, self.size // ROW_BYTES, DATA_OFFSET)
        whole = without_blank(whole)
        holes = gap_rows(whole)
        for index, at in enumerate(holes.tolist()):
            row = whole[at]
            self._note_gap(int(row["recv_ns"]), int(row["volume"]), int(row["flags"]), at - index,
                           int(row["exch_ns"]))  # fmt: skip
        return np.delete(whole, holes) if len(holes) else whole

    def _note_gap(self, at_ns: int, lost: int, reason: int, before: int, offset_ns: int) -> None:
        self.gaps.append(Gap(at_ns, lost, GapReason(reason), before))
        self.offsets_ns.append((before, offset_ns))

    def _read_entries(self) -> list[tuple[int, int, int, int]]:
        found: list[tuple[int, int, int, int]] = []
        at, end = DATA_OFFSET, DATA_OFFSET + self.size
        while at + ENTRY.itemsize <= end:
            mark, length, recv_ns, number, crc, kind = np.frombuffer(self._mapping, ENTRY, 1, at)[0].tolist()
            start = at + ENTRY.itemsize
            at = start + length + -length % 8
            if mark != ENTRY_MARK or at > end or zlib.crc32(self._mapping[start : start + length]) != crc:
                if self.closed:
                    self.damaged = (
                        f"a frame at byte {start - ENTRY.itemsize} does not hold: {len(found)} stand"
                    )
                break
            if kind == GAP:
                gap = np.frombuffer(self._mapping, GAP_DATA, 1, start)[0]
                self._note_gap(
                    recv_ns, int(gap["lost"]), int(gap["reason"]), len(found), int(gap["offset_ns"])
                )
            else:
                found.append((recv_ns, number, start, length))
        return found


def find(path: Path) -> list[Path]:
    """The recordings in a file's or a folder's place, by name; none: an empty list."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix == SUFFIX)
    return [path] if path.suffix == SUFFIX else []


def describe(path: Path) -> dict[str, Any]:
    """What a recording holds, for people: kind, connection, rows or frames, bytes, gaps, times.

    Raises:
        RecordingError: it cannot be read.
    """
    recording = Recording(path)
    if recording.origin.kind is Kind.ROWS:
        times = recording.rows["recv_ns"].astype(np.int64)
    else:
        times = np.array([recv_ns for recv_ns, *_ in recording._entries], np.int64)
    real = recording.times_real_ns(times)
    return {
        "path": str(path),
        "kind": recording.origin.kind.name.lower(),
        "connection": recording.origin.connection,
        "broker": recording.origin.broker,
        "instruments_sha256": recording.origin.instruments,
        "build": f"{recording.origin.build:016x}",
        "config": f"{recording.origin.config:016x}",
        "rules": f"{recording.origin.rules:016x}",
        "count": len(recording),
        "bytes": recording.size,
        "closed": recording.closed,
        "damaged": recording.damaged,
        "lost": sum(gap.lost for gap in recording.gaps),
        "gaps": [
            {"at_ns": gap.at_ns, "lost": gap.lost, "reason": gap.reason.name, "before": gap.before}
            for gap in recording.gaps
        ],
        "first_real_ns": int(real[0]) if len(real) else 0,
        "last_real_ns": int(real[-1]) if len(real) else 0,
    }
