"""Layer 6, by hand, cold: `kite-hft kill`: the latch first, then what the engine makes of it.

The command writes the account's kill latch (engine/orders/latch.py) before it asks anybody anything,
and before it loads what it does not need for that: ORDERS sees the file by itself, whatever else hangs,
and an engine that is started later finds it. What follows (kill_follow.py) only looks.
"""

from __future__ import annotations

import time
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
from kite_hft.engine.orders.latch import set_latch
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
            {"account": one.title, "latch": str(account_folder(one) / "KILL"), "confirmed": not code}
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


def latch(account: Account, reason: str, *, flatten: bool) -> int:
    """Set the latch; when that was, CLOCK_MONOTONIC ns.

    Raises:
        NoRun: the file cannot be written; the message says what to do instead.
    """
    folder = account_folder(account)
    try:
        found = set_latch(folder, reason, f"{user_name()} by kite-hft kill", time.time_ns(),
                          flatten=flatten)  # fmt: skip
    except OSError as error:
        raise NoRun(
            f"NOT killed: {folder}/KILL cannot be written: {error.strerror}; stop the engine (kite-hft stop "
            f"--cancel, or end its processes) and cancel orders in the broker's app"
        ) from None
    say(f"{account.title} is KILLED: {found.reason}{' (positions are closed, too)' * found.flatten}")
    say(f"the latch is {folder}/KILL; kite-hft resume ends it")
    return time.monotonic_ns()
