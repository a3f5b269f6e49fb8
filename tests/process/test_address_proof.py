"""A run proves by itself that the broker takes its order calls: against a simulator that asks who calls."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from engine_tools import QUIET, demo_config, kite_hft, own
from sim_tools import Running, simulator

from kite_hft.engine.plan.session import SIMULATED_MASTER

ELSEWHERE = "203.0.113.9"
NO_ORDER = "100000000000000"


@contextmanager
def config(folder: Path, broker: str, *asks: str, trading: str = "") -> Iterator[tuple[Path, Running, str]]:
    """The demo on a simulator that was there before, with an account of its own."""
    market = ("--rate", "20", "--seed", "7", "--exchange-time", "2026-11-20T10:00:00")
    with simulator("--broker", broker, "--instruments", "20", *market, *asks) as sim:
        keys: dict[str, Any] = {"api_key": sim.api_key, "access_token": sim.access_token, "api_url": sim.api}
        if broker == "kite":
            keys["ws_url"] = sim.ws
        else:
            keys |= {"feed_url": sim.api, "hft_url": sim.api, "failover": []}
            keys["instruments_url"] = f"{sim.api}{SIMULATED_MASTER}"
        account = own("ADDRESS")
        path = demo_config(folder, account, f"{QUIET}{broker}: {json.dumps(keys)}\n")
        text = path.read_text().replace("broker: kite", f"broker: {broker}", 1)
        text = text.replace("trading:\n", f"trading:\n{trading}")
        if broker == "upstox":
            text = text.replace("kite_2026-04-01", "upstox_2026-04-01").replace("zerodha", "upstox")
        path.write_text(text)
        yield path, sim, account


def run(folder: Path, path: Path, seconds: float = 6) -> tuple[int, str, dict[str, Any], Path]:
    """(exit code, what was said, report.json, the run's folder)."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--duration", str(seconds),
               "--report", str(report), "--config", str(path)]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "XDG_STATE_HOME": str(folder)}, capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    (journal,) = folder.glob("kite_hft/*/*/*/journal.bin")
    return done.returncode, told, json.loads(report.read_text()), journal.parent


def order_calls(folder: Path) -> list[str]:
    """Names of the order calls in a run's evidence, in their order."""
    with (folder / "evidence.csv").open() as file:
        return [row["name"] for row in csv.DictReader(file) if row["call"] in ("PLACE", "MODIFY", "CANCEL")]


def at_the_server(sim: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(sim.get("/_sim/requests"))["requests"]
    return found


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_a_start_proves_the_address_and_every_call_is_counted(broker: str, tmp_path: Path) -> None:
    with config(tmp_path, broker, "--allow-ip", "127.0.0.1") as (path, sim, _):
        code, told, report, folder = run(tmp_path, path)
        requests = at_the_server(sim)
    assert code == 0, told
    asked = report["address_proof"]["asked"]
    assert report["address_proof"]["word"] == "allowed" and asked in (1, 2)  # 2: it was 09:05 meanwhile
    assert f"{broker} takes order calls from this machine (127.0.0.1" in told
    assert not report["alerts"]["by_code"].get("EGRESS_REFUSED") and report["orders"]["sent"] > 0
    calls = order_calls(folder)
    assert calls[0] == NO_ORDER and calls.count(NO_ORDER) == asked
    assert len(requests) == len(calls), (requests[:3], calls[:3])
    assert not report["egress"]["exceeded"] and report["egress"]["calls"] > len(calls)


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_from_another_address_nothing_opens_and_a_person_is_told_why(broker: str, tmp_path: Path) -> None:
    with config(tmp_path, broker, "--allow-ip", ELSEWHERE) as (path, sim, _):
        code, told, report, folder = run(tmp_path, path)
        requests = at_the_server(sim)
    assert code == 0, told
    assert report["address_proof"]["word"] == "address" and report["orders"]["sent"] == 0
    assert "REDUCING" in report["orders"]["refused"]
    assert set(report["orders"]["refused"]) <= {"REDUCING", "HALTED"}  # the latter as the run ends
    assert "refuses order calls from this machine (127.0.0.1" in told and "Register the address" in told
    assert report["alerts"]["by_code"]["EGRESS_REFUSED"] >= 1
    assert set(order_calls(folder)) == {NO_ORDER} and len(requests) <= 2


def test_it_can_be_switched_off_and_status_shows_it(tmp_path: Path) -> None:
    with config(tmp_path, "kite", "--allow-ip", "127.0.0.1", trading="  prove_address: false\n") as words:
        path, _, _ = words
        code, told, report, folder = run(tmp_path, path)
    assert code == 0 and report["address_proof"]["word"] == "off", told
    assert NO_ORDER not in order_calls(folder)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with config(tmp_path, "kite", "--allow-ip", ELSEWHERE) as (path, _sim, account):
        command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(path)]
        engine = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            status: dict[str, Any] = {}
            deadline = time.monotonic() + 80
            while status.get("address_proof", {}) == {} and time.monotonic() < deadline:
                done = kite_hft(env, "status", "--account", account, "--json")
                status = json.loads(done.stdout) if done.returncode == 0 else {}
                time.sleep(0.2)
            shown = kite_hft(env, "status", "--account", account).stdout
        finally:
            engine.send_signal(signal.SIGINT)
            engine.wait(60)
    assert status["address_proof"]["word"] == "address" and status["state"]["state"] == "REDUCING"
    assert "refuses order calls" in status["state"]["reason"]
    assert "address: REFUSED, no order call is taken from this machine" in shown
