"""Layer 2, orders process, cold: orders whose fate is open: what they permit, and how a person ends it.

An ambiguous *exit* is the worst of them: nobody knows whether its position still stands. Book and
positions are read at once, and again; until two whole reads of the positions agree nothing else
leaves on its side. Then what the exit does not cover may be closed, reduce-only, as if the exit
were to fill (market.md 4). A broker whose positions cannot be read for WITHOUT_READS_NS holds no
reduction up.

A working order that whole reads of the order book do not show any more has vanished: that is told
and counted. A person may end a doubt (`kite-hft resolve`): the order book is read once more, and a
word that it contradicts is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.layout import OrderStatus, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.lifecycle import TERMINAL, WORKING, Input
from kite_hft.trading.order import Order
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery.explain import Difference, as_gone
from kite_hft.trading.recovery.lookup import READS, alike, tagged
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

WITHOUT_READS_NS: Final = 5 * NS_PER_S
LOOK_NS: Final = 50_000_000
VANISHED_READS: Final = 3
"""So many whole reads in a row have to miss a working order."""
ANSWER_NS: Final = 10 * NS_PER_S
"""So long may a read of the order book take that a person's word waits for."""
ABSENT, PRESENT = "absent", "present"


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says of an order or an instrument. `ask`: the answer is journalled under it."""

    ask: str
    name: str  # an order's number, or an instrument's key
    how: str
    order_id: str
    by: str
    at_ns: int


@dataclass(slots=True)
class Doubts:
    """One per order stage. `fold(order, row, now_ns)` takes a row of the book for an order's own."""

    ports: Ports
    book: Book
    outbox: Outbox
    horizon_ns: int
    fold: Callable[[Order, OrderReport, int], None]
    progressed: Callable[[Order, int], None]
    vanished: int = 0
    open: dict[str, Difference] = field(default_factory=dict)  # what keeps the engine from ACTIVE
    accepted: set[tuple[str, str]] = field(default_factory=set)  # by a person: differences, name and amount
    _look_ns: int = -(2**62)
    _shown: dict[int, tuple[int, int]] = field(default_factory=dict)  # exit -> (quantity shown, reads)
    _seen: set[int] = field(default_factory=set)  # orders that a whole read has shown
    _missing: dict[int, int] = field(default_factory=dict)  # working orders -> reads that miss them
    _words: list[Word] = field(default_factory=list)

    # Ambiguous exits

    def exits(self) -> list[Order]:
        """Ambiguous orders that close something."""
        live = self.book.live_orders.values()
        return [o for o in live if o.status is OrderStatus.AMBIGUOUS and not o.opening]

    def wants_positions(self, now_ns: int) -> bool:
        """The positions are to be read at once, for an exit that has not had its reads."""
        if now_ns < self._look_ns:
            return False  # it is asked in every step
        self._look_ns = now_ns + LOOK_NS
        wanted = False
        for order in self.exits():
            if order.agreeing >= READS:
                continue
            if now_ns - order.status_ns >= WITHOUT_READS_NS:
                order.agreeing = READS  # what reduces risk passes, were the broker never to answer
            wanted = True
        return wanted

    def positions(self, held: Mapping[tuple[int, int], int], asked_ns: int) -> None:
        """One whole read of the positions, (slot, product) -> net, asked for at `asked_ns`."""
        exits = self.exits()
        self._shown = {o.order_no: self._shown[o.order_no] for o in exits if o.order_no in self._shown}
        for order in exits:
            if asked_ns < order.status_ns:
                continue
            shows = held.get((order.slot, order.product), 0)
            before, reads = self._shown.get(order.order_no, (shows, 0))
            reads = reads + 1 if shows == before else 1
            self._shown[order.order_no] = shows, reads
            order.agreeing = max(order.agreeing, min(reads, READS)) if reads >= READS else order.agreeing

    # Whole reads of the order book

    def orders(self, rows: Sequence[OrderReport], asked_ns: int, now_ns: int) -> None:
        """After a whole read was folded: what it does not show, and what a person said."""
        ids = {row.order_id for row in rows}
        for order in self.book.live():
            if order.order_id and order.status in WORKING:
                self._look_for(order, ids, asked_ns, now_ns)
        for number in [n for n in self._missing if self.book.orders[n].status in TERMINAL]:
            self._found(self.book.orders[number])
        for word in [w for w in self._words if asked_ns > w.at_ns]:
            self._words.remove(word)
            self._answer(word, rows, now_ns)

    def _look_for(self, order: Order, ids: set[str], asked_ns: int, now_ns: int) -> None:
        number = order.order_no
        if order.order_id in ids:
            self._seen.add(number)
            if number in self._missing:
                self._found(order)
            return
        # A book may lag behind the answer that named the order: only what stood in it can vanish from it.
        if asked_ns <= order.status_ns or (
            number not in self._seen and self._age_ns(order, now_ns) < self.horizon_ns
        ):
            return
        self._missing[number] = self._missing.get(number, 0) + 1
        if self._missing[number] == VANISHED_READS:
            self.vanished += 1
            key = self.ports.instruments[order.slot].key
            self.outbox.alert(
                "ORDER_VANISHED",
                f"order {number} ({order.order_id}, {key}) is working by the broker's last word, and "
                f"{VANISHED_READS} reads of his order book do not show it",
                str(number),
            )

    def _age_ns(self, order: Order, now_ns: int) -> int:
        """Since it was sent, or first told of; of one that this process did not send the wall clock tells."""
        return now_ns - order.sent_ns if order.sent_ns else self.ports.clock.real_ns() - order.sent_real_ns

    def _found(self, order: Order) -> None:
        self._missing.pop(order.order_no, None)
        self.outbox.clear("ORDER_VANISHED", str(order.order_no))

    def missing(self, order: Order) -> int:
        """How many whole reads in a row have not shown a working order."""
        return self._missing.get(order.order_no, 0)

    # A person's word

    def say(self, message: Mapping[str, Any], now_ns: int) -> None:
        """`{"do": "resolve", "ask": .., "name": "7", "how": "absent" | "present", "order_id": "", "by": ..}`.

        Raises:
            KeyError: a part is missing.
        """
        word = Word(
            ask=str(message["ask"]),
            name=str(message["name"]),
            how=str(message["how"]),
            order_id=str(message.get("order_id") or ""),
            by=str(message.get("by") or ""),
            at_ns=now_ns,
        )
        difference = self.open.get(word.name)
        if difference is not None and difference.word == word.how == PRESENT:
            self.accepted.add((word.name, difference.amount))
            self._done(word, "", accepted=difference)
        elif refused := self._refused_at_once(word):
            self._done(word, refused)
        else:
            self._words.append(word)

    @property
    def waiting(self) -> bool:
        """A person's word waits for a read of the order book."""
        return bool(self._words)

    def give_up(self, now_ns: int) -> None:
        """Refuse words that have waited too long: the book cannot be read."""
        for word in [w for w in self._words if now_ns - w.at_ns > ANSWER_NS]:
            self._words.remove(word)
            self._done(word, f"the broker's order book could not be read within {ANSWER_NS // NS_PER_S} s")

    def _order(self, word: Word) -> Order | None:
        return self.book.orders.get(int(word.name)) if word.name.isdecimal() else None

    def _refused_at_once(self, word: Word) -> str:
        order = self._order(word)
        if word.how not in (ABSENT, PRESENT):
            return f"{word.how!r} is neither {ABSENT} nor {PRESENT}"
        if order is None:
            return f"nothing is open about {word.name}, and no order of this run has that number"
        difference = self.open.get(word.name)
        gone = self.missing(order) >= VANISHED_READS or (difference and difference.word == ABSENT)
        if order.status is OrderStatus.AMBIGUOUS or (word.how == ABSENT and gone):
            return ""
        if difference is not None:
            return f"{difference.text}; {difference.end}"
        return f"order {word.name} is {order.status.name}: nothing about it is open"

    def _answer(self, word: Word, rows: Sequence[OrderReport], now_ns: int) -> None:
        refused = self._refused_at_once(word)  # the read may have ended it
        order = self._order(word)
        if refused or order is None:
            self._done(word, refused)
        elif word.how == ABSENT:
            self._absent(word, order, now_ns)
        else:
            row, refused = chosen(order, word.order_id, rows, self.book, self.ports)
            if row is not None:
                self._resolved(order, word)
                self.fold(order, row, now_ns)
            self._done(word, refused)

    def _absent(self, word: Word, order: Order, now_ns: int) -> None:
        self._resolved(order, word)
        ambiguous = order.status is OrderStatus.AMBIGUOUS
        if order.status not in TERMINAL:
            order.gone = not ambiguous
            change = self.book.enter(order, Input.MISS if ambiguous else Input.REPORT_CANCELLED, now_ns)
            self.outbox.tell(change, now_ns, Reason.ABSENT)
        self.progressed(order, now_ns)
        if not ambiguous:  # its fills stand; the broker's positions say what is left of them
            self.accepted.add((word.name, as_gone(order)))
            self._found(order)
        self._done(word, "")

    def _resolved(self, order: Order, word: Word) -> None:
        how = word.how if order.status is OrderStatus.AMBIGUOUS else "gone"
        words = {"no": order.order_no, "how": how, "order_id": word.order_id, "by": word.by}
        self.outbox.journal(Kind.RESOLVED, words)

    def _done(self, word: Word, refused: str, *, accepted: Difference | None = None) -> None:
        """The answer stands in the journal: whoever asked reads it there."""
        self.outbox.journal(
            Kind.COMMAND,
            {
                "do": "resolve",
                "ask": word.ask,
                "name": word.name,
                "how": word.how,
                "order_id": word.order_id,
                "by": word.by,
                "refused": refused,
                "accepted": accepted.name if accepted else "",
                "amount": accepted.amount if accepted else "",
            },
        )


def chosen(
    order: Order, order_id: str, rows: Sequence[OrderReport], book: Book, ports: Ports
) -> tuple[OrderReport | None, str]:
    """The row that a person says is `order`, or why it cannot be.

    Without an id: the only row of the book that has its instrument, side, quantity and product and
    belongs to nobody; its time is not looked at, since clocks differ. One of another quantity (after
    a power cut, `lookup.alike`) has to be named.
    """
    fitting = [r for r in rows if alike(order, r, ports.instruments, timed=False) and not tagged(r)]
    free = [r for r in fitting if book.by_id(r.order_id) is None]
    if not order_id:
        same = [r for r in free if r.quantity == order.quantity]
        if len(same) == len(free) == 1:
            return free[0], ""
        names = ", ".join(r.order_id for r in free) or "none"
        return None, f"{len(free)} orders of the book could be it ({names}): name the one that is"
    row = next((r for r in rows if r.order_id == order_id), None)
    if row is None:
        return None, f"the broker's order book has no order {order_id}"
    other = book.by_id(order_id)
    if other is not None and other is not order:
        return None, f"{order_id} is our order {other.order_no}"
    if row not in free:
        whose = " with somebody else's tag" if tagged(row) else ""
        words = f"{row.side.name} {row.quantity} {row.exchange}:{row.symbol}{whose}"
        return None, f"{order_id} is {words}: not what order {order.order_no} asked for"
    return row, ""
