"""Layer 6, by hand, cold: do the tests see it when the code is slightly wrong?

`python -m kite_hft.verify risk --mutation [--modules NAME ...] [--sample N] [--processes N]` changes one
thing at a time in the modules that an order's safety rests on (simulation/mutants_of_source.py lists what is
changed), and runs the tests that are named for the module against each mutant, in a process of its own
with a time limit, up to the first failure (mutation_run.py). A mutant that no test fails on has survived.
The score is the share that was found; a mutant that hangs is found, too. Nothing on the disk is changed.

Mutants that change nothing (they exist) stand in equivalents.py with their reason, and are left out.
A line per module, and per survivor, on standard error. One JSON line on standard output: a row per module,
each survivor with its place, its change as a diff and the command that tries it again; exit code 0 when
every module reaches `--least` (95 %).

    --modules memory.journal --mutant 17    tries one mutant again, and names the test that finds it
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from kite_hft.verify.campaign import ROOT, CampaignError, show_progress
from kite_hft.verify.risk.equivalents import EQUIVALENT
from kite_hft.verify.simulation.mutants_of_source import Mutant, mutants_of, name_of

GATE: Final = (
    "tests/unit/trading/gate", "tests/unit/verify/risk/test_risk.py", "tests/unit/stages/test_orders_gate.py",
)  # fmt: skip
AGAIN: Final = "tests/unit/stages/test_orders_judged_again.py"
SENDING: Final = ("tests/unit/trading/sending", "tests/property/test_limiter_twin.py")
JOURNAL: Final = (
    "tests/unit/memory/test_journal.py", "tests/unit/memory/test_journal_files.py",
    "tests/unit/memory/test_journal_writer.py", "tests/property/test_journal_generations.py",
)  # fmt: skip
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "trading.lifecycle": ("tests/unit/trading/test_lifecycle.py", "tests/property/test_order_book.py"),
    "trading.sending.throttle": SENDING,
    "trading.sending.budget": SENDING,
    "trading.sending.egress": (
        *SENDING,
        "tests/unit/stages/test_orders_exits_wait.py",
        "tests/unit/stages/test_orders_stalled_write.py",
    ),
    "trading.sending.conduct": SENDING,
    "trading.sending.evidence": (
        "tests/unit/trading/sending/test_evidence.py",
        "tests/unit/engine/orders/test_evidence.py",
    ),
    "memory.journal": JOURNAL,
    "memory.journal_writer": (*JOURNAL, "tests/unit/stages/test_orders_fsync.py"),
    "memory.journal_files": (*JOURNAL, "tests/unit/engine/orders/test_files.py"),
    "trading.gate.sizing": ("tests/unit/trading/gate/test_sizing.py",),
    "trading.gate.risk": (*GATE, AGAIN, "tests/property/test_risk_plain.py"),
    "trading.gate.checks": GATE,
    "trading.gate.checks_form": GATE,
    "trading.gate.checks_conduct": (
        *GATE,
        "tests/unit/stages/test_orders_self_trade.py",
        "tests/unit/stages/test_orders_exits_outrun.py",
    ),
    "trading.gate.checks_market": GATE,
    "trading.gate.checks_size": (*GATE, AGAIN),
    "trading.gate.facts": ("tests/unit/trading/gate/test_facts.py", *GATE),
    "trading.gate.limits": GATE,
    "trading.gate.holds": (*GATE, "tests/unit/stages/test_orders_states.py"),
    "trading.gate.losses": GATE,
    "trading.gate.guards": (*GATE, "tests/unit/stages/test_orders_guards.py"),
    "trading.gate.judging": (*GATE, "tests/unit/stages/test_orders_guards.py"),
    "trading.gate.broker_clock": ("tests/unit/trading/gate/test_broker_clock.py",),
    "trading.gate.states": (*GATE, "tests/unit/stages/test_orders_states.py"),
}
"""Module -> the tests that speak for it; paths that do not exist are left out."""
LINE_MAX: Final = 110
LIMIT_S: Final = 10.0
TOLD_MAX: Final = 20
"""Of so many mutants it is told which test found each."""


def judge(
    module: str, every: Sequence[Mutant], chosen: Sequence[int], least: float, processes: int
) -> dict[str, Any]:
    """Try the `chosen` ones (their numbers) of a module's mutants.

    Raises:
        CampaignError: its tests fail without any change, or could not be run.
    """
    began = time.monotonic()
    tests = [test for test in MODULES[module] if (ROOT / test).exists()]
    jobs = [(every[number].function, every[number].source()) for number in chosen]
    job = {"module": module, "tests": tests, "jobs": jobs, "processes": processes, "limit_s": LIMIT_S}
    survivors: list[int] = []
    found_by: dict[int, str] = {}
    command = [sys.executable, "-m", "kite_hft.verify.risk.mutation_run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdin is not None and host.stdout is not None
        json.dump(job, host.stdin)
        host.stdin.close()
        for done, line in enumerate(host.stdout):
            told = json.loads(line)
            if isinstance(told, list):
                at, found, by, _ = told
                found_by[chosen[at]] = by
                survivors += [] if found else [chosen[at]]
            elif "error" in told:
                raise CampaignError(told["error"])
            show_progress(done, len(jobs), f"{module}, {len(survivors)} survived")
    if len(found_by) != len(jobs):
        raise CampaignError(f"{module}: {len(jobs) - len(found_by)} mutants were not tried")
    found = len(jobs) - len(survivors)
    score = 100 * found / len(jobs) if jobs else 100.0
    row: dict[str, Any] = {
        "mutants": len(jobs), "found": found, "equivalent": len(EQUIVALENT.get(module, ())),
        "score": round(score, 1), "seconds": round(time.monotonic() - began), "ok": score >= least,
        "survivors": [survivor(module, number, every[number]) for number in sorted(survivors)],
    }  # fmt: skip
    return row | ({"found_by": found_by} if len(chosen) <= TOLD_MAX else {})


def survivor(module: str, number: int, mutant: Mutant) -> dict[str, Any]:
    """What a person needs to know of a mutant that no test sees."""
    line, _, words = mutant.words.removeprefix("line ").partition(": ")
    return {
        "at": f"src/kite_hft/{module.replace('.', '/')}.py:{line}",
        "function": mutant.function,
        "words": words,
        "diff": diff(module, mutant),
        "again": f"python -m kite_hft.verify risk --mutation --modules {module} --mutant {number}",
    }


def diff(module: str, mutant: Mutant) -> list[str]:
    """Lines taken out (-) and put in (+), as Python writes a tree; of long ones the part that differs."""
    before = ast.unparse(ast.parse(source_of(module))).splitlines()
    after = mutant.source().splitlines()
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    found = [line for line in lines if not line.startswith("@@")]
    if max(map(len, found)) <= LINE_MAX:
        return found
    begin = max(_common(*(line[1:] for line in found)) - LINE_MAX // 2, 0)
    return [f"{line[0]}... {line[1 + begin :][:LINE_MAX]} ..." for line in found]


def _common(first: str, *others: str) -> int:
    """So many letters at their beginning are the same."""
    columns = zip(first, *others, strict=False)
    return next((at for at, letters in enumerate(columns) if len(set(letters)) > 1), len(first))


def source_of(module: str) -> str:
    """A module of the product as it is, by its name without `kite_hft.`."""
    return (ROOT / "src/kite_hft" / f"{module.replace('.', '/')}.py").read_text("utf-8")


def main(argv: list[str]) -> int:
    """Run the verification; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kite_hft.verify risk --mutation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--modules", nargs="+", default=list(MODULES), choices=list(MODULES), metavar="NAME")
    parser.add_argument("--sample", type=int, help="so many mutants of each module, drawn by the seed")
    parser.add_argument("--mutant", type=int, nargs="+", help="only these of a single module", metavar="N")
    parser.add_argument("--processes", type=int, default=2, help="mutants tried at the same time (2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=95.0, help="score asked for, in percent (95)")
    wanted = parser.parse_args(argv)
    if wanted.mutant is not None and len(wanted.modules) != 1:
        parser.error("--mutant asks for the one module of --modules")
    report: dict[str, Any] = {"verify": "mutation", "seed": wanted.seed, "modules": {}}
    for module in wanted.modules:
        every, known = mutants_of(source_of(module), {}), EQUIVALENT.get(module, {})
        chosen = [n for n, mutant in enumerate(every) if name_of(mutant.words, mutant.function) not in known]
        if wanted.mutant is not None:
            if not set(wanted.mutant) <= set(range(len(every))):
                parser.error(f"{module} has the mutants 0 to {len(every) - 1}")
            chosen = wanted.mutant
        elif wanted.sample is not None and wanted.sample < len(chosen):
            chosen = sorted(random.Random(f"{wanted.seed} {module}").sample(chosen, wanted.sample))
        try:
            row = judge(module, every, chosen, wanted.least, wanted.processes)
        except CampaignError as error:
            row = {"ok": False, "error": str(error)}
        report["modules"][module] = row
        told = row.get("error") or f"{row['found']} of {row['mutants']} found in {row['seconds']} s"
        print(f"{module:28} {row.get('score', 0.0):5.1f} %  {told}", file=sys.stderr, flush=True)
        for one in row.get("survivors", ()):
            print(f"    {one['at']}: {one['words']}", file=sys.stderr, flush=True)
    rows = report["modules"].values()
    total, found = sum(row.get("mutants", 0) for row in rows), sum(row.get("found", 0) for row in rows)
    report |= {"mutants": total, "found": found, "score": round(100 * found / total, 1) if total else 0.0}
    report["ok"] = all(row["ok"] for row in rows)
    print(json.dumps(report))
    return 0 if report["ok"] else 1
