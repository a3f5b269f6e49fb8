"""Which packing and which wait win on this machine, at 2,000, 18,000 and 200,000 ticks a second.

    python benchmarks/bench_packing.py [--rounds 3] [--quick]

Each figure is a run of benchmarks/load_test.py: the real engine, a generator of its own, evenly
spaced frames of 30 packets, a probe strategy, nothing pinned. Three rows for each load: the 50th and
the 99th percentile from the socket read until kernels and strategies are done with the tick
(read_to_computed, microseconds, upper bucket edges), and what all processes of the engine take
together (per cent of one core, user and system time of the steady window).

kite_hft                what the plan chooses by itself
fused, <wait>           feed and worker of a connection in one process: no wake-up between them
separate, <wait>        a process each: the worker is woken by the ring

A wait that the plan refuses on this machine (more spinning processes than cores) is left out with the
plan's reason, and so is a run in which a tick was lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kit

LOADS = {"2,000": (1000, 2.0), "18,000": (9000, 2.0), "200,000": (9000, 200_000 / 9000)}
"""ticks/s -> (instruments, ticks a second and instrument): one connection, three and three."""
WAITS = ("park", "adaptive", "yield", "spin")
ROWS = {
    "p50": ("read to computed, p50", "us"),
    "p99": ("read to computed, p99", "us"),
    "cpu": ("CPU of the engine", "% of a core"),
}


def contenders() -> Iterator[tuple[str, str, str]]:
    """(name, packing, wait)."""
    yield kit.OURS, "auto", "auto"
    for packing in ("fused", "separate"):
        for wait in WAITS:
            yield f"{packing}, {wait}", packing, wait


def run(instruments: int, rate: float, packing: str, wait: str, seconds: float) -> dict[str, Any]:
    """The JSON of one load test; {} with its last words under "failed" when it did not work."""
    words = ["--instruments", instruments, "--rate", rate, "--duration", seconds, "--strategy", "probe",
             "--packing", packing, "--wait", wait, "--warm-up", 1]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.json"
        command = [sys.executable, kit.HERE / "load_test.py", *words, "--json", path]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        told: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if done.returncode and not told.get("wrong"):
        return {"failed": done.stderr.strip()[:200] or f"exit code {done.returncode}"}
    return told


def refused(told: dict[str, Any]) -> str:
    """Why the run does not count, or "". A wait that is not the one asked for has its reason."""
    if "failed" in told:
        return str(told["failed"])
    for row in told["placing"].values():
        wait = row.get("wait", {})
        if wait and wait["asked"] not in ("auto", wait["got"]):
            return f"the plan refuses: {wait['why']}"
    return "; ".join(told["wrong"])


def figures(told: dict[str, Any]) -> dict[str, float]:
    latency = told["steady"]["latency_us"]["read_to_computed"]
    return {
        "p50": latency["p50"],
        "p99": latency["p99"],
        "cpu": 100 * told["steady"]["cpu"]["engine"]["of_a_core"],
    }


def chosen_by_plan(told: dict[str, Any]) -> str:
    waits = sorted({row["wait"]["got"] for row in told["placing"].values() if "wait" in row})
    packing = "separate" if any(name.startswith("compute-") for name in told["placing"]) else "fused"
    return f"the plan's choice: {packing}, {' and '.join(waits)}"


def measure(ticks: str, rounds: int, seconds: float) -> list[kit.Row]:
    """The rows of one load; each round runs all contenders in turn."""
    instruments, rate = LOADS[ticks]
    rows = {key: kit.Row(f"{ticks} ticks/s: {text}", unit, "less") for key, (text, unit) in ROWS.items()}
    out: dict[str, str] = {}
    for _ in range(rounds):
        for name, packing, wait in contenders():
            if name in out:
                continue
            told = run(instruments, rate, packing, wait, seconds)
            print(f"{ticks} ticks/s, {name}: {refused(told) or figures(told)}", file=sys.stderr)
            if why := refused(told):
                out[name] = why
                continue
            for key, figure in figures(told).items():
                rows[key].figures.setdefault(name, []).append(figure)
            if name == kit.OURS:
                for row in rows.values():
                    row.notes[name] = chosen_by_plan(told)
    for row in rows.values():
        for name, why in out.items():
            row.figures.pop(name, None)
            row.notes[name] = why
    return list(rows.values())


def main() -> None:
    options = kit.options(__doc__, rounds=3)
    options.add_argument("--seconds", type=float, default=8.0, help="steady window of each run (default 8)")
    chosen = options.parse_args()
    rounds, seconds = (1, 2.0) if chosen.quick else (chosen.rounds, chosen.seconds)
    rows = [row for ticks in LOADS for row in measure(ticks, rounds, seconds)]
    kit.write("packing", rows, chosen.json)


if __name__ == "__main__":
    main()
