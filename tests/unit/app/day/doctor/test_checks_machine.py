"""Checks of the machine and the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from day_tools import MIB, facts, machine, settings

from kite_hft.app.day.doctor import checks_machine as checks
from kite_hft.app.day.facts import BuildFacts, DiskFacts, Facts, FileFacts
from kite_hft.app.day.finding import Check

STATE = Path("/var/lib/x")
ROW = FileFacts("account's folder", STATE, 0o700, 1000, 1000, folder=True)


def file(what: str, mode: int, uid: int = 1000) -> FileFacts:
    return FileFacts(what, Path("/v/x"), mode, uid, 1000)


def of_root(mode: int) -> FileFacts:
    return FileFacts("configuration with keys in it", Path("/v/x"), mode, 0, 1000, written=False)


def asked(**performance: Any) -> dict[str, Any]:
    return {"settings": settings(performance=performance)}


def paper() -> dict[str, Any]:
    return {"settings": settings(mode="paper")}


CASES: list[tuple[str, Check, Facts, str, str]] = [
    ("room", checks.shared_memory, facts(), "ok", ""),
    ("no room", checks.shared_memory, facts(machine=machine(shm_free=MIB)), "fail", "mount -o remount"),
    (
        "room and no memory",
        checks.shared_memory,
        facts(machine=machine(memory_free=MIB)),
        "fail",
        "ring_buffer_size",
    ),
    ("no tmpfs", checks.shared_memory, facts(machine=machine(shm_tmpfs=False)), "warn", "mount -t tmpfs"),
    ("no plan", checks.shared_memory, facts(plan_error="too many"), "fail", "config.yaml"),
    ("disk", checks.disk, facts(), "ok", ""),
    ("full disk", checks.disk, facts(disk=DiskFacts(STATE, "ext4", MIB)), "fail", "du -sh"),
    (
        "disk of others",
        checks.disk,
        facts(disk=DiskFacts(STATE, "ext4", 1 << 40, writable=False)),
        "fail",
        "chown",
    ),
    (
        "no room for files",
        checks.disk,
        facts(disk=DiskFacts(STATE, "ext4", 1 << 40, files_free=3)),
        "fail",
        "du --inodes",
    ),
    ("tmpfs, live", checks.disk, facts(disk=DiskFacts(STATE, "tmpfs", 1 << 40)), "fail", "XDG_STATE_HOME"),
    (
        "tmpfs, paper",
        checks.disk,
        facts(disk=DiskFacts(STATE, "tmpfs", 1 << 40), **paper()),
        "warn",
        "XDG_STATE_HOME",
    ),
    ("network disk", checks.disk, facts(disk=DiskFacts(STATE, "nfs4", 1 << 40)), "warn", "XDG_STATE_HOME"),
    ("modes", checks.modes, facts(), "ok", ""),
    ("loose vault", checks.modes, facts(files=(file("vault", 0o640),)), "fail", "chmod 600 /v/x"),
    (
        "loose folder",
        checks.modes,
        facts(files=(FileFacts("account's folder", STATE, 0o755, 1, 1, True),)),
        "warn",
        "chmod 700 /var/lib/x",
    ),
    (
        "the vault before the folder",
        checks.modes,
        facts(files=(FileFacts("account's folder", STATE, 0o755, 1000, 1000, True), file("vault", 0o644))),
        "fail",
        "chmod 600",
    ),
    ("of another user", checks.modes, facts(files=(file("vault", 0o600, 0),)), "fail", "chown 1000"),
    ("root's configuration", checks.modes, facts(files=(of_root(0o640),)), "ok", ""),
    ("root's, open to all", checks.modes, facts(files=(of_root(0o644),)), "fail", "chmod 640 /v/x"),
    ("root's, its group may write", checks.modes, facts(files=(of_root(0o660),)), "fail", "chmod 640"),
    ("nothing there yet", checks.modes, facts(files=()), "ok", ""),
    ("cores", checks.cores, facts(), "ok", ""),
    ("cores that are shared", checks.cores, facts(machine=machine(cores=2)), "ok", ""),
    (
        "spinning without cores",
        checks.cores,
        facts(machine=machine(cores=2), **asked(wait="spin")),
        "fail",
        "performance.wait",
    ),
    ("governor", checks.governor, facts(), "ok", ""),
    ("slow governor", checks.governor, facts(machine=machine(governors=("powersave",))), "warn", "cpupower"),
    ("virtual machine", checks.governor, facts(machine=machine(governors=())), "ok", ""),
    ("huge pages not asked for", checks.huge_pages, facts(machine=machine(shm_huge="never")), "ok", ""),
    ("huge pages", checks.huge_pages, facts(**asked(huge_pages=True)), "ok", ""),
    (
        "huge pages that are off",
        checks.huge_pages,
        facts(machine=machine(shm_huge="never"), **asked(huge_pages=True)),
        "warn",
        "shmem_enabled",
    ),
    ("lock not asked for", checks.memory_lock, facts(machine=machine(memlock=0)), "ok", ""),
    ("lock without a limit", checks.memory_lock, facts(**asked(lock_memory=True)), "ok", ""),
    (
        "lock with room",
        checks.memory_lock,
        facts(machine=machine(memlock=4 << 30), **asked(lock_memory=True)),
        "ok",
        "",
    ),
    (
        "lock that is too small",
        checks.memory_lock,
        facts(machine=machine(memlock=MIB), **asked(lock_memory=True)),
        "warn",
        "ulimit -l",
    ),
    ("no priority asked for", checks.realtime, facts(machine=machine(realtime=0)), "ok", ""),
    ("priority", checks.realtime, facts(**asked(realtime_priority=50)), "ok", ""),
    (
        "priority that is not had",
        checks.realtime,
        facts(machine=machine(realtime=0), **asked(realtime_priority=50)),
        "warn",
        "ulimit -r 50",
    ),
    ("files", checks.open_files, facts(), "ok", ""),
    ("few files", checks.open_files, facts(machine=machine(files_soft=256)), "warn", "ulimit -n"),
    ("files without a limit", checks.open_files, facts(machine=machine(files_soft=-1)), "ok", ""),
    ("no swap", checks.swap, facts(), "ok", ""),
    ("swap", checks.swap, facts(machine=machine(swap_total=MIB, swappiness=60)), "warn", "vm.swappiness"),
    ("swap, little", checks.swap, facts(machine=machine(swap_total=MIB, swappiness=1)), "ok", ""),
    (
        "swap, locked",
        checks.swap,
        facts(machine=machine(swap_total=MIB, swappiness=60), **asked(lock_memory=True)),
        "ok",
        "",
    ),
    ("kernel", checks.kernel, facts(), "ok", ""),
    (
        "slow clock source",
        checks.kernel,
        facts(machine=machine(clocksource="hpet")),
        "warn",
        "clocksource=tsc",
    ),
    (
        "balancing",
        checks.kernel,
        facts(machine=machine(settings={"kernel/numa_balancing": "1"})),
        "warn",
        "kernel.numa_balancing=0",
    ),
    (
        "reclaim",
        checks.kernel,
        facts(machine=machine(settings={"vm/zone_reclaim_mode": "1"})),
        "warn",
        "zone_reclaim_mode=0",
    ),
    (
        "overcommit",
        checks.kernel,
        facts(machine=machine(settings={"vm/overcommit_memory": "2"})),
        "warn",
        "overcommit_memory",
    ),
    ("defragmentation", checks.kernel, facts(machine=machine(thp_defrag="always")), "warn", "defrag"),
    ("zone", checks.zone, facts(), "ok", ""),
    ("UTC", checks.zone, facts(machine=machine(zone="Etc/UTC")), "ok", ""),
    (
        "summer time",
        checks.zone,
        facts(machine=machine(zone="Europe/Berlin", zone_shifts=True)),
        "warn",
        "Asia/Kolkata",
    ),
    ("versions", checks.versions, facts(), "ok", ""),
    ("old Python", checks.versions, facts(build=BuildFacts("3.9.1", False)), "fail", "Python 3.11"),
    (
        "other packages",
        checks.versions,
        facts(build=BuildFacts("3.11.7", True, Path("l.txt"), ("numpy 1, locked 2",))),
        "warn",
        "pip install",
    ),
    ("no lock", checks.versions, facts(build=BuildFacts("3.11.7", True)), "ok", ""),
    ("build", checks.builds, facts(), "ok", ""),
    (
        "mixed build",
        checks.builds,
        facts(build=BuildFacts(modules=29, mixed=("_ring is older",))),
        "fail",
        "make build",
    ),
    ("not built", checks.builds, facts(build=BuildFacts(missing=("_ring",))), "fail", "make build"),
]


@pytest.mark.parametrize(
    ("check", "given", "level", "fix"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_check(check: Check, given: Facts, level: str, fix: str) -> None:
    found = check(given)
    assert (found.level, fix in found.fix) == (level, True), found
    assert bool(found.fix) == (level != "ok") and found.text


def test_several_kernel_settings_are_told_at_once() -> None:
    told = checks.kernel(facts(machine=machine(clocksource="hpet", thp_defrag="always")))
    assert "clocksource hpet" in told.text and "defrag always" in told.text and told.fix.count(";") == 1
