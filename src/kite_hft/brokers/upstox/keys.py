"""Layer 2, every process that speaks to Upstox, cold: instrument keys, products and lots, to and from ours.

An instrument key is SEGMENT|IDENT: an ISIN for shares, the exchange's token for derivatives, a name for an
index. Our tokens are exchange_token * 256 + segment number for every broker. A row about an instrument that
is not in today's table keeps what can be told of it: such a row must not make a whole book unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kite_hft.brokers.upstox.master import PLACES
from kite_hft.layout import Product
from kite_hft.trading.instruments import SCALE_DEFAULT, Instrument, InstrumentTable, scale_of_token
from kite_hft.trading.positions import CASH_EXCHANGES

TOKEN_MAX: Final = 0xFFFFFFFF
_IN_LOTS: Final = frozenset({"MCX", "NCO", "CDS", "BCD"})
"""Exchanges where the wire counts lots. For commodities the broker says so; for currencies his lists and his
position sample show it (lot 1, multiplier 1000). A table that counts lots too has lot size 1 there. Were it
units for currencies, an order would come too small, never too large."""
_EXCHANGE_OF: Final = {"NSCOM": "NCO"}
"""The broker's exchange code -> ours, where they differ."""

_PRODUCTS: Final = {"I": Product.MIS, "MTF": Product.MTF}
_WORDS: Final = {Product.MIS: "I", Product.CNC: "D", Product.NRML: "D", Product.MTF: "MTF"}


class KeyMissing(ValueError):
    """Instruments that cannot be named to Upstox."""


class Named(NamedTuple):
    """What a row of the broker is about. token 0: not to be told; lot: units for one of the wire's."""

    exchange: str
    symbol: str
    token: int
    scale: int
    lot: int
    instrument: Instrument | None


def segment_of(key: str) -> str:
    """`NSE_FO` of `NSE_FO|55775`."""
    return key.partition("|")[0]


def lot_of(instrument: Instrument) -> int:
    """How many of our units are one of the wire's."""
    return max(1, instrument.lot_size) if instrument.exchange in _IN_LOTS else 1


def wire_quantity(instrument: Instrument, quantity: int) -> int:
    """Our quantity in the wire's units.

    Raises:
        ValueError: no whole number of lots.
    """
    lots, odd = divmod(quantity, lot_of(instrument))
    if odd:
        raise ValueError(f"{instrument.key}: {quantity} is no multiple of its lot {lot_of(instrument)}")
    return lots


def product_word(product: Product) -> str:
    """I, D or MTF: one word for delivered shares and for derivatives that are carried."""
    return _WORDS[product]


def product_of(word: object, exchange: str) -> Product | None:
    """The reverse, by exchange; None: a product that the engine does not trade (CO, OCO)."""
    if word == "D":
        return Product.CNC if exchange in CASH_EXCHANGES else Product.NRML
    return _PRODUCTS.get(str(word))


def key_of(instrument: Instrument) -> str:
    """Its key.

    Raises:
        KeyMissing: it has none.
    """
    if not instrument.upstox_key:
        raise KeyMissing(f"{instrument.key} has no Upstox key: join today's Upstox instrument list")
    return instrument.upstox_key


def require_keys(instruments: InstrumentTable) -> None:
    """Refuse a table with tradable instruments that Upstox could not be told of.

    Raises:
        KeyMissing: names the first of them.
    """
    lacking = [row.key for row in instruments if not row.upstox_key and not row.is_index]
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise KeyMissing(
            f"{', '.join(lacking[:5])}{more}: no Upstox key. Join today's Upstox instrument list, or leave "
            "them out of the run"
        )


class Names:
    """Keys of one table of instruments. Only looks things up."""

    def __init__(self, instruments: InstrumentTable) -> None:
        self._by_key, self._by_token = instruments.by_upstox_key, instruments.by_token
        self._by_name = instruments.by_key

    def of_token(self, token: int) -> str:
        """The key of one of our tokens.

        Raises:
            KeyMissing: not in the table, or without a key.
        """
        found = self._by_token.get(token)
        if found is None:
            raise KeyMissing(f"token {token} is no instrument of this run")
        return key_of(found)

    def of_name(self, name: str) -> str:
        """The key of EXCHANGE:SYMBOL; "": it has none."""
        found = self._by_name.get(name)
        return found.upstox_key if found is not None else ""

    def instrument(self, key: str) -> Instrument | None:
        """The row of a key: by the key, or by the token in it where the table has no keys."""
        found = self._by_key.get(key)
        if found is not None:
            return found
        found = self._by_token.get(token_of(key))
        return found if found is not None and not found.upstox_key else None

    def row(self, row: Mapping[str, Any]) -> Named:
        """What a row of an order, a trade, a position or a trigger is about.

        Raises:
            KeyError, TypeError: it does not say.
        """
        key = row.get("instrument_token") or row["instrument_key"]
        if not isinstance(key, str):
            raise TypeError(f"instrument_token {key!r} is no text")
        found = self.instrument(key)
        if found is not None:
            return Named(found.exchange, found.symbol, found.token, found.scale, lot_of(found), found)
        token = token_of(key)
        if token in self._by_token:
            token = 0  # the exchange has used its number again: another instrument
        place = PLACES.get(segment_of(key))
        code = str(row.get("exchange") or "")
        exchange = place.exchange if place else _EXCHANGE_OF.get(code, code)
        scale = scale_of_token(place.number) if place else SCALE_DEFAULT
        symbol = str(row.get("trading_symbol") or row.get("tradingsymbol") or key)
        return Named(exchange, symbol, token, scale, 1, None)


def token_of(key: str) -> int:
    """Our token of a key whose ident is the exchange's token; 0: it is no number, or too large."""
    segment, _, ident = key.partition("|")
    place = PLACES.get(segment)
    if place is None or not (ident.isascii() and ident.isdecimal()) or len(ident) > 9:
        return 0
    token = (int(ident) + place.base) * 256 + place.number
    return token if int(ident) > 0 and token <= TOKEN_MAX else 0
