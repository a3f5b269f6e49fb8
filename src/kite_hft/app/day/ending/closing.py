"""Layer 6, by hand, cold: the day's books of all runs against the broker's, and the files that they leave.

A day may have several runs; one that went on with the day's journals has those before it in its own. Orders
are compared over all of them, positions as the last one has them.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.app.day.ending.books import Books
from kite_hft.brokers.charges import Executed
from kite_hft.engine.history.replacing import replace
from kite_hft.engine.runs.ledger import Ledger, order_row, position_rows, read_ledger
from kite_hft.engine.runs.runs import NoRun, read_note
from kite_hft.layout import OrderType, Product, Side
from kite_hft.trading.instruments import write_csv
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.reconciling import (
    Reconciled,
    compare_charges,
    compare_orders,
    compare_positions,
    overnight,
)

FOLDER: Final = "end_of_day"
PORTFOLIO: Final = (
    "instrument", "product", "strategy", "quantity", "average_price", "last_price", "protected",
    "realised_paise", "unrealised_paise", "charges_paise", "net_paise",
)  # fmt: skip
COPIED: Final = ("metadata.json", "metadata.parquet", "market_cap.csv")
HELD: Final = "HOLDING"
"""As a strategy: shares in the account."""


@dataclass(slots=True)
class Day:
    """All that the engine wrote down about a day. last: the newest run's; runs: all, oldest first."""

    runs: list[Ledger]
    day: dt.date
    warnings: list[str] = field(default_factory=list)

    @property
    def last(self) -> Ledger:
        return self.runs[-1]

    def orders(self) -> list[tuple[Ledger, Order]]:
        """Each order of ours once, in the newest state that any run knows."""
        found: dict[str, tuple[Ledger, Order]] = {}
        for ledger in self.runs:
            for order in ledger.book.orders.values():
                # What the broker made, of a trigger or of a part, bears no tag.
                name = order.tag or order.order_id or f"{ledger.folder} {order.order_no}"
                found[name] = (ledger, order)
        return list(found.values())


def read_day(account: Path, day: dt.date, *, running: bool, mode: str | None = None) -> Day | None:
    """The runs of a day that came to trade; None: there was none.

    mode: leave out runs of another one: what was traded on paper is in no broker's books.
    """
    runs, warnings = [], []
    for folder in sorted((account / day.isoformat()).glob("*/"), key=lambda path: path.name):
        note = read_note(folder / "run.json")
        if not (folder / "journal.bin").exists() or (mode and note is not None and note.mode != mode):
            continue
        try:
            runs.append(read_ledger(folder, running=running))
        except NoRun as error:
            warnings.append(str(error))
    return Day(runs, day, warnings) if runs else None


def executed(day: Day) -> list[tuple[Executed, int]]:
    """Orders of ours that filled, and what each cost by our rates, in paise."""
    found = []
    for ledger, order in day.orders():
        if order.filled and order.order_id and order.slot >= 0 and order.strategy != EXTERNAL:
            row = ledger.instruments[order.slot]
            price = order.filled_units / order.filled / row.scale
            done = Executed(
                order.order_id, row, Side(order.side), Product(order.product), OrderType(order.order_type),
                order.filled, round(price, 4),
            )  # fmt: skip
            found.append((done, ledger.costs.of_order(order.order_no)))
    return found


def reconcile(day: Day, books: Books, costs: Sequence[int]) -> Reconciled:
    """The day against the broker's books; what could not be read is said, and counts as not compared."""
    out = Reconciled(not_compared=list(books.problems))
    if books.orders is not None:
        ours = [
            (order, ledger.instruments[order.slot] if order.slot >= 0 else None)
            for ledger, order in day.orders()
            if order.strategy != EXTERNAL
        ]
        compare_orders(ours, books.orders, out)
    if books.positions is not None:
        last = day.last
        compare_positions(last.book, last.instruments, books.positions, out, last.beside)
    unpriced = [text for ledger in day.runs for text in ledger.warnings if "before charges" in text]
    out.not_compared += unpriced
    if books.charges_paise is not None and not unpriced:
        compare_charges(sum(costs), books.charges_paise, out)
    return out


def export(
    account: Path, day: Day, books: Books | None, metadata: Path, reconciled: Reconciled | None
) -> tuple[Path, list[str]]:
    """portfolio.csv, trades.csv, orders.csv, instruments.csv and reconciliation.json of a day in a folder of
    their own, with copies of the metadata; (the folder, names of the files).

    Raises:
        OSError: a file cannot be written.
    """
    folder = account / FOLDER / day.day.isoformat()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    texts: dict[str, str] = {
        "portfolio.csv": _portfolio(day, books),
        "trades.csv": _joined(day, "trades.csv"),
        "orders.csv": _orders(day),
    }
    if reconciled is not None:
        texts["reconciliation.json"] = json.dumps(asdict(reconciled), indent=2, ensure_ascii=False) + "\n"
    for name, text in texts.items():
        replace(folder / name, _writer(text))
    replace(folder / "instruments.csv", lambda path: write_csv(day.last.instruments, path))
    names = [*texts, "instruments.csv"]
    for name in COPIED:
        if (source := metadata / name).exists():
            replace(folder / name, _copier(source))
            names.append(name)
    return folder, names


def _writer(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, "utf-8")


def _copier(source: Path) -> Callable[[Path], object]:
    return lambda path: shutil.copyfile(source, path)


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _orders(day: Day) -> str:
    """The orders of all runs, oldest first."""
    rows = [order_row(ledger, order) for ledger, order in day.orders()]
    rows.sort(key=lambda row: (row["sent_ns"], row["order_no"]))
    return _csv(list(rows[0]) if rows else ["order_no"], rows)


def _portfolio(day: Day, books: Books | None) -> str:
    """Positions of the last run, those that are flat again too; then the shares in the account."""
    rows = position_rows(day.last, day.last.mark, every=True)
    for held in (books.holdings if books is not None else None) or ():
        rows.append(
            {"instrument": held.key, "product": "CNC", "strategy": HELD, "quantity": held.settled + held.t1}
        )
    return _csv(PORTFOLIO, rows)


def _joined(day: Day, name: str) -> str:
    """The rows of all runs under one head."""
    head, rows = "", []
    for ledger in day.runs:
        try:
            first, *more = (ledger.folder / name).read_text("utf-8").splitlines()
        except (OSError, ValueError):
            continue
        head = head or first
        rows += more
    return "\n".join([head, *rows]) + "\n" if head else ""


def stays(day: Day, books: Books | None) -> list[dict[str, Any]]:
    """Positions that are still open, and what protects them."""
    return overnight(day.last.book, day.last.instruments, books.triggers if books is not None else None)
