"""Layer 2, orders process, cold: the order stage's part of report.json, and what stays open."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from kite_hft.layout import OrderStatus, Product
from kite_hft.trading.book import Book
from kite_hft.trading.gate.states import States
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.pnl import CostBook, Pnl, account, breakdown, parts
from kite_hft.trading.positions import Position, divide_half_even, paise_of_units
from kite_hft.trading.records import name_of
from kite_hft.trading.sending.outbox import Outbox

REJECTED: Final = OrderStatus.REJECTED
_NUMBER: Final = re.compile(r"\d[\d.,]*")
_TOTALS: Final = (
    "probes",
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
_HEARD: Final = (
    "updates",
    "updates_duplicate",
    "updates_label",
    "texts_unparsed",
    "http_429",
    "http_503",
    "http_504",
    "http_5xx",
    "http_403",
    "http_400_timed_out",
    "transport_errors",
    "external_orders",
    "external_fills",
)
"""What the broker said beyond plain answers, and what others did on the account."""


def show_states(outbox: Outbox, states: States, *, active: bool) -> None:
    """The states of the engine as gauges. active: it may open something, as far as the stage goes."""
    gauge, halted, reducing = outbox.gauge, bool(outbox.halted), bool(states.reducing)
    gauge("state_active", int(active and not (halted or reducing or states.killed)))
    gauge("state_halted", int(halted))
    gauge("state_reducing", int(reducing and not halted))
    gauge("market_halted", int(states.market_halted))
    gauge("token_dead", int(bool(states.token_dead)))


def show_pnl(
    outbox: Outbox, book: Book, instruments: InstrumentTable, costs: CostBook, mark: Callable[[int], int]
) -> Pnl:
    """Profit and loss of the run, put into the gauges that say how the book stands; returns it."""
    pnl, gauge = account(book, instruments, costs, mark), outbox.gauge
    gauge("gross_pnl_paise", pnl.gross)
    gauge("realised_pnl_paise", pnl.realised)
    gauge("unrealised_pnl_paise", pnl.unrealised)
    gauge("charges_paise", pnl.charges)
    gauge("net_pnl_paise", pnl.net)
    gauge("working", book.working_count())
    gauge("positions", sum(1 for p in book.positions.values() if p.quantity))
    return pnl


def report(
    outbox: Outbox, book: Book, instruments: InstrumentTable, costs: CostBook, mark: Callable[[int], int]
) -> dict[str, Any]:
    """The `orders`, `pnl_paise` and `positions` parts. `mark(slot)`: last price in units, 0: none."""
    orders: dict[str, Any] = {
        "intents": outbox.totals["intents"],
        "refused": dict(sorted(outbox.refused.items())),
        "refused_for": dict(sorted(outbox.refused_for.items())),
    }
    orders["rejected_for"] = _commonest([o.message for o in book.orders.values() if o.status is REJECTED])
    orders |= {name: outbox.totals[name] for name in _TOTALS}
    orders["heard"] = {name: outbox.totals[name] for name in _HEARD}
    orders |= {"halted": outbox.halted, "strategies_hung": sorted(outbox.hung)}
    return {
        "orders": orders,
        "pnl_paise": breakdown(book, instruments, costs, mark),
        "positions": positions(book, instruments, costs, mark),
    }


def _commonest(messages: list[str]) -> dict[str, int]:
    """The words that the broker has said most often, whatever their numbers, as he said them first, and how
    often: {} where nothing was rejected."""
    kinds = [_NUMBER.sub("#", message) for message in messages]
    if not kinds:
        return {}
    kind, times = Counter(kinds).most_common(1)[0]
    return {messages[kinds.index(kind)]: times}


def positions(
    book: Book, instruments: InstrumentTable, costs: CostBook, mark: Callable[[int], int]
) -> list[dict[str, Any]]:
    """Every position that is open or has traded; prices in the instrument's unit, money in paise.

    The rows of the run's strategies add up to pnl_paise; those of EXTERNAL are not part of it.
    """
    own = {id(position): pnl for position, pnl in parts(book, instruments, costs, mark)}
    rows = []
    for position in _in_order(book):
        instrument = instruments[position.slot]
        px = mark(position.slot)
        held = position.quantity
        average = divide_half_even(position.cost_units * (1 if held > 0 else -1), abs(held)) if held else 0
        open_units = held * px - position.cost_units if px else 0
        external = Pnl(
            paise_of_units(position.realised_units, instrument), paise_of_units(open_units, instrument)
        )
        pnl = own.get(id(position), external)
        rows.append(
            {
                "instrument": instrument.key,
                "strategy": "EXTERNAL" if position.strategy == EXTERNAL else position.strategy,
                "product": name_of(Product, position.product),
                "quantity": held,
                "average_px": average,
                "last_px": px,
            }
            | {f"{name}_paise": paise for name, paise in pnl.as_dict().items()}
        )
    return rows


def _in_order(book: Book) -> list[Position]:
    """Positions that are open or have traded."""
    found = (p for p in book.positions.values() if p.fills or p.quantity)
    return sorted(found, key=lambda p: (p.slot, p.strategy, p.product))


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
            {
                "instrument": instruments[position.slot].key,
                "product": name_of(Product, position.product),
                "quantity": position.quantity,
            }
            for position in _in_order(book)
            if position.quantity
        ],
    }
