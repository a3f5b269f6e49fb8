"""Layer 1, supervisor and readers, cold: is a segment's writer alive, and what comes after it.

A writer that died is never restarted into its old file. The supervisor marks the old generation
CLOSED(final_seq), creates generation g + 1 whose numbering carries on, and swaps the manifest
(`<name>.current`, one file name) by rename. Readers drain the old file to its end, then attach
what the manifest names and go on from their position: a batch that the dead writer had announced
but not finished is a gap in the numbering, counted as lost, never a mix.
"""

from __future__ import annotations

import enum
import fcntl
import os
from pathlib import Path
from typing import Final

from kite_hft.layout import SegmentKind, SegmentState
from kite_hft.memory.header import RINGS, Missing, SegmentError, WriterAlive
from kite_hft.memory.segment import Segment, attach, create, file_name

HUNG_AFTER_NS: Final = 2_000_000_000
"""A writer beats every 100 ms; this long without a beat, while it lives, is hung."""


class BadManifest(SegmentError):
    """The manifest names no segment file."""


class WriterLife(enum.Enum):
    """What is known of a segment's writer."""

    UNSTARTED = "unstarted"  # nobody claimed it yet
    ALIVE = "alive"
    HUNG = "hung"  # lives, but its heartbeat stopped
    DEAD = "dead"  # its lock is free and it did not close
    STALLED = "stalled"  # dead, and inside a batch
    CLOSED = "closed"


def writer_life(segment: Segment, now_mono_ns: int, hung_after_ns: int = HUNG_AFTER_NS) -> WriterLife:
    """Judge the writer of an attached segment at `now_mono_ns` (CLOCK_MONOTONIC).

    The lock tells dead from living, for an unreaped child as well; the heartbeat tells hung from
    working.
    """
    control = segment.control()
    if control["state"] in (SegmentState.CLOSED, SegmentState.CLEAN):
        return WriterLife.CLOSED
    if control["writer_pid"] == 0:
        return WriterLife.UNSTARTED
    if _locked(segment):
        silent_ns = now_mono_ns - int(control["heartbeat_ns"])
        return WriterLife.HUNG if silent_ns > hung_after_ns else WriterLife.ALIVE
    return WriterLife.STALLED if control["intent"] != control["head"] else WriterLife.DEAD


def _locked(segment: Segment) -> bool:
    # An open of its own: a look through a descriptor that holds the claim would give it up.
    fd = os.open(f"/proc/self/fd/{segment.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def close_generation(segment: Segment) -> int:
    """Mark a dead writer's segment CLOSED; returns the first number of the next generation.

    `segment` is attached writable without a claim. Records up to `head` stay readable; numbers
    from there to the returned one were announced and never finished. Harmless when it is closed.

    Raises:
        WriterAlive: its writer still lives; stop it first.
    """
    if writer_life(segment, 0, 1 << 62) is WriterLife.ALIVE:
        raise WriterAlive(f"{segment.path}: its writer lives; stop it before closing its generation")
    control = segment.control()
    if control["state"] not in (SegmentState.CLOSED, SegmentState.CLEAN):
        segment.mark_closed(int(control["head"]))
    return int(max(control["head"], control["intent"]))


def forget_parked(segment: Segment) -> None:
    """Take back the announcement of sleepers that died asleep: their producers need not wake them.

    `segment` is attached writable without a claim. Only where every consumer that parks on it is
    dead: one that lives would not be woken.
    """
    segment.set_parked(0)


def next_generation(path: Path, kind: SegmentKind, *, now_mono_ns: int, now_real_ns: int) -> Path:
    """Close the ring at `path` and create the generation after it; the manifest then names that.

    Raises:
        SegmentError: as attach, create and close_generation do.
    """
    if kind not in RINGS:
        raise ValueError(f"{kind.name} has no generations: only rings carry a numbering on")
    with attach(path, kind, writable=True, claim=False) as old:
        first_seq = close_generation(old)
        name, generation = bytes(old.header["name"]).decode(), int(old.header["generation"]) + 1
        made = create(
            path.parent,
            name,
            kind,
            int(old.header["capacity"]),
            generation=generation,
            first_seq=first_seq,
            now_mono_ns=now_mono_ns,
            now_real_ns=now_real_ns,
        )
    point(made)
    return made


def _manifest(directory: Path, name: str) -> Path:
    return directory / f"{name}.current"


def point(path: Path) -> None:
    """Let the manifest of a segment's name say `path`, swapped in one step."""
    manifest = _manifest(path.parent, path.name.partition(".")[0])
    fresh = manifest.with_suffix(".fresh")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(fresh, flags, 0o600)
    try:
        os.write(fd, path.name.encode())
    finally:
        os.close(fd)
    os.rename(fresh, manifest)


def current(directory: Path, name: str) -> Path:
    """The file that holds the newest generation of `name`.

    Raises:
        Missing: there is no manifest.
        BadManifest: it names anything but a generation of `name`.
    """
    try:
        with open(
            os.open(_manifest(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb"
        ) as file:
            text = file.read(256).decode("ascii", "replace")
    except FileNotFoundError:
        raise Missing(f"{directory}: no manifest for {name}; is the engine running?") from None
    generation = text.removeprefix(f"{name}.g").removesuffix(".seg")
    if not generation.isdecimal() or text != file_name(name, int(generation)):
        raise BadManifest(f"{directory}: the manifest of {name} says {text!r}; start the engine anew")
    return directory / text
