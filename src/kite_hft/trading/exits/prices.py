"""Layer 2, orders process, cold: prices of orders that protect and close: on the grid, inside the circuit."""

from __future__ import annotations

from kite_hft.layout import OrderType, Side
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.ports import Ports


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


class Market:
    """What is known of an instrument's prices and of what may be sent for it."""

    def __init__(self, ports: Ports) -> None:
        self._ports, self._facts = ports, ports.facts

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

    def continuous(self, slot: int) -> bool:
        """Whether orders meet as they come, as far as one can tell: auctions take no stops."""
        view = self._facts.view(slot, self._ports.clock.real_ns())
        return bool(view.phase_types >> int(OrderType.SL) & 1)

    def band(self, slot: int) -> tuple[int, int]:
        """Circuit limits (low, high); (0, 0): not known."""
        if self._facts.band is None:
            return 0, 0
        low, high, age_ns = self._facts.band(slot)
        return (low, high) if age_ns >= 0 else (0, 0)

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
