"""When the evening may begin, and what becomes of the rest when a part of it cannot be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from history_tools import INFY, SBIN, at_ist

from kite_hft.app.day.ending.end_of_day import Report, _attempt, require_closed
from kite_hft.app.setup.metadata import Refused, explained
from kite_hft.engine.history.client import HistoryStopped
from kite_hft.engine.runs.runs import Account
from kite_hft.settings import SettingsError, load_settings
from kite_hft.trading.instruments import Instrument, InstrumentTable, write_csv

SETTINGS = load_settings(Path("config/demo.yaml"))
GOLD = Instrument(1, 220_000 * 256 + 7, 220_000, "GOLDM", "MCX", "MCX-FUT", "FUT", 100, 1)


def account(folder: Path, *rows: Instrument) -> Account:
    run = folder / "2026-06-10" / "091500"
    run.mkdir(parents=True)
    (run / "journal.bin").touch()
    write_csv(InstrumentTable(()).select(rows), run / "instruments.csv")
    return Account("kite", "DEMO", folder, None)


@pytest.mark.parametrize(
    ("hour", "mcx", "until"),
    [(11.0, False, "NSE trades until 15:30:00"), (15.5, False, ""), (15.5, True, "MCX trades until 23:30:00"),
     (11.0, True, "MCX trades until 23:30:00"), (23.5, True, "")],
)  # fmt: skip
def test_it_waits_for_the_last_exchange_of_the_run(
    tmp_path: Path, hour: float, mcx: bool, until: str
) -> None:
    found = account(tmp_path, SBIN, *((GOLD,) if mcx else (INFY,)))
    if not until:
        return require_closed(SETTINGS, found, at_ist("2026-06-10", hour))
    with pytest.raises(Refused, match=until) as error:
        require_closed(SETTINGS, found, at_ist("2026-06-10", hour))
    assert error.value.code == 3


def test_a_closed_day_needs_no_waiting() -> None:
    require_closed(SETTINGS, None, at_ist("2026-06-13", 11))
    with pytest.raises(Refused, match="NSE"):
        require_closed(SETTINGS, None, at_ist("2026-06-10", 11))


def test_a_part_that_fails_does_not_end_the_job() -> None:
    report = Report("2026-06-10", "kite-DEMO")
    for step, error in (("a", HistoryStopped("no token")), ("b", OSError("no room")), ("c", None)):

        def job(error: Exception | None = error) -> None:
            if error is not None:
                raise error

        _attempt(report, step, job)
    assert report.steps == {"a": "no token", "b": "no room", "c": "ok"} and report.code == 3


def test_a_fault_of_ours_is_not_hidden() -> None:
    def job() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _attempt(Report("2026-06-10", "kite-DEMO"), "a", job)
    assert explained(ZeroDivisionError()) is None
    assert explained(SettingsError("x")) == ("x", 2) and explained(Refused("y", 3)) == ("y", 3)
