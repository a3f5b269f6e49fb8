"""One run to look at: what the first line says, and how things go wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import typer

from kite_hft.app.picture import Picture, by_strategy, root_of, told
from kite_hft.engine.runs.ledger import Ledger
from kite_hft.engine.runs.runs import Account, NoRun, RunNote
from kite_hft.trading.book import Book
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.pnl import CostBook

NOON = 1_765_780_200_000_000_000  # 2025-12-15 12:00:00 in India
FOLDER = Path("/state/kite_hft/kite-X/2025-12-15/115900")


def ledger() -> Ledger:
    table = InstrumentTable(())
    book = Book(table)
    return Ledger(FOLDER, table, book, {1: "mine"}, CostBook(book, table, None), as_of_ns=NOON, ended=True)


def test_a_run_that_is_over_is_dated() -> None:
    picture = Picture(Account("kite", "X", FOLDER.parent.parent, None), FOLDER, None, None, ledger())
    assert (
        "engine is not running[/yellow]; as of 12:00:00 IST from run 2025-12-15/115900" in picture.headline()
    )
    head = picture.head()
    assert head["as_of"] == "2025-12-15 12:00:00" and head["ended_in_order"] is True and head["pid"] is None
    assert not head["running"] and head["uptime_s"] is None


def test_a_run_that_runs_is_as_of_now() -> None:
    note = RunNote("kite", "X", "paper", "115900", str(FOLDER), "", "", 77, 1, time.time_ns() - 5_000_000_000)
    picture = Picture(Account("kite", "X", FOLDER.parent.parent, note), FOLDER, note, None, ledger())
    assert picture.headline() == "[b]kite-X[/b] (paper): engine runs, process 77, run 115900"
    head = picture.head()
    assert head["ended_in_order"] is None and 4 < head["uptime_s"] < 60 and head["as_of_ns"] > NOON


def test_rows_of_one_strategy() -> None:
    rows = [{"strategy": "mine", "n": 1}, {"strategy": "EXTERNAL", "n": 2}]
    assert by_strategy(rows, None, ledger()) == rows
    assert by_strategy(rows, "EXTERNAL", ledger()) == rows[1:]
    assert by_strategy([], "mine", ledger()) == []
    with pytest.raises(NoRun, match="no strategy 'yours' in this run; there is EXTERNAL, mine"):
        by_strategy(rows, "yours", ledger())


@pytest.mark.parametrize(("given", "root"), [("/s", "/s/kite_hft"), ("/s/kite_hft", "/s/kite_hft")])
def test_the_state_directory_with_or_without_our_own_folder(given: str, root: str) -> None:
    assert root_of(Path(given)) == Path(root)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (NoRun("none"), 1, "kite-hft pnl: none\n"),
        (OSError("disk"), 1, "disk"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    with pytest.raises(typer.Exit) as ended, told("pnl"):
        raise error
    assert ended.value.exit_code == code and words in capsys.readouterr().err
