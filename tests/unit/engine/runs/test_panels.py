"""The live picture and its line: every number in its place, and what is wrong is said."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from kite_hft.engine.runs.panels import panel, plain_line
from kite_hft.engine.runs.sample import LATENCIES, ORDER_LATENCIES, Sample
from kite_hft.layout import COUNTERS
from kite_hft.trading.alerts import alert

LINK = {
    "connection": 0, "connected": True, "instruments": 20, "last_tick_s": 0.2, "drops": 3,
    "watchdog_trips": 1,
}  # fmt: skip


def sample(**orders: Any) -> Sample:
    counts = {stage: dict.fromkeys(names, 0) for stage, names in COUNTERS.items()}
    counts["feed"].update(published=500, restarts=1)
    counts["compute"].update(computed=493, lost=2)
    counts["orders"].update(
        {"sent": 12, "filled": 9, "refused": 3, "rejected": 1, "gross_pnl_paise": -12345, "positions": 4,
         "net_pnl_paise": -23456, "state_active": 1, "restarts": 2, **orders}
    )  # fmt: skip
    row = {"p50": 10.0, "p90": 20.0, "p99": 30.0, "p999": 40.0, "max": 50.0, "n": 60}
    latency = dict.fromkeys(LATENCIES, row)
    return Sample(1, counts["feed"], counts["compute"], counts["orders"], latency, [LINK])


def drawn(shown: Sample) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(panel("kite_hft sim", 200.0, shown, ["said before"]))
    return out.getvalue()


def test_the_line_has_the_numbers() -> None:
    line = plain_line(100.0, sample())
    assert line.startswith("100 ticks/s | 500 ticks, lag 5, lost 2 | orders 12 sent, 9 filled, 3 refused")
    assert "gross P&L ₹-123.45, net ₹-234.56" in line and line.endswith("p99 30 µs")


def test_the_line_ends_with_what_is_wrong() -> None:
    shown = sample(state_active=0, state_reducing=1, token_dead=1)
    shown.connections.append({**LINK, "connection": 1, "connected": False})
    shown.alerts = [
        alert("TOKEN_DEAD", "403"),
        alert("FEED_DEAD", "a", "feed-0"),
        alert("FEED_DEAD", "b", "x"),
    ]
    assert plain_line(1.0, shown).endswith(
        " | REDUCING  token dead | connection 1 down | alerts: TOKEN_DEAD, FEED_DEAD"
    )


def test_the_panel_shows_numbers_connections_state_and_alerts() -> None:
    shown = sample()
    shown.connections.append({**LINK, "connection": 1, "connected": False, "last_tick_s": None})
    shown.alerts = [alert("FEED_DEAD", f"silent [{n}]", f"feed-{n}") for n in range(5)]
    text = drawn(shown)
    for words in (
        "kite_hft sim", "200 ticks/s", "lag 5", "lost 2", "12 orders sent", "ACTIVE", "₹-123.45", "₹-234.56",
        "restarts 3", "connection 0", "up", "3 drops", "1 silent", "connection 1", "down", "tick never",
        "FEED_DEAD feed-0 silent [0]", "and 2 more alerts", "read to computed", "said before",
    ):  # fmt: skip
        assert words in text, (words, text)


def test_latencies_stand_side_by_side_and_those_without_a_figure_are_left_out() -> None:
    shown = sample()
    shown.latency_us = {**shown.latency_us, "send_to_intent": dict.fromkeys(("p50", "p99", "max", "n"), 0)}
    text = drawn(shown)
    assert "send to computed" in text and "send to intent" not in text
    assert any("read to decoded" in line and "intent to taken" in line for line in text.splitlines())
    for name in ORDER_LATENCIES:
        del shown.latency_us[name]
    assert "orders, µs" not in drawn(shown)


def test_states_are_words() -> None:
    for changes, words in (
        ({"state_active": 0}, "not active"),
        ({"state_active": 0, "state_halted": 1, "state_reducing": 1}, "HALTED"),
        ({"market_halted": 1}, "ACTIVE  market halt"),
    ):
        assert words in drawn(sample(**changes)), words
