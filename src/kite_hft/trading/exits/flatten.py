"""Layer 2, orders process, cold: closing what the engine holds, when it is asked to stop flat.

All working orders are cancelled, exits too, or they could fill beside ours; then shorts are bought
back, then longs sold, each position in its own product, in slices within the freeze quantity. A
protected MARKET order becomes a LIMIT whose rest stays open: every `reprice_s` it is cancelled and
placed anew at the market. Over only when the broker's positions, read while nothing fills, show
nothing of ours. A short that the broker lets nobody buy back keeps long derivatives, which may cover it,
and nothing else. What the account held beyond our orders is not ours to close.
"""

from __future__ import annotations

from typing import Final

from kite_hft.layout import IntentFlag, IntentKind, OrderStatus, OrderType, Side, Validity
from kite_hft.trading.book import EXTERNAL, Book, Order
from kite_hft.trading.intents import Intent
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

REFUSED_MAX: Final = 3
"""A closing order that was refused so often in a row is not tried again."""


class Flatten:
    """One closing of all positions. `place(intent, now_ns)` judges and sends; `cancel(order, now_ns)`."""

    def __init__(
        self, ports: Ports, config: OrdersConfig, book: Book, outbox: Outbox, reader: BookReader
    ) -> None:
        self._ports, self._book, self._outbox, self._reader = ports, book, outbox, reader
        self._reprice_ns = round(config.reprice_s * NS_PER_S)
        self._placed: dict[tuple[int, int, int], Order] = {}
        self._placed_ns: dict[int, int] = {}
        self._refused: dict[tuple[int, int, int], int] = {}
        self._checks = -1  # comparisons of the positions when the last of ours was closed

    def open_positions(self) -> list[Position]:
        """Ours, shorts first."""
        held = [p for p in self._book.positions.values() if p.quantity and p.strategy != EXTERNAL]
        return sorted(held, key=lambda p: (p.quantity > 0, p.slot, p.strategy, p.product))

    def cancels(self, now_ns: int) -> list[Order]:
        """Live orders to cancel now: all that we did not place, and closing ones that rest too long."""
        ours = {order.order_no for order in self._placed.values()}
        return [
            order
            for order in self._book.live()
            if order.order_no not in ours or now_ns - self._placed_ns[order.order_no] >= self._reprice_ns
        ]

    def wishes(self, last_seq: dict[int, int], now_ns: int) -> list[Intent]:
        """Closing orders to place now. `last_seq`: highest strategy_seq of each strategy, counted up here."""
        open_ = self.open_positions()
        closing_shorts = any(p.quantity < 0 and not self._given_up(p) for p in open_)
        found = []
        for position in open_:
            if position.open_buy or position.open_sell:
                continue  # an order of ours is live: its end comes first
            if closing_shorts and position.quantity > 0:
                continue
            if self._stays(position, open_):
                continue
            seq = last_seq[position.strategy] = last_seq.get(position.strategy, 0) + 1
            found.append(self._intent(position, seq, now_ns))
        return found

    def placed(self, intent: Intent, now_ns: int) -> None:
        """A wish was handed over; what became of it is seen in the book."""
        key = (intent.strategy, intent.slot, intent.product)
        order = self._book.by_strategy(intent.strategy, intent.strategy_seq)
        self._refused[key] = self._refused.get(key, 0) + 1
        if order is not None:
            self._placed[key], self._placed_ns[order.order_no] = order, now_ns

    def _stays(self, position: Position, open_: list[Position]) -> bool:
        """It cannot be closed, or must not be: a long derivative may cover a short one that cannot."""
        if self._given_up(position):
            return True
        return (position.quantity > 0 and self._is_derivative(position)) and any(
            p.quantity < 0 and self._is_derivative(p) and self._given_up(p) for p in open_
        )

    def _is_derivative(self, position: Position) -> bool:
        return self._ports.instruments[position.slot].kind != "EQ"

    def _given_up(self, position: Position) -> bool:
        key = (position.strategy, position.slot, position.product)
        last = self._placed.get(key)
        if last is not None and last.order_id and last.status is not OrderStatus.REJECTED:
            self._refused[key] = 0  # it was taken: it only rested too long
        return self._refused.get(key, 0) >= REFUSED_MAX

    def done(self, now_ns: int) -> bool:
        """Nothing of ours is open, and the broker's positions, read since, agree."""
        held = self.open_positions()
        if any(not self._stays(p, held) for p in held) or self._book.live_count():
            self._checks = -1
            return False
        if self._checks < 0:
            self._checks = self._reader.checks
            self._reader.polls.check_wanted = True
        return self._reader.checks > self._checks and not self._reader.polls.check_wanted

    def report(self) -> list[str]:
        """What could not be closed, in words."""
        return [
            f"{self._ports.instruments[p.slot].key} {p.quantity} of strategy {p.strategy}"
            for p in self.open_positions()
        ]

    def _intent(self, position: Position, seq: int, now_ns: int) -> Intent:
        freeze = self._ports.instruments[position.slot].freeze_quantity
        quantity = abs(position.quantity)
        blank = dict.fromkeys(Intent._fields, 0)
        return Intent(
            **blank
            | {
                "created_ns": now_ns,
                "strategy_seq": seq,
                "slot": position.slot,
                "strategy": position.strategy,
                "kind": int(IntentKind.PLACE),
                "side": int(Side.BUY if position.quantity < 0 else Side.SELL),
                "order_type": int(OrderType.MARKET),
                "product": position.product,
                "validity": int(Validity.DAY),
                "flags": int(IntentFlag.EXIT),
                "qty": min(quantity, freeze) if freeze else quantity,
            }
        )
