"""A run whose brokers have a source address: where the simulators see it come from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from engine_tools import QUIET, demo_config, kite_hft, own
from sim_tools import Running, simulator

from kite_hft.engine.plan.session import SIMULATED_MASTER

HERE, NOWHERE = "127.0.0.2", "203.0.113.7"


@contextmanager
def config(folder: Path, broker: str, source: str) -> Iterator[tuple[Path, Running]]:
    """The demo on a simulator that is there already."""
    market = ("--rate", "100", "--seed", "7", "--exchange-time", "2026-11-20T10:00:00")
    with simulator("--broker", broker, "--instruments", "20", *market) as sim:
        keys: dict[str, Any] = {"api_key": sim.api_key, "access_token": sim.access_token, "api_url": sim.api}
        if broker == "kite":
            keys["ws_url"] = sim.ws
        else:
            keys |= {
                "feed_url": sim.api,
                "hft_url": sim.api.replace("127.0.0.1", "localhost"),
                "failover": [],
            }
            keys["instruments_url"] = f"{sim.api}{SIMULATED_MASTER}"
        keys["bind_address"] = source
        path = demo_config(folder, own("SOURCE"), f"{QUIET}{broker}: {json.dumps(keys)}\n")
        text = path.read_text().replace("broker: kite", f"broker: {broker}", 1)
        if broker == "upstox":
            text = text.replace("kite_2026-04-01", "upstox_2026-04-01").replace("zerodha", "upstox")
        path.write_text(text)
        yield path, sim


def run(folder: Path, path: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--duration", "6", "--config", str(path)]
    done = subprocess.run(
        command, env={**os.environ, "XDG_STATE_HOME": str(folder)}, capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_calls_and_websockets_come_from_the_source_address(broker: str, tmp_path: Path) -> None:
    with config(tmp_path, broker, HERE) as (path, sim):
        code, told = run(tmp_path, path)
        callers = sim.stats()["callers"]
        sent = json.loads(sim.get("/_sim/requests"))["requests"]
    assert code == 0, told
    assert {address for found in callers.values() for address in found} == {HERE}, callers
    sockets = {"market websocket", "updates websocket"} if broker == "upstox" else {"market websocket"}
    assert set(callers) == sockets | {"calls"} and callers["calls"][HERE] > 5
    assert sent  # orders were among them


def test_verbs_that_ask_the_broker_call_from_there_too(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    with config(tmp_path, "kite", HERE) as (path, sim):
        for verb in (["doctor"], ["metadata", "--since", "2026-11-01"], ["instruments", "refresh"]):
            kite_hft(env, *verb, "--config", str(path), "--json")
            callers = sim.stats()["callers"].pop("calls")
            assert set(callers) == {HERE}, verb
        assert callers[HERE] > 25  # the doctor's, a list, candles of 20 instruments


def test_an_address_of_another_machine_ends_the_start_and_the_doctor_names_it(tmp_path: Path) -> None:
    with config(tmp_path, "kite", NOWHERE) as (path, sim):
        code, told = run(tmp_path, path)
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        doctor = kite_hft(env, "doctor", "--config", str(path), "--json")
        shown = kite_hft(env, "config", "show", str(path), "--section", "kite")
        callers = sim.stats()["callers"]
    assert code == 3 and f"not ready: kite.bind_address {NOWHERE}: no IPv4 address of this machine" in told
    rows = {row["name"]: row for row in json.loads(doctor.stdout)["checks"]}
    assert rows["source address"]["level"] == "fail" and NOWHERE in rows["source address"]["text"]
    assert f"correct kite.bind_address in {path}" in rows["source address"]["fix"]
    assert "bind_address" in shown.stdout and NOWHERE in shown.stdout
    assert not callers  # nobody was asked from another address instead
