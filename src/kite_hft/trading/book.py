"""Layer 2, orders process, hot: every order of the run and what became of it.

Pure: no clock, no I/O. Orders are found by our number, by (strategy, strategy_seq), by the
broker's order id and by tag. `fold` takes the broker's words in any order, any number of times;
quantities filled only grow; a report that teaches nothing is a duplicate. Executions
(TradeReport) are the truth about prices and replace values made from an average.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kite_hft._book import InPlay
from kite_hft.layout import NO_SLOT, OrderStatus
from kite_hft.trading.broker import OrderReport, TradeReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.lifecycle import LIVE, REPORT_OF, WORKING, Input, following
from kite_hft.trading.order import BUY, EXTERNAL, PROMISED, STOPS, Change, Order
from kite_hft.trading.positions import Cut, Fill, Position, fill_units, worst_case
from kite_hft.trading.unproven import Terms, lives_after_all, shows_less

AGREEING_READS: Final = 2
"""So many whole reads of the broker's books in a row have to say the same to be believed."""


class BookError(ValueError):
    """Two orders claim one name, or the broker's words contradict one another."""


class Book:
    """Orders and positions of one account."""

    def __init__(self, instruments: InstrumentTable) -> None:
        self._instruments = instruments
        self.orders: dict[int, Order] = {}
        self.families: dict[tuple[int, int], list[Order]] = {}  # intents in slices -> their orders
        self._by_strategy: dict[tuple[int, int], Order] = {}
        self._by_id: dict[str, Order] = {}
        self._by_tag: dict[str, Order] = {}
        self.live_orders: dict[int, Order] = {}  # they may still fill, oldest first; to look at
        self.positions: dict[tuple[int, int, int], Position] = {}
        self._slots: dict[int, list[Position]] = {}
        self._touched: set[int] = set()  # slots that may have changed since `in_play` counted them
        self.sums = InPlay(self._slots, self._touched)
        self.traded: set[int] = set()  # orders whose fills changed; whoever settles costs empties it
        self.cuts: list[Cut] = []
        self.promised = 0  # triggers at the broker that count as working orders do
        self.unpriced: dict[int, int] = {}  # order -> since when its fills have no price of the broker's
        self.account_known = False  # what EXTERNAL holds has been read from the broker
        self.apart: dict[int, str] = {}  # slot -> what the broker's own books differ in: nothing is opened

    # Finding

    def by_strategy(self, strategy: int, strategy_seq: int) -> Order | None:
        return self._by_strategy.get((strategy, strategy_seq))

    def by_id(self, order_id: str) -> Order | None:
        return self._by_id.get(order_id)

    def by_tags(self, tags: tuple[str, ...]) -> Order | None:
        return next((self._by_tag[t] for t in tags if t in self._by_tag), None)

    def live(self) -> Iterator[Order]:
        """Orders that may still fill, oldest first; safe while orders change."""
        return iter(list(self.live_orders.values()))

    def live_count(self) -> int:
        return len(self.live_orders)

    def frozen(self, slot: int, side: int) -> Order | None:
        """The ambiguous order that stands on this instrument and side, if one does."""
        for order in self.live_orders.values():
            if order.status is OrderStatus.AMBIGUOUS and order.slot == slot and order.side == side:
                return order
        return None

    def frozen_exit(self, slot: int, side: int) -> Order | None:
        """The ambiguous exit on this instrument and side whose reads of the positions are still to come."""
        for order in self.live_orders.values():
            here = order.status is OrderStatus.AMBIGUOUS and order.slot == slot and order.side == side
            if here and not order.opening and order.agreeing < AGREEING_READS:
                return order
        return None

    # Changing

    def add(self, order: Order) -> None:
        """A new order.

        Raises:
            BookError: number, (strategy, strategy_seq) or tag is taken.
        """
        name = (order.strategy, order.strategy_seq)
        if order.order_no in self.orders or (order.tag and order.tag in self._by_tag):
            raise BookError(f"order {order.order_no} or its tag {order.tag} stands already")
        if order.strategy != EXTERNAL:
            if name in self._by_strategy:
                raise BookError(f"strategy {name[0]} has sent its intent {name[1]} already")
            self._by_strategy[name] = order
        self.orders[order.order_no] = order
        if order.parent:
            family = (order.strategy, order.parent)
            first = self._by_strategy.get(family)
            self.families.setdefault(family, [] if first is None else [first]).append(order)
        if order.tag:
            self._by_tag[order.tag] = order
        if order.status in LIVE:
            self.live_orders[order.order_no] = order
            self._expose(order, order.open_quantity)

    def forget(self, order: Order) -> None:
        """An order that was refused before it left, and was told: nobody asks for it any more."""
        if order.status is OrderStatus.REFUSED and not order.order_id:
            self.orders.pop(order.order_no, None)
            self._by_tag.pop(order.tag, None)
            self._by_strategy.pop((order.strategy, order.strategy_seq), None)

    def family(self, order: Order) -> list[Order]:
        """All slices of the intent that `order` is a part of, oldest first; of a whole order: itself."""
        return self.families.get((order.strategy, order.parent or order.strategy_seq)) or [order]

    def name(self, order: Order, order_id: str) -> None:
        """The broker calls it `order_id`.

        Raises:
            BookError: it is known under another id (so one intent made two orders), or the id
                belongs to another order.
        """
        if order.order_id == order_id:
            return
        if order.order_id or order_id in self._by_id:
            raise BookError(
                f"order {order.order_no} ({order.order_id or 'unnamed'}) is named {order_id} as well"
            )
        order.order_id = order_id
        self._by_id[order_id] = order

    def enter(self, order: Order, what: Input, now_ns: int) -> Change:
        """One of our own inputs."""
        before, exposed = order.status, order.open_quantity
        self._move(order, what, now_ns)
        self._expose(order, order.open_quantity - exposed)
        return Change(order, before)

    def ask_terms(self, order: Order, quantity: int, terms: Terms | None = None) -> None:
        """A modification to `quantity`: the worst counts, of any in doubt too. No `terms`: it has left."""
        exposed, order.asked = order.open_quantity, terms
        order.quantity_min = min(order.quantity, order.quantity_min or order.quantity)
        order.quantity_max = max(order.quantity, order.quantity_max, quantity)
        order.modifications += 1
        order.growth = 0 if terms is None else order.open_quantity - exposed
        self._expose(order, order.open_quantity - exposed)

    def set_terms(
        self, order: Order, quantity: int, px: int, trigger_px: int, now_ns: int, order_type: int = 0,
        *, shown: bool = True,
    ) -> Change:  # fmt: skip
        """Quantity, prices and type as they now stand at the broker; ends an unanswered modification.

        `order_type` 0: as it was. Not `shown`: the broker has taken it, and the exchange may turn it down:
        where it is less, the larger quantity counts until a row of the order tells.
        """
        exposed, kind, before = order.open_quantity, order_type or order.order_type, order.status
        if kind in STOPS and order.order_type not in STOPS:
            self._move(order, Input.REARM, now_ns)
        stood = (order.quantity, order.px, order.trigger_px, order.order_type)
        changed = stood != (quantity, px, trigger_px, kind)
        order.order_type = kind
        order.quantity, order.px, order.trigger_px = max(quantity, order.filled), px, trigger_px
        most = 0 if shown else max(stood[0], order.quantity_max)
        order.quantity_max = most if most > order.quantity else 0
        order.unproven, order.asked, order.growth, order.changed_ns = None, None, 0, now_ns
        self._expose(order, order.open_quantity - exposed)
        return Change(order, before, terms=changed)

    def fold(
        self, order: Order, report: OrderReport, now_ns: int, *, guessed: bool = False, rearmed: bool = False
    ) -> Change:
        """One report about `order` (found by the caller): false when it teaches nothing. guessed: the broker
        has told the fill without its price, and the one in the report is ours. rearmed: it waits for its
        trigger again, whatever was told before.

        Raises:
            BookError: the report's id is another one than the order's.
        """
        revived, before, exposed = lives_after_all(order, report), order.status, order.open_quantity
        self.name(order, report.order_id)
        if revived:
            order.gone = False
            self._move(order, Input.REVIVE, now_ns)
        filled = min(report.filled_quantity, max(order.quantity, order.quantity_max, report.quantity))
        got_quantity = got_units = 0
        if filled > order.filled:
            units = fill_units(report.average_price, filled, self._scale(order))
            got_quantity, got_units = self._fill(order, filled, units)
            if guessed:
                self.unpriced[order.order_no] = now_ns
        elif 0 < filled == order.filled and (order.order_no in self.unpriced or not order.filled_units):
            units = fill_units(report.average_price, filled, self._scale(order))
            got_units = units - order.filled_units if report.average_price else 0
            self._revalue(order, order.filled_units + got_units)
        if report.average_price and not guessed and filled == order.filled:
            self.unpriced.pop(order.order_no, None)
        if shows_less(order, report):
            order.quantity_max = 0
        self._move(order, Input.REARM if rearmed else REPORT_OF[report.status], now_ns)
        if report.message and order.status is OrderStatus.REJECTED:
            order.message = report.message
        self._expose(order, order.open_quantity - exposed)
        return Change(order, before, got_quantity, got_units)

    def fold_trade(self, order: Order, trade: TradeReport, now_ns: int) -> Change:
        """One execution of `order`. Once executions cover all that is filled they set its value."""
        if trade.trade_id in order.trades:
            return Change(order, order.status)
        exposed, before = order.open_quantity, order.status
        scale = self._scale(order)
        units = round(trade.average_price * scale) * trade.quantity
        order.trades[trade.trade_id] = (trade.quantity, units)
        quantity = sum(q for q, _ in order.trades.values())
        value = sum(u for _, u in order.trades.values())
        got_quantity = got_units = 0
        if quantity > order.filled:
            got_quantity, got_units = self._fill(order, quantity, value)
        elif quantity == order.filled and value != order.filled_units:
            got_units = value - order.filled_units
            self._revalue(order, value)
        if quantity >= order.filled:
            self.unpriced.pop(order.order_no, None)
        self._move(order, Input.SEEN, now_ns)
        self._expose(order, order.open_quantity - exposed)
        return Change(order, before, got_quantity, got_units)

    def _move(self, order: Order, what: Input, now_ns: int) -> None:
        status = following(order.status, what)
        if status is order.status:
            return
        order.status, order.status_ns = status, now_ns
        if status in LIVE:
            self.live_orders[order.order_no] = order
        else:
            self.live_orders.pop(order.order_no, None)

    def _fill(self, order: Order, filled: int, units: int) -> tuple[int, int]:
        quantity, value = filled - order.filled, units - order.filled_units
        self.position(order).apply(Fill(order.order_no, order.sign * quantity, order.sign * value))
        order.filled, order.filled_units = filled, units
        self.traded.add(order.order_no)
        return quantity, value

    def _revalue(self, order: Order, units: int) -> None:
        if units != order.filled_units:
            if order.strategy != EXTERNAL:  # the broker tells what others hold, and what it is worth
                self.position(order).correct(order.order_no, order.sign * (units - order.filled_units))
            order.filled_units = units
            self.traded.add(order.order_no)

    def _expose(self, order: Order, more: int) -> None:
        if more:
            slot = order.slot
            self._touched.add(slot)
            position = self.positions.get((order.strategy, slot, order.product)) or self.position(order)
            if order.side == BUY:
                position.open_buy += more
            else:
                position.open_sell += more

    def _scale(self, order: Order) -> int:
        return self._instruments[order.slot].scale if order.slot != NO_SLOT else 100

    # Positions

    def position(self, order: Order) -> Position:
        """The position that `order` belongs to."""
        return self.position_of(order.strategy, order.slot, order.product)

    def position_of(self, strategy: int, slot: int, product: int) -> Position:
        """The position of (strategy, slot, product), flat when nothing happened yet.

        To be changed at once, if at all: `in_play` counts the slot anew when it is asked next.
        """
        key = (strategy, slot, product)
        found = self.positions.get(key)
        self._touched.add(slot)  # it may change in the caller's hands
        if found is None:
            found = self.positions[key] = Position(strategy, slot, product)
            self._slots.setdefault(slot, []).append(found)
        return found

    def standing(self, strategy: int, slot: int, product: int) -> Position:
        """The position of (strategy, slot, product) to look at; a flat one is not kept."""
        return self.positions.get((strategy, slot, product)) or Position(strategy, slot, product)

    def set_external(self, slot: int, product: int, quantity: int, units: int) -> None:
        """What the account holds beyond this run's own orders (from the broker, at start)."""
        position = self.position_of(EXTERNAL, slot, product)
        position.quantity, position.cost_units, position.net_units = quantity, units, units
        position.fills = [Fill(0, quantity, units)] if quantity else []

    def cut(self, cut: Cut) -> None:
        """Somebody else's order closed a part of a strategy's position.

        The position is the broker's to change: what EXTERNAL did against ours moves into it.
        """
        self.cuts.append(cut)
        self.position_of(cut.strategy, cut.slot, cut.product).apply(Fill(0, cut.quantity, cut.units))
        self.position_of(EXTERNAL, cut.slot, cut.product).apply(Fill(0, -cut.quantity, -cut.units))

    def promise(self, slot: int, product: int, side: int, quantity: int, number: int) -> None:
        """A trigger at the broker may order `quantity` more (fewer: negative): it counts in the worst case
        and as a working order, and takes nothing from what may be closed. number: so many triggers more.
        """
        self.position_of(PROMISED, slot, product).expose(side, quantity)
        self.promised += number

    def in_slot(self, slot: int, product: int) -> list[Position]:
        """The strategies' positions of one (instrument, product), EXTERNAL left out."""
        return [p for p in self._slots.get(slot, ()) if p.product == product and p.strategy != EXTERNAL]

    def sold(self, product: int) -> dict[int, int]:
        """By slot: how much the strategies have sold of it beyond what they have bought."""
        net = {slot: sum(p.quantity for p in self.in_slot(slot, product)) for slot in self._slots}
        return {slot: -quantity for slot, quantity in net.items() if quantity < 0}

    def selling(self, product: int) -> dict[int, int]:
        """By slot: how much orders of the strategies that lie at the broker have still to sell."""
        found: dict[int, int] = {}
        for order in self.live_orders.values():
            ours = order.strategy != EXTERNAL and order.side != BUY and order.product == product
            if ours and order.status in WORKING:
                found[order.slot] = found.get(order.slot, 0) + order.pending
        return found

    def worst_case(self, slot: int, side: int = 0, quantity: int = 0, product: int = 0) -> int:
        """Largest absolute account position in `slot`, were all live orders of one side to fill, each product
        for itself. `quantity` more on `side` in `product` is counted in.
        """
        return worst_case(self._slots.get(slot, ()), side, quantity, product)

    def in_play(self) -> Mapping[int, tuple[int, int, int, int]]:
        """Slots with a position or a live order: (held, buys, sells, `worst_case`); good until the book
        changes. Only slots that something may have happened to since the last time are counted anew.
        """
        return self.sums.now()

    def working_count(self) -> int:
        return sum(1 for order in self.live_orders.values() if order.status in WORKING)
