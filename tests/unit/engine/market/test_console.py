"""The classic console: who speaks, how often, and what is kept in the run folder."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.market.console import Diary, classic_greeting, classic_voice
from kite_hft.settings import ConsoleSection, Settings, StrategySection
from kite_hft.sim.market.universe import default_instruments

CLOCK = ManualClock(0, 1_755_145_801_250 * 10**6)


def settings(*names: str, **console: Any) -> Settings:
    sections = [StrategySection(name=name, instruments=["NSE:INFY"]) for name in names]
    return Settings(console=ConsoleSection(classic=True, **console), strategies=sections)


def test_lines_go_to_the_console_and_the_file(tmp_path: Path) -> None:
    said: list[str] = []
    voice = Diary(said.append, CLOCK, tmp_path, stamps=True)
    voice.say("Tick 1 | Price ₹1.00")
    voice.trade("EOD SELL", 1.5, 1.25)
    assert said == ["[2025-08-14 10:00:01] Tick 1 | Price ₹1.00"]
    log, trades = tmp_path / "classic/strategy.log", tmp_path / "classic/trades.csv"
    assert log.read_text("utf-8") == "2025-08-14 10:00:01,250 [INFO] Tick 1 | Price ₹1.00\n"
    assert trades.read_text() == "EOD SELL,1.5,1.25\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_two_processes_append_to_one_file(tmp_path: Path) -> None:
    feed, worker = (Diary(print, CLOCK, tmp_path, stamps=False) for _ in range(2))
    worker.say("one")
    feed.say("two")
    worker.say("three")
    lines = (tmp_path / "classic/strategy.log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["one", "two", "three"]


def test_what_is_done_once_more_is_not_told_again(tmp_path: Path) -> None:
    said: list[str] = []
    voice = Diary(said.append, CLOCK, tmp_path, stamps=False)
    with voice.silent():
        voice.say("again")
        voice.tick(1, "Tick 1")
        voice.trade("BUY", 1.0, 1.0)
    assert said == [] and not (tmp_path / "classic").exists()
    voice.say("now")
    assert said == ["now"]


@pytest.mark.parametrize(
    ("names", "every", "told"),
    [
        (["kalman_simple"], None, list(range(1, 41))),
        (["kalman_ml"], None, [1, 20, 40]),
        (["kalman_ml"], 1, list(range(1, 41))),
        (["kalman_simple"], 15, [1, 15, 30]),
    ],
)
def test_of_many_ticks_some_are_told_and_all_kept(
    tmp_path: Path, names: list[str], every: int | None, told: list[int]
) -> None:
    said: list[str] = []
    voice = classic_voice(settings(*names, every=every), CLOCK, said.append, tmp_path)
    for number in range(1, 41):
        voice.tick(number, f"Tick {number}")
    assert said == [f"Tick {number}" for number in told]
    assert len((tmp_path / "classic/strategy.log").read_text().splitlines()) == 40


def test_without_the_classic_console_nothing_is_kept(tmp_path: Path) -> None:
    voice = classic_voice(Settings(), CLOCK, print, tmp_path)
    voice.say("one")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "classic").write_text("in the way")
    Diary(said.append, CLOCK, tmp_path, stamps=False).say("one")
    assert said == ["one"]


def test_a_connection_is_greeted(tmp_path: Path) -> None:
    said: list[str] = []
    instruments, _ = default_instruments(3, 1)
    chosen = settings("kalman_simple", timestamps=False)
    classic_greeting(chosen, instruments, classic_voice(chosen, CLOCK, said.append, tmp_path))()
    assert said == ["WebSocket connected...", "Subscription sent for: NSE:INFY"]
    assert len((tmp_path / "classic/strategy.log").read_text().splitlines()) == 2
