"""A process that hides is hidden, one that does not is readable, and memory is searched as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kite_hft.verify.campaign import CampaignError
from kite_hft.verify.shield.decoys import plain
from kite_hft.verify.shield.looking import held_in_memory, may_dump, readable_by_others

SECRET = "cnryHeld/in+memory&1234"
HARDEN = "from kite_hft.engine.keys.private import harden_process; harden_process(); "


@contextmanager
def process(before: str) -> Iterator[int]:
    """A process that has read SECRET."""
    code = f"{before}import sys; held = sys.stdin.readline(); print('ready', flush=True); sys.stdin.read()"
    command = plain([sys.executable, "-c", code])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    made = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdin is not None and made.stdout is not None
    try:
        made.stdin.write(SECRET + "\n")
        made.stdin.flush()
        assert made.stdout.readline() == "ready\n"
        yield made.pid
    finally:
        made.kill()
        made.communicate()


def look(pid: int) -> list[str]:
    try:
        return readable_by_others([pid])[pid]
    except CampaignError as error:
        pytest.skip(str(error))


def test_a_process_that_hides_nothing_is_readable() -> None:
    with process("") as pid:
        assert {"environ", "maps"} <= set(look(pid))


def test_a_hardened_process_shows_nothing_and_writes_no_core() -> None:
    with process(HARDEN) as pid:
        assert look(pid) == [] and not may_dump(pid)


def test_what_stands_in_memory_is_found() -> None:
    with process("") as pid:
        found = held_in_memory(pid, {"held": SECRET, "not held": "cnryNever" + "There99"})
        if found is None:
            pytest.skip("the kernel lets nobody look")
        assert found == ["held"]
