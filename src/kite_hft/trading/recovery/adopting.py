"""Layer 2, orders process, cold: orders that no intent of a strategy made, taken into the book.

Three kinds: orders of this installation that the journal does not know (EXTERNAL), slices that the
broker made of an order of ours, orders that a trigger of ours has placed. The last two are their
strategy's own and stand in the journal; an adopted one is read from the broker's book anew, under
the number that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import WORKING, Input
from kite_hft.trading.order import EXTERNAL, STOPS, Change, Order
from kite_hft.trading.positions import Position, fill_units

SLICE_TAG: Final = "autoslice:"


def adopt(
    book: Book,
    report: OrderReport,
    order_no: int,
    instrument: Instrument,
    tag: str,
    now_ns: int,
    real_ns: int,
) -> Order:
    """A live order that this run did not make, as EXTERNAL; its fills so far stand in the positions.

    real_ns: CLOCK_REALTIME now. The broker's order book may lag behind the word that told of it.
    """
    order = Order(
        order_no=order_no,
        strategy=EXTERNAL,
        strategy_seq=0,
        slot=instrument.slot,
        side=report.side,
        order_type=report.order_type or 0,
        product=report.product or 0,
        validity=0,
        flags=0,
        quantity=report.quantity,
        px=report.px,
        trigger_px=report.trigger_px,
        tag=tag,
        created_ns=now_ns,
        status=OrderStatus.PENDING,
        status_ns=now_ns,
        sent_real_ns=real_ns,
        filled=report.filled_quantity,
        filled_units=fill_units(report.average_price, report.filled_quantity, instrument.scale),
    )
    book.add(order)
    book.fold(order, report, now_ns)
    return order


def opens(book: Book, order: Order) -> bool:
    """Were it to fill it would add risk: an order of ours as it was judged, and an exit as soon as what it
    was to close is gone; an adopted one by what the account holds now. A stop that was to open (one of two
    around the price, say) protects what its strategy holds by now.
    """
    if order.strategy != EXTERNAL:
        held = book.standing(order.strategy, order.slot, order.product)
        if order.opening:
            return not protects_by_now(book, order)
        return not _closes(book, order, (held,), known=True)
    here = (order.slot, order.product)
    positions = [p for p in book.positions.values() if (p.slot, p.product) == here]
    return not _closes(book, order, positions, known=book.account_known)


def protects_by_now(book: Book, order: Order) -> bool:
    """It waits for its trigger on the closing side of what its strategy holds."""
    held = book.standing(order.strategy, order.slot, order.product).quantity
    waits = order.order_type in STOPS and order.status is not OrderStatus.OPEN
    return waits and (held > 0 if order.side == Side.SELL else held < 0)


def closes_others(book: Book, order: Order) -> bool:
    """An adopted order that closes what the account holds beyond the strategies' positions: it is as little
    the engine's to take away as that is to close.
    """
    external = book.standing(EXTERNAL, order.slot, order.product)
    return order.strategy == EXTERNAL and _closes(book, order, (external,), known=book.account_known)


def _closes(book: Book, order: Order, positions: Iterable[Position], *, known: bool) -> bool:
    """A stop is an exit unless it is known that there is nothing to close, and no entry lives that it would
    protect: the price passes the entry before it reaches the stop. Any other order protects nothing: it is an
    exit when it fits, with the older ones beside it, into what is held; so is a stop that has triggered.
    Delivery shares that are sold were held. known: so is what is held.
    """
    sells = order.side == Side.SELL
    if sells and order.product == Product.CNC:
        return True
    held = entries = 0
    for position in positions:
        held += position.quantity if sells else -position.quantity
        entries += position.open_buy if sells else position.open_sell
    if order.order_type in STOPS and order.status is not OrderStatus.OPEN:
        return not known or held > 0 or entries > 0
    older = (
        other.open_quantity
        for other in book.live()
        if other.strategy == order.strategy
        and (other.strategy == EXTERNAL or not other.opening)
        and (other.slot, other.product, other.side) == (order.slot, order.product, order.side)
        and other.order_no <= order.order_no
        and (other is order or other.order_type not in STOPS)
    )
    return known and sum(older) <= held


def slice_payload(parent: Order, report: OrderReport, order_no: int) -> dict[str, Any]:
    """Journal record RESOLVED of a slice that the broker made of `parent`: all that replay needs."""
    return {
        "no": order_no,
        "how": "slice",
        "order_id": report.order_id,
        "parent_id": parent.order_id,
        "strategy": parent.strategy,
        "seq": ENGINE_SEQ + order_no,
        "parent": parent.parent or parent.strategy_seq,
        "slot": parent.slot,
        "side": int(report.side),
        "type": int(report.order_type or parent.order_type),
        "product": parent.product,
        "qty": report.quantity,
        "px": report.px,
        "trigger_px": report.trigger_px,
        "opening": parent.opening,
    }


def parent_id(report: OrderReport) -> str:
    """The broker's id of the order that this one is a part of; "": it is a whole.

    A slice of Kite's own making names it in a tag (`autoslice:<parent>`), legs in a field of their own.
    """
    named = (tag.removeprefix(SLICE_TAG) for tag in report.tags if tag.startswith(SLICE_TAG))
    return report.parent_order_id or next(named, "")


def take_slice(book: Book, data: Mapping[str, Any], now_ns: int, real_ns: int) -> tuple[Order, Change | None]:
    """Enter a slice, from its RESOLVED record; what it takes over is its parent's no more.

    real_ns: when it was found, CLOCK_REALTIME. Returns the slice and, when the parent was the whole of its
    slices and no order itself, its end.
    """
    order = slice_of(data, real_ns)
    parent = book.by_id(data["parent_id"])
    end: Change | None = None
    if parent is not None and parent.status in WORKING:
        left = parent.quantity - order.quantity
        if left > parent.filled:
            book.set_terms(parent, left, parent.px, parent.trigger_px, now_ns)
        else:
            end = book.enter(parent, Input.REPORT_CANCELLED, now_ns)
    book.add(order)
    book.name(order, data["order_id"])
    return order, end


def slice_of(data: Mapping[str, Any], real_ns: int) -> Order:
    """The order that the broker made of a part of ours, from a RESOLVED record of `real_ns` that names it."""
    words = ("strategy", "slot", "side", "product", "opening", "parent")
    return Order(
        order_no=data["no"],
        strategy_seq=data["seq"],
        order_type=data["type"],
        validity=int(Validity.DAY),
        flags=0,
        quantity=data["qty"],
        px=data["px"],
        trigger_px=data["trigger_px"],
        tag="",
        status=OrderStatus.PENDING,
        sent_real_ns=real_ns,
        **{word: data[word] for word in words},
    )


def unwanted(gtt: Mapping[str, Any], held: Position) -> bool:
    """What a strategy's trigger has placed, by its GTT records in one, is to be cancelled: the trigger was to
    be deleted, or thought absent, or to close more than is held by now.
    """
    if gtt["for_exits"]:
        return False  # its plan looks after it
    room = held.quantity if gtt["side"] == Side.SELL else -held.quantity
    deleted = gtt.get("do") == "delete" or bool(gtt.get("unwanted")) or bool(gtt.get("late"))
    return deleted or (bool(gtt.get("closing")) and room < gtt["qty"] - gtt.get("filled", 0))


def child_of(data: dict[str, Any], real_ns: int) -> Order:
    """The order that a trigger has placed, from a GTT record of `real_ns` (CLOCK_REALTIME) that names it."""
    return Order(
        order_no=data["no"],
        strategy=data["strategy"],
        strategy_seq=data["order_seq"],
        slot=data["slot"],
        side=data["side"],
        order_type=int(OrderType.LIMIT),
        product=data["product"],
        validity=int(Validity.DAY),
        flags=0,
        quantity=data["qty"],
        px=data["px"],
        trigger_px=0,
        tag="",
        status=OrderStatus.PENDING,
        opening=not data["reducing"],
        sent_real_ns=real_ns,
    )
