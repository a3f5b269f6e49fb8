"""Rows: positions against the official mock's numbers, tags, and what a cancelled order shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mock_shapes import mock
from sim_tools import EQUITY, NOW, exchange_at

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.account import Position
from kite_hft.sim.exchange.orders import NewOrder
from kite_hft.sim.kite.rows import ist_text, order_row, position_row

LEAD = replace(EQUITY, symbol="LEADMINI17DECFUT", exchange="MCX", token=53496327, multiplier=1000)
GOLD = replace(EQUITY, symbol="GOLDGUINEA17DECFUT", exchange="MCX", token=53505799)


def lead() -> Position:
    """Bought one today at 161.05, thousand units each."""
    return Position(LEAD, Product.NRML, buy_quantity=1, buy_units=16_105, buy_paise=16_105_000)


def gold() -> Position:
    """Three carried in at 23,057; one bought today at 23,388, four sold at 23,340."""
    return Position(
        GOLD, Product.NRML, buy_quantity=1, sell_quantity=4, buy_units=2_338_800, sell_units=9_336_000,
        buy_paise=2_338_800, sell_paise=9_336_000, overnight_quantity=3, overnight_px=2_305_700,
        overnight_paise=6_917_100,
    )  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize(
    ("book", "place", "position", "last_px", "close_px"),
    [("net", 0, lead(), 16_105, 0), ("net", 1, gold(), 2_335_500, 2_323_200),
     ("day", 0, gold(), 2_335_500, 2_323_200), ("day", 1, lead(), 16_105, 0)],
)  # fmt: skip
def test_positions_of_the_official_mock(
    data_dir: Path, book: str, place: int, position: Position, last_px: int, close_px: int
) -> None:
    theirs = mock(data_dir, "positions.json")[book][place]
    assert position_row(position, last_px, close_px, carried=book == "net") == pytest.approx(theirs)


def test_a_short_that_was_carried_in() -> None:
    short = Position(
        EQUITY, Product.NRML, overnight_quantity=-5, overnight_px=10_000, overnight_paise=-50_000
    )
    row = position_row(short, 9_000, 9_500)
    assert (row["quantity"], row["overnight_quantity"], row["average_price"]) == (-5, -5, 100.0)
    assert (row["sell_value"], row["sell_m2m"], row["buy_value"]) == (500.0, 475.0, 0.0)
    assert (row["pnl"], row["m2m"]) == (50.0, 25.0)
    assert row["day_sell_quantity"] == 0


@pytest.mark.parametrize(
    ("tag", "marks", "shown"),
    [
        (None, [], []),
        ("mine", [], ["mine"]),
        ("mine", ["mktp", "mktp:2.00"], ["mktp", "mktp:2.00", "mine"]),
        (None, ["mktp", "mktp:0.50"], ["mktp", "mktp:0.50"]),
        ("mktp:9", ["autoslice", "autoslice:12"], ["autoslice", "autoslice:12", "mktp:9"]),
        ("autoslice", [], ["autoslice"]),
    ],
)
def test_tags_of_the_client_and_of_the_broker(tag: str | None, marks: list[str], shown: list[str]) -> None:
    """The client's tag is echoed as it is, whatever marks the broker adds and whatever it says."""
    exchange = exchange_at()
    request = NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, Product.MIS, 1, px=9_000, tag=tag)
    order = exchange.orders[exchange.place(request, NOW)]
    order.marks += marks
    row = order_row(order, order.now, "ME")
    assert (row["tag"], row["tags"]) == (tag, shown)


def test_times() -> None:
    assert ist_text(1_765_771_368_999_999_999) == "2025-12-15 09:32:48"
    assert ist_text(0) is None
