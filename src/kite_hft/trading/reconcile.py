"""Layer 2, orders process, hot: the broker's words about orders, folded into the book.

Order updates, book reads, execution reads, positions at start. Finds each row's order by broker id
or by tag; a row with a tag of this installation that the book does not know is adopted, and halts
the engine when this very run made it (the journal lost it). Ambiguous orders are looked up in
every whole read of the order book.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kite_hft.layout import OrderStatus, OrderType, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import EXTERNAL, Book, BookError, Order
from kite_hft.trading.broker import OrderReport, PositionReport, TradeReport
from kite_hft.trading.desk import Desk
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import TERMINAL, WORKING, Input
from kite_hft.trading.lookup import Lookup
from kite_hft.trading.outbox import Outbox
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery import adopt, square

_MARKET = (OrderType.MARKET, OrderType.SLM)


class Reconciler:
    """Keeps the book true to the broker."""

    def __init__(self, ports: Ports, book: Book, outbox: Outbox, horizon_ns: int, desk: Desk) -> None:
        self._ports, self._book, self._outbox = ports, book, outbox
        self._tags: Tags = ports.tags
        self._lookup = Lookup(horizon_ns)
        self._desk = desk
        self._alerted: set[str] = set()

    def update(self, report: OrderReport, now_ns: int) -> Order | None:
        """One order update from the stream; its order, when it is ours."""
        order = self._find(report, now_ns)
        if order is not None:
            self._fold(order, report, now_ns)
        return order

    def orders(self, rows: Sequence[OrderReport], asked_ns: int, now_ns: int) -> None:
        """One whole read of the order book, asked for at `asked_ns`.

        Terms are taken over unless the order changed since, or a modification is under way.
        """
        for row in rows:
            order = self._find(row, now_ns)
            if order is None:
                continue
            self._fold(order, row, now_ns)
            settled = asked_ns >= order.changed_ns and order.order_no not in self._desk.modifying
            if settled and order.status in WORKING:
                self._take_terms(order, row, now_ns)
        for finding in self._lookup.read(self._book, self._ports.instruments, rows, asked_ns):
            order = finding.order
            if finding.doubt:
                self._alert_once(f"order {order.order_no} stays ambiguous: {finding.doubt}")
            elif finding.row is not None:
                self._fold(order, finding.row, now_ns)
            else:
                change = self._book.enter(order, Input.MISS, now_ns)
                self._outbox.journal(Kind.RESOLVED, {"no": order.order_no, "how": "absent"})
                self._outbox.tell(change, now_ns, Reason.ABSENT)
                self._desk.progressed(order, now_ns)

    def trades(self, rows: Iterable[TradeReport], now_ns: int) -> None:
        """One whole read of the executions."""
        for trade in rows:
            order = self._book.by_id(trade.order_id)
            if order is None or order.strategy == EXTERNAL or trade.trade_id in order.trades:
                continue
            change = self._book.fold_trade(order, trade, now_ns)
            self._outbox.journal(Kind.TRADE, {"no": order.order_no, "trade": msgspec.to_builtins(trade)})
            self._outbox.tell(change, now_ns)

    def positions(self, rows: Iterable[PositionReport]) -> None:
        """What the account holds at start, beyond this run's own orders."""
        lines = square(self._book, self._ports.instruments, rows)
        for line in lines:
            self._ports.alert(f"position: {line}")
        self._outbox.journal(Kind.EXTERNAL, {"positions": lines})

    def _find(self, report: OrderReport, now_ns: int) -> Order | None:
        order = self._book.by_id(report.order_id) or self._book.by_tags(report.tags)
        if order is not None:
            return order
        tag = next((t for t in report.tags if self._tags.of_install(t)), "")
        if not tag or report.status in TERMINAL:
            if tag and self._tags.order_no(tag) is not None:
                self._outbox.halt(f"order {report.order_id} has this run's tag {tag}: not in the journal")
            return None
        return self._adopt(report, tag, now_ns)

    def _adopt(self, report: OrderReport, tag: str, now_ns: int) -> Order | None:
        instrument = self._ports.instruments.by_token.get(report.token)
        if self._tags.order_no(tag) is not None:
            self._outbox.halt(f"order {report.order_id} has this run's tag {tag}: not in the journal")
        if instrument is None:
            self._alert_once(
                f"order {report.order_id} of an earlier run is in {report.symbol}: not in this run"
            )
            return None
        order = adopt(self._book, report, self._desk.take_no(), instrument, tag, now_ns)
        self._ports.alert(f"order {report.order_id} ({instrument.key}) of an earlier run is live: adopted")
        return order

    def _fold(self, order: Order, report: OrderReport, now_ns: int) -> None:
        before = order.status
        try:
            change = self._book.fold(order, report, now_ns)
        except BookError as error:
            self._outbox.halt(str(error))
            return
        if not change:
            self._outbox.count("updates_duplicate")
            return
        if order.strategy != EXTERNAL:
            self._outbox.journal(Kind.REPORT, {"no": order.order_no, "report": msgspec.to_builtins(report)})
        if before is OrderStatus.ABSENT:
            self._outbox.halt(f"order {order.order_no} was proved absent, and lives as {report.order_id}")
        refused = change.status_changed and order.status is OrderStatus.REJECTED
        self._outbox.tell(change, now_ns, Reason.BROKER if refused else Reason.NONE)
        self._desk.progressed(order, now_ns)

    def _take_terms(self, order: Order, row: OrderReport, now_ns: int) -> None:
        # A protected market order shows a limit price that is not ours.
        px = order.px if order.order_type in _MARKET else row.px
        terms = (row.quantity, px, row.trigger_px or order.trigger_px)
        if order.quantity_max or terms != (order.quantity, order.px, order.trigger_px):
            self._outbox.tell(self._book.set_terms(order, *terms, now_ns), now_ns)

    def _alert_once(self, text: str) -> None:
        if text not in self._alerted:
            self._alerted.add(text)
            self._ports.alert(text)
