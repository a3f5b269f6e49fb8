"""The command: what it gets, how it fails, and that its children die with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from held_tools import held_process

from kite_hft.clock import ManualClock
from kite_hft.engine.alerts.sinks.hook import HOOK_LOG, HOOKS_AT_ONCE, HookSink, Running
from kite_hft.engine.alerts.sinks.sink import WAITING_MAX, Outcome

S = 1_000_000_000
ROW = {"number": 1, "event": "raised", "code": "FEED_DEAD", "severity": "CRITICAL", "key": "", "text": "t"}


class Bench:
    """A sink on a manual clock, and its outcomes."""

    def __init__(self, folder: Path, *command: str, timeout_s: float = 5.0) -> None:
        self.clock = ManualClock(mono=S)
        self.sink = HookSink(command, timeout_s, folder, self.clock)
        self.found: list[Outcome] = []

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not what():
            assert time.monotonic() < deadline, self.found
            self.found += self.sink.poll()
            time.sleep(0.01)


def test_each_row_is_one_call_with_the_row_on_its_input(tmp_path: Path) -> None:
    got = tmp_path / "got"
    bench = Bench(tmp_path, "/bin/sh", "-c", f"cat >> {got}")
    bench.sink.put(ROW)
    bench.sink.put({**ROW, "number": 2})
    bench.until(lambda: len(bench.found) == 2)
    assert sorted(json.loads(line)["number"] for line in got.read_text().splitlines()) == [1, 2]
    assert bench.sink.tally.delivered == 2 and not bench.sink.busy()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("/bin/sh", "-c", "echo broken >&2; exit 3"), "exit code 3"),
        (("/no/such/command",), "/no/such/command for FEED_DEAD: cannot be started, exit code 127"),
        (("/etc/passwd",), "cannot be started, exit code 126"),
    ],
)
def test_a_command_that_fails_says_how(tmp_path: Path, command: tuple[str, ...], words: str) -> None:
    bench = Bench(tmp_path, *command)
    bench.sink.put(ROW)
    bench.until(lambda: bool(bench.found))
    assert words in bench.found[0].failure and bench.sink.tally.failed == 1
    if words == "exit code 3":
        assert (tmp_path / HOOK_LOG).read_text() == "broken\n"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    bench = Bench(tmp_path, "/bin/sh", "-c", f"sleep 300 & echo $! > {pid}; wait")
    bench.sink.put(ROW)
    bench.until(lambda: pid.exists() and pid.read_text().strip() != "")
    assert not bench.found
    bench.clock.advance(5 * S)
    bench.until(lambda: bool(bench.found))
    assert "no end within 5 s, killed" in bench.found[0].failure
    sleeper = Path(f"/proc/{pid.read_text().strip()}/stat")
    bench.until(lambda: not sleeper.exists() or b") Z" in sleeper.read_bytes())


def test_a_command_that_no_kill_ends_is_left_and_waited_for_by_nobody(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "/bin/true")
    with held_process() as process:
        bench.sink._running.append(Running(process, ROW, bench.clock.mono_ns()))
        bench.clock.advance(5 * S)
        begun_s = time.monotonic()
        bench.until(lambda: bool(bench.found))
        assert time.monotonic() - begun_s < 2 and "killed" in bench.found[0].failure
        assert not bench.sink.busy() and bench.sink._killed == [process]
    bench.until(lambda: bench.sink._killed == [])


def test_a_critical_row_is_next_after_those_that_run(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    bench = Bench(tmp_path, "/bin/sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    for number in range(2 * HOOKS_AT_ONCE):
        bench.sink.put({**ROW, "number": number, "severity": "WARNING"})
    bench.sink.put({**ROW, "number": 99})
    running = {run.row["number"] for run in bench.sink._running}
    gate.touch()
    bench.until(lambda: len(bench.found) > 0)
    assert 99 in {run.row["number"] for run in bench.sink._running if run.row["number"] not in running} | {
        outcome.row["number"] for outcome in bench.found
    }
    bench.until(lambda: not bench.sink.busy())


def test_the_commands_of_one_alert_run_one_after_the_other(tmp_path: Path) -> None:
    got, begun = tmp_path / "got", tmp_path / "begun"
    slow = f'line=$(cat); case $line in *raised*7*) touch {begun}; sleep 0.3;; esac; echo "$line" >> {got}'
    bench = Bench(tmp_path, "/bin/sh", "-c", slow)
    bench.sink.put({"event": "raised", "number": 7, "severity": "WARNING", "code": "FEED_DEAD"})
    bench.until(begun.exists)
    bench.sink.put({"event": "cleared", "number": 7, "severity": "WARNING", "code": "FEED_DEAD"})
    bench.sink.put({"event": "raised", "number": 8, "severity": "WARNING", "code": "FEED_DEAD"})
    assert [run.row["number"] for run in bench.sink._running] == [7, 8], "another alert waits for neither"
    bench.until(lambda: len(bench.found) == 3)
    told = [json.loads(line) for line in got.read_text().splitlines()]
    assert [row["event"] for row in told if row["number"] == 7] == ["raised", "cleared"]


def test_a_flood_is_bounded(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    bench = Bench(tmp_path, "/bin/sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.05; done")
    for number in range(300):
        bench.sink.put({**ROW, "number": number})
    assert bench.sink.tally.dropped == 300 - HOOKS_AT_ONCE - WAITING_MAX
    bench.sink.close()
    assert not bench.sink.busy()


def test_a_full_disk_keeps_nobody_from_being_told(tmp_path: Path) -> None:
    (tmp_path / HOOK_LOG).mkdir()  # cannot be opened for writing
    got = tmp_path / "got"
    bench = Bench(tmp_path, "/bin/sh", "-c", f"cat >> {got}")
    bench.sink.put(ROW)
    bench.until(lambda: bool(bench.found))
    assert bench.found[0].failure == "" and got.exists()
