"""Mode live against a simulator on this machine: it trades when the account is confirmed, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_tools import DEMO, FILES, own
from sim_tools import Running, simulator

from kite_hft.engine.runs.first_run import DISCLAIMER
from kite_hft.settings import load_yaml

ACCOUNT = own("LIVE")
ONCE = """
from kite_hft.strategies.base import BaseStrategy


class Once(BaseStrategy):
    placed = False

    def on_tick(self, tick):
        if not self.placed:
            self.placed = True
            self.place_order("BUY", tick["instrument_token"], 1, "LIMIT", "CNC", tick["last_price"])
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[Running]:
    with simulator("--broker", "kite", "--instruments", "3", "--rate", "10") as words:
        yield words


def config_of(folder: Path, words: Running, **changes: Any) -> Path:
    """The demo's configuration, live, on the given server; one strategy that buys one share once."""
    (folder / "once.py").write_text(ONCE)
    made = load_yaml(DEMO)
    files = {key: str(Path("config").resolve() / name) for key, name in FILES.items()}
    made |= {
        "mode": "live",
        "account": ACCOUNT,
        "kite": {"ws_url": words.ws, "api_url": words.api,
                 "api_key": words.api_key, "access_token": words.access_token},
        "datafeed": {"instruments": ["NSE:RELIANCE"]},
        "strategies": [{"name": f"{folder / 'once.py'}:Once", "form": "A"}],
        "risk": {"max_daily_loss": 5000, "allow": ["NSE:RELIANCE"]},
        "trading": {**files, "market_start": "00:00:01", "market_end": "23:59:59"},
        "alerts": {"waive_sinks": "I have no alert sink", "naked_limit": 1e8},
    } | changes  # fmt: skip
    path = folder / "live.yaml"
    path.write_text(json.dumps(made))
    return path


def run(
    folder: Path,
    config: Path,
    *words: str,
    typed: str | None = None,
    closed: bool = False,
    seconds: float = 6,
) -> tuple[int, str]:
    """The exit code of a live engine and what it said. typed: None: an empty standard input."""
    command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--duration", "4"]
    command += ["--config", str(config), "--report", str(folder / "report.json"), *words]
    if closed:
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    done = subprocess.run(
        command, env={**os.environ, "XDG_STATE_HOME": str(folder / "state")}, input=typed or "",
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def orders_at(words: Running) -> list[dict[str, Any]]:
    """The order book of the account, as the broker has it."""
    request = urllib.request.Request(
        f"{words.api}/orders", headers={"Authorization": f"token {words.api_key}:{words.access_token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]
    return found


@pytest.mark.parametrize(
    ("words", "typed", "closed", "why"),
    [
        ((), "SOMEBODY\n", False, "'SOMEBODY' is not the account"),
        ((), f"{ACCOUNT} yes\n", False, f"'{ACCOUNT} yes' is not the account"),
        ((), None, False, "nobody typed the account"),
        ((), None, True, "nobody typed the account"),
        (("--live", "SOMEBODY"), f"{ACCOUNT}\n", False, "--live names 'SOMEBODY'"),
    ],
    ids=["wrong", "more", "nothing", "closed", "option"],
)
def test_without_the_account_nothing_trades(
    tmp_path: Path, broker: Running, words: tuple[str, ...], typed: str | None, closed: bool, why: str
) -> None:
    code, said = run(tmp_path, config_of(tmp_path, broker), *words, typed=typed, closed=closed)
    assert code == 1 and f"not confirmed: {why}" in said.replace("\n", " "), said
    assert "connected to" not in said and not list(tmp_path.rglob("journal.bin"))
    assert orders_at(broker) == []


@pytest.mark.usefixtures("open_for_entries")
@pytest.mark.parametrize("typed", [f"{ACCOUNT}\n", None], ids=["typed", "option"])
def test_with_it_the_order_reaches_the_broker(tmp_path: Path, broker: Running, typed: str | None) -> None:
    before = len(orders_at(broker))
    words = () if typed else ("--live", ACCOUNT)
    code, said = run(tmp_path, config_of(tmp_path, broker), *words, typed=typed)
    assert code == 0, said
    told_once, _, first = said.partition("\n\n")
    assert told_once == DISCLAIMER.rstrip("\n") and first.startswith("REHEARSAL OF MODE LIVE"), said
    shown = said[: said.index("confirmed ")]
    for word in (
        ACCOUNT,
        "broker       kite",
        "NSE:RELIANCE",
        "5,000.00 rupees",
        "20 of them",
        "380 in 60 s",
    ):
        assert word in shown, word
    rows = orders_at(broker)
    assert len(rows) == before + 1 and rows[-1]["tradingsymbol"] == "RELIANCE"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["mode"] == "live" and report["orders"]["sent"] >= 1


def test_an_address_that_is_neither_the_brokers_nor_ours_is_refused_before_it_is_called(
    tmp_path: Path, broker: Running
) -> None:
    kite = {"api_key": "key", "access_token": "token-of-a-person", "ws_url": broker.ws}
    for url in ("https://api.kite.trade", "https://api.kite.trade.example.org"):
        path = config_of(tmp_path, broker, kite={**kite, "api_url": url})
        code, said = run(tmp_path, path, "--live", ACCOUNT)
        assert code == 2 and "a broker's own hosts only" in said and broker.ws in said, said
        assert "token-of-a-person" not in said
