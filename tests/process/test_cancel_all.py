"""`kite-hft cancel-all` on running engines of both brokers: their entries go, by the simulator's own books,
and trading goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from engine_tools import kite_hft, own
from sim_tools import Running, simulator

from kite_hft.verify.brokers.running import addressed, facts_of

PROBE = "kite_hft.verify.engine.supervise_probe:Probe"
SIM = ("--rate", "5", "--seed", "7", "--exchange-time", "2026-11-20T10:00:00", "--latency-us", "2000")
DONE = ("CANCELLED", "COMPLETE", "REJECTED", "cancelled", "complete", "rejected")


def configured(folder: Path, broker: str, account: str, running: Running) -> Path:
    told = {key: getattr(running, key) for key in ("ws", "api", "api_key", "access_token")}
    made = {
        "mode": "sim",
        "account": account,
        **addressed(broker, told),
        "strategies": [{"name": PROBE, "form": "A", "params": {"every": 20, "most": 6}}],
        "alerts": {"reject_storm": 1000, "naked_limit": 100000000},
        "trading": {"date": "2026-11-20", "watchdog": False, **facts_of(broker)},
    }
    path = folder / "engine.json"
    path.write_text(json.dumps(made))
    return path


def rows(running: Running) -> list[dict[str, Any]]:
    """Orders of the account, in the simulator's books."""
    found: list[dict[str, Any]] = json.loads(running.get("/_sim/account"))["orders"]
    return found


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_entries_go_and_trading_goes_on(broker: str, tmp_path: Path) -> None:
    account, env = own("CALL"), {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with simulator("--broker", broker, "--instruments", "6", *SIM) as running:
        words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config"]
        path = configured(tmp_path, broker, account, running)
        with (tmp_path / "out").open("w") as out:
            process = subprocess.Popen([*words, str(path)], stdout=out, stderr=out, env=env)

        def ask(*words: str, code: int = 0) -> dict[str, Any]:
            done = kite_hft(env, *words, "--json", "--account", account)
            assert done.returncode == code and "Traceback" not in done.stderr, (done.stdout, done.stderr)
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        def until_working(least: int) -> None:
            deadline = time.monotonic() + 60
            while sum(row["status"] not in DONE for row in rows(running)) < least:
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "out").read_text()
                time.sleep(0.1)

        try:
            until_working(3)
            before = {row["order_id"] for row in rows(running) if row["status"] not in DONE}
            told = ask("cancel-all", "too many of them")
            assert len(told["orders"]) >= 3 and told["left"] == [] and told["reason"] == "too many of them"
            living = {row["order_id"] for row in rows(running) if row["status"] not in DONE}
            assert not before & living, "what there was is gone"
            until_working(2)  # the strategy places anew
            assert ask("status")["state"]["state"] == "ACTIVE"
            ask("halt", "enough")
            assert ask("cancel-all", "and stay away")["left"] == []
            time.sleep(1)
            assert not [row for row in rows(running) if row["status"] not in DONE]
            assert ask("cancel-all", "once more")["orders"] == []
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    assert code == 0, (tmp_path / "out").read_text()
    assert "no engine is running" in ask("cancel-all", "x", code=1)["error"]
