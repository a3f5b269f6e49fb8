"""Layer 2, orders process, cold: what a change of what others hold is worth that nobody saw happen.

The broker's positions tell how many, not at which price: the average of a position is that of what is left
of it. Rows of the order book know the price; where they do not account for all of it, the last price does.
Values are units (price x quantity), signed as a fill.
"""

from __future__ import annotations

from collections.abc import Iterable

from kite_hft.layout import Side
from kite_hft.trading.broker import OrderReport, PositionReport
from kite_hft.trading.positions import divide_half_even, fill_units


def by_rows(rows: Iterable[OrderReport], moved: int, scale: int) -> int | None:
    """`moved` at the price of the rows that went its way; None: they are not all of it, or lack a price."""
    net = quantity = units = 0
    for row in rows:
        signed = row.filled_quantity if row.side == Side.BUY else -row.filled_quantity
        net += signed
        if signed * moved > 0:
            if not row.average_price:
                return None
            quantity += row.filled_quantity
            units += fill_units(row.average_price, row.filled_quantity, scale)
    return divide_half_even(units * moved, quantity) if net == moved and quantity else None


def by_account(report: PositionReport | None, moved: int, last_px: int, scale: int) -> int | None:
    """At the average of what the account holds on the side of the change, else at the last price (0: there is
    none); None: nothing is known.
    """
    if report is not None and report.quantity * moved > 0 and report.average_price:
        return (1 if moved > 0 else -1) * fill_units(report.average_price, abs(moved), scale)
    return moved * last_px if last_px else None
