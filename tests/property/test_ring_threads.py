"""The memory order of ring, queue and table under ThreadSanitizer, and the same in the release form."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GENERATED = ROOT / "build/gen"
MESSAGES = 40_000


def built(tmp_path: Path, *flags: str) -> Path:
    if shutil.which("gcc") is None or not (GENERATED / "khft_layout.h").exists():
        pytest.skip("needs gcc and a built tree (make build)")
    program = tmp_path / "ring_threads"
    command = ["gcc", "-std=gnu11", "-O2", "-g", "-Wall", "-pthread", f"-I{ROOT / 'ext'}", f"-I{GENERATED}"]
    command += [*flags, str(HERE / "ring_threads.c"), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in done.stderr and "tsan" in done.stderr:
        pytest.skip("needs libtsan")
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, messages: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TSAN_OPTIONS": "exitcode=66 halt_on_error=0"}
    # Address randomisation may use places that this libtsan does not know.
    command = ["setarch", "-R", str(program), str(messages)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250)


def holds(output: str, messages: int) -> None:
    ring, queue, table = ([int(word) for word in line.split()] for line in output.splitlines())
    assert ring[0] + ring[1] == messages, "got + lost = produced"
    assert ring[2] == 0, "torn"
    assert queue[:2] == [messages, 0]
    assert table[0] > 0
    assert table[1] == 0


def test_no_race_in_the_per_word_form(tmp_path: Path) -> None:
    done = run(built(tmp_path, "-fsanitize=thread", "-DKHFT_TSAN"), MESSAGES)
    assert "WARNING: ThreadSanitizer" not in done.stderr, done.stderr[:3000]
    assert done.returncode == 0, done.stderr[:3000]
    holds(done.stdout, MESSAGES)


def test_the_sanitizer_is_armed(tmp_path: Path) -> None:
    """Plain copies between fences, which it does not understand, must be reported as races."""
    done = run(built(tmp_path, "-fsanitize=thread", "-Wno-tsan"), MESSAGES // 10)
    assert done.returncode == 66
    assert "data race" in done.stderr


def test_the_release_form_tears_nothing(tmp_path: Path) -> None:
    done = run(built(tmp_path), 400_000)
    assert done.returncode == 0
    holds(done.stdout, 400_000)
