"""Layer 2, orders process, cold: exits at market that the exchange would refuse, sent as what it takes.

At a circuit limit where nobody stands on the other side a MARKET order is refused: its protection price
would lie outside the limits. The same in a phase that takes limits alone, and in an option without a trade
today. An exit that a strategy asks for becomes a LIMIT then, as those become that the engine places: at the
circuit limit it waits there, and a person is told; else it lies a little beyond the last price. What opens
is left as it is: the gate or the exchange refuses it.
"""

from __future__ import annotations

from kite_hft.layout import IntentKind, OrderType, Side
from kite_hft.trading.book import Book
from kite_hft.trading.exits.prices import Market, beyond
from kite_hft.trading.gate.risk import is_reducing
from kite_hft.trading.intents import Intent
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

LOOK_NS = NS_PER_S // 2
Told = tuple[int, int, int]
"""(strategy, slot, side)."""


class AtCircuit:
    """Turns such intents, and keeps what people were told of them true: a steward."""

    def __init__(
        self, ports: Ports, config: OrdersConfig, book: Book, outbox: Outbox, market: Market
    ) -> None:
        self._ports, self._book, self._outbox, self._market = ports, book, outbox, market
        self._away = min(config.stop_gap_percent, config.risk.price_collar_percent)
        self._told: set[Told] = set()

    def turn(self, intent: Intent) -> Intent:
        """`intent`, or the same as a LIMIT. To be asked for orders at market alone."""
        target = None
        if intent.kind == IntentKind.MODIFY:
            target = self._book.by_strategy(intent.strategy, intent.target_seq)
            if target is None or target.slot != intent.slot:
                return intent
        slot, side = intent.slot, intent.side if target is None else target.side
        if slot >= len(self._ports.instruments) or self._ports.instruments[slot].is_index:
            return intent
        locked = self._market.locked(slot, side)
        if not locked and self._market.at_market(slot):
            return intent
        if not is_reducing(intent, self._book, target):
            return intent
        last = self._market.last(slot)
        px = locked or (last and beyond(last, side, self._away, self._ports.instruments[slot]))
        if not px:
            return intent
        if locked:
            self._tell((intent.strategy, slot, side))
        return intent._replace(order_type=int(OrderType.LIMIT), px=self._market.inside(px, slot))

    def _tell(self, told: Told) -> None:
        self._told.add(told)
        key, words = self._ports.instruments[told[1]].key, "sell" if told[2] == Side.SELL else "buy"
        text = f"{key} stands at its circuit limit: the order of strategy {told[0]} to {words} waits there"
        self._outbox.alert("EXIT_AT_CIRCUIT", text, _name(key, told))

    @property
    def alive(self) -> bool:
        return bool(self._told)

    def next_ns(self, now_ns: int) -> int:
        return now_ns + LOOK_NS

    def act(self, now_ns: int) -> int:
        """What is over is told, too."""
        waiting = {(o.strategy, o.slot, o.side) for o in self._book.live_orders.values() if not o.opening}
        for told in [t for t in self._told if t not in waiting or not self._market.locked(*t[1:])]:
            self._told.discard(told)
            self._outbox.clear("EXIT_AT_CIRCUIT", _name(self._ports.instruments[told[1]].key, told))
        return 0


def _name(key: str, told: Told) -> str:
    return f"{key} of strategy {told[0]}"
