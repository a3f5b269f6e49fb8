"""Layer 2, orders process, cold: a strategy's own stops after a kill, and at a stop that cancels what opens.

A stop that its strategy placed by itself keeps its quantity whatever becomes of the position; one that is
larger than what is left of it would, once triggered, open the other way round. While nothing may be opened
any more each is made as small as what it closes, oldest first. One that cannot be made smaller (modifications
spent, refused, not shown) is cancelled, and a person is told what is left without a stop. What a strategy
closes by other orders beside its stops gives way to them: a stop is not taken away for a limit that may never
fill. Stops of plans are not looked at: the engine fits them itself (fitting.py). An adopted stop stays as it
is, for no intent of this run has asked for it: a person is told of one that is larger than what is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kite_hft.layout import OrderStatus, Side
from kite_hft.trading.book import Book
from kite_hft.trading.exits.plan import Key, named
from kite_hft.trading.exits.stewards import NEVER_NS, Hands
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import EXTERNAL, STOPS, Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.adopting import protects_by_now
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

TRIES_MAX: Final = 3
RETRY_NS: Final = NS_PER_S // 2
STUCK_NS: Final = 5 * NS_PER_S
"""So long may a stop stand too large whose change was asked for."""


@dataclass(slots=True)
class _Asked:
    """How often a stop was to be made smaller, since when, and when that may be asked for again."""

    since_ns: int
    tries: int = 0
    next_ns: int = 0


class OwnStops:
    """One per order stage, a steward; `fit` is called every now and then while nothing may be opened."""

    def __init__(self, ports: Ports, config: OrdersConfig, book: Book, outbox: Outbox, hands: Hands) -> None:
        self._ports, self._book, self._outbox, self._hands = ports, book, outbox, hands
        self._cap = config.limits.modifications_per_order
        self._asked: dict[int, _Asked] = {}  # by order number
        self._told: dict[str, Key] = {}
        self._told_adopted: set[str] = set()

    @property
    def alive(self) -> bool:
        """People were told of something that is not over: also when the kill is."""
        return bool(self._told or self._told_adopted)

    def act(self, now_ns: int) -> int:
        """A steward's turn: what is over is told."""
        self._forget()
        return 0

    def next_ns(self, now_ns: int) -> int:
        """Only what happens to an order or a position ends it."""
        return NEVER_NS

    @property
    def fitted(self) -> bool:
        """No own exit is too large, but those that are being cancelled."""
        return next(self._too_large(), None) is None

    def fit(self, now_ns: int) -> None:
        """Ask for what is due."""
        self._forget()
        self._tell_adopted()
        for order, keeps in list(self._too_large()):
            if not keeps or not _stop(order):
                if not keeps and _stop(order) and self._held(order):
                    self._give_up(order, "what is held is less than a lot, or has a stop already", now_ns)
                else:
                    self._hands.cancel(order, now_ns)
                continue
            asked = self._asked.setdefault(order.order_no, _Asked(now_ns))
            if now_ns - asked.since_ns >= STUCK_NS:
                self._give_up(order, "a smaller quantity was asked for, and is not shown", now_ns)
            elif self._hands.settled(order) and now_ns >= asked.next_ns:
                if order.modifications >= self._cap or asked.tries >= TRIES_MAX:
                    self._give_up(order, self._outbox.why or "it may not be modified any more", now_ns)
                    continue
                asked.tries, asked.next_ns = asked.tries + 1, now_ns + RETRY_NS
                self._hands.modify(order, now_ns, quantity=order.filled + keeps)

    def _too_large(self) -> Iterator[tuple[Order, int]]:
        """(exit, so much of it closes something) of each that is larger than that."""
        room: dict[tuple[Key, int], int] = {}
        own = [order for order in self._book.live() if self._own(order) and not self._hands.cancels(order)]
        for order in sorted(own, key=lambda order: (not _stop(order), order.order_no)):
            key, sells = (order.strategy, order.slot, order.product), order.side == Side.SELL
            position = self._book.standing(*key)
            held = position.quantity if sells else -position.quantity
            if _stop(order):  # an entry that is under way may come to need it
                held += position.open_buy if sells else position.open_sell
            taken = room.get((key, order.side), 0)
            free = max(0, held - taken)
            keeps = min(order.open_quantity, free)
            room[key, order.side] = taken + keeps
            if keeps < order.open_quantity:
                yield order, keeps - keeps % max(1, self._ports.instruments[order.slot].lot_size)

    def _own(self, order: Order) -> bool:
        """An exit that a strategy placed by itself, or a slice of one, that has a name at the broker or may
        get one; or a stop that was to open and is an exit by now.
        """
        own = order.strategy_seq < ENGINE_SEQ or 0 < order.parent < ENGINE_SEQ
        if not own or order.strategy == EXTERNAL or order.status is OrderStatus.NEW:
            return False
        return not order.opening or protects_by_now(self._book, order)

    def _held(self, order: Order) -> int:
        held = self._book.standing(order.strategy, order.slot, order.product).quantity
        return max(0, held if order.side == Side.SELL else -held)

    def _give_up(self, order: Order, why: str, now_ns: int) -> None:
        key = (order.strategy, order.slot, order.product)
        name = named(self._ports.instruments[order.slot].key, key)
        text = (
            f"the stop {order.order_no} of {name} closes {order.open_quantity}, held are {self._held(order)}:"
            f" it would open a position, and is cancelled ({why})"
        )
        self._outbox.alert("EXIT_REFUSED", text, name)
        self._told[name] = key
        self._hands.cancel(order, now_ns)

    def _tell_adopted(self) -> None:
        for name, text in self._too_large_adopted():
            self._outbox.alert("EXIT_REFUSED", f"{text}: make it smaller in the broker's app", name)
            self._told_adopted.add(name)

    def _too_large_adopted(self) -> Iterator[tuple[str, str]]:
        """(name, words) of stops of earlier runs that close more than the account holds: what is too much
        would open.
        """
        live = self._book.live() if self._book.account_known else ()
        for order in (o for o in live if o.strategy == EXTERNAL and _stop(o) and not self._hands.cancels(o)):
            here = [
                p for p in self._book.positions.values() if (p.slot, p.product) == (order.slot, order.product)
            ]
            held = -order.sign * sum(position.quantity for position in here)
            if 0 < held < order.open_quantity:
                name = f"order {order.order_id} in {self._ports.instruments[order.slot].key}"
                yield name, f"{name}, a stop of an earlier run, closes {order.open_quantity}, held are {held}"

    def _forget(self) -> None:
        """What is over needs no memory, and a position that is gone no stop."""
        for number in [number for number in self._asked if number not in self._book.live_orders]:
            del self._asked[number]
        for name, key in list(self._told.items()):
            if not self._book.standing(*key).quantity:
                del self._told[name]
                self._outbox.clear("EXIT_REFUSED", name)
        if self._told_adopted and self._book.account_known:
            for name in self._told_adopted - {name for name, _ in self._too_large_adopted()}:
                self._told_adopted.remove(name)
                self._outbox.clear("EXIT_REFUSED", name)


def _stop(order: Order) -> bool:
    """It waits for its trigger."""
    return order.order_type in STOPS and order.status is not OrderStatus.OPEN
