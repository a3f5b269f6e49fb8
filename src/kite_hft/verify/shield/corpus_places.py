"""Layer 6, campaign of formats, cold: what is no file, and a format's own files with something wrong."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

Make = Callable[[Path], object]
ENDLESS: Final = ("/dev/zero", "/dev/full", "/dev/urandom", "/dev/null", "/proc/self/mem")
HUGE: Final = b"\xff" * 8


def places() -> Iterator[tuple[str, Make]]:
    """(name, makes it at a path)."""
    yield "a folder", Path.mkdir
    yield "a folder with files", _folder
    yield "a pipe", os.mkfifo
    yield "a socket", lambda path: os.mknod(path, stat.S_IFSOCK | 0o600)
    for device in ENDLESS:
        yield f"a link to {device}", _link_to(device)
    yield "a link to itself", lambda path: path.symlink_to(path.name)
    yield "a link to nothing", lambda path: path.symlink_to("nothing")
    yield "a link to a folder", lambda path: path.symlink_to("/tmp")
    yield "a link to a pipe", _link_to_pipe
    yield "a link to the reader's own program", lambda path: path.symlink_to("/proc/self/exe")
    yield "a device", _device
    yield "a file of 1 TiB, empty", lambda path: _sparse(path, 1 << 40)
    yield "a file of 3 GiB, empty", lambda path: _sparse(path, 3 << 30)


def _link_to(device: str) -> Make:
    return lambda path: path.symlink_to(device)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "a").write_text("1")


def _link_to_pipe(path: Path) -> None:
    pipe = path.with_name(f"{path.name}.pipe")
    if not pipe.exists():
        os.mkfifo(pipe)
    path.symlink_to(pipe)


def _device(path: Path) -> None:
    """/dev/zero under another name, where we may make one; else a pipe."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        os.mkfifo(path)


def _sparse(path: Path, n: int) -> None:
    with path.open("wb") as file:
        file.truncate(n)


def damaged(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """A file of ours with something wrong in it: never what it was."""
    n = len(whole)
    for part, word in ((4, "a quarter"), (2, "half"), (1, "all but one byte")):
        yield f"ours, {word} of it", whole[: n // part - (part == 1)]
    yield "ours, twice", whole + whole
    yield "ours, one byte more", whole + b"\0"
    for at, word in (
        (0, "first"),
        (n // 3, "early"),
        (n // 2, "middle"),
        (2 * n // 3, "late"),
        (n - 1, "last"),
    ):
        yield f"ours, the {word} byte changed", whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]
    for at in (4, 8, 12, 16, 24, 32, n - 24, n - 12):
        if 0 <= at <= n - 8 and whole[at : at + 8] != HUGE:
            yield f"ours, huge at {at if at < n // 2 else at - n}", whole[:at] + HUGE + whole[at + 8 :]
    yield "ours, all zeros behind the head", whole[:16] + bytes(max(n - 16, 1))
