"""Layer 1, engine and doctor, cold: what this machine offers to shared memory.

Huge pages and locked memory are optional: looked for, reported, never required.
"""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Any


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def memory_facts(directory: Path) -> dict[str, Any]:
    """Facts about `directory`'s file system and the kernel's memory settings, for the report.

    Keys: `directory`, `tmpfs` (bool), `free_bytes`, `page_bytes`, `shmem_huge_pages` (setting in
    force, "" when unknown), `huge_pages` (reserved), `lockable_bytes` (-1: no limit).
    """
    room = os.statvfs(directory)
    enabled = re.search(r"\[(\w+)\]", _text("/sys/kernel/mm/transparent_hugepage/shmem_enabled"))
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    mounts = (line.split() for line in _text("/proc/self/mountinfo").splitlines())
    types = {fields[2]: fields[fields.index("-") + 1] for fields in mounts if "-" in fields}
    return {
        "directory": str(directory),
        "tmpfs": types.get(wanted) == "tmpfs",
        "free_bytes": room.f_bavail * room.f_frsize,
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "shmem_huge_pages": enabled[1] if enabled else "",
        "huge_pages": int(_text("/proc/sys/vm/nr_hugepages") or 0),
        "lockable_bytes": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
    }
