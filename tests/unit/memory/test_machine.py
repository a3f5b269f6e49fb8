"""Facts about the machine's memory: present and plausible wherever the tests run."""

from __future__ import annotations

from pathlib import Path

from kite_hft.memory.machine import memory_facts


def test_facts_are_there(tmp_path: Path) -> None:
    facts = memory_facts(tmp_path)
    assert facts["directory"] == str(tmp_path)
    assert facts["free_bytes"] > 0
    assert facts["page_bytes"] % 4096 == 0
    assert facts["huge_pages"] >= 0
    assert facts["lockable_bytes"] >= -1
    assert facts["shmem_huge_pages"] in ("", "always", "within_size", "advise", "never", "deny", "force")


def test_a_tmpfs_is_recognised() -> None:
    shm = Path("/dev/shm")
    mounts = Path("/proc/mounts").read_text().splitlines()
    mounted = any(line.split()[1:3] == ["/dev/shm", "tmpfs"] for line in mounts)
    assert not shm.is_dir() or memory_facts(shm)["tmpfs"] == mounted
