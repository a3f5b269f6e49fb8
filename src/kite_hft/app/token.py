"""Layer 6, by hand, cold: `kite-hft token`: a new access token for the running engine.

The token comes by prompt or standard input, never as an argument: arguments stand in the process
list and in the shell's history.
"""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from kite_hft.app.picture import AccountOption, BrokerOption, StateOption, running_note, told
from kite_hft.engine.control import ask
from kite_hft.engine.look import Look
from kite_hft.engine.runs import NoRun, RunNote

LOOK_S: Final = 0.1


def read_token() -> str:
    """From a hidden prompt on a terminal, else the first line of standard input.

    Raises:
        NoRun: there is none.
    """
    if sys.stdin.isatty():
        token = getpass.getpass("access token (not shown): ").strip()
    else:
        token = sys.stdin.readline().strip()
    if not token:
        raise NoRun("no token was given; type it at the prompt, or pipe it in: kite-hft token < FILE")
    if not token.isascii() or not token.isprintable() or any(c.isspace() for c in token):
        raise NoRun("that is no access token: one word of plain characters is expected")
    return token


def token(
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait until the broker takes it.")] = 15.0,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
) -> None:
    """Give the running engine a new access token, after a new login.

    It is read from the terminal without being shown, or from standard input. The connections and
    the order process go on with it; the engine reads the broker's books before it opens anything.
    """
    with told("token"):
        note = running_note(state, account, broker)
        ask(Path(note.control), {"do": "token", "access_token": read_token()}, 10.0)
        print("the engine has the new token")
        if wait and not taken(note, wait):
            print(
                f"kite-hft token: the broker has not taken it within {wait:g} s; kite-hft status tells more",
                file=sys.stderr,
            )
            raise typer.Exit(1)
        if wait:
            print("the broker takes it: all connections are up, orders can be sent")


def taken(note: RunNote, wait_s: float) -> bool:
    """Whether, within the time, every connection is up and no stage calls the token dead."""
    look = Look.open(note)
    try:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and note.alive():
            rows = look.connections(time.monotonic_ns())
            if all(row["connected"] for row in rows) and not look.state()["token_dead"]:
                return True
            time.sleep(LOOK_S)
        return False
    finally:
        look.close()
