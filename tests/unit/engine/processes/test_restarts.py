"""The circuit breaker of restarts, and what the report says of one."""

from __future__ import annotations

from kite_hft.engine.processes.restarts import Breaker, Restart

S = 1_000_000_000


def test_five_in_a_minute_and_no_more() -> None:
    breaker = Breaker(5, 60.0)
    assert [breaker.allow("feed-0", n * S) for n in range(6)] == [True] * 5 + [False]
    assert breaker.broken("feed-0") and not breaker.broken("orders")
    assert not breaker.allow("feed-0", 10_000 * S), "what broke stays down"
    assert breaker.allow("orders", 6 * S)
    breaker.forget("feed-0")
    assert breaker.allow("feed-0", 10_001 * S) and not breaker.broken("feed-0")


def test_the_window_slides() -> None:
    breaker = Breaker(2, 60.0)
    assert breaker.allow("a", 0) and breaker.allow("a", 30 * S)
    assert breaker.allow("a", 60 * S + 1), "the first one is more than a minute ago"
    assert not breaker.allow("a", 61 * S)


def test_rows_of_the_report() -> None:
    assert Restart("orders", 1.23456, "died", -9, 0.1234).row() == {
        "process": "orders", "at_s": 1.235, "why": "died", "signal": 9, "took_s": 0.123,
    }  # fmt: skip
    assert Restart("feed-0", 2.0, "died", 1).row()["exit_code"] == 1
    assert Restart("feed-0", 2.0, "hung", -9).row()["took_s"] is None
