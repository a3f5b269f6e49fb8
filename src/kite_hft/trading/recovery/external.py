"""Layer 2, orders process, hot: what somebody else does on the account: the broker's RMS, a hand.

Orders that are not ours are seen in updates and book reads. Each is counted and journalled once;
what it fills moves the EXTERNAL position of its instrument at once, and where that fill goes against
a position of ours, ours shrinks by it: it was closed for us, or netted away. What EXTERNAL held before
closes nothing: it stands beside ours. Exits that would then sell a second time are cancelled. Whole
reads of the positions, taken while nothing fills, confirm all of it (`square`); what only one of the
broker's books shows has to wait (apart.py). What EXTERNAL holds is journalled whenever it changes:
the first read after a restart is held against that, not against nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kite_hft.layout import OrderStatus, Product, Reason, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, PositionReport, TradeReport
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.order import EXTERNAL, Change, Order
from kite_hft.trading.ports import Ports
from kite_hft.trading.positions import UNKNOWN_ORDER, Cut, Fill, Position, divide_half_even, fill_units
from kite_hft.trading.records import name_of, position_event
from kite_hft.trading.recovery.apart import Apart
from kite_hft.trading.recovery.by_hand import ByHand
from kite_hft.trading.recovery.cuts import as_order, closed, payload_of, too_many_of, undone
from kite_hft.trading.recovery.explain import hidden, in_doubt
from kite_hft.trading.recovery.worth import by_account, by_rows
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox

Key = tuple[int, int]
"""(slot, product)."""


@dataclass(slots=True)
class _Seen:
    """How much of a stranger's order has filled, as last told."""

    row: OrderReport
    filled: int = 0
    units: int = 0


class Externals:
    """Keeps EXTERNAL positions, and what they do to ours, true to the broker."""

    def __init__(self, ports: Ports, book: Book, outbox: Outbox, desk: Desk, horizon_ns: int) -> None:
        self._ports, self._book, self._outbox, self._desk = ports, book, outbox, desk
        self.apart = Apart(book, ports.instruments, horizon_ns)
        self.open = ByHand(book, ports.instruments)
        self.orders: dict[str, _Seen] = {}
        self.check_wanted = False  # a read of the positions, at once
        self.user = ""  # who places our orders, in the broker's words
        self.strangers: set[str] = set()  # order ids that earlier processes have told apart from ours
        self.may_be_ours: Callable[[OrderReport], bool] = lambda row: False  # it is nobody's yet
        self._counted: set[str] = set()
        self._fills: set[str] = set()
        self._squared = False
        self.stood: dict[Key, int] = {}  # what EXTERNAL held by the journal, before the first whole reads
        self._doubted: dict[Key, int] = {}  # an external quantity that one read has shown
        self._named: set[str] = set()
        self.beside: dict[str, int] = {}  # order id -> so much has it closed of what EXTERNAL held before

    def restore(self, orders: set[str], fills: set[str]) -> None:
        """Order and trade ids that this run has counted already."""
        self._counted, self._fills = set(orders), set(fills)

    def of_others(self, order_id: str) -> bool:
        """It was known for a stranger's before: by this process, or by the journal."""
        return order_id in self.orders or order_id in self.strangers

    @property
    def filled(self) -> int:
        """Everything that strangers' orders have filled."""
        return sum(seen.filled for seen in self.orders.values())

    # Orders and executions

    def report(self, row: OrderReport, now_ns: int) -> None:
        """One order that is not ours, from an update or a book read."""
        seen = self.orders.get(row.order_id)
        if seen is None:
            seen = self.orders[row.order_id] = _Seen(row)
            self._first_seen(row)
        self.open.told(row, now_ns)
        instrument = self._ports.instruments.by_token.get(row.token)
        if row.filled_quantity <= seen.filled:
            return
        scale = instrument.scale if instrument else 100
        if row.average_price or instrument is None:
            units = fill_units(row.average_price, row.filled_quantity, scale)
        else:  # told without its price: the last one that is known
            px = self._ports.latest.last_px(instrument.slot) or row.px
            units = seen.units + (row.filled_quantity - seen.filled) * px
        quantity, value = row.filled_quantity - seen.filled, units - seen.units
        seen.row, seen.filled, seen.units = row, row.filled_quantity, units
        self.check_wanted = True
        if self._squared and instrument is not None and row.product is not None:
            sign = 1 if row.side == Side.BUY else -1
            key = (instrument.slot, int(row.product))
            left = quantity - abs(self.apart.told_before(instrument.slot, sign * quantity))
            if left:
                moved = (sign * left, sign * divide_half_even(value * left, quantity))
                position = self._book.position_of(EXTERNAL, *key)
                if (others := min(left, -sign * position.quantity)) > 0:
                    self.beside[row.order_id] = self.beside.get(row.order_id, 0) + others
                position.apply(Fill(0, *moved))
                self.settle(key, now_ns, row, *moved)

    def adopted_filled(self, order: Order, quantity: int, units: int, row: OrderReport, now_ns: int) -> None:
        """An adopted order has filled so much more. The book has that in the EXTERNAL position already; ours
        shrinks as by any stranger's order.
        """
        self.check_wanted = True
        if not self._squared:
            return  # whole reads tell what is held
        key, signed, value = (order.slot, order.product), order.sign * quantity, order.sign * units
        if early := self.apart.told_before(order.slot, signed):
            known = divide_half_even(value * abs(early), quantity)
            self._book.position_of(EXTERNAL, *key).apply(Fill(0, -early, -known))
            signed, value = signed - early, value - known
        if signed:
            self.settle(key, now_ns, row, signed, value)

    def ours_filled(self, order: Order, quantity: int, now_ns: int) -> None:
        """So much more of an order of ours is known to be filled: others may have closed it already."""
        if quantity and (early := self.apart.closed_before(order, quantity, now_ns)) is not None:
            self.settle((order.slot, order.product), now_ns, *early)

    def taken_back(self, order_id: str, now_ns: int) -> OrderReport | None:
        """An order that passed for a stranger's is ours: what it did to positions is undone, and its fills
        are told anew, as its own. Its last report; None: this process has heard of no fill.
        """
        cuts, seen = undone(self._book, order_id), self.orders.get(order_id)
        keys = {(cut.slot, cut.product) for cut in cuts}
        for cut in cuts:
            self._book.cut(cut)
            if not self._squared:  # the book does not know yet what EXTERNAL holds
                key, back = (cut.slot, cut.product), Fill(0, cut.quantity, cut.units)
                self._book.position_of(EXTERNAL, *key).apply(back)
                self.stood[key] = self.stood.get(key, 0) - cut.quantity
        if seen is not None and (moved := self._undo_fills(seen)) is not None:
            keys.add(moved)
        if keys:
            held = [self._held(key, None if self._squared else self.stood.get(key, 0)) for key in keys]
            words = {"cuts": [payload_of(cut) for cut in cuts], "held": held}
            self._outbox.journal(Kind.EXTERNAL, words)
        for cut in cuts:
            self._tell(cut, now_ns)
        self.check_wanted = True
        return seen.row if seen is not None and seen.row.filled_quantity else None

    def _undo_fills(self, seen: _Seen) -> Key | None:
        """EXTERNAL holds no more what an order has filled, and again what that had closed of it; what others
        have closed meanwhile the next whole read shows. The key of its position; None: nothing has moved.
        """
        row, instrument = seen.row, self._ports.instruments.by_token.get(seen.row.token)
        if instrument is None or row.product is None or not seen.filled:
            return None
        key, sign = (instrument.slot, int(row.product)), 1 if row.side == Side.BUY else -1
        position = self._book.position_of(EXTERNAL, *key)
        held = position.quantity if self._squared else self.stood.get(key, 0)
        others = min(self.beside.pop(row.order_id, 0), seen.filled)
        left = others + max(0, min(seen.filled - others, sign * held))
        if self._squared:
            position.apply(Fill(0, -sign * left, -sign * divide_half_even(seen.units * left, seen.filled)))
        else:
            self.stood[key] = held - sign * left
        self.apart.ours(key, row.order_id)
        self.orders[row.order_id] = _Seen(row)
        return key

    def _first_seen(self, row: OrderReport) -> None:
        if row.order_id in self._counted:
            return
        self._counted.add(row.order_id)
        self._outbox.count("external_orders")
        self._outbox.journal(Kind.EXTERNAL, {"orders": [row.order_id]})
        self._outbox.alert(
            "EXTERNAL_ORDER",
            f"order {row.order_id} ({row.side.name} {row.quantity} {row.exchange}:{row.symbol}) is not ours",
            row.order_id,
        )

    def trades(self, rows: Iterable[TradeReport]) -> None:
        """Executions of orders that are not ours."""
        fresh = [row.trade_id for row in rows if row.trade_id not in self._fills]
        if fresh:
            self._fills.update(fresh)
            self._outbox.count("external_fills", len(fresh))
            self._outbox.journal(Kind.EXTERNAL, {"fills": fresh})

    # Positions

    def square(
        self, reports: Sequence[PositionReport], now_ns: int, rows: Sequence[OrderReport] = ()
    ) -> bool:
        """A whole read of the positions, and of the order book (`rows`), while nothing filled. False: it
        differs from what we hold and is to be read again, since only two agreeing reads are believed
        against our own book.
        """
        lines: list[str] = []
        told, unseen, open_fills = self._broker_says(reports), hidden(rows, reports), self._nobodys(rows)
        self.apart.look(rows, reports)
        ours: dict[Key, PositionReport | None] = {
            (p.slot, p.product): None for p in self._book.positions.values()
        }
        keys = ours | told if self._squared else ours | dict.fromkeys(self.stood) | told
        agreed = True
        for key, report in keys.items():
            held = report.quantity if report else 0
            of_nobody = open_fills[key] + self._in_doubt(key, unseen)
            if of_nobody:
                self.apart.differs(key)  # whose that is will be known later
            beyond = held - sum(p.quantity for p in self._book.in_slot(*key)) - of_nobody
            stood = self._book.standing(EXTERNAL, *key).quantity
            before = stood if self._squared else self.stood.get(key, 0)
            if beyond == stood == before:
                self._doubted.pop(key, None)
                self.apart.agrees(key)
                continue
            if self._squared and self.apart.waits(key, beyond, now_ns):
                agreed = False
                continue
            believed = self.apart.fresh(key[0]) or self._doubted.get(key) == beyond
            if self._squared and not believed:
                self._doubted[key] = beyond
                self.apart.differs(key)
                agreed = self.apart.patient = False
                continue
            self._doubted.pop(key, None)
            self.apart.believed(key)
            lines.append(self._set(key, beyond, report))
            moved = beyond - before
            units = self._worth(key, moved, report, rows)
            cause = self._squared_off(key, rows) or self._only_one(key, moved)
            self.settle(key, now_ns, cause, moved, units)
        if lines or not self._squared:
            self._outbox.journal(Kind.EXTERNAL, {"positions": lines})
        self._squared = self._book.account_known = self._squared or agreed
        self.apart.end()
        return agreed

    def _nobodys(self, rows: Iterable[OrderReport]) -> Counter[Key]:
        """What rows of the order book have filled that may be orders of ours whose fate is unknown."""
        found: Counter[Key] = Counter()
        for row in rows:
            instrument = self._ports.instruments.by_token.get(row.token)
            taken = self._book.by_id(row.order_id) is not None or self.of_others(row.order_id)
            if taken or not row.filled_quantity or instrument is None or row.product is None:
                continue
            if self.may_be_ours(row):
                sign = 1 if row.side == Side.BUY else -1
                found[instrument.slot, int(row.product)] += sign * row.filled_quantity
        return found

    def _in_doubt(self, key: Key, unseen: Counter[int]) -> int:
        """What the account holds by no order of the book, as far as an ambiguous one of ours may have done
        it: that is nobody else's before its fate is known.
        """
        more = unseen[self._ports.instruments[key[0]].token] if key[0] < len(self._ports.instruments) else 0
        if not more:
            return 0
        fewest, most = in_doubt(self._book, *key)
        return more if fewest <= more <= most else 0

    def net(self, reports: Iterable[PositionReport]) -> dict[Key, int]:
        """(slot, product) -> what the broker's positions hold."""
        by_token = self._ports.instruments.by_token
        return {
            (by_token[r.token].slot, int(r.product)): r.quantity
            for r in reports
            if r.token in by_token and r.product is not None
        }

    def _broker_says(self, reports: Iterable[PositionReport]) -> dict[Key, PositionReport | None]:
        found: dict[Key, PositionReport | None] = {}
        for report in reports:
            instrument = self._ports.instruments.by_token.get(report.token)
            if instrument is not None and report.product is not None:
                found[instrument.slot, int(report.product)] = report
            elif report.quantity:
                line = f"{report.exchange}:{report.symbol} {report.quantity}: not in this run"
                if line not in self._named:
                    self._named.add(line)
                    self._outbox.alert("EXTERNAL_POSITION", line, f"{report.exchange}:{report.symbol}")
        return found

    def _set(self, key: Key, beyond: int, report: PositionReport | None) -> str:
        """EXTERNAL is `beyond` from now on, at the broker's average price."""
        instrument = self._ports.instruments[key[0]]
        average = report.average_price if report else 0.0
        if not average:  # the account is flat: closed at a price that the position does not tell
            average = self._price(key, instrument)
        units = fill_units(average, abs(beyond), instrument.scale)
        self._book.set_external(*key, beyond, units if beyond >= 0 else -units)
        product = name_of(Product, key[1])
        line = f"{instrument.key} {beyond} {product}: held beyond this run's orders"
        code = "POSITION_MISMATCH" if self._squared else "EXTERNAL_POSITION"
        self._outbox.alert(code, line, f"{instrument.key} {product} {beyond}")
        return line

    def _price(self, key: Key, instrument: Instrument) -> float:
        held = next((p for p in self._book.in_slot(*key) if p.quantity), None)
        return held.cost_units / held.quantity / instrument.scale if held else 0.0

    def _worth(self, key: Key, moved: int, report: PositionReport | None, rows: Iterable[OrderReport]) -> int:
        """What a change of EXTERNAL that no update told of is worth, in units. Once squared, rows have told
        theirs. Where nothing tells a price it counts at what EXTERNAL cost: as if nothing was won or lost.
        """
        scale, held = self._ports.instruments[key[0]].scale, self._book.standing(EXTERNAL, *key)
        units = by_rows(self._unseen(key, rows), moved, scale) if not self._squared else None
        if units is None:
            units = by_account(report, moved, self._ports.latest.last_px(key[0]), scale)
        if units is None:
            cost, quantity = abs(held.cost_units), abs(held.quantity)
            units = divide_half_even(cost * moved, quantity) if quantity else 0
        return units

    def _unseen(self, key: Key, rows: Iterable[OrderReport]) -> Iterator[OrderReport]:
        """Rows of others in `key` that have filled, and that no earlier process knew."""
        token = self._ports.instruments[key[0]].token
        for row in rows:
            filled = row.token == token and row.product == key[1] and row.filled_quantity
            known = row.order_id in self.strangers or self._book.by_id(row.order_id) is not None
            if filled and not known and not self.may_be_ours(row):
                yield row

    def settle(self, key: Key, now_ns: int, cause: OrderReport | None, moved: int, units: int) -> None:
        """EXTERNAL of `key` has changed by `moved`, worth `units` (both signed as a fill): it closes ours."""
        external = self._book.position_of(EXTERNAL, *key)
        ours = self._book.in_slot(*key)
        net = sum(p.quantity for p in ours)
        by = cause.order_id if cause else UNKNOWN_ORDER
        square_off = cause is not None and self._by_broker(cause) and key[1] == Product.MIS
        left = closed(net, external.quantity, moved, whole=square_off)
        if cause is not None and self._squared:
            self.apart.closed(key, external.quantity, (moved, units), left, cause, now_ns)
        told: dict[str, Any] = {"held": [self._held(key)]}
        if by in self.beside:
            told["beside"] = {by: self.beside[by]}
        if not left:
            self._outbox.journal(Kind.EXTERNAL, told)
            return
        cuts: list[Cut] = []
        for position in sorted(ours, key=lambda p: (-abs(p.quantity), p.strategy)):
            if left and position.quantity * net > 0:
                taken = min(left, abs(position.quantity))
                left -= taken
                worth = divide_half_even(abs(units) * taken, abs(moved))
                cuts.append(self._cut(position, taken, worth, by, square_off, now_ns))
        too_many = [order for position in ours for order in too_many_of(self._book, position)]
        # One record: a process that dies before the cancels leave forgets no exit that would open something.
        words = {"cuts": [payload_of(cut) for cut in cuts], "cancels": [o.order_no for o in too_many]}
        self._outbox.journal(Kind.EXTERNAL, words | told | {"held": [self._held(key)]})
        for cut in cuts:
            self._tell(cut, now_ns)
        instrument = self._ports.instruments[key[0]]
        who = f"order {cause.order_id}" if cause else "the broker's positions"
        taken = sum(abs(cut.quantity) for cut in cuts)
        self._outbox.alert(
            "BROKER_ACTED",
            f"{who}: {taken} of our {abs(net)} {instrument.key} {name_of(Product, key[1])} are closed",
            instrument.key,
        )
        for order in too_many:
            self._desk.cancel(order, None, now_ns)

    def _held(self, key: Key, stood: int | None = None) -> dict[str, int]:
        """What EXTERNAL holds now, as it is journalled. stood: where the book does not know it yet."""
        quantity = self._book.standing(EXTERNAL, *key).quantity if stood is None else stood
        return {"token": self._ports.instruments[key[0]].token, "product": key[1], "qty": quantity}

    def _cut(self, position: Position, taken: int, worth: int, by: str, square_off: bool, now_ns: int) -> Cut:
        """Take so many from a position, `worth` so many units."""
        sign = -1 if position.quantity > 0 else 1
        units = sign * worth
        words = (position.strategy, position.slot, position.product, sign * taken, units)
        cut = Cut(*words, order_id=by, square_off=square_off)
        self._book.cut(cut)
        position.cut_ns = now_ns
        return cut

    def _squared_off(self, key: Key, rows: Iterable[OrderReport]) -> OrderReport | None:
        """At a start: the broker's own order that has closed something of `key` while nobody looked."""
        if self._squared or key[1] != Product.MIS:
            return None
        token = self._ports.instruments[key[0]].token
        for row in rows:
            here = row.token == token and row.product == Product.MIS and row.order_id not in self.strangers
            if here and row.filled_quantity and self._by_broker(row) and not self._book.by_id(row.order_id):
                return row
        return None

    def _only_one(self, key: Key, moved: int) -> OrderReport | None:
        """At a start: the only order of others that can have moved `key` so far while nobody looked."""
        token, side = self._ports.instruments[key[0]].token, Side.BUY if moved > 0 else Side.SELL
        rows = [seen.row for seen in self.orders.values() if seen.filled and not self._squared]
        here = [row for row in rows if (row.token, row.product, row.side) == (token, key[1], side)]
        return here[0] if len(here) == 1 and here[0].filled_quantity >= abs(moved) else None

    def _by_broker(self, row: OrderReport) -> bool:
        """The broker made this order himself: it was placed by another user than ours are."""
        return bool(self.user and row.placed_by) and row.placed_by != self.user

    def _tell(self, cut: Cut, now_ns: int) -> None:
        """A row of trades.csv, and the strategy's word of what is left."""
        order = as_order(cut)
        self._outbox.write_trade(Change(order, OrderStatus.COMPLETE, order.quantity, abs(cut.units)))
        left = self._book.position(order).quantity
        event = position_event(order.strategy, order.slot, order.product, left, now_ns)
        event["reason"] = Reason.BROKER
        self._outbox.push(order.strategy, event)
