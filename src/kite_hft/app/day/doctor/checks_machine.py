"""Layer 6, by hand, cold: checks of the machine and of the package: room, cores, limits, modes, builds. Pure.

What only costs time is a warning. Without room in shared memory, on a state directory that a reboot empties,
or with compiled modules that do not belong together nothing may trade.
"""

from __future__ import annotations

import shlex
from typing import Final

from kite_hft.app.day.facts import Facts, FileFacts
from kite_hft.app.day.finding import Finding, fail, ok, warn

MIB: Final = 1 << 20
FILES_MIN: Final = 1024
FILES_FREE_MIN: Final = 1000
"""A run makes some dozens, its journal and its recording more."""
FLEETING: Final = frozenset({"tmpfs", "ramfs", "overlay"})
"""File systems that a reboot (or the end of a container) empties."""
NETWORKED: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"})
QUIET: Final = frozenset({"performance", "schedutil"})
SWAPPINESS_MAX: Final = 10
PRECISE: Final = frozenset({"tsc", "arch_sys_counter", "kvm-clock"})


def shared_memory(facts: Facts) -> Finding:
    """Room for the plan in /dev/shm."""
    name, machine = "shared memory", facts.machine
    if facts.plan_error:
        return fail(name, f"there is no plan: {facts.plan_error}", f"correct {facts.config}")
    free, needed = machine.shm_free, facts.shm_needed
    words = f"{needed / MIB:,.0f} MiB needed, {free / MIB:,.0f} MiB free in /dev/shm"
    if needed > free:
        size = -(-needed // MIB // 512 + 1) * 512
        return fail(
            name,
            words,
            f"mount -o remount,size={size + 1024}M /dev/shm, or lower performance.ring_buffer_size",
        )
    if needed > machine.memory_free:
        return fail(
            name,
            f"{words}, but {machine.memory_free / MIB:,.0f} MiB of memory",
            "lower performance.ring_buffer_size",
        )
    if not machine.shm_tmpfs:
        return warn(
            name, f"{words}; it is no tmpfs: every tick would go to a disk", "mount -t tmpfs tmpfs /dev/shm"
        )
    return ok(name, words if needed else f"{free / MIB:,.0f} MiB free in /dev/shm; no plan to compare with")


def disk(facts: Facts) -> Finding:
    """Room and kind of the disk that holds the journal."""
    name, found = "disk", facts.disk
    least = facts.settings.alerts.disk_free_mb
    words = f"{found.free / MIB:,.0f} MiB free below {found.path} ({found.kind or 'unknown file system'})"
    if not found.writable:
        return fail(name, f"{found.path} cannot be written", f"chown -R $USER {shlex.quote(str(found.path))}")
    if found.free < least * MIB:
        return fail(
            name,
            f"{words}; {least:,.0f} are asked for (alerts.disk_free_mb)",
            f"make room: du -sh {shlex.quote(str(found.path))}/*/* | sort -h",
        )
    if 0 <= found.files_free < FILES_FREE_MIN:
        return fail(
            name,
            f"{words}, and {found.files_free:,} more files (inodes): {FILES_FREE_MIN:,} are asked for",
            f"remove files: du --inodes -s {shlex.quote(str(found.path))}/*/* | sort -n",
        )
    if found.kind in FLEETING:
        text = f"{words}: a reboot takes the journal with it"
        fix = "export XDG_STATE_HOME=/a/folder/on/a/disk"
        return fail(name, text, fix) if facts.live else warn(name, text, fix)
    if found.kind in NETWORKED:
        return warn(
            name, f"{words}: a network stands behind every sync", "export XDG_STATE_HOME=/a/local/folder"
        )
    return ok(name, words)


def modes(facts: Facts) -> Finding:
    """Nobody else reads what holds keys or the journal."""
    name = "file modes"
    foreign = [row for row in facts.files if row.uid != row.own_uid and not _kept_by_root(row)]
    if foreign:
        row = foreign[0]
        return fail(
            name,
            f"{row.what} {row.path} belongs to user {row.uid}, and this is user {row.own_uid}",
            f"chown {row.own_uid} {shlex.quote(str(row.path))}, or run as that user",
        )
    loose = [row for row in facts.files if row.mode & (0o027 if _kept_by_root(row) else 0o077)]
    if not loose:
        return ok(name, ", ".join(row.what for row in facts.files) or "nothing is there yet")
    row = max(loose, key=lambda row: "vault" in row.what or "keys" in row.what)
    mode = 700 if row.folder else 640 if _kept_by_root(row) else 600
    path = shlex.quote(str(row.path))
    text, fix = f"{row.what} {row.path} has mode {row.mode:04o}", f"chmod {mode} {path}"
    secret = "vault" in row.what or "keys" in row.what
    return (
        fail(name, f"{text}: others may read keys", fix)
        if secret
        else warn(name, f"{text}: others may look", fix)
    )


def _kept_by_root(row: FileFacts) -> bool:
    """Root's file that is only read: nobody here can change it. Its group has to be allowed to read it."""
    return row.uid == 0 != row.own_uid and not row.written


def cores(facts: Facts) -> Finding:
    """A core for each process that must not wait."""
    name, machine, want = "cores", facts.machine, facts.hot
    words = f"{machine.cores} of {machine.cores_online} usable, {want} processes want one each"
    if not want:
        return ok(name, f"{machine.cores} of {machine.cores_online} usable")
    spins = {facts.settings.performance.wait, *facts.settings.performance.waits.values()} & {"spin", "yield"}
    if machine.cores < want and spins:
        return fail(
            name,
            f"{words}, and they never sleep (performance.wait)",
            f"set performance.wait: auto in {facts.config}",
        )
    if machine.cores <= want:
        return ok(name, f"{words}: they share, and sleep between ticks")
    return ok(name, words)


def governor(facts: Facts) -> Finding:
    """The cores run at speed."""
    name, found = "governor", facts.machine.governors
    slow = [word for word in found if word not in QUIET]
    if slow:
        return warn(
            name,
            f"{', '.join(slow)}: a core that slept is slow at first",
            "cpupower frequency-set -g performance",
        )
    return ok(name, ", ".join(found) or "the kernel tells of none (a virtual machine)")


def huge_pages(facts: Facts) -> Finding:
    """Huge pages for the rings, when the configuration asks for them."""
    name, setting = "huge pages", facts.machine.shm_huge
    if not facts.settings.performance.huge_pages:
        return ok(name, "not asked for")
    if setting in ("", "never", "deny"):
        return warn(
            name,
            f"asked for, but shmem_enabled says {setting or 'nothing'}: rings get small pages",
            "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled",
        )
    return ok(name, f"shmem_enabled says {setting}")


def memory_lock(facts: Facts) -> Finding:
    """Locked memory, when the configuration asks for it."""
    name, machine = "locked memory", facts.machine
    if not facts.settings.performance.lock_memory:
        return ok(name, "not asked for")
    if machine.memlock < 0:
        return ok(name, "no limit")
    fix = "ulimit -l unlimited (memlock in /etc/security/limits.d, LimitMEMLOCK= in a systemd unit)"
    if machine.memlock < facts.shm_needed + 512 * MIB:
        return warn(name, f"asked for, and this user may lock {machine.memlock / MIB:,.0f} MiB", fix)
    return ok(name, f"this user may lock {machine.memlock / MIB:,.0f} MiB")


def realtime(facts: Facts) -> Finding:
    """Realtime priority, when the configuration asks for it."""
    name, asked = "realtime", facts.settings.performance.realtime_priority
    if asked is None:
        return ok(name, "not asked for")
    may = facts.machine.realtime
    if 0 <= may < asked:
        return warn(
            name,
            f"priority {asked} asked for, this user may have {may}",
            f"ulimit -r {asked} (rtprio in /etc/security/limits.d, LimitRTPRIO= in a systemd unit)",
        )
    return ok(name, f"priority {asked} may be had")


def open_files(facts: Facts) -> Finding:
    """Enough descriptors."""
    soft, name = facts.machine.files_soft, "open files"
    if 0 <= soft < FILES_MIN:
        return warn(name, f"{soft} allowed, {FILES_MIN} are wanted", f"ulimit -n {FILES_MIN * 4}")
    return ok(name, f"{soft:,} allowed" if soft >= 0 else "no limit")


def swap(facts: Facts) -> Finding:
    """Nothing of the engine is swapped out."""
    name, machine = "swap", facts.machine
    if not machine.swap_total:
        return ok(name, "none")
    used, total = machine.swap_used / MIB, machine.swap_total / MIB
    words = f"{used:,.0f} of {total:,.0f} MiB used, swappiness {machine.swappiness}"
    if facts.settings.performance.lock_memory:
        return ok(name, f"{words}; the engine locks its memory")
    if machine.swappiness > SWAPPINESS_MAX:
        return warn(
            name,
            f"{words}: a page that comes back from disk costs milliseconds",
            "sysctl -w vm.swappiness=1, or performance.lock_memory: true",
        )
    return ok(name, words)


def kernel(facts: Facts) -> Finding:
    """No kernel setting that hurts."""
    machine, name = facts.machine, "kernel"
    found: list[tuple[str, str]] = []
    if machine.clocksource and machine.clocksource not in PRECISE:
        found.append(
            (
                f"clocksource {machine.clocksource}: every look at the clock is a system call",
                "boot with tsc=reliable clocksource=tsc",
            )
        )
    if machine.settings.get("kernel/numa_balancing") == "1":
        found.append(("numa_balancing moves pages while they are used", "sysctl -w kernel.numa_balancing=0"))
    if machine.settings.get("vm/zone_reclaim_mode", "0") not in ("", "0"):
        found.append(("zone_reclaim_mode frees pages in the way of work", "sysctl -w vm.zone_reclaim_mode=0"))
    if machine.thp_defrag == "always":
        found.append(
            (
                "huge pages are put together in the way of work (defrag always)",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
            )
        )
    if machine.settings.get("vm/overcommit_memory") == "2":
        found.append(("strict overcommit: a process may fail to start", "sysctl -w vm.overcommit_memory=0"))
    if not found:
        return ok(name, f"{machine.kernel}, clocksource {machine.clocksource or 'unknown'}")
    return warn(name, "; ".join(text for text, _ in found), "; ".join(fix for _, fix in found))


def zone(facts: Facts) -> Finding:
    """The engine reckons in India's time by itself; timers of the machine do not."""
    name, machine = "time zone", facts.machine
    if machine.zone_shifts:
        return warn(
            name,
            f"{machine.zone} has summer time: cron and systemd timers move against the market",
            "timedatectl set-timezone Asia/Kolkata",
        )
    ours = machine.zone in ("Asia/Kolkata", "Asia/Calcutta")
    return ok(
        name, machine.zone if ours else f"{machine.zone}; the engine reckons in IST by itself, cron does not"
    )


def versions(facts: Facts) -> Finding:
    """Python and packages as they were locked and tested."""
    name, build = "versions", facts.build
    if not build.supported:
        return fail(name, f"Python {build.python} is too old", "install Python 3.11 or newer")
    if build.lock is None:
        return ok(name, f"Python {build.python}; packages not compared: no lock file beside the package")
    if build.differing:
        more = f" and {len(build.differing) - 2} more" if len(build.differing) > 2 else ""
        return warn(
            name,
            f"Python {build.python}; {'; '.join(build.differing[:2])}{more}",
            f"pip install --require-hashes -r {build.lock}",
        )
    return ok(name, f"Python {build.python}, packages as locked")


def builds(facts: Facts) -> Finding:
    """All compiled modules are of one build."""
    name, build = "build", facts.build
    if build.missing:
        return fail(name, f"not built: {', '.join(build.missing)}", "make build")
    if build.mixed:
        return fail(name, f"mixed: {'; '.join(build.mixed[:3])}", "make build")
    return ok(name, f"{build.modules} modules, {build.build}")
