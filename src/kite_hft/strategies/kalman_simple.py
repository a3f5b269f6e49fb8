"""Layer 2, compute, hot: the published simple Kalman strategy, in both forms.

Long only, one order at a time per instrument. With rel = (estimate - price) / price of the
1-state filter: BUY `quantity` when rel > threshold and flat, SELL the whole position when
rel < -threshold and long; tick number `warmup` of the filter is the first that may trade. At
`flatten_at` (by the tick's own time; earlier where the market takes no order then, see slots.py) a
working order is cancelled, a position is sold at market, and nothing is bought until the next
session. After a refusal or rejection it waits `retry_ticks` ticks.

Both forms write the same INTENT bytes: the test feeds both and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
import numpy.typing as npt

from kite_hft._views import TickView
from kite_hft.layout import (
    EventKind,
    IntentFlag,
    IntentKind,
    OrderStatus,
    OrderType,
    Product,
    Side,
    Validity,
)
from kite_hft.sessions import seconds_of_day
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy
from kite_hft.strategies.intents import Records
from kite_hft.strategies.slots import NEVER_S, SlotFacts
from kite_hft.units import IST_OFFSET_S, NS_PER_S

# Plain integers: numba freezes them into the machine code.
DAY_S: Final = 86_400
IST_S: Final = int(IST_OFFSET_S)
SECOND_NS: Final = int(NS_PER_S)
PLACE: Final = int(IntentKind.PLACE)
CANCEL: Final = int(IntentKind.CANCEL)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
MARKET: Final = int(OrderType.MARKET)
LIMIT: Final = int(OrderType.LIMIT)
DAY: Final = int(Validity.DAY)
EXIT: Final = int(IntentFlag.EXIT)
REFUSED: Final = int(OrderStatus.REFUSED)
REJECTED: Final = int(OrderStatus.REJECTED)
COMPLETE: Final = int(OrderStatus.COMPLETE)
CANCELLED: Final = int(OrderStatus.CANCELLED)
ABSENT: Final = int(OrderStatus.ABSENT)
SNAPSHOT: Final = int(EventKind.SNAPSHOT)
WORKING: Final = (
    int(OrderStatus.SENT),
    int(OrderStatus.PENDING),
    int(OrderStatus.OPEN),
    int(OrderStatus.TRIGGER_PENDING),
    int(OrderStatus.AMBIGUOUS),
)
CANCELS_MAX: Final = 5
ENGINES: Final = 2**62
"""Numbers of orders that the engine makes for a strategy begin here (base.on_order)."""

PARAMS = np.dtype(
    [
        ("threshold", "<f8"),
        ("warmup", "<i8"),
        ("quantity", "<i8"),
        ("start_at_s", "<i8"),  # seconds after midnight IST
        ("retry_ticks", "<i8"),
        ("product", "<i8"),
        ("order_type", "<i8"),
        ("validity", "<i8"),
    ]
)
STATE = np.dtype(
    [
        ("order_seq", "<u8"),  # the one order in flight, 0: none
        ("cancel_seq", "<u8"),  # its cancellation in flight
        ("pause", "<i8"),  # ticks to wait after a refusal
        ("retry_ticks", "<i8"),
        ("cancels", "<i8"),
        ("is_last", "<i8"),  # the order in flight is the closing sale
        ("flatten_at_s", "<i8"),  # of this instrument; -1: never
    ]
)


@dataclass(frozen=True, slots=True)
class KalmanSimpleParams:
    """Parameters by name. The filter's own (q, r, p0, x0) are the kernel's: `kernels` in the settings.

    order_type: MARKET (ORDERS adds the broker's price protection) or LIMIT at the far touch.
    start_at, flatten_at: HH:MM:SS in India; flatten_at "" never flattens. instrument_token: the number
    that the one instrument is believed to have; the engine refuses to start when it has another. 0: any.
    """

    threshold: float = 0.001
    warmup: int = 100
    quantity: int = 1
    product: str = "MIS"
    order_type: str = "MARKET"
    validity: str = "DAY"
    start_at: str = "09:15:00"
    flatten_at: str = "15:29:00"
    retry_ticks: int = 50
    instrument_token: int = 0

    def __post_init__(self) -> None:
        if not self.threshold >= 0 or self.quantity < 1 or self.warmup < 0 or self.retry_ticks < 0:
            raise ValueError("threshold, warmup and retry_ticks must be >= 0, quantity >= 1")
        if self.order_type not in {"MARKET", "LIMIT"}:
            raise ValueError(f"order_type {self.order_type!r}: MARKET or LIMIT")
        if self.flatten_at:
            seconds_of_day(self.flatten_at)
        self.record()

    def record(self) -> np.ndarray[Any, np.dtype[np.void]]:
        """As one PARAMS record, shape (1,).

        Raises:
            KeyError: no such product, order type or validity.
            CalendarError: no time of day.
        """
        packed = np.zeros(1, PARAMS)
        for name in ("threshold", "warmup", "quantity", "retry_ticks"):
            packed[name] = getattr(self, name)
        packed["start_at_s"] = seconds_of_day(self.start_at)
        packed["product"] = Product[self.product]
        packed["order_type"] = OrderType[self.order_type]
        packed["validity"] = Validity[self.validity]
        return packed

    @property
    def flatten_at_s(self) -> int:
        """Seconds after midnight IST; -1: never."""
        return seconds_of_day(self.flatten_at) if self.flatten_at else -1


# ---- form B: compiled ----------------------------------------------------------------------------


def on_tick(tick, row, state, position, params, out):  # type: ignore[no-untyped-def]
    """At most one intent."""
    second = (row.time_ns // SECOND_NS + IST_S) % DAY_S
    closing = 0 <= state.flatten_at_s <= second
    if state.pause > 0:
        state.pause -= 1
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
    rel = row.rel_diff
    long = position.qty > 0
    if closing:
        if not long:
            return 0
    elif row.tick_no < params.warmup or second < params.start_at_s:
        return 0
    elif long:
        if not rel < -params.threshold:
            return 0
    elif position.qty != 0 or not rel > params.threshold:
        return 0
    intent.kind = PLACE
    intent.side = SELL if long else BUY
    intent.order_type = MARKET if closing else params.order_type
    intent.product = params.product
    intent.validity = DAY if closing else params.validity
    intent.flags = EXIT if long else 0
    intent.qty = position.qty if long else params.quantity
    if intent.order_type == LIMIT:
        touch = tick.bid_px if long else tick.ask_px
        intent.px = touch if touch > 0 else tick.last_px
    intent.signal = rel
    state.order_seq = intent.strategy_seq
    state.retry_ticks = params.retry_ticks
    state.is_last = 1 if closing else 0
    return 1


def on_order(event, state, position):  # type: ignore[no-untyped-def]
    """Learn that the order in flight, or its cancellation, has come to its end.

    After a restart a SNAPSHOT may name an order in flight that was forgotten. Orders that the engine
    makes (a stop, closing everything) are not the strategy's to wait for.
    """
    if event.strategy_seq == 0 or event.strategy_seq >= ENGINES:
        return
    if event.kind == SNAPSHOT and state.order_seq == 0 and event.status in WORKING:
        state.order_seq = event.strategy_seq
        state.is_last = 0
        return
    denied = event.status in (REFUSED, REJECTED, ABSENT)
    if event.strategy_seq == state.order_seq:
        if denied or event.status in (COMPLETE, CANCELLED):
            state.order_seq = 0
            state.cancel_seq = 0
            state.cancels = 0
            if denied:
                state.pause = state.retry_ticks
    elif event.strategy_seq == state.cancel_seq and denied:
        state.cancel_seq = 0
        state.pause = state.retry_ticks


class KalmanSimpleCompiled(CompiledStrategy):
    """Form B."""

    name: ClassVar[str] = "kalman_simple"
    indices = False  # it trades what it watches
    PARAMS = PARAMS
    STATE = STATE
    on_tick = staticmethod(on_tick)
    on_order = staticmethod(on_order)

    def __init__(self, **params: Any) -> None:
        self.settings = KalmanSimpleParams(**params)
        self.params = self.settings.record()
        self.facts: SlotFacts | None = None

    def prepare(self, facts: SlotFacts) -> None:
        self.facts = facts

    def fresh(self, scales: npt.NDArray[np.float64]) -> Records:
        states: Records = np.zeros(len(scales), STATE)
        states["flatten_at_s"] = (self.facts or SlotFacts(scales)).flatten_s(self.settings.flatten_at_s)
        return states


# ---- form A: plain Python ------------------------------------------------------------------------


@dataclass(slots=True)
class _Slot:
    """What form A remembers of one instrument."""

    order_id: int = 0
    cancel_id: int = 0
    cancels: int = 0
    pause: int = 0
    is_last: bool = False


class KalmanSimple(BaseStrategy):
    """Form A."""

    name = "kalman_simple"
    indices = False

    def __init__(self, **params: Any) -> None:
        self.settings = KalmanSimpleParams(**params)
        self._start_at_s = seconds_of_day(self.settings.start_at)
        self._flatten_s: dict[int, int] = {}  # slot -> where it is not flatten_at
        self._flatten_at_s = self.settings.flatten_at_s if self.settings.flatten_at else NEVER_S
        self._slots: dict[int, _Slot] = {}

    def prepare(self, facts: SlotFacts) -> None:
        if self.settings.flatten_at:
            self._flatten_s = dict(enumerate(facts.flatten_s(self._flatten_at_s).tolist()))

    def deciding(self, action: str, tick: TickView) -> None:
        """BUY, SELL or EOD SELL is about to be asked for."""

    def decided(self, action: str, tick: TickView) -> None:
        """It was asked for, and the queue took it."""

    def on_tick(self, tick: TickView) -> None:
        slot = tick.slot
        mine = self._slots.get(slot)
        if mine is None:
            mine = self._slots[slot] = _Slot()
        second = (tick.time_ns // SECOND_NS + IST_S) % DAY_S
        closing = second >= self._flatten_s.get(slot, self._flatten_at_s)
        if mine.pause > 0:
            mine.pause -= 1
        elif mine.order_id:
            if closing and not mine.is_last and not mine.cancel_id and mine.cancels < CANCELS_MAX:
                self._cancel(slot, mine)
        elif closing:
            if self.position(slot) > 0:
                self._order(tick, slot, mine, closing=True)
        elif tick.tick_no >= self.settings.warmup and second >= self._start_at_s:
            rel = tick.rel_diff
            if -self.settings.threshold <= rel <= self.settings.threshold:
                return
            qty = self.position(slot)
            if (rel > 0 and qty == 0) or (rel < 0 and qty > 0):
                self._order(tick, slot, mine, closing=False)

    def _order(self, tick: TickView, slot: int, mine: _Slot, *, closing: bool) -> None:
        chosen = self.settings
        qty = self.position(slot)
        action = "BUY" if qty <= 0 else "EOD SELL" if closing else "SELL"
        kind = "MARKET" if closing else chosen.order_type
        self.deciding(action, tick)
        touch_px = (tick.bid_px if qty > 0 else tick.ask_px) or tick.last_px
        answer = self.place_order(
            "SELL" if qty > 0 else "BUY",
            tick.instrument_token,
            qty if qty > 0 else chosen.quantity,
            kind,
            chosen.product,
            touch_px / tick.price_scale if kind == "LIMIT" else None,
            validity="DAY" if closing else chosen.validity,
            is_exit=qty > 0,
            signal=tick.rel_diff,
            slot=slot,
        )
        mine.is_last = closing
        if answer.accepted:
            mine.order_id = answer.order_id
            self.decided(action, tick)
        else:
            mine.pause = chosen.retry_ticks

    def _cancel(self, slot: int, mine: _Slot) -> None:
        mine.cancels += 1
        answer = self.cancel_order(mine.order_id, slot)
        if answer.accepted:
            mine.cancel_id = answer.order_id
        else:
            mine.pause = self.settings.retry_ticks

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
            mine = self._slots.setdefault(slot, _Slot())
            mine.order_id, mine.is_last = number, False
            return
        if mine is None:
            return
        denied = status in (REFUSED, REJECTED, ABSENT)
        if number == mine.order_id:
            if denied or status in (COMPLETE, CANCELLED):
                mine.order_id = mine.cancel_id = mine.cancels = 0
                if denied:
                    mine.pause = self.settings.retry_ticks
        elif number == mine.cancel_id and denied:
            mine.cancel_id = 0
            mine.pause = self.settings.retry_ticks
