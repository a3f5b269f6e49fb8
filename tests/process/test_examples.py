"""`kite-hft run examples/...`: the examples as a person runs them, on both brokers' simulators."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from engine_tools import kite_hft, own

STAMP = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] "
ON_UPSTOX = {
    "broker: kite": "broker: upstox",
    "kite_2026-04-01.yaml": "upstox_2026-04-01.yaml",
    "charges_zerodha": "charges_upstox",
    "NFO:SIM0000326DECFUT": "NSE_FO|40003",
    "NSE:INFY": "NSE_EQ|INE000159401",
}


def example(folder: Path, name: str, account: str, changes: dict[str, str] | None = None) -> Path:
    """The example under an account of its own, ten times as fast."""
    text = Path(f"examples/{name}.yaml").read_text().replace("../config/", f"{Path('config').resolve()}/")
    text = re.sub(r"account: \w+", f"account: {account}", text).replace("rate: 20\n", "rate: 200\n")
    for old, new in (changes or {}).items():
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def run(folder: Path, config: Path, *options: str) -> tuple[str, Path, dict[str, Any]]:
    """(what was printed, the run folder, its report)."""
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    done = kite_hft(env, "run", str(config), "--plain", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (latest,) = (folder / "state/kite_hft").glob("*/latest")
    return done.stdout, latest, json.loads((latest / "report.json").read_text())


@pytest.mark.parametrize(("name", "broker"), [("kalman_simple", "kite"), ("kalman_ml", "upstox")])
def test_an_example_runs_and_leaves_what_the_script_left(tmp_path: Path, name: str, broker: str) -> None:
    config = example(tmp_path, name, own(f"EX{name[7:]}"), ON_UPSTOX if broker == "upstox" else None)
    out, folder, report = run(tmp_path, config, "--duration", "5")
    assert folder.parent.name.startswith(f"{broker}-")
    assert "Trading loses money" in out, "a first run says so"
    for words in ("Starting Kalman", "WebSocket connected...", "Subscription sent for: ", "SIGNAL | RelDiff"):
        assert words in out, words
    steps = re.findall(r"^step (\d) of 6, (\w+): ", out, re.MULTILINE)
    assert [number for number, _ in steps][:5] == ["1", "2", "3", "4", "5"]
    assert re.search(STAMP + r"BUY ORDER RESPONSE: \{\"status\":\"success\"", out, re.MULTILINE)
    assert ("not tradable for NSE:INFY" in out) == (name == "kalman_simple")
    log = (folder / "classic/strategy.log").read_text("utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[INFO\] ", line) for line in log)
    assert sum(" Tick " in line for line in log) == report["ticks"]["computed"] > 300
    rows = list(csv.reader((folder / "classic/trades.csv").read_text().splitlines()))
    assert rows[0][0] == "BUY" and all(len(row) == 3 and float(row[2]) for row in rows)
    assert report["orders"]["filled"] >= 2 and report["orders"]["rejected"] == 0


def test_the_sandbox_acknowledges_and_fills_nothing(tmp_path: Path) -> None:
    changes = ON_UPSTOX | {"datafeed:\n": "upstox: {sandbox: true}\ndatafeed:\n"}
    config = example(tmp_path, "kalman_ml", own("EXSANDBOX"), changes)
    out, folder, report = run(tmp_path, config, "--duration", "4")
    assert "acknowledged and never filled" in out
    assert re.search(STAMP + r"BUY ORDER RESPONSE: \{\"status\":\"success\"", out, re.MULTILINE)
    assert report["orders"]["sent"] == 1 and report["orders"]["filled"] == 0 and not report["positions"]
    assert (folder / "classic/trades.csv").read_text().count("\n") == 1, "asked for once, as the script would"
    assert len((folder / "trades.csv").read_text().splitlines()) == 1, "a heading, and no fill"


def test_run_teaches_and_refuses_like_the_engine(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    assert "examples/kalman_ml.yaml" in kite_hft(env, "run", "--help").stdout
    missing = kite_hft(env, "run", str(tmp_path / "none.yaml"))
    assert missing.returncode == 2 and "no such file" in missing.stderr
    config = example(tmp_path, "kalman_ml", own("EXODD"), {"quantity: 100 ": "quantity: 75 "})
    odd = kite_hft(env, "run", str(config), "--duration", "1", "--plain")
    words = "no multiple of the lot of NFO:SIM0000326DECFUT, 50 today: set 50 or 100"
    assert odd.returncode == 2 and words in odd.stderr
    empty = kite_hft(env, "run", "examples/kalman_ml_upstox.yaml", "--duration", "1", "--plain")
    assert empty.returncode == 3 and "upstox.access_token and upstox.sandbox_token" in empty.stderr
