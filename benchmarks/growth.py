"""How cost, latency and memory grow: sweeps of load_test.py over one quantity at a time.

    python benchmarks/growth.py [--only SWEEP ...] [--duration S] [--json FILE]

    instruments   100 to 50,000 instruments, 18,000 ticks/s in all (above 9,000: loopback-only rules)
    rate          2,000 ticks/s up to saturation, 3,000 instruments on one connection
    connections   1 to 3, 3,000 instruments, 18,000 ticks/s
    strategies    0 to 8 compiled strategies on every tick of 3,000 instruments, 18,000 ticks/s

Each point is a run of its own: the real engine, the generator beside it. Cost is CPU time of the
processes with market data (user and system, sockets included) over ticks computed in the steady
window; latency is from socket read to the end of kernels and strategies. Results go to
results/<machine>/growth.json after each point, so nothing is lost on Ctrl-C; docs/performance.md is
made from them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import kit

TOTAL: Final = 18_000
MARKET: Final = ("market", "feed", "compute")

SWEEPS: Final[dict[str, dict[str, Any]]] = {
    "instruments": {
        "title": "Cost per tick against instruments",
        "x": "instruments",
        "x_label": f"instruments ({TOTAL:,} ticks/s in all)",
        "series": {"ns_per_tick": "CPU, ns per tick"},
        "y_label": "ns of CPU per tick",
        "names": (
            "instruments",
            "connections",
            "ns per tick",
            "p50 µs",
            "p99 µs",
            "own MB",
            "KB per instrument",
        ),
        "columns": ("connections", "ns_per_tick", "p50_us", "p99_us", "own_mb", "kb_per_instrument"),
        "runs": [
            {"instruments": n, "connections": 3, "rate": TOTAL / n} for n in (100, 300, 1000, 3000, 9000)
        ]
        + [
            {"instruments": n, "connections": k, "rate": TOTAL / n, "limits": "loopback"}
            for n, k in ((20_000, 3), (50_000, 3))
        ],
    },
    "rate": {
        "title": "Latency and cost against load",
        "x": "ticks_per_s",
        "x_label": "ticks/s offered, one connection",
        "series": {"p50_us": "p50", "p99_us": "p99", "p999_us": "p99.9"},
        "y_label": "socket read to computed, µs",
        "names": (
            "ticks/s",
            "delivered/s",
            "lost",
            "ns per tick",
            "of a core",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
        ),
        "columns": ("delivered_per_s", "lost", "ns_per_tick", "of_a_core", "p50_us", "p99_us", "p999_us"),
        "runs": [
            {"instruments": 3000, "rate": total / 3000, "packets-per-frame": 30 if total <= 200_000 else 100}
            for total in (2000, 6000, 18_000, 60_000, 200_000, 600_000, 1_500_000, 3_000_000, 5_000_000)
        ],
    },
    "connections": {
        "title": "Connections",
        "x": "connections",
        "x_label": f"connections (3,000 instruments, {TOTAL:,} ticks/s in all)",
        "series": {"p50_us": "p50", "p99_us": "p99"},
        "y_label": "socket read to computed, µs",
        "names": ("connections", "ns per tick", "of a core", "p50 µs", "p99 µs", "own MB"),
        "columns": ("ns_per_tick", "of_a_core", "p50_us", "p99_us", "own_mb"),
        "runs": [{"instruments": 3000, "rate": 6, "connections": k} for k in (1, 2, 3)],
    },
    "strategies": {
        "title": "Strategies",
        "x": "strategies",
        "x_label": "compiled strategies on every tick",
        "series": {"ns_per_tick": "CPU, ns per tick"},
        "y_label": "ns of CPU per tick",
        "names": ("strategies", "ns per tick", "p50 µs", "p99 µs", "own MB"),
        "columns": ("ns_per_tick", "p50_us", "p99_us", "own_mb"),
        "runs": [{"instruments": 3000, "rate": 6, "strategies": n} for n in (0, 1, 2, 4, 8)],
    },
}


def run(flags: dict[str, Any], duration_s: float) -> dict[str, Any] | None:
    """One point; None: the run failed (its message stands on the terminal)."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "point.json"
        command = [sys.executable, str(kit.HERE / "load_test.py"), "--profile", "pool", "--no-bare"]
        command += ["--duration", str(duration_s), "--json", str(path), "--strategy", "kalman_simple"]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        print(f"\n$ {shlex.join(command[1:])}", flush=True)
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if done.returncode not in (0, 1) or not path.exists():
            return None
        return point(json.loads(path.read_text("utf-8")), flags)


def point(told: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """What a curve needs of one result."""
    steady, memory = told["steady"], told["memory"]["by process"]
    seen = steady["latency_us"]["read_to_computed"]
    spent_s = sum(row["s"] for name, row in steady["cpu"].items() if name.startswith(MARKET))
    own = sum(
        row.get("own", 0)
        for name, row in memory.items()
        if name.startswith((*MARKET, "orders", "supervisor"))
    )
    ticks = steady["ticks_per_s"] * steady["seconds"]
    return {
        "instruments": flags["instruments"],
        "connections": told["load"]["connections"],
        "strategies": flags.get("strategies", 1),
        "ticks_per_s": round(flags["instruments"] * flags["rate"]),
        "delivered_per_s": round(steady["ticks_per_s"]),
        "lost": told.get("ticks", {}).get("lost", 0),
        "ns_per_tick": spent_s / ticks * 1e9 if ticks else None,
        "of_a_core": spent_s / steady["seconds"],
        "p50_us": seen["p50"],
        "p99_us": seen["p99"],
        "p999_us": seen["p999"],
        "own_mb": own / 1e6,
        "kb_per_instrument": own / 1e3 / flags["instruments"],
        "wrong": told["wrong"],
    }


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--only", nargs="+", choices=list(SWEEPS), help="only these sweeps")
    made.add_argument("--duration", type=float, default=10.0, help="seconds of each point (default 10)")
    made.add_argument("--json", type=Path, help="result file (default: results/<machine>/growth.json)")
    options = made.parse_args()
    path = options.json or kit.RESULTS / kit.machine_name() / "growth.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {"sweeps": {}}
    failed = 0
    for name in options.only or SWEEPS:
        sweep = {key: value for key, value in SWEEPS[name].items() if key != "runs"} | {
            "points": [],
            "notes": [],
        }
        for number, flags in enumerate(SWEEPS[name]["runs"], 1):
            print(f"{name}: {number} of {len(SWEEPS[name]['runs'])}", end="", file=sys.stderr, flush=True)
            found = run(flags, options.duration)
            if found is None:
                failed += 1
                sweep["notes"].append(f"{flags} could not be run")
                continue
            sweep["points"].append(found)
            kept["sweeps"][name] = sweep
            document = kept | {"bench": "growth", "machine": kit.machine(), "duration_s": options.duration}
            path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nended by Ctrl-C; the points before stay", file=sys.stderr)
        sys.exit(130)
