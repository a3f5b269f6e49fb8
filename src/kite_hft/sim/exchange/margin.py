"""Layer 4, simulator, cold: the money that orders and positions take, as the margin calls answer it.

One computation (kite/margins.py) for the calculators, for the risk system and for what is left:
delivery and bought options are paid whole; intraday and funded shares block a part of their value;
futures and sold options block span and exposure, and a hedge among the positions lowers the span.
What makes a position smaller needs nothing. Paise, rounded up.
"""

from __future__ import annotations

import math
from typing import Final

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.account import Account, Position
from kite_hft.sim.exchange.orders import Order, Trade
from kite_hft.sim.kite.margins import LEVERAGE, MarginLeg, exposure_of, margin_of, span_of
from kite_hft.sim.market.source import Ticks
from kite_hft.trading.instruments import Instrument, InstrumentTable

_ROUND: Final = 6
"""Decimals of a paisa that floats are trusted with."""


class Margins:
    """Of one account. `latest`: the exchange's snapshots by slot, which this reads when asked."""

    def __init__(self, account: Account, instruments: InstrumentTable, latest: Ticks) -> None:
        self._account, self._latest = account, latest
        # The price of an underlying: the index or share that a derivative's name stands for.
        self._underlyings = {row.symbol: row for row in instruments if row.kind == "EQ"}
        self._underlyings |= {row.name: row for row in instruments if row.is_index}
        self._shares: dict[tuple[int, Product], int] = {}
        self._shares_paise = 0
        self._contracts: dict[tuple[int, Product], Position] = {}
        for position in account.positions.values():
            self.changed(position)

    # -- orders

    def leg(self, row: Instrument, side: Side, product: Product, quantity: int, price: float) -> MarginLeg:
        """An order or position as the calculators take it; `price`: rupees."""
        return MarginLeg(row, side, product, quantity, price, self._spot(row))

    def last(self, row: Instrument) -> float:
        """The last price in rupees; 0: none yet."""
        return int(self._latest[row.slot]["last_px"]) / row.scale

    def order_paise(self, row: Instrument, side: Side, product: Product, quantity: int, px: int) -> int:
        """What an order of `quantity` at `px` (units) takes from the account: its part that makes
        the position larger, at the margin call's answer for it. A delivery sale takes shares, no money.
        """
        if side == Side.SELL and row.kind == "EQ" and product != Product.MIS:
            return 0
        if product != Product.CNC:
            held = self._account.net(row.slot, product)
            quantity -= max(0, -held if side == Side.BUY else held)
        if quantity <= 0:
            return 0
        return _paise(margin_of(self.leg(row, side, product, quantity, px / row.scale)).total)

    def remaining_paise(self, order: Order) -> int:
        """What an order may still take."""
        px, request = order.now.px or order.now.trigger_px, order.request
        return self.order_paise(request.instrument, request.side, request.product, order.remaining, px)

    def conversion_paise(
        self, row: Instrument, side: Side, old: Product, new: Product, quantity: int, px: int
    ) -> int:
        """How much more a position of `quantity` at `px` (units) takes in another product."""
        price = px / row.scale
        more, less = (
            margin_of(self.leg(row, side, product, quantity, price)).total for product in (new, old)
        )
        return _paise(more - less)

    # -- positions

    def blocked_paise(self) -> int:
        """What positions block beyond the cash that was paid for them; below 0: cash that was paid
        for positions on margin and is really free."""
        contracts = self._contracts.values()
        legs = [self._leg_of(position) for position in contracts if position.net]
        futures = sum(_unpaid(position) for position in contracts if position.instrument.kind == "FUT")
        derivatives = span_of(legs) + sum(exposure_of(leg) for leg in legs)
        return self._shares_paise - futures + _paise(derivatives)

    def traded(self, trade: Trade) -> None:
        """A trade was booked."""
        self.changed(self._account.position(trade.instrument, trade.product))

    def changed(self, position: Position) -> None:
        """A position is not what it was: what shares block is kept added up, derivatives move with
        their underlyings and are looked at when asked."""
        key, blocked = (position.instrument.slot, position.product), 0
        if position.instrument.kind != "EQ":
            self._contracts[key] = position
            return
        if position.product in LEVERAGE:
            open_paise = abs(_cost_paise(position))
            blocked = -(-open_paise // LEVERAGE[position.product]) - _unpaid(position)
        self._shares_paise += blocked - self._shares.get(key, 0)
        self._shares[key] = blocked

    def _leg_of(self, position: Position) -> MarginLeg:
        side = Side.BUY if position.net > 0 else Side.SELL
        row = position.instrument
        return self.leg(row, side, position.product, abs(position.net), self.last(row))

    def _spot(self, row: Instrument) -> float:
        """Price of what a contract is on; where it is not listed, an option's strike and a future's own."""
        underlying = self._underlyings.get(row.name)
        if row.kind != "EQ" and underlying is not None and (price := self.last(underlying)):
            return price
        return row.strike_px / row.scale if row.kind in ("CE", "PE") else self.last(row)


def _cost_paise(position: Position) -> int:
    """Signed value of what is open, at its average price."""
    carried = position.overnight_paise
    if position.net > 0:
        whole = position.buy_paise + max(carried, 0)
        return whole * position.net // (position.buy_quantity + max(position.overnight_quantity, 0))
    if position.net < 0:
        whole = position.sell_paise + max(-carried, 0)
        return -(whole * -position.net // (position.sell_quantity + max(-position.overnight_quantity, 0)))
    return 0


def _unpaid(position: Position) -> int:
    """What of the cash that today's trades moved was no payment, since the position is on margin."""
    return _cost_paise(position) - position.overnight_paise


def position_px(position: Position, side: Side) -> int:
    """Average price in units of what was bought (or sold), with what was carried in."""
    quantity = position.buy_quantity if side == Side.BUY else position.sell_quantity
    units = position.buy_units if side == Side.BUY else position.sell_units
    carried = max(position.overnight_quantity * (1 if side == Side.BUY else -1), 0)
    return (units + carried * position.overnight_px) // (quantity + carried) if quantity + carried else 0


def _paise(rupees: float) -> int:
    return math.ceil(round(rupees * 100, _ROUND))
