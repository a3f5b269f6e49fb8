"""Layer 2, orders process, hot while a call is in doubt: taken and not shown, or not even taken.

The broker's word for a change means that he has passed it on: the exchange may turn it down, for one because
the order has filled meanwhile, and the old terms stand. Where it makes an order smaller, the larger quantity
may fill until a row of the order shows the smaller one. One whose answer proves nothing is worse.

It may reach the broker long after its request was given up, as placements do. Until then the order can
become the one or the other, and the worse of both counts. It is over when the book shows the new terms, or
when two whole reads past the absence horizon agree about any others.

A placement that was refused is over; what was read as the refusal was none where the broker shows it alive.
So is an order of which a person said that it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from kite_hft.layout import OrderStatus, OrderType
from kite_hft.trading.broker import OrderReport
from kite_hft.trading.lifecycle import WORKING
from kite_hft.units import NS_PER_S

Terms = tuple[int, int, int, int]
"""Quantity, price, trigger price, order type; a price that the type does not take is 0."""

AGREEING_READS: Final = 2
SHOWN_NS: Final = 5 * NS_PER_S
"""So long is the order book read again and again for a smaller quantity that is still under way, or for an
order that was refused and is."""
_SHOWN_AS: Final = {OrderType.MARKET: OrderType.LIMIT, OrderType.SLM: OrderType.SL}
"""How a protected order shows."""
_PRICED: Final = (OrderType.LIMIT, OrderType.SL)
_TRIGGERED: Final = (OrderType.SL, OrderType.SLM)


class Placed(Protocol):
    """What an order is asked for here (book.Order)."""

    status: OrderStatus
    order_id: str
    gone: bool


def by_the_call(order: Placed) -> bool:
    """The end of its own call has ended it: no word about it ever came by another way, not even its name."""
    return order.status in (OrderStatus.REJECTED, OrderStatus.REFUSED) and not order.order_id


def lives_after_all(order: Placed, report: OrderReport) -> bool:
    """The report shows that an order which `by_the_call` has ended was made, and works or has filled; or that
    one works which a person took for gone.
    """
    if order.gone:
        return report.status in WORKING
    ended = report.status in (OrderStatus.REJECTED, OrderStatus.CANCELLED) and not report.filled_quantity
    return by_the_call(order) and not ended


class Resizable(Protocol):
    """What an order is asked for here (book.Order)."""

    quantity: int
    quantity_max: int
    quantity_min: int


def shows_less(order: Resizable, report: OrderReport) -> bool:
    """The report proves that the exchange has made the order smaller. An older one, come late, never does:
    the order was never so small before. One of a change on its way may show what was asked for: no proof.
    """
    return (
        order.quantity_max > order.quantity == report.quantity < order.quantity_min
        and report.status is not OrderStatus.PENDING
    )


@dataclass(slots=True)
class Unproven:
    """`terms`: as they would be. `since_ns`: when the answer came that proves nothing."""

    terms: Terms
    since_ns: int
    shown: Terms | None = None  # by the newest read past the horizon
    reads: int = 0  # that agreed about it

    def believes(self, stood: Terms, shown: Terms, asked_ns: int, horizon_ns: int) -> Terms | None:
        """The terms that hold from now on, after a whole read asked for at `asked_ns` that shows `shown` of
        an order that `stood` so; None: it is still in doubt.
        """
        if _is(self.terms, stood, shown):
            return self.terms
        if asked_ns - self.since_ns < horizon_ns:
            return None
        self.reads = self.reads + 1 if shown == self.shown else 1
        self.shown = shown
        return shown if self.reads >= AGREEING_READS else None


def _is(wished: Terms, stood: Terms, shown: Terms) -> bool:
    """The book shows what was wished. The price of an order at market is the broker's own: such an order is
    not proved by the price that stood before.
    """
    quantity, px, trigger_px, kind = wished
    same_kind = shown[3] == kind or (shown[3] == _SHOWN_AS.get(OrderType(kind)) and shown != stood)
    return (
        same_kind
        and shown[0] == quantity
        and (kind not in _PRICED or shown[1] == px)
        and (kind not in _TRIGGERED or shown[2] == trigger_px)
    )
