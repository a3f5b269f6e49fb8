"""Alerts on their way: the file first, then every sink, never a wait, never a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kite_hft.clock import ManualClock
from kite_hft.engine.alerts.alerting import HURRIED_S, Alerting
from kite_hft.engine.alerts.files import FILE_NAME, acknowledge_file, open_alerts, read_alerts
from kite_hft.engine.alerts.sinks.sink import Outcome, Row, Tally
from kite_hft.layout import Severity
from kite_hft.trading.alerts import CODES

NOON = 1_765_780_200_000_000_000  # 2025-12-15 12:00:00 in India


class Sink:
    """A sink that keeps what it gets; `failure` is what comes of a row, None: nothing yet."""

    def __init__(self, name: str, failure: str | None = "") -> None:
        self.name, self.failure = name, failure
        self.tally = Tally()
        self.rows: list[Row] = []
        self.waiting: list[Row] = []
        self.seen_by_a_person: list[int] = []
        self.closed = False

    def put(self, row: Row) -> None:
        self.rows.append(row)
        self.waiting.append(row)

    def seen(self, number: int) -> None:
        self.seen_by_a_person.append(number)

    def poll(self) -> list[Outcome]:
        if self.failure is None:
            return []
        ended, self.waiting = self.waiting, []
        return [Outcome(self.name, row, self.failure, 0.1) for row in ended]

    def busy(self) -> bool:
        return bool(self.waiting)

    def close(self) -> None:
        self.closed = True

    def told(self) -> list[tuple[str, str]]:
        return [(str(row["event"]), str(row["code"])) for row in self.rows]


class Desk:
    """An Alerting on a manual clock, and what it said."""

    def __init__(self, folder: Path, *sinks: Sink, **options: Any) -> None:
        self.clock = ManualClock(mono=1_000_000_000, real=NOON)
        self.said: list[str] = []
        self.folder = folder
        self.alerting = Alerting(folder, sinks, self.clock, self.said.append, **options)

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / FILE_NAME
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait(self, seconds: float) -> None:
        self.clock.advance(round(seconds * 1e9))
        self.alerting.poll()


def test_a_line_has_all_that_a_person_needs(tmp_path: Path) -> None:
    desk = Desk(tmp_path, about={"account": "X"})
    desk.alerting.raise_("FEED_DEAD", "feed-0", "no frame for 3.1 s")
    (line,) = desk.lines()
    assert line == {
        "number": 1, "event": "raised", "time": "2025-12-15 12:00:00", "time_ns": NOON, "code": "FEED_DEAD",
        "severity": "CRITICAL", "key": "feed-0", "text": "no frame for 3.1 s",
        "advice": CODES["FEED_DEAD"].advice, "again": 0, "raised": 1, "lasts": True,
        "account": "X",
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


def test_every_sink_gets_every_line_after_the_file_has_it(tmp_path: Path) -> None:
    one, two = Sink("webhook"), Sink("hook")
    desk = Desk(tmp_path, one, two)
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    desk.alerting.clear("FEED_DEAD", "feed-0")
    assert one.rows == two.rows == desk.lines()
    assert one.told() == [("raised", "FEED_DEAD"), ("cleared", "FEED_DEAD")]
    assert set(desk.alerting.report()["sinks"]) == {"webhook", "hook"}


def test_a_sink_that_fails_is_told_by_the_others_and_its_recovery_too(tmp_path: Path) -> None:
    good, bad = Sink("hook"), Sink("webhook", "HTTP 500")
    desk = Desk(tmp_path, good, bad)
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    desk.alerting.poll()
    desk.alerting.poll()
    assert good.told() == [("raised", "FEED_DEAD"), ("raised", "SINK_FAILED")]
    assert good.rows[-1]["text"] == "webhook: HTTP 500" and bad.told() == [("raised", "FEED_DEAD")]
    desk.alerting.raise_("MARKET_HALT", "", "silent")
    desk.alerting.poll()
    assert [row["key"] for row in desk.lines() if row["code"] == "SINK_FAILED"] == ["webhook"]
    bad.failure = ""
    desk.alerting.raise_("STALE_POSITION", "NSE:X", "old")
    desk.alerting.poll()
    assert good.told()[-1] == ("cleared", "SINK_FAILED") and bad.told()[-1] == ("raised", "STALE_POSITION")


def test_all_sinks_failing_is_no_loop(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Sink("hook", "no"), Sink("webhook", "no"))
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    for _ in range(10):
        desk.alerting.poll()
    codes = [(row["code"], row["key"]) for row in desk.lines()]
    assert codes == [("FEED_DEAD", "feed-0"), ("SINK_FAILED", "hook"), ("SINK_FAILED", "webhook")]


def test_acknowledged_is_quiet_until_it_grows_worse_or_comes_back(tmp_path: Path) -> None:
    sink, seen = Sink("hook"), []
    desk = Desk(tmp_path, sink, remind_s=60, on_acknowledged=lambda a, n, by: seen.append((a.code, n, by)))
    naked = {"code": "NAKED_POSITION", "key": "NSE:X MIS", "text": "10 bare", "severity": 3, "size": 1000}
    desk.alerting.take(naked)
    desk.wait(61)
    assert [event for event, _ in sink.told()] == ["raised", "reminder"]
    assert desk.alerting.acknowledge(code="NAKED_POSITION", key="NSE:Y") == 0
    assert desk.alerting.acknowledge(code="NAKED_POSITION", by="asha") == 1
    assert desk.alerting.acknowledge(code="NAKED_POSITION") == 0
    assert seen == [("NAKED_POSITION", 1, "asha")] and desk.lines()[-1]["by"] == "asha"
    assert sink.seen_by_a_person == [1]
    desk.wait(600)
    desk.alerting.take(naked)
    assert len(sink.rows) == 2 and desk.alerting.standing()
    desk.alerting.take(naked | {"size": 2000, "text": "20 bare"})
    assert sink.told()[-1] == ("raised", "NAKED_POSITION") and sink.rows[-1]["number"] == 1
    desk.wait(61)
    assert sink.told()[-1] == ("reminder", "NAKED_POSITION")
    desk.alerting.clear("NAKED_POSITION", "NSE:X MIS")
    desk.alerting.take(naked)
    assert sink.rows[-1]["number"] == 2


def test_a_critical_event_is_reminded_of_under_its_number_until_acknowledged(tmp_path: Path) -> None:
    desk = Desk(tmp_path, remind_s=60)
    desk.alerting.raise_("BROKER_ACTED", "NSE:A", "squared off")
    desk.alerting.raise_("EXTERNAL_ORDER", "NSE:A", "seen")
    desk.wait(61)
    assert [(r["number"], r["event"]) for r in desk.lines()] == [
        (1, "raised"),
        (2, "raised"),
        (1, "reminder"),
    ]
    assert desk.alerting.acknowledge(7) == 0 and desk.alerting.acknowledge(1) == 1
    desk.wait(61)
    assert desk.lines()[-1]["event"] == "acknowledged"
    assert [row["number"] for row in open_alerts(read_alerts(tmp_path))] == [2]
    assert desk.alerting.acknowledge() == 1


def test_a_test_goes_to_every_sink_and_its_fate_is_known(tmp_path: Path) -> None:
    good, bad = Sink("hook"), Sink("webhook", None)
    desk = Desk(tmp_path, good, bad)
    number = desk.alerting.test()
    desk.alerting.poll()
    assert desk.alerting.tested(number) == {"hook": "", "webhook": "waiting"}
    bad.failure = "HTTP 404"
    desk.alerting.poll()
    assert (
        desk.alerting.tested(number) == {"hook": "", "webhook": "HTTP 404"} and desk.alerting.tested(99) == {}
    )
    assert [row["code"] for row in open_alerts(read_alerts(tmp_path))] == ["SINK_FAILED"]


def test_what_is_acknowledged_in_the_file_is_followed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, remind_s=60, first_number=5)
    desk.alerting.raise_("ENGINE_GONE", "", "gone")
    assert desk.lines()[0]["number"] == 5
    assert acknowledge_file(tmp_path, 5, NOON) == 1
    desk.alerting.follow_file()
    desk.wait(61)
    assert [row["event"] for row in desk.lines()] == ["raised", "acknowledged"]


def test_the_end_waits_for_the_sinks_but_not_for_ever(tmp_path: Path) -> None:
    slow = Sink("webhook", None)
    desk = Desk(tmp_path, slow, close_s=5.0)
    desk.alerting.raise_("NOT_FLAT", "", "10 left")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        desk.clock.advance(round(seconds * 1e9))

    desk.alerting.close(sleep)
    assert 4.9 < sum(slept) < 5.1 and slow.closed


def test_a_person_who_hurries_the_end_waits_a_moment_for_the_sinks(tmp_path: Path) -> None:
    slow = Sink("webhook", None)
    desk = Desk(tmp_path, slow, close_s=20.0)
    desk.alerting.raise_("NOT_FLAT", "", "10 left")
    began_ns = desk.clock.mono

    def sleep(seconds: float) -> None:
        desk.clock.advance(round(seconds * 1e9))

    desk.alerting.close(sleep, lambda: desk.clock.mono >= began_ns + 3_000_000_000)
    assert 2.9 < (desk.clock.mono - began_ns) / 1e9 < 3.1 and slow.closed, "hurried when that time was over"
    hurried = Desk(tmp_path, slow, close_s=20.0)
    began_ns = hurried.clock.mono
    hurried.alerting.close(lambda s: hurried.clock.advance(round(s * 1e9)), lambda: True)
    assert HURRIED_S - 0.1 < (hurried.clock.mono - began_ns) / 1e9 < HURRIED_S + 0.1


def test_a_full_disk_is_said_and_people_are_still_told(tmp_path: Path) -> None:
    sink = Sink("hook")
    desk = Desk(tmp_path, sink)
    (tmp_path / FILE_NAME).mkdir()  # cannot be opened for writing
    desk.alerting.raise_("FEED_DEAD", "feed-0", "silent")
    assert any("cannot be written" in line for line in desk.said) and sink.told() == [("raised", "FEED_DEAD")]


def test_what_was_acknowledged_of_another_who_tells_is_none_of_ours(tmp_path: Path) -> None:
    """Watchdog and order process write into one file; the numbers of both may be the same."""
    watchdog = Desk(tmp_path, about={"teller": "watchdog"}, remind_s=60)
    orders = Desk(tmp_path, about={"teller": "orders"})
    watchdog.alerting.raise_("NAKED_POSITION", "NSE:X", "nothing protects it")
    orders.alerting.raise_("NOT_FLAT", "", "closing did not reach zero")
    assert acknowledge_file(tmp_path, None, NOON, "NOT_FLAT") == 1
    watchdog.alerting.follow_file()
    watchdog.wait(61)
    assert watchdog.lines()[-1]["event"] == "reminder"
    assert acknowledge_file(tmp_path, 1, NOON) == 1, "it is the only open one of that number"
    watchdog.alerting.follow_file()
    watchdog.wait(61)
    assert watchdog.lines()[-1]["event"] == "acknowledged"
