"""Layer 2, orders process, hot: positions and gross P&L in exact integers.

Values are kept as `units` = sum of price x quantity in the instrument's own price unit, before
multiplier and scale, so that nothing is rounded until paise are asked for. Average-cost method:

    realised = cost - net        where net  = sum of signed fill values (buys +, sells -)
    gross    = realised + (quantity * mark - cost) = quantity * mark - net

so gross never depends on how cost was attributed, and realised equals gross when flat.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from kite_hft.layout import Product, Side
from kite_hft.trading.instruments import Instrument
from kite_hft.units import value_paise

CASH_EXCHANGES = ("NSE", "BSE")
"""Where one unit of quantity is one share: an unknown multiplier there is 1."""
UNKNOWN_ORDER: Final = "EXTERNAL"
DELIVERED: Final = frozenset({int(Product.CNC), int(Product.MTF)})
"""Products in which a sale cannot open a position: the broker takes it from the holdings alone."""


def multiplier_of(instrument: Instrument) -> int | None:
    """Rupees of value per rupee of price and unit of quantity; None: unknown, not tradable."""
    if instrument.multiplier is not None:
        return instrument.multiplier
    return 1 if instrument.exchange in CASH_EXCHANGES else None


def paise_of_units(units: int, instrument: Instrument) -> int:
    """`units` (price x quantity) of an instrument in paise; an unknown multiplier counts as 1."""
    return value_paise(units, 1, multiplier_of(instrument) or 1, instrument.scale)


def fill_units(average_price: float, quantity: int, scale: int) -> int:
    """Value in units of `quantity` at a broker's average price.

    The true value is a whole number of units (a sum of price x quantity over executions), so the
    product of the rounded average is rounded to the nearest one.
    """
    return round(average_price * scale * quantity)


def divide_half_even(numerator: int, denominator: int) -> int:
    """numerator / denominator (> 0) to the nearest integer, ties to even; exact for any size."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


@dataclass(slots=True)
class Fill:
    """One accounted piece of an order: signed quantity and signed value (buys +)."""

    order_no: int
    quantity: int
    units: int


@dataclass(slots=True)
class Position:
    """Net position of one (strategy, slot, product), with what may still add to it."""

    strategy: int
    slot: int
    product: int
    quantity: int = 0
    cost_units: int = 0  # of the open quantity; its sign is the quantity's
    net_units: int = 0
    open_buy: int = 0  # unfilled quantity of live buys: queued, in flight, ambiguous, working
    open_sell: int = 0
    fills: list[Fill] = field(default_factory=list)
    cut_ns: int = 0  # when the broker last closed a part of it

    @property
    def realised_units(self) -> int:
        return self.cost_units - self.net_units

    @property
    def delivered(self) -> bool:
        """Shares that lay in the account were sold: they are gone, and no short is to be bought back."""
        return self.quantity < 0 and self.product in DELIVERED

    def reduces(self, side: int, quantity: int) -> bool:
        """True when `quantity` more on `side` cannot turn or grow it, were every live order to fill."""
        if side == Side.SELL:
            return self.quantity - self.open_sell - quantity >= 0
        return -self.quantity - self.open_buy - quantity >= 0

    def expose(self, side: int, more: int) -> None:
        """So much more may still fill on a side (less: negative)."""
        if side == Side.BUY:
            self.open_buy += more
        else:
            self.open_sell += more

    def apply(self, fill: Fill) -> None:
        """Account one more fill."""
        self.fills.append(fill)
        self._account(fill.quantity, fill.units)

    def correct(self, order_no: int, delta_units: int) -> None:
        """Change the value of `order_no`'s last fill and account everything anew."""
        for fill in reversed(self.fills):
            if fill.order_no == order_no:
                fill.units += delta_units
                break
        else:
            raise LookupError(f"order {order_no} has no fill to correct")
        self.quantity = self.cost_units = self.net_units = 0
        for fill in self.fills:
            self._account(fill.quantity, fill.units)

    def _account(self, quantity: int, units: int) -> None:
        self.net_units += units
        held = self.quantity
        self.quantity += quantity
        if held * quantity >= 0:
            self.cost_units += units
        elif abs(quantity) <= abs(held):
            self.cost_units -= divide_half_even(self.cost_units * abs(quantity), abs(held))
        else:
            # Turned: the part that closed leaves at cost, the rest opens at this fill's price.
            self.cost_units = units - divide_half_even(units * abs(held), abs(quantity))


def worst_case(positions: Iterable[Position], side: int = 0, quantity: int = 0, product: int = 0) -> int:
    """Largest absolute position of one instrument, were all live orders of one side to fill, with `quantity`
    more on `side` in `product`.

    Each product counts for itself: the broker wants margin for both, and squares off one of them alone.
    """
    sums = {product: [0, quantity, 0] if side == Side.BUY else [0, 0, quantity]}
    for position in positions:
        of = sums.setdefault(position.product, [0, 0, 0])
        of[0] += position.quantity
        of[1] += position.open_buy
        of[2] += position.open_sell
    return sum(max(abs(held + buys), abs(held - sells)) for held, buys, sells in sums.values())


@dataclass(frozen=True, slots=True)
class Cut:
    """What a stranger's order closed of a strategy's position; signed as a fill.

    order_id: the broker's, or UNKNOWN_ORDER; square_off: the broker made it himself.
    """

    strategy: int
    slot: int
    product: int
    quantity: int
    units: int
    order_id: str = UNKNOWN_ORDER
    square_off: bool = False
