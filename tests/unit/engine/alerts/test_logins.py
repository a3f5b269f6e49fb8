"""Reminders of the day's login: 08:30 of a trading day, critical at 09:00 with positions, until a token."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.alerts.logins import LoginWatch, last_close_ns, logins_due
from kite_hft.engine.plan.session import Access, Session
from kite_hft.layout import Severity
from kite_hft.settings import Settings

S = 1_000_000_000
IST = dt.timezone(dt.timedelta(hours=5, minutes=30))
CALENDAR = Path("config/calendar/india.yaml").resolve()


def at(text: str) -> int:
    return round(dt.datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=IST).timestamp()) * S


CLOSE = at("20 15:30")
DEAD = {"kite": at("20 06:00")}


@pytest.mark.parametrize(
    ("now", "positions", "severity"),
    [
        ("20 08:29:59", 2, None),
        ("20 08:30", 0, Severity.WARNING),
        ("20 08:59:59", 2, Severity.WARNING),
        ("20 09:00", 2, Severity.CRITICAL),
        ("20 09:00", 0, Severity.WARNING),
        ("20 15:29:59", 1, Severity.CRITICAL),
        ("20 15:30", 1, None),
    ],
)
def test_when_and_how_loudly(now: str, positions: int, severity: Severity | None) -> None:
    due = logins_due(at(now), DEAD, positions, CLOSE)
    assert [told.severity for told in due.values()] == ([] if severity is None else [severity])
    for broker, told in due.items():
        assert (told.code, told.key, broker) == ("LOGIN_DUE", "kite", "kite")
        assert "ended at 2026-11-20 06:00:00 IST" in told.text and ("open" in told.text) == bool(positions)


def test_a_token_of_today_or_a_day_without_trading_needs_none() -> None:
    assert not logins_due(at("20 09:30"), {"kite": at("21 06:00")}, 3, CLOSE)
    assert not logins_due(at("20 09:30"), DEAD, 3, 0)
    both = {"kite": at("21 06:00"), "upstox": at("20 03:30")}
    assert list(logins_due(at("20 09:30"), both, 0, CLOSE)) == ["upstox"]


def settings(**trading: Any) -> Settings:
    return Settings.model_validate({"trading": {"calendar": str(CALENDAR), **trading}})


def test_trading_days_come_from_the_calendar() -> None:
    assert last_close_ns(settings(), {"NSE"}, at("20 08:00")) >= at("20 15:30")
    assert last_close_ns(settings(), {"NSE", "NFO"}, at("20 08:00")) >= at("20 15:40")
    assert last_close_ns(settings(), {"NSE"}, at("21 08:00")) == 0, "a Saturday"
    assert last_close_ns(settings(), {"NSE"}, at("24 08:00")) == 0, "a holiday"
    midnight = at("22 00:00")
    assert last_close_ns(settings(), {"NOWHERE"}, at("21 08:00")) == midnight, "not covered: remind"
    gone = settings(calendar="/nowhere/calendar.yaml")
    assert last_close_ns(gone, {"NSE"}, at("21 08:00")) == midnight
    fixed = settings(market_start="09:15:00", market_end="15:30:00")
    assert last_close_ns(fixed, {"NSE"}, at("21 08:00")) == midnight


def session(mode: str = "live", **tokens: str) -> Session:
    made = {name: Access(name, "f", "a", "k", token) for name, token in tokens.items()}
    return Session(mode, made["kite"], tuple(made.values()))


def watch() -> LoginWatch:
    return LoginWatch(settings(), {"NSE"})


def test_a_run_is_reminded_in_the_morning_until_it_has_a_new_token() -> None:
    found, run = watch(), session(kite="first-token")
    assert found.look(run, 1, at("19 15:00")) == ([], [])  # the token is of the 19th
    assert found.look(run, 1, at("20 08:00")) == ([], [])
    (told,), over = found.look(run, 1, at("20 08:30"))
    assert (told.code, told.severity, over) == ("LOGIN_DUE", Severity.WARNING, [])
    (told,), _ = found.look(run, 1, at("20 09:00"))
    assert told.severity == Severity.CRITICAL
    run = run.renewed("kite", "two")
    assert found.look(run, 1, at("20 09:01")) == ([], ["kite"])
    assert found.look(run, 1, at("20 09:02")) == ([], [])
    assert "first-token" not in repr(found)


def test_the_reminder_ends_with_the_day() -> None:
    found, run = watch(), session(kite="first-token")
    found.look(run, 0, at("19 15:00"))
    assert found.look(run, 0, at("20 10:00"))[0]
    assert found.look(run, 0, at("20 23:59")) == ([], ["kite"])
    assert found.look(run, 0, at("21 10:00")) == ([], [])  # Saturday


def test_a_token_that_tells_its_end_is_believed_and_others_are_not_asked_for() -> None:
    body = base64.urlsafe_b64encode(json.dumps({"exp": at("30 00:00") // S}).encode()).decode().rstrip("=")
    paper = session("paper", kite="unused", upstox=f"a.{body}.b")
    paper = Session("paper", paper.orders, paper.data[1:])
    found = watch()
    found.look(paper, 0, at("19 15:00"))
    assert found.look(paper, 0, at("20 10:00")) == ([], []), "an analytics token reads for a year"


def test_sandboxes_and_own_simulators_need_no_login() -> None:
    sandbox = Access("upstox", "f", "a", "k", "sand", sandbox=True)
    found, run = watch(), Session("paper", sandbox, ())
    found.look(run, 0, at("19 15:00"))
    assert found.look(run, 0, at("20 10:00")) == ([], [])
    own = Session("sim", Access("kite", "f", "a", "k", "t"), (), simulators=(object(),))  # type: ignore[arg-type]
    found = watch()
    found.look(own, 0, at("19 15:00"))
    assert found.look(own, 0, at("20 10:00")) == ([], [])
