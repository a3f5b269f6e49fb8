"""kill -9 of the order process, then of the whole engine, with orders in flight: every account agrees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_tools import own

from kite_hft.memory.journal import Kind, scan

CASH = 4_000_000


@pytest.fixture
def server() -> Iterator[dict[str, str]]:
    """A simulator of its own, as its ready line tells it."""
    command = [sys.executable, "-m", "kite_hft.sim", "--port", "0", "--instruments", "20", "--rate", "10"]
    command += ["--seed", "11", "--cash", str(CASH), "--packets-per-frame", "20", "--die-with-parent"]
    command += ["--exchange-time", "2026-11-20T10:00:00", "--start-when-subscribed"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    yield dict(word.split("=", 1) for word in process.stdout.readline().split()[1:])
    process.terminate()
    process.communicate(timeout=20)


def engine(tmp_path: Path, server: dict[str, str], seconds: int) -> subprocess.Popen[bytes]:
    """The engine on that server; the same command gives the same configuration."""
    config = tmp_path / "config.yaml"
    rules = Path("config").resolve()
    settings = {
        "mode": "sim",
        "account": own("KILLED"),
        "kite": {
            "ws_url": server["ws"], "api_url": server["api"],
            "api_key": server["api_key"], "access_token": server["access_token"],
        },
        "strategies": [
            {"name": "kalman_simple", "params": {"threshold": 0.0003, "warmup": 20, "quantity": 50}}
        ],
        "risk": {"max_order_value": 400000, "max_position_size": 400000, "max_positions": 12},
        "trading": {
            "date": "2026-11-20",
            "calendar": str(rules / "calendar/india.yaml"),
            "rules": str(rules / "rules/kite_2026-04-01.yaml"),
            "charges": str(rules / "rules/charges_zerodha_2026-04-01.yaml"),
            "market": str(rules / "rules/market_2026-08-03.yaml"),
            "absence_horizon_s": 5,
        },
        "performance": {"ring_buffer_size": 65536},
    }  # fmt: skip
    config.write_text(json.dumps(settings))
    with (tmp_path / "engine.out").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config),
             "--duration", str(seconds)],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def runs(tmp_path: Path) -> list[Path]:
    """Run folders with a journal, oldest first."""
    found = (tmp_path / f"kite_hft/kite-{own('KILLED')}").glob("*/*/journal.bin")
    return sorted((p.parent for p in found if not p.parent.is_symlink()), key=lambda p: p.name)


def intents(folder: Path) -> int:
    """Orders that a journal knows."""
    records = scan((folder / "journal.bin").read_bytes()).records
    return sum(1 for record in records if record.kind is Kind.INTENT)


def orders_process(supervisor: int) -> int:
    """The child that shows itself as `orders`; 0: none."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == supervisor and (path / "comm").read_text().strip() == "orders":
                    return int(path.name)
            except (OSError, ValueError, IndexError):
                continue
    return 0


@pytest.mark.timeout(180)
def test_killed_orders_and_a_killed_engine_lose_and_double_nothing(
    tmp_path: Path, server: dict[str, str]
) -> None:
    first = engine(tmp_path, server, 120)
    until(lambda: bool(runs(tmp_path)) and intents(runs(tmp_path)[0]) >= 15)
    folder = runs(tmp_path)[0]
    for _ in range(2):
        before = intents(folder)
        pid = orders_process(first.pid)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: orders_process(first.pid) not in (0, pid))
        until(lambda before=before: intents(folder) >= before + 5)
    starts = [
        r.data()["restarted"] for r in scan((folder / "journal.bin").read_bytes()).records
        if r.kind is Kind.START
    ]  # fmt: skip
    assert starts == [False, True, True]
    first.kill()
    first.wait(timeout=20)
    second = engine(tmp_path, server, 8)
    assert second.wait(timeout=90) == 0, (tmp_path / "engine.out").read_text()[-3000:]
    folders = runs(tmp_path)
    start = scan((folders[1] / "journal.bin").read_bytes()).records[0].data()
    assert start["continues"] == [folder.name] and start["orders_replayed"] == intents(folder)
    command = [sys.executable, "-I", "scripts/check_accounts.py", "--api", server["api"]]
    command += ["--api-key", server["api_key"], "--access-token", server["access_token"]]
    command += ["--opening-cash", str(CASH)]
    for path in folders:
        command += ["--run", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["disagreements"] == [], result
    assert result["orders"] >= 30 and result["external_orders"] == 0 and result["runs"] == 2


@pytest.mark.timeout(180)
def test_what_was_opened_today_is_counted_on_by_a_run_that_goes_on_with_nothing(
    tmp_path: Path, server: dict[str, str]
) -> None:
    sums = []
    for number in range(2):
        run = engine(tmp_path, server, 120)
        until(lambda number=number: len(runs(tmp_path)) > number and intents(runs(tmp_path)[number]) >= 5)
        command = [sys.executable, "-m", "kite_hft.app.cli", "stop", "--flatten", "--yes"]
        command += ["--account", own("KILLED")]
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        done = subprocess.run(command, env=env, check=False, timeout=90, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert run.wait(timeout=90) == 0, (tmp_path / "engine.out").read_text()[-3000:]
        records = scan((runs(tmp_path)[number] / "journal.bin").read_bytes()).records
        assert records[-1].data()["positions"] == [] and records[0].data()["continues"] == []
        sums.append((records[0].data().get("day", {}), records[-1].data()["day"]))
    (_, first), (begun, second) = sums
    assert begun == first and first["gross_paise"] > 0 and first["strategies"].keys() == {"kalman_simple"}
    assert second["gross_paise"] > first["gross_paise"] and len(second["runs"]) == 2
    messages = [day["strategies"]["kalman_simple"][0] for day in (first, second)]
    assert messages[1] >= messages[0] + 5
