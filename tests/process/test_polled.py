"""Engines whose prices come by HTTP, on simulators of both brokers: no market websocket, every tick computed,
orders sent, and what the broker refuses is lived through."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_tools import own
from sim_tools import Running, simulator

from kite_hft.verify.brokers.running import addressed, facts_of

PROBE = "kite_hft.verify.engine.supervise_probe:Probe"
COOLDOWN_S = 5
SIM = ("--rate", "5", "--seed", "7", "--exchange-time", "2026-11-20T10:00:00", "--latency-us", "2000")


def configured(folder: Path, broker: str, running: Running) -> Path:
    told = {key: getattr(running, key) for key in ("ws", "api", "api_key", "access_token")}
    made = {
        "mode": "sim",
        "account": own("POLL"),
        **addressed(broker, told),
        "datafeed": {"primary_source": "http"},
        "risk": {"stale_tick_s": 4.0},
        "strategies": [{"name": PROBE, "form": "A", "params": {"every": 7}}],
        "alerts": {"reject_storm": 1000, "naked_limit": 100000000},
        "trading": {"date": "2026-11-20", "watchdog": False, **facts_of(broker)},
    }
    path = folder / "engine.json"
    path.write_text(json.dumps(made))
    return path


def ticks_of(said: str) -> int:
    """How many have come, by the newest line of the live view."""
    found = re.findall(r"\| ([\d,]+) ticks", said)
    return int(found[-1].replace(",", "")) if found else 0


class Run:
    """An engine and what it says."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder, self.out = folder, folder / "engine.out"
        words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)]
        environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [*words, "--report", str(folder / "report.json")], env=environment, stdout=out, stderr=out
            )

    def said(self) -> str:
        return self.out.read_text()

    def until(self, what: Callable[[str], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not what(self.said()):
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def end(self) -> dict[str, Any]:
        """Stop it in order; its report."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(60) == 0, self.said()
        finally:
            self.process.kill()
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return found


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_prices_by_http_are_ticks_and_faults_are_survived(broker: str, tmp_path: Path) -> None:
    with simulator("--broker", broker, "--instruments", "30", *SIM) as running:
        run = Run(tmp_path, configured(tmp_path, broker, running))
        try:
            run.until(lambda said: "asking call by call" in said)
            run.until(lambda said: bool(re.search(r"orders [1-9]\d* sent", said)))  # circuit limits are known
            began = running.stats()["too_many_requests"]
            for _ in range(4):
                running.post("/_sim/inject", {"kind": "http_503", "request": "read"})
            run.until(lambda said: "refused quotes with HTTP 503" in said, 40)
            time.sleep(8)
            stats = running.stats()
        finally:
            report = run.end()
        said = run.said()
    ticks, orders = report["ticks"], report["orders"]
    feed, updates = ticks["by_connection"]
    # By the simulator's own books: nobody subscribed, no tick went over a websocket, no window was overrun.
    assert stats["ticks"] == 0 and all(row["subscribed"] == 0 for row in stats["connections"]), stats
    assert not began and not stats["too_many_requests"], stats["too_many_requests"]
    if broker == "upstox":
        assert "market websocket" not in str(stats)
    # By the engine's.
    assert ticks["received"] > 100 and ticks["lost"] == 0 and not any(ticks["malformed"].values()), ticks
    assert ticks["received"] == ticks["published"] == ticks["computed"]
    assert len(set(ticks["checksum"].values())) == 1
    assert feed["refused_other"] >= 1 and feed["restarts"] == 0 and not report["restarts"]
    assert updates["orders_only"] and not updates["received"]
    assert orders["sent"] > 3 and orders["accepted"] > 3 and orders["ambiguous"] == 0, orders
    assert orders["heard"]["updates"] >= orders["sent"]
    assert "FEED_DEAD" not in said and "MARKET_HALT" not in said  # the gaps between answers are no silence
    assert "prices of" in said and "What happens between two looks is not seen" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_too_many_calls_are_waited_out_as_the_rules_say(broker: str, tmp_path: Path) -> None:
    """HTTP 429 to quotes: one pause of the rules' length, then prices again, and no call meanwhile."""
    with simulator("--broker", broker, "--instruments", "10", *SIM) as running:
        path = configured(tmp_path, broker, running)
        told = json.loads(path.read_text())
        rules = Path(told["trading"]["rules"])
        short = re.sub(r"cooldown_after_429_s: \d+", f"cooldown_after_429_s: {COOLDOWN_S}", rules.read_text())
        (tmp_path / rules.name).write_text(short)
        told["trading"]["rules"] = str(tmp_path / rules.name)
        told["strategies"][0]["params"]["every"] = 10**9  # no orders: the books are left alone
        told["trading"] |= {"poll_s": 600.0, "positions_s": 600.0}
        path.write_text(json.dumps(told))
        run = Run(tmp_path, path)
        try:
            run.until(lambda said: "asking call by call" in said and "orders: recovered" in said)
            time.sleep(3)  # the books that a start reads are read
            running.post("/_sim/inject", {"kind": "http_429", "request": "read", "count": 2})
            run.until(lambda said: "refused quotes with HTTP 429" in said, 40)
            refused_s = time.monotonic()
            time.sleep(2.2)  # what came before stands in the live view
            ticks = ticks_of(run.said())
            run.until(lambda said: ticks_of(said) > ticks, 60)
            paused_s = time.monotonic() - refused_s
        finally:
            report = run.end()
        struck = [row for row in running.faults() if row["kind"] == "http_429"]
    (feed, _updates), said = report["ticks"]["by_connection"], run.said()
    pauses = [float(s) for s in re.findall(r"refused quotes with HTTP 429.*next try in ([\d.]+) s", said)]
    assert pauses and 0.8 * COOLDOWN_S <= pauses[0] <= 1.2 * COOLDOWN_S, said
    assert 1 <= feed["refused_429"] <= len(struck) <= 2 and feed["restarts"] == 0, (feed, struck)
    assert paused_s > 0.7 * COOLDOWN_S and "waits for a new access token" not in said
    assert report["ticks"]["lost"] == 0 and "Traceback" not in said


def test_more_than_can_be_asked_about_is_refused_before_anything_connects(tmp_path: Path) -> None:
    with simulator("--instruments", "30", *SIM) as running:
        path = configured(tmp_path, "kite", running)
        path.write_text(path.read_text().replace('"stale_tick_s": 4.0', '"stale_tick_s": 2.0'))
        words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(path)]
        done = subprocess.run(
            words, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert not running.stats()["connections"] and "websocket" not in str(running.stats().get("callers"))
    assert done.returncode in (2, 3), done
    assert "3.00 s may pass" in done.stderr and "risk.stale_tick_s to 4" in done.stderr, done.stderr


def test_a_dead_token_is_waited_for_and_another_goes_on(tmp_path: Path) -> None:
    with simulator("--instruments", "10", *SIM) as running:
        run = Run(tmp_path, configured(tmp_path, "kite", running))
        try:
            run.until(lambda said: "asking call by call" in said)
            running.post("/_sim/inject", {"kind": "token_death"})
            # The updates may learn of it first: a token handed over before the next look would hide the loss.
            run.until(lambda said: "; waits for a new access token" in said)
            token = running.post("/_sim/login")["access_token"]
            words = [sys.executable, "-m", "kite_hft.app.cli", "token", "--account", own("POLL")]
            subprocess.run(
                words, input=token, text=True, check=True, timeout=60, capture_output=True,
                env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
            )  # fmt: skip
            run.until(lambda said: said.count("asking call by call") == 2)
        finally:
            report = run.end()
    feed = report["ticks"]["by_connection"][0]
    assert feed["connects"] == 2 and feed["refused_403"] == 1
