"""Instruments and trades of the benchmarks as NautilusTrader's own objects."""

import os

import numpy as np
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import TradeTick
from nautilus_trader.model.enums import AggressorSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Price, Quantity

VENUE = Venue("XNSE")


def equity(number):
    """An instrument with two decimals."""
    symbol = Symbol(f"S{number}")
    return Equity(
        instrument_id=InstrumentId(symbol, VENUE), raw_symbol=symbol, currency=USD, price_precision=2,
        price_increment=Price.from_str("0.01"), lot_size=Quantity.from_int(1), ts_event=0, ts_init=0,
    )  # fmt: skip


def load(folder, most):
    """slots, times and trades of the first `most` ticks that trade anything."""
    slot, time_ns, price, traded = (
        np.load(os.path.join(folder, f"{name}.npy")) for name in ("slot", "time_ns", "price", "traded")
    )
    chosen = np.flatnonzero(traded > 0)[:most]
    return slot[chosen].tolist(), time_ns[chosen].tolist(), price[chosen], traded[chosen].tolist()


def trades(instruments, slots, times, prices, sizes):
    """TradeTick objects."""
    trade = TradeId("1")
    return [
        TradeTick(
            instruments[slot].id, Price(price / 100.0, 2), Quantity.from_int(size),
            AggressorSide.BUYER, trade, at, at,
        )
        for slot, at, price, size in zip(slots, times, prices.tolist(), sizes, strict=True)
    ]  # fmt: skip
