"""A token is read without being shown, and nonsense is refused without repeating it."""

from __future__ import annotations

import io

import pytest

from kite_hft.app.steer import token
from kite_hft.app.steer.token import read_token
from kite_hft.engine.runs.runs import NoRun


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_first_line_of_standard_input_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "  abc123\nrest\n")
    assert read_token() == "abc123"


@pytest.mark.parametrize("text", ["", "\n", "two words\n", "tab\there\n", "naïve\n"])
def test_nonsense_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    given(monkeypatch, text)
    with pytest.raises(NoRun) as refused:
        read_token()
    assert not text.strip() or text.strip() not in str(refused.value)


class Scripted:
    """A look at a run that shows one picture after the other."""

    def __init__(self, *pictures: tuple[bool, bool, int]) -> None:
        self.pictures = list(pictures)  # connected, token_dead, polls
        self.now = self.pictures[0]
        self.readings = self

    def state(self) -> dict[str, bool]:
        self.now = self.pictures.pop(0) if self.pictures else self.now
        return {"token_dead": self.now[1]}

    def connections(self, now_ns: int) -> list[dict[str, bool]]:
        return [{"connected": self.now[0]}]

    def values(self, stage: str) -> dict[str, int]:
        return {"polls": self.now[2]}

    def alive(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("pictures", "was_dead", "why"),
    [
        ([(True, False, 5), (True, False, 6), (True, False, 7)], False, ""),
        ([(True, False, 5), (True, True, 6)], False, "refuses"),  # it was good until then
        ([(True, True, 6), (True, True, 6), (True, False, 7)], False, ""),  # the token of before was refused
        ([(False, True, 5), (True, True, 6), (True, False, 8)], True, ""),
        ([(True, False, 6)], False, "has not taken it"),  # nobody has tried it yet
        ([(True, True, 9)], True, "has not taken it"),
        ([(False, False, 9)], False, "has not taken it"),
    ],
)
def test_a_token_is_good_only_when_the_broker_has_taken_it(
    monkeypatch: pytest.MonkeyPatch, pictures: list[tuple[bool, bool, int]], was_dead: bool, why: str
) -> None:
    monkeypatch.setattr(token, "LOOK_S", 0.001)
    monkeypatch.setattr(token, "DEAD_S", 0.2)
    run = Scripted(*pictures)
    found = token.refused(run, run, 5, was_dead, 0.1 if why.startswith("has") else 60.0)  # type: ignore[arg-type]
    assert why in found and bool(found) == bool(why)
