"""Checks of the day: rules, loss limit, instruments, calendar, lists, alert sinks."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from day_tools import DAY, facts, opened_with, settings

from kite_hft.app.day.doctor import checks_day as checks
from kite_hft.app.day.doctor.gathering import calendar_facts
from kite_hft.app.day.facts import CalendarFacts, Facts, ListFacts, MasterFacts, RulesFacts, SinkFacts
from kite_hft.app.day.finding import Check, Finding
from kite_hft.trading.instruments import Instrument, InstrumentTable

RULES = RulesFacts(Path("rules/kite.yaml"), dt.date(2026, 4, 1))
LISTS = ListFacts(True, Path("lists"), ("fo_ban",))
SOON, LATER = dt.date(2026, 11, 23), dt.date(2026, 11, 24)
DAYS = CalendarFacts(((DAY, ("NSE",)), (SOON, ("NSE",))), against=())
PAPER = settings(mode="paper", risk={"max_daily_loss": None}, alerts={"webhook": ""})

CASES: list[tuple[str, Check, Facts, str, str]] = [
    ("good rules", checks.limits, facts(), "ok", ""),
    (
        "rules that cannot be read",
        checks.limits,
        facts(rules=(RulesFacts(Path("x.yaml"), error="no key"),)),
        "fail",
        "correct the file",
    ),
    ("rules of tomorrow", checks.limits, facts(rules=(replace(RULES, from_=SOON),)), "fail", "trading.rules"),
    (
        "limits for loopback alone",
        checks.limits,
        facts(rules=(replace(RULES, loopback_only=True),)),
        "fail",
        "trading.rules",
    ),
    (
        "limits for loopback, paper",
        checks.limits,
        facts(settings=PAPER, rules=(replace(RULES, loopback_only=True),)),
        "ok",
        "",
    ),
    (
        "old rules",
        checks.limits,
        facts(rules=(replace(RULES, from_=dt.date(2025, 4, 1)),)),
        "warn",
        "dated file",
    ),
    ("mode live", checks.mode, facts(), "ok", ""),
    (
        "mode live that is refused",
        checks.mode,
        facts(not_live="account: DEMO is nobody's"),
        "fail",
        "config.yaml",
    ),
    ("loss limit", checks.loss_limit, facts(), "ok", ""),
    (
        "no loss limit, live",
        checks.loss_limit,
        facts(settings=settings(risk={"max_daily_loss": None})),
        "fail",
        "risk.max_daily_loss",
    ),
    ("no loss limit, paper", checks.loss_limit, facts(settings=PAPER), "warn", "risk.max_daily_loss"),
    ("lists of the day", checks.masters, facts(), "ok", ""),
    ("a simulator's instruments", checks.masters, facts(master=MasterFacts(own=True)), "ok", ""),
    (
        "no lists",
        checks.masters,
        facts(master=MasterFacts(error="HTTP 403")),
        "fail",
        "kite-hft instruments refresh",
    ),
    ("lists of yesterday", checks.masters, facts(master=MasterFacts(9, 9, age_s=90_000)), "fail", "refresh"),
    (
        "lists that are those of yesterday",
        checks.masters,
        facts(master=MasterFacts(9, 9, repeated=("Kite's is the same",))),
        "warn",
        "instruments refresh",
    ),
    (
        "lists that are those of yesterday, on a holiday",
        checks.masters,
        facts(
            master=MasterFacts(9, 9, repeated=("Kite's is the same",)),
            calendar=CalendarFacts(((DAY, ()), (SOON, ("NSE",)))),
        ),
        "ok",
        "",
    ),
    (
        "untradable ones by name",
        checks.masters,
        facts(settings=settings(datafeed={"instruments": ["NSE:X"]}), master=MasterFacts(9, 1, untradable=1)),
        "warn",
        "datafeed.instruments",
    ),
    ("untradable ones among all", checks.masters, facts(master=MasterFacts(9, 9, untradable=1)), "ok", ""),
    ("covered", checks.calendar, facts(), "ok", ""),
    (
        "uncovered",
        checks.calendar,
        facts(calendar=replace(DAYS, uncovered=((DAY, "no row covers NSE"),))),
        "fail",
        "circular",
    ),
    (
        "uncovered today, paper",
        checks.calendar,
        facts(settings=PAPER, calendar=replace(DAYS, uncovered=((DAY, "no row covers NSE"),))),
        "fail",
        "circular",
    ),
    (
        "uncovered before the next session",
        checks.calendar,
        facts(calendar=CalendarFacts(((DAY, ("NSE",)),), ((SOON, "no row"),))),
        "fail",
        "circular",
    ),
    (
        "next session uncovered of one exchange",
        checks.calendar,
        facts(calendar=replace(DAYS, uncovered=((SOON, "no row covers MCX"),))),
        "fail",
        "circular",
    ),
    (
        "next session uncovered, paper",
        checks.calendar,
        facts(settings=PAPER, calendar=CalendarFacts(((DAY, ("NSE",)),), ((SOON, "no row"),))),
        "warn",
        "circular",
    ),
    (
        "uncovered behind the next session",
        checks.calendar,
        facts(calendar=replace(DAYS, uncovered=((LATER, "no row covers NSE"),))),
        "warn",
        "circular",
    ),
    (
        "hours of the configuration's own, live",
        checks.calendar,
        facts(calendar=CalendarFacts(((DAY, ("NSE",)),), by_hours=True)),
        "warn",
        "config.yaml",
    ),
    (
        "hours of the configuration's own, paper",
        checks.calendar,
        facts(settings=PAPER, calendar=CalendarFacts(((DAY, ("NSE",)),), by_hours=True)),
        "ok",
        "",
    ),
    (
        "Upstox says otherwise",
        checks.calendar,
        facts(calendar=replace(DAYS, against=("NSE on ..", "BSE on .."))),
        "fail",
        "circular",
    ),
    (
        "other hours",
        checks.calendar,
        facts(calendar=replace(DAYS, hours_against=("NSE on ..",))),
        "warn",
        "circular",
    ),
    (
        "Upstox cannot be asked",
        checks.calendar,
        facts(calendar=replace(DAYS, against=None, unreachable="down")),
        "warn",
        "kite-hft doctor",
    ),
    ("trading day", checks.trades_today, facts(), "ok", ""),
    (
        "holiday",
        checks.trades_today,
        facts(calendar=CalendarFacts(((DAY, ()), (SOON, ("NSE",))))),
        "warn",
        "wait",
    ),
    ("lists at hand", checks.lists, facts(), "ok", ""),
    ("a simulator needs none", checks.lists, facts(lists=ListFacts(False)), "ok", ""),
    (
        "missing list",
        checks.lists,
        facts(lists=replace(LISTS, missing=("mis_blocked",))),
        "warn",
        "lists/mis_blocked-2026-11-20.csv",
    ),
    ("bad list", checks.lists, facts(lists=replace(LISTS, error="line 3")), "fail", "correct the file"),
    ("absent list", checks.lists, facts(lists=replace(LISTS, absent=("asm",))), "ok", ""),
    ("sink", checks.sinks, facts(), "ok", ""),
    ("no sink, live", checks.sinks, facts(sinks=SinkFacts(("journald",))), "fail", "alerts.hook"),
    ("no sink, paper", checks.sinks, facts(settings=PAPER, sinks=SinkFacts()), "warn", "alerts.hook"),
    (
        "waived",
        checks.sinks,
        facts(settings=settings(alerts={"waive_sinks": "I have no alert sink"}), sinks=SinkFacts()),
        "warn",
        "alerts.hook",
    ),
    ("sink that took a test", checks.sinks, facts(sinks=SinkFacts(("webhook",), {"webhook": ""})), "ok", ""),
    (
        "sink that failed",
        checks.sinks,
        facts(sinks=SinkFacts(("webhook",), {"webhook": "HTTP 500"})),
        "fail",
        "kite-hft alerts --test",
    ),
]


@pytest.mark.parametrize(
    ("check", "given", "level", "fix"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_check(check: Check, given: Facts, level: str, fix: str) -> None:
    found = check(given)
    assert (found.level, fix in found.fix) == (level, True), found
    assert bool(found.fix) == (level != "ok") and found.text


def test_a_holiday_names_the_next_session() -> None:
    told = checks.trades_today(facts(calendar=CalendarFacts(((DAY, ()), (SOON, ("NSE",))))))
    assert told.text == "Fri 2026-11-20: no exchange of this configuration trades; next: Mon 2026-11-23"


def test_several_disagreements_are_counted() -> None:
    told = checks.calendar(facts(calendar=replace(DAYS, against=("NSE on x", "BSE on x", "NFO on x"))))
    assert told.text == "NSE on x and 2 more"


def test_hours_of_ones_own_that_the_start_refuses_are_told_before_it(tmp_path: Path) -> None:
    """By what the run trades: shares may end at 15:10, derivatives may not."""

    def told(end: str, *exchanges: str) -> Finding:
        files = Path("config").resolve()
        hours = {
            "calendar": files / "calendar/india.yaml", "market": files / "rules/market_2026-08-03.yaml",
            "market_start": "09:15:00", "market_end": end,
        }  # fmt: skip
        rows = [
            Instrument(at, 257 + at, at, f"X{at}", name, name, "EQ" if name == "NSE" else "FUT", 5, 1)
            for at, name in enumerate(exchanges)
        ]
        opened = replace(opened_with(tmp_path, trading=hours), chosen=InstrumentTable(tuple(rows)))
        return checks.calendar(facts(settings=opened.settings, calendar=calendar_facts(opened)))

    early = told("15:10:00", "NSE", "NFO")
    assert early.level == "fail" and "15:20:00" in early.text and "config.yaml" in early.fix
    assert [told(*case).level for case in (("15:10:00", "NSE"), ("15:10:00",), ("15:00:00",))] == [
        "warn", "warn", "fail",
    ]  # fmt: skip


def test_a_calendar_that_is_not_looked_at_is_not_told_to_be_covered() -> None:
    told = checks.calendar(facts(calendar=CalendarFacts(((DAY, ("NSE",)),), by_hours=True)))
    assert "not looked at" in told.text and "covered" not in told.text
