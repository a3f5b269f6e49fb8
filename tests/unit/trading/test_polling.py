"""Turns of the two who ask for quotes: never two calls within a window, and how long a round is."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.settings import load_yaml
from kite_hft.trading.broker import Limits
from kite_hft.trading.polling import PollPace, PollShare

RULES = Path("config/rules")
S = 1_000_000_000
KITE_WINDOW_NS = S
"""The broker's own: one call in a second, by whoever."""


def limits(name: str) -> Limits:
    return limits_from_mapping(load_yaml(RULES / f"{name}_2026-04-01.yaml"))


def pace(name: str) -> PollPace:
    share = limits(name).polling
    assert share is not None
    return share.pace


@given(
    start=st.integers(0, 10**15),
    late=st.lists(st.integers(0, 120_000_000), min_size=80, max_size=80),
)
def test_two_that_keep_their_turns_never_ask_within_the_brokers_window(start: int, late: list[int]) -> None:
    """late: how much later than they might they leave, each time. Of the order process no more than its turn
    leaves room for: what is late beyond that waits for the next one."""
    kite, calls, reader_ns, orders_ns, last_ns = pace("kite"), [], start, start, -(2**62)
    orders_last_ns = -(2**62)
    for delay in late:
        reader_ns = kite.reader_ns(last_ns, reader_ns)
        at = reader_ns + delay // 6
        calls.append((at, "reader"))
        last_ns = reader_ns = at
        while orders_ns <= at:
            free = kite.orders_at_ns(max(orders_ns, orders_last_ns + 1_250_000_000))
            if free > at:
                orders_ns = free
                break
            calls.append((free + delay, "orders"))
            orders_last_ns = orders_ns = free + delay
    calls.sort()
    gaps = [b - a for (a, _), (b, _) in itertools.pairwise(calls)]
    assert min(gaps) > KITE_WINDOW_NS
    assert {who for _, who in calls} == {"reader", "orders"}


def test_the_reader_has_seven_calls_of_a_turn_and_the_order_process_one_place() -> None:
    kite = pace("kite")
    at, sent = 0, []
    while at < 10 * kite.every_ns:
        at = kite.reader_ns(sent[-1] if sent else -(2**62), at)
        sent.append(at)
    assert len([x for x in sent if x < 10 * kite.every_ns]) == 70 == 10 * kite.calls_a_turn
    assert kite.orders_at_ns(0) == 9 * S and kite.orders_at_ns(9 * S + 1) == 9 * S + 1
    assert kite.orders_at_ns(9_250_000_001) == kite.every_ns + 9 * S


@pytest.mark.parametrize("calls", [1, 2, 3, 6, 7, 8, 13, 14, 15, 30])
@pytest.mark.parametrize("name", ["kite", "upstox"])
def test_no_instrument_waits_longer_than_a_round_is_said_to_take(name: str, calls: int) -> None:
    found, sent, at = pace(name), [], 3
    for _ in range(40 * calls):
        at = found.reader_ns(sent[-1] if sent else -(2**62), at)
        sent.append(at)
    waits = [b - a for a, b in zip(sent, sent[calls:], strict=False)]
    assert max(waits) <= found.longest_ns(calls)
    assert max(waits) > found.longest_ns(calls) - S // 2  # and the bound is no loose one
    assert found.calls_within(found.longest_ns(calls)) == calls


def test_reader_and_order_process_together_keep_the_windows_of_upstox() -> None:
    """500 a minute and 2,000 in half an hour, for all ordinary calls, ORDERS' own quotes among them."""
    share = limits("upstox").polling
    assert share is not None and share.other_windows is not None
    for window, most in zip(share.other_windows, (500, 2000), strict=True):
        reader = window.window_s * S // share.pace.interval_ns + 1
        own_quotes = window.window_s / 60  # risk.market_read_s, one call for 500 instruments
        assert window.calls + reader + own_quotes <= most
        assert window.calls > window.reserved > 0


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"calls": 1}, "calls and window_s"),
        ({"calls": 0, "window_s": 1}, "calls"),
        ({"calls": 1, "window_s": 0}, "above 0"),
        ({"calls": 1, "window_s": 1.25, "every_s": 10}, "go together"),
        ({"calls": 1, "window_s": 1.25, "every_s": 10, "orders_s": 1}, "not between"),
        ({"calls": 1, "window_s": 1.25, "every_s": 2, "orders_s": 1.5}, "not between"),
        ({"calls": 1, "window_s": 1, "other_windows": [{"calls": 1}]}, "other_windows"),
        ("fast", "polling needs"),
    ],
)
def test_a_share_that_cannot_be_kept_is_refused(row: object, word: str) -> None:
    good = load_yaml(RULES / "kite_2026-04-01.yaml")
    with pytest.raises(LimitsError, match=word):
        limits_from_mapping(good | {"polling": row})


def test_without_turns_the_order_process_asks_when_it_likes() -> None:
    assert PollPace(5).orders_at_ns(77) == 77 and PollPace(5).calls_a_turn == 0
    assert PollShare(2, 1.0).pace == PollPace(S // 2)
