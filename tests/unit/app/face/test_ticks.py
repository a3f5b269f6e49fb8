"""Ticks as a program sees them: fields of the mode, copies, arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kite_hft.app.face.ticks import COLUMNS, Tick, columns
from kite_hft.layout import TICK, TickFlag, TickKind
from kite_hft.trading.instruments import Instrument

ROW = Instrument(0, 738561, 2885, "RELIANCE", "NSE", "NSE", "EQ", 5, 1, multiplier=1)
RUPEE = Instrument(0, 281603, 1100, "USDINR26DECFUT", "CDS", "CDS-FUT", "FUT", 25_000, 1, scale=10_000_000)


def record(kind: TickKind, flags: int, **fields: object) -> np.void:
    found = np.zeros(1, TICK)
    found["kind"], found["flags"], found["last_px"] = kind, flags, 102_50
    for name, value in fields.items():
        found[name] = value
    return found[0]


def test_a_small_mode_has_few_fields_and_says_so() -> None:
    tick = Tick(record(TickKind.LTP, 0), ROW)
    assert (tick.instrument_token, tick.instrument, tick.mode) == (738561, "NSE:RELIANCE", "ltp")
    assert tick.last_price == tick["last_price"] == 102.5
    assert math.isnan(tick.change_percent) and not tick.change_percent > 2.0
    assert "depth" not in tick and tick.get("depth", "none") == "none"
    with pytest.raises(KeyError, match="a ltp tick of NSE:RELIANCE does not carry it"):
        tick["volume_traded"]
    with pytest.raises(AttributeError, match="subscribe with a larger mode"):
        _ = tick.depth
    with pytest.raises(KeyError, match="no such field"):
        tick["price"]


def test_change_is_against_the_close() -> None:
    tick = Tick(record(TickKind.QUOTE, TickFlag.OHLC, close_px=100_00, open_px=99_00), ROW)
    assert tick.change_percent == tick.change == tick["change_percent"] == 2.5
    assert tick.ohlc == {"open": 99.0, "high": 0.0, "low": 0.0, "close": 100.0}


def test_everything_of_a_full_tick_can_be_asked_for_by_name() -> None:
    flags = TickFlag.TRADE | TickFlag.OHLC | TickFlag.DEPTH | TickFlag.OI
    flags |= TickFlag.EXCHANGE_TIME | TickFlag.LAST_TRADE_TIME
    exch_ns, s = 1_795_296_231_250_000_000, 1_795_296_230
    full = record(TickKind.FULL, flags, exch_ns=exch_ns, last_trade_s=s, bid_px=102_45, bid_qty=7, oi=9)
    tick = Tick(full, ROW)
    values = {name: tick[name] for name in tick}
    assert values["depth"]["buy"][0] == {"quantity": 7, "price": 102.45, "orders": 0}
    assert len(values["depth"]["sell"]) == 5 and values["oi"] == 9
    assert values["exchange_timestamp"].isoformat() == "2026-11-22T02:53:51.250000+05:30"
    assert values["last_trade_time"].isoformat() == "2026-11-22T02:53:50+05:30"


def test_columns_are_rupees_of_the_instruments_own_unit_and_nan_where_nothing_came() -> None:
    ticks = np.zeros(2, TICK)
    ticks["last_px"] = 845_125_000
    ticks["flags"][1] = TickFlag.OHLC | TickFlag.DEPTH
    ticks["close_px"][1] = ticks["open_px"][1] = 800_000_000
    found = columns(ticks, RUPEE)
    assert found.dtype == COLUMNS and (found["instrument_token"] == RUPEE.token).all()
    assert found["last_price"].tolist() == [84.5125, 84.5125]
    assert np.isnan(found["open"]).tolist() == [True, False] and found["open"][1] == 80.0
    assert np.isnan(found["change_percent"]).tolist() == [True, False]
    assert found["change_percent"][1] == pytest.approx(5.640625)
    ticks["last_px"] = 0
    assert found["last_price"][0] == 84.5125, "a copy"
