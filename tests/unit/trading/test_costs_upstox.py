"""Charges of Upstox: whole, the dearer where sources differ, and the same state's share as elsewhere."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kite_hft.layout import Product, Side
from kite_hft.settings import load_yaml
from kite_hft.trading.costs import COMPONENTS, NANO, Schedule, schedule_from_mapping
from kite_hft.trading.instruments import Instrument

UPSTOX = load_yaml(Path("config/rules/charges_upstox_2026-04-01.yaml"))
ZERODHA = load_yaml(Path("config/rules/charges_zerodha_2026-04-01.yaml"))
TODAY = dt.date(2026, 11, 20)
PAISA, B, S = NANO, Side.BUY, Side.SELL


def instrument(exchange: str, kind: str = "EQ") -> Instrument:
    return Instrument(0, 1, 1, "X", exchange, exchange, kind, 5, 1)


def today() -> Schedule:
    return schedule_from_mapping(UPSTOX, TODAY)


def words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("source", "confidence")} for row in rows]


@pytest.mark.parametrize("component", [name for name in COMPONENTS if name != "brokerage"])
def test_what_no_broker_keeps_is_the_same_everywhere(component: str) -> None:
    assert words(UPSTOX[component]) == words(ZERODHA[component])


def test_every_exchange_and_class_has_its_rates() -> None:
    today().check(
        [
            *(instrument(exchange) for exchange in ("NSE", "BSE")),
            *(
                instrument(e, k)
                for e in ("NFO", "BFO", "CDS", "BCD", "MCX", "NCO")
                for k in ("FUT", "CE", "PE")
            ),
        ]
    )


@pytest.mark.parametrize(
    ("exchange", "kind", "product", "rupees", "paise"),
    [
        ("NSE", "EQ", Product.CNC, 1_000, 2000),  # flat, however small
        ("NSE", "EQ", Product.MTF, 1_000, 2000),
        ("NSE", "EQ", Product.MIS, 1_000, 100),  # 0.1 %
        ("BSE", "EQ", Product.MIS, 1_000_000, 2000),
        ("NFO", "FUT", Product.NRML, 10_000, 500),  # 0.05 %
        ("NFO", "FUT", Product.NRML, 1_000_000, 2000),
        ("NFO", "CE", Product.NRML, 100, 2000),
        ("MCX", "FUT", Product.NRML, 1_000_000, 2000),
    ],
)
def test_brokerage(exchange: str, kind: str, product: Product, rupees: int, paise: int) -> None:
    for side in (B, S):
        found = today().charges(instrument(exchange, kind), product, side, rupees * 100)
        assert found.brokerage == paise * PAISA


def test_fixed_charges_with_their_gst() -> None:
    share = instrument("NSE")
    assert today().fixed_paise("depository_charge", share, Product.CNC) == 2360
    assert today().fixed_paise("square_off_fee", share, Product.MIS) == 5900
