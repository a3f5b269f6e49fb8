"""A new token for an engine that runs: what is waited for, and what is said when it does not take it."""

from __future__ import annotations

from typing import Any

import pytest

from kite_hft.app.keys import handing
from kite_hft.app.keys.handing import Given, engines_of, hand_over
from kite_hft.app.steer.token import TRIED
from kite_hft.engine.processes.control import ControlError
from kite_hft.engine.runs.runs import RunNote
from kite_hft.memory.segment import SegmentError

GIVEN = Given("kite", "key1", "https://api.kite.trade", "s3cret")
POLLS = 40


class Memory:
    """Of a running engine; tells when it was let go."""

    closed = False

    def state(self) -> dict[str, int]:
        return {"token_dead": 1}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Takes every token; what it was told, and what was waited for."""
    seen: dict[str, Any] = {"memory": Memory()}

    def refused(look: Memory, note: RunNote, polls: int, was_dead: bool, wait_s: float) -> str:
        seen["waited"] = (polls, was_dead, wait_s)
        return str(seen.get("why", ""))

    monkeypatch.setattr(handing.Look, "open", lambda note: seen["memory"])
    monkeypatch.setattr(handing, "asked_books", lambda look: POLLS)
    monkeypatch.setattr(handing, "refused", refused)
    monkeypatch.setattr(handing, "ask", lambda path, message, wait_s: seen.update(told=message))
    return seen


def note(broker: str = "kite", mode: str = "live") -> RunNote:
    return RunNote(broker, "A", mode, "r", "/f", "/s", "/c", 1, 1, 1)


def test_the_order_broker_is_read_twice_before_it_counts(engine: dict[str, Any]) -> None:
    found = hand_over(note(), GIVEN, 5.0)
    assert found.taken and engine["waited"] == (POLLS, True, 5.0) and engine["memory"].closed
    assert engine["told"] == {"do": "token"} | GIVEN._asdict()


@pytest.mark.parametrize("run", [note(mode="paper"), note(broker="upstox")])
def test_a_token_for_prices_alone_is_not_waited_for_by_orders(engine: dict[str, Any], run: RunNote) -> None:
    """ORDERS has nothing to try with it: it would be waited for in vain."""
    assert hand_over(run, GIVEN, 5.0).taken
    assert engine["waited"] == (POLLS - TRIED, True, 5.0)


def test_who_does_not_wait_does_not_ask(engine: dict[str, Any]) -> None:
    assert hand_over(note(), GIVEN, 0.0).taken and "waited" not in engine


def test_an_engine_that_does_not_take_it_says_why(engine: dict[str, Any]) -> None:
    engine["why"] = "the broker refuses it"
    found = hand_over(note(), GIVEN, 5.0)
    assert (found.taken, found.text, found.engine) == (False, "the broker refuses it", "kite-A")
    assert "s3cret" not in repr(found)


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the engine is alive, look by look; nobody waits for the clock."""
    left: list[bool] = []
    now = [0.0]
    monkeypatch.setattr(RunNote, "alive", lambda self: left.pop(0) if len(left) > 1 else left[0])
    monkeypatch.setattr(handing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(handing.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return left


def gone(*_: Any) -> None:
    raise ControlError("it does not listen")


def damaged(note: RunNote) -> None:
    raise SegmentError("gone")


def test_an_engine_that_cannot_be_told(
    engine: dict[str, Any], lives: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    lives[:] = [True]
    monkeypatch.setattr(handing, "ask", gone)
    assert hand_over(note(), GIVEN, 5.0) == ("kite-A", False, "it does not listen")
    assert engine["memory"].closed
    monkeypatch.setattr(handing.Look, "open", damaged)
    assert not hand_over(note(), GIVEN, 5.0).taken


@pytest.mark.parametrize("broken", [("ask", gone), ("Look", damaged)])
def test_an_engine_that_ends_just_now_needs_no_token(
    engine: dict[str, Any], lives: list[bool], monkeypatch: pytest.MonkeyPatch, broken: tuple[str, Any]
) -> None:
    """It had been found running: its login has not failed for that."""
    lives[:] = [True, True, False]
    where, what = broken
    monkeypatch.setattr(*((handing.Look, "open") if where == "Look" else (handing, where)), what)
    assert hand_over(note(), GIVEN, 5.0) == ("kite-A", True, "has ended meanwhile")


@pytest.mark.parametrize(
    ("answers", "alive", "found"),
    [
        ([True], [True], 1),
        ([False], [True], 0),
        ([None, None, True], [True], 1),  # it begins: its socket is not there yet
        ([None, None, False], [True], 0),
        ([None], [True, True, False], 0),  # it ends: its socket has gone first
        ([None], [True], 1),  # it hangs: whoever asks is told of it
    ],
)
def test_engines_that_begin_or_end_are_waited_for(
    lives: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    answers: list[bool | None],
    alive: list[bool],
    found: int,
) -> None:
    def ask(*_: Any) -> dict[str, bool]:
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if said is None:
            raise ControlError("no engine listens")
        return {"same": said}

    lives[:] = alive
    monkeypatch.setattr(handing, "ask", ask)
    monkeypatch.setattr(handing, "running", lambda: [note()])
    assert len(engines_of("kite", "key1", "https://api.kite.trade", None)) == found
