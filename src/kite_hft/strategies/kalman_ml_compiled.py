"""Layer 2, compute, hot: the two-state Kalman strategy, form B; see kalman_ml.py for its rules."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import IntentKind
from kite_hft.strategies.compiled import CompiledStrategy
from kite_hft.strategies.intents import Records
from kite_hft.strategies.kalman_ml_params import PARAMS, KalmanMlParams
from kite_hft.strategies.kalman_simple import (
    ABSENT,
    BUY,
    CANCEL,
    CANCELLED,
    CANCELS_MAX,
    COMPLETE,
    DAY,
    DAY_S,
    ENGINES,
    EXIT,
    IST_S,
    LIMIT,
    MARKET,
    PLACE,
    REFUSED,
    REJECTED,
    SECOND_NS,
    SELL,
    SNAPSHOT,
    WORKING,
)
from kite_hft.strategies.slots import SlotFacts
from kite_hft.strategies.windows import ROWS, WINDOW, push, six_places

EXITS: Final = int(IntentKind.EXITS)

STATE = np.dtype(
    [
        ("window", WINDOW),
        ("order_seq", "<u8"),  # the one order in flight, 0: none
        ("cancel_seq", "<u8"),  # its cancellation in flight
        ("stop_seq", "<u8"),  # the stop that the order process keeps, or is to keep
        ("stop_asked", "<i8"),  # once for each position
        ("stop_stands", "<i8"),  # the order process keeps it
        ("denied", "<i8"),  # a refusal to wait after
        ("resume_ns", "<i8"),  # until then, once a tick has said when it is
        ("cancels", "<i8"),
        ("is_last", "<i8"),  # the order in flight is the closing sale
        ("paid", "<i8"),  # price units x quantity of the fills that made the position
        ("bought", "<i8"),
        ("flatten_at_s", "<i8"),  # of this instrument; -1: never
        ("scale", "<f8"),  # price units per rupee
        ("tick_px", "<i8"),
    ]
)


def fresh_states(params: KalmanMlParams, facts: SlotFacts) -> Records:
    """STATE of every slot at the start of a session."""
    states: Records = np.zeros(len(facts.scale), STATE)
    states["flatten_at_s"] = facts.flatten_s(params.flatten_at_s)
    states["scale"] = facts.scale
    states["tick_px"] = facts.ticks()
    return states


def know_price(tick: Any, state: Any, position: Any) -> None:
    """What the position has cost; forgotten when there is none."""
    if position.qty <= 0 and state.order_seq == 0:
        state.stop_asked = 0
        state.stop_seq = 0
        state.stop_stands = 0
        state.paid = 0
        state.bought = 0
    elif position.qty > 0 and state.bought == 0:  # nobody has told what it cost
        state.paid = tick.last_px * position.qty
        state.bought = position.qty


def waits(row: Any, state: Any, params: Any) -> bool:
    """Whether a refusal is too short ago."""
    if state.denied != 0:
        if state.resume_ns == 0:
            state.resume_ns = row.time_ns + params.retry_ns
        if row.time_ns < state.resume_ns:
            return True
        state.denied = 0
        state.resume_ns = 0
    return False


def on_tick(tick, row, state, position, params, out):  # type: ignore[no-untyped-def]
    """At most one intent."""
    price = tick.last_px / state.scale
    estimate = six_places(row.estimate2)
    velocity = six_places(row.velocity2)
    rel = six_places((estimate - price) / price)
    push(state.window, estimate, velocity, rel)
    second = (row.time_ns // SECOND_NS + IST_S) % DAY_S
    closing = 0 <= state.flatten_at_s <= second
    held = position.qty > 0
    know_price(tick, state, position)
    if waits(row, state, params):
        return 0
    intent = out[0]
    if state.order_seq != 0:
        if closing and state.is_last == 0 and state.cancel_seq == 0 and state.cancels < CANCELS_MAX:
            state.cancel_seq = intent.strategy_seq
            state.cancels += 1
            intent.kind = CANCEL
            intent.target_seq = state.order_seq
            return 1
        return 0
    urgent = closing
    if held:
        average = state.paid / state.bought
        distance = params.stop_loss * average / 100.0
        if not params.stop_is_percent:
            distance = round(params.stop_loss * state.scale)
        if not closing and params.stop_loss > 0 and state.stop_stands == 0:
            if params.stop_by_engine and state.stop_asked == 0:
                grid_px = np.int64(np.floor((average - distance) / state.tick_px)) * state.tick_px
                if grid_px > 0:
                    state.stop_asked = 1
                    state.stop_seq = intent.strategy_seq
                    intent.kind = EXITS
                    intent.product = params.product
                    intent.trigger_px = grid_px
                    return 1
            urgent = tick.last_px <= average - distance
        side = -params.entry_sign * rel
        if not urgent and not (velocity > 0 and params.epsilon < side < params.rel_width - params.epsilon):
            return 0
    else:
        side = params.entry_sign * rel
        if closing or position.qty != 0 or second < params.start_at_s:
            return 0
        if row.tick_no < params.warmup or state.window.count < ROWS:
            return 0
        if not (velocity < 0 and params.epsilon < side < params.rel_width - params.epsilon):
            return 0
    intent.kind = PLACE
    intent.side = SELL if held else BUY
    intent.order_type = MARKET if urgent else params.order_type
    intent.product = params.product
    intent.validity = DAY if urgent else params.validity
    intent.flags = EXIT if held else 0
    intent.qty = position.qty if held else params.quantity
    if intent.order_type == LIMIT:
        touch = tick.bid_px if held else tick.ask_px
        intent.px = touch if touch > 0 else tick.last_px
    intent.signal = rel
    state.order_seq = intent.strategy_seq
    state.is_last = 1 if closing else 0
    return 1


def on_order(event, state, position):  # type: ignore[no-untyped-def]
    """What the purchase cost, and that the order in flight, its cancellation or the stop has ended.

    After a restart a SNAPSHOT may name an order in flight that was forgotten. Orders that the engine
    makes (the stop itself, closing everything) are not the strategy's to wait for.
    """
    if event.strategy_seq == 0 or event.strategy_seq >= ENGINES:
        return
    if event.kind == SNAPSHOT and state.order_seq == 0 and event.status in WORKING:
        state.order_seq = event.strategy_seq
        state.is_last = 0
        return
    denied = event.status in (REFUSED, REJECTED, ABSENT)
    if event.strategy_seq == state.order_seq:
        if event.side == BUY and event.fill_qty > 0:
            state.paid += np.int64(event.fill_px) * np.int64(event.fill_qty)
            state.bought += event.fill_qty
        if denied or event.status in (COMPLETE, CANCELLED):
            state.order_seq = 0
            state.cancel_seq = 0
            state.cancels = 0
            if denied:
                state.denied = 1
    elif event.strategy_seq == state.stop_seq:
        state.stop_stands = 1 if event.status in WORKING else 0
        if denied:
            state.stop_seq = 0
    elif event.strategy_seq == state.cancel_seq and denied:
        state.cancel_seq = 0
        state.denied = 1


class KalmanMlCompiled(CompiledStrategy):
    """Form B."""

    name: ClassVar[str] = "kalman_ml"
    indices = False
    PARAMS = PARAMS
    STATE = STATE
    on_tick = staticmethod(on_tick)
    on_order = staticmethod(on_order)

    def __init__(self, **params: Any) -> None:
        self.settings = KalmanMlParams.named(params)
        self.params = self.settings.record()
        self.facts: SlotFacts | None = None

    def prepare(self, facts: SlotFacts) -> None:
        self.facts = facts

    def fresh(self, scales: npt.NDArray[np.float64]) -> Records:
        return fresh_states(self.settings, self.facts or SlotFacts(scales))
