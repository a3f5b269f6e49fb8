"""Layer 6, by hand, cold: `kite-hft resume`: what is latched is shown, and ends when its account is typed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from kite_hft.app.answering import JsonOption, print_json, say
from kite_hft.app.completing import strategies
from kite_hft.app.look.status import engine_state
from kite_hft.app.person import user_name
from kite_hft.app.picture import (
    AccountOption,
    BrokerOption,
    Picture,
    StateOption,
    account_folder,
    opened,
    selected,
    told,
)
from kite_hft.engine.orders.latch import NAME, Latched, clear_latch, read_latch
from kite_hft.engine.orders.latches import HOLDS, holds_known, read_holds, release_holds
from kite_hft.engine.orders.unwritten import UNWRITTEN
from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.engine.runs.runs import Account, NoRun
from kite_hft.sessions import ist_text

CONFIRM_S: Final = 5.0
LOOK_S: Final = 0.05


def resume(
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            help="Only this strategy; default: everything that is latched.",
            autocompletion=strategies,
        ),
    ] = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let trading go on after a kill, a halt, a limit or a guard: shows what is latched, then asks.

    To confirm, type the account as it is shown (BROKER-ACCOUNT). It is journalled with your name. A cause
    that still stands latches again at once.

    Exit codes: 0 resumed, 1 nothing is latched, or not resumed.
    """
    with told("resume"):
        chosen = selected(state, account, broker)
        if chosen.running is None:
            latched = kept(chosen, strategy)
            show_and_confirm(chosen, latched, strategy)
            by_hand(chosen, strategy)
        else:
            with opened(state, account, broker) as picture:
                latched = what_is_latched(picture, strategy)
                refuse_unwritten(picture, latched, strategy)
                show_and_confirm(chosen, latched, strategy)
                by_engine(picture, strategy)
        say(f"{chosen.title}: resumed{f' (strategy {strategy})' if strategy else ''}")
        if as_json:
            print_json({"account": chosen.title, "strategy": strategy, "was_latched": latched})


def show_and_confirm(account: Account, latched: list[str], strategy: str | None) -> None:
    """Say what is latched, and have the account typed.

    Raises:
        NoRun: nothing is latched, or something else was typed.
    """
    if not latched:
        held = f" for strategy {strategy}" if strategy else ""
        raise NoRun(f"nothing is latched on {account.title}{held}")
    for line in latched:
        say(line)
    confirm(account.title)


def kept(account: Account, strategy: str | None) -> list[str]:
    """What is latched on an account without an engine: what its files say, one line each."""
    folder = account_folder(account)
    latch = read_latch(folder) if strategy is None else None
    lines = [f"KILLED {when(latch)}: {latch.reason}"] if latch else []
    if strategy is None and not holds_known(folder):
        lines.append(f"{HOLDS} cannot be read: who is held is not known")
    held = read_holds(folder).items()
    return lines + [f"strategy {name} is {hold.words}" for name, hold in held if strategy in (None, name)]


def what_is_latched(picture: Picture, strategy: str | None) -> list[str]:
    """What is latched in a running engine, by its files and its journal, one line each."""
    ledger, lines = picture.ledger, []
    if strategy is None:
        if latch := read_latch(account_folder(picture.account)):
            lines.append(f"KILLED {when(latch)}: {latch.reason}")
        elif killed := engine_state(picture)["killed"]:
            lines.append(f"KILLED, without the file {NAME}: {killed}")
        if ledger is not None:
            lines += [f"HALTED: {ledger.halted}"] * bool(ledger.halted)
            lines += [f"REDUCING: {ledger.reducing}"] * bool(ledger.reducing)
            if lines and ledger.address:
                lines.append(f"what stays, until the broker takes a call: {ledger.address}")
    held = engine_state(picture)["held"].items()
    return lines + [f"strategy {n} is {words}" for n, words in held if strategy in (None, n)]


def refuse_unwritten(picture: Picture, latched: list[str], strategy: str | None) -> None:
    """A kill that no file says ends with the engine alone.

    Raises:
        NoRun: it is one; the message says what to do.
    """
    path = account_folder(picture.account) / NAME
    if strategy is None and engine_state(picture)["killed"] and not os.path.lexists(path):
        for line in latched:
            say(line)
        raise NoRun(f"not resumed: {UNWRITTEN.format(latch=path)}")


def when(latch: Latched) -> str:
    """Since when and by whom, for people."""
    by = f" by {latch.by}" if latch.by else ""
    flat = ", positions to be closed" if latch.flatten else ""
    return f"since {ist_text(latch.at_ns)} IST{by}{flat}" if latch.at_ns else f"{by}{flat}".strip()


def confirm(title: str) -> None:
    """The account, typed.

    Raises:
        NoRun: something else was.
    """
    say(f"Trading goes on at once. Type {title} to confirm:")
    if sys.stdin.readline().strip() != title:
        raise NoRun("not resumed: the account was not typed")


def by_engine(picture: Picture, strategy: str | None) -> None:
    """Ask the running engine, whose order process journals it, and wait until it shows.

    Raises:
        ControlError: it cannot be asked, or does not do it.
    """
    note = picture.account.running
    assert note is not None
    look = picture.look
    if look is None:
        raise ControlError("the engine's memory cannot be read, so nobody would know; see kite-hft status")
    held = look.readings.values("orders")["strategies_held"]
    ask(Path(note.control), {"do": "resume", "strategy": strategy, "by": who()})
    deadline = time.monotonic() + CONFIRM_S
    while still_latched(look.readings.values("orders"), strategy, held):
        if time.monotonic() > deadline:
            raise ControlError(
                f"asked, but something is still latched after {CONFIRM_S:g} s: the journal may not be "
                "writable, or the cause still stands; see kite-hft status"
            )
        time.sleep(LOOK_S)


def still_latched(orders: Mapping[str, int], strategy: str | None, held: int) -> bool:
    """By the order process's gauges; `held`: how many strategies were held before."""
    if strategy is not None:
        return orders["strategies_held"] >= held
    gauges = ("state_killed", "state_halted", "state_reducing", "strategies_held")
    return any(orders[name] for name in gauges)


def by_hand(account: Account, strategy: str | None) -> None:
    """No engine runs: take the latches away; the account's history of kills tells by whom.

    Raises:
        NoRun: a file cannot be changed.
    """
    folder = account_folder(account)
    try:
        if strategy is None:
            clear_latch(folder, who(), time.time_ns())
        release_holds(folder, strategy)
    except OSError as error:
        raise NoRun(f"not resumed: {error.filename}: {error.strerror}") from None


def who() -> str:
    """The person at this terminal, for the journal."""
    return f"{user_name()} (process {os.getppid()}) by kite-hft resume"
