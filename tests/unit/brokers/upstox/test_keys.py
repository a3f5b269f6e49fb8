"""Instrument keys, tokens, products and lots of Upstox."""

from __future__ import annotations

from dataclasses import replace

import pytest
from upstox_rows import CRUDE, INDEX, NIFTY_CE, RELIANCE, table

from kite_hft.brokers.upstox.keys import (
    KeyMissing,
    Names,
    key_of,
    product_of,
    product_word,
    require_keys,
    token_of,
    wire_quantity,
)
from kite_hft.layout import Product
from kite_hft.trading.instruments import InstrumentTable

TABLE = table()
NAMES = Names(TABLE)


@pytest.mark.parametrize(
    ("key", "token"),
    [
        ("NSE_FO|55775", 55775 * 256 + 2),
        ("BSE_EQ|500325", 500325 * 256 + 4),
        ("NCD_FO|14294", 14294 * 256 + 3),
        ("BCD_FO|1", 256 + 6),
        ("MCX_FO|447500", 447500 * 256 + 7),
        ("NSE_COM|7", 7 * 256 + 12),
        ("NSE_EQ|INE002A01018", 0),  # no number
        ("NSE_INDEX|Nifty 50", 0),
        ("NSE_FO|53806|24-04-2025", 0),  # expired: its number may be another's by now
        ("NSE_FO|99999999", 0),  # would not fit 32 bits
        ("NSE_FO|0", 0),
        ("NSE_FO|\u0665", 0),
        ("XYZ|55775", 0),
        ("", 0),
    ],
)
def test_tokens_of_keys(key: str, token: int) -> None:
    assert token_of(key) == token


def test_a_row_is_about_the_instrument_of_its_key() -> None:
    named = NAMES.row({"instrument_token": "NSE_EQ|INE002A01018", "exchange": "NSE", "trading_symbol": "RIL"})
    assert named.instrument is TABLE[RELIANCE]
    assert named[:5] == ("NSE", "RELIANCE", 738561, 100, 1)
    assert NAMES.row({"instrument_key": "MCX_FO|447500"}).lot == 100


def test_a_foreign_row_keeps_what_can_be_told_of_it() -> None:
    row = {"instrument_token": "MCX_FO|9", "exchange": "MCX", "tradingsymbol": "GOLD"}
    assert NAMES.row(row) == ("MCX", "GOLD", 9 * 256 + 7, 100, 1, None)
    currency = NAMES.row({"instrument_token": "NCD_FO|9", "exchange": "CDS"})
    assert (currency.scale, currency.symbol) == (10_000_000, "NCD_FO|9")
    share = NAMES.row({"instrument_token": "NSE_EQ|INE000000000", "exchange": "NSE"})
    assert (share.token, share.exchange) == (0, "NSE")
    odd = NAMES.row({"instrument_token": "odd", "exchange": "NSCOM"})
    assert (odd.token, odd.exchange, odd.scale) == (0, "NCO", 100)


def test_a_used_number_is_no_other_instrument() -> None:
    other = replace(TABLE[NIFTY_CE], slot=0, upstox_key="NSE_FO|55775|27-11-2026")
    names = Names(InstrumentTable((other,)))
    assert names.row({"instrument_token": "NSE_FO|55775", "exchange": "NFO"})[2:] == (0, 100, 1, None)


def test_without_keys_in_the_table_the_number_names_it() -> None:
    plain = replace(TABLE[NIFTY_CE], slot=0, upstox_key="")
    assert Names(InstrumentTable((plain,))).instrument("NSE_FO|55775") is not None


@pytest.mark.parametrize("row", [{}, {"instrument_token": 738561}, {"instrument_token": None}])
def test_a_row_must_say_what_it_is_about(row: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        NAMES.row(row)


def test_names_of_tokens_and_symbols() -> None:
    assert NAMES.of_token(738561) == "NSE_EQ|INE002A01018"
    assert NAMES.of_name("NSE:Nifty 50") == "NSE_INDEX|Nifty 50"
    assert NAMES.of_name("NSE:NONE") == ""
    with pytest.raises(KeyMissing, match="token 1 is no instrument of this run"):
        NAMES.of_token(1)


def test_products_both_ways() -> None:
    words = {Product.MIS: "I", Product.CNC: "D", Product.NRML: "D", Product.MTF: "MTF"}
    assert {product: product_word(product) for product in Product} == words
    assert product_of("D", "NSE") is Product.CNC and product_of("D", "NFO") is Product.NRML
    assert product_of("I", "BSE") is Product.MIS and product_of("MTF", "NSE") is Product.MTF
    assert product_of("CO", "NSE") is None and product_of(None, "NSE") is None


def test_commodities_and_currencies_are_counted_in_lots() -> None:
    assert wire_quantity(TABLE[CRUDE], 300) == 3
    assert wire_quantity(TABLE[NIFTY_CE], 150) == 150
    with pytest.raises(ValueError, match="150 is no multiple of its lot 100"):
        wire_quantity(TABLE[CRUDE], 150)


def test_a_run_needs_a_key_for_all_it_trades() -> None:
    require_keys(TABLE)
    bare = [replace(row, upstox_key="") for row in TABLE]
    require_keys(InstrumentTable((replace(bare[INDEX], slot=0),)))  # an index is not traded
    with pytest.raises(KeyMissing, match=r"NSE:RELIANCE, NFO:NIFTY26NOV26000CE.*no Upstox key\. Join"):
        require_keys(InstrumentTable(tuple(bare)))
    with pytest.raises(KeyMissing, match="NSE:RELIANCE has no Upstox key"):
        key_of(bare[RELIANCE])
