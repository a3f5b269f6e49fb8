"""Layer 2, orders process, cold: prices of orders that protect and close: on the grid, inside the circuit."""

from __future__ import annotations

import math

from kite_hft.layout import OrderType, Side
from kite_hft.trading.gate.facts import OPTIONS
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.ports import Ports
from kite_hft.units import NS_PER_S


def on_grid(px: int, tick_px: int, *, up: bool) -> int:
    """The next multiple of the tick at or beyond `px`; at least one tick."""
    step = max(tick_px, 1)
    return max(-(-px // step) * step if up else px // step * step, step)


def beyond(px: int, side: int, percent: float, instrument: Instrument) -> int:
    """A limit price `percent` worse than `px` for an order of `side`, so that it fills: sells lower."""
    gap = round(px * percent / 100)
    if side == Side.SELL:
        return on_grid(px - gap, instrument.tick_px, up=False)
    return on_grid(px + gap, instrument.tick_px, up=True)


def sendable(quantity: int, instrument: Instrument, slices_max: int) -> int:
    """As much of `quantity` as one intent can name: whole lots, in as many slices as are allowed."""
    lot, freeze = max(instrument.lot_size, 1), instrument.freeze_quantity
    whole = quantity // lot * lot
    return min(whole, freeze // lot * lot * slices_max) if freeze else whole


def odd_lot(quantity: int, instrument: Instrument) -> int:
    """What of `quantity` is less than a lot: nobody trades that."""
    return abs(quantity) % max(instrument.lot_size, 1)


def odd_text(quantity: int, instrument: Instrument) -> str:
    """The same in words, with the way out."""
    odd, lot = odd_lot(quantity, instrument), instrument.lot_size
    return (
        f"{odd} of {quantity:+d} {instrument.key} is no whole lot of {lot}, and no order can close it: ask "
        "the broker's dealing desk, or let it expire; see whether the lot size has changed"
    )


class Market:
    """What is known of an instrument's prices and of what may be sent for it. band_age_s: circuit limits
    older than this may have been moved since."""

    def __init__(self, ports: Ports, band_age_s: float = math.inf) -> None:
        self._ports, self._facts, self._band_age_ns = ports, ports.facts, band_age_s * NS_PER_S

    def last(self, slot: int) -> int:
        """Last price, 0: none."""
        return self._ports.latest.last_px(slot)

    def takes(self, slot: int, order_type: OrderType) -> bool:
        """Whether the exchange takes this order type for the instrument at all."""
        view = self._facts.view(slot, self._ports.clock.real_ns())
        return bool(view.order_types >> int(order_type) & 1)

    def takes_now(self, slot: int, order_type: OrderType) -> bool:
        """Whether it is taken in this phase of the day, too."""
        view = self._facts.view(slot, self._ports.clock.real_ns())
        return bool(view.order_types & view.phase_types & 1 << int(order_type))

    def shut(self, slot: int, order_type: OrderType) -> bool:
        """The phase of the day is known, and takes no such order: the exchange would refuse it, and a broker
        may keep it for the next session. Of a day that the calendar does not cover nothing is known."""
        view = self._facts.view(slot, self._ports.clock.real_ns())
        return view.covered and not view.phase_types >> int(order_type) & 1

    def at_market(self, slot: int) -> bool:
        """Whether an order at market is taken now: by the rules, in this phase, and because the contract
        has traded today where that is asked for."""
        traded, options = self._facts.traded, self._ports.instruments[slot].kind in OPTIONS
        return self.takes_now(slot, OrderType.MARKET) and (traded is None or not options or traded(slot))

    def continuous(self, slot: int) -> bool:
        """Whether orders meet as they come, as far as one can tell: auctions take no stops."""
        view = self._facts.view(slot, self._ports.clock.real_ns())
        return bool(view.phase_types >> int(OrderType.SL) & 1)

    def band(self, slot: int) -> tuple[int, int]:
        """Circuit limits (low, high); (0, 0): not known. Old ones hold while the price lies between them: one
        at or beyond a limit may tell that the exchange has moved it, and nobody would trade there."""
        if self._facts.band is None:
            return 0, 0
        low, high, age_ns = self._facts.band(slot)
        if age_ns < 0 or (age_ns > self._band_age_ns and not low < self.last(slot) < high):
            return 0, 0
        return low, high

    def inside(self, px: int, slot: int) -> int:
        """`px`, or the circuit limit that it is beyond."""
        low, high = self.band(slot)
        if low and px < low:
            return low
        return high if high and px > high else px

    def locked(self, slot: int, side: int) -> int:
        """The circuit limit at which the price stands so that an order of `side` finds nobody; 0: it is not.

        A seller finds no buyer at the lower limit, a buyer no seller at the upper one.
        """
        last, (low, high) = self.last(slot), self.band(slot)
        if side == Side.SELL:
            return low if low and 0 < last <= low else 0
        return high if high and last >= high else 0
