"""Layer 6, by hand or by a timer, cold: `kite-hft end-of-day`: after the close."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from kite_hft.app import tables
from kite_hft.app.choosing import StateOption, root_of
from kite_hft.app.keys.vault_options import PasswordFdOption
from kite_hft.app.picture import opened, print_json
from kite_hft.app.setup.metadata import CapsOption, FolderOption, Refused, explained, gather, telling
from kite_hft.app.setup.options import USUAL, ConfigOption, EnvironmentOption
from kite_hft.engine.runs.live import Terminal
from kite_hft.engine.runs.runs import Account, NoRun, accounts
from kite_hft.sessions import CalendarError, ist_date, ist_text, session_from_calendar
from kite_hft.settings import Settings, load_yaml

if TYPE_CHECKING:
    from kite_hft.engine.history.pacing import Pacing

SHOWN: Final = 12
WAIT_S: Final = 180.0


@dataclass(slots=True)
class Report:
    """What the job did, as `--json` shows it. steps: name -> "ok", or why not. code: the exit code."""

    day: str
    account: str
    code: int = 0
    steps: dict[str, str] = field(default_factory=dict)
    reconciliation: dict[str, Any] | None = None
    overnight: list[dict[str, Any]] = field(default_factory=list)
    overnight_words: list[str] = field(default_factory=list)
    folder: str | None = None
    files: list[str] = field(default_factory=list)
    metadata: dict[str, Any] | None = None

    def failed(self, step: str, why: str, code: int) -> None:
        self.steps[step] = why
        self.code = max(self.code, code)


def end_of_day(
    config: ConfigOption = USUAL,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Stop a running engine without asking.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Also while the market is open.")] = False,
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Leave the history as it is.")] = False,
    folder: FolderOption = None,
    caps: CapsOption = None,
    state: StateOption = None,
    environment: EnvironmentOption = None,
    password_fd: PasswordFdOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """After the close: stop the engine, compare the day with the broker, save the history, export the files.

    In this order: stops the engine if it still runs (says what is open, and asks, or --yes; entries are
    cancelled, stops at the broker stay); adds the day's bars to the metadata and refreshes market caps;
    compares orders, positions and charges with the broker's books; says what stays open overnight and what
    protects it; writes portfolio.csv, trades.csv, orders.csv, instruments.csv, metadata.json and
    market_cap.csv into one folder of the day.

    Exit codes: 0 in order, 1 the books differ or a part could not be done (said which), 2 wrong
    configuration, 3 the market is open, no session, or the engine has not ended.
    """
    with telling("end-of-day"):
        from kite_hft.clock import SystemClock
        from kite_hft.engine.history.pacing import pacing_of
        from kite_hft.engine.orders.settings import limits_of
        from kite_hft.settings import load_settings

        out = Terminal(stderr=True) if as_json else tables.console()
        settings = load_settings(config, environment)
        now_ns = SystemClock().real_ns()
        report = Report(ist_date(now_ns).isoformat(), f"{settings.broker}-{settings.account}")
        account = account_of(settings, state)
        if not now:
            require_closed(settings, account, now_ns)
        if account is not None and account.running is not None:
            stop_engine(out, state, settings, report, yes=yes)
        settings = with_keys(settings, password_fd)
        target = metadata_of(settings, folder)

        def say(text: str) -> None:
            out.print(escape(text), highlight=False, soft_wrap=True)

        pacing = pacing_of(limits_of(settings, settings.broker), SystemClock())
        if not no_metadata:
            save_history(settings, folder, caps, report, pacing)
        close_books(settings, account, target, report, ist_date(now_ns), pacing, say=say)
        if as_json:
            print_json(asdict(report))
        else:
            show(out, report)
        raise typer.Exit(report.code)


def account_of(settings: Settings, state: Path | None) -> Account | None:
    """The account of the configuration; None: nothing has ever run on it."""
    found = accounts(root_of(state), elsewhere=state is None)
    wanted = (settings.broker, settings.account)
    return next((row for row in found if (row.broker, row.name) == wanted), None)


def require_closed(settings: Settings, account: Account | None, now_ns: int) -> None:
    """Raises Refused: an exchange of the newest run's instruments still trades."""
    from kite_hft.engine.runs.runs import newest_folder
    from kite_hft.trading.instruments import InstrumentError, read_csv

    exchanges = {"NSE"}
    if account is not None:
        with contextlib.suppress(NoRun, OSError, InstrumentError):
            exchanges = {row.exchange for row in read_csv(newest_folder(account)[0] / "instruments.csv")}
    rows, today, ends = load_yaml(settings.trading.calendar), ist_date(now_ns), []
    for exchange in exchanges:
        try:
            session = session_from_calendar(rows, exchange, today)
        except CalendarError:
            continue  # closed today
        if now_ns < session.close_ns:
            ends.append((session.close_ns, exchange))
    if ends:
        close_ns, exchange = max(ends)
        raise Refused(
            f"{exchange} trades until {ist_text(close_ns).partition(' ')[2]} IST today; run it then, or "
            "say --now",
            3,
        )


def stop_engine(out: Console, state: Path | None, settings: Settings, report: Report, *, yes: bool) -> None:
    """Say what stays open, ask, stop, and wait for the end.

    Raises:
        Refused: not stopped, or it has not ended.
    """
    from kite_hft.app.steer.stop import DEFAULT, WHAT, Tail, confirmed, follow, show_open
    from kite_hft.engine.processes.control import ControlError, ask

    try:
        with opened(state, settings.account, settings.broker) as picture:
            note = picture.account.running
            if note is None:
                return
            show_open(out, picture)
        out.print(f"\nstopping means: [b]{WHAT[DEFAULT]}[/b]")
        if not yes and not confirmed(out):
            raise Refused("the engine runs on: its day is not over, nothing was done", 1)
        tail = Tail(Path(note.folder) / "engine.log")
        ask(Path(note.control), {"do": "stop", "policy": DEFAULT}, 10.0)
        if not follow(out, note, tail, WAIT_S):
            raise Refused(f"the engine has not ended within {WAIT_S:g} s: kite-hft status tells more", 3)
    except (NoRun, ControlError) as error:
        raise Refused(f"{error}", 1) from None
    report.steps["engine"] = "stopped"


def with_keys(settings: Settings, password_fd: int | None) -> Settings:
    """With the vault's keys. Raises what `telling` tells of."""
    from kite_hft.engine.command import keys_of

    return keys_of(settings, password_fd)


def metadata_of(settings: Settings, folder: Path | None) -> Path:
    """Where the metadata lie."""
    from kite_hft.engine.market.past import metadata_folder

    return folder or metadata_folder(settings.data_brokers[0])


def save_history(
    settings: Settings, folder: Path | None, caps: str | None, report: Report, pacing: Pacing
) -> None:
    """Add the day's bars. What goes wrong here leaves the rest of the job to be done. pacing: of the order
    broker's reads; where the bars come from it as well, both count together."""
    from kite_hft.engine.history.reaching import history_settings
    from kite_hft.engine.plan.session import configured

    data = configured(settings, settings.data_brokers[0])
    if settings.mode == "sim" and not data.access_token:
        report.steps["metadata"] = "none: the simulator has ended with the run, and its market with it"
        return

    def job() -> None:
        chosen = history_settings(settings, None, None)
        same = pacing if data.broker == settings.broker else None
        report.metadata = gather(chosen, folder, (None, None), caps, quiet=True, pacing=same)
        if report.metadata["code"]:
            why = (
                report.metadata["stopped"] or f"{len(report.metadata['refused'])} instruments without history"
            )
            report.failed("metadata", str(why), report.metadata["code"])

    _attempt(report, "metadata", job)


def close_books(
    settings: Settings,
    account: Account | None,
    metadata: Path,
    report: Report,
    today: dt.date,
    pacing: Pacing,
    *,
    say: Callable[[str], None],
) -> None:
    """Compare, say what stays, export."""
    from kite_hft.app.day.ending import closing

    root = account.folder if account is not None else None
    day = closing.read_day(root, today, running=False, mode=settings.mode) if root is not None else None
    if root is None or day is None:
        report.steps["books"] = f"none: nothing has traded on {report.account} today"
        return
    for text in day.warnings:
        report.failed("journal", text, 1)
    books = _books(settings, day, report, pacing, say)
    reconciled = None
    if books is not None:
        reconciled = closing.reconcile(day, books, [cost for _, cost in closing.executed(day)])
        report.reconciliation = asdict(reconciled)
        if reconciled.differences or reconciled.not_compared:
            text = f"{len(reconciled.differences)} differences, {len(reconciled.not_compared)} not compared"
            report.failed("books", text, 1)
        else:
            report.steps["books"] = "ok"
    from kite_hft.trading.reconciling import overnight_words

    report.overnight = closing.stays(day, books)
    report.overnight_words = overnight_words(report.overnight)

    def files() -> None:
        folder, report.files = closing.export(root, day, books, metadata, reconciled)
        report.folder = str(folder)

    _attempt(report, "export", files)


def _books(settings: Settings, day: Any, report: Report, pacing: Pacing, say: Callable[[str], None]) -> Any:
    """The broker's books; None: there is none to ask, and the report says why."""
    from kite_hft.app.day.ending.books import read_books
    from kite_hft.app.day.ending.closing import executed
    from kite_hft.engine.plan.session import configured

    if settings.mode == "paper":
        report.steps["books"] = (
            "none: in mode paper the exchange is inside the engine; the journal is all there is"
        )
        return None
    access = configured(settings, settings.broker)
    if not access.access_token:
        own = settings.mode == "sim"
        why = "the simulator has ended with the run" if own else "no access token: kite-hft login"
        if own:
            report.steps["books"] = f"none: {why}"
        else:
            report.failed("books", why, 3)
        return None
    orders = [order for order, _ in executed(day)]
    return read_books(access, day.last.instruments, orders, pacing, say)


def _attempt(report: Report, step: str, job: Callable[[], None]) -> None:
    """Do one part; the others are done whatever becomes of it, unless a person interrupts."""
    report.steps[step] = "ok"
    try:
        job()
    except Exception as error:
        found = explained(error)
        if found is None:
            raise
        report.failed(step, *found)


def show(out: Console, report: Report) -> None:
    """The report, for people."""
    out.print(f"[b]{escape(report.account)}[/b]: end of {report.day}", highlight=False)
    found = report.reconciliation
    if found is not None:
        charges = ""
        if found["our_charges"] is not None:
            ours, theirs = found["our_charges"] / 100, found["their_charges"] / 100
            charges = f"; charges ₹{ours:,.2f} by our rates, ₹{theirs:,.2f} by the broker's"
        out.print(
            f"compared with the broker: {found['orders']} orders, {found['positions']} positions{charges}",
            highlight=False,
        )
        for key, colour in (("differences", "bold red"), ("not_compared", "yellow"), ("strangers", "yellow")):
            name = {"strangers": "not ours", "not_compared": "not compared"}.get(key, "differs")
            for text in found[key][:SHOWN]:
                out.print(f"[{colour}]{name}[/{colour}]: {escape(text)}", highlight=False, soft_wrap=True)
            if len(found[key]) > SHOWN:
                out.print(f"  and {len(found[key]) - SHOWN} more: reconciliation.json")
    for text in report.overnight_words or ["nothing stays open overnight"]:
        out.print(escape(text), highlight=False, soft_wrap=True)
    for step, word in report.steps.items():
        colour = "green" if word in ("ok", "stopped") else "yellow"
        out.print(f"{step}: [{colour}]{escape(word)}[/{colour}]", highlight=False, soft_wrap=True)
    if report.folder:
        out.print(f"{report.folder}: {', '.join(report.files)}", highlight=False, soft_wrap=True)
