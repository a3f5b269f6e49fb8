"""Timed calls of the hot path, by pytest-benchmark; no part of `make test`.

    .venv/bin/python -m pytest tests/performance --benchmark-only

Nothing here asserts a time: compare two states of the code by --benchmark-save and
--benchmark-compare. The work is that of benchmarks/instructions/workloads.py, so that a change
which callgrind sees can be looked at with a clock.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from kite_hft.memory.segment import make_directory

pytest.importorskip("pytest_benchmark", reason="pip install kite-hft[bench]: pytest-benchmark is missing")


def load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "instructions" / "workloads.py"
    spec = importlib.util.spec_from_file_location("workloads", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WORK = load()


@pytest.mark.parametrize("name", list(WORK.WORKLOADS))
def test_hot_call(name: str, tmp_path: Path, benchmark) -> None:  # type: ignore[no-untyped-def]
    ticks, run = WORK.WORKLOADS[name](make_directory(tmp_path, "performance"))
    benchmark.extra_info["ticks"] = ticks
    benchmark(run)
    assert ticks > 0
