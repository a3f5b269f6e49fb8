"""Layer 6, by hand, cold: `kite-hft alerts`: what nobody has acknowledged yet; acknowledging; a test."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from kite_hft.app.answering import USAGE, refuse, say
from kite_hft.app.picture import (
    AccountOption,
    BrokerOption,
    JsonOption,
    StateOption,
    print_json,
    running_note,
    selected,
    told,
)
from kite_hft.app.tables import console
from kite_hft.engine.alerts.files import TwoMeant, acknowledge_file, open_alerts, read_alerts
from kite_hft.engine.processes.control import ask
from kite_hft.engine.runs.runs import NoRun, newest_folder

TEST_S: Final = 20.0
WAITING: Final = "waiting"
Which = dict[str, Any]
"""Which alerts are meant: number, code, key."""
_COLOURS: Final = {"CRITICAL": "bold red", "WARNING": "yellow", "INFO": "cyan"}


def show_alerts(out: Console, rows: Sequence[Mapping[str, Any]], total: int) -> None:
    """Alerts, one each: number, time, severity, code, text; what to do below it."""
    if not total:
        out.print("\nno open alert")
        return
    out.print(f"\n[b]Open alerts: {total}[/b] [dim](kite-hft alerts --ack NUMBER, CODE or all)[/dim]")
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


def _which(words: Sequence[str]) -> Which:
    """From the words behind --ack to what is meant: NUMBER, CODE, CODE KEY or all."""
    first, *rest = words
    if first.isdecimal() and not rest:
        return {"number": int(first), "code": "", "key": None}
    if first == "all" and not rest:
        return {"number": None, "code": "", "key": None}
    if first.isupper():
        return {"number": None, "code": first, "key": " ".join(rest) if rest else None}
    raise typer.BadParameter(f"{' '.join(words)!r} is no NUMBER, no CODE [KEY] and not all")


def alerts(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NUMBER | CODE [KEY] | all]", help="With --ack: which alerts."),
    ] = None,
    ack: Annotated[
        bool, typer.Option("--ack", help="Seen: no more reminders until it grows worse, or comes back.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Also alerts that are over or acknowledged.")] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Send a test through every sink, and say what came of it.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="With --test: the sinks of this file, without an engine.")
    ] = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Alerts of the run that wait for somebody, worst first.

    kite-hft alerts --ack FEED_DEAD feed-0 (or a number, or all) acknowledges: what has been seen is
    quiet until it grows worse or ends. kite-hft alerts --test proves the way to you. All alerts, with their
    history, stand in alerts.jsonl of the run folder.

    Exit codes: 0 shown, acknowledged, or delivered by every way, 1 there is none, or a way failed, 2
    command line or configuration.
    """
    if words and not ack:
        raise typer.BadParameter(f"what is to be done with {' '.join(words)}? --ack acknowledges")
    if ack and not words:
        raise typer.BadParameter("--ack needs a NUMBER, a CODE [KEY], or all")
    with told("alerts"):
        if test:
            return _test(config, state, account, broker, as_json=as_json)
        chosen = selected(state, account, broker)
        folder, _ = newest_folder(chosen)
        if ack and words:
            control = Path(chosen.running.control) if chosen.running else None
            if not (seen := _acknowledge(folder, control, _which(words))):
                raise NoRun(f"no open alert {' '.join(words)}" if words != ["all"] else "no alert is open")
            say(f"acknowledged: {seen} alert{'' if seen == 1 else 's'}")
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


def _acknowledge(folder: Path, control: Path | None, which: Which) -> int:
    """By the engine while it runs (it must stop reminding), otherwise in the file."""
    if control is None:
        try:
            return acknowledge_file(folder, which["number"], time.time_ns(), which["code"], which["key"])
        except TwoMeant as error:
            raise NoRun(str(error)) from None
    by = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
    return int(ask(control, {"do": "acknowledge", "by": by, **which})["acknowledged"])


def _test(
    config: Path | None, state: Path | None, account: str | None, broker: str | None, *, as_json: bool
) -> None:
    """A test through every sink: of the running engine, or of a configuration file."""
    if config is not None:
        from kite_hft.engine.alerts.sinks.trials import try_sinks  # status shows alerts, and needs none of it
        from kite_hft.settings import SettingsError, load_settings

        try:
            settings = load_settings(config)
        except SettingsError as error:
            raise refuse("alerts", f"configuration: {error}", USAGE) from None
        found = try_sinks(settings)
    else:
        control = Path(running_note(state, account, broker).control)
        number = ask(control, {"do": "test_alert"})["number"]
        deadline = time.monotonic() + TEST_S
        while WAITING in (found := ask(control, {"do": "test_alert", "number": number})["sinks"]).values():
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    if as_json:
        print_json({"sinks": found})
    else:
        out = console()
        for name, failure in found.items():
            words = (
                f"[bold red]failed[/bold red]: {escape(failure)}" if failure else "[green]delivered[/green]"
            )
            out.print(f"{name}: {words}", highlight=False)
        if not found:
            out.print(
                "no sink is configured: alerts.hook, alerts.webhook, alerts.telegram_*, alerts.journald"
            )
    if not found or any(found.values()):
        raise typer.Exit(1)
