"""Layer 6, by hand, cold: `kite-hft orders`: what may still fill, or all that the run sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from kite_hft.app import tables
from kite_hft.app.picture import (
    AccountOption,
    BrokerOption,
    JsonOption,
    StateOption,
    StrategyOption,
    book_of,
    by_strategy,
    opened,
    print_json,
    say_head,
    told,
)
from kite_hft.engine.runs.ledger import order_rows
from kite_hft.sessions import ist_text

_COLOURS: Final = {
    "AMBIGUOUS": "bold red",
    "REJECTED": "red",
    "ABSENT": "red",
    "REFUSED": "red",
    "COMPLETE": "green",
}


def _status(row: Mapping[str, Any]) -> str:
    colour = _COLOURS.get(row["status"])
    return f"[{colour}]{row['status']}[/{colour}]" if colour else str(row["status"])


def _price(row: Mapping[str, Any]) -> str:
    trigger = f" trigger {row['trigger_price']}" if row["trigger_price"] else ""
    return (row["price"] or "market") + trigger


COLUMNS: Final = (
    tables.Column("no", tables.field("order_no"), right=True),
    tables.Column("sent", lambda row: ist_text(row["sent_ns"])[11:] if row["sent_ns"] else "", drop=3),
    tables.Column("strategy", tables.field("strategy"), drop=1),
    tables.Column("instrument", tables.field("instrument")),
    tables.Column("side", tables.field("side")),
    tables.Column("type", tables.field("type"), drop=4),
    tables.Column("product", tables.field("product"), drop=2),
    tables.Column("filled", lambda row: f"{row['filled']}/{row['quantity']}", right=True),
    tables.Column("price", _price, right=True, drop=6),
    tables.Column("average", tables.field("average_price"), right=True, drop=5),
    tables.Column("status", _status),
    tables.Column("order id", tables.field("order_id"), drop=7),
)
MESSAGE: Final = tables.Column("message", tables.field("message"), drop=1)


def show_orders(out: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of orders; what the broker or the gate said stands behind, where there is no room below."""
    said = [row for row in rows if row["message"]]
    _, dropped = tables.fitting((*COLUMNS, MESSAGE), rows, out.width)
    tables.show(out, title, COLUMNS if dropped or not said else (*COLUMNS, MESSAGE), rows)
    for row in said if dropped else ():
        out.print(f"{row['order_no']}: {escape(row['message'])}", highlight=False)


def orders(
    every: Annotated[bool, typer.Option("--all", help="Also orders that have ended.")] = False,
    strategy: StrategyOption = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Orders that may still fill; with --all every order of the run.

    Reads the run's journal: with the engine running the current run, otherwise the newest one.

    Exit codes: 0 shown, 1 there is no run.
    """
    with told("orders"), opened(state, account, broker) as picture:
        ledger = book_of(picture)
        rows = by_strategy(order_rows(ledger, every=every), strategy, ledger)
        if as_json:
            return print_json({"run": picture.head(), "orders": rows})
        out = tables.console()
        say_head(out, picture)
        if rows:
            show_orders(out, "All orders of the run" if every else "Working orders", rows)
        else:
            out.print("no order was sent" if every else "no order is working (--all shows those that ended)")
