"""Layer 5, metadata job, cold: a file is replaced whole, or the one before it stands."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace(path: Path, fill: Callable[[Path], object]) -> None:
    """Have a new file filled, put it on the disk, then under its name.

    Raises:
        OSError: it cannot be written; the one before it stands.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        fill(fresh)
        fresh.chmod(0o600)
        _sync(fresh)
        fresh.replace(path)
        _sync(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
