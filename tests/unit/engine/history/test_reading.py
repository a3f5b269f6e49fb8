"""What a strategy is told of the days before."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from history_tools import CALENDAR, INFY, SBIN, at_ist, weekdays

from kite_hft.engine.history import metadata, store
from kite_hft.engine.history.reading import NoHistory, read_history
from kite_hft.engine.history.store import Stored
from kite_hft.strategies.history import AHEAD, DAY, LENGTHS, MONTH, W9, W200, WEEK
from kite_hft.trading.history import FRAMES, WINDOWS, averages, fold
from kite_hft.trading.instruments import InstrumentTable

TABLE = InstrumentTable((SBIN, INFY))
DAYS = weekdays("2025-06-02", 280)  # to Friday 2026-06-26


def file_of(folder: Path, last: dt.date) -> Path:
    days = DAYS[DAYS["day"] <= np.datetime64(last)]
    store.write(folder, Stored("NSE:SBIN", SBIN.token, "", "kite", dt.date(2000, 1, 3), 1, last, days))
    metadata.make(folder, ["NSE:SBIN"], CALENDAR, at_ist(str(last), 20))
    return folder / "metadata.json"


@pytest.mark.parametrize(
    "day", ["2026-06-11", "2026-06-12", "2026-06-15", "2026-06-01", "2026-05-29", "2026-06-03"]
)
def test_the_average_at_a_price_is_that_of_a_day_that_closes_there(tmp_path: Path, day: str) -> None:
    """In the middle of weeks and months, at their ends and beginnings."""
    today = dt.date.fromisoformat(day)
    before = DAYS[DAYS["day"] < np.datetime64(today)]
    history = read_history(file_of(tmp_path, before["day"][-1].item()), TABLE, today)
    assert history.close[0] == before["close"][-1]
    assert history.as_of[0] == int(str(before["day"][-1]).replace("-", ""))
    with_today = np.append(before, weekdays(day, 1, 123.45))
    for f, frame in enumerate(FRAMES):
        then = averages(fold(before, frame)["close"])[-1]
        np.testing.assert_allclose(history.average[0, f], then, atol=1e-7)
        now = averages(fold(with_today, frame)["close"])[-1]
        for w in range(len(WINDOWS)):
            found = history.average_at(0, 123.45, f, w)
            np.testing.assert_allclose(found, now[w], rtol=1e-9)
    assert not np.isnan(history.average_at(0, 1.0, DAY, W200))
    assert np.isnan(history.average_at(0, 1.0, WEEK, W200)) and not np.isnan(history.rest[0, MONTH, W9])


def test_the_windows_of_strategies_are_those_of_the_files() -> None:
    assert LENGTHS == WINDOWS and (FRAMES[DAY], FRAMES[WEEK], FRAMES[MONTH]) == FRAMES


def test_what_is_not_known_is_nan(tmp_path: Path) -> None:
    history = read_history(file_of(tmp_path, dt.date(2026, 6, 10)), TABLE, dt.date(2026, 6, 11))
    assert history.unknown() == [1] and history.as_of[1] == 0
    assert np.isnan(history.average[1]).all() and np.isnan(history.rest[1]).all()
    with pytest.raises(ValueError, match="read-only"):
        history.close[0] = 1.0


@pytest.mark.parametrize("day", ["2026-06-10", "2026-06-09"])
def test_nothing_of_the_day_itself_is_told(tmp_path: Path, day: str) -> None:
    history = read_history(file_of(tmp_path, dt.date(2026, 6, 10)), TABLE, dt.date.fromisoformat(day))
    assert history.as_of[0] == AHEAD and np.isnan(history.close[0])


def test_another_instrument_of_the_same_name_has_none(tmp_path: Path) -> None:
    from dataclasses import replace

    other = InstrumentTable((replace(SBIN, token=257),))
    history = read_history(file_of(tmp_path, dt.date(2026, 6, 10)), other, dt.date(2026, 6, 11))
    assert history.unknown() == [0]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(format=2),
        lambda data: data.update(windows=[9]),
        lambda data: data.pop("instruments"),
        lambda data: data["instruments"]["NSE:SBIN"].pop("week"),
        lambda data: data["instruments"]["NSE:SBIN"]["day"].update(last="x"),
    ],
)
def test_a_file_that_is_another_is_refused(tmp_path: Path, change: Any) -> None:
    path = file_of(tmp_path, dt.date(2026, 6, 10))
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(NoHistory, match=r"metadata\.json"):
        read_history(path, TABLE, dt.date(2026, 6, 11))
    with pytest.raises(NoHistory, match="kite-hft metadata"):
        read_history(tmp_path / "none.json", TABLE, dt.date(2026, 6, 11))
