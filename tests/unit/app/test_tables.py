"""Tables that fit, and numbers as people read them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kite_hft.app import tables

ROWS = [{"a": "NSE:LONGNAME", "b": 1234567, "c": None, "d": -250}]
COLUMNS = (
    tables.Column("a", tables.field("a")),
    tables.Column("b", tables.count("b"), right=True, drop=2),
    tables.Column("c", tables.field("c"), drop=1),
    tables.Column("d", tables.money("d"), right=True),
)


@pytest.mark.parametrize(
    ("width", "heads"), [(80, "abcd"), (33, "abcd"), (32, "abd"), (30, "abd"), (29, "ad"), (5, "ad")]
)
def test_columns_are_left_out_in_their_order(width: int, heads: str) -> None:
    kept, dropped = tables.fitting(COLUMNS, ROWS, width)
    assert "".join(column.head for column in kept) == heads
    assert len(kept) + len(dropped) == len(COLUMNS)


def test_what_is_left_out_is_said_and_no_line_is_too_long() -> None:
    out = io.StringIO()
    tables.show(Console(file=out, width=29), "Title", COLUMNS, ROWS)
    text = out.getvalue()
    assert "hidden: c, b" in text.replace("\n", " ") and "-2.50" in text and "1,234,567" not in text
    assert max(map(len, text.splitlines())) <= 29


def test_money_and_counts() -> None:
    assert tables.rupees(123_456_789) == "1,234,567.89" and tables.rupees(-5) == "-0.05"
    assert tables.money("d")({"d": None}) == "" and tables.money("d")({"d": 5}) == "[green]0.05[/green]"
    assert tables.money("d")({"d": -5}) == "[red]-0.05[/red]" and tables.money("d")({"d": 0}) == "0.00"
    assert tables.money_plain("d")({"d": -5}) == "-0.05" and tables.count("n")({"n": 0}) == "·"
    assert tables.field("x")({"x": "[b]NSE[/b]"}) == r"\[b]NSE\[/b]"


def test_times() -> None:
    shown = [tables.seconds(value) for value in (None, 0.04, 9.94, 12.3, 119.0, 240.0, 9000.0)]
    assert shown == ["never", "0.0 s", "9.9 s", "12 s", "119 s", "4 min", "2 h"]
    assert tables.clock_text(3725.9) == "1:02:05"


def test_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert tables.console().width == tables.WIDE
    monkeypatch.setenv("COLUMNS", "66")
    assert tables.console().width == 66
