"""Layer 2, orders process, cold: what the broker's books say that cannot be true beside what we know.

At start the journal's book and the broker's orders, executions and positions are held against one
another, after all of it was folded. What has an explanation (our fills while we were dead, a
stranger's order, a position carried in) is taken over and told. The rest is a Difference: the
engine does not become ACTIVE with one. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass

from kite_hft.layout import OrderStatus, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, PositionReport
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.order import EXTERNAL, Order

_ENDED = TERMINAL - {OrderStatus.ABSENT}


@dataclass(frozen=True, slots=True)
class Difference:
    """`name`: what it is about, an order's number or an instrument; `end`: how a person ends it.

    word: "absent" or "present", what a person may say of it (`kite-hft resolve`); "": nothing helps
    but another state of the broker's books. amount: how much differs; a person accepts that, and no other.
    """

    name: str
    text: str
    end: str
    word: str
    amount: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.end}"


def differences(
    book: Book,
    instruments: InstrumentTable,
    rows: Sequence[OrderReport],
    held: Iterable[PositionReport],
    young: Collection[int] = (),
    accepted: Collection[tuple[str, str]] = (),
) -> list[Difference]:
    """What cannot be explained, orders first.

    rows: the whole order book, folded into `book`. held: the positions. young: orders that the
    broker's book may not show yet. accepted: (name, amount) of what a person has accepted as the broker
    tells it.
    """
    by_id = {row.order_id: row for row in rows}
    found = [
        difference
        for order in book.orders.values()
        if order.order_id and order.strategy != EXTERNAL
        for difference in _of_order(order, by_id.get(order.order_id), order.order_no in young)
    ]
    found += _of_sums(book, rows, list(held), instruments, _not_shown_yet(book, by_id, young, instruments))
    return [d for d in found if (d.name, d.amount) not in accepted]


def as_gone(order: Order) -> str:
    """Difference.amount of an order that the order book does not show any more."""
    return f"gone, {order.filled} filled"


def _of_order(order: Order, row: OrderReport | None, young: bool) -> list[Difference]:
    name = str(order.order_no)
    what = f"order {name} ({order.order_id})"
    if row is None:
        if young or not (order.status in WORKING or order.filled):
            return []
        end = f"if the broker's app does not show it either: kite-hft resolve {name} --absent"
        text = f"{what} is not in the broker's order book, and was in his words before"
        return [Difference(name, text, end, "absent", as_gone(order))]
    if row.filled_quantity < order.filled:
        text = f"{what} has filled {order.filled} by the broker's earlier words, {row.filled_quantity} now"
        end = f"if the book is right: kite-hft resolve {name} --present {order.order_id}"
        return [Difference(name, text, end, "present", f"{order.filled} filled, {row.filled_quantity} now")]
    if row.status in WORKING and order.status in _ENDED:
        text = f"{what} was {order.status.name} and is {row.status_text} in the broker's book"
        return [Difference(name, text, "cancel it in the broker's app", "")]
    return []


def hidden(rows: Iterable[OrderReport], held: Iterable[PositionReport]) -> Counter[int]:
    """By token: how much the positions hold beyond what was carried in and what the orders of the book have
    filled. Over all products of an instrument, for a conversion moves quantity between them.
    """
    beyond: Counter[int] = Counter()
    for position in held:
        beyond[position.token] += position.quantity - position.overnight_quantity
    for row in rows:
        beyond[row.token] -= row.filled_quantity * (1 if row.side is Side.BUY else -1)
    return beyond


def in_doubt(book: Book, slot: int, product: int | None = None) -> tuple[int, int]:
    """(fewest, most) by which ambiguous orders may have changed a position, unseen."""
    fewest = most = 0
    for order in book.live_orders.values():
        if order.status is OrderStatus.AMBIGUOUS and order.slot == slot and product in (None, order.product):
            most += order.open_quantity if order.side == Side.BUY else 0
            fewest -= order.open_quantity if order.side == Side.SELL else 0
    return fewest, most


def _not_shown_yet(
    book: Book, shown: Container[str], young: Collection[int], instruments: InstrumentTable
) -> Counter[int]:
    """By token: what orders have filled, by the broker's words, that his order book does not show yet."""
    found: Counter[int] = Counter()
    for order in book.orders.values():
        late = order.order_no in young and order.order_id not in shown
        if late and order.order_id and order.strategy != EXTERNAL:
            found[instruments[order.slot].token] += order.sign * order.filled
    return found


def _agree(book: Book, slot: int, held: Sequence[PositionReport], token: int) -> bool:
    """The positions hold what is ours, carried in or not: nothing of it can be cut."""
    ours = sum(p.quantity for p in book.positions.values() if p.slot == slot and p.strategy != EXTERNAL)
    return ours == sum(row.quantity for row in held if row.token == token)


def _of_sums(
    book: Book,
    rows: Iterable[OrderReport],
    held: Sequence[PositionReport],
    instruments: InstrumentTable,
    not_shown: Counter[int],
) -> list[Difference]:
    """Positions that hold something hidden, unless an ambiguous order of ours may have done it.

    not_shown: fills that are known all the same; positions that lack them lag, too, and cut nothing of ours.
    """
    found = []
    beyond = hidden(rows, held)
    for token, told in not_shown.items():
        if beyond[token] or not _agree(book, instruments.by_token[token].slot, held, token):
            beyond[token] -= told
    for token, more in sorted(beyond.items()):
        instrument = instruments.by_token.get(token)
        if not more or instrument is None:
            continue
        fewest, most = in_doubt(book, instrument.slot)
        if not fewest <= more <= most:
            shown = sum(row.quantity for row in held if row.token == token)
            carried = sum(row.overnight_quantity for row in held if row.token == token)
            told = not_shown[token]
            text = (
                f"{instrument.key}: the broker's positions hold {shown}; carried in {carried}, filled by the "
                f"orders of his book {shown - carried - more - told:+d}"
            )
            text += f", by his word of others {told:+d}" if told else ""
            end = f"if the positions are right: kite-hft resolve {instrument.key} --present"
            found.append(Difference(instrument.key, text, end, "present", f"{more:+d}"))
    return found
