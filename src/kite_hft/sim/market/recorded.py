"""Layer 4, simulator, cold: which Kite instruments the recorded instrument keys stand for.

Tokens of equities are those of the exchange (exchange token * 256 + segment). Names of the option
contracts of the recorded feed are unknown, so they get invented symbols; their multiplier and
freeze quantity are invented too, since the recordings hold neither.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kite_hft.trading.instruments import Instrument

_NSE, _NFO, _BFO = 1, 2, 5
_EQUITIES: Final = {
    # Upstox key -> (exchange token, symbol)
    "NSE_EQ|INE118H01025": (19585, "BSE"),
    "NSE_EQ|INE811K01011": (20302, "PRESTIGE"),
    "NSE_EQ|INE465A01025": (422, "BHARATFORG"),
}
_INDICES: Final = {
    # key -> (token, exchange token, symbol, exchange)
    "BSE_INDEX|SENSEX": (265, 1, "SENSEX", "BSE"),
    "NSE_INDEX|Nifty 50": (256265, 1001, "NIFTY 50", "NSE"),
}
_TICK_PX: Final = 5
_EXPIRY: Final = "2030-12-31"
"""Of contracts whose names are unknown, as their strikes are (the number): without them they are none."""


def instrument_of(key: str, slot: int) -> Instrument | None:
    """The instrument of a recorded key (`NSE_FO|51414`), or None when no rule knows it."""
    found = _instrument(key, slot)
    return None if found is None else replace(found, upstox_key=key)


def _instrument(key: str, slot: int) -> Instrument | None:
    if key in _EQUITIES:
        number, symbol = _EQUITIES[key]
        return Instrument(
            slot, number * 256 + _NSE, number, symbol, "NSE", "NSE", "EQ", _TICK_PX, 1, name=symbol,
            multiplier=1,
        )  # fmt: skip
    if key in _INDICES:
        token, number, symbol, exchange = _INDICES[key]
        return Instrument(slot, token, number, symbol, exchange, "INDICES", "EQ", 0, 0, name=symbol)
    segment, _, number_text = key.partition("|")
    if segment == "NSE_FO" and number_text.isdigit():
        return _option(slot, int(number_text), _NFO, "NFO", lot=35, freeze=600)
    if segment == "BSE_FO" and number_text.isdigit():
        return _option(slot, int(number_text), _BFO, "BFO", lot=20, freeze=1000)
    return None


def _option(slot: int, number: int, segment: int, exchange: str, *, lot: int, freeze: int) -> Instrument:
    return Instrument(
        slot, number * 256 + segment, number, f"REPLAY{number}", exchange, f"{exchange}-OPT", "CE", _TICK_PX,
        lot, name=f"REPLAY{number}", expiry=_EXPIRY, strike_px=number * 100,
        multiplier=1, freeze_quantity=freeze,
    )  # fmt: skip
