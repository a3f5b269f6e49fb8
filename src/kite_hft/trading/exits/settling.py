"""Layer 2, orders process, cold: what is held overnight and is about to settle in shares.

Futures and options on shares end with the delivery of shares: whoever holds them over the expiry has to have
the money, or the shares, and margins rise in the days before. On the days of the dated rules (table `expiry`:
the last trading day before the expiry, and the day itself) people are told from warn_from on, by name, with
what happens: by default nobody closes it; with `exits.settlement: close` the square-off does, at its time.
What the account holds beside ours is told too, and never closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kite_hft.layout import Product, Severity
from kite_hft.sessions import ist_text
from kite_hft.trading.book import Book
from kite_hft.trading.gate.facts import Settlement
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.sending.outbox import Outbox

NRML: Final = int(Product.NRML)


class Settling:
    """Tells of them. `look` is asked twice a second."""

    def __init__(self, ports: Ports, config: OrdersConfig, book: Book, outbox: Outbox) -> None:
        self._ports, self._book, self._outbox = ports, book, outbox
        self._settlement: Callable[[int, int], Settlement | None] | None = ports.facts.settlement
        self._closes = config.settlement == "close"
        self._told: set[str] = set()

    def look(self) -> None:
        """What has to go today, and what is gone."""
        if self._settlement is None:
            return
        real_ns, standing = self._ports.clock.real_ns(), set[str]()
        for position in self._book.positions.values():
            if position.product != NRML or not position.quantity:
                continue
            settles = self._settlement(position.slot, real_ns)
            if settles is not None and real_ns >= settles.warn_ns:
                standing.add(self._tell(position, settles, real_ns))
        for key in self._told - standing:
            self._outbox.clear("SETTLEMENT", key)
        self._told = standing

    def _tell(self, position: Position, settles: Settlement, real_ns: int) -> str:
        key, ours = self._ports.instruments[position.slot].key, position.strategy != EXTERNAL
        until, late = ist_text(settles.flat_ns)[11:16], real_ns >= settles.from_ns
        text = (
            f"{key} {position.quantity:+d} NRML settles in shares on {settles.last}: it has to go by {until}"
        )
        if self._closes and ours:
            text += f"; the engine closes it from {ist_text(settles.from_ns)[11:16]} on"
        else:
            text += "; nobody closes it but you" + ("" if not ours else " (exits.settlement: close would)")
        name = f"{key} of {'strategy ' + str(position.strategy) if ours else 'the account'}"
        self._outbox.alert("SETTLEMENT", text, name, Severity.CRITICAL if late else None)
        return name
