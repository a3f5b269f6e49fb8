"""All benchmarks, one after another, and the table of what was asked and reached.

    python benchmarks/run.py [--quick] [--only NAME ...] [--rounds N]

Each bench_<name>.py runs in a process of its own, with nothing beside it, and keeps its result under
benchmarks/results/<machine>/<name>.json. Rivals' environments are made on the first run (minutes).
Ctrl-C ends the bench that runs; what was measured before stays. Exit code 1 when one could not run;
a target that was missed is told in the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import kit

ORDER: Final = (
    "receive", "decode", "decode_upstox", "feed_upstox", "ring", "round_trip", "kalman", "bars", "strategy",
    "wakeup", "order", "order_round_trip", "recorder", "convert", "memory", "trace", "recovery", "packing",
)  # fmt: skip
"""The rows of the table in the way of a tick and of an order; others come after them."""


def benches() -> list[str]:
    """Names of all bench_<name>.py, in order."""
    found = {path.stem.removeprefix("bench_") for path in kit.HERE.glob("bench_*.py")}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def result_path(name: str, quick: bool) -> Path:
    """Quick figures are kept apart: they prove that a bench runs, and nothing else."""
    return (
        kit.ROOT / "build" / "bench-quick" if quick else kit.RESULTS / kit.machine_name()
    ) / f"{name}.json"


def run(name: str, quick: bool, rounds: int | None) -> bool:
    """One bench; False: it failed."""
    path = result_path(name, quick)
    command = [sys.executable, str(kit.HERE / f"bench_{name}.py"), "--json", str(path)]
    command += ["--quick"] if quick else []
    command += ["--rounds", str(rounds)] if rounds else []
    began = time.monotonic()
    done = subprocess.run(command, check=False)
    print(f"\n[{name}: {time.monotonic() - began:.0f} s]", flush=True)
    return done.returncode == 0


def table(names: list[str], quick: bool) -> list[str]:
    """One line for each target of each row."""
    lines = []
    for name in names:
        path = result_path(name, quick)
        if not path.exists():
            continue
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for row in document["rows"]:
            for target in row["targets"]:
                reached = "-" if target["reached"] is None else f"{target['reached']:.4g}"
                verdict = {True: "reached", False: "MISSED", None: "not measured"}[target["met"]]
                lines.append(f"{row['name'][:60]:60}  {target['asked'][:52]:52}  {reached:>9}  {verdict}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes; figures mean little"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=benches(), help=", ".join(benches()))
    parser.add_argument("--rounds", type=int, help="counted rounds of each")
    options = parser.parse_args()
    names = options.only or benches()
    failed = []
    try:
        for number, name in enumerate(names, 1):
            print(f"\n=== {number} of {len(names)}: {name}", flush=True)
            if not run(name, options.quick, options.rounds):
                failed.append(name)
    except KeyboardInterrupt:
        print("\nended by Ctrl-C; what was measured before stays", file=sys.stderr)
    print("\n" + "\n".join(table(names, options.quick)))
    if failed:
        print(f"\nbench: could not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
