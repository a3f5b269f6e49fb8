"""Layer 2, end of the day, cold: the day's journal against the broker's books: orders, positions, charges.

Everything is compared, nothing is changed: the books of a run are put right by the engine alone, when it
starts. A difference is a sentence that names the order or the instrument and both sides' numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.layout import OrderStatus, Product
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, PositionReport, TriggerReport
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import Order
from kite_hft.trading.positions import fill_units
from kite_hft.trading.records import name_of

CHARGES_PAISE: Final = 100
"""Charges may differ so much, or by CHARGES_SHARE, whichever is more: neither side is the contract note."""
CHARGES_SHARE: Final = 0.005
CARRIED: Final = (Product.CNC, Product.NRML, Product.MTF)
"""Products whose positions stay over night."""


@dataclass(slots=True)
class Reconciled:
    """What was compared, and where the two sides differ. strangers: orders of the account that no journal
    knows: a person's, or the broker's. charges in paise; None: not compared."""

    orders: int = 0
    positions: int = 0
    differences: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    our_charges: int | None = None
    their_charges: int | None = None
    not_compared: list[str] = field(default_factory=list)


def compare_orders(
    orders: Iterable[tuple[Order, Instrument | None]], theirs: Sequence[OrderReport], out: Reconciled
) -> None:
    """Every order, with its instrument, that the broker has named: state, filled quantity and value."""
    by_id = {row.order_id: row for row in theirs}
    known = set()
    for order, row_of in orders:
        if not order.order_id:
            if order.status == OrderStatus.AMBIGUOUS:
                out.differences.append(
                    f"order no {order.order_no} (tag {order.tag}): its fate was never found out: look "
                    "for the tag in the broker's order book"
                )
            continue
        known.add(order.order_id)
        row = by_id.get(order.order_id)
        name = f"order {order.order_id}{f' {row_of.key}' if row_of else ''}"
        if row is None:
            out.differences.append(f"{name}: in the journal ({order.status.name}), not in the broker's book")
            continue
        out.orders += 1
        if row.filled_quantity != order.filled:
            out.differences.append(
                f"{name}: {order.filled} filled by the journal, {row.filled_quantity} there"
            )
        elif order.filled and row_of is not None:
            units = fill_units(row.average_price, order.filled, row_of.scale)
            if abs(units - order.filled_units) > order.filled:  # the broker rounds the average
                out.differences.append(f"{name}: filled at another average there, {row.average_price:.4f}")
        theirs_over = row.status in TERMINAL if row.status is not None else None
        if theirs_over is not None and theirs_over != (order.status in TERMINAL):
            out.differences.append(f"{name}: {order.status.name} by the journal, {row.status_text} there")
    out.strangers += [
        f"{row.exchange}:{row.symbol} {row.side.name} {row.quantity}, {row.status_text} "
        f"({row.filled_quantity} filled), order {row.order_id}"
        for row in theirs
        if row.order_id not in known
    ]


def compare_positions(
    book: Book,
    instruments: InstrumentTable,
    theirs: Sequence[PositionReport],
    out: Reconciled,
    beside: Mapping[tuple[int, int], int],
) -> None:
    """Net quantities by instrument and product. beside: (slot, product) -> what the account held besides, by
    the journal; it counts with ours.
    """
    ours: Counter[tuple[str, str]] = Counter()
    for (slot, kind), quantity in beside.items():
        ours[instruments[slot].key, name_of(Product, kind)] += quantity
    for position in book.positions.values():
        product = name_of(Product, position.product)
        ours[instruments[position.slot].key, product] += position.quantity
    held: Counter[tuple[str, str]] = Counter()
    known = {row.key for row in instruments}
    for row in theirs:
        product = row.product.name if row.product is not None else "?"
        held[f"{row.exchange}:{row.symbol}", product] += row.quantity
    for key in sorted({*ours, *held}):
        if key[0] not in known and held[key]:
            out.not_compared.append(f"{key[0]} {held[key]:+d} {key[1]}: the run did not have the instrument")
        elif ours[key] != held[key]:
            out.differences.append(
                f"position {key[0]} {key[1]}: {ours[key]:+d} by the journal, {held[key]:+d} at the broker"
            )
        out.positions += bool(held[key] or ours[key])


def compare_charges(ours: int, theirs: int, out: Reconciled) -> None:
    """Totals of the orders that filled, in paise."""
    out.our_charges, out.their_charges = ours, theirs
    if abs(ours - theirs) > max(CHARGES_PAISE, CHARGES_SHARE * max(ours, theirs)):
        out.differences.append(
            f"charges: {ours / 100:,.2f} rupees by our rates, {theirs / 100:,.2f} by the broker's "
            "calculator: look at the dates of config/rules/charges_*"
        )


def overnight(
    book: Book, instruments: InstrumentTable, triggers: Sequence[TriggerReport] | None
) -> list[dict[str, Any]]:
    """Positions that stay, one row for each instrument and product: quantity, and how much of it a trigger at
    the broker protects (`protected`; None: not known). Orders of the day end with it."""
    net: Counter[tuple[int, int]] = Counter()
    for position in book.positions.values():
        net[position.slot, position.product] += position.quantity
    rows = []
    for (slot, product), quantity in sorted(net.items()):
        if not quantity:
            continue
        instrument = instruments[slot]
        guarded = None if triggers is None else _guarded(instrument.token, product, quantity, triggers)
        rows.append(
            {
                "instrument": instrument.key,
                "product": name_of(Product, product),
                "quantity": quantity,
                "protected": guarded,
                "carried": product in CARRIED,
                "derivative": instrument.kind != "EQ",
                "expiry": instrument.expiry,
            }
        )
    return rows


def _guarded(token: int, product: int, quantity: int, triggers: Sequence[TriggerReport]) -> int:
    closing = -1 if quantity > 0 else 1
    held = sum(
        max((leg.quantity for leg in row.legs if _closes(leg, closing, product)), default=0)
        for row in triggers
        if row.active and row.token == token
    )
    return min(held, abs(quantity))


def _closes(leg: Any, closing: int, product: int) -> bool:
    sign = 1 if leg.side.name == "BUY" else -1
    return sign == closing and (leg.product is None or int(leg.product) == product) and not leg.order_id


def overnight_words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same as sentences."""
    found = []
    for row in rows:
        name = f"{row['instrument']} {row['quantity']:+d} {row['product']}"
        if not row["carried"]:
            found.append(f"{name}: an intraday position that is still open: the broker closes it, or has")
        elif row["protected"] is None:
            found.append(f"{name}: stays; what protects it could not be asked")
        elif row["protected"] >= abs(row["quantity"]):
            found.append(f"{name}: stays; a trigger at the broker protects all of it")
        else:
            some = f"triggers at the broker protect {row['protected']} of it"
            guard = some if row["protected"] else "no trigger at the broker protects it"
            found.append(f"{name}: stays; {guard}; stops of the day end with the day")
    return found
