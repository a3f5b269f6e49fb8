"""The classic console speaks in exactly the lines of the published log."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import numpy as np
import pytest

from kite_hft.layout import ORDER_EVENT, EventKind, OrderStatus, Reason, Side
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.classic import (
    CONNECTED,
    STARTING,
    ClassicKalman,
    response_line,
    signal_line,
    stamped,
    subscribed_line,
    tick_line,
)

GOLDEN = [
    (STARTING, "Starting Kalman strategy..."),
    (CONNECTED, "WebSocket connected..."),
    (subscribed_line("NSE_FO|55775"), "Subscription sent for: NSE_FO|55775"),
    (tick_line(105, 351.3, 351.0249), "Tick 105 | Price ₹351.30 | KF ₹351.02"),
    (signal_line("BUY", 0.00111), "BUY SIGNAL | RelDiff 0.00111"),
    (signal_line("SELL", -0.0010049), "SELL SIGNAL | RelDiff -0.00100"),
    (response_line("BUY", {"status": "success"}), 'BUY ORDER RESPONSE: {"status":"success"}'),
    (stamped(STARTING, 1_755_145_801 * 10**9), "[2025-08-14 10:00:01] Starting Kalman strategy..."),
]


@pytest.mark.parametrize(("line", "expected"), GOLDEN)
def test_golden_lines(line: str, expected: str) -> None:
    assert line == expected


@pytest.mark.data
def test_every_tick_and_signal_line_of_the_published_log_is_written_alike(data_dir: Path) -> None:
    (path,) = (data_dir / "strategy_logs").glob("*.log.xz")
    seen = 0
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = line.rstrip("\n").split("[INFO]", 1)[-1].strip().replace("\\u20b9", "₹")
            if found := re.fullmatch(r"Tick (\d+) \| Price ₹([\d.]+) \| KF ₹([\d.]+)", text):
                assert tick_line(int(found[1]), float(found[2]), float(found[3])) == text
                seen += 1
            elif found := re.fullmatch(r"(BUY|SELL) SIGNAL \| RelDiff (-?[\d.]+)", text):
                assert signal_line(found[1], float(found[2])) == text
                seen += 1
    assert seen == 14_909 + 650


def test_it_tells_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    strategy = ClassicKalman(said.append)
    strategy.on_start()
    event = np.zeros(1, ORDER_EVENT)[0]
    event["side"], event["order_no"], event["strategy_seq"] = Side.SELL, 7, 1
    monkeypatch.setattr(BaseStrategy, "position", lambda self, slot: 0)
    for kind, status in ((EventKind.ACCEPTED, OrderStatus.OPEN), (EventKind.REJECTED, OrderStatus.REJECTED)):
        event["kind"], event["status"], event["reason"] = kind, status, Reason.BROKER
        strategy.on_order(event)
    assert said == [
        "Starting Kalman strategy...",
        'SELL ORDER RESPONSE: {"status":"success","data":{"order_ids":["7"]}}',
        'SELL ORDER RESPONSE: {"status":"error","errors":[{"errorCode":"BROKER","message":"REJECTED"}]}',
    ]
