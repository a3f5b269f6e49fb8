"""Layer 6, by hand, cold: do the tests see it when the code is slightly wrong?

`python -m kite_hft.verify risk --mutation [--modules NAME ...] [--sample N]` changes one thing at a time in
the modules of the order path (mutants.py lists what is changed), and runs the tests that are named for
the module against each mutant, in a process of its own with a time limit, up to the first failure. A
mutant that no test fails on has survived. The score is the share that was found; a mutant that hangs is
found, too. Nothing on the disk is changed: a mutant is put in the module's place at its import.

Mutants that change nothing (they exist) stand in EQUIVALENT with their reason, and are left out.
One JSON line on standard output; exit code 0 when every module reaches `--least` (95 %).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft.verify.campaign import ROOT, show_progress
from kite_hft.verify.simulation.mutants_of_source import EQUIVALENT, Mutant, mutants_of

GATE: Final = ("tests/unit/verify/risk/test_risk.py", "tests/unit/trading/gate")
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "trading.gate.risk": (*GATE, "tests/property/test_risk_plain.py"),
    "trading.gate.checks": GATE,
    "trading.gate.checks_form": GATE,
    "trading.gate.checks_conduct": GATE,
    "trading.gate.checks_market": GATE,
    "trading.gate.checks_size": GATE,
    "trading.gate.facts": (*GATE, "tests/unit/trading/exits/test_square_off.py"),
    "trading.gate.limits": GATE,
    "trading.gate.guards": ("tests/unit/trading/gate/test_guards.py", "tests/unit/verify/risk/test_risk.py"),
    "trading.gate.judging": ("tests/unit/stages/test_orders_guards.py", *GATE),
    "trading.gate.sizing": ("tests/unit/trading/gate/test_sizing.py",),
    "trading.sending.throttle": (
        "tests/unit/trading/sending/test_throttle.py", "tests/property/test_limiter_twin.py",
    ),
    "trading.sending.budget": (
        "tests/unit/trading/sending/test_budget.py", "tests/unit/trading/sending/test_throttle.py",
        "tests/property/test_limiter_twin.py",
    ),
    "trading.lifecycle": ("tests/unit/trading/test_lifecycle.py", "tests/property/test_order_book.py"),
    "memory.journal": ("tests/unit/memory/test_journal.py", "tests/unit/memory/test_journal_files.py",
                       "tests/unit/memory/test_journal_writer.py"),
}  # fmt: skip
"""Module -> the tests that speak for it; paths that do not exist are left out."""
HEAVY: Final = ("numpy", "hypothesis", "msgspec", "pydantic", "yaml", "pytest")
LIMIT_S_MIN: Final = 20.0
NOTHING_FOUND: Final = 0


def run_tests(module: str, source: Path | None, tests: Sequence[str], limit_s: float) -> tuple[bool, float]:
    """Run `tests` with `source` as `module`, in a process of their own: (a test failed, seconds)."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _in_child(module, source, tests)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - began
        if pid:
            return os.waitstatus_to_exitcode(status) != NOTHING_FOUND, seconds
        if seconds > limit_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True, seconds
        time.sleep(0.02)


def _in_child(module: str, source: Path | None, tests: Sequence[str]) -> None:
    """Never returns."""
    code = 70
    try:
        quiet = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(quiet, fd)
        os.chdir(ROOT)
        for name in [name for name in sys.modules if name.partition(".")[0] == "kite_hft"]:
            del sys.modules[name]
        if source is not None:
            sys.meta_path.insert(0, _Instead(f"kite_hft.{module}", source))
        import pytest

        words = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "--no-header",
            "--tb=no",
            "--assert=plain",
            *tests,
        ]
        code = int(pytest.main(words))
    finally:
        os._exit(code)


class _Instead:
    """Finds one module in another file."""

    def __init__(self, name: str, source: Path) -> None:
        self._name, self._source = name, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._source)


def judge(module: str, chosen: Sequence[Mutant], least: float) -> dict[str, Any]:
    """Run all chosen mutants of a module.

    Raises:
        RuntimeError: its tests fail without any change.
    """
    tests = [test for test in MODULES[module] if (ROOT / test).exists()]
    failed, seconds = run_tests(module, None, tests, 600.0)
    if failed or not tests:
        raise RuntimeError(f"{module}: its tests fail as it is: pytest {' '.join(tests)}")
    limit_s = max(LIMIT_S_MIN, 5 * seconds)
    survivors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="khft-mutant-") as folder:
        path = Path(folder) / f"{module.rpartition('.')[2]}.py"
        for number, mutant in enumerate(chosen, 1):
            path.write_text(mutant.source(), "utf-8")
            if not run_tests(module, path, tests, limit_s)[0]:
                survivors.append(mutant.words)
            show(module, number, len(chosen), len(survivors))
    found = len(chosen) - len(survivors)
    score = 100 * found / len(chosen) if chosen else 100.0
    return {
        "mutants": len(chosen), "found": found, "score": round(score, 1), "ok": score >= least,
        "survivors": survivors,
    }  # fmt: skip


def show(module: str, done: int, total: int, survived: int) -> None:
    """A bar on a terminal, nothing elsewhere."""
    show_progress(done, total, f"{module}, {survived} survived")


def main(argv: list[str]) -> int:
    """Run the verification; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kite_hft.verify risk --mutation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--modules", nargs="+", default=list(MODULES), choices=list(MODULES), metavar="NAME")
    parser.add_argument("--sample", type=int, help="so many mutants of each module, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=95.0, help="score asked for, in percent (95)")
    wanted = parser.parse_args(argv)
    for name in HEAVY:
        importlib.import_module(name)
    report: dict[str, Any] = {"verify": "mutation", "seed": wanted.seed, "modules": {}}
    for module in wanted.modules:
        path = ROOT / "src/kite_hft" / f"{module.replace('.', '/')}.py"
        every = mutants_of(path.read_text("utf-8"), EQUIVALENT.get(module, {}))
        if wanted.sample is not None and wanted.sample < len(every):
            every = random.Random(f"{wanted.seed} {module}").sample(every, wanted.sample)
        try:
            report["modules"][module] = judge(module, every, wanted.least)
        except RuntimeError as error:
            report["modules"][module] = {"ok": False, "error": str(error)}
    rows = report["modules"].values()
    total, found = sum(row.get("mutants", 0) for row in rows), sum(row.get("found", 0) for row in rows)
    report |= {"mutants": total, "found": found, "score": round(100 * found / total, 1) if total else 0.0}
    report["ok"] = all(row["ok"] for row in rows)
    print(json.dumps(report))
    return 0 if report["ok"] else 1
