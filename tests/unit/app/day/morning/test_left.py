"""What the last run left, as the morning sees it: what still counts today, and what is over."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kite_hft.app.day.morning import left
from kite_hft.app.day.morning.left import Left, left_of
from kite_hft.engine.orders.latch import set_latch
from kite_hft.engine.runs.runs import Account, NoRun

TODAY = dt.date(2026, 11, 20)
ORDER = {"instrument": "NSE:INFY", "side": "BUY", "quantity": 5, "order_no": 7, "status": "AMBIGUOUS"}


def ledger(**of: Any) -> SimpleNamespace:
    rows = {"halted": "", "reducing": "", "killed": "", "ended": True, "warnings": []}
    return SimpleNamespace(**rows | of)


@pytest.fixture
def of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`of_run(day, ledger)`: what a run of that day has left, with one order of unknown fate."""

    def look(day: str, found: SimpleNamespace | NoRun, *, running: bool = False) -> Left:
        folder = tmp_path / day / "100000"
        folder.mkdir(parents=True)

        def read(path: Path, *, running: bool) -> SimpleNamespace:
            assert path == folder
            if isinstance(found, NoRun):
                raise found
            return found

        monkeypatch.setattr(left, "newest_folder", lambda account: (folder, ""))
        monkeypatch.setattr(left, "read_ledger", read)
        monkeypatch.setattr(left, "order_rows", lambda found, every: [ORDER, ORDER | {"status": "OPEN"}])
        note: Any = SimpleNamespace() if running else None
        return left_of(tmp_path, Account("kite", "A", tmp_path, note), TODAY)

    return look


def test_a_run_of_today_still_counts(of_run: Any) -> None:
    found = of_run("2026-11-20", ledger(halted="a limit", reducing="a loss"))
    assert (found.run, found.halted, found.reducing) == ("2026-11-20/100000", "a limit", "a loss")
    assert found.unknown_today and found.unknown == ("NSE:INFY BUY 5 (order 7)",)


def test_of_another_day_the_orders_are_over_and_so_are_its_states(of_run: Any) -> None:
    found = of_run("2026-11-19", ledger(halted="a limit", reducing="a loss"))
    assert not found.halted and not found.reducing
    assert not found.unknown_today and found.unknown == ("NSE:INFY BUY 5 (order 7)",)


def test_a_kill_says_it_all(of_run: Any, tmp_path: Path) -> None:
    """A killed run is HALTED as well; the latch tells it, once."""
    set_latch(tmp_path, "enough", "me", 1)
    found = of_run("2026-11-20", ledger(halted="killed: enough", killed="enough"))
    assert found.killed == "enough" and not found.halted


@pytest.mark.parametrize(
    ("ended", "running", "words"), [(True, False, 0), (False, False, 1), (False, True, 0)]
)
def test_a_run_that_was_cut_is_told(of_run: Any, ended: bool, running: bool, words: int) -> None:
    found = of_run("2026-11-20", ledger(ended=ended), running=running)
    assert len(found.warnings) == words and found.ended == (ended or running)


def test_a_journal_that_cannot_be_read_is_told(of_run: Any) -> None:
    found = of_run("2026-11-20", NoRun("journal.bin is damaged"))
    assert found.warnings == ("run 2026-11-20/100000: journal.bin is damaged",)


def test_without_a_run_the_latch_counts(tmp_path: Path) -> None:
    set_latch(tmp_path, "enough", "me", 1)
    assert left_of(tmp_path, None, TODAY) == Left(killed="enough")
