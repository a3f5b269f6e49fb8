"""Layer 4, simulator, cold: margin of orders and baskets as the broker's calculators answer it.

A plain model with numbers of its own (the exchanges' risk arrays are not public): cash equity
blocks its value (a fifth in MIS, a quarter in MTF); a bought option its premium; futures and sold
options a scanned worst loss per underlying (`span`) plus a share of the contract's value
(`exposure`). A basket is scanned as a whole, so a hedge lowers `final` below `initial`, which
adds the orders up one by one; premiums received are set off in `final` only. Rupees, as floats.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kite_hft.layout import Product, Side
from kite_hft.sim.kite.charges import NO_CHARGES, order_charges, sum_charges
from kite_hft.trading.instruments import Instrument

LEVERAGE: Final = {Product.MIS: 5, Product.MTF: 4}
INDEX_NAMES: Final = frozenset(
    ("NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY", "NIFTYNXT50", "SENSEX", "BANKEX")
)
# (scan range, exposure, least charge of a sold option), percent of the underlying's value.
_STOCK: Final = (15.0, 3.5, 7.5)
_INDEX: Final = (9.0, 2.0, 4.5)
_CURRENCY: Final = (2.5, 1.0, 1.25)
_COMMODITY: Final = (8.0, 1.0, 4.0)
_SCAN_STEPS: Final = (-1.0, -2 / 3, -1 / 3, 0.0, 1 / 3, 2 / 3, 1.0)


@dataclass(frozen=True, slots=True)
class MarginLeg:
    """One order or position: `price` is what it trades at, `spot` the underlying's price (rupees)."""

    instrument: Instrument
    side: Side
    product: Product
    quantity: int
    price: float
    spot: float

    @property
    def units(self) -> int:
        """Signed number of units of the underlying."""
        size = self.quantity * (self.instrument.multiplier or 1)
        return size if self.side == Side.BUY else -size

    @property
    def value(self) -> float:
        """Of the order at its own price."""
        return abs(self.units) * self.price

    @property
    def is_option(self) -> bool:
        """A call or a put."""
        return self.instrument.kind in ("CE", "PE")

    @property
    def is_cash(self) -> bool:
        """A share, no derivative."""
        return self.instrument.kind == "EQ"


def rates_of(row: Instrument) -> tuple[float, float, float]:
    """(scan range, exposure, least charge of a sold option) of an instrument, in percent."""
    if row.exchange in ("CDS", "BCD"):
        return _CURRENCY
    if row.exchange in ("MCX", "NCO"):
        return _COMMODITY
    return _INDEX if row.name in INDEX_NAMES else _STOCK


def span_of(legs: Iterable[MarginLeg]) -> float:
    """Worst loss over the price scan, underlying by underlying, of futures and options together."""
    groups: dict[tuple[str, str], list[MarginLeg]] = {}
    for leg in legs:
        if not leg.is_cash:
            groups.setdefault((leg.instrument.exchange, leg.instrument.name), []).append(leg)
    return sum(_group_span(group) for group in groups.values())


def _group_span(group: Sequence[MarginLeg]) -> float:
    scan, _, least = rates_of(group[0].instrument)
    # The shorts without a long of the same kind against them pay at least the least charge.
    uncovered = 0.0
    for kind in ("CE", "PE"):
        of_kind = [leg for leg in group if leg.instrument.kind == kind]
        spot = max((leg.spot for leg in of_kind), default=0.0)
        uncovered += max(0, -sum(leg.units for leg in of_kind)) * spot * least / 100
    worst = max(sum(_loss(leg, scan / 100 * step) for leg in group) for step in _SCAN_STEPS)
    return max(worst, uncovered, 0.0)


def _loss(leg: MarginLeg, move: float) -> float:
    """Loss of a leg when the underlying moves by a share of its price; options at their inner value."""
    spot = leg.spot * (1 + move)
    row = leg.instrument
    if not leg.is_option:
        return -leg.units * (spot - leg.spot)
    strike = row.strike_px / row.scale

    def inner(price: float) -> float:
        return max(0.0, price - strike if row.kind == "CE" else strike - price)

    return -leg.units * (inner(spot) - inner(leg.spot))


def exposure_of(leg: MarginLeg) -> float:
    """The exchange's second charge on futures and sold options."""
    if leg.is_cash or (leg.is_option and leg.side == Side.BUY):
        return 0.0
    return abs(leg.units) * leg.spot * rates_of(leg.instrument)[1] / 100


class Margin(NamedTuple):
    """The parts of an order's margin, rupees; `var`: of shares."""

    span: float = 0.0
    exposure: float = 0.0
    premium: float = 0.0
    var: float = 0.0

    @property
    def total(self) -> float:
        """All of it, without charges."""
        return self.span + self.exposure + self.premium + self.var


def margin_of(leg: MarginLeg) -> Margin:
    """What one order on its own takes."""
    if leg.is_cash:
        return Margin(var=leg.value / LEVERAGE.get(leg.product, 1))
    if leg.is_option and leg.side == Side.BUY:
        return Margin(premium=leg.value)
    return Margin(span=span_of([leg]), exposure=exposure_of(leg))


def order_margin(leg: MarginLeg, day: dt.date) -> dict[str, Any]:
    """The margin row of one order on its own."""
    row, parts = leg.instrument, margin_of(leg)
    leverage = LEVERAGE.get(leg.product, 1) if leg.is_cash else 1
    charges = order_charges(row, leg.side, leg.product, leg.quantity, leg.price, day)
    kind = "commodity" if row.exchange in ("MCX", "NCO") else "equity"
    return _row(
        *parts, kind=kind, symbol=row.symbol, exchange=row.exchange, leverage=leverage, charges=charges,
    )  # fmt: skip


def basket_margin(
    orders: Sequence[MarginLeg], positions: Sequence[MarginLeg], day: dt.date
) -> dict[str, Any]:
    """`initial` (orders one by one), `final` (as a whole, and beside `positions`), rows, charges."""
    rows = [order_margin(leg, day) for leg in orders]
    names = ("span", "exposure", "option_premium", "var")
    sums = {name: sum(row[name] for row in rows) for name in names}
    initial = _row(sums["span"], sums["exposure"], sums["option_premium"], sums["var"])
    span = span_of([*positions, *orders]) - span_of(positions)
    premium = sum(leg.value * (1 if leg.side == Side.BUY else -1) for leg in orders if leg.is_option)
    return {
        "initial": initial,
        "final": _row(span, sums["exposure"], premium, sums["var"]),
        "orders": rows,
        "charges": sum_charges(row["charges"] for row in rows),
    }


def compact(margin: dict[str, Any]) -> dict[str, Any]:
    """A margin row in the compact mode: what it is about and its total."""
    return {name: margin[name] for name in ("type", "tradingsymbol", "exchange", "total")}


def _row(
    span: float,
    exposure: float,
    premium: float,
    var: float,
    *,
    kind: str = "",
    symbol: str = "",
    exchange: str = "",
    leverage: int = 0,
    charges: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "type": kind,
        "tradingsymbol": symbol,
        "exchange": exchange,
        "span": span,
        "exposure": exposure,
        "option_premium": premium,
        "additional": 0,
        "bo": 0,
        "cash": 0,
        "var": var,
        "pnl": {"realised": 0, "unrealised": 0},
        "leverage": leverage,
        "charges": charges or NO_CHARGES,
        "total": span + exposure + premium + var,
    }
