"""Conditions are told once, when they grow worse, and again while they last."""

from __future__ import annotations

import pytest

from kite_hft.layout import Severity
from kite_hft.trading import alerts
from kite_hft.trading.alerts import CODES, Standing, UnknownCode, advice_of, alert, alert_of

S = 1_000_000_000


def test_every_code_says_what_to_do() -> None:
    for name, code in CODES.items():
        assert name.isupper() and code.advice[0].isupper() and code.advice.endswith("."), name
    wanted = {"FEED_DEAD", "TOKEN_DEAD", "REJECT_STORM", "AMBIGUOUS_ORDER", "BROKER_ACTED", "STALE_POSITION"}
    wanted |= {"MARKET_HALT", "PROCESS_RESTARTED", "CRASH_LOOP", "JOURNAL_FAILED", "DISK_LOW", "KILLED"}
    wanted |= {"NAKED_POSITION", "NOT_FLAT", "WATCHDOG_BLIND", "WATCHDOG_GONE", "ENGINE_GONE", "SINK_FAILED"}
    assert wanted <= set(CODES)


def test_a_lasting_condition_is_told_once_then_reminded_of_then_over() -> None:
    standing = Standing(300 * S)
    dead = alert("FEED_DEAD", "no frame", "feed-0")
    assert standing.raise_(dead, 0) == dead
    assert standing.raise_(dead, 10 * S) is None
    assert standing.raise_(alert("FEED_DEAD", "no frame", "feed-1"), 10 * S) is not None
    assert standing.due(299 * S) == []
    again = standing.due(300 * S)
    assert [(a.key, a.again) for a in again] == [("feed-0", 1)] and standing.next_ns() == 310 * S
    assert [(a.key, a.again) for a in standing.due(600 * S)] == [("feed-0", 2), ("feed-1", 1)]
    assert standing.clear("FEED_DEAD", "feed-0") == dead and standing.clear("FEED_DEAD", "feed-0") is None
    assert [a.key for a in standing.standing()] == ["feed-1"]
    assert standing.raise_(dead, 700 * S) == dead


def test_worse_is_told_at_once_and_milder_is_not() -> None:
    standing = Standing(300 * S)
    standing.raise_(alert("AMBIGUOUS_ORDER", "entry", "7"), 0)
    worse = standing.raise_(alert("AMBIGUOUS_ORDER", "exit", "7", Severity.CRITICAL), S)
    assert worse is not None and (worse.severity, worse.again) == (Severity.CRITICAL, 1)
    assert standing.raise_(alert("AMBIGUOUS_ORDER", "entry", "7"), 2 * S) is None
    assert standing.standing()[0].severity == Severity.CRITICAL


def test_an_event_is_told_each_time_but_not_twice_in_a_moment() -> None:
    standing = Standing(300 * S)
    acted = alert("BROKER_ACTED", "10 closed", "NSE:X")
    assert standing.raise_(acted, 0) == acted and standing.raise_(acted, S - 1) is None
    assert standing.raise_(alert("BROKER_ACTED", "5 closed", "NSE:X"), S - 1) is not None
    assert standing.raise_(acted, S) == acted and not standing.standing()


def test_alerts_travel_as_plain_fields() -> None:
    made = alert("TOKEN_DEAD", "refused")
    assert alert_of(made.fields()) == made and made.severity == Severity.CRITICAL
    strange = alert_of({"code": "NEW_ONE", "text": "from another version"})
    assert strange.severity == Severity.WARNING and advice_of(strange.code) == ""
    with pytest.raises(UnknownCode):
        alert("NEW_ONE", "")


def test_severities_are_those_of_the_records() -> None:
    assert [int(severity) for severity in Severity] == [alerts.INFO, alerts.WARNING, alerts.CRITICAL]
