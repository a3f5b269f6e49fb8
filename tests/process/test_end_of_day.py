"""A day and its evening on both simulators: history, a strategy that reads it, the books, the files."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sim_tools import Running, simulator

DAY = "2026-11-20"
UNTIL = ("--until", "2026-11-19")
STRATEGY = '''
import math
from kite_hft.strategies.base import BaseStrategy

class Bought(BaseStrategy):
    """Buys one of each share once, when its average over 200 days is known."""

    def on_start(self):
        self.seen = set()

    def on_tick(self, tick):
        token, average = tick["instrument_token"], self.history.average_at(tick.slot, tick["last_price"])
        if tick.slot not in self.seen and not math.isnan(average):
            self.seen.add(tick.slot)
            self.place_order("BUY", token, 1, product="CNC")
'''


def configured(folder: Path, broker: str, sim: Running, strategies: str = "") -> Path:
    keys = {
        "kite": f"kite: {{ws_url: '{sim.ws}', api_url: '{sim.api}', api_key: {sim.api_key}, "
        f"access_token: {sim.access_token}}}",
        "upstox": f"upstox: {{feed_url: '{sim.api}', api_url: '{sim.api}', hft_url: '{sim.api}', "
        f"failover: [], access_token: '{sim.access_token}', "
        f"instruments_url: '{sim.api}/market-quote/instruments/exchange/complete.json.gz'}}",
    }[broker]
    charges = {"kite": "zerodha", "upstox": "upstox"}[broker]
    files = {
        "calendar": "calendar/india.yaml",
        "market": "rules/market_2026-08-03.yaml",
        "indices": "rules/indices_2026-08-03.yaml",
        "rules": f"rules/{broker}_2026-04-01.yaml",
        "charges": f"rules/charges_{charges}_2026-04-01.yaml",
    }
    trading = "\n".join(f"  {name}: {Path('config').resolve() / file}" for name, file in files.items())
    path = folder / "config.yaml"
    account = f"EOD{broker}{os.getpid()}"
    path.write_text(
        f"mode: sim\nbroker: {broker}\naccount: {account}\n{keys}\n"
        f"trading:\n  date: {DAY}\n{trading}\n{strategies}"
    )
    return path


@pytest.fixture(params=["kite", "upstox"])
def day(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, Running, Path, dict[str, str]]]:
    arguments = ("--instruments", "4", "--rate", "20", "--port", "0", "--exchange-time", f"{DAY}T10:00:00")
    with simulator("--broker", request.param, *arguments) as sim:
        (tmp_path / "bought.py").write_text(STRATEGY)
        named = f"strategies:\n  - {{name: '{tmp_path}/bought.py:Bought', params: {{history: metadata}}}}\n"
        path = configured(tmp_path, request.param, sim, named)
        yield request.param, sim, path, os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")}


def verb(env: dict[str, str], *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kite_hft.app.cli", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def told(env: dict[str, str], *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(verb(env, *words, "--json", code=code).stdout)
    return found


def traded(folder: Path, orders: int) -> bool:
    """Whether so many fills stand in the newest run's trades.csv."""
    files = list(folder.glob("????-??-??/*/trades.csv"))
    return bool(files) and len(files[-1].read_text().splitlines()) > orders


def test_the_evening_after_a_day(day: tuple[str, Running, Path, dict[str, str]], tmp_path: Path) -> None:
    broker, _, path, env = day
    caps = tmp_path / "caps.csv"
    caps.write_text("symbol,market_cap\nSBIN,700000\n")
    made = told(env, "metadata", "-c", str(path), "--since", "2025-10-01", *UNTIL, "--caps", str(caps))
    assert (made["fetched"], made["refused"], made["as_of"]) == (4, {}, "2026-11-19")
    assert made["market_caps"]["companies"] == 1
    account = next(
        line.split(": ")[1] for line in path.read_text().splitlines() if line.startswith("account")
    )
    root = tmp_path / "state/kite_hft" / f"{broker}-{account}"
    engine = subprocess.Popen(
        [sys.executable, "-m", "kite_hft.engine", "--config", str(path), "--plain"],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not traded(root, 3):
            assert time.monotonic() < deadline and engine.poll() is None
            time.sleep(0.2)
        done = verb(env, "end-of-day", "-c", str(path), "--now", code=1)
        assert "say --yes" in done.stderr and engine.poll() is None
        report = told(env, "end-of-day", "-c", str(path), "--now", "--yes")
        assert engine.wait(30) == 0
    finally:
        engine.kill()
        engine.wait()
    assert report["steps"] == dict.fromkeys(("metadata", "books", "export"), "ok") | {"engine": "stopped"}
    books = report["reconciliation"]
    assert (books["differences"], books["strangers"], books["not_compared"]) == ([], [], [])
    assert books["orders"] == 3 and books["positions"] == 3
    assert books["our_charges"] == books["their_charges"] > 0
    assert [(row["quantity"], row["protected"], row["carried"]) for row in report["overnight"]] == [
        (1, 0, True)
    ] * 3
    files = {name: (Path(report["folder"]) / name) for name in report["files"]}
    assert {"portfolio.csv", "trades.csv", "metadata.json", "market_cap.csv", "instruments.csv"} <= set(files)
    with files["portfolio.csv"].open() as file:
        assert [(row["quantity"], row["product"]) for row in csv.DictReader(file)] == [("1", "CNC")] * 3
    assert len(files["trades.csv"].read_text().splitlines()) == 4
    whole = json.loads(files["metadata.json"].read_text())
    assert whole["as_of"] == DAY and len(whole["instruments"]) == 4
    history = next(root.glob("????-??-??/*/history-*.json"))
    assert json.loads(history.read_text())["as_of"] == "2026-11-19"
    # Another broker's books, which know nothing of the day: each difference is told.
    (tmp_path / "other").mkdir()
    with simulator("--broker", broker, "--instruments", "4", "--port", "0") as other:
        elsewhere = configured(tmp_path / "other", broker, other)
        report = told(env, "end-of-day", "-c", str(elsewhere), "--now", "--no-metadata", code=1)
    differences = report["reconciliation"]["differences"]
    assert sum("not in the broker's book" in text for text in differences) == 3
    assert sum("+1 by the journal, +0 at the broker" in text for text in differences) == 3
    assert len(differences) == 6


@pytest.mark.parametrize("day", ["kite"], indirect=True)
def test_a_job_that_was_killed_goes_on(
    day: tuple[str, Running, Path, dict[str, str]], tmp_path: Path
) -> None:
    _, _, path, env = day
    script = [sys.executable, "scripts/create_metadata.py", "--config", str(path), "--json"]
    job = subprocess.Popen(script, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "state").glob("**/days/*/*.parquet")):
            assert time.monotonic() < deadline and job.poll() is None
            time.sleep(0.01)
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    done = subprocess.run(script, env=env, capture_output=True, text=True, timeout=100, check=True)
    found = json.loads(done.stdout)
    assert found["known"] >= 1 and found["known"] + found["fetched"] == 4
    assert found["bars"] > 3000 and not found["notes"]
