"""Layer 6, by hand, cold: a new token for the engines that run with the same login: none has to restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

from kite_hft.app.steer.token import TRIED, asked_books, refused
from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.runs import RunNote, running
from kite_hft.memory.segment import SegmentError

ASK_S: Final = 10.0
"""So long may an engine take to answer, and one that begins or ends to do either."""
AGAIN_S: Final = 0.1


class Handed(NamedTuple):
    """What became of a token at an engine."""

    engine: str
    taken: bool
    text: str


class Given(NamedTuple):
    """A token, and what says for whom it is: an engine with another key or address keeps its own."""

    broker: str
    api_key: str
    api_url: str
    access_token: str


def engines_of(broker: str, api_key: str, api_url: str, account: str | None) -> list[RunNote]:
    """Engines of this user that run with this login, for orders or for prices. One that begins or ends is
    waited for; one that lives on and does not answer counts: whoever asks is told of it.
    """
    message = {"do": "same_login", "broker": broker, "api_key": api_key, "api_url": api_url}
    until = time.monotonic() + ASK_S

    def same(note: RunNote) -> bool:
        while True:
            try:
                return bool(ask(Path(note.control), message, ASK_S)["same"])
            except ControlError:
                if not note.alive():
                    return False
                if time.monotonic() >= until:
                    return True
                time.sleep(AGAIN_S)

    notes = [note for note in running() if broker in (note.broker, *note.data_brokers)]
    return [note for note in notes if account in (None, note.account) and same(note)]


def hand_over(note: RunNote, given: Given, wait_s: float) -> Handed:
    """Give an engine its new token, and see whether the broker takes it from there. wait_s 0: do not look.
    One that ends meanwhile needs none.
    """
    try:
        look = Look.open(note)
    except (SegmentError, OSError) as error:
        return _not_told(note, f"its memory cannot be read: {error}")
    try:
        polls, was_dead = asked_books(look), bool(look.state()["token_dead"])
        ask(Path(note.control), {"do": "token", **given._asdict()}, ASK_S)
        if given.broker != note.broker or note.mode == "paper":
            polls -= TRIED  # of prices alone: ORDERS has nothing to try
        why = refused(look, note, polls, was_dead, wait_s) if wait_s else ""
    except ControlError as error:
        return _not_told(note, str(error))
    finally:
        look.close()
    return Handed(note.title, not why, why or "has the new token")


def _not_told(note: RunNote, why: str) -> Handed:
    until = time.monotonic() + ASK_S
    while note.alive():
        if time.monotonic() >= until:
            return Handed(note.title, False, why)
        time.sleep(AGAIN_S)
    return Handed(note.title, True, "has ended meanwhile")
