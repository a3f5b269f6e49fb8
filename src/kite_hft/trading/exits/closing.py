"""Layer 2, orders process, cold: how positions are closed, whoever wants them closed.

Shorts are bought back before longs are sold, each position in its own product, in slices within the freeze
quantity. A protected MARKET order becomes a LIMIT whose rest stays open: every `reprice_s` it is cancelled
and placed anew at the market; one that was refused comes back as a LIMIT behind the price, inside the
circuit, and as a MARKET order again after that. Where the price stands at the circuit limit nobody is there
to trade with: the order is a LIMIT there and keeps its place, with an alert. In an auction it waits for the
end. A short that the broker lets nobody buy back keeps long derivatives on the same underlying,
which may cover it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.book import Order
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.prices import Market, beyond
from kite_hft.trading.exits.stewards import Hands
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

REFUSED_MAX: Final = 3
"""A closing order that was refused so often in a row is given up, or tried ever more seldom."""
SHORTS_FIRST_NS: Final = 10 * NS_PER_S
"""So long do longs wait for shorts that are being bought back; derivatives, which may cover them, longer."""


class Closer:
    """Places closing orders, knows them again, and counts what is refused."""

    def __init__(
        self, ports: Ports, config: OrdersConfig, outbox: Outbox, hands: Hands, market: Market
    ) -> None:
        self._ports, self._outbox, self.hands, self._market = ports, outbox, hands, market
        self._slices_max, self._gap = config.slices_max, config.stop_gap_percent
        self._reprice_ns = round(config.reprice_s * NS_PER_S)
        self.last: dict[Key, Order] = {}  # the newest closing order of a position
        self._placed_ns: dict[int, int] = {}
        self._began_ns: dict[Key, int] = {}
        self._refused: dict[Key, int] = {}

    def cancels(self, orders: Iterable[Order], now_ns: int) -> list[Order]:
        """Of live orders those to cancel now: all that are not ours, and ours that rest too long."""
        return [order for order in orders if not self._rests_well(order, now_ns)]

    def _rests_well(self, order: Order, now_ns: int) -> bool:
        placed_ns = self._placed_ns.get(order.order_no)
        if placed_ns is None:
            return False
        if now_ns - placed_ns < self._reprice_ns or not self._market.continuous(order.slot):
            return True
        return order.px > 0 and order.px == self._market.locked(order.slot, order.side)

    def due(
        self,
        open_: Sequence[Position],
        now_ns: int,
        able: Callable[[Position], bool] = lambda position: True,
    ) -> list[Position]:
        """Of open positions those whose closing order is to be placed now.

        able(position): it may be placed now; nothing waits for a short that may not.
        """
        # Where an order of ours is live its end comes first.
        free = [p for p in open_ if not (p.open_buy or p.open_sell) and able(p)]
        return [p for p in free if not self.waits(p, open_, now_ns, able)]

    def waits(
        self,
        position: Position,
        open_: Sequence[Position],
        now_ns: int,
        able: Callable[[Position], bool] = lambda position: True,
    ) -> bool:
        """Others come first, or it is not to be closed at all."""
        if position.quantity > 0:
            shorts = (p for p in open_ if p.quantity < 0 and (p.open_buy or able(p)))
            if any(self._first(short, position, now_ns) for short in shorts):
                return True
        return self.stays(position, open_)

    def _first(self, short: Position, long: Position, now_ns: int) -> bool:
        """A short is bought back before a long is sold."""
        if self.given_up(short):
            return False
        waited_ns = now_ns - self._began_ns.get(_key(short), now_ns)
        return self._may_cover(long, short) or waited_ns < SHORTS_FIRST_NS

    def close(self, position: Position, now_ns: int) -> None:
        """Place its closing order; what became of it is seen in the book."""
        key = _key(position)
        instrument = self._ports.instruments[position.slot]
        freeze = instrument.freeze_quantity
        most = freeze * self._slices_max if freeze else 0
        quantity = min(abs(position.quantity), most) if most else abs(position.quantity)
        side = Side.BUY if position.quantity < 0 else Side.SELL
        kind, px = self._terms(position.slot, side, self.refused(key))
        if px and px == self._market.locked(position.slot, side):
            text = f"{instrument.key} stands at its circuit limit: an order to close {quantity} waits there"
            self._outbox.alert("EXIT_AT_CIRCUIT", text, instrument.key)
        else:
            self._outbox.clear("EXIT_AT_CIRCUIT", instrument.key)
        self._began_ns.setdefault(key, now_ns)
        self._refused[key] = self._refused.get(key, 0) + 1
        for order in self.hands.place(*key, side, quantity, kind, now_ns, px=px):
            self.last[key], self._placed_ns[order.order_no] = order, now_ns

    def _terms(self, slot: int, side: int, refused: int) -> tuple[OrderType, int]:
        """Order type and price, 0: none."""
        if at_circuit := self._market.locked(slot, side):
            return OrderType.LIMIT, at_circuit
        last, at_market = self._market.last(slot), self._market.takes_now(slot, OrderType.MARKET)
        if not last or (at_market and refused % 2 == 0):
            return OrderType.MARKET, 0
        px = beyond(last, side, self._gap * (1 + refused // 2), self._ports.instruments[slot])
        return OrderType.LIMIT, self._market.inside(px, slot)

    def refused(self, key: Key) -> int:
        """How often in a row its closing order was refused, or came to nothing."""
        last = self.last.get(key)
        if last is not None and last.order_id and last.status is not OrderStatus.REJECTED:
            self._refused[key] = 0  # it was taken: it only rested too long
        return self._refused.get(key, 0)

    def given_up(self, position: Position) -> bool:
        """Refused so often that nothing waits for it any more."""
        return self.refused(_key(position)) >= REFUSED_MAX

    def stays(self, position: Position, open_: Sequence[Position]) -> bool:
        """It cannot be closed, or must not be: a long derivative may cover a short one that cannot."""
        if self.given_up(position):
            return True
        return position.quantity > 0 and any(
            p.quantity < 0 and self.given_up(p) and self._may_cover(position, p) for p in open_
        )

    def _may_cover(self, long: Position, short: Position) -> bool:
        """Derivatives on the same underlying."""
        one, other = self._ports.instruments[long.slot], self._ports.instruments[short.slot]
        return one.kind != "EQ" and other.kind != "EQ" and one.name == other.name

    def try_again(self, key: Key) -> None:
        """One more time, although it was given up."""
        self._refused[key] = min(self._refused.get(key, 0), REFUSED_MAX - 1)


def _key(position: Position) -> Key:
    return position.strategy, position.slot, position.product


def shorts_first(positions: Iterable[Position]) -> list[Position]:
    """In the order in which they are closed."""
    return sorted(positions, key=lambda p: (p.quantity > 0, p.slot, p.strategy, p.product))
