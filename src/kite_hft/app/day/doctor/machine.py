"""Layer 6, by hand, cold: what the doctor reads of /proc, /sys and this user's limits. No change."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import time
from pathlib import Path
from typing import Final

import psutil

from kite_hft.app.day.facts import DiskFacts, FileFacts, MachineFacts
from kite_hft.memory.machine import memory_facts

SHM: Final = Path("/dev/shm")
KERNEL_SETTINGS: Final = (
    "kernel/numa_balancing",
    "kernel/sched_rt_runtime_us",
    "vm/zone_reclaim_mode",
    "vm/overcommit_memory",
    "vm/max_map_count",
)
_UNSYNC: Final = 0x40
_TIMEX_BYTES: Final = 208
_TIMEX_MAXERROR: Final = 3
"""Of struct timex, in longs: modes, offset, freq, maxerror, esterror, status."""


def text_of(path: str | Path) -> str:
    """A small file of the kernel; "" where there is none."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def machine_facts() -> MachineFacts:
    """This machine, now."""
    memory = memory_facts(SHM) if SHM.is_dir() else {}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    swap = psutil.swap_memory()
    synchronised, error_us = kernel_clock()
    return MachineFacts(
        cores=len(os.sched_getaffinity(0)),
        cores_online=os.cpu_count() or 0,
        governors=governors(),
        clocksource=text_of("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        synchronised=synchronised,
        clock_error_us=error_us,
        zone=zone(),
        zone_shifts=bool(time.daylight),
        shm_free=int(memory.get("free_bytes", 0)),
        shm_tmpfs=bool(memory.get("tmpfs", False)),
        shm_huge=str(memory.get("shmem_huge_pages", "")),
        memlock=lockable(),
        realtime=resource.getrlimit(resource.RLIMIT_RTPRIO)[0] if os.geteuid() else 99,
        files_soft=soft,
        files_hard=hard,
        swap_total=swap.total,
        swap_used=swap.used,
        swappiness=int(text_of("/proc/sys/vm/swappiness") or -1),
        memory_free=psutil.virtual_memory().available,
        settings={name: text_of(f"/proc/sys/{name}") for name in KERNEL_SETTINGS},
        thp_defrag=_chosen(text_of("/sys/kernel/mm/transparent_hugepage/defrag")),
        addresses=addresses(),
        kernel=platform.release(),
    )


def governors() -> tuple[str, ...]:
    """Governors of the cores that we may use, each once; () where the kernel tells of none."""
    cores = sorted(os.sched_getaffinity(0))
    paths = [f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor" for core in cores]
    return tuple(sorted({word for path in paths if (word := text_of(path))}))


def lockable() -> int:
    """Bytes that this user may lock; -1: as many as there are."""
    return -1 if os.geteuid() == 0 else resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]


def zone() -> str:
    """The machine's time zone by its name, or by its offset from UTC."""
    link = Path("/etc/localtime")
    try:
        found = str(link.resolve())
    except OSError:
        found = ""
    if "zoneinfo/" in found:
        return found.partition("zoneinfo/")[2]
    return text_of("/etc/timezone") or time.tzname[0]


def kernel_clock() -> tuple[bool | None, int]:
    """(whether somebody disciplines the wall clock, its largest error in us), by adjtimex(2); (None, 0):
    not to be had."""
    words = (ctypes.c_long * (_TIMEX_BYTES // ctypes.sizeof(ctypes.c_long)))()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(words)) < 0:
        return None, 0
    status = words[_TIMEX_MAXERROR + 2] & 0xFFFFFFFF
    return not status & _UNSYNC, int(words[_TIMEX_MAXERROR])


def addresses() -> tuple[str, ...]:
    """Addresses of this machine's interfaces, loopback and link-local ones left out."""
    found = {row.address.partition("%")[0] for rows in psutil.net_if_addrs().values() for row in rows}
    kept = [text for text in found if ("." in text or ":" in text) and not _inner(text)]
    return tuple(sorted(kept))


def _inner(text: str) -> bool:
    hardware = text.count(":") == 5 and all(len(part) == 2 for part in text.split(":"))
    return hardware or text.startswith(("127.", "169.254.", "fe80:")) or text == "::1"


def disk_facts(path: Path) -> DiskFacts:
    """The file system on which `path`, or the nearest folder above it that is there, lies."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    room = os.statvfs(there)
    free = room.f_bavail * room.f_frsize
    files = room.f_favail if room.f_files else -1  # btrfs and the like tell of none
    return DiskFacts(path, file_system(there), free, os.access(there, os.W_OK), files)


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`; "": not known."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in text_of("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if "-" in fields and fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return ""


def file_facts(what: str, path: Path, *, written: bool = True) -> FileFacts:
    """Mode and owner of a file or folder; of a link, whose own mode is always 0777, of what it leads to."""
    try:
        path = path.resolve()
        found = path.stat()
    except (OSError, RuntimeError):  # not there; a link to itself
        return FileFacts(what, path, -1, -1, os.geteuid(), written=written)
    return FileFacts(what, path, found.st_mode & 0o7777, found.st_uid, os.geteuid(), path.is_dir(), written)


def _chosen(text: str) -> str:
    """The word in brackets."""
    return text.partition("[")[2].partition("]")[0]
