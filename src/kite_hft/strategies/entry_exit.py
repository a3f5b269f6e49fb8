"""Layer 2, compute, hot: form A with an entry, a size and two exits: five questions instead of one on_tick.

    class Mine(EntryExitStrategy):
        def validate_entry_conditions(self, tick):
            return tick.change_percent > 2.0

While an instrument is flat, each of its ticks asks `check_time_window`, then `validate_entry_conditions`;
when both say yes, `calculate_position_size` units are bought (or sold, `entry_side`), and stop and target
of `get_exit_levels` are handed to the order process, which keeps them at the broker, also when the strategy
dies.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np

from kite_hft._views import TickView
from kite_hft.layout import EventKind, OrderStatus, Side
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.kalman_simple import ENGINES
from kite_hft.strategies.slots import SlotFacts
from kite_hft.units import IST_OFFSET_S, NS_PER_S

DAY_S: Final = 86_400
OVER: Final = frozenset({
    OrderStatus.REFUSED, OrderStatus.REJECTED, OrderStatus.ABSENT, OrderStatus.CANCELLED,
    OrderStatus.COMPLETE,
})  # fmt: skip


class EntryExitStrategy(BaseStrategy):
    """Override `validate_entry_conditions`, and what else is to differ.

    quantity: units of an entry. stop_percent, target_percent: from the price of the entry. start, end:
    HH:MM or HH:MM:SS of India, between which entries are taken. entries_max: entries of the day in one
    instrument.
    """

    name = "entry_exit"
    indices = False
    entry_side = "BUY"

    def __init__(
        self,
        quantity: int = 1,
        stop_percent: float = 2.0,
        target_percent: float = 4.0,
        start: str = "09:20",
        end: str = "15:00",
        entries_max: int = 1,
        product: str = "MIS",
    ) -> None:
        """Raises ValueError: a time that is none, percentages or a quantity not above 0."""
        if quantity < 1 or entries_max < 1 or not (0 < stop_percent < 100 and 0 < target_percent < 100):
            raise ValueError("quantity and entries_max are at least 1, percentages above 0 and below 100")
        self.quantity, self.product, self.entries_max = quantity, product, entries_max
        self.stop_percent, self.target_percent = stop_percent, target_percent
        self.start_s, self.end_s = second_of(start), second_of(end)
        self._grid: dict[int, float] | None = None
        self._entered = dict[int, int]()  # slot -> entries of the day
        self._working = dict[int, int]()  # number of an entry that is under way -> slot

    # The questions

    def check_time_window(self, tick: TickView) -> bool:
        """Whether entries are taken at the time of this tick."""
        return self.start_s <= (tick.time_ns // NS_PER_S + IST_OFFSET_S) % DAY_S < self.end_s

    def validate_entry_conditions(self, tick: TickView) -> bool:
        """Whether to enter now."""
        return False

    def calculate_position_size(self, tick: TickView) -> int:
        """How many units; 0: none after all."""
        return self.quantity

    def get_exit_levels(self, tick: TickView) -> tuple[float, float]:
        """(stop, target), prices, for an entry at the price of this tick; they are put on the price grid."""
        sign = 1 if self.entry_side == "BUY" else -1
        stop, target = self.stop_percent / 100, self.target_percent / 100
        return tick.last_price * (1 - sign * stop), tick.last_price * (1 + sign * target)

    # What is done with the answers

    def prepare(self, facts: SlotFacts) -> None:
        self._grid = dict(enumerate((facts.ticks() / facts.scale).tolist()))

    def on_tick(self, tick: TickView) -> None:
        slot = tick.slot
        if self.position(slot) or slot in self._working.values():
            return
        if self._entered.get(slot, 0) >= self.entries_max or not self.check_time_window(tick):
            return
        if self.validate_entry_conditions(tick) and (quantity := self.calculate_position_size(tick)) > 0:
            self.enter(tick, quantity)

    def enter(self, tick: TickView, quantity: int) -> bool:
        """Ask for the entry and its exits; whether both were taken."""
        token, slot = tick.instrument_token, tick.slot
        entry = self.place_order(self.entry_side, token, quantity, product=self.product, slot=slot)
        if not entry:
            return False
        self._working[entry.order_id] = slot
        self._entered[slot] = self._entered.get(slot, 0) + 1
        stop, target = (self.on_grid(slot, price) for price in self.get_exit_levels(tick))
        return bool(self.exits(token, stop=stop, target=target, product=self.product, slot=slot))

    def on_grid(self, slot: int, price: float) -> float:
        """The nearest price that the exchange takes."""
        step = self._grid[slot] if self._grid is not None else 1.0 / float(self._desk.scales[slot])
        scale = float(self._desk.scales[slot])
        return round(round(price / step) * step * scale) / scale

    def on_order(self, event: np.void) -> None:
        """An entry that has ended is not waited for any more, whichever event says so. A SNAPSHOT may tell of
        one that was asked for after the last `save`, and forgotten.
        """
        number, slot = int(event["strategy_seq"]), int(event["slot"])
        if int(event["status"]) in OVER:
            self._working.pop(number, None)
            return
        forgotten = int(event["kind"]) == EventKind.SNAPSHOT and number not in self._working
        if forgotten and 0 < number < ENGINES and int(event["side"]) == Side[self.entry_side]:
            self._working[number] = slot
            self._entered[slot] = self._entered.get(slot, 0) + 1

    def on_session(self) -> None:
        self._entered.clear()

    def save(self) -> bytes:
        return json.dumps(
            {"entered": list(self._entered.items()), "working": list(self._working.items())}
        ).encode()

    def restore(self, saved: bytes) -> None:
        found = json.loads(saved)
        self._entered = {int(slot): int(count) for slot, count in found["entered"]}
        self._working = {int(number): int(slot) for number, slot in found["working"]}


def second_of(text: str) -> int:
    """HH:MM or HH:MM:SS as a second of the day.

    Raises:
        ValueError: no such time.
    """
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"{text!r} is no time of the day: write HH:MM, for example 09:20")
    hours, minutes, seconds = (*map(int, parts), 0)[:3]
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{text!r} is no time of the day")
    return hours * 3600 + minutes * 60 + seconds
