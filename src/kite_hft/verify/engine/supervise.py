"""Layer 6, by hand and CI, cold: `verify supervise`: processes are killed while the engine trades.

Starts the simulator and the engine (a process per stage, recorder on, by default 9,000 instruments
at 18,000 ticks/s) with a strategy that always has orders under way. Feeds, workers, the order
process and the recorder are killed (SIGKILL) in random order, or frozen (--hang: SIGSTOP). Each must
be back and have done its first piece of work in time: a tick computed, an order accepted, a row
recorded. Then the supervisor itself is killed; ORDERS must cancel its entries by itself, and all children
must be gone before the same command is started again, or, every other time, before the one trades that is
started at once. At the end the broker's orders are compared with the journals': 0 lost, 0 doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from kite_hft.sim.brokers.table import side_of
from kite_hft.sim.market.universe import default_instruments
from kite_hft.verify.brokers.choosing import add_broker
from kite_hft.verify.brokers.running import addressed, facts_of
from kite_hft.verify.brokers.told import account_of
from kite_hft.verify.campaign import CampaignError
from kite_hft.verify.engine.supervise_meter import Meter, alive, compare

ACCOUNT: Final = "VERIFYSUPERVISE"
START_S: Final = 120.0
GONE_S: Final = 15.0
"""ORDERS outlives its supervisor to cancel its entries; the others die at once."""
HUNG_S: Final = 2.0
PROBED: Final = 8
GROUPS: Final = ("feed", "compute", "orders", "recorder")
UPDATES: Final = "updates"
"""One more group, where order updates come by a websocket of their own."""
INSTRUMENTS: Final = {"kite": 9000, "upstox": 4000}
"""As many as the broker's connections carry in mode full."""
TRADE: Final = 10
"""One of so many orders is filled."""
ACTS_PER_S: Final = {"kite": 3.0, "upstox": 2.0}
"""Orders and cancels: Kite's limit of a minute allows so many; Upstox's of half an hour for 13 minutes."""
LEAKED_FDS_MAX: Final = 4
LEAKED_RSS_MAX: Final = 32 << 20


@dataclass(slots=True)
class Campaign:
    """Simulator and engine, and what came of the strikes."""

    options: argparse.Namespace
    folder: Path
    api: str
    took: dict[str, list[float]] = field(default_factory=dict)
    restarted: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    footprints: list[dict[str, int]] = field(default_factory=list)
    orphans: list[psutil.Process] = field(default_factory=list)

    def start(self) -> tuple[subprocess.Popen[bytes], Meter]:
        """The engine, trading: everything runs and an order was accepted.

        Raises:
            CampaignError: it does not come up.
        """
        command = [sys.executable, "-m", "kite_hft.engine", "--plain"]
        command += ["--config", str(self.folder / "config.yaml")]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder)}
        with (self.folder / "engine.out").open("ab") as out:
            engine = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            meter = Meter.of(engine.pid, START_S, lambda: engine.poll() is None)
            meter.wait(meter.settled, "engine in full order", START_S)
            before = meter.readings.one("counters-orders")["accepted"]
            meter.wait(
                lambda: meter.readings.one("counters-orders")["accepted"] > before, "accepted order", START_S
            )
        except BaseException:
            end(engine)
            raise
        return engine, meter

    def strike_all(self, meter: Meter, chance: random.Random) -> None:
        """Kill or freeze `kills` processes, each group equally often."""
        number = signal.SIGSTOP if self.options.hang else signal.SIGKILL
        every = (UPDATES, *GROUPS) if self.options.broker == "upstox" else GROUPS
        groups = [every[n % len(every)] for n in range(self.options.kills)]
        chance.shuffle(groups)
        self.footprints.append(meter.footprint())
        limit_s = self.options.within + (HUNG_S if self.options.hang else 0.0)
        for group in groups:
            names = [name for name in meter.processes() if name.partition("-")[0] == group]
            name = chance.choice(names)
            time.sleep(chance.uniform(0.0, 1.0))
            seconds = meter.strike(name, number)
            self.took.setdefault(group, []).append(seconds)
            if seconds > limit_s:
                self.wrong.append(f"{name}: {seconds:.2f} s > {limit_s:g} s")
            meter.wait(meter.settled, f"full order after the end of {name}", START_S)
        self.footprints.append(meter.footprint())
        self._judge_footprints()

    def _judge_footprints(self) -> None:
        before, after = self.footprints[0], self.footprints[-1]
        if after["zombies"]:
            self.wrong.append(f"{after['zombies']} zombies")
        if after["fds"] > before["fds"] + LEAKED_FDS_MAX:
            self.wrong.append(f"descriptors of the supervisor: {before['fds']} -> {after['fds']}")
        if after["rss"] > before["rss"] + LEAKED_RSS_MAX:
            self.wrong.append(f"memory of the supervisor: {before['rss']} -> {after['rss']}")

    def kill_supervisor(self, engine: subprocess.Popen[bytes], meter: Meter, *, at_once: bool) -> None:
        """SIGKILL the supervisor; its children must be gone by themselves. at_once: the next engine is
        started without waiting for that; it has to."""
        children = psutil.Process(engine.pid).children(recursive=True)
        engine.kill()
        engine.wait()
        meter.close()
        if at_once:
            self.orphans = children
            return
        _gone, living = psutil.wait_procs(children, timeout=GONE_S)
        if left := [child.pid for child in living if alive(child)]:
            self.wrong.append(f"children {left} outlived their supervisor by {GONE_S:g} s")

    def account(self) -> dict[str, Any]:
        """The broker's orders against the journals of all runs."""
        broker = self.options.broker
        table, _ = default_instruments(self.options.instruments, self.options.seed)
        told = account_of(side_of(broker), self.api, table)
        ours = [order for order in told["orders"] if order["tags"]]
        journals = sorted(self.folder.glob(f"kite_hft/{broker}-{ACCOUNT}/*/*/journal.bin"))
        found = compare(ours, [path for path in journals if not path.parent.is_symlink()])
        for name in ("lost", "doubled", "unexplained"):
            if found[name]:
                self.wrong.append(f"{len(found[name])} orders {name}: {found[name][:5]}")
        return found


def end(engine: subprocess.Popen[bytes]) -> int:
    """Stop the engine in order, or at once when it does not; its exit code."""
    engine.send_signal(signal.SIGTERM)
    try:
        return engine.wait(90)
    except subprocess.TimeoutExpired:
        engine.kill()
        return engine.wait()


def configuration(options: argparse.Namespace, told: dict[str, str]) -> dict[str, Any]:
    """The engine's configuration: every process of its own, the probe beside a compiled strategy."""
    table, _ = default_instruments(options.instruments, options.seed)
    shares = [i.key for i in table if i.exchange == "NSE" and i.kind == "EQ" and not i.is_index]
    probe: dict[str, Any] = {
        "name": "kite_hft.verify.engine.supervise_probe:Probe",
        "form": "A",
        "instruments": shares[:PROBED],
    }
    every = round(PROBED * options.rate / ACTS_PER_S[options.broker])  # in ticks of the probed shares
    probe["params"] = {"every": max(1, every), "trade": TRADE}
    compiled = {"name": "kalman_simple", "form": "B", "copies": "per_connection",
                "params": {"threshold": 0.5}}  # fmt: skip
    return {
        "mode": "sim",
        "account": ACCOUNT,
        **addressed(options.broker, told),
        "datafeed": {"store_ticks": True},
        "strategies": [probe, compiled],
        "trading": {
            "date": "2026-11-20",
            **facts_of(options.broker),
            "absence_horizon_s": 5.0,
        },
        "performance": {"packing": "separate", "ring_buffer_size": 200_000},
        # So many deaths a minute would break the circuit, as they should; that is tried elsewhere.
        "supervision": {"restarts_max": 100_000, "hung_s": HUNG_S},
    }


def simulator_command(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", options.broker, "--port", "0"]
    command += ["--die-with-parent", "--instruments", str(options.instruments), "--rate", str(options.rate)]
    command += ["--packets-per-frame", "30", "--seed", str(options.seed), "--cash", "50000000"]
    return [*command, "--exchange-time", "2026-11-20T10:00:00", "--start-when-subscribed"]


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds; what was measured and what is wrong."""
    simulator = subprocess.Popen(
        simulator_command(options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    engine: subprocess.Popen[bytes] | None = None
    campaign: Campaign | None = None
    found: dict[str, Any] = {}
    try:
        assert simulator.stdout is not None
        ready = simulator.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError("the simulator did not start; what it said stands above")
        told = dict(word.split("=", 1) for word in ready.split()[1:])
        (folder / "config.yaml").write_text(json.dumps(configuration(options, told)))  # JSON is YAML
        campaign = Campaign(options, folder, told["api"])
        engine, meter = campaign.start()
        campaign.strike_all(meter, random.Random(options.seed))
        for number in range(options.supervisor_kills):
            campaign.kill_supervisor(engine, meter, at_once=number % 2 == 0)
            begun = time.monotonic()
            engine, meter = campaign.start()
            campaign.restarted.append(time.monotonic() - begun)
            if left := [child.pid for child in campaign.orphans if alive(child)]:
                campaign.wrong.append(f"a new engine runs beside children {left} of the one before")
            campaign.orphans = []
        meter.close()
        if code := end(engine):
            campaign.wrong.append(f"the engine ended with exit code {code}")
        found = campaign.account()
    except CampaignError as error:
        wrong = [*(campaign.wrong if campaign else []), str(error)]
        return {"wrong": wrong, **told_so_far(campaign)}
    finally:
        if engine is not None and engine.poll() is None:
            end(engine)
        simulator.terminate()
        simulator.communicate(timeout=30)
    return {"wrong": campaign.wrong, **told_so_far(campaign), **found}


def told_so_far(campaign: Campaign | None) -> dict[str, Any]:
    """The measurements, for the JSON line."""
    if campaign is None:
        return {}
    took = {
        group: {"n": len(seconds), "median_s": round(sorted(seconds)[len(seconds) // 2], 3),
                "max_s": round(max(seconds), 3)}
        for group, seconds in sorted(campaign.took.items())
    }  # fmt: skip
    return {
        "kills": sum(len(seconds) for seconds in campaign.took.values()),
        "by": "SIGSTOP" if campaign.options.hang else "SIGKILL",
        "first_work": took,
        "supervisor_again_s": [round(seconds, 2) for seconds in campaign.restarted],
        "footprint": campaign.footprints,
    }


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify supervise", description=__doc__)
    add_broker(made)
    made.add_argument("--kills", type=int, default=12, help="of feeds, workers, orders, recorder (12)")
    made.add_argument("--supervisor-kills", type=int, default=3, metavar="N", help="of the supervisor (3)")
    made.add_argument("--hang", action="store_true", help="freeze (SIGSTOP) instead of kill")
    made.add_argument("--instruments", type=int, help="default: as many as the broker's connections carry")
    made.add_argument("--rate", type=float, default=2.0, help="ticks per second and instrument (2)")
    made.add_argument("--within", type=float, default=2.0, help="seconds to the first piece of work (2)")
    made.add_argument("--seed", type=int, default=1, help="of the market, and of who is struck when")
    made.add_argument("--keep", type=Path, help="folder that gets the runs")
    return made


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when everybody was back in time and no order was lost or doubled."""
    options = parser().parse_args(argv)
    options.instruments = options.instruments or INSTRUMENTS[options.broker]
    with tempfile.TemporaryDirectory(prefix="kite_hft-supervise-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        result = run(options, folder)
    if result["wrong"]:
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "supervise", *argv])
    print(json.dumps(result))
    return 1 if result["wrong"] else 0
