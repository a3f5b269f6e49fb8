"""Layer 4, simulator, cold: what the simulated broker charges for an order, in rupees.

A calculator of its own with its own dated numbers, so that the engine's table can be compared
with it. Rates are percent of the order's value (price x quantity x multiplier; premium for
options). Relations between the parts follow the official contract note: the exchange's charge as
shown carries the exchange's investor-protection share, which bears no GST; stamp duty is a whole
rupee; nothing else is rounded.

Numbers: transaction tax of futures and options since 2026-04-01 and of the other dates as
published; exchange, stamp and brokerage rates are general knowledge of the broker's price list.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import Product, Side
from kite_hft.trading.instruments import Instrument

GST_PERCENT: Final = 18.0
SEBI_PERCENT: Final = 1e-4
"""Ten rupees a crore."""
BROKERAGE_CAP: Final = 20.0
BROKERAGE_PERCENT: Final = 0.03
MTF_BROKERAGE_PERCENT: Final = 0.3

_EPOCH: Final = dt.date(2017, 7, 1)
_BUDGET_2024: Final = dt.date(2024, 10, 1)
_BUDGET_2026: Final = dt.date(2026, 4, 1)
Dated = tuple[tuple[dt.date, float], ...]

DELIVERY: Final = "delivery"
INTRADAY: Final = "intraday"
FUTURES: Final = "futures"
OPTIONS: Final = "options"


@dataclass(frozen=True, slots=True)
class Rates:
    """Percent of value. `exchange`: what bears GST; `protection`: the share that does not."""

    tax_buy: Dated = ()
    tax_sell: Dated = ()
    exchange: Dated = ()
    protection: float = 0.0
    stamp_buy: float = 0.0
    tax_type: str = "stt"


_NSE_EQUITY: Final = ((_EPOCH, 0.00325), (_BUDGET_2024, 0.00297))
_NSE_OPTIONS: Final = ((_EPOCH, 0.05), (_BUDGET_2024, 0.03503))
_BSE_EQUITY: Final = ((_EPOCH, 0.00375),)
_TENTH: Final = ((_EPOCH, 0.1),)
_TAX_FUTURES: Final = ((_EPOCH, 0.0125), (_BUDGET_2024, 0.02), (_BUDGET_2026, 0.05))
_TAX_OPTIONS: Final = ((_EPOCH, 0.0625), (_BUDGET_2024, 0.1), (_BUDGET_2026, 0.15))
_TAX_INTRADAY: Final = ((_EPOCH, 0.025),)
_CTT_FUTURES: Final = ((_EPOCH, 0.01),)
_CTT_OPTIONS: Final = ((_EPOCH, 0.05),)
_MCX_FUTURES: Final = ((_EPOCH, 0.0026), (_BUDGET_2024, 0.0021))
_MCX_OPTIONS: Final = ((_EPOCH, 0.05), (_BUDGET_2024, 0.0418))

RATES: Final[dict[tuple[str, str], Rates]] = {
    ("NSE", DELIVERY): Rates(_TENTH, _TENTH, _NSE_EQUITY, 0.0001, 0.015),
    ("NSE", INTRADAY): Rates((), _TAX_INTRADAY, _NSE_EQUITY, 0.0001, 0.003),
    ("BSE", DELIVERY): Rates(_TENTH, _TENTH, _BSE_EQUITY, 0.0, 0.015),
    ("BSE", INTRADAY): Rates((), _TAX_INTRADAY, _BSE_EQUITY, 0.0, 0.003),
    ("NFO", FUTURES): Rates(
        (), _TAX_FUTURES, ((_EPOCH, 0.0019), (_BUDGET_2024, 0.00173)), 0.0001, 0.002
    ),
    ("NFO", OPTIONS): Rates((), _TAX_OPTIONS, _NSE_OPTIONS, 0.0005, 0.003),
    ("BFO", FUTURES): Rates((), _TAX_FUTURES, (), 0.0, 0.002),
    ("BFO", OPTIONS): Rates((), _TAX_OPTIONS, ((_EPOCH, 0.05), (_BUDGET_2024, 0.0325)), 0.0, 0.003),
    ("CDS", FUTURES): Rates((), (), ((_EPOCH, 0.0009), (_BUDGET_2024, 0.00035)), 0.00005, 0.0001, ""),
    ("CDS", OPTIONS): Rates((), (), ((_EPOCH, 0.035), (_BUDGET_2024, 0.0311)), 0.002, 0.0001, ""),
    ("BCD", FUTURES): Rates((), (), ((_EPOCH, 0.00045),), 0.0, 0.0001, ""),
    ("BCD", OPTIONS): Rates((), (), ((_EPOCH, 0.001),), 0.0, 0.0001, ""),
    ("MCX", FUTURES): Rates((), _CTT_FUTURES, _MCX_FUTURES, 0.0, 0.002, "ctt"),
    ("MCX", OPTIONS): Rates((), _CTT_OPTIONS, _MCX_OPTIONS, 0.0, 0.003, "ctt"),
    ("NCO", FUTURES): Rates((), _CTT_FUTURES, ((_EPOCH, 0.0001),), 0.0, 0.002, "ctt"),
    ("NCO", OPTIONS): Rates((), _CTT_OPTIONS, ((_EPOCH, 0.001),), 0.0, 0.003, "ctt"),
}  # fmt: skip


def rate_on(dated: Dated, day: dt.date) -> float:
    """The percentage that holds on a day; 0 before the first row."""
    fitting = [percent for since, percent in dated if since <= day]
    return fitting[-1] if fitting else 0.0


def kind_of(instrument: Instrument, product: Product) -> str:
    """Which row of the table an order falls under."""
    if instrument.kind in ("CE", "PE"):
        return OPTIONS
    if instrument.kind == "FUT":
        return FUTURES
    return INTRADAY if product == Product.MIS else DELIVERY


def brokerage(kind: str, product: Product, value: float) -> float:
    """Per executed order, in rupees."""
    if kind == OPTIONS:
        return BROKERAGE_CAP
    if kind == DELIVERY:
        return min(value * MTF_BROKERAGE_PERCENT / 100, BROKERAGE_CAP) if product == Product.MTF else 0.0
    return min(value * BROKERAGE_PERCENT / 100, BROKERAGE_CAP)


def order_charges(
    instrument: Instrument, side: Side, product: Product, quantity: int, price: float, day: dt.date
) -> dict[str, Any]:
    """The `charges` object of one order, executed whole at `price` (rupees) on a day."""
    kind = kind_of(instrument, product)
    rates = RATES.get((instrument.exchange, kind), Rates(tax_type=""))
    value = price * quantity * (instrument.multiplier or 1)
    tax = value * rate_on(rates.tax_buy if side == Side.BUY else rates.tax_sell, day) / 100
    taxed_share = value * rate_on(rates.exchange, day) / 100
    exchange = taxed_share + value * rates.protection / 100
    sebi = value * SEBI_PERCENT / 100
    fee = brokerage(kind, product, value)
    stamp = float(math.floor(value * rates.stamp_buy / 100 + 0.5)) if side == Side.BUY else 0.0
    gst = (fee + taxed_share + sebi) * GST_PERCENT / 100
    return {
        "transaction_tax": tax,
        "transaction_tax_type": rates.tax_type,
        "exchange_turnover_charge": exchange,
        "sebi_turnover_charge": sebi,
        "brokerage": fee,
        "stamp_duty": stamp,
        "gst": {"igst": gst, "cgst": 0, "sgst": 0, "total": gst},
        "total": tax + exchange + sebi + fee + stamp + gst,
    }


NO_CHARGES: Final[dict[str, Any]] = {
    "transaction_tax": 0,
    "transaction_tax_type": "",
    "exchange_turnover_charge": 0,
    "sebi_turnover_charge": 0,
    "brokerage": 0,
    "stamp_duty": 0,
    "gst": {"igst": 0, "cgst": 0, "sgst": 0, "total": 0},
    "total": 0,
}


def sum_charges(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The charges of several orders together; the tax has a type when all have the same."""
    rows = list(parts)
    kinds = {row["transaction_tax_type"] for row in rows}
    whole: dict[str, Any] = {
        name: sum(row[name] for row in rows) for name, value in NO_CHARGES.items() if isinstance(value, int)
    }
    whole["transaction_tax_type"] = kinds.pop() if len(kinds) == 1 else ""
    whole["gst"] = {name: sum(row["gst"][name] for row in rows) for name in NO_CHARGES["gst"]}
    return {name: whole[name] for name in NO_CHARGES}
