"""Request limits: calendar windows, kinds apart, cool-down after a refusal."""

from __future__ import annotations

import datetime as dt

import pytest
from sim_tools import NOW, SECOND, own_limits

from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.kite.quota import HISTORICAL, ORDER, QUOTE, UNLIMITED, Quota, broker_limits
from kite_hft.sim.rest import OTHER

MINUTE_START = NOW - NOW % (60 * SECOND)
NO_COOLDOWN = {"cooldown_s": 0.0}


def passed(quota: Quota, kind: str, times: int, now_ns: int) -> int:
    return sum(quota.allows(kind, now_ns) for _ in range(times))


@pytest.mark.parametrize(("kind", "most"), [(ORDER, 10), (QUOTE, 1), (HISTORICAL, 3), (OTHER, 10)])
def test_the_brokers_own_limits_by_calendar_second(kind: str, most: int) -> None:
    quota = Quota(own_limits(**NO_COOLDOWN))
    # At the end of one second and the start of the next: two windows, 10 ms apart.
    assert passed(quota, kind, most + 5, MINUTE_START + SECOND - 10_000_000) == most
    assert passed(quota, kind, most + 5, MINUTE_START + SECOND) == most
    assert quota.refused == 10 == quota.refusals[kind]


def test_kinds_are_counted_apart() -> None:
    quota = Quota(own_limits())
    for kind in (ORDER, QUOTE, HISTORICAL, OTHER):
        assert quota.allows(kind, MINUTE_START)
    assert not quota.allows(QUOTE, MINUTE_START)
    assert quota.allows(OTHER, MINUTE_START)


def test_four_hundred_orders_a_minute() -> None:
    quota = Quota(own_limits(**NO_COOLDOWN))
    total = sum(passed(quota, ORDER, 10, MINUTE_START + s * SECOND) for s in range(60))
    assert total == 400
    assert quota.allows(ORDER, MINUTE_START + 60 * SECOND)


def test_a_refusal_is_followed_by_a_cool_down_of_its_kind() -> None:
    quota = Quota(own_limits())
    assert passed(quota, ORDER, 11, MINUTE_START) == 10
    for tenths in (5, 50, 99):
        assert not quota.allows(ORDER, MINUTE_START + tenths * SECOND // 10)
    assert quota.allows(OTHER, MINUTE_START + SECOND)
    # Being refused meanwhile does not prolong it.
    assert quota.allows(ORDER, MINUTE_START + 10 * SECOND)


def test_no_limits() -> None:
    quota = Quota(UNLIMITED)
    assert passed(quota, ORDER, 5000, MINUTE_START) == 5000
    assert passed(quota, QUOTE, 50, MINUTE_START) == 50 and quota.refused == 0


def test_limits_are_those_of_the_rules_day() -> None:
    old, new = (
        broker_limits(default_market_rules(day)) for day in (dt.date(2024, 1, 5), dt.date(2026, 4, 1))
    )
    assert (old.orders_per_minute, old.orders_per_day) == (200, 3_000)
    assert (new.orders_per_minute, new.orders_per_day) == (400, 5_000)
    assert (new.orders_per_second, new.quotes_per_second, new.historical_per_second) == (10, 1, 3)
    assert (new.others_per_second, new.cooldown_s) == (10, 10)
