"""The days before, as a configuration names them: copied once, said what they lack, read by workers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from history_tools import CALENDAR, INFY, SBIN, at_ist, weekdays

from kite_hft.clock import ManualClock
from kite_hft.configuring.models.market import StrategySection
from kite_hft.engine.history import metadata, store
from kite_hft.engine.history.store import Stored
from kite_hft.engine.market.past import metadata_folder, past_of, take_histories
from kite_hft.engine.market.strategies import StrategyError, make_strategy
from kite_hft.settings import Settings, load_settings
from kite_hft.trading.instruments import InstrumentTable

TABLE = InstrumentTable((SBIN, INFY))
DAY = "2026-06-11"
NOW = at_ist(DAY, 9)


def settings(history: Any, day: str = DAY, **more: Any) -> Settings:
    found = load_settings(Path("examples/kalman_simple.yaml"))
    section = StrategySection(name="kalman_simple", params={"history": history}, **more)
    return found.model_copy(
        update={
            "strategies": [section],
            "trading": found.trading.model_copy(update={"date": dt.date.fromisoformat(day)}),
        }
    )


def file_of(folder: Path, last: str = "2026-06-10", *keys: str) -> Path:
    days = weekdays("2025-06-02", 280)
    days = days[days["day"] <= np.datetime64(last)]
    done = dt.date.fromisoformat(last)
    for row in (SBIN, INFY):
        store.write(folder, Stored(row.key, row.token, "", "kite", dt.date(2000, 1, 3), 1, done, days))
    metadata.make(folder, keys or ["NSE:SBIN", "NSE:INFY"], CALENDAR, NOW)
    return folder / "metadata.json"


def taken(folder: Path, chosen: Settings) -> list[str]:
    return list(take_histories(chosen, TABLE, NOW, folder))


def test_a_worker_reads_the_copy_of_the_run(tmp_path: Path) -> None:
    path, run = file_of(tmp_path / "meta"), tmp_path / "run"
    run.mkdir()
    chosen = settings(str(path))
    assert taken(run, chosen) == []
    path.unlink()
    history = past_of(chosen, TABLE, ManualClock(0, NOW), run, chosen.strategies[0])
    assert history is not None and history.as_of.tolist() == [20260610, 20260610]
    assert make_strategy(chosen, chosen.strategies[0]).history is None  # not a parameter of its own


def test_a_strategy_without_the_key_has_none(tmp_path: Path) -> None:
    chosen = load_settings(Path("examples/kalman_simple.yaml"))
    assert taken(tmp_path, chosen) == []
    assert past_of(chosen, TABLE, ManualClock(0, NOW), tmp_path, chosen.strategies[0]) is None


@pytest.mark.parametrize(
    ("last", "keys", "words"),
    [
        ("2026-06-10", ("NSE:SBIN",), "no history of NSE:INFY"),
        ("2026-06-08", (), "ends on 2026-06-08, and days were traded since"),
        ("2026-06-11", (), "--until 2026-06-10"),
    ],
)
def test_what_it_lacks_is_said(tmp_path: Path, last: str, keys: tuple[str, ...], words: str) -> None:
    (line,) = taken(tmp_path, settings(str(file_of(tmp_path, last, *keys))))
    assert words in line and line.startswith("WARNING: ")


def test_only_its_own_instruments_count(tmp_path: Path) -> None:
    path = file_of(tmp_path, "2026-06-10", "NSE:SBIN")
    assert taken(tmp_path, settings(str(path), instruments=["NSE:SBIN"])) == []


@pytest.mark.parametrize(
    ("history", "words"), [("some.json", "no absolute path"), ("/nowhere/x.json", "kite-hft metadata")]
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, history: str, words: str) -> None:
    with pytest.raises(StrategyError, match=words):
        taken(tmp_path, settings(history))


def test_the_default_is_where_the_job_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file_of(metadata_folder("kite"))
    assert taken(tmp_path, settings("metadata")) == []
