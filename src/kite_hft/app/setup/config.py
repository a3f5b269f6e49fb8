"""Layer 6, by hand, cold: `kite-hft config check | show | schema | init`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from kite_hft.app.answering import NOT_SO, USAGE, JsonOption, exit_with, print_json, refuse
from kite_hft.app.completing import brokers, modes
from kite_hft.app.setup.options import USUAL, EnvironmentOption
from kite_hft.app.tables import console
from kite_hft.clock import SystemClock
from kite_hft.settings import Loaded, Settings, SettingsError, read_settings

ConfigArgument = Annotated[
    Path,
    typer.Argument(envvar="KITE_CONFIG_PATH", help="Configuration file (YAML).", show_default=True),
]

FileOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The same file, named as other verbs take it.", show_default=False),
]

config = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Write, check and show the configuration. Later sources count: default, profile, file, "
    "file of the environment, variables KITE_*.",
)


def refused(text: str, as_json: bool, **more: Any) -> typer.Exit:
    """What is wrong, on standard error (as JSON on standard output), and the exit code for it."""
    print(f"configuration: {text}", file=sys.stderr)
    return exit_with(text, USAGE, errors=text.splitlines(), **more)


def loaded_or_exit(path: Path, environment: str | None, as_json: bool) -> Loaded:
    try:
        return read_settings(path, environment)
    except SettingsError as error:
        raise refused(str(error), as_json, file=str(path)) from None


@config.command()
def check(
    path: ConfigArgument = USUAL,
    file: FileOption = None,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a configuration and at all that it names, without starting anything.

    Reads rules, calendar, charges, lists and strategies, too; says which keys do nothing here, and which
    secrets lie open. Nothing is called.

    Exit codes: 0 the engine would start with it, 2 it would not.
    """
    from kite_hft.app.setup.checking import check_all  # loads strategies and brokers

    path = file or path
    loaded = loaded_or_exit(path, environment, as_json)
    found = check_all(loaded, SystemClock().real_ns(), os.environ)
    settings = loaded.settings
    if as_json:
        shown = {
            "ok": not found.errors,
            "file": str(path),
            "environment": loaded.environment,
            "mode": settings.mode,
            "broker": settings.broker,
            "account": settings.account,
            "errors": found.errors,
            "warnings": found.warnings,
            "notes": found.notes,
            "files": found.files,
        }
        print_json(shown)
    else:
        out = console()
        rows = [
            ("red", "wrong", found.errors),
            ("yellow", "look", found.warnings),
            ("dim", "note", found.notes),
        ]
        for colour, word, lines in rows:
            for line in lines:
                out.print(f"[{colour}]{word:<6}[/{colour}] {escape(line)}", highlight=False, soft_wrap=True)
        for name, place in found.files.items():
            out.print(f"[dim]read   {escape(name)}: {escape(place)}[/dim]", highlight=False, soft_wrap=True)
        whole = f"mode {settings.mode}, broker {settings.broker}, account {settings.account}"
        verdict = "the engine would not start" if found.errors else "the engine would start with it"
        out.print(f"{escape(str(path))}: {whole}: {verdict}", highlight=False, soft_wrap=True)
    raise typer.Exit(USAGE if found.errors else 0)


@config.command()
def show(
    path: ConfigArgument = USUAL,
    file: FileOption = None,
    environment: EnvironmentOption = None,
    section: Annotated[
        str | None, typer.Option("--section", help="Only keys that begin so, for example risk.")
    ] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what is as by default.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every key with its value in force and where it is from: FILE:LINE, a variable, a profile, default.

    Secrets are not shown, only whether they are set.

    Exit codes: 0 shown, 2 the configuration cannot be used.
    """
    from kite_hft.configuring.showing import shown

    path = file or path
    loaded = loaded_or_exit(path, environment, as_json)
    rows = [
        row
        for row in shown(loaded.settings, loaded.given)
        if row.key.startswith(section or "") and not (changed and row.source in ("default", "by broker"))
    ]
    if section and not rows and not changed:
        raise typer.BadParameter(f"no key begins with {section!r}", param_hint="--section")
    if as_json:
        keys = {row.key: {"value": row.value, "source": row.source} for row in rows}
        print_json({"file": str(path), "keys": keys})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("key", "value", "from"):
        table.add_column(head, overflow="fold")
    for row in rows:
        value = row.value if isinstance(row.value, str) else json.dumps(row.value, ensure_ascii=False)
        style = "dim" if row.source == "default" else ""
        table.add_row(row.key, escape(value), escape(row.source), style=style)
    console().print(table)


@config.command()
def schema(
    table: Annotated[bool, typer.Option("--table", help="The keys as Markdown instead.")] = False,
    into: Annotated[
        Path | None, typer.Option("--into", help="Put the Markdown table into this page, at its marks.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the JSON schema of the configuration file, for editors that check while you type.

    In VS Code: `kite-hft config schema > kite_hft.schema.json`, and in settings.json under yaml.schemas
    {"./kite_hft.schema.json": "config/*.yaml"}.

    Exit codes: 0 printed, 1 the page has no place for a table.
    """
    from kite_hft.app.setup import key_table

    if into is not None:
        try:
            if into.exists() and not into.is_file():
                raise ValueError("no file")
            key_table.write_into(into)
        except (OSError, ValueError) as error:
            raise refuse("config schema", f"{into}: {error}", NOT_SO) from None
        if as_json:
            print_json({"ok": True, "file": str(into)})
    elif table and not as_json:
        print(key_table.markdown(), end="")
    else:
        print_json(key_table.schema())


@config.command()
def init(
    path: ConfigArgument = USUAL,
    broker: Annotated[str | None, typer.Option(help="kite or upstox.", autocompletion=brokers)] = None,
    mode: Annotated[str | None, typer.Option(help="sim, paper or live.", autocompletion=modes)] = None,
    account: Annotated[
        str | None, typer.Option(help="Your name for the account: letters, digits, _.")
    ] = None,
    max_daily_loss: Annotated[
        float | None, typer.Option("--max-daily-loss", min=1, help="Rupees that a day may cost.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a commented configuration for a broker and a mode. Asks for what the options leave out.

    The file is readable by you alone; one that exists is never replaced.

    Exit codes: 0 written, 1 there is such a file, 2 an option is missing or wrong.
    """
    from kite_hft.app.setup.starting import Refused, chosen, write_new

    try:
        wish = chosen(broker, mode, account, max_daily_loss, ask=sys.stdin is not None and sys.stdin.isatty())
        text = write_new(path, wish)
    except Refused as error:
        print(f"kite-hft config init: {error}", file=sys.stderr)
        raise exit_with(str(error), error.code, errors=[str(error)], file=str(path)) from None
    settings: Settings = read_settings(path, environ={}).settings
    if as_json:
        print_json({"ok": True, "file": str(path), "mode": settings.mode, "next": text})
        return
    print(f"{path}: written for mode {settings.mode} with {settings.broker}")
    for line in text:
        print(f"  {line}")
