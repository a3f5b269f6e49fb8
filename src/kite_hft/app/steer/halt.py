"""Layer 6, by hand, cold: `kite-hft halt`: nothing opens any more, the engine goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from kite_hft.app.answering import NOT_SO, JsonOption, print_json, refuse, say
from kite_hft.app.picture import AccountOption, BrokerOption, StateOption, running_note, told
from kite_hft.engine.processes.control import ask
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.runs import RunNote

CONFIRM_S: Final = 3.0
LOOK_S: Final = 0.05


def halt(
    reason: Annotated[str, typer.Argument(help="Why; it stands in the journal and in `kite-hft status`.")],
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Halt trading at once, without asking: no opening order any more until `kite-hft resume`.

    What rests stays; exits, cancels and stops go on. To cancel entries as well, also when the engine does not
    answer: kite-hft kill. To end the engine: kite-hft stop.

    Exit codes: 0 halted, 1 no engine, or it has not confirmed it.
    """
    with told("halt"):
        note = running_note(state, account, broker)
        ask(Path(note.control), {"do": "halt", "reason": " ".join(reason.split())[:200]})
        if not halted(note):
            raise refuse(
                "halt", f"asked, but not confirmed within {CONFIRM_S:g} s; see kite-hft status", NOT_SO
            )
        say(f"{note.title} is HALTED: {reason}")
        say("nothing opens any more; exits and cancels go on; kite-hft resume ends the halt")
        if as_json:
            print_json({"account": note.title, "state": "HALTED", "reason": reason})


def halted(note: RunNote) -> bool:
    """Whether the order process shows the halt within CONFIRM_S."""
    look = Look.open(note)
    try:
        deadline = time.monotonic() + CONFIRM_S
        while look.state()["state"] not in ("HALTED", "KILLED"):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S)
        return True
    finally:
        look.close()
