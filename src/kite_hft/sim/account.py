"""Layer 4, simulator, cold: cash, reserved cash and positions of the one simulated client.

Integers only. Cash is opening - buys + sells, before charges; an open buy order reserves its
value. No margin model: a buy needs its whole value in cash, a sale in F&O or MIS needs none.
"""

from __future__ import annotations

from dataclasses import dataclass

from kite_hft.layout import Product, Side
from kite_hft.sim.orders import Trade
from kite_hft.trading.instruments import Instrument


@dataclass(slots=True)
class Position:
    """Of one (instrument, product): sums over its trades. `*_units`: price x quantity in units."""

    instrument: Instrument
    product: Product
    buy_quantity: int = 0
    sell_quantity: int = 0
    buy_units: int = 0
    sell_units: int = 0
    buy_paise: int = 0
    sell_paise: int = 0

    @property
    def net(self) -> int:
        return self.buy_quantity - self.sell_quantity


class Account:
    """Cash in paise, positions by (slot, product), trades in order."""

    def __init__(self, cash_paise: int) -> None:
        self.opening_paise = cash_paise
        self.cash_paise = cash_paise
        self.reserved_paise = 0
        self.positions: dict[tuple[int, Product], Position] = {}
        self.trades: list[Trade] = []

    @property
    def available_paise(self) -> int:
        """Cash that no open buy order has laid claim to."""
        return self.cash_paise - self.reserved_paise

    def net(self, slot: int, product: Product) -> int:
        """Signed quantity held."""
        position = self.positions.get((slot, product))
        return 0 if position is None else position.net

    def book(self, trade: Trade) -> None:
        """Add a trade to its position and to the cash."""
        self.trades.append(trade)
        key = (trade.instrument.slot, trade.product)
        position = self.positions.get(key)
        if position is None:
            position = self.positions[key] = Position(trade.instrument, trade.product)
        units = trade.px * trade.quantity
        if trade.side == Side.BUY:
            position.buy_quantity += trade.quantity
            position.buy_units += units
            position.buy_paise += trade.value_paise
            self.cash_paise -= trade.value_paise
        else:
            position.sell_quantity += trade.quantity
            position.sell_units += units
            position.sell_paise += trade.value_paise
            self.cash_paise += trade.value_paise
