"""Charges: the broker's own examples to the last digit, a slow twin, dates, and refused files."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import charges as twin

from kite_hft.layout import Product, Side
from kite_hft.settings import load_yaml
from kite_hft.trading.costs import (
    NANO,
    Charges,
    ChargesError,
    Schedule,
    round_half_up,
    schedule_from_mapping,
)
from kite_hft.trading.instruments import Instrument

FILE = Path("config/rules/charges_zerodha_2026-04-01.yaml")
DATA = load_yaml(FILE)
TODAY = dt.date(2026, 11, 20)
RUPEES = Decimal(100 * NANO)


def instrument(exchange: str, kind: str = "EQ", **more: Any) -> Instrument:
    return Instrument(0, 1, 1, "X", exchange, exchange, kind, 5, 1, **more)


def on(day: dt.date) -> Schedule:
    return schedule_from_mapping(DATA, day)


def rupees(charges: Charges) -> dict[str, Decimal]:
    names = ("brokerage", "transaction_tax", "exchange_charge", "sebi_fee", "stamp_duty", "gst")
    return {name: Decimal(getattr(charges, name)) / RUPEES for name in names}


# The broker's own figures


def shown(row: dict[str, Any]) -> dict[str, Decimal]:
    """A `charges` object of the broker under our names; its numbers are floats with noise."""
    found = row["charges"]
    names = {
        "transaction_tax": "transaction_tax",
        "exchange_turnover_charge": "exchange_charge",
        "sebi_turnover_charge": "sebi_fee",
        "brokerage": "brokerage",
        "stamp_duty": "stamp_duty",
    }
    figures = {ours: Decimal(str(found[theirs])) for theirs, ours in names.items()}
    figures |= {"gst": Decimal(str(found["gst"]["total"])), "total": Decimal(str(found["total"]))}
    return {name: value.quantize(Decimal("1e-10")) for name, value in figures.items()}


def ours(charges: Charges) -> dict[str, Decimal]:
    parts = rupees(charges)
    parts["total"] = sum(parts.values(), Decimal(0))
    return {name: value.quantize(Decimal("1e-10")) for name, value in parts.items()}


@pytest.mark.data
def test_the_contract_note_of_2023_to_the_last_digit(data_dir: Path) -> None:
    """The symbols date it: GOLDPETAL23JULFUT, NIFTY23713...: July 2023."""
    rows = json.loads((data_dir / "kite/virtual_contract_note.json").read_text())["data"]
    kinds = {"SBIN": "EQ", "GOLDPETAL23JULFUT": "FUT", "NIFTY2371317900PE": "PE"}
    assert len(rows) == 3
    for row in rows:
        value = round(row["price"] * 100) * row["quantity"]
        charges = on(dt.date(2023, 7, 10)).charges(
            instrument(row["exchange"], kinds[row["tradingsymbol"]]),
            Product[row["product"]],
            Side[row["transaction_type"]],
            value,
        )
        assert ours(charges) == shown(row), row["tradingsymbol"]
        assert charges.total_paise == round_half_up(round(row["charges"]["total"] * 10**8), 10**6)


@pytest.mark.data
def test_the_older_margin_answer_to_the_last_digit(data_dir: Path) -> None:
    """0.00345 % dates it before 2023-04-01; delivery paid a brokerage of one paisa then."""
    row = json.loads((data_dir / "kite/order_margins.json").read_text())["data"][0]
    charges = on(dt.date(2022, 7, 1)).charges(instrument("NSE"), Product.CNC, Side.BUY, 149_800)
    assert ours(charges) == shown(row)


@pytest.mark.data
def test_today_the_same_orders_pay_todays_rates(data_dir: Path) -> None:
    rows = json.loads((data_dir / "kite/virtual_contract_note.json").read_text())["data"]
    charges = on(TODAY).charges(instrument("NSE"), Product.CNC, Side.BUY, 56_000)
    assert ours(charges)["exchange_charge"] != shown(rows[0])["exchange_charge"]


# Against the slow twin


CASES = [
    *(("NSE", "EQ", p, w) for p, w in ((Product.CNC, "delivery"), (Product.MIS, "intraday"))),
    *(("BSE", "EQ", p, w) for p, w in ((Product.CNC, "delivery"), (Product.MIS, "intraday"))),
    *(
        (exchange, kind, Product.NRML, "futures" if kind == "FUT" else "options")
        for exchange in ("NFO", "BFO", "CDS", "BCD", "MCX")
        for kind in ("FUT", "CE", "PE")
    ),
]


@given(st.sampled_from(CASES), st.sampled_from(Side), st.integers(0, 10**12))
def test_every_class_as_the_twin_says(case: tuple[str, str, Product, str], side: Side, value: int) -> None:
    exchange, kind, product, what = case
    found = on(TODAY).charges(instrument(exchange, kind), product, side, value)
    expected = twin.charges(exchange, what, side.name, Decimal(value) / 100)
    assert Decimal(found.total_paise) / 100 == expected["total"]
    parts = rupees(found)
    for name, theirs in (
        ("brokerage", "brokerage"),
        ("transaction_tax", "tax"),
        ("exchange_charge", "exchange"),
        ("sebi_fee", "sebi"),
        ("stamp_duty", "stamp"),
        ("gst", "gst"),
    ):
        assert parts[name] == expected[theirs], name


def test_brokerage_is_capped_once_however_an_order_fills() -> None:
    future, schedule = instrument("NFO", "FUT"), on(TODAY)
    whole = schedule.charges(future, Product.NRML, Side.BUY, 100_000_000)
    half = schedule.charges(future, Product.NRML, Side.BUY, 50_000_000)
    assert whole.brokerage == half.brokerage == 2_000 * NANO
    small = schedule.charges(future, Product.NRML, Side.BUY, 1_000_000)  # 10,000 rupees: 0.03 %
    assert small.brokerage == 300 * NANO


def test_nothing_filled_costs_nothing() -> None:
    assert on(TODAY).charges(instrument("NFO", "CE"), Product.NRML, Side.BUY, 0).total_paise == 0


@pytest.mark.parametrize(
    ("day", "future", "option"),
    [("2022-06-01", "0.01", "0.05"), ("2023-04-01", "0.0125", "0.0625"), ("2024-09-30", "0.0125", "0.0625"),
     ("2024-10-01", "0.02", "0.1"), ("2026-03-31", "0.02", "0.1"), ("2026-04-01", "0.05", "0.15")],
)  # fmt: skip
def test_each_day_pays_its_own_tax(day: str, future: str, option: str) -> None:
    schedule, value = on(dt.date.fromisoformat(day)), 10_000_000
    for kind, rate in (("FUT", future), ("PE", option)):
        sold = schedule.charges(instrument("NFO", kind), Product.NRML, Side.SELL, value)
        assert rupees(sold)["transaction_tax"] == Decimal(value) / 100 * Decimal(rate) / 100
        bought = schedule.charges(instrument("NFO", kind), Product.NRML, Side.BUY, value)
        assert bought.transaction_tax == 0


def test_what_is_charged_by_the_day_and_by_the_event() -> None:
    schedule, share = on(TODAY), instrument("NSE")
    assert schedule.fixed_paise("depository_charge", share, Product.CNC) == 1_534
    assert schedule.fixed_paise("depository_charge", share, Product.MIS) == 0
    assert schedule.fixed_paise("square_off_fee", share, Product.MIS) == 5_900
    assert schedule.fixed_paise("square_off_fee", instrument("NFO", "FUT"), Product.MIS) == 5_900
    assert on(dt.date(2024, 1, 1)).fixed_paise("depository_charge", share, Product.CNC) == 1_593


def test_an_instrument_without_rates_is_told_before_anything_trades() -> None:
    on(TODAY).check([instrument("NSE")])
    for bad, words in (
        (instrument("NSE", "BOND"), "kind 'BOND'"),
        (instrument("NSEX", "FUT"), "for NSEX on 2026-11-20; add a row"),
    ):
        with pytest.raises(ChargesError, match=words):
            on(TODAY).check([instrument("NSE"), bad])
    with pytest.raises(ChargesError, match=r"no brokerage, .*stamp_duty.* for NSE on 2019-01-01"):
        on(dt.date(2019, 1, 1)).check([instrument("NSE")])
    index = Instrument(0, 265, 1, "SENSEX", "BSE", "INDICES", "EQ", 0, 0)
    on(dt.date(2019, 1, 1)).check([index])  # never traded


def test_every_row_says_where_it_comes_from() -> None:
    rows = [row for rows in DATA.values() if isinstance(rows, list) for row in rows]
    assert len(rows) > 50
    assert all(row["source"] and row["confidence"] in "VMKU" for row in rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"percent": 0.03}, "brokerage\\[0\\]: percent 0.03 is no decimal in quotes"),
        ({"percent": "0.00000001"}, "at most 1/10000000"),
        ({"percent": "-1"}, "is no decimal"),
        ({"percent": "x"}, "is no decimal"),
        ({"cap_rupees": "1e999"}, "cap_rupees"),
        ({"side": "up"}, "side is buy, sell or both"),
        ({"classes": ["shares"]}, "classes are delivery"),
        ({"exchanges": "NSE"}, "exchanges is a list"),
        ({"valid_from": "2026"}, "is no date"),
        ({"step_paise": -1}, "step_paise"),
        ({"rate": "1"}, "unknown keys \\['rate'\\]"),
        ({"source": None, "valid_from": None}, "is no date"),
    ],
)
def test_a_bad_row_is_named(change: dict[str, Any], words: str) -> None:
    data = copy.deepcopy(DATA)
    data["brokerage"][0] |= change
    with pytest.raises(ChargesError, match=words):
        schedule_from_mapping(data, TODAY)


def test_a_bad_file_is_named() -> None:
    for data, words in (
        ([], "expected name"),
        (DATA | {"tax": []}, "unknown keys \\['tax'\\]"),
        (DATA | {"gst": 18}, "gst is no list"),
        (DATA | {"gst": [18]}, "gst\\[0\\]: a row needs"),
    ):
        with pytest.raises(ChargesError, match=words):
            schedule_from_mapping(data, TODAY)


def test_half_up() -> None:
    assert [round_half_up(n, 10) for n in (0, 4, 5, 9, 14, 15)] == [0, 0, 1, 1, 1, 2]
