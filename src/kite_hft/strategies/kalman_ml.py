"""Layer 2, compute, hot: the published two-state Kalman strategy, in both forms.

Long only, one order at a time per instrument. The 2-state filter gives price and velocity; with
rel = (estimate - price) / price, all rounded to six places:

    entry      velocity < 0 and  epsilon < entry_sign * rel < rel_width - epsilon, flat
    exit       velocity > 0 and  epsilon < -entry_sign * rel < rel_width - epsilon, long
    stop loss  price at or below the average price paid, less `stop_loss`
    close      a working order is cancelled, a position sold, nothing bought until the next session

entry_sign is -1 as in the published code, which buys while the price stands ABOVE the estimate; its
description says "price below estimate", which is +1. Tick number `warmup` is the first that may trade,
after ten rows of the window (windows.py). Exit and stop do not wait for either.

The stop is kept by the order process (stop_by: engine), which protects the position when this process
is gone; the strategy sells by itself where that is refused or wished (stop_by: strategy).

A model that judges entries by their window is not part of the package yet: every signal passes, and
`ml.require: true` refuses to start. `KalmanMl.model` is where one is plugged in, in form A.

This module is form A; form B, kalman_ml_compiled.py, writes the same INTENT bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from kite_hft._views import TickView
from kite_hft.sessions import seconds_of_day
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.kalman_ml_params import KalmanMlParams
from kite_hft.strategies.kalman_simple import (
    ABSENT,
    BUY,
    CANCELLED,
    CANCELS_MAX,
    COMPLETE,
    DAY_S,
    ENGINES,
    IST_S,
    REFUSED,
    REJECTED,
    SECOND_NS,
    SNAPSHOT,
    WORKING,
)
from kite_hft.strategies.slots import SlotFacts
from kite_hft.strategies.windows import ROWS, six_places

Model = Callable[[npt.NDArray[np.float64]], float]
"""The window (10, 3), oldest row first -> probability that the entry is a good one."""


class _Slot(msgspec.Struct):
    """What form A remembers of one instrument."""

    flatten_at_s: int
    tick_px: int
    rows: list[tuple[float, float, float]] = []
    count: int = 0
    order_id: int = 0
    cancel_id: int = 0
    stop_id: int = 0
    stop_asked: bool = False
    stop_stands: bool = False
    denied: bool = False
    resume_ns: int = 0
    cancels: int = 0
    is_last: bool = False
    paid: int = 0
    bought: int = 0


class KalmanMl(BaseStrategy):
    """Form A. `model`: None: every signal passes."""

    name = "kalman_ml"
    indices = False  # it trades what it watches

    def __init__(self, **params: Any) -> None:
        self.settings = KalmanMlParams.named(params)
        self.model: Model | None = None
        self._start_at_s = seconds_of_day(self.settings.start_at)
        self._flatten_s: list[int] = []
        self._tick_px: list[int] = []
        self._slots: dict[int, _Slot] = {}

    def prepare(self, facts: SlotFacts) -> None:
        self._flatten_s = facts.flatten_s(self.settings.flatten_at_s).tolist()
        self._tick_px = facts.ticks().tolist()

    # What somebody who watches may want to know (classic.py).

    def filtered(self, tick: TickView, estimate: float, velocity: float, rel: float) -> None:
        """The filter has taken in a tick."""

    def deciding(self, action: str, tick: TickView, values: tuple[float, float, float]) -> None:
        """BUY, SELL, STOPLOSS SELL or EOD SELL is about to be asked for. values: (velocity, rel, chance)."""

    def decided(self, action: str, tick: TickView, estimate: float) -> None:
        """It was asked for, and the queue took it."""

    def rejected(self, tick: TickView, chance: float) -> None:
        """The model found the entry not good enough."""

    def window(self, slot: int) -> npt.NDArray[np.float64]:
        """(rows, 3): estimate, velocity, relative difference of the last ticks, the oldest first."""
        mine = self._slots.get(slot)
        return np.array(mine.rows if mine else [], np.float64).reshape(-1, 3)

    def paid(self, slot: int) -> float:
        """What a position cost on average, in price units; NaN: there is none."""
        mine = self._slots.get(slot)
        return mine.paid / mine.bought if mine and mine.bought else math.nan

    def last_estimate(self, slot: int) -> float:
        """The estimate of the last tick; NaN before one."""
        mine = self._slots.get(slot)
        return mine.rows[-1][0] if mine and mine.rows else math.nan

    def stop_number(self, slot: int) -> int:
        """Under which number the order process tells of the stop; 0: none was asked for."""
        mine = self._slots.get(slot)
        return mine.stop_id if mine else 0

    def on_tick(self, tick: TickView) -> None:
        slot = tick.slot
        mine = self._slots.get(slot) or self._new(slot)
        price = tick.last_price
        estimate, velocity = six_places(tick.estimate2), six_places(tick.velocity2)
        rel = six_places((estimate - price) / price)
        mine.rows.append((estimate, velocity, rel))
        mine.count += 1
        del mine.rows[:-ROWS]
        self.filtered(tick, estimate, velocity, rel)
        second = (tick.time_ns // SECOND_NS + IST_S) % DAY_S
        closing = 0 <= mine.flatten_at_s <= second
        qty = self.position(slot)
        self._know_price(mine, tick, qty)
        if mine.denied and self._waits(mine, tick.time_ns):
            return
        if mine.order_id:
            if closing and not mine.is_last and not mine.cancel_id and mine.cancels < CANCELS_MAX:
                self._cancel(slot, mine)
        elif qty > 0:
            self._look_at_exit(tick, mine, (estimate, velocity, rel), qty, closing=closing)
        elif qty == 0 and not closing and second >= self._start_at_s:
            self._look_at_entry(tick, mine, (estimate, velocity, rel))

    def _new(self, slot: int) -> _Slot:
        flatten_s = self._flatten_s[slot] if self._flatten_s else self.settings.flatten_at_s
        mine = self._slots[slot] = _Slot(flatten_s, self._tick_px[slot] if self._tick_px else 1)
        return mine

    @staticmethod
    def _know_price(mine: _Slot, tick: TickView, qty: int) -> None:
        if qty <= 0 and not mine.order_id:
            mine.stop_id = mine.paid = mine.bought = 0
            mine.stop_asked = mine.stop_stands = False
        elif qty > 0 and not mine.bought:  # nobody has told what it cost
            mine.paid, mine.bought = tick.last_px * qty, qty

    def _waits(self, mine: _Slot, time_ns: int) -> bool:
        if not mine.resume_ns:
            mine.resume_ns = time_ns + self.settings.retry_ns
        if time_ns < mine.resume_ns:
            return True
        mine.denied, mine.resume_ns = False, 0
        return False

    def _within(self, side: float) -> bool:
        chosen = self.settings
        return chosen.epsilon < side < chosen.rel_width - chosen.epsilon

    def _look_at_exit(
        self, tick: TickView, mine: _Slot, values: tuple[float, float, float], qty: int, *, closing: bool
    ) -> None:
        chosen, (_estimate, velocity, rel) = self.settings, values
        average = mine.paid / mine.bought
        distance = chosen.stop_loss * average / 100.0
        if not chosen.stop_is_percent:
            distance = round(chosen.stop_loss * tick.price_scale)  # whole units: 0.3 is no binary number
        stopped = False
        if not closing and chosen.stop_loss > 0 and not mine.stop_stands:
            ask = chosen.stop_by == "engine" and not mine.stop_asked
            if ask and self._ask_for_stop(tick, mine, average - distance):
                return
            stopped = tick.last_px <= average - distance
        if closing or stopped or (velocity > 0 and self._within(-chosen.entry_sign * rel)):
            action = "EOD SELL" if closing else "STOPLOSS SELL" if stopped else "SELL"
            self._order(action, tick, mine, values, qty)

    def _ask_for_stop(self, tick: TickView, mine: _Slot, at_px: float) -> bool:
        """Whether there is a price for one: a stop below zero is none."""
        grid_px = math.floor(at_px / mine.tick_px) * mine.tick_px
        if grid_px <= 0:
            return False
        answer = self.exits(
            tick.instrument_token, grid_px / tick.price_scale, product=self.settings.product, slot=tick.slot
        )
        mine.stop_asked, mine.stop_id = True, answer.order_id if answer.accepted else 0
        return True

    def _look_at_entry(self, tick: TickView, mine: _Slot, values: tuple[float, float, float]) -> None:
        _estimate, velocity, rel = values
        if tick.tick_no < self.settings.warmup or mine.count < ROWS:
            return
        if velocity < 0 and self._within(self.settings.entry_sign * rel):
            chance = self.model(self.window(tick.slot)) if self.model is not None else np.nan
            if self.model is not None and not chance >= self.settings.ml_threshold:
                self.rejected(tick, chance)
            else:
                self._order("BUY", tick, mine, values, self.settings.quantity, chance)

    def _order(
        self,
        action: str,
        tick: TickView,
        mine: _Slot,
        values: tuple[float, float, float],
        qty: int,
        chance: float = np.nan,
    ) -> None:
        chosen, sells, urgent = self.settings, action != "BUY", action in ("EOD SELL", "STOPLOSS SELL")
        estimate, velocity, rel = values
        self.deciding(action, tick, (velocity, rel, chance))
        kind = "MARKET" if urgent else chosen.order_type
        touch_px = (tick.bid_px if sells else tick.ask_px) or tick.last_px
        answer = self.place_order(
            "SELL" if sells else "BUY", tick.instrument_token, qty, kind, chosen.product,
            touch_px / tick.price_scale if kind == "LIMIT" else None,
            validity="DAY" if urgent else chosen.validity, is_exit=sells, signal=rel, slot=tick.slot,
        )  # fmt: skip
        mine.is_last = action == "EOD SELL"
        if answer.accepted:
            mine.order_id = answer.order_id
            self.decided(action, tick, estimate)
        else:
            mine.denied = True

    def _cancel(self, slot: int, mine: _Slot) -> None:
        mine.cancels += 1
        answer = self.cancel_order(mine.order_id, slot)
        if answer.accepted:
            mine.cancel_id = answer.order_id
        else:
            mine.denied = True

    def on_session(self) -> None:
        self._slots.clear()

    def save(self) -> bytes:
        return msgspec.msgpack.encode(self._slots)

    def restore(self, saved: bytes) -> None:
        self._slots = msgspec.msgpack.decode(saved, type=dict[int, _Slot])

    def on_order(self, event: np.void) -> None:
        slot, number, status = int(event["slot"]), int(event["strategy_seq"]), int(event["status"])
        if number == 0 or number >= ENGINES:
            return
        mine = self._slots.get(slot)
        if int(event["kind"]) == SNAPSHOT and status in WORKING and (mine is None or not mine.order_id):
            mine = mine or self._new(slot)
            mine.order_id, mine.is_last = number, False
            return
        if mine is None:
            return
        denied = status in (REFUSED, REJECTED, ABSENT)
        if number == mine.order_id:
            if int(event["side"]) == BUY:
                mine.paid += int(event["fill_px"]) * int(event["fill_qty"])
                mine.bought += int(event["fill_qty"])
            if denied or status in (COMPLETE, CANCELLED):
                mine.order_id = mine.cancel_id = mine.cancels = 0
                mine.denied = mine.denied or denied
        elif number == mine.stop_id:
            mine.stop_stands = status in WORKING
            if denied:
                mine.stop_id = 0
        elif number == mine.cancel_id and denied:
            mine.cancel_id, mine.denied = 0, True
