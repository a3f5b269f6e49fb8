"""Layer 2, orders process, cold: what a stranger's fill closes of ours, which exits it leaves too many, and
how that is undone when the order turns out to be no stranger's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kite_hft.layout import OrderStatus, Side
from kite_hft.trading.book import Book
from kite_hft.trading.order import Order
from kite_hft.trading.positions import Cut, Position


def closed(net: int, external: int, moved: int, *, whole: bool) -> int:
    """How many of our `net` are closed when EXTERNAL holds `external` after it `moved` by so much.

    whole: by the broker's square-off of the account. Where that leaves it flat nothing of ours stands there
    any more, whoever held the other side.
    """
    if net * external >= 0:
        return 0
    most = min(abs(net), abs(external))
    if whole and moved and net + external == 0:
        return most
    return min(most, abs(moved)) if net * moved < 0 else 0


def too_many_of(book: Book, position: Position) -> Iterator[Order]:
    """Exits beyond what is left of a position: the newest first."""
    for side, most in (
        (Side.SELL, max(0, position.quantity)),
        (Side.BUY, max(0, -position.quantity)),
    ):
        exits = [
            order
            for order in book.live()
            if not order.opening
            and (order.strategy, order.slot, order.product, order.side)
            == (position.strategy, position.slot, position.product, side)
        ]
        pending = sum(order.open_quantity for order in exits)
        for order in reversed(exits):
            if pending <= most:
                break
            pending -= order.open_quantity
            yield order


def undone(book: Book, order_id: str) -> list[Cut]:
    """What gives back what an order has closed, the last first."""
    left: dict[tuple[int, int, int], Cut] = {}
    for cut in book.cuts:
        if cut.order_id == order_id:
            key = (cut.strategy, cut.slot, cut.product)
            before = left.pop(key, None)
            quantity, units = cut.quantity, cut.units
            if before is not None:
                quantity, units = quantity - before.quantity, units - before.units
            left[key] = Cut(*key, -quantity, -units, order_id, cut.square_off)
    return [cut for cut in reversed(left.values()) if cut.quantity]


def payload_of(cut: Cut) -> dict[str, Any]:
    """What the journal says of it, in an EXTERNAL record."""
    return {
        "strategy": cut.strategy,
        "slot": cut.slot,
        "product": cut.product,
        "qty": cut.quantity,
        "units": cut.units,
        "order_id": cut.order_id,
        "square_off": cut.square_off,
    }


def as_order(cut: Cut) -> Order:
    """The order that has made it, as far as rows for people and strategies' events ask."""
    return Order(
        order_no=0,
        strategy=cut.strategy,
        strategy_seq=0,
        slot=cut.slot,
        side=Side.SELL if cut.quantity < 0 else Side.BUY,
        order_type=0,
        product=cut.product,
        validity=0,
        flags=0,
        quantity=abs(cut.quantity),
        px=0,
        trigger_px=0,
        tag="",
        status=OrderStatus.COMPLETE,
        order_id=cut.order_id,
    )
