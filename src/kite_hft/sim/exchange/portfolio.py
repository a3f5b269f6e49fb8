"""Layer 4, simulator, cold: conversion of positions and authorisation of holdings."""

from __future__ import annotations

from collections.abc import Iterable

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.account import Account
from kite_hft.sim.exchange.margin import Margins, position_px
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.market_rules import MarketRules

DAY = "day"
OVERNIGHT = "overnight"


def convert(
    account: Account,
    margins: Margins,
    rules: MarketRules,
    row: Instrument,
    old_product: Product,
    new_product: Product,
    side: Side,
    position_type: str,
    quantity: int,
) -> None:
    """Move `quantity` of a position to another product at its average price.

    What the new product takes beyond the old one must be there.

    Raises:
        Refusal: InputException (wrong terms), OrderException (nothing to convert),
            MarginException (no money).
    """
    if position_type not in (DAY, OVERNIGHT):
        raise Refusal("InputException", "Invalid `position_type`.")
    if quantity <= 0 or quantity % max(row.lot_size, 1):
        raise Refusal("InputException", "Invalid `quantity`.")
    if old_product == new_product:
        raise Refusal("InputException", "`old_product` and `new_product` are the same.")
    if rules.forbids(new_product.name, row) or new_product.name in rules.closed(row):
        raise Refusal("InputException", f"Invalid `new_product`: {new_product.name} is not allowed here.")
    if side == Side.SELL and new_product in (Product.CNC, Product.MTF):
        raise Refusal("InputException", "A short position cannot be converted to a delivery product.")
    position = account.positions.get((row.slot, old_product))
    held = 0
    if position is not None:
        sign = 1 if side == Side.BUY else -1
        of_kind = position.overnight_quantity if position_type == OVERNIGHT else position.day_net
        held = max(0, min(sign * of_kind, sign * position.net))
    if position is None or quantity > held:
        raise Refusal("OrderException", f"Position to convert is not there: {quantity} wanted, {held} open.")
    px = position_px(position, side)
    more = margins.conversion_paise(row, side, old_product, new_product, quantity, px)
    if more > 0 and more > account.available_paise:
        raise Refusal("MarginException", "Insufficient funds to convert the position.")
    other = account.position(row, new_product)
    position.move(other, side, position_type, quantity)
    margins.changed(position)
    margins.changed(other)


def authorise(account: Account, slots: Iterable[int] | None, now_ns: int) -> int:
    """Authorise today's sale of all settled shares of some slots, or of all; returns how many rows."""
    rows = [h for slot, h in account.holdings.items() if slots is None or slot in set(slots)]
    for holding in rows:
        holding.authorised, holding.authorised_ns = holding.quantity, now_ns
    return len(rows)
