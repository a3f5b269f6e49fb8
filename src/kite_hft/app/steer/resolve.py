"""Layer 6, by hand, cold: `kite-hft resolve`: a person ends the freeze of an order of unknown fate.

The engine asks the broker's order book once more before it believes the word, and refuses one that
the book contradicts. Question and answer stand in the run's journal (COMMAND, RESOLVED): the answer
is read there.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from kite_hft.app import tables
from kite_hft.app.answering import JsonOption, print_json, say
from kite_hft.app.look.orders import show_orders
from kite_hft.app.person import user_name
from kite_hft.app.picture import AccountOption, BrokerOption, Picture, StateOption, opened, told
from kite_hft.engine.processes.control import ask
from kite_hft.engine.runs.ledger import order_rows
from kite_hft.engine.runs.runs import NoRun
from kite_hft.memory.journal import JournalError, Kind, scan

ANSWER_S: Final = 20.0
LOOK_S: Final = 0.2
MEANS: Final = {
    "absent": "the broker never had it (or has it no more): it counts as ended, its side is free again",
    "present": "it is the order that the broker's book shows: the engine follows that one from now on",
}
ACCEPTS: Final = "what the broker's books show is right: the engine goes on with it"


def resolve(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Our order number (kite-hft orders), or EXCHANGE:SYMBOL.")
    ],
    order_id: Annotated[
        str, typer.Argument(metavar="[ORDER_ID]", help="The broker's id, with --present.")
    ] = "",
    absent: Annotated[bool, typer.Option("--absent", help="The order is not at the broker.")] = False,
    present: Annotated[bool, typer.Option("--present", help="It is the order ORDER_ID of his book.")] = False,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what became of an order whose fate the engine does not know, after a look into the broker's app.

    An order whose call was never answered is AMBIGUOUS: its instrument and side are frozen until the
    broker's book shows it, or does not show it twice, 180 s after the call. Who has looked himself
    may end that sooner. With EXCHANGE:SYMBOL and --present: accept the broker's position, when a
    difference keeps the engine from becoming ACTIVE.

    The engine reads the book first and refuses what it contradicts; it asks you to type the ID.

    Exit codes: 0 done, 1 refused, not confirmed, or no engine.
    """
    if absent == present:
        raise typer.BadParameter("say either --absent or --present")
    if absent and order_id:
        raise typer.BadParameter("an order that is absent has no ORDER_ID at the broker")
    how = "absent" if absent else "present"
    out = tables.console()
    with told("resolve"):
        with opened(state, account, broker) as picture:
            note = picture.account.running
            if note is None:
                title = picture.account.title
                raise NoRun(f"no engine is running on {title}: its next start reads the broker's books")
            show(out, picture, name, how)
        if not typed(out, name):
            raise NoRun("not confirmed: nothing was changed")
        question = uuid.uuid4().hex
        words = {"ask": question, "name": name, "how": how, "order_id": order_id, "by": user_name()}
        ask(Path(note.control), {"do": "resolve", **words}, 10.0)
        answer = answer_of(Path(note.folder) / "journal.bin", question)
        if answer.get("refused"):
            raise NoRun(f"refused: {answer['refused']}")
        say(f"done: {name} is {how}; kite-hft orders and kite-hft status tell how it stands")
        if as_json:
            print_json({"id": name, "is": how, "order_id": order_id})


def show(out: Console, picture: Picture, name: str, how: str) -> None:
    """The order that is meant, and what the word means."""
    rows = [
        row
        for row in (order_rows(picture.ledger, every=True) if picture.ledger else [])
        if str(row["order_no"]) == name
    ]
    if rows:
        show_orders(out, "Order", rows)
    elif name.isdecimal() and picture.ledger and (adopted := picture.ledger.adopted.get(int(name))):
        out.print(f"\norder {name} was adopted: {escape(adopted)} in the broker's book")
    elif name.isdecimal():
        raise NoRun(f"there is no order {name} in run {picture.folder.name}; kite-hft orders lists them")
    means = MEANS[how] if name.isdecimal() else ACCEPTS
    out.print(f"\n[b]{escape(name)} --{how}[/b]: {means}")


def typed(out: Console, name: str) -> bool:
    """Whether the person at the terminal types the ID once more.

    Raises:
        NoRun: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise NoRun("standard input is no terminal: this word has to be typed by a person")
    out.print(f"Have you looked into the broker's app? Type {name} to confirm: ", end="", markup=False)
    return sys.stdin.readline().strip() == name


def answer_of(journal: Path, question: str, wait_s: float = ANSWER_S) -> dict[str, Any]:
    """The COMMAND record that answers `question`.

    Raises:
        NoRun: there is none in time.
    """
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        try:
            records = scan(journal.read_bytes()).records
        except (JournalError, OSError) as error:
            raise NoRun(f"the journal cannot be read: {error}") from None
        for record in reversed(records):
            if record.kind is Kind.COMMAND and (data := record.data()).get("ask") == question:
                return data
        time.sleep(LOOK_S)
    raise NoRun(f"asked, but not answered within {wait_s:g} s; see kite-hft status")
