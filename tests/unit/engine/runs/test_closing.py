"""The summary: what a run came to, also when a process could not say its part."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from kite_hft.engine.runs.closing import fill_words, summary

ROW = {"p50": 0.0, "p99": 0.0, "n": 0}


def report(**changes: Any) -> dict[str, Any]:
    """The least that a report holds: of a run whose order process died."""
    link = {"connection": 0, "instruments": 20, "drops": 0, "watchdog_trips": 0, "refused_403": 0,
            "refused_429": 0}  # fmt: skip
    ticks = {
        "received": 1,
        "published": 1,
        "computed": 1,
        "lost": 0,
        "malformed": {},
        "by_connection": [link],
    }
    return {
        "duration_s": 1.0, "mode": "sim", "ticks": ticks, "bars": 0, "signals": 0, "positions": [],
        "orders": {"intents": 3, "sent": 1, "filled": 1, "rejected": 0, "ambiguous": 0, "resolved": 0,
                   "refused": {"UNKNOWN": 2}},
        "pnl_paise": {"gross": -5, "charges": 0, "net": -5}, "open_at_end": {}, "start": {},
        "latency_us": dict.fromkeys(("read_to_computed", "tick_to_intent", "intent_to_sent"), ROW),
    } | changes  # fmt: skip


def drawn(found: dict[str, Any], folder: str = "folder") -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(summary(found, folder))
    return out.getvalue()


def test_the_least_report_has_a_summary() -> None:
    text = drawn(report())
    assert "2 UNKNOWN" in text and "gross ₹-0.05" in text and "flat" in text
    for absent in ("connection 0", "started again", "alerts", "simulated", "HALTED", "fate unknown"):
        assert absent not in text, absent


def test_what_was_timed_is_told_and_probes_are_counted() -> None:
    found = report()
    found["latency_us"] = {"written": {"p50": 7.5, "p99": 12.25, "n": 1234}, "order_ack": ROW}
    found["orders"] |= {"probes": 4321}
    text = drawn(found)
    assert "p50 7.5 µs, p99 12.2 µs, n 1,234" in text and "4,321 have come" in text
    assert "order ack" not in text and "probes" not in drawn(report())


def test_a_refusal_is_told_with_its_words() -> None:
    found = report()
    found["orders"] |= {
        "refused": {"MAX_ORDER_VALUE": 14, "RESTARTED": 1},
        "refused_for": {"MAX_ORDER_VALUE": "order value 446985.00 > max_order_value 400000.00"},
    }
    text = " ".join(drawn(found).replace("│", " ").split())
    assert "14 MAX_ORDER_VALUE (order value 446985.00 > max_order_value 400000.00) 1 RESTARTED" in text


def test_a_wait_for_the_brokers_limit_is_told_as_such() -> None:
    found = report()
    found["latency_us"] = {"throttle_wait": {"p50": 8388.6, "p99": 939524.1, "n": 108}}
    row = {"of": "all", "window_s": 1.25, "allowed": 10, "most": 7, "reserved": 2}
    found["egress"] = {"windows": [row, row | {"of": "read", "most": 10}]}
    assert "limit" not in drawn(found), "seven left a place for the next one"
    row["most"] = 8
    text = " ".join(drawn(found).replace("│", " ").split())
    assert "limit was full at times (10 calls in 1.25 s, 2 of them kept for exits)" in text
    found["latency_us"]["throttle_wait"]["p99"] = 500.0
    assert "limit" not in drawn(found), "full, but nobody waited"


def test_what_went_wrong_is_said() -> None:
    found = report(
        state={"halted": "feed-0 died more than 5 times", "reducing": "", "token_dead": True},
        restarts=[{"process": "feed-0"}, {"process": "orders"}, {"process": "feed-0"}],
        alerts={"by_code": {"FEED_DEAD": 2, "CRASH_LOOP": 1}},
    )
    found["orders"] |= {"ambiguous": 3, "resolved": 2}
    found["ticks"]["by_connection"][0] |= {"drops": 4, "watchdog_trips": 1}
    text = drawn(found)
    for words in (
        "feed-0 died more than 5 times", "TOKEN DEAD", "feed-0 2x, orders 1x", "2 FEED_DEAD, 1 CRASH_LOOP",
        "3 orders, 2 of them found out", "4 drops, 1 of them silent",
    ):  # fmt: skip
        assert words in text, (words, text)


def test_a_simulated_exchange_is_said_with_its_rules() -> None:
    fills = {
        "fills": {"rule": "traded through", "depth": 5},
        "latency": {
            "kind": "log-normal per operation",
            "low_ns": 30_000_000,
            "high_ns": 150_000_000,
            "sigma": 0.5,
        },
    }
    assert fill_words(fills) == (
        "traded through; latency log-normal per operation (low_ns 30 ms, high_ns 150 ms, sigma 0.5)"
    )
    assert "traded through" in drawn(report(fills=fills))
    assert fill_words({"latency": {"kind": "uniform", "bounds_ns": [0, 1_000_000]}}) == (
        "latency uniform (bounds_ns 0 ms to 1 ms)"
    )
    assert fill_words({}) == ""


def test_a_long_folder_is_shown_whole() -> None:
    folder = "/very" * 40
    assert "".join(drawn(report(), folder).split()).replace("│", "").count("/very") == 40
