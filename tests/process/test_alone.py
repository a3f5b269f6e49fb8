"""Supervisor and watchdog are both killed: the orders process cancels, ends, and tells by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from kite_hft.engine.alerts.files import read_alerts
from kite_hft.verify.alerts.bench import bench


def watchdog_of(engine: int) -> psutil.Process:
    """It is started beside the rest: wait until it is there."""
    deadline = time.monotonic() + 20
    while True:
        for process in psutil.Process(engine).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "kite_hft.engine.watchdog.process" in process.cmdline():
                    return process
        assert time.monotonic() < deadline, "there is no watchdog"
        time.sleep(0.05)


@pytest.mark.parametrize("readable", [True, False])
def test_orders_tells_when_nobody_else_is_left(tmp_path: Path, readable: bool) -> None:
    with bench(tmp_path) as on:
        watchdog = watchdog_of(on.engine.pid)
        orders = psutil.Process(on.pid_of("orders"))
        if not readable:  # the disk of the run folder fails
            file = on.run_folder() / "alerts.jsonl"
            file.unlink(missing_ok=True)
            file.mkdir()
        os.kill(watchdog.pid, signal.SIGSTOP)  # so that it has no word before it dies
        on.engine.kill()
        on.engine.wait()
        watchdog.kill()
        until = time.monotonic() + 30
        while time.monotonic() < until and not all(on.of(s, "ENGINE_GONE") for s in ("journald", "hook")):
            time.sleep(0.05)
        folder = on.run_folder()
        psutil.wait_procs([orders], timeout=20)
        assert not orders.is_running()
        for sink in ("journald", "hook"):
            codes = [row.fields["code"] for row in on.of(sink)]
            assert codes.count("SUPERVISOR_GONE") == codes.count("ENGINE_GONE") == 1, sink
        for sink in ("webhook", "telegram"):
            assert not on.of(sink, "SUPERVISOR_GONE"), "it connects to the broker, and to nobody else"
        if not readable:
            return
        own = [row for row in read_alerts(folder) if row.get("teller") == "orders"]
        assert {"SUPERVISOR_GONE", "ENGINE_GONE"} <= {row["code"] for row in own}
        assert "open by the orders process's book" in own[-1]["text"] or "no position" in own[-1]["text"]
