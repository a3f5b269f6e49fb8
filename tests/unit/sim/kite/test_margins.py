"""Margins: the relations that the official mocks show, on the simulator's own numbers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from mock_shapes import differences, mock

from kite_hft.layout import Product, Side
from kite_hft.sim.kite.margins import MarginLeg, basket_margin, compact, order_margin, span_of
from kite_hft.trading.instruments import Instrument

DAY = dt.date(2023, 7, 3)
SPOT = 19_434.15
SHARE = Instrument(0, 408065, 1594, "INFY", "NSE", "NSE", "EQ", 5, 1, multiplier=1)


def call(strike: int, kind: str = "CE", name: str = "NIFTY") -> Instrument:
    return Instrument(
        0, 2, 1, f"{name}{strike}{kind}", "NFO", "NFO-OPT", kind, 5, 75, name=name, strike_px=strike * 100,
        multiplier=1,
    )  # fmt: skip


def leg(row: Instrument, side: Side, price: float, quantity: int = 75, spot: float = SPOT) -> MarginLeg:
    return MarginLeg(row, side, Product.NRML, quantity, price, spot)


SOLD, BOUGHT = leg(call(20_600), Side.SELL, 35.65), leg(call(20_700), Side.BUY, 6.95)
FUTURE = Instrument(0, 2, 1, "NIFTYFUT", "NFO", "NFO-FUT", "FUT", 5, 75, name="NIFTY", multiplier=1)


@pytest.mark.data
def test_a_share_as_in_the_official_mock(data_dir: Path) -> None:
    (theirs,) = mock(data_dir, "order_margins.json")
    ours = order_margin(MarginLeg(SHARE, Side.BUY, Product.CNC, 1, 1498.0, 1498.0), DAY)
    assert differences(ours, [theirs]) == []
    for name in ("type", "span", "exposure", "option_premium", "var", "leverage", "total"):
        assert ours[name] == theirs[name], name
    intraday = order_margin(MarginLeg(SHARE, Side.SELL, Product.MIS, 10, 1498.0, 1498.0), DAY)
    assert (intraday["total"], intraday["leverage"]) == (2996.0, 5)


@pytest.mark.data
def test_a_spread_as_in_the_official_mock(data_dir: Path) -> None:
    theirs = mock(data_dir, "basket_margins.json")
    ours = basket_margin([SOLD, BOUGHT], [], DAY)
    assert differences(ours, [theirs]) == []
    for part in ("initial", "final"):
        assert ours[part]["exposure"] == pytest.approx(theirs[part]["exposure"])
        assert ours[part]["option_premium"] == pytest.approx(theirs[part]["option_premium"])
        terms = ("span", "exposure", "option_premium", "var")
        assert ours[part]["total"] == pytest.approx(sum(ours[part][name] for name in terms))
    for mine, official in zip(ours["orders"], theirs["orders"], strict=True):
        assert mine["option_premium"] == pytest.approx(official["option_premium"])
        assert bool(mine["span"]) == bool(official["span"])
    # The sold call is covered: what is left is the distance of the strikes and little more.
    assert ours["initial"]["span"] == pytest.approx(theirs["initial"]["span"], rel=0.05)
    assert 7_500 * 0.5 <= ours["final"]["span"] <= 7_500 * 1.1 < ours["initial"]["span"]


def test_long_and_short_of_one_underlying_cancel_and_of_two_do_not() -> None:
    long, short = leg(FUTURE, Side.BUY, SPOT), leg(FUTURE, Side.SELL, SPOT)
    assert [span_of([long]), span_of([short])] == pytest.approx([75 * SPOT * 0.09] * 2)
    assert span_of([long, short]) == 0
    other = leg(
        Instrument(1, 2, 1, "BANKFUT", "NFO", "NFO-FUT", "FUT", 5, 75, name="BANKNIFTY", multiplier=1),
        Side.SELL, SPOT,
    )  # fmt: skip
    assert span_of([long, other]) == pytest.approx(span_of([long]) + span_of([other]))
    assert span_of([]) == span_of([MarginLeg(SHARE, Side.BUY, Product.MIS, 1, 100, 100)]) == 0


def test_a_sold_option_far_away_still_costs_the_least_charge() -> None:
    far = leg(call(40_000), Side.SELL, 0.05)
    assert span_of([far]) == pytest.approx(75 * SPOT * 0.045)
    assert span_of([leg(call(40_000), Side.BUY, 0.05)]) == 0


def test_positions_take_part() -> None:
    long, short = leg(FUTURE, Side.BUY, SPOT), leg(FUTURE, Side.SELL, SPOT)
    alone, beside = basket_margin([short], [], DAY), basket_margin([short], [long], DAY)
    assert alone["final"]["span"] > 0 > beside["final"]["span"]
    assert alone["initial"] == beside["initial"]


def test_compact_rows() -> None:
    row = order_margin(SOLD, DAY)
    assert compact(row) == {"type": "equity", "tradingsymbol": "NIFTY20600CE", "exchange": "NFO",
                            "total": row["total"]}  # fmt: skip


@pytest.mark.parametrize(
    ("exchange", "name", "percent"),
    [("NFO", "NIFTY", 9.0), ("NFO", "SBIN", 15.0), ("MCX", "GOLDM", 8.0), ("CDS", "USDINR", 2.5)],
)
def test_scan_range_by_underlying(exchange: str, name: str, percent: float) -> None:
    row = Instrument(0, 2, 1, "F", exchange, exchange, "FUT", 5, 1, name=name, multiplier=10)
    assert span_of([leg(row, Side.BUY, 100, 1, 100)]) == pytest.approx(1000 * percent / 100)
    assert order_margin(leg(row, Side.BUY, 100, 1, 100), DAY)["type"] == (
        "commodity" if exchange == "MCX" else "equity"
    )
