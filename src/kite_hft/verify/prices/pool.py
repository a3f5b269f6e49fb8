"""Layer 6, by hand and CI, cold: `verify pool`: the full pool of connections under its rated load.

Kite: 9,000 instruments in mode full on three connections, 18,000 ticks a second, with the configuration
of config/pool.yaml. Upstox: 4,000 keys in mode full on two connections, 8,000 ticks a second
(config/pool_upstox.yaml); an engine that asks for one key or one connection more ends before it connects.
Simulator and engine are on the same machine. Passes when the server sent at its rate, every tick that
it sent was computed (counts and checksums, summed over connections and workers), nothing was lost, no
process was started again, and the memory (PSS) of every process stays where it was after a third of the
time. PSS also rises where a stranger that shared a library ends, so growth counts when private memory
(USS) grew with it; both are shown. Short runs judge no memory: processes are still settling then. The market
begins ten seconds before a full minute: the first bar of a minute touches memory that none of the later does.

A simulator that sends late makes a run without meaning. Where the kernel says that it waited that long for a
processor, the machine was too busy: no verdict, exit code 3. Memory of the simulator is not judged then: what
waits to be sent is in it. It is judged in runs of two minutes and more: the first backlog stays with it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from kite_hft.net.http import fetch
from kite_hft.settings import Settings, load_settings
from kite_hft.verify.brokers.choosing import add_broker
from kite_hft.verify.brokers.running import addressed, market_connections, simulated
from kite_hft.verify.campaign import ROOT, CampaignError
from kite_hft.verify.prices.busy import EXIT_NO_VERDICT, Waits, lateness
from kite_hft.verify.prices.chain import Done, judge, run_pair

SENT_SHARE: Final = 0.99
PSS_GROWTH: Final = 0.02
PSS_STEP: Final = 512 << 10
"""Two arenas of the interpreter: a small process that takes one more does not grow."""
SETTLED_S: Final = 30.0
SIMULATOR_SETTLED_S: Final = 120.0
REFUSED_S: Final = 60.0
BEGINS: Final = "2026-11-20T09:59:50"
SIMULATOR: Final = "simulator"


@dataclass(frozen=True, slots=True)
class Pool:
    """What a broker gives to one user at most, in mode full. beyond: what is asked for to be refused: words
    of the refusal -> (instruments, connections)."""

    config: str
    instruments: int
    connections: int
    beyond: Mapping[str, tuple[int, int]]


POOLS: Final = {
    "kite": Pool("pool.yaml", 9000, 3, {"9,000": (9001, 3), "connections": (9000, 4)}),
    "upstox": Pool("pool_upstox.yaml", 4000, 2, {"2,000": (4001, 2), "connections": (4000, 3)}),
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify pool", description=__doc__)
    made.add_argument("--duration", type=float, default=60.0, help="seconds of market (default 60)")
    made.add_argument("--rate", type=float, default=2.0, help="ticks per second and instrument (default 2)")
    made.add_argument(
        "--late", type=float, metavar="S", help="how late a frame may leave (1 %% of the duration)"
    )
    made.add_argument("--packets-per-frame", type=int, default=30)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--config", type=Path, help="default: config/pool.yaml, config/pool_upstox.yaml")
    add_broker(made)
    made.add_argument("--packing", choices=("auto", "fused", "separate"))
    made.add_argument("--keep", type=Path, help="folder that gets the run (report.json, log, ...)")
    return made


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when everything above holds, 3 when the machine was too busy to say."""
    options = parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kite_hft-pool-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = run(options, folder)
        except CampaignError as error:
            result = {"wrong": [str(error)]}
    if result.get("no_verdict"):
        print(f"pool: {result['no_verdict']}", file=sys.stderr)
    if result["wrong"]:
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "pool", *argv])
    print(json.dumps(result))
    return 1 if result["wrong"] else EXIT_NO_VERDICT if result.get("no_verdict") else 0


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run; what was measured, and in `wrong` what does not fit."""
    of = POOLS[options.broker]
    settings = load_settings(options.config or ROOT / "config" / of.config)
    refusals = {
        word: refusal(options, settings, folder, n, connections)
        for word, (n, connections) in of.beyond.items()
    }
    memory = Memory(options.duration)
    done = run_pair(
        simulator_command(options), lambda told: configuration(settings, options, told), folder, memory.look
    )
    result = judge(done.stats, done.report, done.code)
    late, busy = lateness(latest_s(done.stats), allowed_s(options), memory.waits)
    result["wrong"] += [late] if late else []
    result["wrong"] += misses(options, done, memory, busy=bool(busy))
    result["wrong"] += [why for word, told in refusals.items() if (why := told.miss(word))]
    latency = done.report.get("latency_us", {})
    return result | {
        "no_verdict": busy,
        "simulator_waited_s": round(memory.waits.seconds, 3),
        "broker": options.broker,
        "instruments": of.instruments,
        "refused_before_connecting": [told.said for told in refusals.values()],
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


def simulator_command(options: argparse.Namespace, instruments: int = 0) -> list[str]:
    n = instruments or POOLS[options.broker].instruments
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", options.broker, "--port", "0", "--no-limits"]
    command += ["--die-with-parent", "--instruments", str(n), "--rate", str(options.rate)]
    command += ["--packets-per-frame", str(options.packets_per_frame), "--seed", str(options.seed)]
    command += ["--exchange-time", BEGINS, "--market-seconds", str(options.duration)]
    return [*command, "--start-when-subscribed", str(n)]


def configuration(settings: Settings, options: argparse.Namespace, told: dict[str, str]) -> dict[str, Any]:
    """The file's settings with the simulator's address."""
    config: dict[str, Any] = settings.model_dump(mode="json", exclude={"simulator"})
    config["account"] += f"_{os.getpid()}"  # one engine per account: campaigns may run side by side
    for name, value in addressed(options.broker, told).items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    if options.packing:
        config["performance"]["packing"] = options.packing
    return config


@dataclass(frozen=True, slots=True)
class Refusal:
    """What became of an engine that asked for too much. knocks: websockets that it tried at the server."""

    code: int
    said: str
    knocks: int

    def miss(self, word: str) -> str:
        """What does not fit; "": it was refused before it connected, in words that name the limit."""
        fine = self.code != 0 and word in self.said and not self.knocks
        return (
            "" if fine else f"beyond the limit ({word}): exit {self.code}, {self.knocks} tries: {self.said}"
        )


def refusal(
    options: argparse.Namespace, settings: Settings, folder: Path, instruments: int, connections: int
) -> Refusal:
    """Start an engine that asks for more than the broker gives; the server counts who connects.

    Raises:
        CampaignError: the simulator did not start.
    """
    with simulated(simulator_command(options, instruments)) as (told, _pid):
        config = configuration(settings, options, told)
        config["datafeed"] = {**config["datafeed"], "connections": connections}
        path = folder / "beyond.yaml"
        path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(path)]
        environment = {**os.environ, "XDG_STATE_HOME": str(folder.resolve())}
        done = subprocess.run(
            [*command, "--duration", "1"], env=environment, capture_output=True, text=True,
            timeout=REFUSED_S, check=False,
        )  # fmt: skip
        upgrades = json.loads(fetch(f"{told['api']}/_sim/stats", [])[1])["upgrades"]
    return Refusal(done.returncode, (done.stderr or done.stdout).strip()[-300:], sum(upgrades.values()))


def paced(stats: dict[str, Any]) -> int:
    """Ticks that the server sent at its rate: all but the current states after a subscription."""
    return int(stats.get("ticks", 0)) - int(stats.get("snapshot_ticks", 0))


def latest_s(stats: dict[str, Any]) -> float:
    """How long after its time the latest frame left."""
    return float(stats.get("max_delay_ns", 0)) / 1e9


def allowed_s(options: argparse.Namespace) -> float:
    """How late a frame may leave: were all of them, the rate would still be what was asked for."""
    return (1 - SENT_SHARE) * options.duration if options.late is None else float(options.late)


def misses(options: argparse.Namespace, done: Done, memory: Memory, *, busy: bool = False) -> list[str]:
    """What else does not fit, in words. busy: the simulator had to wait for the machine."""
    wrong, of = [], POOLS[options.broker]
    wanted = of.instruments * options.rate * options.duration
    if paced(done.stats) < SENT_SHARE * wanted:
        wrong.append(f"sent {paced(done.stats):,} of {wanted:,.0f} ticks")
    connections = market_connections(done.report)
    if len(connections) != of.connections or any(c["connects"] != 1 for c in connections):
        wrong.append(f"not {of.connections} connections, each made once: {connections}")
    if done.report.get("restarts"):
        wrong.append(f"restarts: {done.report['restarts']}")
    missed = busy and not (memory.early and memory.last)  # nobody came to look in time
    looked = options.duration >= SETTLED_S and not missed
    if looked and (not memory.early or set(memory.early) != set(memory.last)):
        wrong.append(f"processes at a third: {sorted(memory.early)}, at the end: {sorted(memory.last)}")
    for name, last in memory.last.items():
        if name == SIMULATOR and (busy or options.duration < SIMULATOR_SETTLED_S):
            continue
        before = memory.early.get(name, last)
        pairs = list(zip(last, before, strict=True))
        grown = [now - then > max(then * PSS_GROWTH, PSS_STEP) for now, then in pairs]
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
    waits: Waits = field(default_factory=Waits)

    def look(self, stats: dict[str, Any], engine: int, simulator: int) -> None:
        """Take what is due."""
        now_s = time.monotonic()
        if not stats.get("started"):
            return
        self.started_s = self.started_s or now_s
        passed_s = now_s - self.started_s
        self.waits.look(simulator)
        if not self.early and passed_s >= self.duration_s / 3:
            self.early = held(engine, simulator)
        if not self.last and passed_s >= self.duration_s:
            self.last = held(engine, simulator)


def held(engine: int, simulator: int) -> dict[str, tuple[int, int]]:
    """(PSS, USS) in bytes of both programs and their children, by process name."""
    found: dict[str, tuple[int, int]] = {}
    named = {engine: "supervisor", simulator: SIMULATOR}
    for parent in (engine, simulator):
        for process in (psutil.Process(parent), *psutil.Process(parent).children(recursive=True)):
            try:
                name = named.get(process.pid) or f"{process.name()} {process.pid}"
                told = process.memory_full_info()
                found[name] = told.pss, told.uss
            except psutil.NoSuchProcess:
                continue
    return found
