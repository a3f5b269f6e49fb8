"""Layer 2, compute, cold: kalman_simple that tells what it does, in the lines of the published log.

    Starting Kalman strategy...
    Tick 105 | Price ₹351.30 | KF ₹351.02
    BUY SIGNAL | RelDiff 0.00111
    BUY ORDER RESPONSE: {"status":"success","data":{"order_ids":["7"]}}

For a person who watches one instrument; form A only. `say` gets each line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from kite_hft._views import TickView
from kite_hft.layout import EventKind, Reason, Side
from kite_hft.sessions import ist_text
from kite_hft.strategies.intents import Placed
from kite_hft.strategies.kalman_simple import KalmanSimple

STARTING: Final = "Starting Kalman strategy..."
CONNECTED: Final = "WebSocket connected..."


def subscribed_line(key: str) -> str:
    return f"Subscription sent for: {key}"


def tick_line(number: int, price: float, estimate: float) -> str:
    return f"Tick {number} | Price ₹{price:.2f} | KF ₹{estimate:.2f}"


def signal_line(side: str, rel_diff: float) -> str:
    return f"{side} SIGNAL | RelDiff {rel_diff:.5f}"


def response_line(side: str, answer: dict[str, Any]) -> str:
    return f"{side} ORDER RESPONSE: {json.dumps(answer, separators=(',', ':'))}"


def stamped(line: str, epoch_ns: int) -> str:
    """With the time in India in front."""
    return f"[{ist_text(epoch_ns)}] {line}"


class ClassicKalman(KalmanSimple):
    """kalman_simple with a voice."""

    def __init__(self, say: Callable[[str], None], **params: Any) -> None:
        super().__init__(**params)
        self._say = say

    def on_start(self) -> None:
        self._say(STARTING)

    def on_tick(self, tick: TickView) -> None:
        self._say(tick_line(tick.tick_no, tick.last_price, tick.estimate))
        super().on_tick(tick)

    def place_order(self, side: str | Side, *arguments: Any, **options: Any) -> Placed:
        name = side.name if isinstance(side, Side) else side
        self._say(signal_line(name, options.get("signal", 0.0)))
        return super().place_order(side, *arguments, **options)

    def on_order(self, event: np.void) -> None:
        side, kind = Side(int(event["side"])).name, int(event["kind"])
        if kind == EventKind.ACCEPTED:
            data = {"order_ids": [str(event["order_no"])]}
            self._say(response_line(side, {"status": "success", "data": data}))
        elif kind in (EventKind.REFUSED, EventKind.REJECTED):
            errors = [{"errorCode": Reason(int(event["reason"])).name, "message": EventKind(kind).name}]
            self._say(response_line(side, {"status": "error", "errors": errors}))
        super().on_order(event)
