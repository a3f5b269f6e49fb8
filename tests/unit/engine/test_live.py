"""What a person sees: panel, plain line and summary, drawn from plain numbers."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kite_hft.engine.live import LATENCIES, LiveView, PlainView, Sample, make_view, summary, ticks_per_second
from kite_hft.layout import COUNTERS

S = 1_000_000_000


def sample(at_ns: int, published: int) -> Sample:
    counts = {stage: dict.fromkeys(names, 0) for stage, names in COUNTERS.items()}
    counts["feed"]["published"] = published
    counts["compute"]["computed"] = published - 7
    counts["compute"]["lost"] = 2
    counts["orders"].update(sent=12, filled=9, refused=3, rejected=1, gross_pnl_paise=-12345, positions=4)
    row = {"p50": 10.0, "p90": 20.0, "p99": 30.0, "p999": 40.0, "max": 50.0, "n": 60}
    return Sample(at_ns, counts["feed"], counts["compute"], counts["orders"], dict.fromkeys(LATENCIES, row))


def test_rate_and_lag() -> None:
    before, now = sample(S, 100), sample(3 * S, 500)
    assert ticks_per_second(before, now) == 200.0 and ticks_per_second(now, now) == 0.0
    assert now.lag == 5


def test_the_plain_view_prints_a_line_every_few_seconds() -> None:
    out, logged = io.StringIO(), []
    view = PlainView(Console(file=out, width=60), logged.append)
    for second in range(12):
        view.show(sample(second * S, second * 100))
    lines = out.getvalue().splitlines()
    assert len(lines) == len(logged) == 2
    assert lines[0].startswith("100 ticks/s | 500 ticks, lag 5, lost 2 | orders 12 sent, 9 filled, 3 refused")
    assert "gross P&L ₹-123.45" in lines[0]


def test_the_panel_shows_the_same_numbers() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, width=110, force_terminal=True), lambda line: None, "kite_hft sim")
    view.show(sample(S, 100))
    view.say("feed: connected")
    view.show(sample(2 * S, 300))
    view.end()
    text = out.getvalue()
    for words in (
        "kite_hft sim",
        "ticks/s",
        "lost 2",
        "orders sent",
        "₹-123.45",
        "read to computed",
        "connected",
    ):
        assert words in text, words


@pytest.mark.parametrize(("terminal", "plain", "kind"), [(True, False, LiveView), (True, True, PlainView)])
def test_lines_where_lines_are_wanted(terminal: bool, plain: bool, kind: type) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert isinstance(make_view(console, "t", plain, print), kind)
    assert isinstance(make_view(Console(file=io.StringIO()), "t", False, print), PlainView)


def test_the_summary_of_a_run_whose_orders_process_died() -> None:
    ticks = {"received": 1, "published": 1, "computed": 1, "lost": 0, "malformed": {}}
    row = {"p50": 0.0, "p99": 0.0, "n": 0}
    report = {
        "duration_s": 1.0, "mode": "sim", "ticks": ticks, "bars": 0, "signals": 0, "positions": [],
        "orders": {"intents": 3, "sent": 1, "filled": 1, "rejected": 0, "refused": {"UNKNOWN": 2}},
        "pnl_paise": {"gross": -5, "charges": 0, "net": -5}, "open_at_end": {}, "start": {},
        "latency_us": dict.fromkeys(("read_to_computed", "tick_to_intent", "intent_to_sent"), row),
    }  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=100).print(summary(report, "folder"))
    assert "2 UNKNOWN" in out.getvalue() and "gross ₹-0.05" in out.getvalue() and "flat" in out.getvalue()
