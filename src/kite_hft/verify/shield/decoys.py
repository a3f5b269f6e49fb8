"""Layer 6, campaign of secrets, cold: what is planted in each place that is searched, and must be found.

A search that finds nothing proves nothing while it may be blind. Each place gets a made-up secret of its own:
argument, environment, memory and core file of a process, shared memory, log, standard output with a
traceback, journal, crash file, archive. `Decoys.names` are the canaries' names; a hit under the name proves
that place and no other.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = "decoy in "
PLACES: Final = (
    "argv", "environ", "memory", "core", "shared memory",
    "log", "traceback", "journal", "crash file", "archive",
)  # fmt: skip
VARIABLE: Final = "KITE_HFT_DECOY"
CORE_PATTERN: Final = Path("/proc/sys/kernel/core_pattern")
CORE_NAME: Final = re.compile(r"^core(\.|$)")
WAIT_S: Final = 20.0
PR_CAPBSET_DROP: Final = 24
GIVEN_UP: Final = (19, 21, 38)
"""CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON (linux/capability.h): with them root reads everything; without,
it is refused as any user is."""
WITHOUT: Final = (
    f"import ctypes, os, sys; [ctypes.CDLL(None).prctl({PR_CAPBSET_DROP}, n, 0, 0, 0) for n in {GIVEN_UP}]; "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
HOLDER: Final = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
held = sys.stdin.readline()[::-1]  # it stood the other way round in the pipe
print("ready", flush=True)
if sys.stdin.readline():
    os.abort()
"""


def plain(command: list[str]) -> list[str]:
    """The command of a process that has no more rights than any other of its user."""
    return [sys.executable, "-c", WITHOUT, *command]


def decoys() -> dict[str, str]:
    """Name -> made-up secret, one for each place."""
    words = enumerate(PLACES)
    return {f"{PREFIX}{place}": f"dcyPlanted/{number}+{place[:3]}&Kz7Wq{number}Lm" for number, place in words}


@contextlib.contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that keeps decoys in argument, environment and memory, and hides nothing."""
    made = decoys()
    environment = {**os.environ, VARIABLE: made[f"{PREFIX}environ"]}
    command = plain([sys.executable, "-I", "-S", "-c", HOLDER, made[f"{PREFIX}argv"]])
    process = subprocess.Popen(
        command, env=environment, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        held = f"{made[f'{PREFIX}memory']} {made[f'{PREFIX}core']}"
        process.stdin.write(held[::-1] + "\n")
        process.stdin.flush()
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def dump_core(process: subprocess.Popen[str]) -> int:
    """Let the holder end by abort(); the signal that ended it."""
    assert process.stdin is not None
    process.stdin.write("now\n")
    process.stdin.flush()
    return -process.wait(WAIT_S)


def core_files(folder: Path) -> list[Path]:
    """Core files below a folder, where the processes of a campaign have their working directory."""
    return [path for path in folder.rglob("core*") if CORE_NAME.match(path.name) and path.is_file()]


def cores_go_elsewhere() -> str:
    """Where the kernel puts core files, when that is not the working directory of who died; "": there."""
    pattern = CORE_PATTERN.read_text().strip()
    return pattern if pattern.startswith(("|", "/")) else ""


def plant_shared(folder: Path) -> Path:
    """A file among the run's segments; the caller takes it away."""
    path = folder / "decoy.seg"
    path.write_bytes(bytes(8192) + decoys()[f"{PREFIX}shared memory"].encode() + bytes(4096))
    return path


def plant_left(run: Path, out: Path) -> None:
    """In what a run has left: its log, journal, a crash file, an archive, and its standard output."""
    made = decoys()
    with (run / "engine.log").open("a") as log:
        log.write(json.dumps({"event": f"called with {made[f'{PREFIX}log']}"}, ensure_ascii=False) + "\n")
    with (run / "journal.bin").open("ab") as journal:
        journal.write(b"\xf5KJ\xff" + bytes(36) + json.dumps({"why": made[f"{PREFIX}journal"]}).encode())
    with (run / "decoy.crash").open("w") as crash:
        try:
            raise RuntimeError(made[f"{PREFIX}crash file"])
        except RuntimeError:
            crash.write(traceback.format_exc())
    data = made[f"{PREFIX}archive"].encode()
    with tarfile.open(run / "decoy.tar.gz", "w:gz") as packed:
        info = tarfile.TarInfo("words.txt")
        info.size = len(data)
        packed.addfile(info, io.BytesIO(data))
    with out.open("ab") as printed:  # an interpreter's own words, as those of a process of the engine
        fails = "import sys; value = sys.stdin.read(); raise RuntimeError(value)"
        subprocess.run(
            [sys.executable, "-c", fails], input=made[f"{PREFIX}traceback"].encode(), stdout=printed,
            stderr=printed, check=False, timeout=WAIT_S,
        )  # fmt: skip


def not_found(hits: list[str], left_out: set[str]) -> list[str]:
    """Places whose decoy no hit names. left_out: places that could not be planted here."""
    return [
        f"planted and not found: {name}"
        for name in decoys()
        if name.removeprefix(PREFIX) not in left_out and not any(f": {name}, as it is" in hit for hit in hits)
    ]


def real(hits: list[str]) -> list[str]:
    """Hits that are no decoy's."""
    return [hit for hit in hits if f": {PREFIX}" not in hit]
