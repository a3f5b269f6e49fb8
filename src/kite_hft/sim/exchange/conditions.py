"""Layer 4, simulator, cold: under which conditions an instrument trades at this moment.

Bands, phases, halts, closes: the state of the market that is not a price or an order. With
hours "always" every instrument trades continuously and takes every kind of order.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import OrderType
from kite_hft.sessions import AUCTION, CONTINUOUS, NO_MATCH, Phase, Phases, ist_date, ist_midnight_ns
from kite_hft.sim.exchange.checks import TYPE_NAMES
from kite_hft.sim.exchange.desk import Desk
from kite_hft.sim.exchange.matching import Lock
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.market.source import Ticks
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import ClosingAuction

UNKNOWN: Final = (0, 0)
FEW: Final = 8
Class = tuple[str, bool]
"""(exchange, takes part in the closing auction): instruments with the same hours."""


class Conditions:
    """`desk` tells the time; `latest` are the exchange's snapshots by slot."""

    def __init__(
        self,
        instruments: InstrumentTable,
        params: ExchangeParams,
        desk: Desk,
        latest: Ticks,
        seed: int,
    ) -> None:
        self.instruments = instruments
        self.params = params
        self.phases = Phases(params.calendar, seed)
        self.halted = False
        self.closes: dict[int, int] = {}
        self.late_bands: dict[int, tuple[int, int]] = {}
        self.locks: dict[int, Lock] = {}
        self._desk, self._latest = desk, latest
        self._auctions = self._closing_auctions()
        self._phase: dict[Class, Phase] = {}

    def _closing_auctions(self) -> list[ClosingAuction | None]:
        rules, named = self.params.market, self.params.cas_symbols
        underlyings = frozenset(row.name for row in self.instruments if row.kind != "EQ" and row.name)
        more = frozenset(row.symbol for row in self.instruments if row.key in named)
        return [rules.closing_auction(row, underlyings | more) for row in self.instruments]

    def closing_auction(self, slot: int) -> ClosingAuction | None:
        """The closing auction that a slot takes part in."""
        return self._auctions[slot]

    def is_cas(self, slot: int) -> bool:
        """Whether a slot takes part in the closing auction."""
        return self._auctions[slot] is not None

    def class_of(self, slot: int) -> Class:
        """The class of hours of a slot."""
        return self.instruments[slot].exchange, self.is_cas(slot)

    # -- hours

    @property
    def enforced(self) -> bool:
        """Whether phases count."""
        return self.params.hours == "exchange"

    def phase(self, slot: int) -> Phase | None:
        """The phase of a slot now; None when hours do not count.

        Raises:
            CalendarError: the calendar does not cover the day.
        """
        if not self.enforced:
            return None
        key, now_ns = self.class_of(slot), self._desk.now_ns
        phase = self._phase.get(key)
        if phase is None or not phase.start_ns <= now_ns < phase.end_ns:
            phase = self._phase[key] = self.phases.phase_at(*key, now_ns)
        return phase

    def mode(self, slot: int) -> str:
        """How orders of a slot meet now: "continuous", "auction" or "none"."""
        if self.halted:
            return NO_MATCH
        phase = self.phase(slot)
        return CONTINUOUS if phase is None else phase.match

    def takes(self, slot: int, order_type: OrderType) -> bool:
        """Whether orders of this type may be entered or changed now."""
        phase = self.phase(slot)
        return phase is None or TYPE_NAMES[order_type] in phase.orders

    def plain_only(self, slot: int) -> bool:
        """In an auction: no IOC, no disclosed quantity, no iceberg."""
        phase = self.phase(slot)
        return phase is not None and phase.match == AUCTION

    def within(self, start_ns: int, end_ns: int) -> bool:
        """Whether it is between two times of day (ns after midnight IST) now."""
        now_ns = self._desk.now_ns
        return start_ns <= now_ns - ist_midnight_ns(ist_date(now_ns)) < end_ns

    def next_open_ns(self, row: Instrument, order_type: OrderType) -> int | None:
        """When an after-market order goes to the exchange."""
        return self.phases.next_open_ns(*self.class_of(row.slot), self._desk.now_ns, TYPE_NAMES[order_type])

    # -- prices

    def band(self, slot: int) -> tuple[int, int]:
        """Circuit limits of a slot, in its unit, narrowed late in the day; (0, 0): no close known."""
        close_px = int(self._latest[slot]["close_px"])
        low, high = self.params.market.circuit(self.instruments[slot], close_px)
        late = self.late_bands.get(slot)
        return (max(low, late[0]), min(high, late[1])) if late and high else (low, high)

    def narrow(self, slot: int, reference_px: int, percent: float) -> None:
        """Hold a slot's prices within so many percent of a reference until the day ends."""
        step = max(self.instruments[slot].tick_px, 1)
        reach = reference_px * round(percent * 1_000_000) // 100_000_000
        low = -(-(reference_px - reach) // step) * step
        self.late_bands[slot] = low, (reference_px + reach) // step * step

    def overlay(self, ticks: Ticks) -> Ticks:
        """The ticks as this exchange shows them: closes after an ex-date, one-sided books at a
        locked circuit. The same array when there is nothing to change."""
        changed = [*self.closes, *self.locks]
        if not changed or not among(ticks["slot"], changed).any():
            return ticks
        shown = ticks.copy()
        for slot, px in self.closes.items():
            shown["close_px"][shown["slot"] == slot] = px
        for slot, lock in self.locks.items():
            rows, side = shown["slot"] == slot, "ask" if lock == "upper" else "bid"
            for name in (f"{side}_px", f"{side}_px_deep", f"{side}_qty", f"{side}_orders"):
                shown[name][rows] = 0
            shown["total_sell_qty" if lock == "upper" else "total_buy_qty"][rows] = 0
        return shown


def among(slots: npt.NDArray[Any], wanted: Collection[int]) -> npt.NDArray[np.bool_]:
    """Which of the slots are among the wanted ones, as np.isin: whose set-up costs more than a few looks."""
    if len(wanted) > FEW:
        return np.isin(slots, list(wanted))
    found = np.zeros(len(slots), bool)
    for slot in wanted:
        found |= slots == slot
    return found
