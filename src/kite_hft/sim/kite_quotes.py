"""Layer 4, simulator, cold: quote answers and the instrument dump, from the exchange's last ticks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kite_hft.sim.exchange import Exchange
from kite_hft.sim.orders import Refusal
from kite_hft.sim.rows import ist_text
from kite_hft.trading.instruments import CSV_COLUMNS, EXTRA_COLUMNS, Instrument, csv_row
from kite_hft.units import NS_PER_S

KEYS_MAX = {"quote": 500, "ohlc": 1000, "ltp": 1000}


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
        table = exchange.instruments
        row = table.by_token.get(int(key)) if key.isdigit() else table.by_key.get(key)
        if row is not None and exchange.seen[row.slot]:
            found[key] = _quote(exchange, row, depth, now_ns)
    return found


def _quote(exchange: Exchange, row: Instrument, depth: str, now_ns: int) -> dict[str, Any]:
    tick, scale = exchange.latest[row.slot], row.scale
    answer: dict[str, Any] = {"instrument_token": row.token, "last_price": int(tick["last_px"]) / scale}
    if depth == "ltp":
        return answer
    answer["ohlc"] = {n: int(tick[f"{n}_px"]) / scale for n in ("open", "high", "low", "close")}
    if depth == "ohlc":
        return answer
    low, high = exchange.band(row.slot)
    traded_s = int(tick["last_trade_s"])
    return answer | {
        "timestamp": ist_text(int(tick["exch_ns"]) or now_ns),
        "last_trade_time": ist_text(traded_s * NS_PER_S),
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
        "depth": {"buy": _levels(tick, "bid", scale), "sell": _levels(tick, "ask", scale)},
    }


def _levels(tick: np.void, side: str, scale: int) -> list[dict[str, Any]]:
    prices = [int(tick[f"{side}_px"]), *tick[f"{side}_px_deep"].tolist()]
    sizes = zip(prices, tick[f"{side}_qty"].tolist(), tick[f"{side}_orders"].tolist(), strict=True)
    return [{"price": px / scale, "quantity": qty, "orders": orders} for px, qty, orders in sizes]


def dump_csv(rows: Iterable[Instrument]) -> bytes:
    """The instrument dump: Kite's columns and, behind them, multiplier and freeze_quantity."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, *EXTRA_COLUMNS])
    writer.writerows(csv_row(row) for row in rows)
    return text.getvalue().encode()
