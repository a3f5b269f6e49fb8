"""Processes that die or hang while the engine trades: started again, nothing lost, nothing left over."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine_tools import own
from process.test_engine import ENGINE, demo, latest, segments_of

from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.engine.runs.runs import running

WITH_SPARES = True

STARTED: list[subprocess.Popen[str]] = []


class Engine:
    """A running engine and its control socket."""

    def __init__(self, config: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*ENGINE, "--config", str(config)], env=env, stdout=subprocess.PIPE, text=True
        )
        STARTED.append(self.process)
        self.control = Path()
        self.until(self._announced)
        self.until(self.settled)

    def _announced(self) -> bool:
        for note in running():
            if note.pid == self.process.pid:
                self.control = Path(note.control)
        return self.control != Path()

    def until(self, what: Callable[[], bool]) -> None:
        for _ in range(3000):
            assert self.process.poll() is None, self.process.communicate()[0]
            if what():
                return
            time.sleep(0.02)
        raise AssertionError(f"waited in vain: {self.status()}")

    def status(self) -> dict[str, Any]:
        try:
            return ask(self.control, {"do": "status"})
        except ControlError:
            return {}

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["process"]: row for row in self.status().get("processes", [])}

    def settled(self) -> bool:
        rows = self.rows()
        spares = [row for name, row in rows.items() if name.startswith("spare")]
        return bool(spares) and all(row["state"] in ("running", "ready") for row in rows.values())

    def strike(self, name: str, number: signal.Signals) -> None:
        """And wait until it is back."""
        before = self.rows()[name]
        os.kill(before["pid"], number)
        self.until(lambda: self.rows().get(name, before)["restarts"] > before["restarts"])
        self.until(self.settled)

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=60)[0]


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    yield {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    while STARTED:  # nothing goes on after a test that failed; children die with their supervisor
        process = STARTED.pop()
        process.kill()
        process.wait()


def configured(tmp_path: Path, account: str, supervision: str) -> Path:
    config = demo(tmp_path, account)
    text = config.read_text().replace("performance:\n", "performance:\n  packing: separate\n")
    config.write_text(f"{text}\nsupervision: {supervision}\n")
    return config


def test_whoever_dies_or_hangs_is_started_again(tmp_path: Path, env: dict[str, str]) -> None:
    engine = Engine(configured(tmp_path, own("AGAIN"), "{hung_s: 1.5}"), env)
    struck = [("feed-0", signal.SIGKILL), ("compute-0", signal.SIGKILL), ("orders", signal.SIGKILL),
              ("compute-0", signal.SIGSTOP), ("feed-0", signal.SIGSTOP)]  # fmt: skip
    for name, number in struck:
        engine.strike(name, number)
    said = engine.end()
    assert engine.process.returncode == 0, said
    folder = latest(env, own("AGAIN"))
    report = json.loads((folder / "report.json").read_text())
    found = [(row["process"], row["why"], row["signal"]) for row in report["restarts"]]
    assert found == [(n, "hung" if s == signal.SIGSTOP else "died", signal.SIGKILL) for n, s in struck]
    assert all(row["took_s"] is not None for row in report["restarts"])
    ticks = report["ticks"]
    assert ticks["received"] == ticks["published"] == ticks["computed"] + ticks["lost"] > 100
    assert len(set(ticks["checksum"].values())) == 1 or ticks["lost"]
    assert "not exactly" not in said and said.count("started again where it stopped") == 2
    codes = [json.loads(line)["code"] for line in (folder / "alerts.jsonl").read_text().splitlines()]
    assert codes.count("PROCESS_RESTARTED") == 3 and codes.count("PROCESS_HUNG") == 2
    assert not segments_of(folder)


@pytest.mark.parametrize("first", [True, False], ids=["supervisor first", "supervisor last"])
def test_nobody_is_blamed_when_the_whole_machine_stood_still(
    tmp_path: Path, env: dict[str, str], first: bool
) -> None:
    """Whoever wakes first: the others have given no sign of life for just as long."""
    account = own("STILL" + "AB"[first])
    engine = Engine(configured(tmp_path, account, "{hung_s: 1.5}"), env)
    before = {name: row["pid"] for name, row in engine.rows().items()}
    supervisor = psutil.Process(engine.process.pid)
    pids = [supervisor.pid, *(child.pid for child in supervisor.children(recursive=True))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    for pid in pids if first else reversed(pids):
        os.kill(pid, signal.SIGCONT)
    time.sleep(2)
    engine.until(engine.settled)
    assert {name: row["pid"] for name, row in engine.rows().items()} == before
    engine.strike("orders", signal.SIGSTOP)
    said = engine.end()
    assert engine.process.returncode == 0, said
    report = json.loads((latest(env, account) / "report.json").read_text())
    assert [(row["process"], row["why"]) for row in report["restarts"]] == [("orders", "hung")]


def test_restarts_leave_nothing_behind(tmp_path: Path, env: dict[str, str]) -> None:
    """Two dozen deaths: descriptors, files and memory of the supervisor stay where they were."""
    engine = Engine(configured(tmp_path, own("LEAKS"), "{restarts_max: 1000}"), env)
    supervisor = psutil.Process(engine.process.pid)
    sizes = []
    for number in range(24):
        engine.strike(("feed-0", "compute-0")[number % 2], signal.SIGKILL)
        if number % 4 == 3:
            files = len(list(engine.control.parent.iterdir()))
            sizes.append((supervisor.num_fds(), files, supervisor.memory_info().rss))
            zombies = [c for c in supervisor.children() if c.status() == psutil.STATUS_ZOMBIE]
            assert not zombies
    fds, files, rss = zip(*sizes, strict=True)
    assert max(fds) - min(fds) <= 2, sizes
    assert max(rss) - rss[0] < 4 << 20, sizes
    # Old generations go after a while: no more of them stand than so many deaths make in that time.
    assert max(files) < 100, sizes
    said = engine.end()
    assert engine.process.returncode == 0, said


def test_what_is_started_again_goes_by_the_rules_of_the_morning(tmp_path: Path, env: dict[str, str]) -> None:
    """Somebody has begun to write tomorrow's into the same files."""
    config = configured(tmp_path, own("EDITS"), "{restarts_max: 9}")
    text, files = config.read_text(), list[Path]()
    for name in ("rules", "market", "charges", "calendar"):
        there = re.search(rf"^  {name}: (.+)$", text, re.MULTILINE)
        assert there is not None, text
        files.append(tmp_path / Path(there[1]).name)
        files[-1].write_text(Path(there[1]).read_text())
        text = text.replace(there[1], str(files[-1]))
    config.write_text(text)
    engine = Engine(config, env)
    for path in files:
        path.write_text("half a word: [")
    for name in ("orders", "compute-0", "feed-0"):
        engine.strike(name, signal.SIGKILL)
    said = engine.end()
    assert engine.process.returncode == 0, said


def test_a_crash_loop_halts(tmp_path: Path, env: dict[str, str]) -> None:
    engine = Engine(configured(tmp_path, own("LOOPS"), "{restarts_max: 2}"), env)
    for _ in range(2):
        engine.strike("feed-0", signal.SIGKILL)
    os.kill(engine.rows()["feed-0"]["pid"], signal.SIGKILL)
    engine.until(lambda: engine.rows().get("feed-0", {}).get("state") == "ended")
    engine.until(lambda: any(a["code"] == "CRASH_LOOP" for a in engine.status().get("alerts", [])))
    said = engine.end()
    assert engine.process.returncode == 0 and "it is not started again" in said, said
    report = json.loads((latest(env, own("LOOPS")) / "report.json").read_text())
    assert "feed-0 died more than 2 times" in report["orders"]["halted"]


def test_without_its_order_process_the_run_ends(tmp_path: Path, env: dict[str, str]) -> None:
    engine = Engine(configured(tmp_path, "ORDERLESS", "{restarts_max: 1}"), env)
    engine.strike("orders", signal.SIGKILL)
    os.kill(engine.rows()["orders"]["pid"], signal.SIGKILL)
    said = engine.process.communicate(timeout=60)[0]
    assert engine.process.returncode == 4 and "without its order process the run ends" in said
    assert not segments_of(latest(env, "ORDERLESS"))


def test_the_control_socket_stops_halts_and_refuses(tmp_path: Path, env: dict[str, str]) -> None:
    engine = Engine(configured(tmp_path, own("STEERED"), "{}"), env)
    for request, words in (
        ({"do": "dance"}, "unknown request"),
        ({"do": "stop", "policy": "panic"}, "choose one of keep, cancel, flatten"),
        ({"do": "subscribe", "tokens": [1]}, "no instruments of this run"),
        ({"do": "subscribe", "tokens": [1], "mode": "loud"}, "its modes are ltp, quote, full"),
        ({"do": "subscribe"}, "bad request"),
        ({"do": "token", "access_token": "a b"}, "no access token"),
    ):
        with pytest.raises(ControlError, match=words):
            ask(engine.control, request)
    assert ask(engine.control, {"do": "halt", "reason": "by test"})["ok"]
    assert ask(engine.control, {"do": "stop", "policy": "keep"})["ok"]
    said = engine.process.communicate(timeout=60)[0]
    assert engine.process.returncode == 0 and "asked by the command line (keep)" in said
    assert not engine.control.exists()
    report = json.loads((latest(env, own("STEERED")) / "report.json").read_text())
    assert "by test" in report["orders"]["halted"]
