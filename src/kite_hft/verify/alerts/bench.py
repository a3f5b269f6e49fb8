"""Layer 6, campaigns, cold: simulator, engine and every alert sink's receiver, for `verify alerts`.

The engine trades on the simulator as processes; its alerts go to a command that stamps the time of its
call, and to the receivers of receivers.py. A person's acts at the broker are REST calls of our own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import SystemClock
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.net.http import HttpTransport, fetch
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.broker import HttpRequest, OrderRequest, TransportError
from kite_hft.verify.alerts.receivers import Received, Receivers, receivers
from kite_hft.verify.brokers.running import addressed, facts_of, session_headers
from kite_hft.verify.campaign import CampaignError

ACCOUNT: Final = f"VERIFY{os.getpid()}"  # campaigns may run side by side
START_S: Final = 90.0
LOOK_S: Final = 0.05
REMIND_S: Final = 1.0
BLIND_S: Final = 6.0
NAKED_RUPEES: Final = 2_000_000
"""More than the strategy ever holds: only what the campaign buys by hand lies above."""
INSTRUMENTS: Final = 20
SEED: Final = 7
SINKS: Final = ("hook", "webhook", "telegram", "journald")


@dataclass(slots=True)
class Bench:
    """Simulator, engine and what the sinks received. told: the simulator's ready line."""

    told: dict[str, str]
    folder: Path
    engine: subprocess.Popen[bytes]
    received: Receivers
    broker: BrokerSide = KITE_SIDE
    ended: bool = False  # the engine is meant to be gone
    _stamped: list[Received] = field(default_factory=list)
    _run: str = ""

    @property
    def api(self) -> str:
        return self.told["api"]

    def by_hook(self) -> list[Received]:
        """What the command was given, and when it was called."""
        path = self.folder / "hook.txt"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        for line in lines[len(self._stamped) :]:
            stamp, _, text = line.partition(" ")
            self._stamped.append(Received("hook", int(stamp), json.loads(text)))
        return self._stamped

    def of(self, sink: str, code: str = "") -> list[Received]:
        """What came by one sink, with this alert's code if told."""
        if sink != "hook":
            return self.received.of(sink, code)
        return [row for row in self.by_hook() if code in ("", row.fields["code"])]

    def first_ns(self, sink: str, code: str, since_ns: int, event: str = "raised") -> int:
        """When a sink first got this since then; 0: not yet."""
        rows = [
            r.at_ns for r in self.of(sink, code) if r.at_ns >= since_ns and r.fields.get("event") == event
        ]
        return min(rows, default=0)

    def await_all(self, code: str, since_ns: int, event: str, seconds: float, *, but: str = "") -> None:
        """Wait until every sink (`but` one) has it.

        Raises:
            CampaignError: one has not.
        """
        deadline = time.monotonic() + seconds
        missing = [sink for sink in SINKS if sink != but]
        while missing := [sink for sink in missing if not self.first_ns(sink, code, since_ns, event)]:
            if time.monotonic() > deadline:
                raise CampaignError(f"{code} ({event}) did not reach {', '.join(missing)} in {seconds:g} s")
            time.sleep(LOOK_S)

    def kite_hft(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One call of the console command on this engine."""
        command = [sys.executable, "-m", "kite_hft.app.cli", *words]
        command += ["--account", ACCOUNT, "--state", str(self.folder)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90, check=False)

    def status(self) -> dict[str, Any]:
        """`kite-hft status --json`; {} while there is nothing to look at."""
        done = self.kite_hft("status", "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        if found:
            self._run = str(found["run"]["folder"])
        return found

    def run_folder(self) -> Path:
        """Of the run, known since the first status."""
        return Path(self._run)

    def until(self, what: Callable[[dict[str, Any]], bool], why: str, seconds: float = 60.0) -> None:
        """Wait for a state of the engine.

        Raises:
            CampaignError: it does not come, or the engine ends.
        """
        deadline = time.monotonic() + seconds
        while not what(self.status()):
            if self.engine.poll() is not None:
                raise CampaignError(f"the engine ended (exit code {self.engine.returncode}) before {why}")
            if time.monotonic() > deadline:
                raise CampaignError(f"no {why} within {seconds:g} s")
            time.sleep(LOOK_S)

    def inject(self, fault: dict[str, Any]) -> None:
        """A fault of the simulator."""
        self.post("/_sim/inject", json.dumps(fault).encode(), "application/json")

    def strikes(self) -> int:
        """How many faults the simulator has injected."""
        return len(json.loads(fetch(f"{self.api}/_sim/faults")[1]))

    def trade(self, side: str, quantity: int, symbol: str = "NSE:SBIN") -> None:
        """A market order of a person, at the broker itself."""
        table = self.broker.table(default_instruments(INSTRUMENTS, SEED)[0])
        row = next(row for row in table if row.key == symbol)
        product = Product.MIS if row.kind == "EQ" else Product.NRML
        words = (row, Side[side], OrderType.MARKET, product, Validity.DAY, quantity)
        self.send(self.broker.broker(table).place(OrderRequest(*words)))

    def post(self, path: str, body: bytes, content_type: str) -> Any:
        """One POST to the simulator, with the session's token; its JSON answer. Raises CampaignError."""
        return self.send(HttpRequest("POST", path, body, content_type))

    def send(self, request: HttpRequest) -> Any:
        """One call of our own, with the session's token; its JSON answer.

        Raises:
            CampaignError: no answer, or a refusal.
        """
        path, headers = request.path, session_headers(self.broker.name, self.told)
        transport = HttpTransport(self.api, SystemClock(), headers)
        try:
            ready = select.poll()
            ready.register(transport.fileno(), select.POLLIN)
            transport.submit(1, request)
            while not (done := transport.poll()):
                ready.poll(20)
            result = done[0][1]
        finally:
            transport.close()
        if isinstance(result, TransportError):
            raise CampaignError(f"POST {path}: {result.reason}")
        if result.status != 200:
            raise CampaignError(f"POST {path}: {result.status} {result.body[:200]!r}")
        return json.loads(result.body)

    def log_in(self) -> None:
        """A new token, given to the engine as a person does.

        Raises:
            CampaignError: the broker does not take it.
        """
        self.told["access_token"] = str(self.post("/_sim/login", b"{}", "application/json")["access_token"])
        done = self.kite_hft("token", stdin=f"{self.told['access_token']}\n")
        if done.returncode:
            raise CampaignError(f"kite-hft token: {done.stderr.strip()}")
        self.until(lambda s: bool(s) and s["state"]["state"] == "ACTIVE", "state ACTIVE after the login")

    def pid_of(self, name: str) -> int:
        """A process of the engine. Raises CampaignError."""
        rows = [row for row in self.status().get("processes", ()) if row["name"] == name]
        if not rows or not rows[0]["pid"]:
            raise CampaignError(f"the engine has no process {name}")
        return int(rows[0]["pid"])


def configuration(
    told: dict[str, str], folder: Path, sinks: dict[str, Any], broker: BrokerSide = KITE_SIDE
) -> dict[str, Any]:
    """An engine that trades much, with every sink."""
    stamp = (
        f'read -r line; printf "%s %s\\n" "$(date +%s%N)" "$line" >> {shlex.quote(str(folder / "hook.txt"))}'
    )
    params = {"threshold": 0.0005, "warmup": 50, "quantity": 10}
    return {
        "mode": "sim",
        "account": ACCOUNT,
        **addressed(broker.name, told),
        "strategies": [{"name": "kalman_simple", "form": "A", "params": params}],
        "risk": {"max_positions": 10},
        "trading": {
            "date": "2026-11-20",
            **facts_of(broker.name),
            "absence_horizon_s": 5.0,
            "positions_s": 1.0,
        },
        "alerts": {
            "hook": ["/bin/sh", "-c", stamp],
            "stale_position_s": 2.0,
            "remind_s": REMIND_S,
            "blind_s": BLIND_S,
            "naked_limit": NAKED_RUPEES,
            **sinks,
        },
        "performance": {"ring_buffer_size": 65536},
    }


@contextlib.contextmanager
def bench(folder: Path, broker: BrokerSide = KITE_SIDE) -> Iterator[Bench]:
    """A bench with an engine that trades; `folder` gets the run.

    Raises:
        CampaignError: simulator or engine do not come up.
    """
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", broker.name, "--port", "0"]
    command += ["--instruments", str(INSTRUMENTS), "--rate", "10", "--packets-per-frame", "20"]
    command += ["--seed", str(SEED), "--die-with-parent", "--cash", "500000000"]
    command += ["--exchange-time", "2026-11-20T10:00:00", "--start-when-subscribed"]
    simulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    engine: subprocess.Popen[bytes] | None = None
    with contextlib.ExitStack() as held:
        held.callback(_end_simulator, simulator)
        assert simulator.stdout is not None
        ready = simulator.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError("the simulator did not start; what it said stands above")
        told = dict(word.split("=", 1) for word in ready.split()[1:])
        received = held.enter_context(receivers(folder))
        config = folder / "config.yaml"
        settings = configuration(told, folder, received.settings(), broker)
        config.write_text(json.dumps(settings))  # JSON is YAML
        with (folder / "engine.out").open("wb") as out:
            engine = subprocess.Popen(
                [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)],
                stdout=out,
                stderr=out,
                env={**os.environ, "XDG_STATE_HOME": str(folder)},
            )
        held.callback(end, engine)
        made = Bench(told, folder, engine, received, broker)
        made.until(lambda s: bool(s) and s["state"]["state"] == "ACTIVE", "state ACTIVE", START_S)
        yield made


def _end_simulator(simulator: subprocess.Popen[str]) -> None:
    simulator.terminate()
    simulator.communicate(timeout=30)


def end(engine: subprocess.Popen[bytes]) -> None:
    """Stop the engine in order, or at once when it does not."""
    if engine.poll() is None:
        engine.send_signal(signal.SIGTERM)
    try:
        engine.wait(60)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()
