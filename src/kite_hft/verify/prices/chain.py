"""Layer 6, by hand and CI, cold: `verify chain`: every tick that the server sent was computed.

Starts the simulator and the engine as a user would, waits until the server has sent everything,
and compares the server's own count and checksum with those of each stage: sent = received =
decoded = published = computed, 0 lost, 0 malformed. Counts and checksums are sums over all
connections and workers.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from kite_hft.net.http import fetch
from kite_hft.verify.brokers.choosing import add_broker
from kite_hft.verify.brokers.running import addressed, facts_of, simulated
from kite_hft.verify.campaign import CampaignError

STAGES: Final = ("received", "decoded", "published", "computed")
QUIET_LOOKS: Final = 5
LOOK_S: Final = 0.2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify chain", description=__doc__)
    made.add_argument("--instruments", type=int, default=1000, help="synthetic market (default 1000)")
    made.add_argument("--rate", type=float, default=2.0, help="ticks per second and instrument")
    made.add_argument("--duration", type=float, default=60.0, help="seconds of the synthetic market")
    made.add_argument("--packets-per-frame", type=int, default=30)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--replay", type=Path, help="recorded data instead, played to its end")
    made.add_argument("--speed", type=float, default=0.0, help="of the replay; 0: as fast as it is taken")
    made.add_argument("--date", help="trading day of the replay, YYYY-MM-DD")
    made.add_argument("--connections", type=int, help="websocket connections (default: as few as carry all)")
    made.add_argument("--packing", choices=("auto", "fused", "separate"), default="auto")
    made.add_argument("--ring", type=int, default=65536, help="slots of the tick ring")
    made.add_argument("--without-volume", action="append", default=[], metavar="KEY")
    made.add_argument("--keep", type=Path, help="folder that gets the run (report.json, bars.bin, ...)")
    add_broker(made)
    return made


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when every stage saw exactly what was sent."""
    options = parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kite_hft-chain-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = run(options, folder)
        except CampaignError as error:
            result = {"wrong": [str(error)]}
    if result["wrong"]:
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "chain", *argv])
    print(json.dumps(result))
    return 1 if result["wrong"] else 0


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run of simulator and engine; what was counted where, and what does not fit."""
    done = run_pair(simulator_command(options), lambda told: configuration(options, told), folder)
    return judge(done.stats, done.report, done.code)


@dataclass(slots=True)
class Done:
    """A run that is over: the server's figures, the engine's report and exit code."""

    stats: dict[str, Any]
    report: dict[str, Any]
    code: int


Look = Callable[[dict[str, Any], int, int], None]
"""Called every LOOK_S with the server's figures and the process ids of engine and simulator."""


def run_pair(
    simulator_argv: list[str],
    configure: Callable[[dict[str, str]], dict[str, Any]],
    folder: Path,
    look: Look = lambda stats, engine, simulator: None,
) -> Done:
    """Simulator and engine as processes, until the server has sent all it has.

    configure: from the words of the simulator's ready line to the engine's configuration. folder:
    gets the configuration, report.json and the engine's run folder.

    Raises:
        CampaignError: the simulator did not start.
    """
    report_path = folder / "report.json"
    with simulated(simulator_argv) as (told, simulator):
        config = folder / "config.yaml"
        config.write_text(json.dumps(configure(told)))  # JSON is YAML
        command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)]
        environment = {**os.environ, "XDG_STATE_HOME": str(folder.resolve())}
        engine = subprocess.Popen(
            [*command, "--report", str(report_path)], stdout=subprocess.DEVNULL, env=environment
        )
        try:
            stats = wait_for_end(told["api"], engine, lambda stats: look(stats, engine.pid, simulator))
        finally:
            engine.send_signal(signal.SIGTERM)
            code = engine.wait(60)
    report = json.loads(report_path.read_text()) if report_path.exists() else {}
    return Done(stats, report, code)


def simulator_command(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", options.broker, "--port", "0", "--no-limits"]
    command += ["--packets-per-frame", str(options.packets_per_frame), "--die-with-parent"]
    if options.replay is not None:
        return [*command, "--replay", str(options.replay), "--speed", str(options.speed)]
    command += ["--instruments", str(options.instruments), "--rate", str(options.rate)]
    command += ["--seed", str(options.seed), "--exchange-time", "2026-11-20T10:00:00"]
    command += ["--market-seconds", str(options.duration)]
    return [*command, "--start-when-subscribed", str(options.instruments)]


def configuration(options: argparse.Namespace, told: dict[str, str]) -> dict[str, Any]:
    """The engine's configuration: the server's address, no strategy, bars kept."""
    return {
        "mode": "sim",
        "account": f"CHAIN_{os.getpid()}",  # one engine per account: campaigns may run side by side
        "datafeed": {
            "mode": "full",
            "store_bars": True,
            "without_volume": options.without_volume,
            "connections": options.connections,
        },
        "trading": {
            "date": options.date or "2026-11-20",
            **facts_of(options.broker),
        },
        "performance": {"ring_buffer_size": options.ring, "packing": options.packing},
        **addressed(options.broker, told),
    }


def wait_for_end(
    api: str, engine: subprocess.Popen[bytes], look: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """The server's figures once its market has ended and nothing more leaves; empty: the engine ended."""
    quiet, before = 0, -1
    with Console(stderr=True).status("starting") as shown:  # nothing where stderr is no terminal
        while engine.poll() is None:
            time.sleep(LOOK_S)
            status, body = fetch(f"{api}/_sim/stats", [])
            stats: dict[str, Any] = json.loads(body) if status == 200 else {}
            shown.update(f"{stats.get('ticks', 0):,} ticks sent")
            look(stats)
            quiet = quiet + 1 if stats.get("ended") and stats["ticks"] == before else 0
            before = stats.get("ticks", -1)
            if quiet >= QUIET_LOOKS:
                return stats
    return {}


def judge(stats: dict[str, Any], report: dict[str, Any], code: int) -> dict[str, Any]:
    """Compare; `wrong` lists every disagreement in words."""
    wrong = [] if code == 0 else [f"the engine ended with exit code {code}"]
    ticks = report.get("ticks", {})
    counts = {"sent": stats.get("ticks"), **{stage: ticks.get(stage) for stage in STAGES}}
    checksums = ticks.get("checksum", {})
    sums = {"sent": f"{stats.get('checksum', 0):016x}", **checksums}
    if len(set(counts.values())) != 1 or not counts["sent"]:
        wrong.append(f"counts differ: {counts}")
    if len(set(sums.values())) != 1 or not checksums:
        wrong.append(f"checksums differ: {sums}")
    if ticks.get("lost") != 0 or any(ticks.get("malformed", {"none": 1}).values()):
        wrong.append(f"lost {ticks.get('lost')}, malformed {ticks.get('malformed')}")
    return {
        "wrong": wrong,
        "counts": counts,
        "checksums": sums,
        "bars": report.get("bars"),
        "largest_send_delay_us": stats.get("max_delay_ns", 0) / 1000,
        "read_to_computed_us": report.get("latency_us", {}).get("read_to_computed"),
        "start": report.get("start"),
        "duration_s": report.get("duration_s"),
    }
