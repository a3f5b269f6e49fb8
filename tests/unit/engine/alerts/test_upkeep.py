"""What is looked after beside the processes: room on the disk, the watchdog's words, the heartbeat."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.files import read_alerts
from kite_hft.engine.alerts.raisers import AGAIN_NS
from kite_hft.engine.alerts.upkeep import DISK_EVERY_NS, Upkeep
from kite_hft.engine.watchdog.handover import watched_by
from kite_hft.settings import Settings
from kite_hft.trading.alerts import Alert, alert

S = 1_000_000_000
GAUGES = {"state_halted": 0, "state_reducing": 0, "state_active": 1}


class Bench:
    """An Upkeep over a disk with `free_mb` and processes that only listen."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **alerts: Any) -> None:
        self.free_mb, self.fails = 10_000.0, False
        self.asked: list[Path] = []
        monkeypatch.setattr(os, "statvfs", self._statvfs)
        self.clock = ManualClock(100 * S, 1_795_000_000 * S)
        self.said: list[str] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        run = SimpleNamespace(
            settings=Settings.model_validate({"alerts": alerts}), clock=self.clock,
            folder=SimpleNamespace(path=folder, name=folder.name), view=SimpleNamespace(say=self.said.append),
        )  # fmt: skip
        family = SimpleNamespace(members={}, tell=lambda name, word: self.told.append((name, word)))
        self.alerting = Alerting(folder, (), self.clock, self.said.append)
        self.folder = folder
        self.upkeep = Upkeep(run, family, self.alerting)  # type: ignore[arg-type]

    def _statvfs(self, path: Path) -> Any:
        self.asked.append(path)
        if self.fails:
            raise OSError(5, "Input/output error")
        return SimpleNamespace(f_bavail=round(self.free_mb * 1e6 / 4096), f_frsize=4096, f_bfree=10**12)

    def look(self, seconds: float = 5.0) -> None:
        self.clock.advance(round(seconds * S))
        self.upkeep.look(self.clock.mono, lambda: GAUGES, (), in_session=True)

    def states(self) -> list[tuple[str, str, str]]:
        return [(row["code"], row["severity"], row["state"]) for row in read_alerts(self.folder)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch, disk_free_mb=1000.0)


def test_a_login_that_is_due_is_told_grows_critical_and_is_over(bench: Bench) -> None:
    due = alert("LOGIN_DUE", "no login", "kite")
    answers = [([due], []), ([replace(due, severity=3)], []), ([], ["kite"])]
    seen: list[int] = []

    def look(session: str, positions: int, now_ns: int) -> tuple[list[Alert], list[str]]:
        seen.append(positions)
        assert session == "the session" and now_ns == bench.clock.real
        return answers.pop(0)

    bench.upkeep.run.session = "the session"  # type: ignore[assignment]
    bench.upkeep.logins = SimpleNamespace(look=look)  # type: ignore[assignment]
    GAUGES["positions"] = 2
    try:
        for _ in range(3):
            bench.look()
    finally:
        del GAUGES["positions"]
    assert seen == [2, 2, 2]
    told = [(row["code"], row["severity"], row["event"]) for row in rows_of(bench)]
    assert told == [("LOGIN_DUE", "WARNING", "raised"), ("LOGIN_DUE", "CRITICAL", "raised"),
                    ("LOGIN_DUE", "CRITICAL", "cleared")]  # fmt: skip


def rows_of(bench: Bench) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (bench.folder / "alerts.jsonl").read_text().splitlines()]


def test_little_room_is_told_grows_worse_and_is_over(bench: Bench) -> None:
    bench.free_mb = 1000.1
    bench.look()
    assert bench.states() == []
    bench.free_mb = 999.0
    bench.look()
    assert bench.states() == [("DISK_LOW", "WARNING", "standing")]
    assert "999 MB are free" in bench.said[-1] and "1,000 are wanted" in bench.said[-1]
    bench.look()
    assert len(bench.said) == 1, "told once"
    bench.free_mb = 99.0
    bench.look()
    assert bench.states()[-1][1] == "CRITICAL" and "99 MB" in bench.said[-1]
    bench.free_mb = 5000.0
    bench.look()
    assert bench.states()[-1][2] == "over" and bench.asked[0] == bench.folder


def test_a_disk_that_cannot_be_asked_is_told(bench: Bench) -> None:
    bench.fails = True
    bench.look()
    assert bench.states() == [("DISK_LOW", "WARNING", "standing")] and "cannot be asked" in bench.said[-1]


def test_the_disk_is_asked_every_five_seconds_and_not_in_each_round(bench: Bench) -> None:
    for _ in range(100):
        bench.look(0.1)
    assert len(bench.asked) == 10 * S // DISK_EVERY_NS


class Dog:
    """A watchdog that says what it is told to."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.wanted, self.naked_paise, self.down, self.pid, self.restarts = False, 0, "", 77, 1
        self.ended: list[bool] = []
        self.ready, self.dies, self.sees = True, False, False

    def listen(self, now_ns: int) -> tuple[list[dict[str, Any]], bool]:
        alerts, self.alerts = self.alerts, []
        self.ready = not self.dies
        if self.dies:
            self.restarts, self.dies = self.restarts + 1, False
        return alerts, self.wanted

    def end(self, *, orderly: bool) -> None:
        self.ended.append(orderly)


def test_the_watchdogs_words_go_to_people_and_to_orders(bench: Bench) -> None:
    dog = bench.upkeep.watching = Dog()  # type: ignore[assignment]
    bench.look()
    assert bench.told == [("orders", {"do": "watchdog", "naked_paise": 0, "read": False})]
    bench.look()
    assert len(bench.told) == 1, "nothing has changed"
    dog.naked_paise, dog.wanted = 500, True
    dog.alerts = [{"code": "NAKED_POSITION", "key": "NSE:X MIS", "text": "10 without protection"}]
    bench.look()
    assert bench.told[-1] == ("orders", {"do": "watchdog", "naked_paise": 500, "read": True})
    assert bench.states() == [("NAKED_POSITION", "CRITICAL", "standing")]
    assert bench.upkeep.pids() == {"watchdog": 77}
    assert bench.upkeep.report() == {"on": True, "restarts": 1, "naked_paise": 500, "heartbeats": {}}


@pytest.mark.parametrize(("mode", "said"), [("live", True), ("paper", False)])
def test_the_lock_says_that_the_account_is_watched_once_it_is_in_sight_of_a_live_run(
    bench: Bench, tmp_path: Path, mode: str, said: bool
) -> None:
    lock = tmp_path / "lock"
    lock.write_text("process 7")
    fd = os.open(lock, os.O_RDWR)
    bench.upkeep.run.settings = bench.upkeep.run.settings.model_copy(update={"mode": mode})
    bench.upkeep.run.folder.lock_fd = fd  # type: ignore[misc]
    dog = bench.upkeep.watching = Dog()  # type: ignore[assignment]
    bench.look()
    assert watched_by(lock) == "", "its watchdog runs, and knows nothing yet"
    dog.sees = True
    bench.look()
    bench.look()
    os.close(fd)
    assert watched_by(lock) == (str(bench.folder) if said else "")
    assert lock.read_text().startswith("process 7") and lock.read_text().count("watched") == said


def test_a_lock_that_cannot_be_written_is_tried_again(bench: Bench, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("process 7")
    unfit, fd = os.open(lock, os.O_RDONLY), os.open(lock, os.O_RDWR)
    bench.upkeep.run.settings = bench.upkeep.run.settings.model_copy(update={"mode": "live"})
    bench.upkeep.watching = dog = Dog()  # type: ignore[assignment]
    dog.sees = True
    for given in (unfit, fd, fd):
        bench.upkeep.run.folder.lock_fd = given  # type: ignore[misc]
        bench.look()
    os.close(unfit)
    os.close(fd)
    assert watched_by(lock) == str(bench.folder) and lock.read_text().count("watched") == 1


def test_what_a_new_watchdog_does_not_find_is_over(bench: Bench) -> None:
    dog = bench.upkeep.watching = Dog()  # type: ignore[assignment]
    naked = {"code": "NAKED_POSITION", "text": "10 without protection"}
    dog.alerts = [naked | {"key": "NSE:X MIS"}, naked | {"key": "NSE:Y MIS"}]
    bench.look()
    bench.alerting.acknowledge()
    dog.dies = True
    bench.look()
    bench.look()
    dog.alerts = [naked | {"key": "NSE:Y MIS"}]
    bench.look()
    assert [row["state"] for row in read_alerts(bench.folder)] == ["acknowledged", "standing"]
    bench.look(AGAIN_NS / S)
    bench.alerting.poll()
    assert [row["state"] for row in read_alerts(bench.folder)] == ["over", "standing"]


@pytest.mark.parametrize(("state", "orderly"), [("running", True), ("ended", False)])
def test_without_orders_the_watchdog_is_left_to_tell_what_is_open(
    bench: Bench, state: str, orderly: bool
) -> None:
    dog = bench.upkeep.watching = Dog()  # type: ignore[assignment]
    plan = SimpleNamespace(stages=("orders",))
    bench.upkeep.family.members["orders"] = SimpleNamespace(plan=plan, state=state)  # type: ignore[assignment]
    bench.upkeep.close()
    assert dog.ended == [orderly]


class Heart:
    """A heartbeat that is answered as told."""

    def __init__(self) -> None:
        self.withheld, self.answer, self.polled = "", None, 0
        self.tally = SimpleNamespace(fields=lambda: {"delivered": 3})

    def poll(self, state: str, trouble: str, about: dict[str, str]) -> str | None:
        self.polled += 1
        self.withheld = trouble
        return self.answer


def test_a_heartbeat_that_fails_or_is_held_back_is_told(bench: Bench) -> None:
    heart = bench.upkeep.heartbeat = Heart()  # type: ignore[assignment]
    bench.look()
    assert heart.withheld and "is held back" in bench.said[-1], "there is no orders process"
    heart.answer = "HTTP 500"  # type: ignore[assignment]
    bench.look()
    assert bench.states() == [("SINK_FAILED", "WARNING", "standing")] and "HTTP 500" in bench.said[-1]
    heart.answer = ""  # type: ignore[assignment]
    bench.look()
    assert bench.states()[0][2] == "over"
    assert bench.upkeep.report()["heartbeats"] == {"delivered": 3} and not bench.upkeep.report()["on"]
