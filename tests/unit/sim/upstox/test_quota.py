"""Upstox's request limits: three sliding windows at once, and the pause after a refusal."""

from __future__ import annotations

from kite_hft.sim.rest import OTHER
from kite_hft.sim.upstox.quota import FREE, NO_LIMITS, ORDER, Quota

S = 1_000_000_000
START = 1_795_150_800 * S


def test_ten_orders_in_any_second() -> None:
    quota = Quota(suspension_s=0)
    assert all(quota.allows(ORDER, START + i * S // 10) for i in range(10))
    assert not quota.allows(ORDER, START + S - 1)  # the first is not a second old
    assert quota.allows(ORDER, START + S)
    assert quota.refusals == {ORDER: 1} and quota.allows(OTHER, START)


def test_the_minute_and_the_half_hour() -> None:
    quota = Quota({ORDER: ((10, 1), (15, 60), (20, 1800))}, suspension_s=0)
    passed = [second for second in range(130) if quota.allows(ORDER, START + second * S)]
    assert passed == [*range(15), *range(60, 65)]
    assert not quota.allows(ORDER, START + 1799 * S) and quota.allows(ORDER, START + 1800 * S)


def test_a_refusal_suspends_its_kind_for_a_while() -> None:
    quota = Quota({ORDER: ((1, 1),)}, suspension_s=5)
    assert quota.allows(ORDER, START) and not quota.allows(ORDER, START)
    assert not quota.allows(ORDER, START + 5 * S - 1) and quota.allows(ORDER, START + 5 * S)


def test_several_at_once_pass_together_or_not_at_all() -> None:
    quota = Quota({ORDER: ((10, 1),)}, suspension_s=0)
    assert quota.allows(ORDER, START, 7) and not quota.allows(ORDER, START, 4)
    assert quota.allows(ORDER, START, 3) and not quota.allows(ORDER, START)
    assert not quota.allows(ORDER, START + 10 * S, 11)


def test_what_has_no_limit() -> None:
    quota = Quota()
    assert all(quota.allows(FREE, START) for _ in range(100))
    assert all(Quota(NO_LIMITS).allows(ORDER, START) for _ in range(100))
