"""Layer 6, by hand, cold: `kite-hft metadata`: daily history, its weeks, months and averages, as files."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kite_hft.app import tables
from kite_hft.app.answering import print_json, refuse
from kite_hft.app.completing import brokers
from kite_hft.app.keys.vault_options import PasswordFdOption
from kite_hft.app.setup.options import USUAL, ConfigOption, EnvironmentOption
from kite_hft.engine.runs.live import Terminal

if TYPE_CHECKING:
    from kite_hft.engine.history.pacing import Pacing

SHOWN: Final = 5
"""Rows that are said; of the others how many."""

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="Where all of it lies (default: metadata/BROKER in the state directory)."),
]
CapsOption = Annotated[
    str | None,
    typer.Option(
        "--caps",
        metavar="SOURCE",
        help="CSV or JSON with market caps, a file or an https address; then remembered in market_cap.csv.",
    ),
]


class Refused(Exception):
    """What the command line asks for cannot be had; code: the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def metadata(
    config: ConfigOption = USUAL,
    broker: Annotated[
        str | None,
        typer.Option(help="kite or upstox (default: where prices come from).", autocompletion=brokers),
    ] = None,
    instrument: Annotated[
        list[str] | None, typer.Option("--instrument", "-i", help="NSE:SBIN; may be given several times.")
    ] = None,
    universe: Annotated[
        Path | None, typer.Option(help="File of a universe, as datafeed.universe names one.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="First day, YYYY-MM-DD.", show_default="2000-01-03, or as it was gathered before"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Make the files as of the evening of this day (for a replayed day).")
    ] = None,
    folder: FolderOption = None,
    caps: CapsOption = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch what is known already, too.")] = False,
    environment: EnvironmentOption = None,
    password_fd: PasswordFdOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Gather daily bars of many years, and make metadata.parquet and metadata.json of them.

    The first time takes a while: brokers let few historical calls through (Kite 3 a second, and 2,000 days a
    call). What is done is kept: after Ctrl-C, or tomorrow, the same command goes on where it was.
    Instruments: those of the configuration, unless --instrument or --universe name others.

    Exit codes: 0 all of it, 1 something is missing (said which), 2 wrong command line or configuration, 3 no
    session, or the broker gave no more, 130 interrupted.
    """
    with telling("metadata"):
        if instrument and universe:
            raise Refused("--instrument and --universe both say which instruments: keep one", 2)
        which = instrument or universe
        chosen = chosen_settings(config, environment, broker, which, password_fd)
        days = day_of(since, "--since"), day_of(until, "--until")
        told = gather(chosen, folder, days, caps, again=again, quiet=as_json)
        if as_json:
            print_json(told)
        raise typer.Exit(told["code"])


def explained(error: BaseException) -> tuple[str, int] | None:
    """(what to say, exit code) of what a person can mend; None: it is a fault of ours."""
    from kite_hft.engine.history.client import HistoryStopped
    from kite_hft.engine.history.job import FolderTaken
    from kite_hft.engine.keys.contents import VaultError
    from kite_hft.engine.plan.master_cache import MasterError
    from kite_hft.engine.plan.session import SessionError
    from kite_hft.engine.plan.simulator import SimulatorFailed
    from kite_hft.sessions import CalendarError
    from kite_hft.settings import SettingsError
    from kite_hft.trading.instruments import InstrumentError
    from kite_hft.trading.lists.market_caps import MarketCapError

    codes: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
        ((SettingsError, CalendarError), 2),
        ((SessionError, SimulatorFailed, VaultError, HistoryStopped, MasterError), 3),
        ((FolderTaken, InstrumentError, MarketCapError, OSError), 1),
    )
    if isinstance(error, Refused):
        return str(error), error.code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; what is done is kept: the same command goes on", 130
    code = next((code for kinds, code in codes if isinstance(error, kinds)), None)
    return None if code is None else (str(error), code)


@contextlib.contextmanager
def telling(verb: str) -> Iterator[None]:
    """What goes wrong is one line on standard error and an exit code, never a traceback."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        found = None if isinstance(error, typer.Exit) else explained(error)
        if found is None:
            raise
        raise refuse(verb, *found) from None


def day_of(text: str | None, option: str) -> dt.date | None:
    """Raises Refused: no date."""
    try:
        return None if text is None else dt.date.fromisoformat(text)
    except ValueError:
        raise Refused(f"{option} {text!r} is no date; it is written YYYY-MM-DD", 2) from None


def chosen_settings(
    config: Path,
    environment: str | None,
    broker: str | None,
    which: list[str] | Path | None,
    password_fd: int | None,
) -> Any:
    """The configuration, for one broker, with its keys. Raises what `telling` tells of."""
    from kite_hft.engine.command import keys_of
    from kite_hft.engine.history.reaching import history_settings
    from kite_hft.settings import load_settings

    settings = history_settings(load_settings(config, environment), broker, which)
    return keys_of(settings, password_fd)


def gather(
    settings: Any,
    folder: Path | None,
    days: tuple[dt.date | None, dt.date | None],
    caps: str | None,
    *,
    again: bool = False,
    quiet: bool = False,
    pacing: Pacing | None = None,
) -> dict[str, Any]:
    """Run the job, say how it went, and return it as `--json` shows it. pacing: of calls that others make as
    well. Raises what `telling` tells of.

    Market caps come first: the rules of a universe may ask for them.
    """
    from kite_hft.clock import SystemClock
    from kite_hft.engine.history.caps import FILE
    from kite_hft.engine.history.job import Job
    from kite_hft.engine.history.reaching import reached, rows_of
    from kite_hft.engine.market.past import metadata_folder
    from kite_hft.trading.lists.market_caps import MarketCapError

    target = folder or metadata_folder(settings.broker)
    console = Terminal(stderr=True)

    def say(text: str) -> None:
        console.print(f"[yellow]![/yellow] {escape(text)}", highlight=False, soft_wrap=True)

    with reached(settings, say) as session:
        found, failed = None, None
        try:
            found = market_caps(target, caps)
        except MarketCapError as error:
            failed = str(error)
        rows = rows_of(session, settings, SystemClock().real_ns(), say, target / FILE)
        with progress(len(rows)) as shown:
            job = Job(
                settings, session, rows, target, days[0], days[1], again=again, say=say, progress=shown,
                pacing=pacing,
            )  # fmt: skip
            outcome, made, stopped = job.run()
    told: dict[str, Any] = {
        "folder": str(target),
        "broker": settings.broker,
        "instruments": len(rows),
        "fetched": outcome.fetched,
        "known": outcome.known,
        "adjusted": outcome.adjusted,
        "refused": outcome.refused,
        "notes": [*outcome.notes, *made.damaged],
        "bars": made.bars,
        "as_of": made.as_of,
        "missing_days": made.missing,
        "unchecked": made.unchecked,
        "warnings": made.warnings,
        "stopped": str(stopped) if stopped else None,
        "market_caps": found,
        "market_caps_failed": failed,
    }
    lacking = outcome.refused or made.damaged or told["market_caps_failed"]
    told["code"] = 3 if stopped else int(bool(lacking))
    if not quiet:
        show(told)
    if stopped:
        print(f"kite-hft metadata: {stopped}", file=sys.stderr)
    return told


def market_caps(folder: Path, source: str | None) -> dict[str, Any] | None:
    """Refresh market_cap.csv from `source`, or from where it came before; None: there is no source.

    Raises:
        MarketCapError: the table cannot be had or used; the one before it stands. OSError: as well.
    """
    from kite_hft.clock import SystemClock
    from kite_hft.engine.history.caps import FILE, read_caps, refresh
    from kite_hft.engine.history.job import patient_fetch
    from kite_hft.sessions import ist_date

    before = read_caps(folder)
    source = source or (before.source if before else "")
    if not source:
        return None
    now_ns = SystemClock().real_ns()
    caps = refresh(folder, source, now_ns, lambda url: patient_fetch(url, ()))
    return {
        "file": str(folder / FILE),
        "companies": len(caps.crores),
        "as_of": caps.as_of.isoformat() if caps.as_of else None,
        "age_days": caps.age_days(ist_date(now_ns)),
    }


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int, int, str], None]]:
    """A bar with the time that is left; without a terminal a line at every tenth."""
    console = Terminal(stderr=True)
    if not console.is_terminal:
        yield (
            lambda done, of, key: (
                print(f"{done} of {of}: {key}", file=sys.stderr, flush=True)
                if done == of or done * 10 // of != (done - 1) * 10 // of
                else None
            )
        )
        return
    with Progress(
        TextColumn("history"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, of, key: bar.update(task, completed=done, description=escape(key))


def show(told: dict[str, Any]) -> None:
    """How it went, for people."""
    out = tables.console()
    lines = [
        f"{told['instruments']:,} instruments of {told['broker']}: {told['fetched']:,} fetched, "
        f"{told['known']:,} known already; as of {told['as_of'] or 'no day'}",
        f"{told['folder']}: metadata.parquet ({told['bars']:,} bars), metadata.json",
    ]
    if told["missing_days"]:
        lines.append(
            f"[yellow]![/yellow] {told['missing_days']:,} trading days are missing: `missing` in "
            "metadata.json names them"
        )
    if told["unchecked"]:
        lines.append(
            f"[yellow]![/yellow] {told['unchecked']:,} instruments: years without holidays in the calendar "
            "could not be checked for gaps, too few instruments to compare"
        )
    if told["adjusted"]:
        lines.append(f"adjusted by the broker, fetched afresh: {_some(told['adjusted'])}")
    for key, words in list(told["warnings"].items())[:SHOWN]:
        lines += [f"[yellow]![/yellow] {escape(key)}: {escape(word)}" for word in words[:SHOWN]]
    if len(told["warnings"]) > SHOWN:
        lines.append(f"  and {len(told['warnings']) - SHOWN} more instruments with warnings in metadata.json")
    lines += [f"[yellow]![/yellow] {escape(note)}" for note in told["notes"][:SHOWN]]
    for key, why in list(told["refused"].items())[:SHOWN]:
        lines.append(f"[red]no history[/red] of {escape(key)}: {escape(why)}")
    if len(told["refused"]) > SHOWN:
        lines.append(f"[red]no history[/red] of {len(told['refused']) - SHOWN} more (--json names them)")
    if told["market_caps_failed"]:
        lines.append(f"[red]market caps[/red], those of before stand: {escape(told['market_caps_failed'])}")
    if found := told["market_caps"]:
        lines.append(f"{found['file']}: {found['companies']:,} companies, as of {found['as_of']}")
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return escape(", ".join(names[:SHOWN]) + more)
