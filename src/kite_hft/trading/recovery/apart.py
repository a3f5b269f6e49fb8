"""Layer 2, orders process, cold: the broker's books are no one snapshot: one shows a fill before the other.

What the positions hold and neither the order book nor we know to be filled (or the other way round) is a
difference between the broker's own books. It is no stranger's doing before his books had the time to agree:
one whole round more than any other difference, and where a fill of an order of ours may be the reason, as
long as an order book has ever lagged (the absence horizon). Until then nothing is concluded and nothing told;
openings in the instrument are held (Book.apart), exits pass. What still differs when the positions are what
we hold was believed, and is no reason to wait a second time: only what comes on top of it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kite_hft.layout import Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, PositionReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.positions import divide_half_even
from kite_hft.trading.recovery.explain import hidden
from kite_hft.units import NS_PER_S

ROUNDS: Final = 3
"""So many whole rounds of reads have to show the same difference between two of the broker's books."""
BEHIND_NS: Final = 30 * NS_PER_S
"""For so long may the positions lack a fill of an order that has ended."""

Key = tuple[int, int]
"""(slot, product)."""


@dataclass(slots=True)
class _Seen:
    beyond: int
    since_ns: int
    rounds: int = 0


@dataclass(slots=True)
class _Closed:
    """What a stranger's order (`cause`) has filled beyond all that was known to be held: signed, and worth
    so many units. `orders` of ours, on the other side, may have filled before it, unseen.
    """

    cause: OrderReport
    moved: int
    units: int
    orders: frozenset[int]
    since_ns: int
    agreed: bool = False  # the positions have been what we hold since


class Apart:
    """Which differences are left open. One per order stage; `look` begins a round, `end` ends it."""

    def __init__(self, book: Book, instruments: InstrumentTable, horizon_ns: int) -> None:
        self._book, self._instruments, self._horizon_ns = book, instruments, horizon_ns
        self._seen: dict[Key, _Seen] = {}
        self._open: dict[int, str] = {}
        self._more: Counter[int] = Counter()
        self._stood: dict[int, int] = {}  # slot -> `more` when the positions were last what we hold
        self._differs: set[int] = set()  # slots of this round where they are not
        self._closed: dict[Key, _Closed] = {}
        self._taken: dict[int, int] = {}  # slot -> what was believed before any order told of it
        self.patient = False  # all that is open has had its rounds: no read is urgent

    def look(self, rows: Sequence[OrderReport], held: Iterable[PositionReport]) -> None:
        """Whole reads of the order book and the positions, while nothing filled."""
        self._open, self.patient = {}, True
        self._differs.clear()
        self._more = hidden(rows, held)
        self._more.subtract(_known(rows, self._book, self._instruments))
        for slot in [s for s in self._taken if not self.more(s)]:
            del self._taken[slot]

    def more(self, slot: int) -> int:
        """What the positions hold of an instrument beyond everything that is known to be filled."""
        return self._more[self._instruments[slot].token] if slot < len(self._instruments) else 0

    def fresh(self, slot: int) -> int:
        """How much of that has come since the positions were last what we hold."""
        return self.more(slot) - self._stood.get(slot, 0)

    def differs(self, key: Key) -> None:
        """This round leaves `key` as it is: the positions hold something else, or what may be ours."""
        self._differs.add(key[0])

    def waits(self, key: Key, beyond: int, now_ns: int) -> bool:
        """`key` holds `beyond` more than we know of: whether nothing is to be made of that yet."""
        more = self.fresh(key[0])
        if not more:
            self.agrees(key)
            return False
        seen = self._seen.get(key)
        if seen is None or seen.beyond != beyond:
            seen = self._seen[key] = _Seen(beyond, now_ns)
        seen.rounds += 1
        fewest, most = self._unseen(key[0], now_ns)
        for_ns = self._horizon_ns if fewest <= more <= most else 0
        if seen.rounds >= ROUNDS and now_ns - seen.since_ns >= for_ns:
            return False
        self.differs(key)
        self.patient = self.patient and seen.rounds >= ROUNDS
        self._open[key[0]] = (
            f"the broker's positions hold {more:+d} of {self._instruments[key[0]].key} that his order book "
            "does not tell of: waiting until his books agree"
        )
        return True

    def agrees(self, key: Key) -> None:
        """Nothing differs here, or his books agree in it."""
        self._seen.pop(key, None)
        if key in self._closed:
            self._closed[key].agreed = True

    def believed(self, key: Key) -> None:
        """The positions were believed in the end: an order that tells of it later is no second one."""
        self.agrees(key)
        self._closed.pop(key, None)
        if more := self.more(key[0]):
            self._taken[key[0]] = more

    def told_before(self, slot: int, quantity: int) -> int:
        """How much of a stranger's fill (signed) was believed already; it is not again."""
        early = self._taken.get(slot, 0)
        if early * quantity <= 0:
            return 0
        known = min(abs(early), abs(quantity)) * (1 if quantity > 0 else -1)
        self._taken[slot] = early - known
        return known

    def closed(
        self, key: Key, external: int, fill: tuple[int, int], ours: int, cause: OrderReport, now_ns: int
    ) -> None:
        """A stranger's fill (quantity and units, signed) has made EXTERNAL of `key` hold `external`, and has
        closed so much of `ours`. A live order of ours may have filled what the rest of it has closed.
        """
        moved, units = fill
        sign = 1 if moved > 0 else -1
        rest = min(abs(moved) - ours, sign * external - ours)
        orders = frozenset(
            o.order_no
            for o in self._book.live_orders.values()
            if (o.slot, o.product) == key and o.strategy != EXTERNAL and o.sign != sign and o.sent_real_ns
        )
        if rest > 0 and orders:
            closed = sign * rest, divide_half_even(units * rest, abs(moved))
            before = self._closed.get(key)
            if before is not None and before.moved * moved > 0:  # it fills in parts
                closed, orders = (before.moved + closed[0], before.units + closed[1]), before.orders | orders
            self._closed[key] = _Closed(cause, *closed, orders, now_ns)

    def ours(self, key: Key, order_id: str) -> None:
        """That order is no stranger's."""
        if key in self._closed and self._closed[key].cause.order_id == order_id:
            del self._closed[key]

    def closed_before(self, order: Order, quantity: int, now_ns: int) -> tuple[OrderReport, int, int] | None:
        """(whose, quantity, units) of a stranger's fill that has closed what only now is known to be filled;
        None: nobody has.
        """
        key = (order.slot, order.product)
        before = self._closed.get(key)
        if before is None or order.order_no not in before.orders or order.sign * before.moved > 0:
            return None
        if before.agreed and now_ns - before.since_ns >= BEHIND_NS:
            del self._closed[key]
            return None
        taken = min(quantity, abs(before.moved))
        worth = divide_half_even(before.units * taken, abs(before.moved))
        moved = -order.sign * taken
        before.moved, before.units = before.moved - moved, before.units - worth
        if not before.moved:
            del self._closed[key]
        return before.cause, moved, worth

    def end(self) -> None:
        """The round is over: openings in what is open are held."""
        known = (self._instruments.by_token.get(token) for token in self._more)
        agree = {i.slot for i in known if i is not None} - self._differs
        kept = {slot: self._stood[slot] for slot in self._differs if slot in self._stood}
        self._stood = kept | {slot: self.more(slot) for slot in agree}
        self._book.apart.clear()
        self._book.apart.update(self._open)

    def _unseen(self, slot: int, now_ns: int) -> tuple[int, int]:
        """(fewest, most) by which the positions may differ from the fills that we know, by orders of ours:
        what is live may have filled, and what filled of late may not stand there yet.
        """
        fewest = most = 0
        for order in self._book.orders.values():
            if order.slot != slot or order.strategy == EXTERNAL:
                continue
            live = order.order_no in self._book.live_orders
            late = order.filled if live or now_ns - order.status_ns < BEHIND_NS else 0
            ahead, behind = order.open_quantity, late
            if order.side == Side.SELL:
                ahead, behind = behind, ahead
            most, fewest = most + ahead, fewest - behind
        return fewest, most


def _known(rows: Iterable[OrderReport], book: Book, instruments: InstrumentTable) -> Counter[int]:
    """By token: what our orders have filled beyond what the order book shows of them, by updates and
    executions.
    """
    shown = {row.order_id: row.filled_quantity for row in rows}
    found: Counter[int] = Counter()
    for order in book.orders.values():
        if order.filled and order.strategy != EXTERNAL:
            unshown = max(0, order.filled - shown.get(order.order_id, 0))
            found[instruments[order.slot].token] += order.sign * unshown
    return found
