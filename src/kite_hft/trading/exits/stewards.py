"""Layer 2, orders process, hot where nothing is under way: those who act on behalf of strategies.

A steward looks after something that lasts: exits of a position, a group, a trigger, closing everything.
It acts by its hands alone, which go through the same gate, throttle and journal as a strategy's intents.
It is asked when something has happened to an order or a position, and when its own time has come;
while nothing lasts, all of them together cost one comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from kite_hft.layout import IntentFlag, IntentKind, OrderStatus, Validity
from kite_hft.trading.book import Book
from kite_hft.trading.gate.checks_conduct import closable
from kite_hft.trading.intents import Intent
from kite_hft.trading.order import Order
from kite_hft.trading.positions import Position
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.slices import of_intent
from kite_hft.units import NS_PER_S

NEVER_NS: Final = 2**62
STOOD_NS: Final = 5 * NS_PER_S
"""An order that was at work for so long was taken: whoever cancels it later has not refused it."""
BLANK: Final = dict.fromkeys(Intent._fields, 0)


class Steward(Protocol):
    """One who acts for strategies."""

    @property
    def alive(self) -> bool:
        """It has something to look after: else `act` is not called."""

    def act(self, now_ns: int) -> int:
        """Do what is due; returns how many orders, modifications and cancels that were."""

    def next_ns(self, now_ns: int) -> int:
        """When to be asked again although nothing happens; NEVER_NS: not by itself."""


class Stewards:
    """All of them, asked in the order given."""

    def __init__(self, outbox: Outbox, stewards: Sequence[Steward]) -> None:
        self._outbox, self._stewards = outbox, tuple(stewards)
        self._due_ns, self._seen = NEVER_NS, -1

    def act(self, now_ns: int) -> int:
        """Let those act who have something to look after, if anything may have changed."""
        if now_ns < self._due_ns and self._outbox.stirred == self._seen:
            return 0
        self._seen = self._outbox.stirred
        done, due_ns = 0, NEVER_NS
        for steward in self._stewards:
            if steward.alive:
                done += steward.act(now_ns)
                if steward.alive:
                    due_ns = min(due_ns, steward.next_ns(now_ns))
        self._due_ns = due_ns
        return done

    def next_ns(self, now_ns: int) -> int | None:
        """When `act` must run next although nothing arrives; None: not by itself."""
        if self._outbox.stirred != self._seen and any(steward.alive for steward in self._stewards):
            return now_ns
        return self._due_ns if self._due_ns < NEVER_NS else None


class Hands:
    """What a steward acts by."""

    def __init__(self, book: Book, desk: Desk, intake: Intake, orders_per_day: int) -> None:
        self._book, self._desk, self._intake, self._most = book, desk, intake, orders_per_day
        self._called_off: set[int] = set()  # orders that stewards have cancelled, or asked to

    @property
    def may_place(self) -> bool:
        """The broker takes another order today: else nothing is cancelled for the sake of a new one."""
        return self._desk.throttle.placed_today < self._most

    @property
    def strategies_may_place(self) -> bool:
        """It takes another exit of a strategy: the last ones of the day are the engine's."""
        return self._desk.throttle.exits_left

    def place(
        self,
        strategy: int,
        slot: int,
        product: int,
        side: int,
        quantity: int,
        order_type: int,
        now_ns: int,
        *,
        px: int = 0,
        trigger_px: int = 0,
    ) -> list[Order]:
        """Place an order that reduces a position, in slices where it must; empty: it was refused."""
        seq = self._intake.next_engine_seq()
        words = {
            "created_ns": now_ns,
            "strategy_seq": seq,
            "slot": slot,
            "strategy": strategy,
            "kind": int(IntentKind.PLACE),
            "side": int(side),
            "order_type": int(order_type),
            "product": int(product),
            "validity": int(Validity.DAY),
            "flags": int(IntentFlag.EXIT),
            "qty": quantity,
            "px": px,
            "trigger_px": trigger_px,
        }
        self._intake.consider(Intent(**BLANK | words), now_ns, left_over=True)
        return of_intent(self._book, strategy, seq)

    def modify(
        self,
        order: Order,
        now_ns: int,
        *,
        quantity: int = 0,
        px: int = 0,
        trigger_px: int = 0,
        order_type: int = 0,
    ) -> bool:
        """Change an order; 0 leaves a term as it is. False: it cannot be changed now (see `settled`)."""
        if not self.settled(order):
            return False
        words = {
            "created_ns": now_ns,
            "strategy_seq": self._intake.next_engine_seq(),
            "target_seq": order.strategy_seq,
            "slot": order.slot,
            "strategy": order.strategy,
            "kind": int(IntentKind.MODIFY),
            "order_type": int(order_type),
            "flags": int(IntentFlag.EXIT),
            "qty": quantity,
            "px": px,
            "trigger_px": trigger_px,
        }
        self._intake.consider(Intent(**BLANK | words), now_ns, left_over=True)
        return order.order_no in self._desk.modifying

    def cancel(self, order: Order, now_ns: int) -> None:
        """Cancel an order; a doubled wish is one wish."""
        self._called_off.add(order.order_no)
        if order.order_no not in self._desk.cancelling:
            self._desk.cancel(order, None, now_ns)

    def see_cancelled(self, order: Order) -> None:
        """Cancel an order of an earlier process as soon as the broker's book shows it at work."""
        self._called_off.add(order.order_no)
        self._desk.wish_cancel(order.order_no)

    def settled(self, order: Order) -> bool:
        """The broker has it, and no change or cancel of it is under way, or unproven."""
        return self._desk.settled(order)

    def cancels(self, order: Order) -> bool:
        """A cancel of it is under way, or is seen through."""
        return order.order_no in self._desk.cancelling

    def undone(self, order: Order) -> bool:
        """The broker took it, and others have cancelled it before any of it filled."""
        ended = order.status is OrderStatus.CANCELLED and order.order_id != ""
        return ended and not order.filled and not self.called_off(order)

    def called_off(self, order: Order) -> bool:
        """A steward has asked to cancel it."""
        return order.order_no in self._called_off

    def closes(self, order: Order) -> bool:
        """Something is held that it would close."""
        return closable(self._book, order) > 0

    def unknown(self, position: Position, side: int, since_ns: int) -> int:
        """What orders of a position may still fill on a side whose fate is not known since then at least."""
        key = (position.strategy, position.slot, position.product, side)
        lost = (o for o in self._book.live_orders.values() if o.status is OrderStatus.AMBIGUOUS)
        here = (o for o in lost if (o.strategy, o.slot, o.product, o.side) == key)
        return sum(order.open_quantity for order in here if order.status_ns <= since_ns)

    def judged(self, order: Order) -> bool:
        """Broker or exchange rejected the order itself: not a call too many, token or address."""
        return order.status is OrderStatus.REJECTED and order.order_no not in self._desk.unjudged

    def stuck(self, order: Order) -> bool:
        """Its last change is unproven, or made it smaller and is not shown: it can be cancelled, no more."""
        number = order.order_no
        under_way = number in self._desk.modifying or number in self._desk.cancelling
        return (order.unproven is not None or order.quantity_max > 0) and not under_way
