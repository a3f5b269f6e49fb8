"""The watchdog as a process: it is told, it tells, it dies and comes back, and speaks when it is alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from held_tools import held_process

from kite_hft.engine.alerts.files import FILE_NAME, read_alerts
from kite_hft.engine.orders.books import shelf
from kite_hft.engine.watchdog import watching
from kite_hft.engine.watchdog.handover import say_watched
from kite_hft.engine.watchdog.process import LOOK_S
from kite_hft.engine.watchdog.watching import RESTARTS_MAX, SILENT_S, Watching
from kite_hft.settings import AlertSection
from kite_hft.verify.alerts.receivers import HOOK_PATH, receivers

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
        self.ahead_ns = 0  # of the clock
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
            alerts, wanted = self.watching.listen(time.monotonic_ns() + self.ahead_ns)
            self.told += alerts
            self.wanted += wanted
            time.sleep(0.02)

    def hold_orders(self) -> None:
        """An order book without orders."""
        self.put("orders", b'{"data": []}', time.monotonic_ns())

    def leave(self) -> subprocess.Popen[bytes]:
        """Go without a word; the watchdog that is left, once it has told."""
        self.watching.end(orderly=False)
        deadline = time.monotonic() + 30
        while not read_alerts(self.folder):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert self.watching.left is not None
        return self.watching.left

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


def test_one_that_no_kill_ends_does_not_keep_the_run_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "END_S", 0.2)
    bench = Bench(tmp_path)
    with held_process() as process:
        bench.watching._process = process
        begun_s = time.monotonic()
        bench.watching.end(orderly=True)
        assert time.monotonic() - begun_s < 2
    assert bench.said == ["the watchdog does not end although it is killed"]


def test_one_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.watching.start(time.monotonic_ns())
    bench.until(lambda: bench.watching.ready)
    pid = bench.watching.pid
    os.kill(pid, signal.SIGSTOP)
    bench.until(lambda: bench.watching._heard() == [])  # what it had said before
    # We ourselves stood still for as long: nobody can know whether it said something.
    bench.ahead_ns += round(SILENT_S * S)
    bench.until(lambda: True)
    bench.watching.listen(time.monotonic_ns() + bench.ahead_ns)
    assert bench.watching.pid == pid
    for _ in range(3):
        bench.ahead_ns += round(0.45 * SILENT_S * S)
        bench.watching.listen(time.monotonic_ns() + bench.ahead_ns)
    assert bench.watching.pid != pid and bench.watching.restarts == 1
    assert bench.said == ["watchdog gave no sign of life and was killed; it is started again"]
    bench.until(lambda: bench.watching.ready)
    assert not Path(f"/proc/{pid}").exists()
    bench.watching.end(orderly=True)


def test_it_says_when_it_has_the_account_in_sight(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.watching.start(time.monotonic_ns())
    bench.until(lambda: bench.watching.ready)
    assert not bench.watching.sees
    bench.hold(0)
    bench.hold_orders()
    bench.until(lambda: bench.watching.sees)
    bench.watching.end(orderly=True)


def test_one_that_is_left_goes_when_the_watchdog_of_a_new_run_sees_the_account(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    lock = tmp_path / "lock"
    bench.config["linger"] = True
    lock.write_text(f"process {os.getpid()}")
    fd = os.open(lock, os.O_RDWR)
    say_watched(fd, tmp_path)  # by the run that is lost
    bench.watching.start(time.monotonic_ns())
    bench.hold(10)
    bench.until(lambda: bench.watching.held == 1)
    left = bench.leave()
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"process 1", 0)  # a start that is refused
    with pytest.raises(subprocess.TimeoutExpired):
        left.wait(4 * LOOK_S)
    lock.unlink()
    with pytest.raises(subprocess.TimeoutExpired):
        left.wait(4 * LOOK_S)
    lock.write_text("process 2")
    with lock.open("r+") as file:
        say_watched(file.fileno(), tmp_path / "new run")
    assert lock.read_text().splitlines()[0] == "process 2" and left.wait(30) == 0
    os.close(fd)


def test_alone_it_speaks_though_the_file_of_alerts_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    bench = Bench(tmp_path, hook=["/bin/sh", "-c", f"cat >> {tmp_path}/got"])
    bench.watching.start(time.monotonic_ns())
    bench.hold(10)
    bench.until(lambda: bench.watching.held == 1)
    bench.watching.end(orderly=False)
    assert bench.watching.left is not None and bench.watching.left.wait(30) == 0
    assert json.loads((tmp_path / "got").read_text())["code"] == "ENGINE_GONE"


def test_an_end_that_comes_with_the_configuration_is_an_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (control, told), (heard, answers) = os.pipe(), os.pipe()
    os.write(told, json.dumps(bench.config | {"private": False}).encode() + b'\n{"do": "end"}\n')
    os.close(told)
    command = [sys.executable, "-m", "kite_hft.engine.watchdog.process", str(control), str(answers)]
    done = subprocess.run(command, pass_fds=[control, answers], timeout=60, check=False)
    for fd in (control, heard, answers):
        os.close(fd)
    assert done.returncode == 0 and read_alerts(tmp_path) == []


ALONE = """
import json, os, sys
from kite_hft.engine.watchdog.process import Link, Watchdog
dog = Watchdog(json.loads(sys.argv[1]), Link(*os.pipe()))
before = set(sys.modules)
dog._alone()
print(json.dumps([sorted(set(sys.modules) - before), sorted({"numpy", "pydantic"} & set(sys.modules))]))
"""


def test_what_it_needs_when_the_engine_is_gone_is_there_from_the_start(tmp_path: Path) -> None:
    with receivers(tmp_path) as received:
        url = received.url.replace("127.0.0.1", "localhost")
        bench = Bench(tmp_path, hook=["/bin/true"], webhook=url + HOOK_PATH)
        command = [sys.executable, "-c", ALONE, json.dumps(bench.config)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        assert [row.fields["code"] for row in received.of("webhook")] == ["ENGINE_GONE"]
    assert json.loads(done.stdout) == [[], []]
