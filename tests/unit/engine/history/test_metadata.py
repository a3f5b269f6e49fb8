"""metadata.parquet and metadata.json: bars, averages, what is finished, missing and odd."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from history_tools import CALENDAR, SBIN, at_ist, changed, weekdays
from reference import history as twin

from kite_hft.engine.history import metadata, store
from kite_hft.engine.history.store import Stored
from kite_hft.trading.history import Array

HOLIDAYS = ("2026-01-15", "2026-01-26", "2026-03-03", "2026-03-26", "2026-03-31", "2026-04-03", "2026-04-14",
            "2026-05-01", "2026-05-28")  # fmt: skip
DAYS = weekdays("2026-01-01", 111, skip=HOLIDAYS)
"""To Wednesday 2026-06-17; Sunday 2026-02-01 was traded, and is missing."""
LAST = dt.date(2026, 6, 17)
NOW = at_ist("2026-06-17", 17)


def put(folder: Path, days: Array, key: str = "NSE:SBIN", done: dt.date = LAST) -> None:
    store.write(folder, Stored(key, SBIN.token, "", "kite", dt.date(2000, 1, 3), NOW, done, days))


def made(folder: Path, *keys: str, **more: Any) -> dict[str, Any]:
    metadata.make(folder, keys or ["NSE:SBIN"], CALENDAR, NOW, **more)
    found: dict[str, Any] = json.loads((folder / "metadata.json").read_text())
    return found["instruments"]


def test_the_files_hold_what_the_twin_says(tmp_path: Path) -> None:
    assert DAYS["day"][-1].item() == LAST
    put(tmp_path, DAYS)
    row = made(tmp_path)["NSE:SBIN"]
    rows = [(d["day"].item(), *(float(d[n]) for n in ("open", "high", "low", "close")), 1000) for d in DAYS]
    table = pq.read_table(tmp_path / "metadata.parquet").to_pylist()
    for frame in ("day", "week", "month"):
        wanted = twin.bars(rows, frame)
        found = [bar for bar in table if bar["frame"] == frame]
        assert [(b["first"], b["last"], b["open"], b["high"], b["low"], b["close"], b["volume"], b["days"])
                for b in found] == wanted  # fmt: skip
        means = twin.average([bar[5] for bar in wanted], 9)
        assert [bar["average_9"] for bar in found] == means
        assert all(bar["average_200"] is None for bar in found)
        assert row[frame]["average"] == {"9": round(means[-1] or 0, 7) if means[-1] else None, "200": None}
        assert [bar["finished"] for bar in found] == [True] * (len(found) - 1) + [frame == "day"]
    assert row["missing"] == ["2026-02-01"] and row["all_years_checked"]


@pytest.mark.parametrize(
    ("last", "week", "month"),
    [
        ("2026-05-27", False, False),  # Thursday is a holiday, Friday is traded
        ("2026-05-29", True, True),
        ("2026-04-02", True, False),  # Good Friday is a holiday: Thursday ends the week
        ("2026-03-30", False, True),  # Tuesday, the 31st, is a holiday: Monday ends the month, not the week
        ("2026-06-11", False, False),
    ],
)
def test_holidays_end_weeks_and_months_early(tmp_path: Path, last: str, week: bool, month: bool) -> None:
    end = dt.date.fromisoformat(last)
    put(tmp_path, DAYS[DAYS["day"] <= np.datetime64(end)], done=end)
    row = made(tmp_path)["NSE:SBIN"]
    assert (row["week"]["finished"], row["month"]["finished"]) == (week, month)


def test_the_day_under_way_stands_apart(tmp_path: Path) -> None:
    """Averages that a strategy reads are of days that are over."""
    put(tmp_path, DAYS, done=dt.date(2026, 6, 16))
    row = made(tmp_path)["NSE:SBIN"]
    assert row["under_way"]["last"] == "2026-06-17" and row["day"]["last"] == "2026-06-16"
    day = [bar for bar in pq.read_table(tmp_path / "metadata.parquet").to_pylist() if bar["frame"] == "day"]
    assert [bar["finished"] for bar in day[-2:]] == [True, False]
    put(tmp_path, DAYS[:-1], done=dt.date(2026, 6, 16))
    assert made(tmp_path)["NSE:SBIN"]["day"] == row["day"]


def test_until_is_as_if_nothing_came_after(tmp_path: Path) -> None:
    put(tmp_path, DAYS[:60], done=DAYS["day"][59].item())
    wanted = made(tmp_path)
    put(tmp_path, DAYS)
    assert made(tmp_path, until=DAYS["day"][59].item()) == wanted


def test_gaps_are_listed_and_never_filled(tmp_path: Path) -> None:
    put(tmp_path, np.delete(DAYS, [20, 40]))
    row = made(tmp_path)["NSE:SBIN"]
    assert row["missing"] == sorted([*(str(DAYS["day"][i]) for i in (20, 40)), "2026-02-01"])
    assert row["day"]["bars"] == len(DAYS) - 2


def test_years_without_holidays_are_judged_by_the_market(tmp_path: Path) -> None:
    """2019: the calendar knows weekends only; three instruments say which days were traded."""
    days = weekdays("2019-01-01", 100, skip=("2019-01-14", "2019-03-04"))
    put(tmp_path, np.delete(days, 50), done=days["day"][-1].item())
    assert made(tmp_path)["NSE:SBIN"]["all_years_checked"] is False
    for name in ("A", "B", "C"):
        put(tmp_path, days, f"NSE:{name}", days["day"][-1].item())
    row = made(tmp_path, "NSE:SBIN", "NSE:A", "NSE:B", "NSE:C")["NSE:SBIN"]
    assert row["missing"] == [str(days["day"][50])] and row["all_years_checked"] is True


def test_a_split_that_was_not_adjusted_is_warned_about(tmp_path: Path) -> None:
    def split(days: Array) -> None:
        for name in ("open", "high", "low", "close"):
            days[name][70:] /= 5

    put(tmp_path, changed(DAYS, split))
    for name in ("A", "B", "C"):
        put(tmp_path, DAYS, f"NSE:{name}")
    keys = ("NSE:SBIN", "NSE:A", "NSE:B", "NSE:C")
    found = made(tmp_path, *keys)
    (warning,) = found["NSE:SBIN"]["warnings"]
    assert warning.startswith(f"{DAYS['day'][70]}: opens -80%") and "1:5" in warning
    assert found["NSE:A"]["warnings"] == []
    for name in ("A", "B", "C"):  # the market fell with it: no split
        put(tmp_path, changed(DAYS, split), f"NSE:{name}")
    assert made(tmp_path, *keys)["NSE:SBIN"]["warnings"] == []


def test_a_damaged_file_is_said_and_the_others_are_made(tmp_path: Path) -> None:
    put(tmp_path, DAYS)
    put(tmp_path, DAYS, "NSE:A")
    store.path_of(tmp_path, "NSE:A").write_bytes(b"PAR1")
    found = metadata.make(tmp_path, ["NSE:SBIN", "NSE:A"], CALENDAR, NOW)
    assert found.instruments == 1 and len(found.damaged) == 1
