"""Layer 6, by hand, cold: which account a verb means. Loads little: `kite-hft kill` must be quick."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from kite_hft.app import completing
from kite_hft.engine.runs.run_folder import state_dir
from kite_hft.engine.runs.runs import FEED_ACCOUNTS, Account, accounts, choose

AccountOption = Annotated[
    str | None,
    typer.Option(
        "--account", help="Account; needed only when there are several.", autocompletion=completing.accounts
    ),
]
BrokerOption = Annotated[
    str | None,
    typer.Option(
        "--broker", help="Broker; needed only when there are several.", autocompletion=completing.brokers
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state", help="State directory of the runs (default: $XDG_STATE_HOME, else ~/.local/state)."
    ),
]


def root_of(state: Path | None) -> Path:
    """The folder that holds the accounts' folders."""
    if state is None:
        return state_dir(os.environ)
    return state if state.name == "kite_hft" else state / "kite_hft"


def selected(
    state: Path | None, account: str | None, broker: str | None, *, must_run: bool = False
) -> Account:
    """The account that the options mean.

    Raises:
        NoRun: none or several; the message says how to go on.
    """
    return choose(accounts(root_of(state), elsewhere=state is None), account, broker, must_run=must_run)


def meant_by_kill(state: Path | None, account: str | None, broker: str | None) -> list[Account]:
    """The accounts that a kill means: the one that is named; else every one on which an engine runs or starts
    (but for programs of prices, which cannot trade); else the only one there is.

    Raises:
        NoRun: none, or several and no engine on any of them.
    """
    found = accounts(root_of(state), elsewhere=state is None)
    if account is None:
        live = [
            one
            for one in found
            if (one.running or one.starting_pid)
            and one.name not in FEED_ACCOUNTS
            and broker in (None, one.broker)
        ]
        if live:
            return live
    return [choose(found, account, broker)]


def account_folder(account: Account) -> Path:
    """Where the runs of the account lie: of its running engine, whatever state directory that was given."""
    return Path(account.running.folder).parent.parent if account.running else account.folder
