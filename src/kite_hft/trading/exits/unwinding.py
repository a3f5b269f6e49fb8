"""Layer 2, orders process, cold: a broken group is undone: what lives is cancelled, what has filled closed.

The last leg first: what protects another leg goes last. A closing order is placed, priced anew and, when
it was refused, tried again as when everything is closed (closing.py), until nothing is left of the leg but
what no order can name. It closes no more than the position still shows: what a leg had closed of another
position is not opened again, and people are told. Exits that stand on the same position are asked to make
room first, for seconds; those of the end of the day close it themselves. What the strategy has placed by
itself is left where there is room for both, else made smaller or cancelled: it may rest for ever. What of it
is on its way gets those seconds to fill. The numbers of closing orders are journalled before these leave: a
process that starts anew knows them again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kite_hft.layout import OrderType, Side
from kite_hft.trading.book import Book
from kite_hft.trading.exits.closing import Closer
from kite_hft.trading.exits.group import Group, Leg, Name
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.prices import Market, sendable
from kite_hft.trading.exits.stewards import Hands
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.slices import of_intent
from kite_hft.units import NS_PER_S

ROOM_NS: Final = 3 * NS_PER_S
"""So long does a closing order wait for exits that stand in its way; then the gate says what it thinks."""


class Unwinder:
    """Undoes groups. `journal(group)` writes its GROUP record."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        hands: Hands,
        market: Market,
        journal: Callable[[Group], None],
    ) -> None:
        self._ports, self._config, self._book, self._outbox = ports, config, book, outbox
        self._hands, self._market, self._journal = hands, market, journal
        self._closers: dict[Name, Closer] = {}
        self._numbers: set[int] = set()
        self.closing: Callable[[Key], bool] = lambda key: False  # somebody else closes this position
        self.covers: Callable[[Key, int], int] = lambda key, side: 0  # what triggers of exits may place

    def owns(self, order: Order) -> bool:
        """It closes a leg."""
        return (order.parent or order.strategy_seq) in self._numbers

    def take_up(self, group: Group) -> None:
        """An earlier process left it broken: its closing orders are known again."""
        self._numbers.update(number for leg in group.legs for number in leg.closing)

    def undo(self, group: Group, now_ns: int) -> tuple[int, str]:
        """The next steps: how many orders and cancels they were, and what came of it all, "": not over."""
        live = [o for leg in group.legs for o in leg.orders if o.status not in TERMINAL]
        filled, kept = any(leg.traded for leg in group.legs), self._config.group_partial == "keep"
        if not group.told and (live or (filled and not kept)):
            group.told = True
            what = "stays" if kept else "is being closed again"
            self.tell(group, f"what lives is cancelled, what has filled {what}")
        for order in live:
            self._hands.cancel(order, now_ns)
        if live:
            return len(live), ""
        if kept or not filled:
            return 0, "what has filled is kept" if filled else "nothing was traded"
        for leg in reversed(group.legs):
            calls = self._close(group, leg, now_ns)
            if calls is not None:
                return calls, ""
        return 0, self._end(group, now_ns)

    def tell(self, group: Group, what: str) -> None:
        """A person is told what becomes of it."""
        name = f"{group.strategy} {group.group}"
        self._outbox.alert("GROUP_BROKEN", f"group {group.group}: {group.why}: {what}", name)

    def _end(self, group: Group, now_ns: int) -> str:
        if (closer := self._closers.pop(group.name, None)) is not None:
            closer.due([], now_ns)  # what people were told of its refusals is over
        self._numbers.difference_update(number for leg in group.legs for number in leg.closing)
        legs = [leg for leg in group.legs if leg.orders]
        words = []
        if left := [f"{leg.left} {self._name(leg)}" for leg in legs if leg.left]:
            words.append(f"{', '.join(left)} could not be closed")
        if gone := [f"{n} {self._name(leg)}" for leg in legs if (n := self._gone(leg))]:
            words.append(f"{', '.join(gone)} had closed what was held, which is not opened again")
        return "; ".join(words) or "what had filled was closed again"

    def _name(self, leg: Leg) -> str:
        return self._ports.instruments[leg.key[1]].key

    def _gone(self, leg: Leg) -> int:
        """So much of it is not there to be closed: it had taken away what was held before, or others have
        closed it.
        """
        return leg.traded - sum(order.filled for order in self._made(leg)) - leg.left

    def _close(self, group: Group, leg: Leg, now_ns: int) -> int | None:
        """The next step of closing a leg: how many calls; None: nothing of it is left to be closed."""
        leg.claims = 0
        if not leg.orders:
            return None
        closer = self._closers.get(group.name) or self._closer(group)
        made = self._made(leg)
        live = [order for order in made if order.status not in TERMINAL]
        if live:
            closer.know(live, now_ns)
            cancels = closer.cancels(live, now_ns)
            for order in cancels:
                self._hands.cancel(order, now_ns)
            return len(cancels)
        rest, key, sign = self._rest(leg, made), leg.key, leg.orders[0].sign
        if not rest or leg.left:
            return None
        if self.closing(key):
            return 0
        position = Position(*key, quantity=sign * rest)
        closer.try_late([position], now_ns)
        due = closer.due([position], now_ns)
        if not sendable(rest, self._ports.instruments[key[1]], 1):
            leg.left = rest
            return None
        if not due or self._crowded(leg, rest, now_ns):
            return 0
        leg.asked_ns = leg.claims = 0
        if placed := closer.close(position, now_ns):
            leg.closing.append(placed[0].strategy_seq)
            self._numbers.add(placed[0].strategy_seq)
            self._journal(group)
        return 1

    def _closer(self, group: Group) -> Closer:
        closer = Closer(self._ports, self._config, self._outbox, self._hands, self._market)
        return self._closers.setdefault(group.name, closer)

    def _made(self, leg: Leg) -> list[Order]:
        """The orders that close it, as far as they came to be."""
        strategy = leg.orders[0].strategy
        return [order for number in leg.closing for order in of_intent(self._book, strategy, number)]

    def _rest(self, leg: Leg, made: list[Order]) -> int:
        """What is left to be closed, as far as its position still shows it."""
        held = self._book.standing(*leg.key).quantity * leg.orders[0].sign
        return min(max(0, leg.traded - sum(order.filled for order in made)), max(0, held))

    def _crowded(self, leg: Leg, quantity: int, now_ns: int) -> bool:
        """Other orders may close the same position: exits make room for what is claimed."""
        side = Side.SELL if leg.orders[0].side == Side.BUY else Side.BUY
        if self._book.standing(*leg.key).reduces(side, quantity + self.covers(leg.key, side)):
            return False
        if not self._hands.may_place:
            return False  # it will be refused: nothing makes room for it
        leg.claims, leg.asked_ns = quantity, leg.asked_ns or now_ns
        waits = now_ns - leg.asked_ns < ROOM_NS
        self._clear(leg, side, quantity, now_ns, late=not waits)
        return waits

    def _clear(self, leg: Leg, side: int, quantity: int, now_ns: int, *, late: bool) -> None:
        """Take away what the strategy's own orders close beyond what is left beside `quantity`, newest first:
        by a smaller quantity, once, or by a cancel.
        """
        live, here = self._book.live(), (*leg.key, side)
        here_now = (o for o in live if (o.strategy, o.slot, o.product, o.side) == here)
        own = [o for o in here_now if not by_engine(o) and not self._hands.cancels(o)]
        held = self._book.standing(*leg.key).quantity * leg.orders[0].sign
        excess = sum(order.open_quantity for order in own) + quantity - held
        lot = max(1, self._ports.instruments[leg.key[1]].lot_size)
        for order in reversed(own):
            if excess <= 0:
                return
            keeps = max(0, order.open_quantity - excess) // lot * lot
            excess -= order.open_quantity - keeps
            if not late and (order.status not in WORKING or order.order_type == OrderType.MARKET):
                continue  # it may fill at once
            if late or not keeps or (order.order_no in leg.shrunk and self._hands.settled(order)):
                self._hands.cancel(order, now_ns)
            elif self._hands.settled(order):
                leg.shrunk.add(order.order_no)
                self._hands.modify(order, now_ns, quantity=order.filled + keeps)


def by_engine(order: Order) -> bool:
    """The engine has placed it, and it is no slice of what a strategy has."""
    return order.strategy_seq >= ENGINE_SEQ and not 0 < order.parent < ENGINE_SEQ
