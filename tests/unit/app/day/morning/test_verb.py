"""`kite-hft morning`: what is seen is shown, also when the verdict cannot be kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from day_tools import NOW_NS, facts, opened_with

from kite_hft.app.day.account import AccountView
from kite_hft.app.day.morning import verb
from kite_hft.app.day.morning.comparing import Changes
from kite_hft.app.day.morning.left import Left
from kite_hft.app.day.morning.verdict import Morning
from kite_hft.engine.runs.verdicts import FILE_NAME


@pytest.mark.parametrize("as_json", [False, True])
def test_a_verdict_that_cannot_be_kept_is_shown_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    opened = opened_with(tmp_path)
    (opened.account / FILE_NAME).mkdir(parents=True)
    seen = Morning((), (), Changes(), AccountView(), Left(), 0, 0)
    monkeypatch.setattr(verb, "opened_day", lambda *_, **__: opened)
    monkeypatch.setattr(verb, "gather", lambda *_, **__: facts(now_ns=NOW_NS))
    monkeypatch.setattr(verb, "look", lambda *_: (seen, []))
    with pytest.raises(typer.Exit) as ended:
        verb.morning(config=opened.config, as_json=as_json)
    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert "is not kept" in said.err and str(opened.account / FILE_NAME) in said.err
    if as_json:
        told = json.loads(said.out)
        assert (told["verdict"], told["kept"]) == ("GO", False)
    else:
        assert "GO" in said.out and "Token" in said.out
