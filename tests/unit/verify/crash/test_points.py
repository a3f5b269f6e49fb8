"""Crash points: the same numbers in C and Python, none in the product, and a process dies at its passage."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import kite_hft
from kite_hft.verify.crash.points import AREA, COMPILED, POINTS, WRAPPED, Area

ROOT = Path(__file__).resolve().parents[4]
CHILD = """
import sys
from pathlib import Path
from kite_hft.verify.crash.points import Area
area = Area(Path(sys.argv[1]))
for passage in range(5):
    print(passage, flush=True)
    area.at(int(sys.argv[2]))
"""


def test_the_header_has_the_same_numbers() -> None:
    text = (ROOT / "ext/crash.h").read_text()
    found = {name.lower(): int(n) for name, n in re.findall(r"CRASH_(\w+) = (\d+)", text)}
    assert found == COMPILED
    used = "".join(path.read_text() for path in (ROOT / "ext").glob("*.h") if path.name != "crash.h")
    for name in COMPILED:
        assert name.startswith("ring_") or f"CRASH_{name.upper()}" in used, name


def test_every_point_belongs_to_a_process() -> None:
    assert {point.name for point in POINTS} == {*COMPILED, *WRAPPED}
    assert len({point.title for point in POINTS}) == len(POINTS)
    assert len({*COMPILED.values(), *WRAPPED.values()}) == len(COMPILED) + len(WRAPPED)


def test_the_product_has_none() -> None:
    for path in Path(next(iter(kite_hft.__path__))).glob("_*.so"):
        assert AREA.encode() not in path.read_bytes(), path


def passes(area: Area, number: int) -> subprocess.CompletedProcess[str]:
    """A process that passes a point five times."""
    command = [sys.executable, "-c", CHILD, str(area.path), str(number)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def dies(area: Area, role: str) -> subprocess.CompletedProcess[str]:
    area.arm(101, 2, role)
    return passes(area, 101)


def test_a_process_dies_at_the_passage_that_was_armed_and_its_successor_lives(tmp_path: Path) -> None:
    area = Area(tmp_path / "area", make=True)
    child = dies(area, "python")
    assert child.returncode == -signal.SIGKILL and child.stdout.split() == ["0", "1", "2"], child.stderr
    assert area.fired() > 0
    assert passes(area, 101).returncode == 0


def test_who_dies_arms_the_next_point_for_its_successor(tmp_path: Path) -> None:
    area = Area(tmp_path / "area", make=True)
    area.arm(101, 2, "python", then=164)
    assert passes(area, 164).returncode == 0
    assert passes(area, 101).stdout.split() == ["0", "1", "2"]
    assert area.fired() == 0
    child = passes(area, 164)
    assert child.returncode == -signal.SIGKILL and child.stdout.split() == ["0"], child.stderr
    assert area.fired() > 0
    assert passes(area, 101).returncode == 0 == passes(area, 164).returncode


def test_another_process_passes(tmp_path: Path) -> None:
    area = Area(tmp_path / "area", make=True)
    assert dies(area, "orders").returncode == 0
    assert dies(area, "#1").returncode == 0
    assert area.fired() == 0
