"""Layer 6, by hand, cold: what the looking verbs share: their options, and one run to look at."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from kite_hft.app.answering import INTERRUPTED, NOT_SO, JsonOption, exit_with, print_json, refuse
from kite_hft.app.choosing import (
    AccountOption,
    BrokerOption,
    StateOption,
    account_folder,
    root_of,
    selected,
)
from kite_hft.app.completing import strategies
from kite_hft.app.output import Unwritten
from kite_hft.engine.processes.control import ControlError
from kite_hft.engine.runs.ledger import Ledger, read_ledger
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.runs import Account, NoRun, RunNote, newest_folder, read_note
from kite_hft.memory.segment import SegmentError
from kite_hft.plain import words_of
from kite_hft.sessions import ist_text

__all__ = [
    "AccountOption", "BrokerOption", "JsonOption", "StateOption", "account_folder", "print_json", "root_of",
    "selected",
]  # fmt: skip

StrategyOption = Annotated[
    str | None, typer.Option("--strategy", help="Only this strategy.", autocompletion=strategies)
]


def running_note(state: Path | None, account: str | None, broker: str | None) -> RunNote:
    """The engine that the options mean; it must run.

    Raises:
        NoRun: none, or several.
    """
    note = selected(state, account, broker, must_run=True).running
    if note is None:
        raise NoRun("the engine has just ended")
    return note


@dataclass(slots=True)
class Picture:
    """One run: its journal, and its memory while it runs. look is None with the engine down."""

    account: Account
    folder: Path
    note: RunNote | None
    look: Look | None
    ledger: Ledger | None
    warnings: list[str] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.account.running is not None

    def mark(self, slot: int) -> int:
        """Last price of a slot in its unit; 0: not known."""
        px = self.look.mark(slot) if self.look is not None else 0
        return px or (self.ledger.mark(slot) if self.ledger is not None else 0)

    def head(self) -> dict[str, Any]:
        """The `run` part of every JSON answer."""
        now_ns = time.time_ns()
        as_of_ns = now_ns if self.running else self.ledger.as_of_ns if self.ledger else 0
        started_ns = self.note.started_real_ns if self.note else 0
        return {
            "broker": self.account.broker,
            "account": self.account.name,
            "mode": self.note.mode if self.note else None,
            "run": self.folder.name,
            "date": self.folder.parent.name,
            "folder": str(self.folder),
            "running": self.running,
            "pid": self.account.running.pid if self.account.running else None,
            "as_of": ist_text(as_of_ns) if as_of_ns else None,
            "as_of_ns": as_of_ns,
            "uptime_s": round((now_ns - started_ns) / 1e9, 1) if self.running and started_ns else None,
            "ended_in_order": None if self.running or not self.ledger else self.ledger.ended,
            "warnings": list(self.warnings),
        }

    def headline(self) -> str:
        """The first line of every verb."""
        head = self.head()
        name = f"[b]{self.account.title}[/b]"
        if self.running:
            mode = f" ({head['mode']})" if head["mode"] else ""
            return f"{name}{mode}: engine runs, process {head['pid']}, run {head['run']}"
        as_of = f"as of {head['as_of'].partition(' ')[2]} IST" if head["as_of"] else "nothing is known"
        run = f"run {head['date']}/{head['run']}"
        return f"{name}: [yellow]engine is not running[/yellow]; {as_of} from {run}"


def open_picture(state: Path | None, account: str | None, broker: str | None) -> Picture:
    """The run that the options mean, opened read-only.

    Raises:
        NoRun: there is none, or the newest one has nothing to read.
    """
    chosen = selected(state, account, broker)
    folder, skipped = newest_folder(chosen)
    note = chosen.running or read_note(folder / "run.json")
    picture = Picture(chosen, folder, note, None, None)
    if chosen.running is not None:
        try:
            picture.look = Look.open(chosen.running)
        except (SegmentError, OSError) as error:
            picture.warnings.append(f"the engine's memory cannot be read: {error}")
    elif chosen.starting_pid:
        picture.warnings.append(f"an engine is starting on this account (process {chosen.starting_pid})")
    if skipped:
        picture.warnings.append(f"run {skipped} ended before it could trade: see engine.log there")
    try:
        picture.ledger = read_ledger(folder, running=picture.running)
    except NoRun as error:
        if picture.look is None and chosen.starting_pid:
            raise NoRun(
                f"the engine on {chosen.title} is still starting (process {chosen.starting_pid})"
            ) from None
        if picture.look is None:
            raise
        picture.warnings.append(f"orders and positions are not known yet: {error}")
    if picture.ledger is not None:
        picture.warnings += picture.ledger.warnings
        if not picture.running and not picture.ledger.ended:
            picture.warnings.append(
                "the run did not end in order: orders may still work at the broker, and what was under way "
                "is AMBIGUOUS; start the engine to reconcile, or look at the broker's order book"
            )
    return picture


@contextlib.contextmanager
def opened(state: Path | None, account: str | None, broker: str | None) -> Iterator[Picture]:
    """`open_picture`, and its memory given back at the end."""
    picture = open_picture(state, account, broker)
    try:
        yield picture
    finally:
        if picture.look is not None:
            picture.look.close()


def book_of(picture: Picture) -> Ledger:
    """The replayed journal of a picture.

    Raises:
        NoRun: there is none yet.
    """
    if picture.ledger is None:
        raise NoRun("; ".join(picture.warnings) or "the run has no journal yet")
    return picture.ledger


@contextlib.contextmanager
def told(verb: str) -> Iterator[None]:
    """What goes wrong is one line on standard error and exit code 1, never a traceback."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
    except Unwritten:
        raise
    except (NoRun, ControlError, SegmentError, OSError) as error:
        raise refuse(verb, words_of(error), NOT_SO) from None
    except KeyboardInterrupt:
        raise exit_with("broken off", INTERRUPTED) from None


def say_head(out: Console, picture: Picture) -> None:
    """The first lines of every verb: whose run, as of when, and why this may not be all."""
    out.print(picture.headline(), highlight=False)
    for warning in picture.warnings:
        out.print(f"[yellow]![/yellow] {escape(warning)}", highlight=False)


def by_strategy(rows: list[dict[str, Any]], strategy: str | None, ledger: Ledger) -> list[dict[str, Any]]:
    """Rows of one strategy, or all.

    Raises:
        NoRun: the run has none of that name; the message names what there is.
    """
    known = sorted({*ledger.names.values(), *(str(row["strategy"]) for row in rows)})
    if strategy is not None and strategy not in known:
        raise NoRun(f"no strategy {strategy!r} in this run; there is {', '.join(known) or 'none'}")
    return [row for row in rows if strategy in (None, row["strategy"])]
