"""Layer 6, by hand, cold: tables that fit the terminal, and numbers as people read them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kite_hft.app.answering import wanted
from kite_hft.engine.runs.live import Terminal
from kite_hft.units import rupees_text

GAP: Final = 2  # cells between columns
WIDE: Final = 400
"""Columns of a console that is no terminal: a pipe has no edge."""
NARROW: Final = 40
"""Columns of the narrowest terminal that is drawn for; one that is narrower wraps the lines itself."""


def console(*, plain: bool = False) -> Console:
    """Standard output, beside it where that is for --json's object. A pipe gets whole lines, a terminal what
    fits; COLUMNS overrides both."""
    found = Terminal(no_color=plain or None, stderr=wanted())
    if not found.is_terminal and not os.environ.get("COLUMNS"):
        found.width = WIDE
    found.width = max(found.width, NARROW)
    return found


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `text`: a row's cell, markup allowed. `drop`: left out in this order (0: never)."""

    head: str
    text: Callable[[Mapping[str, Any]], str]
    right: bool = False
    drop: int = 0


def fitting(
    columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], width: int
) -> tuple[list[Column], list[str]]:
    """(columns that fit into `width` cells, heads of those left out)."""
    wide = {
        c.head: GAP + max([cell_len(c.head), *(cell_len(_bare(c.text(row))) for row in rows)])
        for c in columns
    }
    kept, dropped = list(columns), []
    for column in sorted((c for c in columns if c.drop), key=lambda c: c.drop):
        if sum(wide[c.head] for c in kept) - GAP <= width:
            break
        kept.remove(column)
        dropped.append(column.head)
    return kept, dropped


def _bare(text: str) -> str:
    from rich.text import Text

    return Text.from_markup(text).plain


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], width: int) -> tuple[Table, str]:
    """(the table, a line about columns that did not fit, or "")."""
    kept, dropped = fitting(columns, rows, width)
    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP, 0, 0))
    for column in kept:
        drawn.add_column(
            column.head, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in rows:
        drawn.add_row(*(column.text(row) for column in kept))
    note = f"hidden: {', '.join(dropped)} (wider terminal, or --json)" if dropped else ""
    return drawn, note


def show(out: Console, title: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """A headed table on the console."""
    drawn, note = table(columns, rows, out.width)
    out.print(f"\n[b]{title}[/b]")
    out.print(drawn)
    if note:
        out.print(f"[dim]{note}[/dim]")


def field(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Cell text of a field; empty for None."""
    return lambda row: "" if row[name] is None else escape(str(row[name]))


def count(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Cell text of an integer, zero as a dot: what is not zero stands out."""
    return lambda row: f"{row[name]:,}" if row[name] else "·"


def money(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Cell text of paise in rupees, coloured by sign."""
    return lambda row: "" if row[name] is None else coloured(row[name])


def money_plain(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Cell text of paise in rupees."""
    return lambda row: "" if row[name] is None else rupees(row[name])


def coloured(paise: int, sign: str = "") -> str:
    """Rupees with markup: green above zero, red below."""
    colour = "green" if paise > 0 else "red" if paise < 0 else ""
    text = f"{sign}{rupees(paise)}"
    return f"[{colour}]{text}[/{colour}]" if colour else text


def rupees(paise: int) -> str:
    """123456789 -> "1,234,567.89"."""
    whole, _, rest = rupees_text(abs(paise)).partition(".")
    return f"{'-' if paise < 0 else ''}{int(whole):,}.{rest}"


def seconds(value: float | None) -> str:
    """An age: "0.1 s", "12 s", "3 min", "2 h"; "never" for None."""
    if value is None:
        return "never"
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def age(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Cell text of an age in seconds."""
    return lambda row: seconds(row[name])


def clock_text(total_s: float) -> str:
    """A duration as H:MM:SS."""
    whole = int(total_s)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
