"""The slow, obvious accounts: cash and positions from a plain list of trades.

Standard library only; nothing of the product. Values are exact fractions of a rupee; each trade's
value is rounded to whole paise once, half to even, as a contract note does.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Deal(NamedTuple):
    """One execution as anybody would write it down; price in rupees."""

    order: str
    symbol: str
    product: str
    side: str
    quantity: int
    price: Fraction
    multiplier: int

    @property
    def paise(self) -> int:
        return round(self.price * self.quantity * self.multiplier * 100)


def cash_after(opening_paise: int, deals: list[Deal]) -> int:
    """Opening cash less what was bought plus what was sold."""
    cash = opening_paise
    for deal in deals:
        cash += deal.paise if deal.side == "SELL" else -deal.paise
    return cash


def positions(deals: list[Deal]) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """By (symbol, product): quantity bought, value bought, quantity sold, value sold (paise)."""
    table: dict[tuple[str, str], tuple[int, int, int, int]] = {}
    for deal in deals:
        bought, bought_paise, sold, sold_paise = table.get((deal.symbol, deal.product), (0, 0, 0, 0))
        if deal.side == "BUY":
            bought, bought_paise = bought + deal.quantity, bought_paise + deal.paise
        else:
            sold, sold_paise = sold + deal.quantity, sold_paise + deal.paise
        table[deal.symbol, deal.product] = (bought, bought_paise, sold, sold_paise)
    return table


def filled(deals: list[Deal]) -> dict[str, tuple[int, Fraction]]:
    """By order: quantity filled and average price."""
    table: dict[str, tuple[int, Fraction]] = {}
    for deal in deals:
        quantity, value = table.get(deal.order, (0, Fraction(0)))
        table[deal.order] = (quantity + deal.quantity, value + deal.quantity * deal.price)
    return {order: (quantity, value / quantity) for order, (quantity, value) in table.items()}
