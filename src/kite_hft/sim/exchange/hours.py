"""Layer 4, simulator, cold: the day's clockwork when the exchange keeps hours.

Puts on the desk's agenda, day by day and class by class, what exchange and broker do by
themselves: auctions uncross, phases begin, MIS is squared off, the market closes. All times come
from the calendar and the market rules.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING

from kite_hft.sessions import AUCTION, Phase, ist_date, ist_midnight_ns
from kite_hft.sim.exchange import broker_acts
from kite_hft.sim.exchange.conditions import Class
from kite_hft.sim.market.source import Ticks

if TYPE_CHECKING:
    from kite_hft.sim.exchange.exchange import Exchange


class Hours:
    """The marks of each day; also the volume-weighted price from which the closing band comes."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._classes: dict[Class, list[int]] = {}
        for row in exchange.instruments:
            if not row.is_index:
                self._classes.setdefault(exchange.conditions.class_of(row.slot), []).append(row.slot)
        self._measuring: set[int] = set()
        self._value: dict[int, int] = {}
        self._volume: dict[int, int] = {}
        self._seen_volume: dict[int, int] = {}
        self._begun = False

    def begin(self, now_ns: int) -> None:
        """Plan the day of `now_ns`; later days plan themselves.

        Raises:
            CalendarError: the calendar does not cover the day.
        """
        if not self._begun:
            self._begun = True
            self._plan(ist_date(now_ns), now_ns)

    def _plan(self, day: dt.date, now_ns: int) -> None:
        midnight = ist_midnight_ns(day)
        self._exchange.conditions.late_bands.clear()
        for key, slots in self._classes.items():
            phases = self._exchange.conditions.phases.on(*key, day)
            if phases:
                self._plan_marks(key, slots, midnight, now_ns)
                self._plan_phases(slots, phases, now_ns)
        following = ist_midnight_ns(day + dt.timedelta(days=1))
        self._exchange.desk.at(following, lambda t: self._plan(ist_date(t), t))

    def _mark(self, at_ns: int, now_ns: int, action: Callable[[int], object]) -> None:
        if at_ns >= now_ns:
            self._exchange.desk.at(at_ns, action)

    def _plan_marks(self, key: Class, slots: list[int], midnight: int, now_ns: int) -> None:
        """The acts that stand in the market rules."""
        exchange, rules = self._exchange, self._exchange.params.market
        first = exchange.instruments[slots[0]]
        auction = exchange.conditions.closing_auction(slots[0])
        if auction is not None:
            self._mark(midnight + auction.vwap_from_ns, now_ns, lambda t: self._measuring.update(slots))
            self._mark(midnight + auction.vwap_to_ns, now_ns, lambda t: self._closing_bands(slots))
        for late in rules.late_bands:
            chosen = [slot for slot in slots if late.covers(exchange.instruments[slot])]
            if chosen:
                percent = late.percent
                self._mark(
                    midnight + late.start_ns,
                    now_ns,
                    lambda t, c=chosen, p=percent: self._late_bands(c, p),  # type: ignore[misc]
                )
        square_off = rules.square_off(first, key[1])
        if square_off is not None:
            self._mark(midnight + square_off.at_ns, now_ns, lambda t: exchange.square_off_mis(t, slots))
        window = rules.auction_window(first)
        if window is not None:
            end_ns = midnight + window[1]
            self._mark(end_ns, now_ns, lambda t: broker_acts.settle_buy_in(exchange, slots, t))

    def _plan_phases(self, slots: list[int], phases: tuple[Phase, ...], now_ns: int) -> None:
        exchange = self._exchange
        for i, phase in enumerate(phases):
            if phase.cancels:
                self._mark(
                    phase.start_ns,
                    now_ns,
                    lambda t, kinds=phase.cancels: broker_acts.cancel_for_auction(exchange, slots, kinds, t),  # type: ignore[misc]
                )
            following = phases[i + 1].match if i + 1 < len(phases) else ""
            if phase.match == AUCTION and following != AUCTION:
                self._mark(phase.end_ns, now_ns, lambda t: self._uncross(slots, t))
        self._mark(phases[-1].end_ns, now_ns, lambda t: broker_acts.end_day(exchange, slots, t))

    def _uncross(self, slots: list[int], now_ns: int) -> None:
        for slot in slots:
            if not self._exchange.conditions.halted and self._exchange.matching.working.get(slot):
                self._exchange.matching.uncross(slot, now_ns)

    # -- reference prices

    def watch(self, ticks: Ticks) -> None:
        """Ticks of the quarter of an hour from which closing bands come; cheap outside it."""
        if not self._measuring:
            return
        for slot, px, volume in zip(
            ticks["slot"].tolist(), ticks["last_px"].tolist(), ticks["volume"].tolist(), strict=True
        ):
            if slot in self._measuring:
                before = self._seen_volume.get(slot, volume)
                traded = max(0, volume - before)
                self._seen_volume[slot] = max(volume, before)
                self._value[slot] = self._value.get(slot, 0) + px * traded
                self._volume[slot] = self._volume.get(slot, 0) + traded

    def _closing_bands(self, slots: list[int]) -> None:
        """From now on closing-auction shares trade near their volume-weighted price."""
        exchange = self._exchange
        for slot in slots:
            auction, volume = exchange.conditions.closing_auction(slot), self._volume.get(slot, 0)
            last_px = int(exchange.latest[slot]["last_px"])
            reference = (2 * self._value[slot] + volume) // (2 * volume) if volume else last_px
            if auction is not None and reference:
                exchange.conditions.narrow(slot, reference, auction.band_percent)
            self._measuring.discard(slot)
            for table in (self._value, self._volume, self._seen_volume):
                table.pop(slot, None)

    def _late_bands(self, slots: list[int], percent: float) -> None:
        for slot in slots:
            if self._exchange.seen[slot]:
                last_px = int(self._exchange.latest[slot]["last_px"])
                self._exchange.conditions.narrow(slot, last_px, percent)
