"""What changed since the day before, from the kept lists and the dated files of restrictions."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from master_tools import DAY, columns, market

from kite_hft.engine.plan.day_changes import day_changes, restricted
from kite_hft.engine.plan.master_cache import Mark, save
from kite_hft.settings import Settings, SettingsError

CONFIG = Path(__file__).parents[4] / "config"
NOON = int(dt.datetime(2026, 8, 17, 6, 30, tzinfo=dt.UTC).timestamp()) * 10**9
FRIDAY = dt.date(2026, 8, 14)


def settings(lists: Path, **sections: Any) -> Settings:
    made = Settings.model_validate({"broker": "upstox", "risk": {"lists": str(lists)}} | sections)
    files = {name: CONFIG / getattr(made.trading, name) for name in ("indices", "market")}
    return made.model_copy(update={"trading": made.trading.model_copy(update=files)})


def kept(cache: Path, day: dt.date, lot: int) -> None:
    made = columns(*(replace(row, lot_size=lot) if row.name == "NIFTY" else row for row in market()))
    save(cache, Mark("upstox", "upstox", day.isoformat(), NOON - 1, len(made), "00"), made)


def test_lots_and_restrictions(tmp_path: Path) -> None:
    for day, lot in ((FRIDAY, 65), (DAY, 75)):
        kept(tmp_path, day, lot)
    for name, day, text in (
        ("fo_ban", FRIDAY, "SBIN\nIDEA\n"), ("fo_ban", DAY, "symbol,name\nSBIN,State Bank\nRELIANCE\n"),
        ("fo_ban", dt.date(2026, 8, 13), "OLD\n"), ("mis_blocked", dt.date(2026, 8, 13), "NSE:IDEA\n"),
        ("asm", DAY, ""),
    ):  # fmt: skip
        (tmp_path / f"{name}-{day}.csv").write_text(text)
    (tmp_path / "notes.csv").write_text("x")
    (tmp_path / "fo_ban-2026-99-99.csv").write_text("x")
    found = day_changes(settings(tmp_path), NOON, tmp_path)
    assert [str(change) for change in found.changes] == [
        "the list mis_blocked of 2026-08-17 is missing (there is one of 2026-08-13)",
        "RELIANCE is now on the list fo_ban", "IDEA is no longer on the list fo_ban",
        "NFO:NIFTY: lot 65 -> 75 at upstox (32 contracts)",
    ]  # fmt: skip
    assert found.since["upstox"] == found.since["fo_ban"] == "2026-08-14"
    assert (found.since["mis_blocked"], found.since["asm"]) == ("2026-08-13", "nothing")
    assert "mis_blocked-2026-08-17.csv" in found.notes[0] and "asm" not in found.notes[0]
    only = day_changes(settings(tmp_path), NOON, tmp_path, {"RELIANCE"})
    assert [change.what for change in only.changes] == ["missing", "on"]


def test_without_lists_there_is_nothing_to_compare(tmp_path: Path) -> None:
    found = day_changes(settings(tmp_path), NOON, tmp_path)
    assert found.changes == [] and "no such list: kite-hft instruments refresh" in found.notes[0]
    kept(tmp_path, DAY, 65)
    found = day_changes(settings(tmp_path), NOON, tmp_path)
    assert found.changes == [] and found.since["upstox"] == "nothing"


def test_a_line_that_is_no_name(tmp_path: Path) -> None:
    (tmp_path / f"fo_ban-{DAY}.csv").write_text("1,SBIN\n")
    with pytest.raises(SettingsError, match="line 1: '1' is neither EXCHANGE:SYMBOL nor a name"):
        restricted(settings(tmp_path), DAY)
