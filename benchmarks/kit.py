"""What every benchmark here shares: contenders taken in turn, ratios round by round, one result file.

A contender is a name and a function that measures once and returns one figure. In each round all
contenders run one after another, so that the machine's drift goes through all of them; a ratio is
taken within a round, and its median and spread over the rounds are what counts. Absolute figures
are for orientation.

Rivals that come as packages live in environments of their own (`benchmarks/peers/<name>.txt`, locked
with hashes) so that their versions cannot clash with ours; `peer` starts one there. Rivals in C are
single files under `benchmarks/peers/c/`, compiled by `compiled`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
RESULTS: Final = HERE / "results"
PEERS: Final = HERE / "peers"
ENVIRONMENTS: Final = ROOT / "build" / "peers"
OURS: Final = "kite_hft"
CFLAGS: Final = ("-O3", "-march=native", "-std=gnu11", "-Wall", "-ffp-contract=off", "-pthread")


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked: our figure over `of`'s is `at_least` or `at_most`; of None: the figure itself."""

    of: str | None
    at_least: float | None = None
    at_most: float | None = None
    ours: str = OURS

    def text(self) -> str:
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return f"{self.ours} {sign} {bound:g}" + (f" x {self.of}" if self.of else "")

    def met(self, reached: float) -> bool:
        if self.at_least is not None:
            return reached >= self.at_least
        return self.at_most is not None and reached <= self.at_most


@dataclass(slots=True)
class Row:
    """One line of the table: contenders on one task. figures: name -> one figure a round."""

    name: str
    unit: str
    better: Literal["more", "less"]
    targets: Sequence[Target] = ()
    figures: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)  # of a contender: version, why it is missing

    def ratios(self, of: str, ours: str = OURS) -> list[float]:
        """Ours over a rival's, round by round, ascending."""
        pairs = zip(self.figures[ours], self.figures[of], strict=True)
        return sorted(a / b for a, b in pairs if b)

    def result(self) -> dict[str, Any]:
        """As it stands in a result file."""
        found: list[dict[str, Any]] = []
        for target in self.targets:
            missing = [n for n in (target.ours, target.of) if n and not self.figures.get(n)]
            if missing:
                found.append({"asked": target.text(), "reached": None, "met": None, "missing": missing})
                continue
            values = self.ratios(target.of, target.ours) if target.of else sorted(self.figures[target.ours])
            reached = statistics.median(values)
            found.append({"asked": target.text(), "reached": reached, "met": target.met(reached)})
        return {
            "name": self.name,
            "unit": self.unit,
            "better": self.better,
            "figures": {name: spread(values) for name, values in self.figures.items() if values},
            "ratios": {
                name: spread(self.ratios(name))
                for name in self.figures
                if name != OURS and self.figures.get(OURS) and self.figures[name]
            },
            "targets": found,
            "notes": self.notes,
        }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, least, largest and number of the figures."""
    return {
        "median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values),
    }  # fmt: skip


def measure(row: Row, contenders: Mapping[str, Callable[[], float]], rounds: int) -> Row:
    """Run all contenders in turn, `rounds` times, after one round that is not counted."""
    for number in range(-1, rounds):
        for name, run in contenders.items():
            figure = run()
            if number >= 0:
                row.figures.setdefault(name, []).append(figure)
        if sys.stderr.isatty():
            print(f"\r{row.name}: round {max(0, number + 1)} of {rounds}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return row


def machine() -> dict[str, Any]:
    """What the figures were measured on: no name and no address of it."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line), "")
    flags = next((line for line in info.splitlines() if line.startswith("flags")), "").split()
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "avx2": "avx2" in flags,
        "avx512vbmi": "avx512vbmi" in flags,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def machine_name() -> str:
    """Folder of this kind of machine under results/."""
    facts = machine()
    words = "".join(c if c.isalnum() else "-" for c in str(facts["cpu"]).lower())
    return "-".join(word for word in f"{words}-{facts['cores']}cores".split("-") if word)


def write(bench: str, rows: Sequence[Row], path: Path | None = None) -> Path:
    """Print the rows and keep them under results/<machine>/<bench>.json; returns the path."""
    path = path or RESULTS / machine_name() / f"{bench}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "bench": bench,
        "command": shlex.join(["python", *[relative(word) for word in sys.argv]]),
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "rows": [row.result() for row in rows],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    for row in document["rows"]:
        show(row)
    return path


def relative(word: str) -> str:
    """A path inside the project as it is typed there."""
    path = Path(word)
    inside = path.is_absolute() and path.resolve().is_relative_to(ROOT)
    return str(path.resolve().relative_to(ROOT)) if inside else word


def show(row: Mapping[str, Any]) -> None:
    """One row as text."""
    print(f"\n{row['name']}  ({row['unit']}, {row['better']} is better)")
    for name, figure in row["figures"].items():
        ratio = row["ratios"].get(name)
        beside = f"  ours is {ratio['median']:.3g} x ({ratio['min']:.3g}-{ratio['max']:.3g})" if ratio else ""
        span = f"({figure['min']:.4g}-{figure['max']:.4g})"
        note = f"  {row['notes'][name]}" if name in row["notes"] else ""
        print(f"  {name:34}{figure['median']:>12.5g} {span:24}{beside}{note}")
    for name in sorted(set(row["notes"]) - set(row["figures"])):
        print(f"  {name:34}{'-':>12} {row['notes'][name]}")
    for target in row["targets"]:
        if target["met"] is None:
            print(f"  asked {target['asked']}: not measured, {', '.join(target['missing'])} is missing")
        else:
            verdict = "reached" if target["met"] else "MISSED"
            print(f"  asked {target['asked']}: {target['reached']:.4g}, {verdict}")


def compiled(source: str, *flags: str, shared: bool = False) -> Path:
    """A C rival of peers/c, compiled once for its text and flags; shared: as a library for ctypes."""
    path = PEERS / "c" / source
    words = [*CFLAGS, *(["-shared", "-fPIC"] if shared else []), *flags]
    mark = hashlib.sha256(path.read_bytes() + " ".join(words).encode()).hexdigest()[:12]
    made = ROOT / "build" / "peers-c" / f"{path.stem}-{mark}{'.so' if shared else ''}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{ROOT / 'ext'}", f"-I{ROOT / 'build' / 'gen'}"]
        subprocess.run(["gcc", *words, *includes, str(path), "-o", str(made), "-lm"], check=True)
    return made


def environment(name: str) -> Path | None:
    """The interpreter of the rivals' environment `name`, made when it is missing; None: it cannot be.

    Its packages come from the lock peers/<name>.txt, as wheels with checked hashes.
    """
    lock = PEERS / f"{name}.txt"
    mark = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = ENVIRONMENTS / f"{name}-{mark}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    print(f"bench: making the rivals' environment {name}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)], check=False)
    if done.returncode:
        return None
    (folder / "complete").touch()
    return python


def peer(name: str, script: str, *words: object) -> dict[str, Any] | None:
    """Run peers/<script> in the environment `name`; the JSON object of its last line, None: not to be had."""
    python = environment(name)
    if python is None:
        return None
    command = [str(python), str(PEERS / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"bench: {shlex.join(command)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def options(description: str | None, rounds: int = 7) -> argparse.ArgumentParser:
    """The flags that all benchmarks have: --rounds, --json FILE, --quick."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"counted rounds (default {rounds})")
    made.add_argument("--json", type=Path, help="result file (default: results/<machine>/<bench>.json)")
    made.add_argument("--quick", action="store_true", help="shorter, to see that it works")
    return made
