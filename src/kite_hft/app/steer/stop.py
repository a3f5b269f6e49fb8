"""Layer 6, by hand, cold: `kite-hft stop`: says what stays open, asks, and waits for the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from kite_hft.app import tables
from kite_hft.app.answering import NOT_READY, JsonOption, print_json, refuse
from kite_hft.app.look.orders import show_orders
from kite_hft.app.look.positions import show_positions
from kite_hft.app.picture import AccountOption, BrokerOption, Picture, StateOption, opened, say_head, told
from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.engine.runs.closing import summary
from kite_hft.engine.runs.ledger import order_rows, position_rows
from kite_hft.engine.runs.runs import NoRun, RunNote

WHAT: Final = {
    "keep": "every order that rests at the broker stays; positions stay open",
    "cancel": "entries that rest are cancelled; stops and exits at the broker stay; positions stay open",
    "flatten": "every order that rests is cancelled and every position is closed at the market",
}
DEFAULT: Final = "cancel"
LOOK_S: Final = 0.1


def policy_of(keep: bool, cancel: bool, flatten: bool) -> str:
    """The policy's name.

    Raises:
        typer.BadParameter: more than one.
    """
    chosen = [n for n, on in (("keep", keep), ("cancel", cancel), ("flatten", flatten)) if on]
    if len(chosen) > 1:
        raise typer.BadParameter(f"--{chosen[0]} and --{chosen[1]} exclude one another")
    return chosen[0] if chosen else DEFAULT


def stop(
    keep: Annotated[bool, typer.Option("--keep", help="Leave every order that rests.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel entries, keep stops and exits (default).")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Cancel all orders, close all positions.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask (for scripts).")] = False,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the end; 0: not.")] = 180.0,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop the engine in order: first what stays open is said, then you are asked.

    Exit codes: 0 ended, 1 no engine or not stopped, 3 it still works on it when the wait is over.
    """
    policy = policy_of(keep, cancel, flatten)
    out = tables.console()
    with told("stop"):
        with opened(state, account, broker) as picture:
            note = picture.account.running
            if note is None:
                raise NoRun(f"no engine is running on {picture.account.title}: there is nothing to stop")
            show_open(out, picture)
        out.print(f"\nstopping means: [b]{WHAT[policy]}[/b]")
        if not yes and not confirmed(out):
            raise NoRun("not stopped")
        tail = Tail(Path(note.folder) / "engine.log")
        ask(Path(note.control), {"do": "stop", "policy": policy}, 10.0)
        out.print(
            "the engine is told to stop; Ctrl-C ends only this command" if wait else "the engine is told"
        )
        if wait and not follow(out, note, tail, wait):
            raise refuse("stop", f"not ended within {wait:g} s; kite-hft status tells more", NOT_READY)
        if as_json:
            print_json(
                {"account": note.title, "policy": policy, "ended": bool(wait), "folder": note.folder,
                 "report": report_of(note) if wait else None}
            )  # fmt: skip


def show_open(out: Console, picture: Picture) -> None:
    """Working orders, positions, and which of them no stop protects."""
    say_head(out, picture)
    ledger = picture.ledger
    if ledger is None:
        out.print("[yellow]orders and positions are not known yet[/yellow]")
        return
    orders = order_rows(ledger, every=False)
    positions = position_rows(ledger, picture.mark, every=False)
    if orders:
        show_orders(out, "Working orders", orders)
    if positions:
        show_positions(out, "Positions, ₹", positions)
    for line in [*words(orders, positions), *map(escape, ledger.external.values())]:
        out.print(line, highlight=False)


def words(orders: Sequence[Mapping[str, Any]], positions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What stays open, in sentences."""
    if not orders and not positions:
        return ["nothing is open: no working order, no position"]
    entries = sum(1 for row in orders if row["opening"])
    bare = [row for row in positions if row["protected"] < abs(row["quantity"])]
    unknown = [row for row in orders if row["status"] == "AMBIGUOUS"]
    exits = many(len(orders) - entries, "exit or stop", "exits and stops")
    held = many(len(positions), "position")
    lines = [f"\nopen now: {many(entries, 'entry', 'entries')} and {exits} working; {held}"]
    if bare:
        names = ", ".join(f"{row['instrument']} {row['quantity']:+d}" for row in bare)
        lines.append(f"[bold yellow]no stop at the broker protects: {escape(names)}[/bold yellow]")
    if unknown:
        names = ", ".join(f"no {row['order_no']} {row['instrument']}" for row in unknown)
        lines.append(f"[bold red]fate unknown, may still fill: {escape(names)}[/bold red]")
    return lines


def many(n: int, one: str, more: str = "") -> str:
    """ "no order", "1 order", "2 orders"."""
    return f"{n or 'no'} {one if n == 1 else more or one + 's'}"


def confirmed(out: Console) -> bool:
    """Ask on the terminal.

    Raises:
        NoRun: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise NoRun("standard input is no terminal, so nobody can be asked; say --yes to stop without asking")
    out.print("Stop the engine? [y/N] ", end="", markup=False, highlight=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class Tail:
    """New messages of a run's log."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, path.stat().st_size if path.exists() else 0

    def lines(self) -> Iterator[str]:
        """What was said since; never waits."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                whole, _, _ = file.read().rpartition(b"\n")
        except OSError:
            return
        self._at += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            try:
                yield str(json.loads(line)["event"])
            except (ValueError, KeyError, TypeError):
                continue


def follow(out: Console, note: RunNote, tail: Tail, wait_s: float) -> bool:
    """Show the engine's last words until it has ended, then its summary; False: it has not yet."""
    deadline = time.monotonic() + wait_s
    while note.alive():
        _say(out, tail)
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    _say(out, tail)
    out.print(summary(report_of(note), note.folder))
    return True


def report_of(note: RunNote) -> dict[str, Any]:
    """What the engine has left.

    Raises:
        ControlError: nothing.
    """
    path = Path(note.folder) / "report.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ControlError(f"the engine has ended without a report ({error}): see kite-hft status") from None
    return found


def _say(out: Console, tail: Tail) -> None:
    for line in tail.lines():
        out.print(f"  {escape(line)}", highlight=False)
