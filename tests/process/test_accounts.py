"""Money, told by three witnesses; and paper trading, which the broker never sees."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_tools import own

from kite_hft.sim.market.universe import default_instruments

CASH = 400_000


@pytest.fixture
def server() -> Iterator[dict[str, str]]:
    """A simulator of its own, as its ready line tells it."""
    command = [sys.executable, "-m", "kite_hft.sim", "--port", "0", "--instruments", "20", "--rate", "10"]
    command += ["--seed", "7", "--cash", str(CASH), "--packets-per-frame", "20", "--die-with-parent"]
    command += ["--exchange-time", "2026-11-20T10:00:00", "--start-when-subscribed"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield dict(word.split("=", 1) for word in process.stdout.readline().split()[1:])
    process.terminate()
    process.communicate(timeout=20)


def run_engine(tmp_path: Path, server: dict[str, str], mode: str, seconds: int) -> Path:
    """Run the demo's strategy against a running server; returns the run folder."""
    config = tmp_path / "config.yaml"
    strategy = {"name": "kalman_simple", "params": {"threshold": 0.0005, "warmup": 50, "quantity": 150}}
    settings = {
        "mode": mode,
        "account": own("ACCOUNTS"),
        "kite": {
            "ws_url": server["ws"],
            "api_url": server["api"],
            "api_key": server["api_key"],
            "access_token": server["access_token"],
        },
        "simulator": {"cash": CASH, "seed": 3},
        "strategies": [strategy],
        "risk": {
            "max_order_value": 400000,
            "max_position_size": 400000,
            "max_positions": 6,
            "allow": [row.key for row in default_instruments(20, 7)[0].rows],  # no daily lists are here
        },
        "trading": {
            "date": "2026-11-20",
            "calendar": str(Path("config/calendar/india.yaml").resolve()),
            "rules": str(Path("config/rules/kite_2026-04-01.yaml").resolve()),
            "charges": str(Path("config/rules/charges_zerodha_2026-04-01.yaml").resolve()),
            "market": str(Path("config/rules/market_2026-08-03.yaml").resolve()),
        },
        "alerts": {"reject_storm": 10_000},  # the account is small: orders are refused for want of margin
        "performance": {"ring_buffer_size": 65536},
    }
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)]
    done = subprocess.run(
        [*command, "--duration", str(seconds)],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return (tmp_path / f"kite_hft/kite-{own('ACCOUNTS')}/latest").resolve()


def dump_journal(folder: Path, to: Path) -> list[dict]:
    command = [sys.executable, "-m", "kite_hft.app.cli", "journal", str(folder / "journal.bin")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    to.write_text(text)
    return [json.loads(line) for line in text.splitlines()]


def check(server: dict[str, str], trades: Path, journal: Path) -> tuple[int, dict]:
    """scripts/check_accounts.py, with an interpreter that cannot see our source."""
    command = [sys.executable, "-I", "scripts/check_accounts.py", "--api", server["api"]]
    command += ["--api-key", server["api_key"], "--access-token", server["access_token"]]
    command += ["--trades", str(trades), "--journal", str(journal), "--opening-cash", str(CASH)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, json.loads(done.stdout)


def test_broker_trades_csv_and_journal_agree_to_the_paisa(tmp_path: Path, server: dict[str, str]) -> None:
    folder = run_engine(tmp_path, server, "sim", 15)
    journal = tmp_path / "journal.jsonl"
    dump_journal(folder, journal)
    code, result = check(server, folder / "trades.csv", journal)
    assert code == 0 and result["disagreements"] == [], result
    assert result["orders"] >= 20 and result["filled_orders"] >= 15
    # The same check sees a paisa that is missing, and an order that was never journalled.
    altered = tmp_path / "trades.csv"
    lines = (folder / "trades.csv").read_text().splitlines()
    head, cells = lines[0].split(","), lines[1].split(",")
    value = head.index("value")
    cells[value] = f"{float(cells[value]) + 0.01:.2f}"
    altered.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    code, result = check(server, altered, journal)
    assert code == 1 and any(word.startswith("cash") for word in result["disagreements"])
    fewer = [line for line in journal.read_text().splitlines() if '"no": 1,' not in line]
    journal.write_text("\n".join(fewer) + "\n")
    code, result = check(server, folder / "trades.csv", journal)
    assert code == 1 and any(word.startswith("order") for word in result["disagreements"])


def test_every_order_is_journalled_before_it_is_sent(tmp_path: Path, server: dict[str, str]) -> None:
    folder = run_engine(tmp_path, server, "sim", 10)
    first: dict[int, str] = {}
    for record in dump_journal(folder, tmp_path / "j"):
        number = record.get("data", {}).get("no")
        proof = "proof" in record.get("data", {})  # of the address: a cancel of an order that cannot be
        if number is not None and record["kind"] != "WAITING" and not proof:  # not sent yet
            first.setdefault(number, record["kind"])
    assert len(first) > 10 and set(first.values()) == {"INTENT"}


def test_paper_orders_never_reach_the_broker(tmp_path: Path, server: dict[str, str]) -> None:
    folder = run_engine(tmp_path, server, "paper", 12)
    report = json.loads((folder / "report.json").read_text())
    assert report["mode"] == "paper" and report["orders"]["filled"] > 5
    assert report["ticks"]["lost"] == 0 and report["latency_us"]["order_ack"]["p50"] > 25_000
    with urllib.request.urlopen(server["api"] + "/_sim/stats", timeout=5) as answer:
        stats = json.load(answer)
    assert stats["exchange"]["orders"] == 0 and stats["ticks"] > 1000


def test_orders_of_the_account_are_none_of_paper_tradings(tmp_path: Path, server: dict[str, str]) -> None:
    """The socket of prices tells of all orders of its user: what he sells by hand meanwhile, too."""
    done, sold = threading.Event(), list[int]()

    def sell() -> None:
        keys = [row.key.split(":") for row in default_instruments(20, 7)[0].rows if row.kind == "EQ"]
        header = {"Authorization": f"token {server['api_key']}:{server['access_token']}"}
        while not done.wait(0.8):
            exchange, symbol = keys[len(sold) % len(keys)]
            terms = {"exchange": exchange, "tradingsymbol": symbol, "transaction_type": "SELL", "quantity": 1}
            terms |= {"product": "MIS", "order_type": "MARKET", "validity": "DAY", "market_protection": -1}
            body = urllib.parse.urlencode(terms).encode()
            call = urllib.request.Request(server["api"] + "/orders/regular", body, header)
            with (
                contextlib.suppress(urllib.error.HTTPError),
                urllib.request.urlopen(call, timeout=5) as answer,
            ):
                sold.append(answer.status)

    by_hand = threading.Thread(target=sell)
    by_hand.start()
    try:
        folder = run_engine(tmp_path, server, "paper", 12)
    finally:
        done.set()
        by_hand.join()
    report = json.loads((folder / "report.json").read_text())
    told = folder / "alerts.jsonl"  # there is none where nobody had to be told anything
    codes = {json.loads(line)["code"] for line in told.read_text().splitlines()} if told.exists() else set()
    assert len(sold) >= 8 and report["orders"]["filled"] > 0
    assert not codes & {"EXTERNAL_ORDER", "BROKER_ACTED", "POSITION_MISMATCH", "UPDATE_UNREADABLE"}, codes
