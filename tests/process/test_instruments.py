"""Instrument lists of running simulators: fetched, kept, joined; and a run that trades a universe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from engine_tools import demo_config
from sim_tools import simulator
from typer.testing import CliRunner

from kite_hft.app.setup.instruments import verb as instruments
from kite_hft.engine.plan.master_cache import folder_of, load
from kite_hft.engine.plan.masters import accesses_of, cached_masters, load_masters
from kite_hft.engine.plan.session import configured
from kite_hft.engine.plan.universes import last_prices_of
from kite_hft.settings import Settings, load_settings
from kite_hft.trading.instruments import parse_csv
from kite_hft.trading.lists.masters import why_not_tradable

INDICES = Path("config/rules/indices_2026-08-03.yaml").resolve()
COMPLETE = "/market-quote/instruments/exchange/complete.json.gz"


def config(folder: Path, kite: str, token: str, upstox: str, upstox_token: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"mode: sim\nbroker: kite\ndata_broker: both\naccount: LISTS\n"
        f"kite: {{api_url: '{kite}', ws_url: '{kite.replace('http', 'ws')}', api_key: simkey, "
        f"access_token: {token}}}\n"
        f"upstox: {{api_url: '{upstox}', feed_url: '{upstox}', hft_url: '{upstox}', failover: [], "
        f"instruments_url: '{upstox}{COMPLETE}', access_token: {upstox_token}}}\n"
        f"trading: {{date: 2026-11-20, indices: {INDICES}, "  # the contracts of the lists live on it
        f"rules: {INDICES.with_name('kite_2026-04-01.yaml')}}}\n"
    )
    return path


def verb(*words: str) -> Any:
    return CliRunner().invoke(instruments, list(words))


def prices(settings: Settings, broker: str) -> dict[tuple[str, str], float]:
    masters = load_masters(settings, accesses_of(settings), time.time_ns(), None)
    columns = masters.rows
    future = columns.row(int(columns.kind.are(["FUT"]).argmax()))
    pairs = [("NFO", future.name), ("NSE", "SBIN"), ("NSE", "NOBODY")]
    found = last_prices_of(pairs, masters, configured(settings, broker), print)
    assert set(found) == set(pairs[:2]) and all(price > 0 for price in found.values())
    return found


def test_lists_of_both_simulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with (
        simulator("--port", "0", "--instruments", "200") as kite,
        simulator("--broker", "upstox", "--port", "0", "--instruments", "200") as upstox,
    ):
        path = config(tmp_path, kite.api, kite.access_token, upstox.api, upstox.access_token)
        told = verb("refresh", "--json", "-c", str(path))
        assert told.exit_code == 0, told.stderr
        assert [(row["broker"], row["rows"], row["problem"]) for row in json.loads(told.stdout)["lists"]] == [
            ("kite", 200, None), ("upstox", 200, None)
        ]  # fmt: skip
        files = sorted(folder_of(tmp_path).iterdir())
        assert [re.sub(r"\d", "", file.name) for file in files] == [
            "kite@...----.arrow",
            "upstox@...----.arrow",
        ]
        plain = parse_csv(kite.get("/instruments?extended=1").decode().splitlines())
        assert load(files[0])[1].table().rows == plain.rows
        settings = load_settings(path)
        masters = cached_masters(settings, time.time_ns(), tmp_path)
        found = masters.joined(range(200))
        assert found.joined == 200 and not found.differing and not found.contradictions
        assert sum(not why_not_tradable(row, masters.day) for row in found.table) >= 190
        for row in found.table:
            assert masters.row_of(row.upstox_key) == masters.row_of(row.token) == row.slot
        for broker in ("kite", "upstox"):
            prices(settings, broker)
    gone = verb("refresh", "-c", str(path))
    assert gone.exit_code == 3 and "kite.api_url" in gone.stderr and "Traceback" not in gone.stderr
    assert verb("show", "NSE:SBIN", "-c", str(path)).exit_code == 0, "the day's list is kept"


def test_a_run_trades_a_universe(tmp_path: Path) -> None:
    universe = tmp_path / "mine.yaml"
    universe.write_text("instruments: ['NSE:SBIN', 'NSE:GONE']\nrules: [{exchanges: [NFO], kinds: [FUT]}]\n")
    path = demo_config(tmp_path, f"LISTS{os.getpid()}")
    path.write_text(path.read_text().replace("datafeed:\n", f"datafeed:\n  universe: {universe.name}\n"))
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--duration", "3", "--config", str(path)]
    done = subprocess.run(
        [*command, "--report", str(report)], env=env, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: not in today's list: NSE:GONE" in done.stdout
    (rows,) = [
        parse_csv(file.read_text().splitlines()) for file in tmp_path.glob("state/**/2*/*/instruments.csv")
    ]
    assert rows[0].key == "NSE:SBIN" and len(rows) > 1 and {row.kind for row in rows} == {"EQ", "FUT"}
    assert json.loads(report.read_text())["ticks"]["received"] > 0
    assert not (tmp_path / "cache").exists(), "a simulator's list is the run's own"
