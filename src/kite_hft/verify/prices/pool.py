"""Layer 6, by hand and CI, cold: `verify pool`: the full pool of connections under its rated load.

9,000 instruments in mode full on three connections, 18,000 ticks a second, simulator and engine on
the same machine, with the configuration of config/pool.yaml. Passes when the server sent at its
rate, every tick that it sent was computed (counts and checksums, summed over connections and
workers), nothing was lost, no process was started again, and the memory (PSS) of every process
stays where it was after a third of the time. PSS also rises where a stranger that shared a library
ends, so growth counts when private memory (USS) grew with it; both are shown. Short runs judge no
memory: processes are still settling then.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from kite_hft.settings import Settings, load_settings
from kite_hft.verify.campaign import ROOT
from kite_hft.verify.prices.chain import NOT_STARTED, Done, judge, run_pair

SENT_SHARE: Final = 0.99
PSS_GROWTH: Final = 0.02
SETTLED_S: Final = 30.0
INSTRUMENTS: Final = 9000
CONNECTIONS: Final = 3


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify pool", description=__doc__)
    made.add_argument("--duration", type=float, default=60.0, help="seconds of market (default 60)")
    made.add_argument("--rate", type=float, default=2.0, help="ticks per second and instrument (default 2)")
    made.add_argument(
        "--late", type=float, metavar="S", help="how late a frame may leave (1 %% of the duration)"
    )
    made.add_argument("--packets-per-frame", type=int, default=30)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--config", type=Path, default=ROOT / "config/pool.yaml")
    made.add_argument("--packing", choices=("auto", "fused", "separate"))
    made.add_argument("--keep", type=Path, help="folder that gets the run (report.json, log, ...)")
    return made


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when everything above holds."""
    options = parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kite_hft-pool-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        result = run(options, folder)
    if result["wrong"]:
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "pool", *argv])
    print(json.dumps(result))
    return 1 if result["wrong"] else 0


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run; what was measured, and in `wrong` what does not fit."""
    settings = load_settings(options.config)
    memory = Memory(options.duration)
    done = run_pair(
        simulator_command(options), lambda told: configuration(settings, options, told), folder, memory.look
    )
    if not done.started:
        return {"wrong": [NOT_STARTED]}
    result = judge(done.stats, done.report, done.code)
    result["wrong"] += misses(options, done, memory)
    latency = done.report.get("latency_us", {})
    return result | {
        "instruments": INSTRUMENTS,
        "rate": options.rate,
        "paced_ticks": paced(done.stats),
        "late_frames": done.stats.get("late_frames"),
        "by_connection": done.report.get("ticks", {}).get("by_connection"),
        "restarts": done.report.get("restarts"),
        "pss_uss": {name: [memory.early.get(name), last] for name, last in memory.last.items()},
        "latency_us": {name: latency.get(name) for name in ("read_to_published", "read_to_computed")},
        "cpu": done.report.get("cpu"),
        "orders": done.report.get("orders"),
    }


def simulator_command(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", "kite", "--port", "0", "--no-limits"]
    command += ["--die-with-parent", "--instruments", str(INSTRUMENTS), "--rate", str(options.rate)]
    command += ["--packets-per-frame", str(options.packets_per_frame), "--seed", str(options.seed)]
    command += ["--exchange-time", "2026-11-20T10:00:00", "--market-seconds", str(options.duration)]
    return [*command, "--start-when-subscribed", str(INSTRUMENTS)]


def configuration(settings: Settings, options: argparse.Namespace, told: dict[str, str]) -> dict[str, Any]:
    """The file's settings with the simulator's address."""
    config: dict[str, Any] = settings.model_dump(mode="json", exclude={"simulator"})
    config["account"] += f"_{os.getpid()}"  # one engine per account: campaigns may run side by side
    config["kite"] = {
        "ws_url": told["ws"],
        "api_url": told["api"],
        "api_key": told["api_key"],
        "access_token": told["access_token"],
    }
    if options.packing:
        config["performance"]["packing"] = options.packing
    return config


def paced(stats: dict[str, Any]) -> int:
    """Ticks that the server sent at its rate: all but the current states after a subscription."""
    return int(stats.get("ticks", 0)) - int(stats.get("snapshot_ticks", 0))


def misses(options: argparse.Namespace, done: Done, memory: Memory) -> list[str]:
    """What else does not fit, in words."""
    wrong = []
    wanted = INSTRUMENTS * options.rate * options.duration
    if paced(done.stats) < SENT_SHARE * wanted:
        wrong.append(f"sent {paced(done.stats):,} of {wanted:,.0f} ticks")
    delay_s = done.stats.get("max_delay_ns", 0) / 1e9
    late_s = (1 - SENT_SHARE) * options.duration if options.late is None else options.late
    if delay_s > late_s:
        # All was sent, but not in its time: the rate was lower than asked for.
        wrong.append(f"a frame left {delay_s:.3f} s after its time")
    connections = done.report.get("ticks", {}).get("by_connection", [])
    if len(connections) != CONNECTIONS or any(c["connects"] != 1 for c in connections):
        wrong.append(f"not {CONNECTIONS} connections, each made once: {connections}")
    if done.report.get("restarts"):
        wrong.append(f"restarts: {done.report['restarts']}")
    if options.duration >= SETTLED_S and (not memory.early or set(memory.early) != set(memory.last)):
        wrong.append(f"processes at a third: {sorted(memory.early)}, at the end: {sorted(memory.last)}")
    for name, last in memory.last.items():
        before = memory.early.get(name, last)
        grown = [now > then * (1 + PSS_GROWTH) for now, then in zip(last, before, strict=True)]
        if options.duration >= SETTLED_S and all(grown):
            wrong.append(f"{name} grew from {before[0]:,} to {last[0]:,} bytes of PSS")
    return wrong


@dataclass(slots=True)
class Memory:
    """(PSS, USS) in bytes of every process, a third into the market and at its end."""

    duration_s: float
    started_s: float = 0.0
    early: dict[str, tuple[int, int]] = field(default_factory=dict)
    last: dict[str, tuple[int, int]] = field(default_factory=dict)

    def look(self, stats: dict[str, Any], engine: int, simulator: int) -> None:
        """Take what is due."""
        now_s = time.monotonic()
        if not stats.get("started"):
            return
        self.started_s = self.started_s or now_s
        passed_s = now_s - self.started_s
        if not self.early and passed_s >= self.duration_s / 3:
            self.early = held(engine, simulator)
        if not self.last and passed_s >= self.duration_s:
            self.last = held(engine, simulator)


def held(engine: int, simulator: int) -> dict[str, tuple[int, int]]:
    """(PSS, USS) in bytes of both programs and their children, by process name."""
    found: dict[str, tuple[int, int]] = {}
    named = {engine: "supervisor", simulator: "simulator"}
    for parent in (engine, simulator):
        for process in (psutil.Process(parent), *psutil.Process(parent).children(recursive=True)):
            try:
                name = named.get(process.pid) or f"{process.name()} {process.pid}"
                told = process.memory_full_info()
                found[name] = told.pss, told.uss
            except psutil.NoSuchProcess:
                continue
    return found
