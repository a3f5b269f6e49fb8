"""Layer 1, every process, cold: what makes a segment's two leading pages acceptable.

Pure functions over the pages' bytes, and the errors with which everything else is refused. Each
message names the cause and what to do about it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from kite_hft import _ring, builds, layout
from kite_hft.layout import SegmentKind, SegmentState

RINGS: Final = {
    SegmentKind.TICK_RING: layout.TICK,
    SegmentKind.AUX_RING: layout.AUX,
    SegmentKind.BAR_RING: layout.BAR,
    SegmentKind.FRAME_RING: layout.FRAME,
    SegmentKind.INPUT_RING: layout.INPUT,
}
QUEUES: Final = {SegmentKind.INTENT_QUEUE: layout.INTENT, SegmentKind.EVENT_QUEUE: layout.ORDER_EVENT}
QUEUES[SegmentKind.TEXT_QUEUE] = layout.TEXT
RECORD_SIZES: Final[dict[SegmentKind, int]] = {
    **{kind: dtype.itemsize for kind, dtype in (RINGS | QUEUES).items()},
    SegmentKind.LATEST_TABLE: layout.TICK.itemsize,
    SegmentKind.COUNTERS: 8,
    SegmentKind.SLOT_STATS: layout.SLOT_STATS.itemsize,
}
ROWS: Final = frozenset({SegmentKind.SLOT_STATS})
"""Kinds whose payload is `capacity` plain records, without marks."""
PAYLOAD_OFFSET: Final = 2 * layout.PAGE
CAPACITY_MAX: Final = 1 << 40
LOOKS_MAX: Final = 100
_CRC_SIZE: Final = layout.PAGE - 4
_RESERVED: Final = ("writer_pad", "tail_pad", "wake_pad", "live_pad", "reserved")


class SegmentError(Exception):
    """A segment that is not used, and why."""


class Missing(SegmentError):
    """There is no such file."""


class Exists(SegmentError):
    """A file of that name is there already."""


class WrongOwner(SegmentError):
    """Not ours alone: another owner, a looser mode, a symlink or a second hard link."""


class Truncated(SegmentError):
    """Shorter or longer than its header says, or not backed by memory everywhere."""


class NoRoom(SegmentError):
    """The file system has too little room."""


class BadMagic(SegmentError):
    """No segment at all, or one whose creation never finished."""


class WrongVersion(SegmentError):
    """Another format version."""


class BadChecksum(SegmentError):
    """The header's bytes changed after they were written."""


class LayoutMismatch(SegmentError):
    """Records are laid out differently."""


class BuildMismatch(SegmentError):
    """Written by processes that were compiled from other sources."""


class WrongKind(SegmentError):
    """Holds something else than was asked for."""


class WrongRecordSize(SegmentError):
    """Record size does not fit the kind."""


class BadCapacity(SegmentError):
    """Capacity is zero, too large, or no power of two where one is needed."""


class BadGeometry(SegmentError):
    """Page size, payload offset or total size contradict the rest of the header."""


class OtherBoot(SegmentError):
    """From before the last reboot: its monotonic times mean nothing now."""


class BadControl(SegmentError):
    """The control words contradict one another."""


class WriterAlive(SegmentError):
    """Another live process writes this segment."""


def payload_bytes(kind: SegmentKind, capacity: int, counters: int = 0, histograms: int = 0) -> int:
    """Bytes of a segment behind its two pages.

    `capacity` counts records (rings, queues) or rows (table); COUNTERS takes `counters` and
    `histograms` instead.

    Raises:
        BadCapacity: zero, too large, or no power of two (of 2 or more) for a ring or queue.
    """
    if kind is SegmentKind.COUNTERS:
        capacity = counters
    if not 0 < capacity <= CAPACITY_MAX:
        raise BadCapacity(f"capacity {capacity} of {kind.name}: choose 1 to {CAPACITY_MAX}")
    if kind in RINGS or kind in QUEUES:
        if capacity < 2 or capacity & (capacity - 1):
            raise BadCapacity(f"capacity {capacity} of {kind.name}: choose a power of two, 2 or more")
        return capacity * RECORD_SIZES[kind]
    if kind is SegmentKind.LATEST_TABLE:
        return capacity * (layout.CACHE_LINE + RECORD_SIZES[kind])
    if kind in ROWS:
        return capacity * RECORD_SIZES[kind]
    words = (capacity + 7) // 8 * 8 + histograms * layout.HISTOGRAM_BUCKETS
    return words * 8


def segment_bytes(kind: SegmentKind, capacity: int, counters: int = 0, histograms: int = 0) -> int:
    """Bytes of the whole file. Arguments and errors as in payload_bytes."""
    return PAYLOAD_OFFSET + payload_bytes(kind, capacity, counters, histograms)


def seal_header(page: np.ndarray[Any, np.dtype[np.void]]) -> bytes:
    """The header page's bytes with its checksum filled in; `page` has shape (1,)."""
    page["crc"] = zlib.crc32(page.tobytes()[:_CRC_SIZE])
    return page.tobytes()


def _check_builds(header: np.void) -> None:
    for mine, theirs, error, what in (
        (layout.LAYOUT_FINGERPRINT, header["layout_fingerprint"], LayoutMismatch, "record layout"),
        (builds.fingerprint(), header["build_fingerprint"], BuildMismatch, "build"),
    ):
        if int(theirs) != mine:
            raise error(
                f"the segment has {what} {int(theirs):016x}, this process {mine:016x}: two versions of "
                "kite_hft are mixed; stop every process of the engine and start them from one build"
            )


def check_own_build() -> None:
    """Refuse to work with compiled modules of another layout.py, or of several builds.

    Raises:
        LayoutMismatch: names both fingerprints.
        BuildMismatch: names the modules.
    """
    if _ring.LAYOUT_FINGERPRINT != layout.LAYOUT_FINGERPRINT:
        raise LayoutMismatch(
            f"layout.py has fingerprint {layout.LAYOUT_FINGERPRINT:016x}, the compiled modules "
            f"{_ring.LAYOUT_FINGERPRINT:016x}: build again (make build)"
        )
    try:
        builds.require_one_build()
    except builds.MixedBuild as error:
        raise BuildMismatch(str(error)) from None


def check_header(page: bytes, kind: SegmentKind, file_size: int, boot_id: bytes) -> np.void:
    """Validate the first page of a segment and return it as a HEADER record.

    Raises:
        BadMagic, WrongVersion, BadChecksum, LayoutMismatch, BuildMismatch, WrongKind,
        WrongRecordSize, BadCapacity, BadGeometry, Truncated, OtherBoot: in this order.
    """
    header: np.void = np.frombuffer(page, layout.HEADER)[0]
    if bytes(header["magic"]) != layout.MAGIC:
        raise BadMagic("no segment header: another file, or its creator died; create it again")
    if header["format_version"] != layout.FORMAT_VERSION:
        raise WrongVersion(
            f"format version {header['format_version']}, this process reads "
            f"{layout.FORMAT_VERSION}: run both sides from one build"
        )
    if zlib.crc32(page[:_CRC_SIZE]) != header["crc"]:
        raise BadChecksum("the header was changed after it was written: create the segment again")
    _check_builds(header)
    if header["kind"] != kind:
        known = {int(k): k.name for k in SegmentKind}
        found = known.get(int(header["kind"]), str(header["kind"]))
        raise WrongKind(f"holds {found}, wanted {kind.name}: check which name belongs to which stage")
    if header["record_size"] != RECORD_SIZES[kind]:
        raise WrongRecordSize(
            f"records of {header['record_size']} bytes, {kind.name} has {RECORD_SIZES[kind]}"
        )
    capacity, histograms = int(header["capacity"]), int(header["histograms"])
    expected = segment_bytes(kind, capacity, capacity, histograms)
    if header["page_size"] != layout.PAGE or header["payload_offset"] != PAYLOAD_OFFSET:
        raise BadGeometry(f"page size {header['page_size']}, payload at {header['payload_offset']}")
    if header["total_size"] != expected:
        raise BadGeometry(f"total size {header['total_size']}, {capacity} records make {expected}")
    if file_size != expected:
        raise Truncated(f"the file has {file_size} bytes, its header says {expected}: create it again")
    if bytes(header["boot_id"]) != boot_id:
        raise OtherBoot("left over from before the last reboot: remove it")
    return header


def _check_words(control: np.void, header: np.void, kind: SegmentKind) -> None:
    head, intent, tail = (int(control[name]) for name in ("head", "intent", "tail"))
    first, capacity = int(header["first_seq"]), int(header["capacity"])
    states = [int(state) for state in SegmentState]
    if control["state"] not in states:
        raise BadControl(f"state {control['state']} is none of {states}: create the segment again")
    if any(np.any(np.frombuffer(bytes(control[name]), np.uint8)) for name in _RESERVED):
        raise BadControl("reserved bytes of the control page are not zero: create the segment again")
    if kind not in RINGS and kind not in QUEUES:
        return
    if not first <= head <= intent <= head + capacity:
        raise BadControl(
            f"head {head}, intent {intent}, first {first}, capacity {capacity}: "
            "the control words contradict one another; create the segment again"
        )
    if kind in QUEUES and not first <= tail <= head <= tail + capacity:
        raise BadControl(f"tail {tail}, head {head}, capacity {capacity}: create the queue again")
    if control["state"] in (SegmentState.CLOSED, SegmentState.CLEAN) and control["final_seq"] != head:
        raise BadControl(f"closed at {control['final_seq']} but head is {head}: create the segment again")


def check_control(
    read: Callable[[], np.void], last_seq: Callable[[int], int], header: np.void, kind: SegmentKind
) -> None:
    """Validate the control page of a segment that may be written to at this moment.

    `read` returns the control page now; `last_seq(number)` the number that stands in the slot of
    record `number`. A live writer can make one look inconsistent, so a bad look is repeated. The
    indexes only ever grow: what is wrong in two equal looks was wrong in between.

    Raises:
        BadControl: names the words.
    """
    problem = BadControl("never read")
    for _ in range(LOOKS_MAX):
        control = read()
        try:
            _check_words(control, header, kind)
            head = int(control["head"])
            if kind in RINGS and head != header["first_seq"] and (found := last_seq(head - 1)) != head - 1:
                raise BadControl(
                    f"head is {head} but the slot before it holds record {found}: create the ring again"
                )
            return
        except BadControl as error:
            problem = error
        if read().tobytes() == control.tobytes():
            break
    raise problem
