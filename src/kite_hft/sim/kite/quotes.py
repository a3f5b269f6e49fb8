"""Layer 4, simulator, cold: quote answers and the instrument dump, from the exchange's last ticks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.kite.rows import ist_text
from kite_hft.trading.instruments import CSV_COLUMNS, EXTRA_COLUMNS, Instrument, InstrumentTable, csv_row
from kite_hft.units import NS_PER_S

KEYS_MAX: Final = {"quote": 500, "ohlc": 1000, "ltp": 1000}


def find(table: InstrumentTable, key: str) -> Instrument | None:
    """By `EXCHANGE:SYMBOL` or by token."""
    if key.isascii() and key.isdigit() and len(key) < 20:
        return table.by_token.get(int(key))
    return table.by_key.get(key)


def quotes(exchange: Exchange, keys: Sequence[str], depth: str, now_ns: int) -> dict[str, Any]:
    """By key (`NSE:INFY` or a token); a key without a tick today or unknown is absent.

    `depth`: "quote", "ohlc" or "ltp".

    Raises:
        Refusal: too many keys.
    """
    if len(keys) > KEYS_MAX[depth]:
        raise Refusal("InputException", f"Maximum {KEYS_MAX[depth]} instruments allowed.")
    found: dict[str, Any] = {}
    for key in keys:
        row = find(exchange.instruments, key)
        if row is not None and exchange.seen[row.slot]:
            found[key] = _quote(exchange, row, depth, now_ns)
    return found


def _quote(exchange: Exchange, row: Instrument, depth: str, now_ns: int) -> dict[str, Any]:
    tick, scale = exchange.latest[row.slot], row.scale
    answer: dict[str, Any] = {"instrument_token": row.token, "last_price": int(tick["last_px"]) / scale}
    if depth == "ltp":
        return answer
    if depth == "ohlc":
        return answer | {"ohlc": ohlc_of(tick, scale)}
    low, high = (0, 0) if row.is_index else exchange.band(row.slot)
    traded_s = int(tick["last_trade_s"])
    return {
        "instrument_token": row.token,
        "timestamp": ist_text(int(tick["exch_ns"]) or now_ns),
        "last_trade_time": ist_text(traded_s * NS_PER_S),
        "last_price": int(tick["last_px"]) / scale,
        "last_quantity": int(tick["last_qty"]),
        "buy_quantity": int(tick["total_buy_qty"]),
        "sell_quantity": int(tick["total_sell_qty"]),
        "volume": int(tick["volume"]),
        "average_price": int(tick["average_px"]) / scale,
        "oi": int(tick["oi"]),
        "oi_day_high": int(tick["oi_day_high"]),
        "oi_day_low": int(tick["oi_day_low"]),
        "net_change": (int(tick["last_px"]) - int(tick["close_px"])) / scale,
        "lower_circuit_limit": low / scale,
        "upper_circuit_limit": high / scale,
        "ohlc": ohlc_of(tick, scale),
        "depth": {"buy": _levels(tick, "bid", scale), "sell": _levels(tick, "ask", scale)},
    }


def ohlc_of(tick: np.void, scale: int) -> dict[str, float]:
    """Open, high and low of the day and yesterday's close, in rupees."""
    return {name: int(tick[f"{name}_px"]) / scale for name in ("open", "high", "low", "close")}


def _levels(tick: np.void, side: str, scale: int) -> list[dict[str, Any]]:
    prices = [int(tick[f"{side}_px"]), *tick[f"{side}_px_deep"].tolist()]
    sizes = zip(prices, tick[f"{side}_qty"].tolist(), tick[f"{side}_orders"].tolist(), strict=True)
    return [{"price": px / scale, "quantity": qty, "orders": orders} for px, qty, orders in sizes]


def dump_csv(rows: Iterable[Instrument], *, extended: bool = False) -> bytes:
    """The instrument dump in Kite's columns; `extended`: behind them multiplier and freeze_quantity."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    width = len(CSV_COLUMNS) + (2 if extended else 0)
    writer.writerow([*CSV_COLUMNS, *EXTRA_COLUMNS][:width])
    writer.writerows(_cells(row)[:width] for row in rows)
    return text.getvalue().encode()


def _cells(row: Instrument) -> list[str]:
    """One line; strike and tick size with a decimal point also where they are whole, as at the broker."""
    cells = csv_row(row)
    cells[CSV_COLUMNS.index("strike")] = repr(row.strike_px / row.scale)
    cells[CSV_COLUMNS.index("tick_size")] = repr(row.tick_px / row.scale)
    return cells
