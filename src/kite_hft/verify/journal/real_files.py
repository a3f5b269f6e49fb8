"""Layer 6, campaigns, cold: the journal on real file systems that run full: a small tmpfs, a small ext4.

Needs root, mount(8), and for ext4 mkfs.ext4 and a free loop device; what is not there is skipped and
said. The order stage trades, another file takes the rest of the disk, then the journal's own
records use up its reserve: HALTED at the first, no order at the second, cancels at both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from kite_hft.memory.journal import JournalError, Kind, scan
from kite_hft.memory.journal_writer import OsFile
from kite_hft.verify.journal.crash_states import Wrong
from kite_hft.verify.journal.faults import CALM, cancel_all
from kite_hft.verify.journal.world import World

MIB: Final = 1 << 20
SIZE_MIB: Final = 8
RESERVE: Final = (256 << 10, 64 << 10)
ACTS: Final = 40
PAUSES_S: Final = (0.2, 1.0, 0.0)
"""Another process may be taking the same loop device."""
_RECORDS_MAX: Final = 200_000


class Skipped(Exception):
    """It cannot be done here; says why."""


def run_real(kind: str, seed: int) -> dict[str, Any]:
    """Both modes on a new file system of `kind` ("tmpfs" or "ext4"), with a reserve and without.

    Raises:
        Wrong: a promise was broken. Skipped: no such file system can be made here.
    """
    cancelled = runs = 0
    for fsync_first in (False, True):
        for reserve in (RESERVE, (0, 1)):
            with mounted(kind) as folder:
                cancelled += _fill_up(folder, seed, fsync_first, reserve)
            runs += 1
    return {"runs": runs, "cancelled": cancelled}


@contextlib.contextmanager
def mounted(kind: str) -> Iterator[Path]:
    """A small file system, gone again afterwards.

    Raises:
        Skipped: see above.
    """
    if os.geteuid():
        raise Skipped("mounting needs root")
    with tempfile.TemporaryDirectory(prefix="khft-journal-") as temporary:
        point, image = Path(temporary) / "mounted", Path(temporary) / "image"
        point.mkdir()
        if kind == "tmpfs":
            command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "none", str(point)]
        else:
            if shutil.which("mkfs.ext4") is None:
                raise Skipped("no mkfs.ext4 here")
            with image.open("wb") as file:
                file.truncate(SIZE_MIB * MIB)
            _run(["mkfs.ext4", "-q", "-F", str(image)])
            command = ["mount", "-o", "loop", str(image), str(point)]
        _run(command)
        try:
            yield point
        finally:
            subprocess.run(["umount", str(point)], check=False, capture_output=True)


def _run(command: list[str]) -> None:
    for pause_s in PAUSES_S:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        except OSError as error:
            raise Skipped(f"{command[0]}: {error.strerror}") from None
        if not done.returncode:
            break
        time.sleep(pause_s)
    else:
        raise Skipped(f"{' '.join(command[:4])}: {done.stderr.strip()[:200]}")


def _fill_up(folder: Path, seed: int, fsync_first: bool, reserve: tuple[int, int]) -> int:
    path = folder / "journal.bin"
    with path.open("w+b", buffering=0) as file:
        chance = {"unanswered": CALM["unanswered"]}
        world = World(
            seed, fsync_first=fsync_first, file=OsFile(file.fileno()), reserve=reserve, chance=chance
        )
        world.begin()
        for _ in range(ACTS):
            world.act()
            world.step()
        if world.stage.outbox.halted:
            raise Wrong(f"HALTED before the disk was full: {world.stage.outbox.halted}")
        _take_the_rest(folder / "ballast")
        if reserve[0]:
            _until(world, shown=lambda: bool(world.writer.low), payload=b'"%s"' % (b"x" * 4000))
            world.run(3)
            if not world.stage.outbox.halted or world.writer.failed:
                raise Wrong("not HALTED, or failed, with its reserve still whole")
        _until(world, shown=lambda: bool(world.writer.failed), payload=b'"%s"' % (b"x" * 20000))
        world.run(3)
        sent = len(world.broker.placed)
        for _ in range(ACTS):
            world.place()
            world.step()
        world.run(ACTS)
        if len(world.broker.placed) != sent:
            raise Wrong(f"{len(world.broker.placed) - sent} orders left on a full disk")
        cancelled = cancel_all(world)
        there = {r.data()["tag"] for r in scan(path.read_bytes()).records if r.kind is Kind.INTENT}
        if missing := set(world.broker.placed) - there:
            raise Wrong(f"{len(missing)} orders at the broker have no INTENT in the file")
        world.writer.finish()
    return cancelled


def _take_the_rest(path: Path) -> None:
    """Another program writes until nothing fits any more."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())


def _until(world: World, *, shown: Callable[[], bool], payload: bytes) -> None:
    """The journal grows, by what people are told, until something shows."""
    for _ in range(_RECORDS_MAX):
        if shown():
            return
        with contextlib.suppress(JournalError):
            world.tap.append(Kind.ALERT, 1, payload)
        world.step()
    raise Wrong("the full disk is not noticed")
