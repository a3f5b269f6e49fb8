"""Slow twin of the charges: decimal rupees, one formula a class, rates typed in a second time.

Rates are those since 2026-04-01 (exchange charges since 2024-10-01), percent of the order's value.
Independent of kite_hft: nothing is imported from it, nothing is read from its files.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

CRORE = Decimal(10_000_000)
PAISA = Decimal("0.01")


def percent(value: Decimal, rate: str) -> Decimal:
    return value * Decimal(rate) / 100


EXCHANGE = {  # rupees a crore: (the exchange's own, its protection fund)
    ("NSE", "share"): ("297", "10"),
    ("BSE", "share"): ("375", "0"),
    ("NFO", "futures"): ("173", "10"),
    ("NFO", "options"): ("3503", "50"),
    ("BFO", "futures"): ("0", "0"),
    ("BFO", "options"): ("3250", "0"),
    ("CDS", "futures"): ("35", "5"),
    ("CDS", "options"): ("3110", "200"),
    ("BCD", "futures"): ("45", "0"),
    ("BCD", "options"): ("100", "0"),
    ("MCX", "futures"): ("210", "0"),
    ("MCX", "options"): ("4180", "0"),
}


def charges(exchange: str, what: str, side: str, value: Decimal) -> dict[str, Decimal]:
    """what: delivery, intraday, futures, options; side: BUY or SELL; value: of the order, rupees."""
    if value == 0:
        return dict.fromkeys(("brokerage", "tax", "exchange", "sebi", "stamp", "gst", "total"), Decimal(0))
    share = what in ("delivery", "intraday")
    own, fund = EXCHANGE[exchange, "share" if share else what]
    exchange_own, exchange_fund = value * Decimal(own) / CRORE, value * Decimal(fund) / CRORE
    sebi = value * 10 / CRORE

    if what == "delivery":
        brokerage = Decimal(0)
    elif what == "options":
        brokerage = Decimal(20)
    else:
        brokerage = min(percent(value, "0.03"), Decimal(20))

    tax = Decimal(0)
    if what == "delivery":
        tax = percent(value, "0.1")
    elif side == "SELL" and exchange in ("NSE", "BSE"):
        tax = percent(value, "0.025")
    elif side == "SELL" and exchange in ("NFO", "BFO"):
        tax = percent(value, "0.05" if what == "futures" else "0.15")
    elif side == "SELL" and exchange == "MCX":
        tax = percent(value, "0.01" if what == "futures" else "0.05")

    stamp = Decimal(0)
    if side == "BUY":
        if exchange in ("CDS", "BCD"):
            rate = "0.0001"
        else:
            rate = {"delivery": "0.015", "intraday": "0.003", "futures": "0.002", "options": "0.003"}[what]
        stamp = percent(value, rate).quantize(Decimal(1), ROUND_HALF_UP)

    # GST is the one product of two rates: kept to 10^-9 paise.
    gst = percent(brokerage + exchange_own + sebi, "18").quantize(Decimal("1e-11"), ROUND_HALF_EVEN)
    exchange_all = exchange_own + exchange_fund
    total = (brokerage + tax + exchange_all + sebi + stamp + gst).quantize(PAISA, ROUND_HALF_UP)
    return {
        "brokerage": brokerage,
        "tax": tax,
        "exchange": exchange_all,
        "sebi": sebi,
        "stamp": stamp,
        "gst": gst,
        "total": total,
    }
