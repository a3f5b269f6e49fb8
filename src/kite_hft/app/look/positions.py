"""Layer 6, by hand, cold: `kite-hft positions`: what is held, and what it earned and cost."""

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
from kite_hft.engine.runs.ledger import pnl, position_rows


def _protected(row: Mapping[str, Any]) -> str:
    held = abs(row["quantity"])
    if not held:
        return ""
    if row["protected"] >= held:
        return "[green]yes[/green]"
    return f"[yellow]{row['protected']} of {held}[/yellow]" if row["protected"] else "[yellow]no[/yellow]"


COLUMNS: Final = (
    tables.Column("instrument", tables.field("instrument")),
    tables.Column("strategy", tables.field("strategy"), drop=1),
    tables.Column("product", tables.field("product"), drop=4),
    tables.Column("quantity", lambda row: f"{row['quantity']:+,}" if row["quantity"] else "flat", right=True),
    tables.Column("average", tables.field("average_price"), right=True, drop=5),
    tables.Column("last", tables.field("last_price"), right=True),
    tables.Column("stop", _protected, drop=6),
    tables.Column("realised", tables.money("realised_paise"), right=True, drop=2),
    tables.Column("gross", tables.money("gross_paise"), right=True),
    tables.Column("charges", tables.money_plain("charges_paise"), right=True, drop=3),
    tables.Column("net", tables.money("net_paise"), right=True),
)


def show_positions(out: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of positions, money in rupees."""
    tables.show(out, title, COLUMNS, rows)


def total_line(total: Mapping[str, int]) -> str:
    """Gross, charges, net in one line."""
    parts = (
        f"[b]gross[/b] ₹{tables.rupees(total['gross'])}",
        f"charges ₹{tables.rupees(total['charges'])}",
        f"[b]net[/b] {tables.coloured(total['net'], '₹')}",
        f"(realised ₹{tables.rupees(total['realised'])}, unrealised ₹{tables.rupees(total['unrealised'])})",
    )
    return "  ".join(parts[:3]) + f"\n{parts[3]}"


def positions(
    every: Annotated[bool, typer.Option("--all", help="Also positions that are flat again.")] = False,
    strategy: StrategyOption = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open positions with gross, charges and net; `stop` says whether a stop at the broker protects them.

    With the engine running prices are live, otherwise the last ones that the run wrote down.

    Exit codes: 0 shown, 1 there is no run.
    """
    with told("positions"), opened(state, account, broker) as picture:
        ledger = book_of(picture)
        rows = by_strategy(position_rows(ledger, picture.mark, every=every), strategy, ledger)
        total = pnl(ledger, picture.mark, strategy)["total"]
        if as_json:
            external = list(ledger.external.values())
            return print_json(
                {"run": picture.head(), "positions": rows, "external": external, "pnl_paise": total}
            )
        out = tables.console()
        say_head(out, picture)
        if rows:
            show_positions(out, "Positions, ₹", rows)
        else:
            out.print("nothing was traded" if every else "flat (--all shows what was traded)")
        for line in ledger.external.values():
            out.print(f"[yellow]![/yellow] {escape(line)}", highlight=False)
        out.print(f"\n{total_line(total)}", highlight=False)
