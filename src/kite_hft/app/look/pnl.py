"""Layer 6, by hand, cold: `kite-hft pnl`: profit and loss after charges, by strategy and product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
from kite_hft.engine.runs.ledger import pnl as pnl_of

_MONEY: Final = (
    tables.Column("realised", tables.money("realised"), right=True),
    tables.Column("unrealised", tables.money("unrealised"), right=True),
    tables.Column("gross", tables.money("gross"), right=True),
    tables.Column("charges", tables.money_plain("charges"), right=True),
    tables.Column("net", tables.money("net"), right=True),
)


def _rows(parts: Mapping[str, Mapping[str, int]], total: Mapping[str, int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"name": name, **part} for name, part in parts.items()]
    return [*rows, {"name": "all", **total}]


def pnl(
    strategy: StrategyOption = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Profit and loss of the run in rupees: realised, unrealised, gross, charges, net.

    By strategy and by product. Charges come from the dated rates in the run's folder. With the
    engine running open positions are valued at live prices, otherwise at the last known ones.

    Exit codes: 0 shown, 1 there is no run.
    """
    with told("pnl"), opened(state, account, broker) as picture:
        ledger = book_of(picture)
        by_strategy([], strategy, ledger)  # refuses an unknown name
        found = pnl_of(ledger, picture.mark, strategy)
        if as_json:
            return print_json({"run": picture.head(), "pnl_paise": found["total"]} | found)
        out = tables.console()
        say_head(out, picture)
        for title, part in (("By strategy, ₹", "by_strategy"), ("By product, ₹", "by_product")):
            name = tables.Column(part.removeprefix("by_"), tables.field("name"))
            tables.show(out, title, (name, *_MONEY), _rows(found[part], found["total"]))
