"""Layer 5, supervisor and watchdog, cold: when a new run watches the account that an earlier one has left.

A start takes the account's lock at once, and may still be refused: by a sink, by the morning, by a person who
confirms nothing. So the watchdog of an engine that was lost looks for a word in the lock file, and not for
another process: the run of mode live whose watchdog has the broker's books adds it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_WORD: Final = "watched by "


def say_watched(lock_fd: int, folder: Path) -> None:
    """Add the word of the run in `folder` to the lock that it holds.

    Raises:
        OSError: it cannot be written.
    """
    os.pwrite(lock_fd, f"\n{_WORD}{folder}\n".encode(), os.fstat(lock_fd).st_size)


def watched_by(lock: Path) -> str:
    """The folder of the run whose watchdog has the account in sight; "": none has, or nobody can say."""
    try:
        lines = lock.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.removeprefix(_WORD) for line in lines if line.startswith(_WORD)), "")
