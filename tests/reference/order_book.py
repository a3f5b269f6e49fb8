"""Slow twin of the book's positions: every execution kept, everything computed anew with fractions.

Average-cost method from its definition: fills in the order they were accounted; a fill that closes
takes cost in proportion to quantity, rounded half to even to whole units; what turns the position
opens at its own price.
"""

from __future__ import annotations

from fractions import Fraction


def position(fills: list[tuple[int, int]]) -> tuple[int, int, int]:
    """(quantity, cost, realised) after `fills` of (signed quantity, signed value in units)."""
    quantity, cost, realised = 0, 0, 0
    for q, value in fills:
        if quantity == 0 or (q > 0) == (quantity > 0):
            quantity, cost = quantity + q, cost + value
            continue
        closing = min(abs(q), abs(quantity))
        closing_value = round(Fraction(value * closing, abs(q)))
        opening_value = value - closing_value
        if closing == abs(quantity):
            released = cost
            if closing < abs(q):
                # The share that opens is rounded, the one that closes takes the rest.
                closing_value = round(Fraction(value * abs(quantity), abs(q)))
                opening_value = value - closing_value
        else:
            released = round(Fraction(cost * closing, abs(quantity)))
        realised -= released + closing_value
        cost = cost - released + opening_value
        quantity += q
    return quantity, cost, realised


def filled(reports: list[tuple[int, float]], scale: int) -> tuple[int, int]:
    """(quantity, value in units) of an order that was reported as (filled, average price) so often."""
    best, value = 0, 0
    for quantity, average in reports:
        if quantity > best:
            best, value = quantity, round(Fraction(average) * scale * quantity)
    return best, value
