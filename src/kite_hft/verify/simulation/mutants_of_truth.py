"""Layer 6, campaigns, cold: mutants of the book, of its recovery, and of what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.recovery import lookup, replay, resuming
from kite_hft.trading.recovery.external import Externals
from kite_hft.trading.recovery.interruptions import Interruptions
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.telling import Teller
from kite_hft.verify.simulation.planting import Mutant, Patches


def _without(kind: Kind) -> Any:
    """A replay that does not know one kind of record."""

    def plant(p: Patches) -> None:
        p.set(replay, "_HANDLERS", {k: h for k, h in replay._HANDLERS.items() if k is not kind})

    return plant


def _cancels_forgotten(p: Patches) -> None:
    def make(old: Any) -> Any:
        def take_up(found: Any, *more: Any) -> Any:
            found.cancels.clear()
            found.waiting = {n: d for n, d in found.waiting.items() if d["kind"] != 3}
            return old(found, *more)

        return take_up

    p.everywhere(resuming.take_up, make(resuming.take_up))


def _in_flight_forgotten(p: Patches) -> None:
    def make(old: Any) -> Any:
        def again(records: Any, book: Book, *more: Any) -> Any:
            found = old(records, book, *more)
            for order in list(book.live()):
                if order.status is OrderStatus.AMBIGUOUS and order.strategy != EXTERNAL:
                    book.enter(order, lookup_missed(), 0)
            return found

        return again

    p.everywhere(replay.replay, make(replay.replay))


def lookup_missed() -> Any:
    """The input that ends an order as absent."""
    from kite_hft.trading.lifecycle import Input

    return Input.MISS


def _fills_twice(p: Patches) -> None:
    def make(old: Any) -> Any:
        def fold(self: Book, order: Any, report: Any, now_ns: int, **words: bool) -> Any:
            more = order.filled + report.filled_quantity if order.filled else report.filled_quantity
            report = replace(report, filled_quantity=min(order.quantity, more))
            return old(self, order, report, now_ns, **words)

        return fold

    p.around(Book, "fold", make)


def _partial_fill_lost(p: Patches) -> None:
    def make(old: Any) -> Any:
        def fold(self: Book, order: Any, report: Any, now_ns: int, **words: bool) -> Any:
            if report.filled_quantity < report.quantity:
                report = replace(report, filled_quantity=order.filled)
            return old(self, order, report, now_ns, **words)

        return fold

    p.around(Book, "fold", make)
    p.around(
        Book,
        "fold_trade",
        lambda old: (
            lambda self, order, trade, now_ns: (
                old(self, order, trade, now_ns)
                if trade.quantity == order.quantity
                else old(self, order, replace(trade, quantity=0), now_ns)
            )
        ),
    )


def _late_word_undoes(p: Patches) -> None:
    def make(old: Any) -> Any:
        def fold(self: Book, order: Any, report: Any, now_ns: int, **words: bool) -> Any:
            change = old(self, order, report, now_ns, **words)
            if report.status is OrderStatus.OPEN and order.status is OrderStatus.CANCELLED:
                order.status = OrderStatus.OPEN
            return change

        return fold

    p.around(Book, "fold", make)


def _strangers_ignored(p: Patches) -> None:
    p.set(Externals, "report", lambda self, *more: None)
    p.set(Externals, "square", lambda self, *more: True)


def _tags_ignored(p: Patches) -> None:
    p.everywhere(lookup.tagged, lambda row: False)
    p.set(Book, "by_tags", lambda self, tags: None)


def _one_positions_read(p: Patches) -> None:
    def make(old: Any) -> Any:
        def square(self: Externals, *more: Any) -> Any:
            self._squared = False
            return old(self, *more)

        return square

    p.around(Externals, "square", make)
    p.around(BookReader, "_filled", lambda old: lambda self: 0)


def _seen_intents_dropped(p: Patches) -> None:
    def make(old: Any) -> Any:
        def start(self: Intake, found: Any) -> None:
            old(self, found)
            self._heads = [0 for _ in self._heads]

        return start

    p.around(Intake, "start", make)


def _committed_first(p: Patches) -> None:
    def make(old: Any) -> Any:
        def take(self: Intake, now_ns: int) -> Any:
            for source in self._ports.intents:
                n = source.peek(self._rows)
                if n:
                    source.commit(n)
            return old(self, now_ns)

        return take

    p.around(Intake, "take", make)


def _numbers_begin_anew(p: Patches) -> None:
    def make(old: Any) -> Any:
        def again(*more: Any) -> Any:
            found = old(*more)
            found.last_order_no = 0
            return found

        return again

    p.everywhere(replay.replay, make(replay.replay))


def _strategies_not_told(p: Patches) -> None:
    p.set(Teller, "differing", lambda self, found, now_ns: 0)


def _hung_not_revived(p: Patches) -> None:
    p.set(Teller, "revive", lambda self, now_ns: None)


def _rows_forgotten(p: Patches) -> None:
    p.everywhere(resuming._complete_rows, lambda *more: None)


def _trade_rows_lost(p: Patches) -> None:
    p.set(Outbox, "write_trade", lambda self, change: None)


def _absent_at_once(p: Patches) -> None:
    p.set(lookup, "READS", 0)
    p.around(lookup.Lookup, "__init__", lambda old: lambda self, horizon_ns: old(self, 0))


def _missed_updates_ignored(p: Patches) -> None:
    p.set(Interruptions, "_make_up", lambda self, links, now_ns: self._lost.clear())


TRUTH: Final = (
    Mutant("replay_forgets_cancels", "a restart forgets cancels under way", _cancels_forgotten),
    Mutant("replay_forgets_in_flight", "a restart takes what was in flight for absent", _in_flight_forgotten),
    Mutant("replay_forgets_reports", "a restart does not read REPORT records", _without(Kind.REPORT)),
    Mutant("replay_forgets_cuts", "a restart does not read EXTERNAL records", _without(Kind.EXTERNAL)),
    Mutant("replay_forgets_answers", "a restart does not read ANSWER records", _without(Kind.ANSWER)),
    Mutant("replay_forgets_states", "a restart does not read STATE records", _without(Kind.STATE)),
    Mutant("fills_counted_twice", "a doubled update fills twice", _fills_twice),
    Mutant("partial_fill_lost", "a partial fill does not count", _partial_fill_lost),
    Mutant("late_word_undoes", "a late update brings a cancelled order back", _late_word_undoes),
    Mutant("strangers_ignored", "what hands and the risk desk do is not seen", _strangers_ignored),
    Mutant("tags_ignored", "orders are looked for by their words alone", _tags_ignored),
    Mutant("one_positions_read", "one read of the positions is believed, whatever fills meanwhile",
           _one_positions_read),
    Mutant("old_intents_taken_anew", "a restart takes intents anew that have their record",
           _seen_intents_dropped),
    Mutant("committed_first", "intents leave their queue before they are journalled", _committed_first),
    Mutant("numbers_begin_anew", "a restart numbers its orders from 1", _numbers_begin_anew),
    Mutant("strategies_not_told", "after a restart strategies are not told what they missed",
           _strategies_not_told),
    Mutant("hung_not_revived", "a strategy that took no events is never told what it missed",
           _hung_not_revived),
    Mutant("rows_forgotten", "rows that a crash left unwritten stay unwritten", _rows_forgotten),
    Mutant("trade_rows_lost", "trades.csv gets no rows", _trade_rows_lost),
    Mutant("missed_updates_ignored", "after a lost update connection the order book is not read at once",
           _missed_updates_ignored),
    Mutant("absent_at_once", "an order that the first read does not show is absent", _absent_at_once),
)  # fmt: skip
"""Mutants of book, recovery, identity and telling."""
