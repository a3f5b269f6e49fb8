"""Layer 6, by hand, cold: `kite-hft alerts`: what nobody has acknowledged yet, and acknowledging it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from kite_hft.app.picture import (
    AccountOption,
    BrokerOption,
    JsonOption,
    StateOption,
    print_json,
    selected,
    told,
)
from kite_hft.app.tables import console
from kite_hft.engine.alerting import acknowledge_file, open_alerts, read_alerts
from kite_hft.engine.control import ask
from kite_hft.engine.runs import NoRun, newest_folder

_COLOURS: Final = {"CRITICAL": "bold red", "WARNING": "yellow", "INFO": "cyan"}


def show_alerts(out: Console, rows: Sequence[Mapping[str, Any]], total: int) -> None:
    """Alerts, one each: number, time, severity, code, text; what to do below it."""
    if not total:
        out.print("\nno open alert")
        return
    out.print(f"\n[b]Open alerts: {total}[/b] [dim](kite-hft alerts --ack NUMBER, or --ack all)[/dim]")
    for row in rows:
        colour = _COLOURS.get(row["severity"], "default")
        key = f" {row['key']}" if row["key"] else ""
        out.print(
            f"  {row['number']:>3}  {row['time'][11:]}  [{colour}]{row['severity']}[/{colour}] "
            f"[b]{row['code']}[/b]{escape(key)}: {escape(row['text'])}",
            highlight=False,
        )
        if row.get("advice"):
            out.print(f"       [dim]{escape(row['advice'])}[/dim]", highlight=False)
    if total > len(rows):
        out.print(f"  ... and {total - len(rows)} more: kite-hft alerts")


def _number(text: str) -> int | None:
    if text == "all":
        return None
    if text.isdecimal():
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a number of an alert nor all")


def alerts(
    ack: Annotated[
        str | None, typer.Option("--ack", metavar="NUMBER|all", help="Seen: no more reminders of it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also alerts that are over or acknowledged.")] = False,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Alerts of the run that wait for somebody, worst first; --ack acknowledges.

    All of them, with their history, stand in alerts.jsonl of the run folder.
    """
    number = _number(ack) if ack is not None else None
    with told("alerts"):
        chosen = selected(state, account, broker)
        folder, _ = newest_folder(chosen)
        if ack is not None:
            control = Path(chosen.running.control) if chosen.running else None
            if not _acknowledge(folder, control, number):
                raise NoRun(f"no open alert {ack}" if number is not None else "no alert is open")
        rows = read_alerts(folder)
        shown = rows if every else open_alerts(rows)
        if as_json:
            return print_json({"folder": str(folder), "alerts": [dict(row) for row in shown]})
        out = console()
        if not every:
            return show_alerts(out, shown, len(shown))
        for row in shown:
            name = f"{row['severity']} {row['code']} {row['key']}".strip()
            line = f"{row['number']:>3}  {row['time']}  {row['state']:<12}  {name}: {row['text']}"
            out.print(escape(line), highlight=False)
        if not shown:
            out.print("no alert was raised")


def _acknowledge(folder: Path, control: Path | None, number: int | None) -> int:
    """By the engine while it runs (it must stop reminding), otherwise in the file."""
    if control is None:
        return acknowledge_file(folder, number, time.time_ns())
    return int(ask(control, {"do": "acknowledge", "number": number})["acknowledged"])
