"""Layer 5, supervisor, cold: `python -m kite_hft.engine`, the engine's command line.

Exit codes: 0 ended in order; 2 the configuration or the command line is wrong; 3 the machine or
the broker session is not ready (no room in shared memory, account in use, no simulator);
4 a process failed or had to be killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Annotated, Final

import typer

from kite_hft.clock import SystemClock
from kite_hft.engine.closing import summary
from kite_hft.engine.live import Terminal, make_view
from kite_hft.engine.log import open_log
from kite_hft.engine.market_facts import lists_of_day
from kite_hft.engine.order_latches import SIGNAL, kill_by_signal
from kite_hft.engine.order_settings import loss_limit_words, orders_config
from kite_hft.engine.plan import PlanError
from kite_hft.engine.run_folder import AccountLocked, login_of, open_run, state_dir
from kite_hft.engine.session import SessionError, day_instruments, open_session
from kite_hft.engine.simulator import SimulatorFailed
from kite_hft.engine.sinks.trials import NoSink, require_sink
from kite_hft.engine.strategies import StrategyError, check_strategies
from kite_hft.engine.supervisor import SHM, prepare, release, signals, supervise, write_report
from kite_hft.memory.segment import SegmentError, make_directory
from kite_hft.sessions import CalendarError
from kite_hft.settings import Settings, SettingsError, load_settings
from kite_hft.trading.instruments import InstrumentError

EXIT_USAGE: Final = 2
EXIT_NOT_READY: Final = 3


def run_engine(
    settings: Settings, config: Path, duration: float | None, report: Path | None, plain: bool
) -> int:
    """One run; returns the exit code. Errors that a person can mend are printed, not raised."""
    console = Terminal()
    clock = SystemClock()
    title = f"kite_hft {settings.mode} {settings.broker}-{settings.account}"
    trading = settings.trading
    copies = [config, trading.rules, trading.charges, trading.market, trading.calendar]
    home = make_directory(SHM, f"kite_hft-{os.getuid()}")
    root = state_dir(os.environ)
    with signals() as runs, contextlib.ExitStack() as held:
        held.callback(remove_empty, home)
        now_ns, login = clock.real_ns(), login_of(settings)
        folder = open_run(root, home, settings.broker, settings.account, now_ns, copies, login)
        held.callback(folder.release)
        held.callback(signal.signal, SIGNAL, signal.getsignal(SIGNAL))
        kill_by_signal(folder.path.parent.parent, clock, "the supervisor")
        view = make_view(console, title, plain, open_log(folder.path / "engine.log"))
        view.say(loss_limit_words(settings))
        require_sink(settings, view.say)
        session = open_session(settings, view.say)
        held.callback(session.close)
        instruments = day_instruments(session, settings)
        run = prepare(settings, session, instruments, folder, clock, view, sorted(os.sched_getaffinity(0)))
        held.callback(release, run)
        runs.append(run)
        view.say(f"{len(instruments)} instruments, {run.plan}")
        code, result = supervise(run, duration)
    with contextlib.suppress(OSError):  # the terminal is gone; the report is written
        console.print(summary(result, str(folder.path)))
    if report is not None:
        write_report(report, result)
    return code


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
    config: Annotated[
        Path, typer.Option(help="Configuration file (YAML); config/demo.yaml trades on the simulator.")
    ],
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds; else run until Ctrl-C.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also copy report.json to this file.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live panel.")] = False,
) -> None:
    """Run the trading engine until the duration is over or Ctrl-C is pressed.

    Stopping is orderly: no new intents, entries that rest are cancelled, stops at the broker stay, and what
    stays open is said. Everything of the run lies in its own folder below the state directory
    ($XDG_STATE_HOME, by default ~/.local/state); `latest` points to it.

    Exit codes: 0 in order, 2 wrong configuration, 3 machine or session not ready, 4 a process failed.
    """
    hold_standard_streams()
    console = Terminal(stderr=True)
    try:
        settings = load_settings(config)
        check_strategies(settings)
        orders_config(settings, loopback=settings.mode != "live")
        loss_limit_words(settings)
        lists_of_day(settings, SystemClock().real_ns())
        code = run_engine(settings, config, duration, report, plain)
    except (SettingsError, StrategyError, CalendarError, PlanError, InstrumentError) as error:
        console.print(f"configuration: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        code = EXIT_USAGE
    except (SegmentError, AccountLocked, SessionError, SimulatorFailed, NoSink, OSError) as error:
        console.print(f"not ready: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        code = EXIT_NOT_READY
    except KeyboardInterrupt:
        console.print("stopped before the start")
        code = 0
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
