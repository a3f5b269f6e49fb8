"""The classic console speaks in exactly the lines of the scripts and of the published log."""

from __future__ import annotations

import csv
import lzma
import math
import re
from pathlib import Path

import numpy as np
import pytest
from strategy_tools import Market, event, refused

from kite_hft.layout import ORDER_EVENT, EventKind, OrderStatus, OrderType, Reason, Side
from kite_hft.strategies.classic import (
    CONNECTED,
    FLATTENING,
    NEW_SESSION,
    STARTING,
    ClassicKalman,
    ClassicKalmanMl,
    entry_line,
    exit_line,
    logged,
    ml_tick_line,
    rejected_line,
    response_line,
    signal_line,
    stamped,
    stop_line,
    subscribed_line,
    tick_line,
    trade_row,
)

GOLDEN_DIR = Path(__file__).resolve().parents[2] / "golden"
AT_NS = 1_755_145_801_250 * 10**6
GOLDEN = [
    (STARTING, "Starting Kalman strategy..."),
    (CONNECTED, "WebSocket connected..."),
    (subscribed_line("NSE_FO|55775"), "Subscription sent for: NSE_FO|55775"),
    (tick_line(105, 453.25, 453.7531), "Tick 105 | Price ₹453.25 | KF ₹453.75"),
    (signal_line("BUY", 0.00111), "BUY SIGNAL | RelDiff 0.00111"),
    (signal_line("SELL", -0.0010049), "SELL SIGNAL | RelDiff -0.00100"),
    (response_line("BUY", {"status": "success"}), 'BUY ORDER RESPONSE: {"status":"success"}'),
    (FLATTENING, "Market Close: Flattening position."),
    (NEW_SESSION, "Kalman filter reset for new session."),
    (stamped(STARTING, AT_NS), "[2025-08-14 10:00:01] Starting Kalman strategy..."),
    (logged(STARTING, AT_NS), "2025-08-14 10:00:01,250 [INFO] Starting Kalman strategy..."),
    (
        ml_tick_line(105, 453.25, 453.1234567, -0.25, -0.000279),
        "Tick 105 | Price ₹453.25 | KF ₹453.123457 | Vel -0.250000 | Δ -0.000279",
    ),
    (
        entry_line(-0.000279, -0.25, 0.7),
        "ENTRY | BUY SIGNAL | RelDiff: -0.000279 | Velocity: -0.250000 | Prob: 0.7000",
    ),
    (
        entry_line(-0.000279, -0.25, math.nan),
        "ENTRY | BUY SIGNAL | RelDiff: -0.000279 | Velocity: -0.250000 | Prob: none",
    ),
    (rejected_line(0.62), "REJECTED | Trade blocked by model | Prob: 0.6200"),
    (exit_line(0.000279, 0.25), "EXIT | SELL SIGNAL | RelDiff: 0.000279 | Velocity: 0.250000"),
    (stop_line(403.25, 453.25), "STOP LOSS HIT! SELLING @ ₹403.25 (Entry: ₹453.25)"),
    (trade_row("BUY", 343.0, 343.83935922652165), "BUY,343.0,343.83935922652165"),
    (trade_row("EOD SELL", 352.1, 352.0), "EOD SELL,352.1,352.0"),
]


class Kept:
    """A voice that writes down."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rows: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def tick(self, number: int, line: str) -> None:
        assert line.startswith(f"Tick {number} ")
        self.lines.append(line)

    def trade(self, action: str, price: float, estimate: float) -> None:
        self.rows.append(trade_row(action, price, estimate))


@pytest.mark.parametrize(("line", "expected"), GOLDEN)
def test_golden_lines(line: str, expected: str) -> None:
    assert line == expected


def prices_of_the_golden_day() -> list[float]:
    """Flat, a dip, a peak, a dip."""
    return [450.0] * 118 + [449.3, 449.2, 451.5, 451.0, 450.8, 448.0]


def golden(name: str) -> list[str]:
    return (GOLDEN_DIR / name).read_text(encoding="utf-8").splitlines()


def test_a_whole_day_of_the_simple_strategy() -> None:
    """Every line and row of a small day, as the files in tests/golden have them."""
    voice = Kept()
    market = Market(ClassicKalman(voice, quantity=75))
    market.run(prices_of_the_golden_day()).run([448.5] * 3, second=22_438)
    market.compute.start_session(86_400 * 10**9, 2 * 86_400 * 10**9)
    market.run([449.0] * 2, second=86_400)
    assert voice.lines == golden("kalman_simple.log")
    assert voice.rows == golden("kalman_simple_trades.csv")


def test_a_whole_day_of_the_two_state_strategy() -> None:
    voice = Kept()
    market = Market(ClassicKalmanMl(voice, stop_by="strategy", stop_loss=5.0), x0=450.0)
    day = [450.0] * 100 + [450 - 0.05 * i for i in range(1, 13)]
    market.run([*day, 449.5, 449.45, 449.7, 450.0, 450.0, 449.9]).run([*day[95:], 449.5, 449.4], second=200.0)
    market.run([444.4, 444.3], second=300.0).run([*day, 449.5, 449.4], second=400.0).run(
        [449.4], second=22_440
    )
    assert voice.lines == golden("kalman_ml.log")
    assert voice.rows == golden("kalman_ml_trades.csv")


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


@pytest.mark.data
def test_the_published_run_is_told_line_by_line(data_dir: Path) -> None:
    """Its prices through the strategy: number, price and estimate of each tick as the log prints them.

    Signals are not comparable: that program tossed a coin before each order.
    """
    (path,) = (data_dir / "strategy_logs").glob("*.log.xz")
    text = lzma.decompress(path.read_bytes()).decode().replace("\\u20b9", "₹")
    parts = re.split(r"Starting Kalman strategy|Kalman filter reset for new session", text)
    told, published = [], []
    for part in parts:
        lines = re.findall(r"Tick \d+ \| Price ₹[\d.]+ \| KF ₹[\d.]+", part)
        published += lines
        voice = Kept()
        market = Market(ClassicKalman(voice, threshold=1.0, flatten_at=""))
        market.run([float(re.search(r"Price ₹([\d.]+)", line)[1]) for line in lines], step_s=0.1)
        told += [line for line in voice.lines if line.startswith("Tick")]
    assert len(published) == 14_909 and told == published


@pytest.mark.data
def test_rows_of_the_published_trades_are_written_alike(data_dir: Path) -> None:
    path = data_dir / "strategy_logs/seed000_trades.csv"
    rows = [trade_row(a, float(p), float(e)) for a, p, e in csv.reader(path.read_text().splitlines())]
    assert rows == path.read_text().splitlines() and len(rows) == 650


def answered(strategy_seq: int = 1, **fields: int) -> np.void:
    made = np.zeros(1, ORDER_EVENT)[0]
    made["side"], made["order_no"], made["strategy_seq"] = Side.SELL, 7, strategy_seq
    for name, value in fields.items():
        made[name] = value
    return made


def test_it_tells_of_answers() -> None:
    voice = Kept()
    strategy = ClassicKalman(voice)
    Market(strategy)
    for kind, status in ((EventKind.ACCEPTED, OrderStatus.OPEN), (EventKind.REJECTED, OrderStatus.REJECTED)):
        strategy.on_order(answered(kind=kind, status=status, reason=Reason.BROKER))
    # An answer about a cancellation has no side, and no line.
    strategy.on_order(answered(kind=EventKind.REFUSED, status=OrderStatus.REFUSED, side=0))
    assert voice.lines == [
        "Starting Kalman strategy...",
        'SELL ORDER RESPONSE: {"status":"success","data":{"order_ids":["7"]}}',
        'SELL ORDER RESPONSE: {"status":"error","errors":[{"errorCode":"BROKER","message":"REJECTED"}]}',
    ]


@pytest.mark.parametrize(
    ("order_type", "action", "line"),
    [
        (OrderType.SL, "STOPLOSS SELL", "STOP LOSS HIT! SELLING @ ₹949.00 (Entry: ₹999.00)"),
        (OrderType.MARKET, "EOD SELL", "Market Close: Flattening position."),
    ],
)
def test_what_the_engine_sells_is_told(order_type: OrderType, action: str, line: str) -> None:
    voice = Kept()
    market = Market(ClassicKalmanMl(voice), x0=1000.0)
    market.run([1000.0] * 100 + [1000 - 0.1 * i for i in range(1, 13)] + [999.0, 998.9])
    assert voice.lines[-1] == "Stop loss is kept by the order process."
    sold = {"strategy_seq": 2**62 + 5, "side": Side.SELL, "fill_px": 94_900, "order_type": order_type}
    placed = {"strategy_seq": 2**62 + 5, "side": Side.SELL}
    market.tell(event(market.intents[1], EventKind.ACCEPTED, OrderStatus.OPEN, 1, **placed))
    market.tell(event(market.intents[1], EventKind.COMPLETE, OrderStatus.COMPLETE, 0, **sold))
    market.run([])
    assert voice.lines[-1] == line and voice.rows[-1].startswith(f"{action},949.0,")
    assert sum("RESPONSE" in line for line in voice.lines) == 1, "only of its own purchase"


def test_a_refused_stop_is_told() -> None:
    voice = Kept()
    market = Market(ClassicKalmanMl(voice), x0=1000.0, answers={2: refused})
    market.run([1000.0] * 100 + [1000 - 0.1 * i for i in range(1, 13)] + [999.0, 998.9])
    assert voice.lines[-1] == "Stop loss is watched by the strategy."
