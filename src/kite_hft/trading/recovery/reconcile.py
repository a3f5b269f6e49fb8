"""Layer 2, orders process, hot: the broker's words about orders, folded into the book.

Order updates, book reads, execution reads. Finds each row's order by broker id, by tag or, a slice
that the broker made, by its parent. A row with a tag of this installation that the book does not
know is adopted; it halts the engine when this run, or one that it continues, made it: the journal
lost it. Any other row is somebody else's (external.py). Ambiguous orders are looked up in every
whole read of the order book.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book, BookError
from kite_hft.trading.broker import OrderReport, TradeReport
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import TERMINAL, WORKING, Input
from kite_hft.trading.order import EXTERNAL, STOPS, Order
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery.adopting import adopt, parent_id, slice_payload, take_slice
from kite_hft.trading.recovery.doubts import Doubts
from kite_hft.trading.recovery.external import Externals
from kite_hft.trading.recovery.lookup import Lookup, by_terms_alone, could_be_ours
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.work import Cancel
from kite_hft.trading.unproven import SHOWN_NS, by_the_call, lives_after_all

_MARKET = (OrderType.MARKET, OrderType.SLM)
LABEL = "UPDATE"
"""A label of Kite's stream that is no state of an order."""


class Reconciler:
    """Keeps the book true to the broker. `look_up` asks for a read of the order book."""

    def __init__(
        self, ports: Ports, book: Book, outbox: Outbox, states: States, horizon_ns: int, desk: Desk
    ) -> None:
        self._ports, self._book, self._outbox, self._states = ports, book, outbox, states
        self._tags: Tags = ports.tags
        self._lookup, self._horizon_ns = Lookup(horizon_ns), horizon_ns
        self._desk = desk
        self.externals = Externals(ports, book, outbox, desk, horizon_ns)
        self.externals.may_be_ours = self._may_be_ours
        self.doubts = Doubts(ports, book, outbox, horizon_ns, self._fold, self._progressed)
        self.done: Counter[str] = Counter()  # what recovery did, in words
        self._told: dict[str, set[int]] = {}  # order id -> what its updates said
        self._adopting: set[str] = set()
        self._numbers: dict[str, int] = {}  # order id -> number under which it was adopted before
        self._runs: set[int] = {ports.tags.run}
        self._by_terms: set[int] = set()  # found by their terms alone: no proof of who we are
        self.claims: Callable[[OrderReport], bool] = lambda report: False  # a trigger may have made it

    def restore(self, found: Recovered) -> None:
        """What the journal tells of orders that are not in its book."""
        self._numbers, self._runs = dict(found.adopted), found.runs | {self._tags.run}
        self.doubts.accepted |= found.accepted
        self.externals.user, self._by_terms = found.user, set(found.by_terms)
        self.externals.strangers, self.externals.stood = set(found.strangers), dict(found.external)
        self.externals.beside = dict(found.beside)
        unwanted = self._desk.unwanted
        unwanted.update(found.cancels)
        for data in found.waiting.values():
            target = self._book.by_strategy(data["strategy"], data["intent"]["target_seq"])
            if data["kind"] == IntentKind.CANCEL and target is not None:
                unwanted.update(order.order_no for order in self._book.family(target))

    def update(self, report: OrderReport, text: bytes, now_ns: int) -> bool:
        """One order update from the stream; False: the book is to be read, it may be an order of ours.

        Every connection carries each update: the same `text` again is a duplicate.
        """
        if report.status_text == LABEL:
            self._outbox.count("updates_label")  # each frame, as it came
        told = self._told.setdefault(report.order_id, set())
        words = hash(text)
        if words in told:
            self._outbox.count("updates_duplicate")
            return True
        told.add(words)
        order = self._find(report, now_ns)
        if order is not None:
            if not self._of_before(order, report):
                self._fold(order, report, now_ns)
        elif self._strange(report):
            if self._may_be_ours(report):
                return False
            self.externals.report(report, now_ns)
        elif report.filled_quantity:  # of an earlier run, and over: what it has filled the positions tell
            self.externals.check_wanted = True
        return True

    def orders(self, rows: Sequence[OrderReport], asked_ns: int, now_ns: int) -> None:
        """One whole read of the order book, asked for at `asked_ns`.

        Terms are taken over unless the order changed since, or a modification is under way.
        """
        strangers = []
        for row in sorted(rows, key=lambda row: row.order_id):  # so that numbers do not hang on its order
            order = self._find(row, now_ns)
            if order is None:
                strangers.append(row)
                continue
            if self._of_before(order, row, asked_ns):
                continue
            self._fold(order, row, now_ns, rearmed=self._waits_again(order, row, asked_ns))
            settled = asked_ns >= order.changed_ns and order.order_no not in self._desk.modifying
            if settled and order.status in WORKING:
                self._take_terms(order, row, asked_ns, now_ns)
            self._desk.retry_cancel(order, row.status, asked_ns, now_ns)
        known = self.externals.orders.keys() | self.externals.strangers
        for finding in self._lookup.read(
            self._book, self._ports.instruments, rows, asked_ns, known, self.externals.user, self.claims
        ):
            order = finding.order
            if finding.doubt:
                self._outbox.alert(
                    "AMBIGUOUS_ORDER",
                    f"order {order.order_no} stays ambiguous: {finding.doubt}",
                    f"{order.order_no} doubt",
                )
            elif finding.row is not None:
                self._fold(order, finding.row, now_ns)
            else:
                self.done["orders absent"] += 1
                change = self._book.enter(order, Input.MISS, now_ns)
                self._outbox.journal(Kind.RESOLVED, {"no": order.order_no, "how": "absent"})
                self._outbox.tell(change, now_ns, Reason.ABSENT)
                self._progressed(order, now_ns)
                self.externals.check_wanted = True
        self.doubts.orders(rows, asked_ns, now_ns)
        for row in strangers:
            found = self._book.by_id(row.order_id) is not None
            if not found and self._strange(row) and not self._may_be_ours(row):
                self.externals.report(row, now_ns)
        self.externals.open.read({row.order_id for row in rows}, asked_ns)

    def unread(self, asked_ns: int, now_ns: int) -> None:
        """The order book, asked for at `asked_ns`, cannot be read: cancels that failed do not wait for it."""
        for number in list(self._desk.cancelling):
            self._desk.retry_cancel(self._book.orders[number], None, asked_ns, now_ns)

    def trades(self, rows: Iterable[TradeReport], now_ns: int) -> None:
        """One whole read of the executions."""
        strangers = []
        for trade in rows:
            order = self._book.by_id(trade.order_id)
            if order is None and trade.order_id in self.externals.orders:
                strangers.append(trade)
            if order is None or order.strategy == EXTERNAL or trade.trade_id in order.trades:
                continue
            change = self._book.fold_trade(order, trade, now_ns)
            self._outbox.journal(Kind.TRADE, {"no": order.order_no, "trade": msgspec.to_builtins(trade)})
            self._outbox.tell(change, now_ns)
            self.externals.ours_filled(order, change.fill_quantity, now_ns)
        self.externals.trades(strangers)

    def recognised(self, order: Order, row: OrderReport, now_ns: int) -> None:
        """An order that passed for a stranger's has become ours: what its last report tells is its own."""
        self._fold(order, row, now_ns)

    def _may_be_ours(self, report: OrderReport) -> bool:
        """An order of ours is on its way, or lies in a trigger, that this one may be: it is nobody's yet."""
        if self.externals.of_others(report.order_id):
            return False
        on_its_way = could_be_ours(report, self._book, self._ports.instruments, self.externals.user)
        return on_its_way or self.claims(report)

    def _progressed(self, order: Order, now_ns: int) -> None:
        """It has moved. An order that was to be cancelled when it ended without a word of the exchange
        (absent, refused, gone) goes when it turns up all the same.
        """
        if order.order_no in self._desk.unwanted and order.status in WORKING:
            self._desk.unwanted.discard(order.order_no)
            self._desk.cancelling.setdefault(order.order_no, Cancel.WISHED)
        self._desk.progressed(order, now_ns)

    def _strange(self, report: OrderReport) -> bool:
        """No order of this installation."""
        return not any(self._tags.of_install(tag) for tag in report.tags)

    def _find(self, report: OrderReport, now_ns: int) -> Order | None:
        order = self._book.by_id(report.order_id)
        parent = self._book.by_id(parent_id(report))
        if order is None and parent is not None and parent.strategy != EXTERNAL:
            return self._slice(report, parent, now_ns)
        order = order or self._book.by_tags(report.tags)
        if order is not None:
            return order
        tag = next((t for t in report.tags if self._tags.of_install(t)), "")
        if not tag:
            return None
        self.externals.user = self.externals.user or report.placed_by
        lost = self._tags.run_of(tag) in self._runs
        if lost:
            self._lost(report, tag)
        elif report.status in TERMINAL:
            return None
        return self._adopt(report, tag, now_ns)

    def _lost(self, report: OrderReport, tag: str) -> None:
        """Our own order, and the journal does not know it: the disk has lost its end."""
        if report.order_id not in self._numbers:  # else a process before this one has halted for it
            self._outbox.halt(f"order {report.order_id} has this run's tag {tag}: not in the journal")
        number = self._tags.order_no(tag)
        if number is not None:  # no tag is ever used again
            self._desk.last_order_no = max(self._desk.last_order_no, number)

    def _slice(self, report: OrderReport, parent: Order, now_ns: int) -> Order:
        """The broker has cut an order of ours in parts: each is the same strategy's."""
        payload = slice_payload(parent, report, self._desk.take_no())
        self._outbox.journal(Kind.RESOLVED, payload)
        order, end = take_slice(self._book, payload, now_ns, self._ports.clock.real_ns())
        if end is not None:
            self._outbox.tell(end, now_ns)
        self.done["slices found"] += 1
        return order

    def _adopt(self, report: OrderReport, tag: str, now_ns: int) -> Order | None:
        instrument = self._ports.instruments.by_token.get(report.token)
        if instrument is None:
            if report.order_id not in self._adopting:
                self._adopting.add(report.order_id)
                text = f"order {report.order_id} of an earlier run is in {report.symbol}: not in this run"
                self._outbox.alert("ORDER_ADOPTED", text, report.order_id)
            return None
        number = self._numbers.get(report.order_id)
        if number is None:
            number = self._numbers[report.order_id] = self._desk.take_no()
            self._outbox.journal(Kind.EXTERNAL, {"adopted": {report.order_id: number}})
        real_ns = self._ports.clock.real_ns()
        order = adopt(self._book, report, number, instrument, tag, now_ns, real_ns)
        if order.filled:
            self.externals.check_wanted = True  # are its fills in what is held already?
        self.done["orders adopted"] += 1
        self._outbox.alert(
            "ORDER_ADOPTED",
            f"order {report.order_id} ({instrument.key}, {report.status_text}) is ours and not in the "
            f"journal: adopted as order {number}",
            report.order_id,
        )
        return order

    def _fold(self, order: Order, report: OrderReport, now_ns: int, *, rearmed: bool = False) -> None:
        before, most, gone = order.status, order.quantity_max, order.gone
        revived = lives_after_all(order, report)
        if order.tag and order.tag in report.tags:
            self._lookup.kept.add(order.order_type)
        if by_terms_alone(order, report):
            self._by_terms.add(order.order_no)
        if order.strategy != EXTERNAL and report.placed_by and order.order_no not in self._by_terms:
            self.externals.user = report.placed_by
        guessed = report.filled_quantity > order.filled and not report.average_price
        if guessed:
            report = self._valued(order, report)
        try:
            change = self._book.fold(order, report, now_ns, guessed=guessed, rearmed=rearmed)
        except BookError as error:
            self._outbox.halt(str(error))
            return
        self._outbox.stirred += order.quantity_max != most  # what waited for the smaller quantity may go
        if not change:
            return
        if before is OrderStatus.ABSENT:  # the halt goes first: a process that dies here finds both again
            self._outbox.halt(f"order {order.order_no} was proved absent, and lives as {report.order_id}")
        if revived:
            self._outbox.halt(_revived(order, report.order_id, gone=gone))
            self.externals.check_wanted = True
        if order.strategy != EXTERNAL:
            words = {"no": order.order_no, "report": msgspec.to_builtins(report)}
            more = {"guessed": True} if guessed else {}
            self._outbox.journal(Kind.REPORT, words | more | ({"rearmed": True} if rearmed else {}))
        if before is OrderStatus.AMBIGUOUS and change.status_changed:
            self.done["orders found"] += 1
            self.externals.check_wanted = True
        refused = change.status_changed and order.status is OrderStatus.REJECTED
        self._outbox.tell(change, now_ns, Reason.BROKER if refused else Reason.NONE)
        self._states.ended(change)
        self._progressed(order, now_ns)
        if order.strategy == EXTERNAL and change.fill_quantity:
            self.externals.adopted_filled(order, change.fill_quantity, change.fill_units, report, now_ns)
        else:
            self.externals.ours_filled(order, change.fill_quantity, now_ns)

    def _of_before(self, order: Order, report: OrderReport, asked_ns: int = -(2**62)) -> bool:
        """It was refused, and a row that says no more than that it is under way may be from before that. The
        book is read until it says how it ended, or still says so in a read asked for SHOWN_NS later.
        """
        told = report.filled_quantity or report.status not in (None, OrderStatus.PENDING)
        if told or not by_the_call(order) or asked_ns - order.status_ns >= SHOWN_NS:
            return False
        self._desk.look_up()
        return True

    def _waits_again(self, order: Order, row: OrderReport, asked_ns: int) -> bool:
        """It was modified into a stop, and a late word of the time before has made it open."""
        stands = row.status is OrderStatus.TRIGGER_PENDING and order.status is OrderStatus.OPEN
        settled = asked_ns > max(order.status_ns, order.changed_ns)
        modified = order.modifications > 0 and order.order_no not in self._desk.modifying
        return stands and settled and modified and order.order_type in STOPS

    def _valued(self, order: Order, report: OrderReport) -> OrderReport:
        """A fill that was told without its price, at the last known one: until that comes."""
        px = self._ports.latest.last_px(order.slot) or order.px or order.trigger_px
        units = order.filled_units + (report.filled_quantity - order.filled) * px
        scale = self._ports.instruments[order.slot].scale
        return replace(report, average_price=units / (report.filled_quantity * scale))

    def _take_terms(self, order: Order, row: OrderReport, asked_ns: int, now_ns: int) -> None:
        if row.status is OrderStatus.PENDING and (order.quantity_max or order.status is not row.status):
            if order.quantity_max and now_ns - order.changed_ns < SHOWN_NS:
                self._desk.look_up()
            return  # a modification is on its way through the exchange: the row shows the old terms
        kind, doubt = order.order_type, order.unproven
        if row.order_type is not None and (doubt or not {kind, row.order_type} & {*_MARKET}):
            kind = int(row.order_type)  # else a protected market order, which shows as LIMIT
        px = order.px if kind in _MARKET else row.px  # and a price that is not ours
        shown = (row.quantity, px, row.trigger_px or order.trigger_px, kind)
        stood = (order.quantity, order.px, order.trigger_px, order.order_type)
        terms = shown if doubt is None else doubt.believes(stood, shown, asked_ns, self._horizon_ns)
        if terms is None or (terms == stood and not order.quantity_max):
            return
        if doubt is not None:
            self._outbox.clear("AMBIGUOUS_ORDER", str(order.order_no))
        quantity, px, trigger_px, kind = terms
        change = self._book.set_terms(order, quantity, px, trigger_px, now_ns, kind)
        if change.status_changed and order.strategy != EXTERNAL:  # a stop again: terms alone are read anew
            words = {"no": order.order_no, "report": msgspec.to_builtins(row), "rearmed": True}
            self._outbox.journal(Kind.REPORT, words)
        self._outbox.tell(change, now_ns)


def _revived(order: Order, order_id: str, *, gone: bool) -> str:
    """Why an order halts that had ended, and lives."""
    if gone:
        why = f"order {order.order_no} was said to be gone, and lives as {order_id}"
        return f"{why}: compare the books, then resume"
    why = f"order {order.order_no} was refused ({order.message}), and lives as {order_id}"
    return f"{why}: the answer to its call was no proof; compare the books, then resume"
