"""Values from prompts or from lines of standard input."""

from __future__ import annotations

import getpass
import io
from collections.abc import Iterator

import pytest

from kite_hft.app.keys.asking import Asking, asking, literal_lines
from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.password import NoPassword


def lines(monkeypatch: pytest.MonkeyPatch, text: str, value_of: str = "") -> Asking:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return asking(value_of)


def test_lines_are_taken_as_they_stand() -> None:
    text = "master_password= a 'b' #c \napi_key=k=1\nexport KITE_API_KEY=x\n# no\nno line\n"
    assert literal_lines(text) == {"master_password": " a 'b' #c ", "api_key": "k=1", "KITE_API_KEY": "x"}


def test_a_name_given_twice_is_refused_without_its_values() -> None:
    with pytest.raises(VaultError, match=r"^standard input gives api_key twice: keep one of the lines$"):
        literal_lines("api_key=one\nexport api_key=two\n")


def test_a_bare_line_is_the_value_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines(monkeypatch, "master_password=p\n\n tok=en \n", "access_token")
    assert found.ask("access_token", "") == "tok=en" and found.password("")() == "p"
    assert lines(monkeypatch, "access_token=named\n", "access_token").ask("access_token", "") == "named"
    assert lines(monkeypatch, "", "access_token").ask("access_token", "") == ""
    assert lines(monkeypatch, "api_key=x\n").ask("api_key", "") == "x"


def test_far_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VaultError, match="too much"):
        lines(monkeypatch, "a" * (2 << 20))


def test_a_new_password_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[str]

    def typed(*words: str) -> str:
        nonlocal answers
        answers = iter(words)
        return Asking().new_password("new")()

    monkeypatch.setattr(getpass, "getpass", lambda text: next(answers))
    assert typed("correct horse", "correct horse") == "correct horse"
    with pytest.raises(NoPassword, match="not the same"):
        typed("correct horse", "correct house")
    with pytest.raises(NoPassword, match="at least 10"):
        typed("short", "short")
    assert typed("") == ""  # the environment may have one
