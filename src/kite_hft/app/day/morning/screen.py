"""Layer 6, by hand, cold: the screen of `kite-hft morning`: a part each, the verdict last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from kite_hft.app.day.account import AccountView, Held, Sale, rupees
from kite_hft.app.day.finding import Finding, day_words
from kite_hft.app.day.morning.comparing import Changes
from kite_hft.app.day.morning.hours import ClassHours
from kite_hft.app.day.morning.left import Left
from kite_hft.app.day.morning.verdict import Morning, Reason, some
from kite_hft.app.day.opening import Opened
from kite_hft.engine.runs.verdicts import GO, NO_GO, REDUCE_ONLY
from kite_hft.sessions import ist_text

SHOWN: Final = 6
COLOURS: Final = {GO: "bold white on green", REDUCE_ONLY: "bold black on yellow", NO_GO: "bold white on red"}
MARKS: Final = {
    "note": "[cyan]note[/cyan]",
    "reduce": "[bold yellow]hold[/bold yellow]",
    "no-go": "[bold red]stop[/bold red]",
}
INDENT: Final = 9
NOTHING: Final = "no account to read before the run: it lives inside the engine"


def show(
    out: Console, opened: Opened, morning: Morning, found: Sequence[Reason], word: str, tokens: Iterable[str]
) -> None:
    """All of it. tokens: a line for each token."""
    settings = opened.settings
    head = f"[b]{settings.broker}-{settings.account}[/b]  mode {settings.mode}  {day_words(opened.day)}"
    out.print(f"{head}  [dim]at {ist_text(opened.now_ns)[11:16]} IST[/dim]", highlight=False)
    _hours(out, morning.hours, own=opened.masters is None and not opened.no_masters)
    for text in tokens:
        part(out, "Token", [text])
    part(out, "Doctor", _doctor(morning.findings))
    part(out, "Changes", _changes(morning.changes))
    _account(out, morning.account)
    part(out, "Left", _left(morning.left))
    out.print()
    for reason in found:
        line(out, f"{MARKS[reason.level]} ", escape(reason.text), 5)
        if reason.fix:
            line(out, "", f"[cyan]> {escape(reason.fix)}[/cyan]", 5)
    out.print(f"\n[{COLOURS[word]}]  {word}  [/{COLOURS[word]}]", highlight=False)


def part(out: Console, name: str, rows: Sequence[str]) -> None:
    """A part: its name, then its lines below one another."""
    for number, text in enumerate(rows):
        head = "" if number else f"[b]{name}[/b]"
        line(out, head + " " * (INDENT - (0 if number else len(name))), text, INDENT)


def line(out: Console, head: str, text: str, indent: int) -> None:
    """Text that hangs behind its head."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=0)
    table.add_column(width=indent, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(head, text)
    out.print(Padding(table, 0))


def _hours(out: Console, hours: Sequence[ClassHours], *, own: bool) -> None:
    if own or not hours:
        words = "the simulator that the run starts is always open" if own else "no instrument is known"
        return part(out, "Hours", [words])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, head in enumerate(("[b]Hours[/b]", "", "trades", "entries to", "flat by", "broker's")):
        table.add_column(head, justify="right" if number == 1 else "left", no_wrap=True)
    for row in hours:
        trades = f"{row.trades_from}-{row.trades_until}" if row.trades else "[yellow]closed[/yellow]"
        name = row.name + ("\n  [yellow]special hours[/yellow]" if row.special else "")
        words = "[red]unknown[/red]" if row.error else trades
        table.add_row(name, f"{row.instruments:,}", words, row.entries_until, row.flat_by, row.square_off)
    out.print(table)
    for row in hours:
        if row.error:
            line(out, "", f"[red]{escape(row.name)}: {escape(row.error)}[/red]", INDENT)


def _doctor(findings: Sequence[Finding]) -> list[str]:
    counts = {level: [f.name for f in findings if f.level == level] for level in ("ok", "warn", "fail")}
    text = f"{len(counts['ok'])} ok"
    if counts["warn"]:
        text += f", [yellow]{len(counts['warn'])} warn[/yellow] ({', '.join(counts['warn'])})"
    if counts["fail"]:
        text += f", [bold red]{len(counts['fail'])} FAIL[/bold red] ({', '.join(counts['fail'])})"
    return [text]


def _changes(changes: Changes) -> list[str]:
    days = sorted({day for day in changes.since.values() if day != "nothing"})
    rows = (
        [f"{len(changes.lines)} since {' and '.join(days)}"] if days else ["no earlier lists to compare with"]
    )
    rows += [escape(str(line)) for line in changes.lines[:SHOWN]]
    if changes.restricted:
        rows.append(f"of ours: {escape(some(changes.restricted))}")
    if changes.expiring:
        rows.append(f"expiry: {escape(some(changes.expiring))}")
    return rows


def _account(out: Console, view: AccountView) -> None:
    if view.error:
        return part(out, "Account", [f"[red]{escape(view.error)}[/red]"])
    if not view.source:
        return part(out, "Account", [escape("; ".join(view.notes) or NOTHING)])
    if view.funds is not None:
        funds = view.funds
        text = f"free ₹{rupees(funds.net_paise)}, cash ₹{rupees(funds.cash_paise)}"
        text += f", used ₹{rupees(funds.used_paise)}"
        if funds.commodity_paise is not None:
            text += f", commodity ₹{rupees(funds.commodity_paise)}"
        part(out, "Funds", [text])
    part(out, "Held", _positions(view.positions))
    if view.working:
        part(out, "Working", [escape(text) for text in view.working[:SHOWN]])
    live = [row for row in view.triggers if row.status.lower() == "active"]
    if live:
        part(out, "GTT", [escape(f"{row.name}: {row.words}") for row in live[:SHOWN]])
    if view.sales is not None:
        part(out, "Shares", _sales(view.sales, ddpi=view.ddpi, btst=view.btst))
    part(out, "Read", [escape("; ".join([f"from {view.source}", *view.notes]))])


def _positions(rows: Sequence[Held]) -> list[str]:
    found = []
    for row in rows[:SHOWN]:
        carried = f" [dim](carried {row.overnight:+d})[/dim]" if row.overnight else ""
        colour = "red" if row.naked_paise else "green"
        found.append(f"{escape(row.name)} [{colour}]{escape(row.covered)}[/{colour}]{carried}")
    if len(rows) > SHOWN:
        found.append(f"... and {len(rows) - SHOWN} more (--json has all)")
    return found or ["no position"]


def _sales(rows: Sequence[Sale], *, ddpi: bool, btst: bool) -> list[str]:
    found = []
    for row in rows[:SHOWN]:
        if row.authorised is None:
            told = "authorised: the broker does not tell, set risk.ddpi if it stands"
        elif ddpi:
            told = "DDPI stands"
        elif row.authorised < row.sellable:
            told = f"[yellow]{row.authorised} authorised: TPIN for the rest[/yellow]"
        else:
            told = "authorised"
        t1 = f", {row.t1} T1{'' if btst else ' (not sold: risk.btst)'}" if row.t1 else ""
        found.append(f"{escape(row.key)} {row.sellable} may be sold{t1}; {told}")
    if len(rows) > SHOWN:
        found.append(f"... and {len(rows) - SHOWN} more (--json has all)")
    return found or ["no holding"]


def _left(left: Left) -> list[str]:
    if not left.run:
        return ["no earlier run on this account"]
    words = "it runs now" if left.running else "ended in order" if left.ended else "did not end in order"
    open_ = f", {len(left.alerts)} open alerts" if left.alerts else ""
    lost = f", [red]{len(left.unknown)} orders of unknown fate[/red]" if left.unknown else ""
    return [f"run {left.run}: {words}{open_}{lost}"]
