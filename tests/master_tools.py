"""Small instrument lists for tests: rows by what they are, and lists of them as columns."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from kite_hft.trading.instruments import Instrument
from kite_hft.trading.lists.columns import Columns

DAY = dt.date(2026, 8, 17)
WEEK, MONTH, NEXT_MONTH = "2026-08-18", "2026-08-25", "2026-09-29"


def share(symbol: str, number: int, **words: Any) -> Instrument:
    row = Instrument(0, number * 256 + 1, number, symbol, "NSE", "NSE", "EQ", 5, 1, name=f"{symbol} LTD")
    return replace(row, **words)


def index(symbol: str, number: int, **words: Any) -> Instrument:
    row = Instrument(0, number * 256 + 9, number, symbol, "NSE", "INDICES", "EQ", 0, 0, name=symbol, **words)
    return row


def option(
    name: str, strike: int, kind: str, expiry: str, number: int, exchange: str = "NFO", **words: Any
) -> Instrument:
    row = Instrument(
        0, number * 256 + (2 if exchange == "NFO" else 5), number,
        f"{name}{expiry[2:].replace('-', '')}{strike}{kind}",
        exchange, f"{exchange}-OPT", kind, 5, 65, name=name, expiry=expiry, strike_px=strike * 100,
    )  # fmt: skip
    return replace(row, **words)


def future(name: str, expiry: str, number: int, **words: Any) -> Instrument:
    row = Instrument(
        0, number * 256 + 2, number, f"{name}{expiry[2:].replace('-', '')}FUT", "NFO", "NFO-FUT", "FUT", 10,
        65,
        name=name, expiry=expiry,
    )  # fmt: skip
    return replace(row, **words)


def at_upstox(row: Instrument, **words: Any) -> Instrument:
    """What Upstox's list has of a row."""
    segment = {"NSE": "NSE_EQ", "NFO": "NSE_FO", "BFO": "BSE_FO"}[row.exchange]
    found = {"multiplier": 1, "freeze_quantity": 1800, "upstox_key": f"{segment}|{row.exchange_token}"}
    return replace(row, **(found | words))


def numbered(*rows: Instrument) -> list[Instrument]:
    return [replace(row, slot=slot) for slot, row in enumerate(rows)]


def columns(*rows: Instrument) -> Columns:
    return Columns.of_table(numbered(*rows))


def market() -> list[Instrument]:
    """Two shares, an index, futures, and NIFTY's options of a week and two months (23,900 to 24,100)."""
    rows = [share("SBIN", 3045), share("RELIANCE", 2885), index("NIFTY 50", 1001)]
    rows += [future("NIFTY", MONTH, 58072), future("NIFTY", NEXT_MONTH, 68407), future("SBIN", MONTH, 58100)]
    number = 40_000
    for expiry in (WEEK, MONTH, NEXT_MONTH):
        for strike in range(23_900, 24_101, 50):
            for kind in ("CE", "PE"):
                number += 1
                rows.append(option("NIFTY", strike, kind, expiry, number))
    return rows
