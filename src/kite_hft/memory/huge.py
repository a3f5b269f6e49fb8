"""Layer 1, supervisor, cold: segments in huge pages (2 MiB), so that a ring costs few TLB entries.

/dev/shm is tmpfs: whether its files may have huge pages is said by its mount option `huge=` (and by
/sys/kernel/mm/transparent_hugepage/shmem_enabled, where `deny` forbids and `force` allows all).
`posix_fallocate` has filled the file with small pages by then; MADV_COLLAPSE (Linux 6.1) puts them
together at once. Whoever maps the file afterwards gets them mapped whole: no reader has to ask.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Final

HUGE_PAGE_BYTES: Final = 2 << 20
MADV_COLLAPSE: Final = 25
SHMEM_ENABLED: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")


def use_huge_pages(path: Path) -> int:
    """Turn the file's whole 2 MiB pieces into huge pages; returns how many bytes lie in them now.

    Raises:
        OSError: none of it can be; strerror says why and what to do.
    """
    if "[deny]" in _text(SHMEM_ENABLED):
        raise OSError(errno.EPERM, f"{SHMEM_ENABLED} says deny: write advise into it")
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        length = os.fstat(fd).st_size // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        if not length:
            return 0
        with mmap.mmap(fd, length, flags=mmap.MAP_SHARED) as mapping:
            _collapse(mapping, path.parent)
            return mapped_huge(path)
    finally:
        os.close(fd)


def _collapse(mapping: mmap.mmap, directory: Path) -> None:
    try:
        mapping.madvise(mmap.MADV_HUGEPAGE)
        mapping.madvise(MADV_COLLAPSE)
    except OSError as error:
        if error.errno == errno.EINVAL:
            where = mount_of(directory)
            text = (
                f"{where} is mounted without them (mount -o remount,huge=advise {where}), or Linux is < 6.1"
            )
        elif error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EBUSY):
            text = f"no free 2 MiB pages now ({error.strerror}): start earlier after boot, or compact memory"
        else:
            text = str(error.strerror)
        raise OSError(error.errno, text) from None


def mapped_huge(path: Path) -> int:
    """Bytes of this process's mappings of the file that are mapped by huge pages."""
    found, inside = 0, False
    for line in _text(Path("/proc/self/smaps")).splitlines():
        if not line[:1].isupper():
            inside = line.endswith(str(path))
        elif inside and line.startswith("ShmemPmdMapped:"):
            found += int(line.split()[1]) * 1024
    return found


def mount_of(directory: Path) -> Path:
    """The mount point that the directory lies below."""
    return next(place for place in (directory, *directory.parents) if os.path.ismount(place))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
