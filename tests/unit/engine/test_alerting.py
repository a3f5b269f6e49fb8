"""Alerts on their way: the file first, the command beside, never a wait, never a secret."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.alerting import (
    FILE_NAME,
    Alerting,
    acknowledge_file,
    open_alerts,
    read_alerts,
)
from kite_hft.layout import Severity
from kite_hft.settings import AlertSection
from kite_hft.trading.alerts import CODES

NOON = 1_765_780_200_000_000_000  # 2025-12-15 12:00:00 in India


class Desk:
    """An Alerting on a manual clock, and what it said."""

    def __init__(self, folder: Path, **options: Any) -> None:
        settings = AlertSection(**{name: options.pop(name) for name in ("hook", "hook_timeout_s", "remind_s")
                                   if name in options})  # fmt: skip
        self.clock = ManualClock(mono=1_000_000_000, real=NOON)
        self.said: list[str] = []
        self.folder = folder
        self.alerting = Alerting(folder, settings, self.clock, self.said.append, **options)

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / FILE_NAME
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def poll_until(self, what: Callable[[], bool]) -> None:
        """Poll in real time: commands are real processes."""
        deadline = time.monotonic() + 20
        while not what():
            assert time.monotonic() < deadline, self.said
            self.alerting.poll()
            time.sleep(0.01)


def hook_to(path: Path) -> list[str]:
    return ["/bin/sh", "-c", f"cat >> {path}"]


def test_a_line_has_all_that_a_person_needs(tmp_path: Path) -> None:
    desk = Desk(tmp_path, about={"account": "X"})
    desk.alerting.raise_("FEED_DEAD", "feed-0", "no frame for 3.1 s")
    (line,) = desk.lines()
    assert line == {
        "number": 1, "event": "raised", "time": "2025-12-15 12:00:00", "time_ns": NOON, "code": "FEED_DEAD",
        "severity": "CRITICAL", "key": "feed-0", "text": "no frame for 3.1 s",
        "advice": CODES["FEED_DEAD"].advice, "again": 0, "raised": 1, "account": "X",
    }  # fmt: skip
    assert desk.said == ["ALERT CRITICAL FEED_DEAD feed-0: no frame for 3.1 s"]


def test_a_lasting_condition_is_told_once_reminded_and_over(tmp_path: Path) -> None:
    desk = Desk(tmp_path, remind_s=60)
    for _ in range(5):
        desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    desk.clock.advance(61_000_000_000)
    desk.alerting.poll()
    desk.alerting.clear("FEED_DEAD", "feed-0")
    desk.alerting.clear("FEED_DEAD", "feed-0")
    told = [(line["number"], line["event"], line["again"], line["raised"]) for line in desk.lines()]
    assert told == [(1, "raised", 0, 1), (1, "reminder", 1, 5), (1, "cleared", 0, 5)]
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent again")
    assert desk.lines()[-1]["number"] == 2
    assert desk.alerting.report()["by_code"] == {"FEED_DEAD": 2}
    assert [row["code"] for row in desk.alerting.report()["standing"]] == ["FEED_DEAD"]


def test_keys_tell_conditions_apart_and_events_are_counted_each(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.alerting.raise_("STALE_POSITION", "NSE:A", "old")
    desk.alerting.raise_("STALE_POSITION", "NSE:B", "old")
    desk.alerting.raise_("BROKER_ACTED", "NSE:A", "squared off")
    desk.clock.advance(2_000_000_000)
    desk.alerting.raise_("BROKER_ACTED", "NSE:A", "squared off")
    assert [line["number"] for line in desk.lines()] == [1, 2, 3, 4]


def test_a_child_tells_and_clears_by_message(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    told: list[str] = []
    desk.alerting.on_told = lambda alert: told.append(alert.code)
    fields = {"code": "TOKEN_DEAD", "key": "", "text": "403", "severity": int(Severity.CRITICAL)}
    desk.alerting.take(fields)
    desk.alerting.take(fields | {"cleared": True})
    desk.alerting.take({"code": "OF_A_NEWER_BUILD", "text": "what"})
    assert [(line["event"], line["code"]) for line in desk.lines()] == [
        ("raised", "TOKEN_DEAD"), ("cleared", "TOKEN_DEAD"), ("raised", "OF_A_NEWER_BUILD"),
    ]  # fmt: skip
    assert desk.lines()[-1]["severity"] == "WARNING" and told == ["TOKEN_DEAD", "OF_A_NEWER_BUILD"]


def test_no_secret_and_nothing_unprintable_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, secrets=("s3cret", ""))
    desk.alerting.raise_("TOKEN_DEAD", "", "token s3cret\x1b[2J\n refused " + "x" * 5000)
    (line,) = desk.lines()
    assert line["text"].startswith("token <secret> [2J refused xxx") and len(line["text"]) == 1000
    assert "s3cret" not in "".join(desk.said)


def test_the_command_gets_every_line_in_order_and_nobody_waits(tmp_path: Path) -> None:
    got = tmp_path / "got"
    desk = Desk(tmp_path, hook=hook_to(got))
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    desk.alerting.clear("FEED_DEAD", "feed-0")
    desk.poll_until(lambda: got.exists() and len(got.read_text().splitlines()) == 2)
    rows = [json.loads(line) for line in got.read_text().splitlines()]
    assert sorted(row["event"] for row in rows) == ["cleared", "raised"]
    assert {row["event"]: row for row in desk.lines()} == {row["event"]: row for row in rows}
    desk.alerting.close(time.sleep)
    assert desk.alerting.report()["hook"] == {"runs": 2, "failures": 0, "dropped": 0}


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (["/bin/sh", "-c", "echo broken >&2; exit 3"], "exit code 3"),
        (["/no/such/command"], "cannot be started: No such file"),
    ],
)
def test_a_command_that_fails_is_an_alert_and_gets_no_loop(
    tmp_path: Path, hook: list[str], words: str
) -> None:
    desk = Desk(tmp_path, hook=hook)
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    desk.poll_until(lambda: desk.alerting.hook_failures == 1)
    failed = [line for line in desk.lines() if line["code"] == "HOOK_FAILED"]
    assert len(failed) == 1 and words in failed[0]["text"]
    desk.alerting.poll()
    assert desk.alerting.hook_failures == 1
    if words == "exit code 3":
        assert (tmp_path / "alert_hook.log").read_text() == "broken\n"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    desk = Desk(tmp_path, hook=["/bin/sh", "-c", f"sleep 300 & echo $! > {pid}; wait"], hook_timeout_s=5.0)
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    desk.poll_until(lambda: pid.exists() and pid.read_text().strip() != "")
    assert desk.alerting.hook_failures == 0
    desk.clock.advance(5_000_000_001)
    desk.alerting.poll()
    assert desk.alerting.hook_failures == 1
    sleeper = Path(f"/proc/{pid.read_text().strip()}/stat")
    desk.poll_until(lambda: not sleeper.exists() or b") Z" in sleeper.read_bytes())


def test_a_flood_is_bounded_and_said(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    desk = Desk(tmp_path, hook=["/bin/sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.05; done"])
    for number in range(300):
        desk.alerting.raise_("AMBIGUOUS_ORDER", str(number), "lost")
    assert desk.alerting.hook_runs == 4 and desk.alerting.hook_dropped == 300 - 4 - 256
    assert len(desk.lines()) == 300
    gate.touch()
    desk.poll_until(lambda: not desk.alerting._running and not desk.alerting._waiting)


def test_acknowledged_alerts_are_not_reminded_of_but_told_anew_when_they_come_back(tmp_path: Path) -> None:
    desk = Desk(tmp_path, remind_s=60)
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    desk.alerting.raise_("BROKER_ACTED", "NSE:A", "squared off")
    assert desk.alerting.acknowledge(7) == 0
    assert desk.alerting.acknowledge(1) == 1 and desk.alerting.acknowledge(1) == 0
    desk.clock.advance(61_000_000_000)
    desk.alerting.poll()
    assert [line["event"] for line in desk.lines()] == ["raised", "raised", "acknowledged"]
    assert [row["number"] for row in open_alerts(read_alerts(tmp_path))] == [2]
    assert desk.alerting.acknowledge() == 1
    desk.alerting.clear("FEED_DEAD", "feed-0")
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent again")
    assert [row["number"] for row in open_alerts(read_alerts(tmp_path))] == [3]


def test_reading_back_folds_lines_and_survives_a_cut_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, remind_s=60)
    desk.alerting.raise_("BROKER_ACTED", "NSE:A", "squared off")
    desk.alerting.raise_("MARKET_HALT", "", "silent")
    desk.alerting.raise_("FEED_DEAD", "feed-1", "silent")
    desk.alerting.clear("MARKET_HALT")
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"number": 9, "event": "rai')
    rows = read_alerts(tmp_path)
    assert [(row["number"], row["state"]) for row in rows] == [(1, "told"), (2, "over"), (3, "standing")]
    assert [row["number"] for row in open_alerts(rows)] == [1, 3]
    assert read_alerts(tmp_path / "nowhere") == []


def test_acknowledging_with_the_engine_down(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.alerting.raise_("BROKER_ACTED", "NSE:A", "squared off")
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    assert acknowledge_file(tmp_path, 2, NOON) == 1 and acknowledge_file(tmp_path, 2, NOON) == 0
    assert [row["code"] for row in open_alerts(read_alerts(tmp_path))] == ["BROKER_ACTED"]
    assert acknowledge_file(tmp_path, None, NOON) == 1 and open_alerts(read_alerts(tmp_path)) == []


def test_a_full_disk_is_said_and_the_command_still_told(tmp_path: Path) -> None:
    got = tmp_path / "got"
    desk = Desk(tmp_path, hook=hook_to(got))
    (tmp_path / FILE_NAME).mkdir()  # cannot be opened for writing
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    assert any("cannot be written" in line for line in desk.said)
    desk.poll_until(got.exists)
    desk.alerting.close(time.sleep)
    assert json.loads(got.read_text())["code"] == "FEED_DEAD"
