"""Layer 5, supervisor, cold: the engine's command line, `python -m kite_hft.engine`.

Exit codes: 0 ended in order; 1 mode live was not confirmed; 2 the configuration or the command line is
wrong; 3 the machine or the broker session is not ready (no room in shared memory, account in use, no
simulator); 4 a process failed or had to be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from kite_hft.clock import Clock, SystemClock
from kite_hft.configuring.models.broker import rules_of
from kite_hft.configuring.showing import shown
from kite_hft.engine.alerts.sinks.trials import NoSink, require_sink
from kite_hft.engine.confirming import (
    NotConfirmed,
    build_words,
    check_live,
    check_word,
    confirmation,
    first_lines,
    require_live,
    typed_line,
)
from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.password import hidden_prompt
from kite_hft.engine.keys.private import harden_process, show_memory
from kite_hft.engine.keys.taking import keeps_secrets, needs_vault, take_keys
from kite_hft.engine.market.hours import check_instruments
from kite_hft.engine.market.past import take_histories
from kite_hft.engine.market.strategies import StrategyError, check_strategies
from kite_hft.engine.orders.latch import Latched
from kite_hft.engine.orders.latches import SIGNAL, kill_by_signal
from kite_hft.engine.orders.market_facts import lists_of_day
from kite_hft.engine.orders.own_hours import refuse_early_end
from kite_hft.engine.orders.settings import limits_of, loss_limit_words, orders_config
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.plan.master import day_instruments
from kite_hft.engine.plan.plan import PlanError
from kite_hft.engine.plan.rooms import polled_lines
from kite_hft.engine.plan.session import SessionError, open_session, require_sources
from kite_hft.engine.plan.simulator import SimulatorFailed
from kite_hft.engine.runs.closing import summary
from kite_hft.engine.runs.first_run import DISCLAIMER, is_first_run
from kite_hft.engine.runs.live import Terminal, View, make_view
from kite_hft.engine.runs.log import open_log
from kite_hft.engine.runs.run_folder import (
    IN_FORCE,
    AccountLocked,
    login_of,
    open_run,
    state_dir,
    write_private,
)
from kite_hft.engine.runs.verdicts import NoGo, require_go
from kite_hft.engine.supervisor import SHM, prepare, release, signals, supervise, write_report
from kite_hft.memory.segment import SegmentError, make_directory
from kite_hft.plain import words_of
from kite_hft.sessions import CalendarError
from kite_hft.settings import Loaded, Settings, SettingsError, read_settings
from kite_hft.trading.instruments import InstrumentError, InstrumentTable

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_READY: Final = 3
NOT_READY: Final = (
    SegmentError, AccountLocked, SessionError, VaultError, SimulatorFailed, NoSink, NoGo, OSError
)  # fmt: skip
"""What a person can mend without a change of the configuration."""

PasswordFdOption = Annotated[
    int | None,
    typer.Option(
        "--password-fd", min=0, metavar="N", help="Descriptor whose first line is the master password."
    ),
]


ConfigOption = Annotated[
    Path,
    typer.Option(
        envvar="KITE_CONFIG_PATH",
        help="Configuration file (YAML); config/demo.yaml trades on the simulator.",
    ),
]
EnvironmentOption = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="NAME",
        help="Take config.NAME.yaml over config.yaml (default: $KITE_ENVIRONMENT).",
    ),
]
LiveOption = Annotated[
    str | None,
    typer.Option(
        "--live",
        metavar="ACCOUNT",
        help="Confirm mode live for this account; without it the account is asked for at the start.",
    ),
]


def run_engine(
    settings: Settings,
    config: Path,
    duration: float | None,
    report: Path | None,
    plain: bool,
    *,
    loaded: Loaded | None = None,
    live: str | None = None,
) -> int:
    """One run; returns the exit code. Errors that a person can mend are printed, not raised.

    loaded: how the configuration came about, where it is more than one file. live: what `--live` said.

    Raises:
        NotConfirmed: mode live, and nobody has given the account. SettingsError, SessionError, SegmentError,
        AccountLocked, NoSink, PlanError and others that `main` tells of.
    """
    console = Terminal()
    clock = SystemClock()
    check_live(settings, clock.real_ns())
    title = f"kite_hft {settings.mode} {settings.broker}-{settings.account}"
    files = list(loaded.files) if loaded else [config]
    copies = [*files, *dated_files(settings)]
    home = make_directory(SHM, f"kite_hft-{os.getuid()}")
    root = writable(state_dir(os.environ))
    with signals() as runs, contextlib.ExitStack() as held:
        held.callback(remove_empty, home)
        if is_first_run(root):
            console.print(DISCLAIMER, highlight=False, markup=False, soft_wrap=True)
        now_ns, login = clock.real_ns(), login_of(settings)
        kept: dict[str, Any] = {"configs": len(files), "more": loaded.variables() if loaded else ""}
        held.callback(os.umask, os.umask(0o077))  # what the run writes is its owner's alone
        folder = open_run(root, home, settings.broker, settings.account, now_ns, copies, login, **kept)
        held.callback(folder.release)
        kills = heed_kills(folder.path.parent.parent, clock, held)
        view = make_view(console, title, plain, open_log(folder.path / "engine.log"))
        held.callback(view.settle)
        for line in [*first_lines(settings), *build_words(settings)]:
            view.say(line)
        view.say(loss_limit_words(settings))
        say_configuration(loaded, folder.path, view.say)
        for line in settings.renamed_modes():
            view.say(line)
        require_sink(settings, view.say)
        day, account = trading_day(settings, now_ns), folder.path.parent.parent
        morning = require_go(settings, account, day, config.resolve(), view.say)
        session = open_session(settings, view.say)
        held.callback(session.close)
        instruments = day_instruments(session, settings, now_ns, view.say)
        refuse_early_end(settings, now_ns, instruments)
        for line in check_instruments(settings, instruments, now_ns):
            view.say(line)
        for line in take_histories(settings, instruments, now_ns, folder.path):
            view.say(line)
        confirm(settings, instruments, live, view, console)
        view.beside()  # what is asked was asked: from here on nobody waits for the terminal
        run = prepare(settings, session, instruments, folder, clock, view, sorted(os.sched_getaffinity(0)))
        run.morning, run.kills = morning, kills
        held.callback(release, run)
        runs.append(run)
        view.say(f"{len(instruments)} instruments, {run.plan}")
        for line in polled_lines(settings, instruments):
            view.say(line)
        code, result = supervise(run, duration)
    with contextlib.suppress(OSError):  # the terminal is gone; the report is written
        console.print(summary(result, str(folder.path)))
    return code if copied(report, result, folder.path, console) else code or EXIT_NOT_READY


def dated_files(settings: Settings) -> list[Path]:
    """The dated files of a run, last the limits of a broker that prices alone come from."""
    trading = settings.trading
    beside = {rules_of(name, settings.broker, trading.rules) for name in settings.data_brokers}
    limits = sorted(path for path in beside - {trading.rules} if path.exists())
    return [trading.rules, trading.charges, trading.market, trading.calendar, *limits]


def heed_kills(account: Path, clock: Clock, held: contextlib.ExitStack) -> list[Latched]:
    """SIGUSR1 kills the account until `held` ends; what no file takes is put into the list, for ORDERS."""
    kills: list[Latched] = []
    held.callback(signal.signal, SIGNAL, signal.getsignal(SIGNAL))
    kill_by_signal(account, clock, "the supervisor", lambda kill, why: kills.append(kill))
    return kills


def copied(report: Path | None, result: dict[str, Any], folder: Path, console: Terminal) -> bool:
    """The report to where --report wants it; that it could not be is said."""
    try:
        if report is not None:
            write_report(report, result)
    except OSError as error:
        there = f"it is {folder / 'report.json'}"
        console.print(f"--report {report}: not written: {error.strerror}; {there}", soft_wrap=True)
        return False
    return True


def writable(root: Path) -> Path:
    """The state directory, made where it is not there.

    Raises:
        OSError: it cannot be; the message says what to do.
    """
    why = "it may not be written"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        why = error.strerror or why
    if not os.access(root, os.W_OK | os.X_OK):
        raise OSError(f"the state directory {root}: {why}; set XDG_STATE_HOME to a folder that you can write")
    return root


def require_place(report: Path | None) -> None:
    """Refuse --report before a day is run for it.

    Raises:
        SettingsError: no file can be there.
    """
    if report is None:
        return
    if report.is_dir():
        raise SettingsError(f"--report {report}: a folder; name a file in it")
    if not os.access(report.parent, os.W_OK | os.X_OK):
        raise SettingsError(f"--report {report}: nothing can be written into {report.parent}")


def say_configuration(loaded: Loaded | None, folder: Path, say: Callable[[str], None]) -> None:
    """Where the configuration is from, and what of it does nothing; all of it, in force, into the folder."""
    if loaded is None:
        return
    if loaded.environment:
        say(f"environment {loaded.environment}: {' and '.join(str(path) for path in loaded.files)}")
    variables = sorted({o.source for o in loaded.given.origins.values() if o.is_variable})
    if variables:
        say(f"set by variables: {', '.join(variables)}")
    if loaded.said:
        say(f"{len(loaded.said)} keys or variables do nothing here: `kite-hft config check` tells of them")
    rows = shown(loaded.settings, loaded.given)
    write_private(folder / IN_FORCE, "".join(f"{r.key}: {json.dumps(r.value)}  # {r.source}\n" for r in rows))


def confirm(
    settings: Settings, instruments: InstrumentTable, live: str | None, view: View, console: Terminal
) -> None:
    """Mode live: what trades is shown and the account asked for.

    Raises:
        NotConfirmed: it was not given.
    """
    if settings.mode != "live":
        return
    limits = limits_of(settings, settings.broker)
    ask = typed_line(lambda text: console.print(text, end="", highlight=False, markup=False))
    where = "the terminal" if sys.stdin is not None and sys.stdin.isatty() else "standard input"
    said = confirmation(settings, limits, instruments)
    view.say(require_live(settings, said, live, view.say, ask, where))


def keys_of(settings: Settings, password_fd: int | None) -> Settings:
    """The settings with the vault's keys where the configuration leaves them empty."""
    prompt = hidden_prompt("master password of the vault (not shown): ")
    return take_keys(settings, os.environ, SystemClock().real_ns(), fd=password_fd, prompt=prompt)


def remove_empty(folder: Path) -> None:
    """Unless another run of this user still uses it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def hold_standard_streams() -> None:
    """Whoever started us may have closed descriptors 0 to 2: no file of the run must get such a number,
    or what some library prints would land in it."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def main(
    config: ConfigOption,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds; else run until Ctrl-C.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also copy report.json to this file.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live panel.")] = False,
    password_fd: PasswordFdOption = None,
    environment: EnvironmentOption = None,
    live: LiveOption = None,
) -> None:
    """Run the trading engine until the duration is over or Ctrl-C is pressed.

    Stopping is orderly: no new intents, entries that rest are cancelled, stops at the broker stay, and what
    stays open is said. Everything of the run lies in its own folder below the state directory
    ($XDG_STATE_HOME, by default ~/.local/state); `latest` points to it. Keys that the configuration leaves
    empty come from the vault (kite-hft credentials). Mode live shows what will trade and asks for the
    account, or takes it from --live.

    Exit codes: 0 in order, 1 mode live was not confirmed, 2 wrong configuration, 3 machine or session not
    ready, 4 a process failed.
    """
    code, wrong = started(config, duration, report, plain, password_fd, environment, live)
    if wrong:
        style = "red" if code else None
        Terminal(stderr=True).print(wrong, style=style, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def started(
    config: Path,
    duration: float | None,
    report: Path | None,
    plain: bool,
    password_fd: int | None,
    environment: str | None,
    live: str | None,
) -> tuple[int, str]:
    """(exit code, why it is not 0 where no run came about)."""
    harden_process()
    hold_standard_streams()
    try:
        loaded = read_settings(config, environment)
        settings, now_ns = loaded.settings, SystemClock().real_ns()
        check_word(settings, live)
        require_place(report)
        check_strategies(settings)
        orders_config(settings, loopback=settings.mode != "live")
        loss_limit_words(settings)
        check_live(settings, now_ns)
        lists_of_day(settings, now_ns)
        refuse_early_end(settings, now_ns)
        require_sources(settings)
        if not (keeps_secrets(settings) or needs_vault(settings)):
            show_memory()
        settings = keys_of(settings, password_fd)
        return run_engine(settings, config, duration, report, plain, loaded=loaded, live=live), ""
    except (SettingsError, StrategyError, CalendarError, PlanError, InstrumentError) as error:
        return EXIT_USAGE, f"configuration: {error}"
    except NotConfirmed as error:
        return EXIT_REFUSED, f"not confirmed: {error}"
    except NOT_READY as error:
        return EXIT_NOT_READY, f"not ready: {words_of(error)}"
    except KeyboardInterrupt:
        return 0, "stopped before the start"
