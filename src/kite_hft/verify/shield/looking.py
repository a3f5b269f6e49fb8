"""Layer 6, campaign of secrets, cold: what others may read of a process, and what stands in its memory.

`readable_by_others` looks as any other process of the same user does, also where the campaign is root: the
one that looks has given up the capability to trace. `held_in_memory` is the contrary: where we may (root),
the private memory of each process is searched, as in a core file, for secrets that it must not know.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from kite_hft.verify.campaign import CampaignError
from kite_hft.verify.shield.decoys import GIVEN_UP, plain

CORE_LIMIT: Final = re.compile(r"^Max core file size\s+0\s+0\s", re.MULTILINE)
WAIT_S: Final = 30.0
PIECE: Final = 1 << 20
BEGIN: Final = 4
LOOKER: Final = """
import json, os, sys
found = {}
for pid in sys.argv[1:]:
    found[pid] = []
    for name in ("environ", "maps", "fd/0", "mem"):
        path = f"/proc/{pid}/{name}"
        try:
            os.readlink(path) if name == "fd/0" else open(path, "rb").read(0 if name == "mem" else 64)
            found[pid].append(name)
        except OSError:
            pass
rights = int(open("/proc/self/status").read().split("CapEff:")[1].split()[0], 16)
print(json.dumps([rights, found]))
"""


def readable_by_others(pids: Sequence[int]) -> dict[int, list[str]]:
    """Process -> what of /proc/<pid> another process of this user can open; () of one that shows nothing.

    Raises:
        CampaignError: the one that looks could not give up its rights.
    """
    command = plain([sys.executable, "-I", "-S", "-c", LOOKER, *map(str, pids)])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    if done.returncode:
        raise CampaignError(f"the look from outside failed: {done.stderr[-300:]}")
    rights, found = json.loads(done.stdout)
    if any(rights >> number & 1 for number in GIVEN_UP):
        raise CampaignError("the look from outside kept root's right to trace: run as a user without it")
    return {int(pid): names for pid, names in found.items()}


def may_dump(pid: int) -> bool:
    """Whether the limits of a process let it write a core file."""
    return not CORE_LIMIT.search(Path(f"/proc/{pid}/limits").read_text())


def held_in_memory(pid: int, secrets: Mapping[str, str]) -> list[str] | None:
    """Names of the secrets that stand in the private memory of a process; None: we may not look."""
    wanted = {name: text.encode() for name, text in secrets.items()}
    begins = {text[:BEGIN] for text in wanted.values()}  # a few for all: memory is gone through less often
    found: set[str] = set()
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for begin, end in _private(Path(f"/proc/{pid}/maps").read_text()):
                for data in _pieces(memory.fileno(), begin, end):
                    if any(begin_of in data for begin_of in begins):
                        found |= {name for name, text in wanted.items() if text in data}
    except PermissionError:
        return None
    return sorted(found)


def _private(maps: str) -> Iterable[tuple[int, int]]:
    """Address ranges that are writable and the process's own (proc(5)): no shared memory, no program text."""
    for line in maps.splitlines():
        addresses, rights, *_ = line.split(maxsplit=2)
        if rights.startswith("rw") and rights.endswith("p") and "[v" not in line:
            begin, _, end = addresses.partition("-")
            yield int(begin, 16), int(end, 16)


def _pieces(fd: int, begin: int, end: int) -> Iterable[bytes]:
    """The memory in pieces that overlap by more than a secret has; what went away meanwhile is left out."""
    while begin < end:
        try:
            data = os.pread(fd, min(PIECE, end - begin), begin)
        except OSError:
            return
        if not data:
            return
        yield data
        begin += max(len(data) - 256, 1) if begin + len(data) < end else len(data)
