"""The picture of `top` fits the terminal, and shows what it was given."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from kite_hft.app.look.top_screen import Frame, screen
from kite_hft.engine.runs.report import CONNECTION_COUNTERS
from kite_hft.engine.runs.sample import LATENCIES, Sample
from kite_hft.layout import COUNTERS

S = 1_000_000_000


def sample(at_ns: int, published: int, links: int) -> Sample:
    counts = {stage: dict.fromkeys(names, 0) for stage, names in COUNTERS.items()}
    counts["feed"].update(published=published, frames=published // 10)
    counts["compute"].update(computed=published)
    counts["orders"].update(sent=published // 100, gross_pnl_paise=150, charges_paise=250, net_pnl_paise=-100)
    row = {"p50": 9.44, "p90": 20.0, "p99": 30.0, "p999": 40.0, "max": 5000.0, "n": 60}
    latency: dict[str, Any] = dict.fromkeys(LATENCIES, row)
    latency["order_ack"] = dict.fromkeys(row, 0)
    link = {"connected": True, "instruments": 3000, "last_frame_s": 0.1, "last_tick_s": 0.1, "malformed": 0,
            "drops": 0, **dict.fromkeys(CONNECTION_COUNTERS, 7)}  # fmt: skip
    rows = [{**link, "connection": n} for n in range(links)]
    return Sample(at_ns, counts["feed"], counts["compute"], counts["orders"], latency, rows)


def frame(links: int = 3, alerts: int = 0) -> Frame:
    process = {
        "pid": 77,
        "state": "alive",
        "restarts": 0,
        "heartbeat_s": 0.1,
        "cpu": 12.3,
        "rss": 1 << 26,
        "pss": 1 << 25,
    }
    return Frame(
        title="kite-X (sim), run 100000",
        uptime_s=61.0,
        before=sample(S, 1000, links),
        now=sample(2 * S, 7000, links),
        state={"state": "ACTIVE", "market_halted": False, "token_dead": False},
        processes=[{**process, "name": f"market-{n}"} for n in range(links)],
        busiest=[{"instrument": f"NSE:BUSY{n}", "rate": 9.5} for n in range(8)],
        stalest=[{"instrument": f"NSE:STALE{n}", "age_s": 3.0 if n else None} for n in range(8)],
        alerts=[{"severity": "CRITICAL", "code": "FEED_DEAD", "text": "silent " * 30}] * alerts,
    )  # fmt: skip


def drawn(shown: Frame, width: int, height: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(screen(shown, width, height))
    return out.getvalue().splitlines()


def test_rates_are_over_the_time_between_the_looks() -> None:
    text = "\n".join(drawn(frame(), 120, 0))
    for words in (
        "6,000 ticks/s", "600 frames/s", "60.0 orders/s", "gross 1.50", "charges 2.50", "net -1.00", "ACTIVE",
        "up 0:01:01", "12 %", "64 MiB", "32 MiB", "NSE:BUSY0", "9.5", "NSE:STALE0", "never", "p99.9",
    ):  # fmt: skip
        assert words in text, (words, text)
    assert "order ack" not in text, "nothing was counted"
    drained = next(line for line in text.splitlines() if line.startswith("read to drained"))
    assert drained.split()[3:] == ["9.4", "20", "30", "40", "5,000", "60"]


@pytest.mark.parametrize("alerts", [0, 2])
@pytest.mark.parametrize(("width", "height"), [(80, 50), (80, 60), (140, 50)])
def test_the_picture_fits(width: int, height: int, alerts: int) -> None:
    lines = drawn(frame(alerts=alerts), width, height)
    assert len(lines) <= height and max(map(len, lines)) <= width


def test_a_small_terminal_keeps_the_first_things() -> None:
    lines = drawn(frame(links=1, alerts=1), 80, 24)
    assert "FEED_DEAD" in "\n".join(lines[:5]) and "ticks/s" in "\n".join(lines[:8])
    assert not any("busiest" in line for line in lines)
