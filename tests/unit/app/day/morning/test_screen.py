"""The screen of the morning keeps its words on a terminal of eighty columns."""

from __future__ import annotations

import io

from rich.console import Console

from kite_hft.app.day.morning import screen
from kite_hft.app.day.morning.hours import ClassHours

WHY = "the calendar ends on 2026-12-31, and the day is 2027-01-04: take a newer one"


def test_hours_fit_eighty_columns() -> None:
    told = io.StringIO()
    usual = ClassHours("NSE shares, closing auction", "NSE", True, 12_345, (), "09:15", "15:15", "14:55",
                       "15:08", "15:08", special=True)  # fmt: skip
    unknown = ClassHours("NSE derivatives", "NFO", False, 3, error=WHY)
    screen._hours(Console(file=told, width=80), [usual, unknown], own=False)
    text = told.getvalue()
    for word in ("12,345", "entries to", "flat by", "broker's", "special hours", "09:15-15:15", "14:55"):
        assert word in text, text
    assert "\u2026" not in text and max(map(len, text.splitlines())) <= 80, text
    assert f"NSE derivatives: {WHY}" in " ".join(text.split()), text
