"""The slow, obvious fill rule: one limit order against a list of snapshots, nothing of the product.

An arriving order takes the levels shown on the other side that it reaches. The rest waits behind
everything shown at its price. A later snapshot fills it only with volume that was traded: beyond
its price all of it, at its price what exceeds the queue in front.
"""

from __future__ import annotations

from typing import NamedTuple


class Shown(NamedTuple):
    """A snapshot: best levels first as (price, quantity), last price, day volume."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    last: int
    volume: int


def better(buy: bool, limit: int, price: int) -> bool:
    """The order may trade at this price."""
    return price <= limit if buy else price >= limit


def queue(buy: bool, limit: int, shown: Shown) -> int | None:
    """Quantity in front at the limit; None when the limit is deeper than five full levels show."""
    side = [level for level in (shown.bids if buy else shown.asks) if level[1]]
    at = [quantity for price, quantity in side if price == limit]
    if at:
        return at[0]
    deeper = all(price > limit if buy else price < limit for price, _ in side)
    return None if deeper and len(side) == 5 else 0


def fills(buy: bool, limit: int, quantity: int, market: list[Shown]) -> list[tuple[int, int]]:
    """(price, quantity) of every fill of an order that arrives right after market[0]."""
    done: list[tuple[int, int]] = []
    for price, shown in market[0].asks if buy else market[0].bids:
        taken = min(quantity, shown) if better(buy, limit, price) else 0
        if taken:
            done.append((price, taken))
            quantity -= taken
    ahead = queue(buy, limit, market[0])
    high = market[0].volume
    for snapshot in market[1:]:
        traded, high = max(0, snapshot.volume - high), max(high, snapshot.volume)
        filled = 0
        if ahead is None:
            ahead = queue(buy, limit, snapshot)
        elif snapshot.last == limit:
            filled = min(quantity, max(0, traded - ahead))
            ahead = max(0, ahead - traded)
        if snapshot.last != limit and better(buy, limit, snapshot.last):
            filled = min(quantity, traded)
        if filled:
            done.append((limit, filled))
            quantity -= filled
        if not quantity:
            break
    return done
