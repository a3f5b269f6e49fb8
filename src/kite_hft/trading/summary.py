"""Layer 2, orders process, cold: the order stage's part of report.json, and what stays open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kite_hft.layout import Product
from kite_hft.trading.book import EXTERNAL, Book
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.outbox import Outbox
from kite_hft.trading.positions import divide_half_even, paise_of_units
from kite_hft.trading.records import name_of

_TOTALS: Final = (
    "sent",
    "accepted",
    "filled",
    "partial_fills",
    "cancelled",
    "rejected",
    "modified",
    "ambiguous",
    "resolved",
    "events_dropped",
)


def report(
    outbox: Outbox, book: Book, instruments: InstrumentTable, mark: Callable[[int], int]
) -> dict[str, Any]:
    """The `orders`, `pnl_paise` and `positions` parts. `mark(slot)`: last price in units, 0: none."""
    gross, realised = book.gross_paise(mark)
    orders: dict[str, Any] = {
        "intents": outbox.totals["intents"],
        "refused": dict(sorted(outbox.refused.items())),
    }
    orders |= {name: outbox.totals[name] for name in _TOTALS}
    orders |= {"halted": outbox.halted, "strategies_hung": sorted(outbox.hung)}
    return {
        "orders": orders,
        # Charges come with the cost model; until then net says gross.
        "pnl_paise": {"gross": gross, "charges": 0, "net": gross, "realised": realised},
        "positions": positions(book, instruments, mark),
    }


def positions(book: Book, instruments: InstrumentTable, mark: Callable[[int], int]) -> list[dict[str, Any]]:
    """Every position that is open or has traded; prices in the instrument's unit, money in paise."""
    rows = []
    for position in sorted(book.positions.values(), key=lambda p: (p.slot, p.strategy, p.product)):
        if not position.fills and not position.quantity:
            continue
        instrument = instruments[position.slot]
        px = mark(position.slot)
        held = position.quantity
        average = divide_half_even(position.cost_units * (1 if held > 0 else -1), abs(held)) if held else 0
        open_units = held * px - position.cost_units if px else 0
        rows.append(
            {
                "instrument": instrument.key,
                "strategy": "EXTERNAL" if position.strategy == EXTERNAL else position.strategy,
                "product": name_of(Product, position.product),
                "quantity": held,
                "average_px": average,
                "last_px": px,
                "realised_paise": paise_of_units(position.realised_units, instrument),
                "unrealised_paise": paise_of_units(open_units, instrument),
            }
        )
    return rows


def what_stays_open(book: Book, instruments: InstrumentTable) -> dict[str, Any]:
    """Live orders and open positions, in words, for the end of a run."""
    return {
        "orders": [
            {
                "order_no": order.order_no,
                "order_id": order.order_id,
                "instrument": instruments[order.slot].key,
                "status": order.status.name,
                "pending": order.pending,
            }
            for order in book.live()
        ],
        "positions": [
            {"instrument": row["instrument"], "product": row["product"], "quantity": row["quantity"]}
            for row in positions(book, instruments, lambda slot: 0)
            if row["quantity"]
        ],
    }
