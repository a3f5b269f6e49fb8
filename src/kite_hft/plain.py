"""Layer 0, every process, cold: reading a file that somebody names: a plain one, and not without end.

A pipe would hold the reader, a device has no end, a file of gigabytes takes the machine's memory. All of it
is an OSError in words, so that whoever reads a file tells of it as of one that is missing.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

TEXT_BYTES_MAX: Final = 8 << 20
"""Of what a person writes: configurations, lists, rules."""
DATA_BYTES_MAX: Final = 1 << 30
"""Of what a program made."""


def plain_bytes(path: Path, most: int = TEXT_BYTES_MAX) -> bytes:
    """The whole content of a plain file of at most `most` bytes; symbolic links are followed.

    Raises:
        OSError: missing, unreadable, a pipe, a device, a folder, or too large; `strerror` says it.
    """
    with open_plain(path, most) as file:
        data = file.read(most + 1)
    if data is None:  # the kernel's own "files" may have nothing to say
        raise OSError(errno.EINVAL, "no plain file: it has no end", str(path))
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return data


def open_plain(path: Path, most: int = DATA_BYTES_MAX) -> BinaryIO:
    """A plain file of at most `most` bytes, open to be read.

    Raises:
        OSError: as `plain_bytes`.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that nobody fills is opened, too
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no plain file (a pipe, a device or a folder)", str(path))
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, and at most {most:,} are read", str(path))
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def plain_text(path: Path, encoding: str = "utf-8", most: int = TEXT_BYTES_MAX) -> str:
    """The same as text, line ends as they are.

    Raises:
        OSError: as `plain_bytes`. UnicodeDecodeError: no text.
    """
    return plain_bytes(path, most).decode(encoding)


def words_of(error: BaseException) -> str:
    """An error for people: of the system's, the file and what is wrong with it, without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
