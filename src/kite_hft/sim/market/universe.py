"""Layer 4, simulator, cold: an invented list of instruments for the synthetic market.

The first names are well-known ones with their usual Kite tokens, the rest are SIM0001 and so on.
All prices, lots, multipliers and freeze quantities are invented but of the usual kind: paise
grids of 0.05 and 0.01, futures and options with lots, and, from 50 instruments on, one currency
future (unit 1/10^7 rupee) and one commodity future (lot 1, multiplier 100).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.trading.instruments import Instrument, InstrumentTable

_INDICES: Final = (
    # token, exchange token, symbol, exchange, base in paise
    (256265, 1001, "NIFTY 50", "NSE", 25_000_00),
    (265, 1, "SENSEX", "BSE", 82_000_00),
)
_EQUITIES: Final = (
    # exchange token, symbol, base in paise
    (2885, "RELIANCE", 1_450_00),
    (1594, "INFY", 1_500_00),
    (3045, "SBIN", 820_00),
    (1333, "HDFCBANK", 990_00),
    (11536, "TCS", 3_050_00),
    (4963, "ICICIBANK", 1_390_00),
    (3499, "TATASTEEL", 165_00),
    (10604, "BHARTIARTL", 1_920_00),
    (1660, "ITC", 410_00),
    (11483, "LT", 3_700_00),
    (22, "ACC", 1_850_00),
)
_EXPIRY: Final = "2026-12-29"
_DERIVATIVE_EVERY: Final = 10
"""Of each ten rows three are derivatives: one future, two options."""
_FREEZE: Final = 1800


def default_instruments(n: int, seed: int) -> tuple[InstrumentTable, npt.NDArray[np.int64]]:
    """`n` instruments in all (one of them an index from 5 on, two from 50 on) and base prices.

    Returns the table and int64[n] base prices, in each instrument's own unit and on its grid.

    Raises:
        ValueError: `n` is not between 1 and 100,000.
    """
    if not 1 <= n <= 100_000:
        raise ValueError(f"{n} instruments: between 1 and 100000 are possible")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    rows: list[Instrument] = []
    base: list[int] = []

    def add(row: Instrument, px: int) -> None:
        step = max(row.tick_px, 1)
        rows.append(row)
        base.append(px // step * step)

    equities = 0
    for slot in range(n):
        turn = slot % _DERIVATIVE_EVERY
        if n >= 50 and slot in (n - 2, n - 1):
            add(*(_currency(slot) if slot == n - 2 else _commodity(slot)))
        elif n >= 5 and slot == n - (3 if n >= 50 else 1):
            add(*_index(slot, 0))
        elif n >= 50 and slot == n - 4:
            add(*_index(slot, 1))
        elif turn == 3:
            add(*_future(slot, int(rng.integers(400_00, 3_000_00))))
        elif turn in (6, 9):
            add(*_option(slot, "CE" if turn == 6 else "PE", int(rng.integers(60_00, 400_00))))
        else:
            add(*_equity(slot, equities, int(rng.integers(80_00, 4_000_00))))
            equities += 1
    return InstrumentTable(tuple(rows)), np.array(base, np.int64)


def _index(slot: int, which: int) -> tuple[Instrument, int]:
    token, exchange_token, symbol, exchange, px = _INDICES[which]
    row = Instrument(slot, token, exchange_token, symbol, exchange, "INDICES", "EQ", 0, 0, name=symbol)
    return row, px


def _equity(slot: int, number: int, px: int) -> tuple[Instrument, int]:
    if number < len(_EQUITIES):
        exchange_token, symbol, px = _EQUITIES[number]
    else:
        exchange_token, symbol = 200_000 + slot, f"SIM{slot:05d}"
    tick = 5 if number % 3 != 2 else 1
    token = exchange_token * 256 + 1
    row = Instrument(
        slot, token, exchange_token, symbol, "NSE", "NSE", "EQ", tick, 1, name=symbol, multiplier=1
    )
    return row, px


def _future(slot: int, px: int) -> tuple[Instrument, int]:
    exchange_token = 40_000 + slot
    row = Instrument(
        slot, exchange_token * 256 + 2, exchange_token, f"SIM{slot:05d}26DECFUT", "NFO", "NFO-FUT", "FUT",
        5, 50, name=f"SIM{slot:05d}", expiry=_EXPIRY, multiplier=1, freeze_quantity=_FREEZE,
    )  # fmt: skip
    return row, px


def _option(slot: int, kind: str, px: int) -> tuple[Instrument, int]:
    exchange_token = 40_000 + slot
    strike = 24_000 + 50 * (slot % 40)
    row = Instrument(
        slot, exchange_token * 256 + 2, exchange_token, f"SIM{slot:05d}26DEC{strike}{kind}", "NFO",
        "NFO-OPT", kind, 5, 75, name=f"SIM{slot:05d}", expiry=_EXPIRY, strike_px=strike * 100,
        multiplier=1, freeze_quantity=_FREEZE,
    )  # fmt: skip
    return row, px


def _currency(slot: int) -> tuple[Instrument, int]:
    row = Instrument(
        slot, 1_100 * 256 + 3, 1_100, "USDINR26DECFUT", "CDS", "CDS-FUT", "FUT", 25_000, 1,
        scale=10_000_000, name="USDINR", expiry=_EXPIRY, multiplier=1000, freeze_quantity=10_000,
    )  # fmt: skip
    return row, 845_000_000


def _commodity(slot: int) -> tuple[Instrument, int]:
    row = Instrument(
        slot, 220_000 * 256 + 7, 220_000, "GOLDM26DECFUT", "MCX", "MCX-FUT", "FUT", 100, 1,
        name="GOLDM", expiry=_EXPIRY, multiplier=100, freeze_quantity=100,
    )  # fmt: skip
    return row, 121_000_00
