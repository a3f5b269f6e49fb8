"""Layer 2, compute, cold: the two Kalman strategies telling what they do, in the lines of the scripts.

    Starting Kalman strategy...
    Tick 105 | Price ₹351.30 | KF ₹351.02
    BUY SIGNAL | RelDiff 0.00111
    BUY ORDER RESPONSE: {"status":"success","data":{"order_ids":["7"]}}

For a person who watches one instrument; form A only. A Voice gets each line and each trade.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, Protocol

import numpy as np

from kite_hft._views import TickView
from kite_hft.layout import EventKind, OrderStatus, OrderType, Reason, Side
from kite_hft.sessions import ist_text
from kite_hft.strategies.kalman_ml import KalmanMl
from kite_hft.strategies.kalman_simple import ENGINES, KalmanSimple

STARTING: Final = "Starting Kalman strategy..."
STARTING_ML: Final = "Starting Kalman strategy with model filter..."
NO_MODEL: Final = "No model: every signal passes."
CONNECTED: Final = "WebSocket connected..."
FLATTENING: Final = "Market Close: Flattening position."
STOP_KEPT: Final = "Stop loss is kept by the order process."
STOP_WATCHED: Final = "Stop loss is watched by the strategy."
NEW_SESSION: Final = "Kalman filter reset for new session."


class Voice(Protocol):
    """Where lines and trades go."""

    def say(self, line: str) -> None:
        """A line for people."""

    def tick(self, number: int, line: str) -> None:
        """The line of tick `number` of its instrument: there are many, and a console may leave some out."""

    def trade(self, action: str, price: float, estimate: float) -> None:
        """What was asked for, at which last price, by which estimate."""


def subscribed_line(key: str) -> str:
    return f"Subscription sent for: {key}"


def tick_line(number: int, price: float, estimate: float) -> str:
    return f"Tick {number} | Price ₹{price:.2f} | KF ₹{estimate:.2f}"


def signal_line(side: str, rel_diff: float) -> str:
    return f"{side} SIGNAL | RelDiff {rel_diff:.5f}"


def response_line(side: str, answer: dict[str, Any]) -> str:
    return f"{side} ORDER RESPONSE: {json.dumps(answer, separators=(',', ':'))}"


def ml_tick_line(number: int, price: float, estimate: float, velocity: float, rel_diff: float) -> str:
    return f"Tick {number} | Price ₹{price:.2f} | KF ₹{estimate:.6f} | Vel {velocity:.6f} | Δ {rel_diff:.6f}"


def entry_line(rel_diff: float, velocity: float, chance: float) -> str:
    """chance: of the model; NaN: there is none."""
    by = "none" if math.isnan(chance) else f"{chance:.4f}"
    return f"ENTRY | BUY SIGNAL | RelDiff: {rel_diff:.6f} | Velocity: {velocity:.6f} | Prob: {by}"


def rejected_line(chance: float) -> str:
    return f"REJECTED | Trade blocked by model | Prob: {chance:.4f}"


def exit_line(rel_diff: float, velocity: float) -> str:
    return f"EXIT | SELL SIGNAL | RelDiff: {rel_diff:.6f} | Velocity: {velocity:.6f}"


def stop_line(price: float, entry: float) -> str:
    return f"STOP LOSS HIT! SELLING @ ₹{price:.2f} (Entry: ₹{entry:.2f})"


def trade_row(action: str, price: float, estimate: float) -> str:
    """A row of the classic trades.csv: no heading, all digits."""
    return f"{action},{price!r},{estimate!r}"


def stamped(line: str, epoch_ns: int) -> str:
    """With the time in India in front: [2025-08-14 10:00:01]."""
    return f"[{ist_text(epoch_ns)}] {line}"


def logged(line: str, epoch_ns: int) -> str:
    """As strategy.log has it: 2025-08-14 10:00:01,250 [INFO] line."""
    return f"{ist_text(epoch_ns)},{epoch_ns // 1_000_000 % 1000:03d} [INFO] {line}"


def answered(event: np.void) -> str:
    """The line of what became of an order of the strategy's own; "": nothing that would be told."""
    if int(event["strategy_seq"]) >= ENGINES or not int(event["side"]):
        return ""
    side, kind = Side(int(event["side"])).name, int(event["kind"])
    if kind == EventKind.ACCEPTED:
        data = {"order_ids": [str(event["order_no"])]}
        return response_line(side, {"status": "success", "data": data})
    if kind in (EventKind.REFUSED, EventKind.REJECTED):
        errors = [{"errorCode": Reason(int(event["reason"])).name, "message": EventKind(kind).name}]
        return response_line(side, {"status": "error", "errors": errors})
    return ""


def sold_by_engine(event: np.void) -> str:
    """STOPLOSS SELL or EOD SELL when an order that the engine made for the strategy has sold; else ""."""
    done = int(event["status"]) == OrderStatus.COMPLETE and int(event["side"]) == Side.SELL
    if int(event["strategy_seq"]) < ENGINES or not done:
        return ""
    return "STOPLOSS SELL" if int(event["order_type"]) in (OrderType.SL, OrderType.SLM) else "EOD SELL"


class ClassicKalman(KalmanSimple):
    """kalman_simple with a voice."""

    def __init__(self, voice: Voice, **params: Any) -> None:
        super().__init__(**params)
        self._voice = voice

    def on_start(self) -> None:
        self._voice.say(STARTING)

    def on_tick(self, tick: TickView) -> None:
        self._voice.tick(tick.tick_no, tick_line(tick.tick_no, tick.last_price, tick.estimate))
        super().on_tick(tick)

    def deciding(self, action: str, tick: TickView) -> None:
        self._voice.say(FLATTENING if action == "EOD SELL" else signal_line(action, tick.rel_diff))

    def decided(self, action: str, tick: TickView) -> None:
        self._voice.trade(action, tick.last_price, tick.estimate)

    def on_order(self, event: np.void) -> None:
        if sold_by_engine(event):
            slot = int(event["slot"])
            self._voice.say(FLATTENING)
            price = int(event["fill_px"]) / float(self._desk.scales[slot])
            self._voice.trade("EOD SELL", price, self.estimate(slot))
        elif line := answered(event):
            self._voice.say(line)
        super().on_order(event)

    def on_session(self) -> None:
        super().on_session()
        self._voice.say(NEW_SESSION)


class ClassicKalmanMl(KalmanMl):
    """kalman_ml with a voice. A stop that the order process keeps is told when it was hit."""

    def __init__(self, voice: Voice, **params: Any) -> None:
        super().__init__(**params)
        self._voice = voice

    def on_start(self) -> None:
        self._voice.say(STARTING_ML)
        if self.model is None:
            self._voice.say(NO_MODEL)

    def filtered(self, tick: TickView, estimate: float, velocity: float, rel: float) -> None:
        line = ml_tick_line(tick.tick_no, tick.last_price, estimate, velocity, rel)
        self._voice.tick(tick.tick_no, line)

    def deciding(self, action: str, tick: TickView, values: tuple[float, float, float]) -> None:
        velocity, rel, chance = values
        if action == "BUY":
            self._voice.say(entry_line(rel, velocity, chance))
        elif action == "SELL":
            self._voice.say(exit_line(rel, velocity))
        elif action == "EOD SELL":
            self._voice.say(FLATTENING)
        else:
            self._voice.say(stop_line(tick.last_price, self.paid(tick.slot) / tick.price_scale))

    def decided(self, action: str, tick: TickView, estimate: float) -> None:
        self._voice.trade(action, tick.last_price, estimate)

    def rejected(self, tick: TickView, chance: float) -> None:
        self._voice.say(rejected_line(chance))

    def on_order(self, event: np.void) -> None:
        slot, number, kind = int(event["slot"]), int(event["strategy_seq"]), int(event["kind"])
        if action := sold_by_engine(event):
            scale = float(self._desk.scales[slot])
            price = int(event["fill_px"]) / scale
            stopped = action == "STOPLOSS SELL"
            self._voice.say(stop_line(price, self.paid(slot) / scale) if stopped else FLATTENING)
            self._voice.trade(action, price, self.last_estimate(slot))
        elif number and number == self.stop_number(slot):
            if kind in (EventKind.ACCEPTED, EventKind.REFUSED):
                self._voice.say(STOP_KEPT if kind == EventKind.ACCEPTED else STOP_WATCHED)
        elif line := answered(event):
            self._voice.say(line)
        super().on_order(event)

    def on_session(self) -> None:
        super().on_session()
        self._voice.say(NEW_SESSION)
