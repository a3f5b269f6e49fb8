"""Layer 4, simulator, cold: the orders of the account: their numbers, states, fills and what is due.

The desk knows no market and no rule: it moves orders from state to state, books their trades, keeps
the reserve, tells updates, and does what was asked for at a time. Pure and seeded.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any, Final

from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.account import Account
from kite_hft.sim.exchange.margin import Margins
from kite_hft.sim.exchange.orders import NewOrder, Order, OrderState, Refusal, Trade
from kite_hft.sim.exchange.rules import STOPS, ExchangeParams, order_value_paise
from kite_hft.sim.kite.rows import date_digits, order_row
from kite_hft.units import IST_OFFSET_S, NS_PER_S

DAY_CAP: Final = "Maximum allowed order requests exceeded"
Action = Callable[[int], object]


class Desk:
    """Orders by id, in the order they came; the agenda of what is due when."""

    def __init__(self, account: Account, params: ExchangeParams, seed: int, margins: Margins) -> None:
        self.account = account
        self.margins = margins
        self.params = params
        self.orders: dict[str, Order] = {}
        self.rng = random.Random(seed)
        self.on_done: list[Callable[[Order, int], None]] = []
        """Told of every order that reaches a terminal state."""
        self.on_trade: list[Callable[[Trade], None]] = [margins.traded]
        self.hold_order_ns = 0
        self.now_ns = 0
        cap = params.orders_per_day
        self.orders_per_day = params.market.limit("orders_per_day") if cap is None else cap
        self._day = -1
        self._placed_today = 0
        self._agenda: list[tuple[int, int, Action]] = []
        self._agenda_no = 0
        self._order_no = self.rng.randrange(100_000, 900_000)
        self._exchange_no = self.rng.randrange(1_000_000, 9_000_000)
        self._trade_no = 10_000_000
        self._updates: list[dict[str, Any]] = []
        self.touched: dict[str, Order] | None = None
        """Orders with a new state, in the order of the change, for who tells every state and empties it."""

    # -- time

    def at(self, due_ns: int, action: Action) -> None:
        """Do something at a time; what is due at the same time is done in the order it was asked."""
        self._agenda_no += 1
        heapq.heappush(self._agenda, (due_ns, self._agenda_no, action))

    def later(self, now_ns: int, action: Action, stages: int = 3) -> None:
        """Do the next of `stages` stages of an operation after a drawn delay."""
        latency = self.params.latency
        if latency is None:
            delay = self.rng.randint(*self.params.latency_ns)
        else:
            delay = latency.draw(self.rng) // stages
        self.at(now_ns + delay, action)

    def run(self, now_ns: int) -> int:
        """Do all that is due by `now_ns`; returns how many actions."""
        done = 0
        while self._agenda and self._agenda[0][0] <= now_ns:
            due, _, action = heapq.heappop(self._agenda)
            self.now_ns = max(self.now_ns, due)
            action(due)
            done += 1
        self.now_ns = max(self.now_ns, now_ns)
        return done

    def next_due_ns(self) -> int | None:
        """When the next action is due, or None."""
        return self._agenda[0][0] if self._agenda else None

    # -- new orders

    def count_placement(self, now_ns: int) -> bool:
        """Count one more order of the IST day; False when the day's cap is reached."""
        day = (now_ns // NS_PER_S + IST_OFFSET_S) // 86_400
        if day != self._day:
            self._day, self._placed_today = day, 0
        if self.orders_per_day and self._placed_today >= self.orders_per_day:
            return False
        self._placed_today += 1
        return True

    def require_placement(self, now_ns: int) -> None:
        """Count one more order of the day.

        Raises:
            Refusal: the day's cap is reached.
        """
        if not self.count_placement(now_ns):
            raise Refusal("OrderException", DAY_CAP)

    def placed_today(self, now_ns: int) -> int:
        """Orders that counted to the cap on the IST day of `now_ns`."""
        return self._placed_today if (now_ns // NS_PER_S + IST_OFFSET_S) // 86_400 == self._day else 0

    def new_id(self, now_ns: int) -> str:
        """The next order id: yymmdd and nine digits."""
        self._order_no += 1
        return f"{date_digits(now_ns)}{self._order_no:09d}"

    def new_order(self, request: NewOrder, now_ns: int, status: str = o.RECEIVED, **fields: Any) -> Order:
        """An order in its first state. `fields`: further attributes of Order."""
        state = OrderState(
            status, now_ns, 0, None, request.order_type, request.validity, request.quantity, request.px,
            request.trigger_px, 0, 0, 0, False, None, None, request.disclosed_quantity,
        )  # fmt: skip
        order = Order(
            self.new_id(now_ns), request, now_ns, [state], triggered=request.order_type not in STOPS, **fields
        )
        if self.params.keep_tags:
            order.tag = request.tag
        self.orders[order.order_id] = order
        self._touch(order)
        return order

    def exchange_number(self) -> str:
        """The next number that the exchange gives to an order."""
        self._exchange_no += 1
        return f"1{self.rng.randrange(100, 400)}000{self._exchange_no:09d}"

    # -- states

    def move(self, order: Order, status: str, now_ns: int, **changed: Any) -> None:
        """Add a state to an order's history."""
        order.states.append(order.now._replace(status=status, at_ns=now_ns, **changed))
        self._touch(order)

    def _touch(self, order: Order) -> None:
        if self.touched is not None:
            self.touched[order.order_id] = order

    def announce(self, order: Order, label: str) -> None:
        """Tell an order update: the order's row under this label."""
        self._touch(order)
        self._updates.append(order_row(order, order.now, self.params.user_id) | {"status": label})

    def drain_updates(self) -> list[dict[str, Any]]:
        """Order updates since the last call, oldest first."""
        updates, self._updates = self._updates, []
        return updates

    def finish(self, order: Order, status: str, now_ns: int, **changed: Any) -> None:
        """COMPLETE or CANCELLED: the order leaves the exchange."""
        left = 0 if status == o.COMPLETE else order.now.quantity - order.now.filled
        exchange_ns = now_ns if order.working or status == o.COMPLETE else order.now.exchange_ns
        self.move(order, status, now_ns, exchange_ns=exchange_ns, cancelled=left, **changed)
        self._end(order, status, now_ns)

    def reject(self, order: Order, why: tuple[str, str], now_ns: int) -> None:
        """REJECTED by the risk system or the exchange: the message and its raw form."""
        self.move(order, o.REJECTED, now_ns, message=why[0], message_raw=why[1])
        self._end(order, o.REJECTED, now_ns)

    def _end(self, order: Order, status: str, now_ns: int) -> None:
        order.working = False
        self.reserve(order)
        self.announce(order, status)
        for told in self.on_done:
            told(order, now_ns)

    def fill(self, order: Order, quantity: int, px: int, now_ns: int) -> None:
        """One trade of an order."""
        row, state = order.request.instrument, order.now
        self._trade_no += 1
        trade = Trade(
            str(self._trade_no), order.order_id, state.exchange_order_id or "", row, order.request.side,
            order.request.product, quantity, px, order_value_paise(row, px, quantity), now_ns,
        )  # fmt: skip
        self.account.book(trade)
        for told in self.on_trade:
            told(trade)
        order.trade_ids.append(trade.trade_id)
        filled = state.filled + quantity
        changed = {"filled": filled, "filled_units": state.filled_units + px * quantity}
        if filled == state.quantity:
            self.finish(order, o.COMPLETE, now_ns, **changed)
        else:
            self.move(order, state.status, now_ns, exchange_ns=now_ns, **changed)
            self.reserve(order)
            self.announce(order, o.UPDATE)

    def reserve(self, order: Order) -> None:
        """Keep the account's reserve equal to what the order may still take."""
        value = self.margins.remaining_paise(order)
        self.account.reserved_paise += value - order.reserved_paise
        order.reserved_paise = value
