"""What a person sees of a run: panel on a terminal, lines elsewhere, drawn from plain numbers."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import pytest
from rich.console import Console

from kite_hft.engine.runs.live import OTHER, LiveView, PlainView, make_view
from kite_hft.engine.runs.log import open_log
from kite_hft.engine.runs.sample import LATENCIES, Sample
from kite_hft.layout import COUNTERS

S = 1_000_000_000


def sample(at_ns: int, published: int) -> Sample:
    counts = {stage: dict.fromkeys(names, 0) for stage, names in COUNTERS.items()}
    counts["feed"]["published"] = published
    row = {"p50": 10.0, "p90": 20.0, "p99": 30.0, "p999": 40.0, "max": 50.0, "n": 60}
    return Sample(at_ns, counts["feed"], counts["compute"], counts["orders"], dict.fromkeys(LATENCIES, row))


def test_the_plain_view_prints_a_line_every_few_seconds() -> None:
    out, logged = io.StringIO(), []
    view = PlainView(Console(file=out, width=60), logged.append)
    for second in range(12):
        view.show(sample(second * S, second * 100))
    lines = out.getvalue().splitlines()
    assert len(lines) == len(logged) == 2
    assert lines[0].startswith("100 ticks/s | 500 ticks")


def test_the_panel_redraws_and_keeps_the_last_messages() -> None:
    out, logged = io.StringIO(), []
    view = LiveView(Console(file=out, width=110, force_terminal=True), logged.append, "kite_hft sim")
    view.show(sample(S, 100))
    view.say("feed: connected")
    view.show(sample(2 * S, 300))
    view.end()
    text = out.getvalue()
    assert "kite_hft sim" in text and "ticks/s" in text and "feed: connected" in text
    assert logged == ["feed: connected"]


@pytest.mark.parametrize(("terminal", "plain", "kind"), [(True, False, LiveView), (True, True, PlainView)])
def test_lines_where_lines_are_wanted(terminal: bool, plain: bool, kind: type) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert isinstance(make_view(console, "t", plain, print), kind)
    assert isinstance(make_view(Console(file=io.StringIO()), "t", False, print), PlainView)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_words_of_the_broker_cannot_steer_a_terminal_or_break_the_log(tmp_path: Path) -> None:
    out = io.StringIO()
    for view in (
        PlainView(Console(file=out, width=200), open_log(tmp_path / "engine.log")),
        LiveView(Console(file=out, width=200), open_log(tmp_path / "engine.log"), "t"),
    ):
        view.say("the broker says \x1b[2J\x9b31m\ud800\r\nover")
    text = out.getvalue() + (tmp_path / "engine.log").read_text("utf-8")
    assert not [c for c in text if not c.isprintable() and c != "\n"] and text.count("over") == 4
    open_log(tmp_path / "raw.log")("half a pair: \ud800")
    assert "half a pair" in (tmp_path / "raw.log").read_text("utf-8")
    del view
    gc.collect()  # a run's log stays open until its process ends


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "Price ₹351.30 | Δ 0.1 µs"),
        ("ascii", "Price Rs 351.30 | d 0.1 us"),
        ("latin-1", "Price Rs 351.30 | d 0.1 µs"),
        ("cp1252", "Price Rs 351.30 | d 0.1 µs"),
        ("cp437", "Price Rs 351.30 | d 0.1 µs"),
        ("utf-16", "Price ₹351.30 | Δ 0.1 µs"),
    ],
)
def test_the_rupee_sign_is_safe_on_every_console(encoding: str, shown: str) -> None:
    assert "Price ₹351.30 | Δ 0.1 µs".encode(encoding, OTHER).decode(encoding) == shown
    assert "\udcff☃".encode("ascii", OTHER) == b"??"
