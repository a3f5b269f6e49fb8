"""Layer 6, by hand, cold: what `kite-hft instruments` shows: tables for people, records for programs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kite_hft.app import tables
from kite_hft.engine.plan.day_changes import DayChanges
from kite_hft.engine.runs.live import Terminal
from kite_hft.trading.lists.chains import Chain
from kite_hft.trading.lists.masters import Masters
from kite_hft.trading.lists.universe import Selection

Row = Mapping[str, Any]
SHOWN: Final = 40
"""Rows of a universe on the screen; --json has all."""
LINES: Final = 40


def _number(name: str) -> Callable[[Row], str]:
    return lambda row: "" if row[name] is None else f"{row[name]:,g}"


def _tradable(row: Row) -> str:
    return "[green]yes[/green]" if row["tradable"] else f"[yellow]{escape(row['why_not'])}[/yellow]"


COLUMNS: Final = (
    tables.Column("instrument", tables.field("key")),
    tables.Column("kind", tables.field("kind"), drop=6),
    tables.Column("expiry", tables.field("expiry"), drop=3),
    tables.Column("strike", _number("strike"), right=True, drop=5),
    tables.Column("lot", _number("lot_size"), right=True),
    tables.Column("tick", _number("tick_size"), right=True),
    tables.Column("freeze", _number("freeze_quantity"), right=True, drop=2),
    tables.Column("multiplier", _number("multiplier"), right=True, drop=4),
    tables.Column("token", tables.field("token"), right=True, drop=1),
    tables.Column("Upstox key", tables.field("upstox_key"), drop=7),
    tables.Column("tradable", _tradable),
)


@contextlib.contextmanager
def progress(quiet: bool, steps: int) -> Iterator[Callable[[str, int], None]]:
    """A bar on standard error; yields (what is done now, steps that are done)."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Terminal(stderr=True), disable=quiet, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("instrument lists", total=steps)

        def say(text: str, done: int) -> None:
            bar.update(task, description=text, advance=done)

        yield say


def show_lists(rows: Sequence[Row]) -> None:
    """What is kept of each list."""
    columns = (
        tables.Column("list", tables.field("source")),
        tables.Column("instruments", tables.count("rows"), right=True),
        tables.Column("fetched", tables.field("fetched")),
        tables.Column("SHA-256", lambda row: (row["sha256"] or "")[:12], drop=1),
        tables.Column(
            "state", lambda row: f"[red]{escape(row['problem'])}[/red]" if row["problem"] else "ready"
        ),
    )
    tables.show(
        tables.console(), "Instrument lists", columns, [{**row, "rows": row["rows"] or 0} for row in rows]
    )


def show_found(text: str, rows: Sequence[Row], count: int, masters: Masters) -> None:
    """What a search found."""
    out = tables.console()
    if not rows:
        near = ", ".join(masters.rows.near(text.replace(" ", "").upper()))
        hint = f"; near it: {escape(near)}" if near else ""
        out.print(f"nothing in the lists of {masters.day} contains {escape(text)!r}{hint}", highlight=False)
        return
    tables.show(out, f"Instruments of {masters.day}", COLUMNS, rows)
    if count > len(rows):
        out.print(f"[dim]{count - len(rows):,} more: --limit, or more words[/dim]")


def show_one(row: Row, masters: Masters) -> None:
    """One instrument, a fact a line."""
    out = tables.console()
    out.print(f"[b]{escape(row['key'])}[/b] in the lists of {masters.day}", highlight=False)
    for name, value in row.items():
        if name in ("key", "tradable", "why_not") or value is None:
            continue
        text = f"{value:,g}" if isinstance(value, float) else str(value)
        out.print(f"  {name.replace('_', ' '):16} {escape(text)}", highlight=False)
    out.print(f"  {'tradable':16} {_tradable(row)}", highlight=False)


def chain_record(chain: Chain, masters: Masters, money: float | None) -> dict[str, Any]:
    """A chain for programs."""
    columns = masters.rows
    return {
        "day": str(masters.day), "underlying": chain.underlying, "exchange": chain.exchange,
        "expiry": str(chain.expiry), "at_the_money": money,
        "expiries": [{"date": str(d), "monthly": d in chain.monthly} for d in chain.expiries],
        "futures": [columns.key(row) for row in chain.futures],
        "strikes": list(chain.beside(columns, {})),
    }  # fmt: skip


def show_chain(chain: Chain, masters: Masters, money: float | None) -> None:
    """A chain, a strike a line."""
    columns, out = masters.rows, tables.console()
    rows = [
        {
            "call": "" if pair.call is None else columns.key(pair.call),
            "call_token": "" if pair.call is None else int(columns.token[pair.call]),
            "strike": pair.strike,
            "put": "" if pair.put is None else columns.key(pair.put),
            "put_token": "" if pair.put is None else int(columns.token[pair.put]),
        }
        for pair in chain
    ]

    def strike(row: Row) -> str:
        text = f"{row['strike']:,g}"
        return f"[b green]{text} <[/b green]" if row["strike"] == money else text

    shown = (
        tables.Column("token", tables.field("call_token"), right=True, drop=1),
        tables.Column("call", tables.field("call"), right=True),
        tables.Column("strike", strike, right=True),
        tables.Column("put", tables.field("put")),
        tables.Column("token ", tables.field("put_token"), right=True, drop=2),
    )
    first = next((row for row in chain.rows()), None)
    lot = "" if first is None else f", lot {int(columns.lot_size[first])}"
    tables.show(out, f"{chain.exchange} {chain.underlying}, ends {chain.expiry}{lot}", shown, rows)
    days = ", ".join(f"{day}{' (month)' if day in chain.monthly else ''}" for day in chain.expiries)
    out.print(f"[dim]expiries: {days}[/dim]", highlight=False)
    if chain.futures:
        out.print(
            f"[dim]futures: {', '.join(columns.key(row) for row in chain.futures)}[/dim]", highlight=False
        )


def universe_record(file: Path, masters: Masters, rows: Sequence[Row], picked: Selection) -> dict[str, Any]:
    """What a universe picks, for programs."""
    left = [
        {"why": out.why, "count": out.count, "examples": list(out.examples), "named": out.named}
        for out in picked.left_out
    ]
    return {
        "day": str(masters.day),
        "universe": str(file),
        "count": len(rows),
        "instruments": list(rows),
        "left_out": left,
    }


def show_universe(file: Path, masters: Masters, rows: Sequence[Row], picked: Selection) -> None:
    """What a universe picks, and what it leaves out."""
    out = tables.console()
    tables.show(out, f"{file.name}: {len(rows):,} instruments on {masters.day}", COLUMNS, rows[:SHOWN])
    if len(rows) > SHOWN:
        out.print(f"[dim]{len(rows) - SHOWN:,} more: --json shows all[/dim]")
    if picked.left_out:
        out.print("\n[b]Left out[/b]")
    for reason in picked.left_out:
        colour = "yellow" if reason.named else "dim"
        out.print(f"[{colour}]{reason.count:>8,}  {escape(str(reason))}[/{colour}]", highlight=False)


def changes_record(found: DayChanges, odd: str) -> dict[str, Any]:
    """What changed, for programs."""
    return {
        "day": str(found.day), "since": found.since, "odd_quantity": odd or None,
        "changes": [change.record() for change in found.changes], "notes": found.notes,
    }  # fmt: skip


def show_changes(found: DayChanges, odd: str, *, every: bool) -> None:
    """What changed since yesterday, the dangerous first."""
    out = tables.console()
    if odd:
        out.print(f"[red]{escape(odd)}[/red]", highlight=False)
    whose = "all instruments" if every else "what the configuration trades"
    out.print(f"[b]Changes on {found.day}[/b], {whose}", highlight=False)
    for change in found.changes[:LINES]:
        colour = "yellow" if change.what in ("lot", "multiplier", "gone", "on", "missing") else "default"
        out.print(f"  [{colour}]{escape(str(change))}[/{colour}]", highlight=False)
    if len(found.changes) > LINES:
        out.print(f"[dim]  {len(found.changes) - LINES:,} more: --json shows all[/dim]")
    if not found.changes:
        out.print("  none")
    compared = ", ".join(f"{name}: {day}" for name, day in found.since.items())
    out.print(f"[dim]compared with {compared or 'nothing'}[/dim]", highlight=False)
    for note in found.notes:
        out.print(f"[yellow]![/yellow] {escape(note)}", highlight=False)
