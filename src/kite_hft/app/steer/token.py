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

from kite_hft.app.answering import NOT_SO, JsonOption, print_json, refuse, say
from kite_hft.app.picture import AccountOption, BrokerOption, StateOption, running_note, told
from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.processes.control import ask
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.runs import NoRun, RunNote

LOOK_S: Final = 0.1
DEAD_S: Final = 2.0
"""So long a token that was good before is refused before it is said."""
TRIED: Final = 2
"""Reads that ORDERS sends with a new token: the second only when the first was answered."""


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
    of: Annotated[str, typer.Option(help="Whose token, where a run has two brokers: kite or upstox.")] = "",
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the running engine a new access token, after a new login.

    It is read from the terminal without being shown, or from standard input. The connections and
    the order process go on with it; the engine reads the broker's books before it opens anything.

    Exit codes: 0 given, and the broker takes it, 1 no engine, no token, or not taken in time.
    """
    with told("token"):
        note = running_note(state, account, broker)
        harden_process()
        word = read_token()
        look = Look.open(note)
        try:
            polls, was_dead = asked_books(look), bool(look.state()["token_dead"])
            ask(Path(note.control), {"do": "token", "access_token": word, "broker": of}, 10.0)
            say("the engine has the new token")
            if of not in ("", note.broker) or note.mode == "paper":
                polls -= TRIED  # of prices alone: ORDERS has nothing to try
            why = refused(look, note, polls, was_dead, wait) if wait else ""
        finally:
            look.close()
        if why:
            raise refuse("token", f"{why}; kite-hft status tells more", NOT_SO)
        if wait:
            say("the broker takes it: all connections are up, orders can be sent")
        if as_json:
            print_json({"account": note.title, "given": True, "taken": True if wait else None})


def asked_books(look: Look) -> int:
    """How often ORDERS has asked for one of the broker's books."""
    return int(look.readings.values("orders")["polls"])


def refused(look: Look, note: RunNote, polls: int, was_dead: bool, wait_s: float) -> str:
    """Why the broker does not take the token; "": it does.

    It does when every connection is up and ORDERS, which tries a new token at once by reading two
    books one after the other, has come to the second. polls, was_dead: from before it was told.
    """
    deadline = time.monotonic() + wait_s
    alive_s = time.monotonic()
    while time.monotonic() < deadline and note.alive():
        time.sleep(LOOK_S)
        dead = look.state()["token_dead"]
        if not dead:
            alive_s = time.monotonic()
        # A call with the token of before, which a new login ends, may be refused in between.
        if dead and not was_dead and time.monotonic() - alive_s >= DEAD_S:
            return "the broker refuses it; give it another one"
        up = all(row["connected"] for row in look.connections(time.monotonic_ns()))
        if up and not dead and asked_books(look) >= polls + TRIED:
            return ""
    return f"the broker has not taken it within {wait_s:g} s"
