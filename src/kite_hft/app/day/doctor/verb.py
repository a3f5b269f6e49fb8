"""Layer 6, by hand, cold: `kite-hft doctor`: is this machine, this account, this day ready to trade?"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kite_hft.app import tables
from kite_hft.app.answering import USAGE, refuse
from kite_hft.app.day.doctor.checks import examine
from kite_hft.app.day.doctor.gathering import gather
from kite_hft.app.day.finding import Finding, as_json, worst
from kite_hft.app.day.opening import Opened, open_day
from kite_hft.app.keys.vault_options import PasswordFdOption
from kite_hft.app.picture import JsonOption, StateOption, print_json, root_of, told
from kite_hft.app.setup.options import USUAL, ConfigOption, EnvironmentOption
from kite_hft.engine.keys.password import hidden_prompt
from kite_hft.engine.keys.private import harden_process
from kite_hft.settings import Settings, SettingsError, read_settings

MARKS: Final = {"ok": "[green]ok  [/green]", "warn": "[bold yellow]warn[/bold yellow]",
                "fail": "[bold red]FAIL[/bold red]"}  # fmt: skip
LAST: Final[Mapping[str, str]] = {
    "ok": "[green]ready[/green]",
    "warn": "[yellow]ready, with warnings[/yellow]",
    "fail": "[bold red]not ready[/bold red]",
}


def doctor(
    config: ConfigOption = USUAL,
    prove_ip: Annotated[
        bool,
        typer.Option(
            "--prove-ip",
            help="Also cancel an order that cannot exist: proves that order calls are taken from here. One "
            "order call of the day.",
        ),
    ] = False,
    test_alerts: Annotated[
        bool, typer.Option("--test-alerts", help="Also send a test through every alert sink.")
    ] = False,
    environment: EnvironmentOption = None,
    password_fd: PasswordFdOption = None,
    state: StateOption = None,
    as_json_: JsonOption = False,
) -> None:
    """Look at everything that a live day needs, and say how to mend what is not right.

    Token, clock, address, instruments, calendar, lists, rules, alerts, memory, disk, cores, limits, file
    modes, versions, builds. Nothing is changed; the broker is only read (but see --prove-ip).

    Exit codes: 0 ok or warnings, 1 something fails, 2 the configuration is wrong.
    """
    with told("doctor"):
        opened = opened_day("doctor", config, environment, state, password_fd, quiet=as_json_)
        facts = gather(opened, prove=prove_ip, test_alerts=test_alerts)
        parts = examine(facts)
        rows = [finding for _, found in parts for finding in found]
        if as_json_:
            print_json(as_json(facts, rows))
        else:
            show(tables.console(), opened.settings, config, parts)
        if worst(rows) == "fail":
            raise typer.Exit(1)


def opened_day(
    verb: str,
    config: Path,
    environment: str | None,
    state: Path | None,
    password_fd: int | None,
    *,
    quiet: bool,
) -> Opened:
    """The day of a configuration; a wrong one is told, and ends with exit code 2."""
    harden_process()  # before any secret
    try:
        loaded = read_settings(config, environment)
    except SettingsError as error:
        raise refuse(verb, f"configuration: {error}", USAGE) from None

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr)

    prompt = None if quiet else hidden_prompt("master password of the vault (not shown): ")
    return open_day(
        loaded,
        config,
        root_of(state),
        time.time_ns(),
        fd=password_fd,
        prompt=prompt,
        environ=os.environ,
        say=say,
    )


def show(out: Console, settings: Settings, config: Path, parts: list[tuple[str, list[Finding]]]) -> None:
    """The screen: a part each, worst words last."""
    out.print(
        f"[b]{settings.broker}-{settings.account}[/b], mode {settings.mode}, {escape(str(config))}",
        highlight=False,
    )
    for part, rows in parts:
        out.print(f"\n[b]{part}[/b]")
        out.print(drawn(rows))
    rows = [finding for _, found in parts for finding in found]
    counts = ", ".join(f"{sum(f.level == level for f in rows)} {level}" for level in ("ok", "warn", "fail"))
    out.print(f"\n{LAST[worst(rows)]} [dim]({counts})[/dim]", highlight=False)


def drawn(rows: list[Finding]) -> Table:
    """Mark, name, words; the fix below them."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        fix = f"\n[cyan]> {escape(row.fix)}[/cyan]" if row.fix else ""
        table.add_row(MARKS[row.level], row.name, escape(row.text) + fix)
    return table
