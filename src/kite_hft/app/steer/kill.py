"""Layer 6, by hand, cold: `kite-hft kill`: the latch first, then what the engine makes of it.

The command writes the account's kill latch (engine/orders/latch.py) before it asks anybody anything,
and before it loads what it does not need for that: ORDERS sees the file by itself, whatever else hangs,
and an engine that is started later finds it. What follows (kill_follow.py) only looks.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from kite_hft.app.answering import NOT_SO, JsonOption, print_json, refuse, say
from kite_hft.app.choosing import (
    AccountOption,
    BrokerOption,
    StateOption,
    account_folder,
    meant_by_kill,
    root_of,
)
from kite_hft.app.person import user_name
from kite_hft.engine.orders.latch import NAME, set_latch
from kite_hft.engine.runs.runs import Account, NoRun, accounts


def kill(
    reason: Annotated[str, typer.Argument(help="Why; it stands in the latch, the journal and every alert.")],
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Also cancel exits and close every position at the market.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every account of this user, with an engine or without.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0.0, help="Longest wait for the entries' cancels, in seconds.")
    ] = 15.0,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Kill trading at once, without asking: nothing opens any more, every entry is cancelled.

    Works by a file that the order process watches: also with a hung supervisor or strategy, a full queue or
    a dead feed, and when no engine runs. It outlives restarts and days: only kite-hft resume ends it.
    Stops and exits at the broker stay, unless --flatten.

    Where that file cannot be written an engine that runs is told, and is killed until it ends.

    Without --account every engine that runs is meant, on however many accounts: nobody looks up names in an
    emergency. Where none runs, the only account is.

    The same without this command: touch KILL in the account's folder, or SIGUSR1 to the engine.

    Exit codes: 0 killed, 1 not killed, 3 killed, but a running engine has not confirmed it.
    """
    try:
        chosen = accounts(root_of(state)) if everything else meant_by_kill(state, account, broker)
        if not chosen:
            raise NoRun("no account of this user has ever run: there is nothing to kill")
        if len(chosen) > 1 and not everything:
            say(f"{len(chosen)} engines run, all are meant: {', '.join(one.title for one in chosen)}")
        begun_ns, failed = latched(chosen, reason, flatten=flatten)
        from kite_hft.app.steer.kill_follow import follow  # only now: it loads much

        chosen = [one for one in chosen if one.title in begun_ns]
        codes = [follow(one, begun_ns[one.title], wait, flatten=flatten) for one in chosen]
        if failed:
            raise NoRun("; ".join(failed))
    except (NoRun, OSError) as error:
        raise refuse("kill", error, NOT_SO) from None
    if as_json:
        rows = [
            {"account": one.title, "latch": latch_file(one), "confirmed": not code}
            for one, code in zip(chosen, codes, strict=True)
        ]
        print_json({"state": "KILLED", "reason": reason, "accounts": rows, "exit_code": max(codes)})
    raise typer.Exit(max(codes))


def latched(chosen: list[Account], reason: str, *, flatten: bool) -> tuple[dict[str, int], list[str]]:
    """Set every latch that can be set: (account -> when, what failed)."""
    begun_ns, failed = {}, []
    for one in chosen:
        try:
            begun_ns[one.title] = latch(one, reason, flatten=flatten)
        except NoRun as error:
            failed.append(f"{one.title}: {error}")
    return begun_ns, failed


def latch_file(account: Account) -> str | None:
    """The path of the account's latch; None: it is not there, the engine alone knows of the kill."""
    path = account_folder(account) / NAME
    return str(path) if os.path.lexists(path) else None


def latch(account: Account, reason: str, *, flatten: bool) -> int:
    """Set the latch; when that was, CLOCK_MONOTONIC ns. An engine is told where the file cannot say it all.

    Raises:
        NoRun: the file cannot be written, nor an engine told; the message says what to do instead.
    """
    folder, by = account_folder(account), f"{user_name()} by kite-hft kill"
    try:
        found = set_latch(folder, reason, by, time.time_ns(), flatten=flatten)
    except OSError as error:
        why = f"{folder / NAME} cannot be written: {error.strerror}"
        tell_engine(account, f"{reason}, {by}", why, flatten=flatten)
        say(f"{account.title}: the engine was told, and is killed until it ends: {why}")
        say("make that folder writable: the engine tries again; one that is started before knows nothing")
        return time.monotonic_ns()
    say(f"{account.title} is KILLED: {found.reason}{' (positions are closed, too)' * found.flatten}")
    say(f"the latch is {folder / NAME}; kite-hft resume ends it")
    if flatten and not found.flatten:
        why = f"{folder / NAME} has no room for the word that closes positions"
        tell_engine(account, f"{reason}, {by}", why, flatten=True)
        say(f"the engine was told to close the positions: {why}")
    return time.monotonic_ns()


def tell_engine(account: Account, reason: str, why: str, *, flatten: bool) -> None:
    """Have the engine set the latch, or remember what no file takes.

    Raises:
        NoRun: none runs, or it cannot be told. why: the file does not do.
    """
    from kite_hft.engine.processes.control import ControlError, ask  # only now, as above

    no_engine = "no engine runs that could be told"
    try:
        if account.running is None:
            raise ControlError(no_engine)
        request = {"do": "kill", "reason": reason, "flatten": flatten}
        ask(Path(account.running.control), request)
    except ControlError as error:
        raise NoRun(
            f"NOT {'closed' if latch_file(account) else 'killed'}: {why}, and {error}; stop the engine "
            f"(kite-hft stop --cancel, or end its processes) and cancel orders in the broker's app"
        ) from None
