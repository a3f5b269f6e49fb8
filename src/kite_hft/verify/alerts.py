"""Layer 6, by hand and CI, cold: `verify alerts`: every required alert reaches a person in time.

Starts the simulator and an engine that trades on it, with a command as alert hook that stamps the
time at which it was called. Faults are injected one after another; for each the time from the
injection (the simulator's own log) to the command's first line with the alert's code is measured.
The alert must also stand in alerts.jsonl. Silence of a price is a fault of some seconds' length, so
`alerts.stale_position_s` is 2 here (its default is longer: quiet instruments are no fault).
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import SystemClock
from kite_hft.engine.alerting import read_alerts
from kite_hft.net.http import HttpTransport, fetch
from kite_hft.trading.broker import HttpRequest, TransportError

ROOT: Final = Path(__file__).resolve().parents[3]
ACCOUNT: Final = f"VERIFY{os.getpid()}"  # campaigns may run side by side
START_S: Final = 90.0
LOOK_S: Final = 0.05
PATIENCE_S: Final = 10.0
INJECTED_MAX: Final = 3


class CampaignError(Exception):
    """The campaign could not be carried out; the message says what did not come."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault and the codes of the alerts that it must raise.

    position: something must be held before. login: the token is dead afterwards, and a new one is
    given. settle_s: until the fault is over. again_s: when no alert came after so long, inject once
    more; 0: never. The desk's order may cross an exit of ours: the position is flat by our own sale
    then, nothing of ours was closed, and no alert is due.
    """

    codes: tuple[str, ...]
    fault: dict[str, Any]
    position: bool = False
    login: bool = False
    settle_s: float = 1.0
    again_s: float = 0.0


SESSIONS: Final = (
    (
        Case(("AMBIGUOUS_ORDER",), {"kind": "accept_then_drop", "request": "place"}),
        Case(("BROKER_ACTED",), {"kind": "rms_order"}, position=True, again_s=8.0),
        Case(("FEED_DEAD",), {"kind": "silence", "connection": 0, "for": 6.0}, settle_s=4.0),
        Case(("TOKEN_DEAD",), {"kind": "token_death"}, login=True),
        Case(("MARKET_HALT", "STALE_POSITION"), {"kind": "market_halt", "for": 6.0}, position=True),
    ),
    (Case(("REJECT_STORM",), {"kind": "margin_reject", "count": 40}),),
)
"""Each session is an engine of its own: a reject storm leaves it REDUCING."""


@dataclass(slots=True)
class Outcome:
    """What came of one alert. latency_s None: it did not reach the hook in the time."""

    code: str
    latency_s: float | None = None
    journalled: bool = False
    injected: int = 1

    def row(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "code": self.code,
            "latency_s": None if self.latency_s is None else round(self.latency_s, 3),
            "journalled": self.journalled,
            "injected": self.injected,
        }


@dataclass(slots=True)
class Bench:
    """Simulator, engine and the lines of the hook."""

    api: str
    folder: Path
    engine: subprocess.Popen[bytes]

    def hook_lines(self) -> list[tuple[int, dict[str, Any]]]:
        """(CLOCK_REALTIME ns at which the command was called, what it was given), by that time."""
        path = self.folder / "hook.txt"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        found = []
        for line in lines:
            stamp, _, text = line.partition(" ")
            found.append((int(stamp), json.loads(text)))
        return sorted(found, key=lambda pair: pair[0])

    def first(self, code: str, since_ns: int) -> int:
        """When the hook first got this code since then; 0: not yet."""
        return next((at for at, row in self.hook_lines() if row["code"] == code and at >= since_ns), 0)

    def kite_hft(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One call of the console command on this engine."""
        command = [sys.executable, "-m", "kite_hft.app.cli", *words]
        command += ["--account", ACCOUNT, "--state", str(self.folder)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def status(self) -> dict[str, Any]:
        """`kite-hft status --json`; {} while there is nothing to look at."""
        done = self.kite_hft("status", "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

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


def post(api: str, path: str, body: object) -> Any:
    """One POST to the simulator; its JSON answer.

    Raises:
        CampaignError: no answer, or a refusal.
    """
    transport = HttpTransport(api, SystemClock())
    try:
        ready = select.poll()
        ready.register(transport.fileno(), select.POLLIN)
        transport.submit(1, HttpRequest("POST", path, json.dumps(body).encode(), "application/json"))
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


def configuration(told: dict[str, str], folder: Path) -> dict[str, Any]:
    """An engine that trades much, with the hook."""
    stamp = (
        f'read -r line; printf "%s %s\\n" "$(date +%s%N)" "$line" >> {shlex.quote(str(folder / "hook.txt"))}'
    )
    keys = ("ws_url", "api_url", "api_key", "access_token")
    names = ("ws", "api", "api_key", "access_token")
    return {
        "mode": "sim",
        "account": ACCOUNT,
        "kite": {key: told[name] for key, name in zip(keys, names, strict=True)},
        "strategies": [
            {
                "name": "kalman_simple",
                "form": "A",
                "params": {"threshold": 0.0005, "warmup": 50, "quantity": 10},
            }
        ],
        "risk": {"max_positions": 10},
        "trading": {
            "date": "2026-11-20",
            "calendar": str(ROOT / "config/calendar/india.yaml"),
            "rules": str(ROOT / "config/rules/kite_2026-04-01.yaml"),
            "charges": str(ROOT / "config/rules/charges_zerodha_2026-04-01.yaml"),
            "absence_horizon_s": 5.0,
        },
        "alerts": {"hook": ["/bin/sh", "-c", stamp], "stale_position_s": 2.0},
        "performance": {"ring_buffer_size": 65536},
    }


def run(cases: Sequence[Case], folder: Path, within_s: float) -> list[Outcome]:
    """Carry out the cases on one engine; an outcome for each of their codes. `folder` gets the run.

    Raises:
        CampaignError: simulator or engine do not come up or end.
    """
    if not cases:
        return []
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", "kite", "--port", "0", "--die-with-parent"]
    command += ["--instruments", "20", "--rate", "10", "--packets-per-frame", "20", "--seed", "7"]
    command += ["--cash", "50000000", "--exchange-time", "2026-11-20T10:00:00", "--start-when-subscribed"]
    simulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    engine: subprocess.Popen[bytes] | None = None
    try:
        assert simulator.stdout is not None
        ready = simulator.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError("the simulator did not start; what it said stands above")
        told = dict(word.split("=", 1) for word in ready.split()[1:])
        config = folder / "config.yaml"
        config.write_text(json.dumps(configuration(told, folder)))  # JSON is YAML
        with (folder / "engine.out").open("wb") as out:
            engine = subprocess.Popen(
                [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)],
                stdout=out,
                env={**os.environ, "XDG_STATE_HOME": str(folder)},
            )
        bench = Bench(told["api"], folder, engine)
        bench.until(lambda s: bool(s) and s["state"]["state"] == "ACTIVE", "state ACTIVE", START_S)
        bench.until(lambda s: len(s.get("positions", ())) >= 2, "positions", START_S)
        return [outcome for case in cases for outcome in carry_out(case, bench, within_s)]
    finally:
        if engine is not None:
            end(engine)
        simulator.terminate()
        simulator.communicate(timeout=30)


def end(engine: subprocess.Popen[bytes]) -> None:
    """Stop the engine in order, or at once when it does not."""
    engine.send_signal(signal.SIGTERM)
    try:
        engine.wait(60)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def carry_out(case: Case, bench: Bench, within_s: float) -> list[Outcome]:
    """Inject one fault and wait for its alerts at the hook, somewhat longer than allowed."""
    outcomes = [Outcome(code) for code in case.codes]
    for attempt in range(1, INJECTED_MAX + 1 if case.again_s else 2):
        if case.position:
            bench.until(lambda s: len(s.get("positions", ())) >= 1, "a position")
        wait_for(outcomes, case, bench, case.again_s or within_s + PATIENCE_S)
        for outcome in outcomes:
            outcome.injected = attempt
        if all(outcome.latency_s is not None for outcome in outcomes):
            break
    told = read_alerts(Path(str(bench.status().get("run", {}).get("folder", ""))))
    for outcome in outcomes:
        outcome.journalled = any(row["code"] == outcome.code for row in told)
    time.sleep(case.settle_s)
    if case.login:
        log_in(bench)
    return outcomes


def wait_for(outcomes: list[Outcome], case: Case, bench: Bench, patience_s: float) -> None:
    """Inject the fault once and measure until each of its alerts is at the hook, or patience ends."""
    known = len(strikes(bench.api))
    struck_ns = injected_ns = time.time_ns()
    post(bench.api, "/_sim/inject", case.fault)
    deadline = time.monotonic() + patience_s
    has_struck = False
    while time.monotonic() < deadline and bench.engine.poll() is None:
        # Some faults wait for an order to strike: the last look without it is the earliest time.
        has_struck = has_struck or len(strikes(bench.api)) > known
        for outcome in outcomes:
            at_ns = bench.first(outcome.code, injected_ns)
            if at_ns and has_struck and outcome.latency_s is None:
                outcome.latency_s = max(0, at_ns - struck_ns) / 1e9
        if all(outcome.latency_s is not None for outcome in outcomes):
            break
        if not has_struck:
            struck_ns = time.time_ns()
        time.sleep(LOOK_S)


def strikes(api: str) -> list[dict[str, Any]]:
    """The simulator's log of what it injected."""
    found: list[dict[str, Any]] = json.loads(fetch(f"{api}/_sim/faults")[1])
    return found


def log_in(bench: Bench) -> str:
    """A new token, given to the engine as a person does; returns it.

    Raises:
        CampaignError: the broker does not take it.
    """
    token = str(post(bench.api, "/_sim/login", {})["access_token"])
    done = bench.kite_hft("token", stdin=f"{token}\n")
    if done.returncode:
        raise CampaignError(f"kite-hft token: {done.stderr.strip()}")
    bench.until(lambda s: bool(s) and s["state"]["state"] == "ACTIVE", "state ACTIVE after the login")
    return token


def make(folder: Path) -> Path:
    """The folder, made."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify alerts", description=__doc__)
    made.add_argument("--within", type=float, default=5.0, help="seconds from fault to hook (default 5)")
    made.add_argument("--only", action="append", default=[], metavar="CODE", help="only this alert")
    made.add_argument("--keep", type=Path, help="folder that gets the run")
    return made


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when every alert came in time and is journalled."""
    options = parser().parse_args(argv)
    wrong: list[str] = []
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="kite_hft-alerts-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        for number, session in enumerate(SESSIONS, 1):
            cases = [c for c in session if not options.only or set(c.codes) & set(options.only)]
            try:
                outcomes += run(cases, make(folder / f"session-{number}"), options.within)
            except CampaignError as error:
                wrong.append(f"session {number}: {error}")
    for found in outcomes:
        if found.latency_s is None:
            wrong.append(f"{found.code} did not reach the hook")
        elif found.latency_s > options.within:
            wrong.append(f"{found.code}: {found.latency_s:.1f} s > {options.within:g} s")
        if not found.journalled:
            wrong.append(f"{found.code} does not stand in alerts.jsonl")
    rows = [outcome.row() for outcome in outcomes]
    result: dict[str, Any] = {"within_s": options.within, "alerts": rows, "wrong": wrong}
    if wrong:
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "alerts", *argv])
    print(json.dumps(result))
    return 1 if wrong else 0
