"""Keys and connections: planned, or refused before anything connects."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.brokers.upstox.subscriptions import (
    MODES,
    FeedLimits,
    SubscriptionError,
    check_subscriptions,
    feed_limits,
    plan_subscriptions,
)

RULES = Path("config/rules/upstox_2026-04-01.yaml")
EXTRAS = limits_from_mapping(yaml.safe_load(RULES.read_text())).extras
NORMAL, PLUS = feed_limits(EXTRAS), feed_limits(EXTRAS, plus=True)
EACH = feed_limits(EXTRAS, per_user=False)


def test_the_numbers_of_the_page() -> None:
    assert (NORMAL.connections, PLUS.connections) == (2, 5)
    assert NORMAL.alone == {"ltpc": 5000, "option_greeks": 3000, "full": 2000, "full_d30": 0}
    assert NORMAL.mixed == {"ltpc": 2000, "option_greeks": 2000, "full": 1500, "full_d30": 0}
    assert PLUS.alone == {**NORMAL.alone, "full_d30": 50}
    assert PLUS.mixed == {**NORMAL.mixed, "full_d30": 1500}
    with pytest.raises(SubscriptionError, match="lack keys_ltpc"):
        feed_limits({"feed_connections": 2})


@pytest.mark.parametrize("limits", [NORMAL, PLUS])
@pytest.mark.parametrize("mode", MODES)
def test_one_mode_up_to_its_number(limits: FeedLimits, mode: str) -> None:
    most = limits.alone[mode]
    for connections in range(1, limits.connections + 1):
        if most:
            plan = plan_subscriptions({mode: range(most)}, limits, connections)
            assert [token for one in plan for token in one.get(mode, ())] == list(range(most))
        with pytest.raises(SubscriptionError, match=r"subscribe to fewer|needs Upstox Plus"):
            plan_subscriptions({mode: range(most + 1)}, limits, connections)


def test_beside_another_mode_the_number_is_smaller() -> None:
    beside = {"full": range(1500), "ltpc": range(9000, 11000)}
    assert sum(len(one["full"]) for one in plan_subscriptions(beside, NORMAL, 2)) == 1500
    text = r"1,501 keys in mode full beside ltpc; Upstox streams 1,500 to a user: subscribe to fewer"
    with pytest.raises(SubscriptionError, match=text):
        plan_subscriptions({"full": range(1501), "ltpc": [9000]}, NORMAL)
    with pytest.raises(SubscriptionError, match=r"or take a smaller mode: option_greeks \(3,000\), ltpc"):
        plan_subscriptions({"full": range(2001)}, NORMAL)
    with pytest.raises(SubscriptionError, match=r"full_d30 needs Upstox Plus: set upstox\.plus"):
        plan_subscriptions({"full_d30": [1]}, NORMAL)
    assert plan_subscriptions({"full_d30": range(51), "full": [99]}, PLUS)


def test_counted_by_connection_where_that_is_known() -> None:
    plan = plan_subscriptions({"full": range(4000)}, EACH)
    assert [len(one["full"]) for one in plan] == [2000, 2000]
    with pytest.raises(SubscriptionError, match="3 connections; Upstox gives a user 2"):
        plan_subscriptions({"full": range(4001)}, EACH)
    with pytest.raises(SubscriptionError, match="2,001 keys in mode full; Upstox streams 2,000 to a conn"):
        check_subscriptions([{"full": range(2001)}], EACH)
    with pytest.raises(SubscriptionError, match="4,000 keys in mode full; Upstox streams 2,000 to a user"):
        plan_subscriptions({"full": range(4000)}, NORMAL, 2)


def test_connections_modes_and_doubles() -> None:
    with pytest.raises(SubscriptionError, match=r"3 connections; .* 2 \(5 with Upstox Plus: upstox.plus\)"):
        check_subscriptions([{"ltpc": [i]} for i in range(3)], NORMAL)
    with pytest.raises(SubscriptionError, match="6 connections; Upstox gives a user 5: ask for fewer"):
        check_subscriptions([{"ltpc": [i]} for i in range(6)], PLUS)
    for call in (lambda w: check_subscriptions([w], NORMAL), lambda w: plan_subscriptions(w, NORMAL)):
        with pytest.raises(SubscriptionError, match="unknown mode 'quote'"):
            call({"quote": [1]})
    with pytest.raises(SubscriptionError, match="token 7 stands in full of connection 0 and in ltpc"):
        check_subscriptions([{"full": [7]}, {"ltpc": [7]}], NORMAL)
    assert plan_subscriptions({}, NORMAL) == [{}]


WANTED = st.dictionaries(st.sampled_from(sorted(MODES)), st.integers(0, 2200), max_size=4)


@given(WANTED, st.integers(0, 3), st.booleans(), st.booleans())
def test_a_plan_is_whole_even_and_allowed(
    counts: dict[str, int], connections: int, plus: bool, per_user: bool
) -> None:
    limits, wanted, first = feed_limits(EXTRAS, plus=plus, per_user=per_user), {}, 0
    for mode, count in counts.items():
        wanted[mode], first = range(first, first + count), first + count
    try:
        plan = plan_subscriptions(wanted, limits, connections)
    except SubscriptionError:
        return
    check_subscriptions(plan, limits)
    assert not connections or len(plan) == connections
    for mode, tokens in wanted.items():
        parts = [one.get(mode, ()) for one in plan]
        assert [token for part in parts for token in part] == list(tokens)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_modes_on_other_connections_count_as_well() -> None:
    """The page's limits are a user's: two modes are in use also where each has its own connection."""
    wanted = [{"full": range(1501)}, {"ltpc": range(9000, 9001)}]
    for limits in (NORMAL, EACH):
        with pytest.raises(SubscriptionError, match="1,501 keys in mode full beside ltpc"):
            check_subscriptions(wanted, limits)
        check_subscriptions([{"full": range(1500)}, {"ltpc": range(9000, 11000)}], limits)
