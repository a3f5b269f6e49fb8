"""A token is read without being shown, and nonsense is refused without repeating it."""

from __future__ import annotations

import io

import pytest

from kite_hft.app.token import read_token
from kite_hft.engine.runs import NoRun


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
