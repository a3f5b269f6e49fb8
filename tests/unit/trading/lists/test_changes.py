"""What is different today: lots, ticks, freeze quantities, contracts, restrictions."""

from __future__ import annotations

import datetime as dt
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from master_tools import DAY, MONTH, WEEK, at_upstox, columns, future, market, share

from kite_hft.brokers.kite.master import parse_columns
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.lists.changes import Change, DayState, changes

FRIDAY = dt.date(2026, 8, 14)


def of(before: list[Instrument], now: list[Instrument], day: dt.date = DAY) -> list[str]:
    state = DayState(FRIDAY, {"kite": columns(*before)}), DayState(day, {"kite": columns(*now)})
    return [str(change) for change in changes(*state)]


def test_the_same_lists_have_no_change() -> None:
    assert of(market(), list(reversed(market()))) == []


def test_a_lot_change_is_one_line_for_all_contracts() -> None:
    now = [replace(row, lot_size=75) if row.name == "NIFTY" else row for row in market()]
    assert of(market(), now) == ["NFO:NIFTY: lot 65 -> 75 at kite (32 contracts)"]


def test_what_an_order_is_checked_by() -> None:
    before = [at_upstox(row) for row in market() if not row.is_index]
    now = [
        replace(row, tick_px=10, freeze_quantity=900, multiplier=None) if row.symbol == "SBIN" else row
        for row in before
    ]
    assert of(before, now) == [
        "NSE:SBIN: tick 0.05 -> 0.1 at kite", "NSE:SBIN: freeze 1800 -> 900 at kite",
        "NSE:SBIN: multiplier 1 -> not known at kite",
    ]  # fmt: skip


def test_contracts_that_went_and_came() -> None:
    now = [row for row in market() if row.expiry != WEEK] + [
        future("NIFTY", "2026-10-27", 9),
        share("NEW", 8),
    ]
    assert of(market(), now) == [
        "NFO:NIFTY: gone from kite's list before its end (10 contracts)", "NSE:NEW: new in kite's list"
    ]  # fmt: skip
    assert of(market(), now[:-2], dt.date(2026, 8, 19)) == [], "what ended is not gone"
    assert of([], [future("N", MONTH, 1), future("N", WEEK, 2)]) == [
        "NFO:N: new in kite's list (2 contracts)"
    ]


def test_a_contract_whose_token_changed_is_the_same() -> None:
    moved = [
        replace(row, token=row.token + 256 * 1000, exchange_token=row.exchange_token + 1000)
        for row in market()
    ]
    assert of(market(), [replace(moved[0], lot_size=2), *moved[1:]]) == ["NSE:SBIN: lot 1 -> 2 at kite"]


def test_restrictions() -> None:
    yesterday = DayState(FRIDAY, {}, {"fo_ban": frozenset("AB"), "asm": frozenset(), "mis_blocked": None})
    today = DayState(
        DAY, {}, {"fo_ban": frozenset("BC"), "asm": None, "mis_blocked": frozenset("X"), "sme": None}
    )
    assert [str(change) for change in changes(yesterday, today)] == [
        "C is now on the list fo_ban", "A is no longer on the list fo_ban",
        "the list asm of 2026-08-17 is missing (there is one of 2026-08-14)",
    ]  # fmt: skip


def test_only_what_is_traded() -> None:
    now = [replace(row, lot_size=75) for row in market() if not row.is_index]
    yesterday = DayState(FRIDAY, {"kite": columns(*market())}, {"fo_ban": frozenset(), "asm": frozenset()})
    today = DayState(DAY, {"kite": columns(*now)}, {"fo_ban": frozenset({"SBIN", "OTHER"}), "asm": None})
    found = [str(change) for change in changes(yesterday, today, {"SBIN", "NSE:SBIN"})]
    assert found == [
        "SBIN is now on the list fo_ban",
        "the list asm of 2026-08-17 is missing (there is one of 2026-08-14)",
        "NFO:SBIN: lot 65 -> 75 at kite", "NSE:SBIN: lot 1 -> 75 at kite",
    ]  # fmt: skip


def test_a_record_for_programs() -> None:
    found = Change("lot", "NFO:NIFTY", "kite", "65", "75", 2, ("NFO:A", "NFO:B")).record()
    assert found["text"] == "NFO:NIFTY: lot 65 -> 75 at kite (2 contracts)"
    assert (found["before"], found["after"], found["examples"]) == ("65", "75", ["NFO:A", "NFO:B"])


@pytest.mark.data
def test_a_lot_change_in_the_real_list(data_dir: Path) -> None:
    data = lzma.decompress((data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz").read_bytes())
    lines = [line.replace(b",65,", b",75,") if b",NIFTY," in line else line for line in data.splitlines()]
    now = [line for line in lines if b"KAYNES26AUG" not in line]
    state = [
        DayState(day, {"kite": parse_columns(content)})
        for day, content in ((FRIDAY, data), (DAY, b"\n".join(now) + b"\n"))
    ]
    assert [str(change) for change in changes(*state)] == [
        "NFO:NIFTY: lot 65 -> 75 at kite (1,725 contracts)",
        "NFO:KAYNES: gone from kite's list before its end (65 contracts)",
    ]
