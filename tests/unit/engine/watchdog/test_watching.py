"""The watchdog as a process: it is told, it tells, it dies and comes back, and speaks when it is alone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.alerts.files import read_alerts
from kite_hft.engine.orders.books import shelf
from kite_hft.engine.watchdog.watching import RESTARTS_MAX, Watching
from kite_hft.settings import AlertSection

S = 1_000_000_000


class Bench:
    """A watchdog on a folder of books."""

    def __init__(self, folder: Path, **alerts: Any) -> None:
        self.folder, self.said = folder, list[str]()
        self.put = shelf(folder, time.time_ns)
        self.config = {
            "pid": os.getpid(), "shm": str(folder), "folder": str(folder), "lock": str(folder / "lock"),
            "offset_ns": 0, "linger": False, "remind_s": 300.0, "about": {"account": "X"},
            "alerts": AlertSection(**alerts).model_dump(mode="json"), "limits": {"grace_ns": 0},
            "facts": {"phases": [], "cas": [], "others": [], "square_offs": [], "closing_ns": 0,
                      "settling": []},
        }  # fmt: skip
        self.watching = Watching(self.config, self.said.append)
        self.told: list[dict[str, Any]] = []
        self.wanted = 0

    def hold(self, quantity: int) -> None:
        row = {
            "exchange": "NSE",
            "tradingsymbol": "X",
            "product": "MIS",
            "quantity": quantity,
            "last_price": 10,
        }
        self.put("positions", json.dumps({"data": {"net": [row], "day": []}}).encode(), time.monotonic_ns())

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not what():
            assert time.monotonic() < deadline, (self.told, self.said)
            alerts, wanted = self.watching.listen(time.monotonic_ns())
            self.told += alerts
            self.wanted += wanted
            time.sleep(0.02)

    def codes(self) -> list[str]:
        return [row["code"] for row in self.told]


def test_it_tells_what_is_naked_and_goes_when_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.watching.start(time.monotonic_ns())
    bench.hold(10)
    bench.until(lambda: "NAKED_POSITION" in bench.codes())
    assert bench.told[0]["key"] == "NSE:X MIS" and bench.told[0]["size"] == 10_000
    bench.until(lambda: bench.watching.naked_paise == 10_000 and bench.watching.ready)
    assert bench.watching.held == 1 and bench.watching.row()["state"] == "running"
    pid = bench.watching.pid
    assert b"Python" not in Path(f"/proc/{pid}/comm").read_bytes()
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "numpy" not in maps and "pydantic" not in maps
    bench.watching.end(orderly=True)
    assert not Path(f"/proc/{pid}").exists() and bench.watching.pid == 0
    assert read_alerts(tmp_path) == []


def test_alone_it_says_what_is_open_by_its_own_sinks(tmp_path: Path) -> None:
    bench = Bench(tmp_path, hook=["/bin/sh", "-c", f"cat >> {tmp_path}/got"])
    bench.watching.start(time.monotonic_ns())
    bench.until(lambda: bench.watching.ready)
    bench.hold(10)
    bench.watching.end(orderly=False)
    deadline = time.monotonic() + 30
    while not (tmp_path / "got").exists() or not (tmp_path / "got").read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert bench.watching.left is not None and bench.watching.left.wait(30) == 0
    row = json.loads((tmp_path / "got").read_text())
    assert (row["code"], row["severity"], row["account"]) == ("ENGINE_GONE", "CRITICAL", "X")
    assert "NSE:X MIS +10: 10 without protection (Rs 100.00)" in row["text"]
    assert [(r["code"], r["state"]) for r in read_alerts(tmp_path)] == [("ENGINE_GONE", "standing")]


def test_one_that_dies_is_started_again_but_not_endlessly(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.watching.start(time.monotonic_ns())
    for restarts in range(1, RESTARTS_MAX + 2):
        bench.until(lambda: bench.watching.ready)
        os.kill(bench.watching.pid, signal.SIGKILL)
        bench.until(lambda: bench.watching.restarts == restarts or bool(bench.watching.down))  # noqa: B023
    assert bench.codes() == ["WATCHDOG_GONE"] and bench.watching.restarts == RESTARTS_MAX
    assert "ended (exit code -9) more than 3 times in 10 min" in bench.told[0]["text"]
    assert len(bench.said) == RESTARTS_MAX
    bench.watching.end(orderly=True)


def test_a_machine_that_gives_no_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setattr("kite_hft.engine.watchdog.watching.sys.executable", str(tmp_path / "no-python"))
    bench.watching.start(time.monotonic_ns())
    bench.until(lambda: bench.codes() == ["WATCHDOG_GONE"])
    assert "cannot be started: No such file" in bench.told[0]["text"]
    bench.watching.end(orderly=True)
