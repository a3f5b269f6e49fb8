"""Charges: the official contract note to the last digit, and the rates of other dates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from mock_shapes import mock

from kite_hft.layout import Product, Side
from kite_hft.sim.kite.charges import RATES, order_charges, rate_on, sum_charges
from kite_hft.trading.instruments import Instrument

NOTE_DAY = dt.date(2023, 7, 3)
TODAY = dt.date(2026, 11, 20)


def row(exchange: str, kind: str, multiplier: int = 1) -> Instrument:
    return Instrument(0, 256, 1, "X", exchange, exchange, kind, 5, 1, multiplier=multiplier)


def flat(charges: dict[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in charges.items() if isinstance(value, int | float)}
    return numbers | {f"gst.{name}": value for name, value in charges["gst"].items()}


@pytest.mark.data
def test_the_official_contract_note(data_dir: Path) -> None:
    kinds = {"SBIN": "EQ", "GOLDPETAL23JULFUT": "FUT", "NIFTY2371317900PE": "PE"}
    rows = mock(data_dir, "virtual_contract_note.json")
    assert len(rows) == 3
    for note in rows:
        ours = order_charges(
            row(note["exchange"], kinds[note["tradingsymbol"]]), Side[note["transaction_type"]],
            Product[note["product"]], note["quantity"], note["price"], NOTE_DAY,
        )  # fmt: skip
        assert list(ours) == list(note["charges"])
        assert ours["transaction_tax_type"] == note["charges"]["transaction_tax_type"]
        assert flat(ours) == pytest.approx(flat(note["charges"]), rel=1e-12)


@pytest.mark.data
def test_the_option_legs_of_the_official_basket(data_dir: Path) -> None:
    """Their rows leave the investor-protection share out of the exchange's charge."""
    sold, bought = (leg["charges"] for leg in mock(data_dir, "basket_margins.json")["orders"])
    for theirs, side, price in ((sold, Side.SELL, 35.65), (bought, Side.BUY, 6.95)):
        ours = order_charges(row("NFO", "CE"), side, Product.NRML, 75, price, NOTE_DAY)
        for name in ("transaction_tax", "sebi_turnover_charge", "brokerage", "stamp_duty"):
            assert ours[name] == pytest.approx(theirs[name])
        assert ours["gst"]["total"] == pytest.approx(theirs["gst"]["total"])
        share = 75 * price * 0.0005 / 100
        assert ours["exchange_turnover_charge"] - share == pytest.approx(theirs["exchange_turnover_charge"])


@pytest.mark.parametrize(
    ("kind", "day", "percent"),
    [
        ("FUT", dt.date(2024, 9, 30), 0.0125), ("FUT", dt.date(2024, 10, 1), 0.02),
        ("FUT", dt.date(2026, 3, 31), 0.02), ("FUT", dt.date(2026, 4, 1), 0.05),
        ("CE", dt.date(2024, 9, 30), 0.0625), ("PE", dt.date(2024, 10, 1), 0.1),
        ("CE", dt.date(2026, 3, 31), 0.1), ("PE", dt.date(2026, 4, 1), 0.15),
    ],
)  # fmt: skip
def test_transaction_tax_of_derivatives_by_date(kind: str, day: dt.date, percent: float) -> None:
    sell = order_charges(row("NFO", kind), Side.SELL, Product.NRML, 50, 1000, day)
    assert sell["transaction_tax"] == pytest.approx(50_000 * percent / 100)
    assert order_charges(row("NFO", kind), Side.BUY, Product.NRML, 50, 1000, day)["transaction_tax"] == 0


@pytest.mark.parametrize(
    ("instrument", "product", "value", "fee"),
    [
        (row("NSE", "EQ"), Product.CNC, 1e6, 0.0), (row("NSE", "EQ"), Product.MIS, 10_000, 3.0),
        (row("NSE", "EQ"), Product.MIS, 1e6, 20.0), (row("NFO", "FUT"), Product.NRML, 1e6, 20.0),
        (row("NFO", "CE"), Product.NRML, 100, 20.0), (row("NSE", "EQ"), Product.MTF, 1000, 3.0),
        (row("MCX", "FUT", 100), Product.NRML, 100, 3.0),  # value: times the multiplier
    ],
)  # fmt: skip
def test_brokerage(instrument: Instrument, product: Product, value: float, fee: float) -> None:
    charges = order_charges(instrument, Side.BUY, product, 1, value, TODAY)
    assert charges["brokerage"] == pytest.approx(fee)


def test_parts_add_up_and_stamp_duty_is_whole_rupees_of_the_buyer() -> None:
    for (exchange, _), kind in zip(RATES, ["EQ", "EQ"] * 2 + ["FUT", "CE"] * 6, strict=True):
        for side in Side:
            charges = order_charges(row(exchange, kind), side, Product.NRML, 700, 123.45, TODAY)
            parts = sum(v for k, v in charges.items() if k not in ("total", "gst", "transaction_tax_type"))
            assert charges["total"] == pytest.approx(parts + charges["gst"]["total"])
            assert charges["stamp_duty"] == int(charges["stamp_duty"])
            assert side == Side.BUY or charges["stamp_duty"] == 0


def test_sums() -> None:
    rows = [order_charges(row("NSE", "EQ"), side, Product.CNC, 10, 100, TODAY) for side in Side]
    whole = sum_charges(rows)
    assert list(whole) == list(rows[0]) and whole["transaction_tax_type"] == "stt"
    assert whole["total"] == pytest.approx(sum(r["total"] for r in rows))
    assert whole["gst"]["total"] == pytest.approx(sum(r["gst"]["total"] for r in rows))
    assert sum_charges([])["total"] == 0


def test_a_rate_holds_from_its_day_on() -> None:
    dated = ((dt.date(2020, 1, 1), 1.0), (dt.date(2021, 1, 1), 2.0))
    days = (dt.date(2019, 12, 31), dt.date(2020, 12, 31), dt.date(2021, 1, 1))
    assert [rate_on(dated, day) for day in days] == [0.0, 1.0, 2.0]
