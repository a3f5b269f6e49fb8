"""Layer 1, workers, cold: a worker's state in shared memory, for the process that comes after it.

Two files written in turn, so that one whole state always stands, wherever the writer dies:

    64 bytes   magic, fingerprints, sequence number, length of the rest, its CRC-32
    index      JSON: what is small as it is, and where the arrays lie
    arrays     one behind the other

The head is cleared before a write and written after it. The newest half whose CRC fits counts.
They are plain files in the run's folder on tmpfs and no segments: how long a strategy's own state
becomes is not known when the run is planned.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import builds
from kite_hft.layout import LAYOUT_FINGERPRINT

MAGIC: Final = b"KHFTSNP1"
HEAD: Final = struct.Struct("<8sQQQQII16x")  # magic, layout, build, number, length, crc, index length
HALVES: Final = (0, 1)
_ARRAY: Final = "\0array"

Tree = Mapping[str, Any]
"""Nested mappings with string keys; leaves are numbers, strings, arrays or bytes."""


def half_path(directory: Path, name: str, half: int) -> Path:
    return directory / f"{name}.{half}.snap"


def _split(tree: Tree, arrays: list[memoryview], at: int) -> tuple[dict[str, Any], int]:
    """The tree with places instead of arrays; `at`: where the next array begins."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found[key], at = _split(value, arrays, at)
        elif isinstance(value, np.ndarray | bytes | bytearray | memoryview):
            view = _bytes_of(value)
            arrays.append(view)
            found[key] = {_ARRAY: [at, len(view)]}
            at += len(view)
        else:
            found[key] = value
    return found, at


def _bytes_of(value: Any) -> memoryview:
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value).view(np.uint8).reshape(-1).data
    return memoryview(value).cast("B")


def _join(tree: dict[str, Any], arrays: memoryview) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and _ARRAY in value:
            at, n = value[_ARRAY]
            found[key] = arrays[at : at + n]
        else:
            found[key] = _join(value, arrays) if isinstance(value, dict) else value
    return found


class SnapshotWriter:
    """The one writer of `name` in `directory`; numbers go on from what stands there.

    Raises:
        OSError: the files cannot be made.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._fds: list[int] = []
        self.number = newest_number(directory, name)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            for half in HALVES:
                self._fds.append(os.open(half_path(directory, name, half), flags, 0o600))
        except OSError:
            self.close()
            raise

    def write(self, tree: Tree) -> int:
        """Write a state over the older half; returns its bytes.

        Raises:
            OSError: no room; the newer half still stands.
        """
        arrays: list[memoryview] = []
        index, length = _split(tree, arrays, 0)
        text = json.dumps(index).encode()
        number = self.number + 1
        fd = self._fds[number % 2]
        os.pwrite(fd, bytes(HEAD.size), 0)
        parts = [memoryview(text), *arrays]
        total = len(text) + length
        crc = _crc_of_head(number, total, len(text))
        for part in parts:
            crc = zlib.crc32(part, crc)
        written = os.pwritev(fd, parts, HEAD.size)
        if written != total:
            raise OSError(28, "the snapshot was written in part")
        os.pwrite(
            fd,
            HEAD.pack(MAGIC, LAYOUT_FINGERPRINT, builds.fingerprint(), number, total, crc, len(text)),
            0,
        )
        self.number = number
        return HEAD.size + total

    def close(self) -> None:
        """Harmless when repeated; the files stay."""
        while self._fds:
            os.close(self._fds.pop())


def _crc_of_head(number: int, total: int, index: int) -> int:
    """The checksum begins with what the head says: a number that was changed is no newer snapshot."""
    return zlib.crc32(struct.pack("<QQI", number, total, index))


def newest_number(directory: Path, name: str) -> int:
    """The highest number of a whole snapshot; 0: there is none."""
    return max((found[0] for half in HALVES if (found := _read(half_path(directory, name, half)))), default=0)


def read_newest(directory: Path, name: str) -> tuple[int, dict[str, Any]] | None:
    """(number, state) of the newest whole snapshot; arrays come as bytes. None: there is none."""
    halves = [found for half in HALVES if (found := _read(half_path(directory, name, half)))]
    return max(halves, key=lambda found: found[0]) if halves else None


def _read(path: Path) -> tuple[int, dict[str, Any]] | None:
    """One half, if it is whole and of this build."""
    with contextlib.suppress(OSError, ValueError, KeyError, struct.error):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return None
            magic, layout, build, number, length, crc, index = HEAD.unpack(file.read(HEAD.size))
            if (magic, layout, build) != (MAGIC, LAYOUT_FINGERPRINT, builds.fingerprint()):
                return None
            if length > found.st_size:
                return None
            body = file.read(length)
        if len(body) == length and zlib.crc32(body, _crc_of_head(number, length, index)) == crc:
            return number, _join(json.loads(body[:index]), memoryview(body)[index:])
    return None
