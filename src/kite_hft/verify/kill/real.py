"""Layer 6, by hand and CI, cold: a real engine killed again and again, for `verify kill --real`.

The simulator is a process of its own and keeps its own log of requests, stamped by the same machine's
CLOCK_MONOTONIC. The engine has a strategy that sleeps and one that floods its queue. It is killed by command,
file and signal, also with its supervisor frozen (SIGSTOP). Measured: from the instant before the latch is
written to the arrival of the last order at the simulator. Some of the times the engine is stopped and
started while it is killed; each time it is resumed by `kite-hft resume`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.engine.orders.latch import NAME, read_latch
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.verify.brokers.running import addressed, facts_of
from kite_hft.verify.brokers.told import ENDED, account_of, order_calls
from kite_hft.verify.campaign import CampaignError, show_progress
from kite_hft.verify.engine.supervise_meter import Meter

ACCOUNT: Final = f"VERIFYKILL{os.getpid()}"
WAYS: Final = ("command", "file", "signal to the order process", "signal to the supervisor")
START_S: Final = 120.0
WATCHED_S: Final = 0.6
FLOOD_S: Final = 0.15
AROUND_NS: Final = 1_250_000_000
RESTART_EVERY: Final = 10
INSTRUMENTS: Final = 20


@dataclass(slots=True)
class Bench:
    """Simulator, engine, and what came of the kills."""

    options: argparse.Namespace
    folder: Path
    api: str
    engine: subprocess.Popen[bytes]
    meter: Meter
    chance: random.Random
    broker: BrokerSide
    table: InstrumentTable  # the simulator's
    latencies_ms: list[float] = field(default_factory=list)
    ways: Counter[str] = field(default_factory=Counter)
    cancels_s: list[float] = field(default_factory=list)
    restarts: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def account(self) -> Path:
        return Path(self.meter.note.folder).parent.parent

    def orders(self) -> dict[str, int]:
        """The order process's counters."""
        return self.meter.readings.one("counters-orders")

    def requests(self) -> list[dict[str, Any]]:
        """The simulator's log of order calls, oldest first."""
        return order_calls(self.broker, self.api)

    def kite_hft(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One call of the console command on this engine."""
        command = [sys.executable, "-m", "kite_hft.app.cli", *words]
        command += ["--account", ACCOUNT, "--state", str(self.folder)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)

    def trial(self, number: int) -> None:
        """One kill, watched, and the way back."""
        way = WAYS[number % len(WAYS)]
        before = self.orders()["accepted"]
        self.meter.wait(lambda: self.orders()["accepted"] > before + 3, "accepted orders", 60.0)
        time.sleep(self.chance.uniform(0.0, 1.0))
        frozen = way != WAYS[3] and self.chance.random() < 0.3
        if frozen:
            os.kill(self.engine.pid, signal.SIGSTOP)
        flag = self.folder / "flood"
        flag.touch()
        try:
            time.sleep(FLOOD_S)
            at_ns = self.kill(way)
            self.ways[way + (", supervisor frozen" if frozen else "")] += 1
            self.meter.wait(lambda: bool(self.orders()["state_killed"]), "gauge state_killed", 5.0)
            time.sleep(FLOOD_S)
            flag.unlink()
            time.sleep(WATCHED_S)
        finally:
            flag.unlink(missing_ok=True)
            if frozen:
                os.kill(self.engine.pid, signal.SIGCONT)
        self.judge(way, at_ns)
        if number % RESTART_EVERY == RESTART_EVERY - 1:
            self.restart()
        self.resume()

    def kill(self, way: str) -> int:
        """Set the latch; CLOCK_MONOTONIC of the instant before it was written."""
        real_minus_mono = time.time_ns() - time.monotonic_ns()
        now_ns = time.monotonic_ns()
        if way == "file":
            (self.account / NAME).touch()
            return now_ns
        if way == "command":
            done = self.kite_hft("kill", "--wait", "0", "verify kill")
            if done.returncode:
                self.wrong.append(f"kite-hft kill: exit code {done.returncode}: {done.stderr.strip()}")
        else:
            pid = self.engine.pid if way.endswith("supervisor") else self.order_pid()
            os.kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + 5.0
        while (found := read_latch(self.account)) is None or not found.at_ns:
            if time.monotonic() > deadline:
                raise CampaignError(f"no latch after a kill by {way}")
            time.sleep(0.0005)
        return found.at_ns - real_minus_mono

    def order_pid(self) -> int:
        """Of the order process, as its counters name their writer."""
        return int(self.meter.readings.segments["counters-orders"].control()["writer_pid"])

    def judge(self, way: str, at_ns: int) -> None:
        """The last order, and the cancels, by the simulator's log."""
        rows = [row for row in self.requests() if row["mono_ns"] >= at_ns]
        posts = [row["mono_ns"] for row in rows if row["method"] == "POST"]
        latency_ms = max((mono_ns - at_ns for mono_ns in posts), default=0) / 1e6
        self.latencies_ms.append(latency_ms)
        if latency_ms > self.options.within_ms:
            self.wrong.append(f"{way}: an order arrived {latency_ms:.1f} ms after the latch")
        live = self.live()
        bound_s = max(live / 8 + 1.0, 1.25) + WATCHED_S + FLOOD_S
        begun = time.monotonic()
        while self.live():
            if time.monotonic() - begun > 30.0 + bound_s:
                raise CampaignError(f"entries still work {30.0 + bound_s:.0f} s after the kill")
            time.sleep(0.2)
        took_s = time.monotonic() - begun
        rows = [row for row in self.requests() if row["mono_ns"] >= at_ns and row["method"] == "DELETE"]
        if rows:
            self.cancels_s.append((rows[-1]["mono_ns"] - at_ns) / 1e9)
            entries = len({row["path"] for row in rows})
            if self.cancels_s[-1] > max(entries / 8 + 1.0, 1.25):
                words = f"{entries} cancels took {self.cancels_s[-1]:.2f} s ({took_s:.1f} s in all)"
                self.wrong.append(f"{way}: {words}; order calls, s from the latch: {self.around(at_ns)}")

    def around(self, at_ns: int) -> str:
        """The order calls since one window before the latch, and what each was of."""
        calls = [row for row in self.requests() if row["mono_ns"] >= at_ns - AROUND_NS]
        return ", ".join(
            f"{(row['mono_ns'] - at_ns) / 1e9:+.3f} {row['method']} {row['path'][-6:]}" for row in calls
        )

    def live(self) -> int:
        """Orders that still work at the simulator."""
        rows = account_of(self.broker, self.api, self.table)["orders"]
        return sum(1 for row in rows if row["status"] not in ENDED)

    def restart(self) -> None:
        """Stop and start the engine while it is killed: it must be killed again, and send nothing."""
        self.meter.close()
        end(self.engine)
        begun_ns = time.monotonic_ns()
        self.engine, self.meter = start(self.folder)
        self.meter.wait(lambda: bool(self.orders()["state_killed"]), "state_killed of a new engine", 60.0)
        time.sleep(1.0)
        if late := [r for r in self.requests() if r["mono_ns"] > begun_ns and r["method"] == "POST"]:
            self.wrong.append(f"a new engine sent {len(late)} orders while killed")
        self.restarts += 1

    def resume(self) -> None:
        """By the console command, with the account typed."""
        done = self.kite_hft("resume", stdin=f"{self.meter.note.title}\n")
        if done.returncode:
            raise CampaignError(f"kite-hft resume: {done.stdout} {done.stderr}")


def end(engine: subprocess.Popen[bytes]) -> None:
    """Stop the engine in order, or at once when it does not."""
    engine.send_signal(signal.SIGTERM)
    try:
        engine.wait(60)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def start(folder: Path) -> tuple[subprocess.Popen[bytes], Meter]:
    """The engine, as far as its order process runs.

    Raises:
        CampaignError: it does not come up.
    """
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(folder / "config.yaml")]
    with (folder / "engine.out").open("ab") as out:
        environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
        engine = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        meter = Meter.of(engine.pid, START_S, lambda: engine.poll() is None)
    except BaseException:
        end(engine)
        raise
    return engine, meter


def configuration(
    side: BrokerSide, told: dict[str, str], table: InstrumentTable, folder: Path
) -> dict[str, Any]:
    """Two connections, so that the sleeper's worker is not the flood's."""
    kinds = "kite_hft.verify.kill.probe"
    shares = [row.key for row in table if row.exchange == "NSE" and row.kind == "EQ" and not row.is_index]
    return {
        "mode": "sim",
        "account": ACCOUNT,
        **addressed(side.name, told),
        "datafeed": {"connections": 2},
        "strategies": [
            {"name": f"{kinds}:Flood", "form": "A", "instruments": shares[:4],
             "params": {"flag": str(folder / "flood")}},
            {"name": f"{kinds}:Sleeper", "form": "A", "instruments": shares[4:6]},
        ],
        "risk": {"max_working_orders": 400, "max_exposure": 10_000_000, "max_position_size": 10_000_000,
                 "max_daily_loss": None, "period_orders": 100_000, "repeats_max": 100_000},
        "trading": {
            "date": "2026-11-20",
            **facts_of(side.name),
            "absence_horizon_s": 5.0,
        },
        "supervision": {"hung_s": 3600.0},  # the sleeper is to stay hung
        "alerts": {"reject_storm": 100_000},
    }  # fmt: skip


def real(options: argparse.Namespace) -> dict[str, Any]:
    """All real kills; what was measured and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="kite_hft-kill-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return _real(options, folder)


def _real(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    side = side_of(options.broker)
    table, _ = default_instruments(INSTRUMENTS, options.seed)
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", side.name, "--port", "0"]
    command += ["--instruments", str(INSTRUMENTS), "--rate", "2", "--seed", str(options.seed)]
    command += ["--cash", "500000000", "--exchange-time", "2026-11-20T10:00:00", "--die-with-parent"]
    simulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    bench: Bench | None = None
    try:
        assert simulator.stdout is not None
        ready = simulator.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError("the simulator did not start; what it said stands above")
        told = dict(word.split("=", 1) for word in ready.split()[1:])
        (folder / "config.yaml").write_text(
            json.dumps(configuration(side, told, table, folder))
        )  # JSON is YAML
        engine, meter = start(folder)
        bench = Bench(options, folder, told["api"], engine, meter, random.Random(options.seed), side, table)
        meter.wait(lambda: meter.active() or engine.poll() is not None, "state ACTIVE", START_S)
        if engine.poll() is not None:
            raise CampaignError(f"the engine ended by itself (exit code {engine.returncode})")
        for number in range(options.real):
            bench.trial(number)
            show_progress(number + 1, options.real, f"{len(bench.wrong)} wrong")
    except CampaignError as error:
        return {"wrong": [*(bench.wrong if bench else []), str(error)], **told_so_far(bench)}
    finally:
        if bench is not None:
            end(bench.engine)
        simulator.terminate()
        simulator.communicate(timeout=30)
    return {"wrong": bench.wrong, **told_so_far(bench)}


def told_so_far(bench: Bench | None) -> dict[str, Any]:
    """The measurements, for the JSON line."""
    if bench is None or not bench.latencies_ms:
        return {}
    ordered = sorted(bench.latencies_ms)
    return {
        "kills": len(ordered),
        "ways": dict(bench.ways),
        "last_order_ms": {"p50": round(ordered[len(ordered) // 2], 2), "max": round(ordered[-1], 2)},
        "last_cancel_s_max": round(max(bench.cancels_s, default=0.0), 2),
        "engine_restarts": bench.restarts,
    }
