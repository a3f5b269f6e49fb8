"""Layer 6, by hand, cold: `kite-hft cancel-all`: every order that opens is cancelled, and nothing is stopped.

The cancels go the way of all order calls: through the throttle, the broker's windows and the journal of the
running engine. Which orders it means ORDERS says in its journal (COMMAND); what became of them is read there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from kite_hft.app.answering import NOT_READY, JsonOption, print_json, refuse, say
from kite_hft.app.person import user_name
from kite_hft.app.picture import AccountOption, BrokerOption, StateOption, running_note, told
from kite_hft.app.steer.resolve import answer_of
from kite_hft.app.steer.stop import many
from kite_hft.engine.processes.control import ask
from kite_hft.engine.runs.ledger import read_ledger
from kite_hft.layout import OrderStatus
from kite_hft.trading.lifecycle import TERMINAL

CONFIRM_S: Final = 3.0
LOOK_S: Final = 0.2


def cancel_all(
    reason: Annotated[str, typer.Argument(help="Why; it stands in the journal.")],
    wait: Annotated[float, typer.Option(min=0.0, help="Longest wait for the cancels, in seconds.")] = 15.0,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel every order that would open something, at once, without asking; the engine trades on.

    Exits and stops stay, and positions. Strategies may place new orders right behind it: to keep them from
    that, kite-hft halt first. GTTs that would open something are deleted. Orders that somebody placed in the
    broker's app are not touched. When the engine does not answer: kite-hft kill.

    Exit codes: 0 none of them lives, 1 no engine, or it has not confirmed it, 3 some may still live when the
    wait is over.
    """
    with told("cancel-all"):
        note = running_note(state, account, broker)
        question = uuid.uuid4().hex
        words = {"ask": question, "reason": " ".join(reason.split())[:200], "by": user_name()}
        ask(Path(note.control), {"do": "cancel_all", **words})
        answer = answer_of(Path(note.folder) / "journal.bin", question, CONFIRM_S)
        meant = [int(number) for number in answer["orders"]]
        say(f"{note.title}: {many(len(meant), 'order that opens', 'orders that open')} to cancel")
        ended = follow(Path(note.folder), meant, wait)
        left = [number for number in meant if number not in ended]
        filled = [number for number, status in ended.items() if status is OrderStatus.COMPLETE]
        if filled:
            say(f"filled before its cancel came: {', '.join(map(str, filled))} (kite-hft positions)")
        if as_json:
            print_json(
                {"account": note.title, "reason": words["reason"], "orders": meant, "left": left,
                 "filled": filled, "exit_code": NOT_READY if left else 0}
            )  # fmt: skip
        if left:
            numbers = ", ".join(map(str, left))
            text = f"after {wait:g} s not known to be cancelled: {numbers}; kite-hft orders, the broker's app"
            raise refuse("cancel-all", text, NOT_READY)
        say("none of them lives; exits and stops stay, strategies trade on")


def follow(folder: Path, meant: Sequence[int], wait_s: float) -> dict[int, OrderStatus]:
    """Orders of `meant` that have ended within the time, and how. One that never left has no record: it was
    taken back.

    Raises:
        NoRun: the journal cannot be read.
    """
    deadline = time.monotonic() + wait_s
    while True:
        orders = read_ledger(folder, running=True).book.orders
        stands = {n: orders[n].status if n in orders else OrderStatus.CANCELLED for n in meant}
        ended = {n: status for n, status in stands.items() if status in TERMINAL}
        if len(ended) == len(stands) or time.monotonic() > deadline:
            return ended
        time.sleep(LOOK_S)
