"""Layer 5, watchdog, cold: since when a position has nothing but closing orders.

An order that closes a position counts for a short while, because it is on its way out. One that is cancelled
and placed anew, or changed, is on no way: the while runs from when the position was first left to such
orders, and begins anew only when one of them has closed something, when something else protects the position,
or when no such order was seen for as long as one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kite_hft.trading.exits.protection import Held, Resting, closes_at_once, closing_side, is_alive

_Name = tuple[str, str, str]  # key, product, side


@dataclass(slots=True)
class _Spell:
    since_ns: int
    seen_ns: int  # when such an order was last seen
    filled: int  # by all orders of the side, at its beginning


@dataclass(slots=True)
class Closings:
    """Times are those of Resting.since_ns. closing_ns: so long a closing order counts."""

    closing_ns: int
    _spells: dict[_Name, _Spell] = field(default_factory=dict)

    def look(self, bare: Iterable[Held], orders: Sequence[Resting], now_ns: int) -> None:
        """bare: the positions that nothing but closing orders protects in full."""
        found: dict[_Name, _Spell] = {}
        for held in bare:
            name = (held.key, held.product, closing_side(held))
            ours = [order for order in orders if (order.key, order.product, order.side) == name]
            filled = sum(order.filled for order in ours)
            spell = self._spells.get(name)
            if any(is_alive(order) and closes_at_once(order) for order in ours):
                if spell is None or filled > spell.filled:
                    spell = _Spell(now_ns, now_ns, filled)
                spell.seen_ns = now_ns
            if spell is not None and now_ns - spell.seen_ns < self.closing_ns:
                found[name] = spell
        self._spells = found

    def dated(self, orders: Iterable[Resting]) -> list[Resting]:
        """The orders; none that closes at once is younger than the spell in which it stands."""
        found = []
        for order in orders:
            spell = self._spells.get((order.key, order.product, order.side))
            if spell is not None and spell.since_ns < order.since_ns and closes_at_once(order):
                order = order._replace(since_ns=spell.since_ns)
            found.append(order)
        return found
