"""`kite-hft resolve`: what it asks before it asks the engine, and where it finds the answer."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from orders_world import instruments
from rich.console import Console
from typer.testing import CliRunner

from kite_hft.app.picture import Picture
from kite_hft.app.steer import resolve as resolving
from kite_hft.app.verbs import app
from kite_hft.engine.runs.ledger import read_ledger
from kite_hft.engine.runs.runs import Account, NoRun
from kite_hft.memory.journal import Header, Kind
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.trading.instruments import write_csv


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["7"], "either"),
        (["7", "--absent", "--present"], "either"),
        (["7", "26112", "--absent"], "no ORDER_ID"),
    ],
)
def test_words_that_contradict_one_another(words: list[str], cause: str) -> None:
    done = CliRunner().invoke(app, ["resolve", *words])
    assert done.exit_code == 2 and cause in done.output


def test_no_engine_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["resolve", "7", "--absent", "--state", str(tmp_path)])
    assert done.exit_code == 1


def test_only_the_very_id_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO())
    for said, taken in (("7\n", True), ("y\n", False), ("", False), ("17\n", False)):
        monkeypatch.setattr(sys, "stdin", Terminal(said))
        assert resolving.typed(out, "7") is taken, said
    monkeypatch.setattr(sys, "stdin", io.StringIO("7\n"))
    with pytest.raises(NoRun, match="typed by a person"):
        resolving.typed(out, "7")


def test_the_answer_is_the_command_record_with_our_number(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    with path.open("wb") as file:
        journal = JournalWriter(file.fileno(), header=Header(build=1, config=2, created_real_ns=3))
        for ask, refused in (("other", "no"), ("mine", "it is OPEN")):
            data = json.dumps({"do": "resolve", "ask": ask, "refused": refused}).encode()
            journal.append(Kind.COMMAND, 1, data)
    assert resolving.answer_of(path, "mine")["refused"] == "it is OPEN"
    with pytest.raises(NoRun, match="not answered"):
        resolving.answer_of(path, "nobody's", wait_s=0.01)
    with pytest.raises(NoRun, match="cannot be read"):
        resolving.answer_of(tmp_path / "none", "mine")


def test_an_adopted_order_is_shown_by_the_number_that_its_alerts_name(tmp_path: Path) -> None:
    write_csv(instruments(), tmp_path / "instruments.csv")
    with (tmp_path / "journal.bin").open("wb") as file:
        journal = JournalWriter(file.fileno(), header=Header(build=1, config=2, created_real_ns=3))
        journal.append(Kind.EXTERNAL, 1, json.dumps({"adopted": {"261120000240892": 7}}).encode())
        journal.sync()
    ledger = read_ledger(tmp_path, running=False)
    picture = Picture(Account("kite", "X", tmp_path, None), tmp_path, None, None, ledger)
    out = Console(file=io.StringIO(), width=200)
    resolving.show(out, picture, "7", "absent")
    assert "order 7 was adopted: 261120000240892 in the broker's book" in out.file.getvalue()
    assert "7 --absent: the broker never had it" in out.file.getvalue()
    with pytest.raises(NoRun, match="there is no order 8"):
        resolving.show(out, picture, "8", "absent")
