"""Layer 4, simulator, cold: positions, holdings and conversions in Upstox's rows."""

from __future__ import annotations

from typing import Any, Final

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.account import Account, Holding, Position
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.portfolio import DAY, OVERNIGHT
from kite_hft.sim.kite.rows import position_row as sums_of
from kite_hft.sim.market.keys import isin_of, upstox_lot_of, upstox_symbol_of
from kite_hft.sim.rest import Call, Route
from kite_hft.sim.upstox.answers import refusal
from kite_hft.sim.upstox.body import choice, instrument_of, json_object, units
from kite_hft.sim.upstox.order_forms import SIDES, product_of
from kite_hft.sim.upstox.order_rows import PRODUCT_WORDS, exchange_word

_TOLD: Final = (
    "instrument_token", "exchange", "product", "quantity", "multiplier", "average_price", "buy_price",
    "sell_price", "buy_value", "sell_value", "day_buy_quantity", "day_buy_price", "day_buy_value",
    "day_sell_quantity", "day_sell_price", "day_sell_value", "overnight_quantity", "overnight_buy_amount",
    "overnight_buy_quantity", "overnight_sell_amount", "overnight_sell_quantity",
)  # fmt: skip
"""Fields of a position that the portfolio feed tells: neither profit nor last price."""
_SAME: Final = (
    "average_price", "close_price", "last_price", "value", "pnl", "buy_value", "sell_value", "buy_price",
    "sell_price", "day_buy_price", "day_buy_value", "day_sell_price", "day_sell_value",
)  # fmt: skip
"""Sums that are called alike at both brokers."""
_COUNTS: Final = ("quantity", "overnight_quantity", "day_buy_quantity", "day_sell_quantity")
"""Counts that are called alike; some are of lots here."""


class PortfolioDesk:
    """What the client owns."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """Positions, holdings, conversion."""
        return [
            Route("GET", "/v2/portfolio/short-term-positions", lambda _: self._positions(carried_mtf=False)),
            Route("GET", "/v3/portfolio/mtf-positions", lambda _: self._positions(carried_mtf=True)),
            Route("GET", "/v2/portfolio/long-term-holdings", lambda _: self._holdings()),
            Route("PUT", "/v2/portfolio/convert-position", self._convert),
        ]

    def _positions(self, *, carried_mtf: bool) -> list[dict[str, Any]]:
        """MTF positions of earlier days stand apart from all others."""
        rows = []
        for position in self._exchange.account.positions.values():
            carried = position.product == Product.MTF and position.overnight_quantity != 0
            if carried == carried_mtf:
                rows.append(position_row(self._exchange, position))
        return rows

    def _holdings(self) -> list[dict[str, Any]]:
        account = self._exchange.account
        return [holding_row(self._exchange, account, h) for h in account.holdings.values()]

    def _convert(self, call: Call) -> dict[str, str]:
        body = json_object(call.body)
        row = instrument_of(body, self._exchange.instruments)
        old = product_of({"product": body.get("old_product")}, row)
        new = product_of({"product": body.get("new_product")}, row)
        side = choice(body, "transaction_type", SIDES, "UDAPI1057", "UDAPI1057")
        position = self._exchange.account.positions.get((row.slot, old))
        if position is None:
            raise refusal("UDAPI100500", "No position to convert.")
        sign = 1 if side == Side.BUY else -1
        kind = OVERNIGHT if sign * position.overnight_quantity > 0 else DAY
        self._exchange.convert(row.key, old, new, side, kind, units(body, "quantity", row), call.now_ns)
        return {"status": "complete"}


def position_row(exchange: Exchange, position: Position) -> dict[str, Any]:
    """One position (PositionData)."""
    row, tick = position.instrument, exchange.latest[position.instrument.slot]
    sums = sums_of(position, int(tick["last_px"]), int(tick["close_px"]))
    closed = min(sums["buy_quantity"], sums["sell_quantity"])
    realised = (sums["sell_price"] - sums["buy_price"]) * closed * sums["multiplier"]
    carried = abs(position.overnight_paise) / 100
    long, short = max(position.overnight_quantity, 0), max(-position.overnight_quantity, 0)
    symbol, lot = upstox_symbol_of(row), upstox_lot_of(row)
    return {name: sums[name] for name in _SAME} | {
        **{name: sums[name] // lot for name in _COUNTS},
        "exchange": exchange_word(row),
        "multiplier": float(sums["multiplier"] * lot),
        "product": PRODUCT_WORDS[position.product],
        "instrument_token": row.upstox_key,
        "tradingsymbol": symbol,
        "trading_symbol": symbol,
        "unrealised": sums["pnl"] - realised,
        "realised": realised,
        "overnight_buy_quantity": long // lot,
        "overnight_buy_amount": carried if long else 0.0,
        "overnight_sell_quantity": short // lot,
        "overnight_sell_amount": carried if short else 0.0,
    }


def position_update(exchange: Exchange, position: Position) -> dict[str, Any]:
    """One position as the portfolio feed tells it."""
    row = position_row(exchange, position)
    told = {name: row[name] for name in _TOLD}
    return {"update_type": "position", "instrument_key": row["instrument_token"]} | told


def holding_row(exchange: Exchange, account: Account, holding: Holding) -> dict[str, Any]:
    """One holding (HoldingsData)."""
    row, tick = holding.instrument, exchange.latest[holding.instrument.slot]
    last, close = int(tick["last_px"]) / row.scale, int(tick["close_px"]) / row.scale
    average = holding.average_px / row.scale
    sold = max(0, -account.net(row.slot, Product.CNC))
    return {
        "isin": isin_of(row),
        "cnc_used_quantity": sold + exchange.chain.open_sells(row.slot, Product.CNC),
        "collateral_type": "WC",
        "company_name": row.name or row.symbol,
        "haircut": 0.0,
        "product": "D",
        "quantity": holding.quantity + holding.t1_quantity,  # all of them, also what is on its way
        "tradingsymbol": row.symbol,
        "trading_symbol": row.symbol,
        "last_price": last,
        "close_price": close,
        "pnl": (last - average) * (holding.quantity + holding.t1_quantity),
        "day_change": last - close,
        "day_change_percentage": (last - close) * 100 / close if close else 0.0,
        "instrument_token": row.upstox_key,
        "average_price": average,
        "collateral_quantity": 0,
        "collateral_update_quantity": 0,
        "t1_quantity": holding.t1_quantity,
        "exchange": exchange_word(row),
    }


def holding_update(exchange: Exchange, account: Account, holding: Holding) -> dict[str, Any]:
    """One holding as the portfolio feed tells it."""
    row = holding_row(exchange, account, holding)
    left_out = ("last_price", "close_price", "pnl", "day_change", "day_change_percentage", "tradingsymbol")
    told = {name: value for name, value in row.items() if name not in left_out}
    return {"update_type": "holding", "instrument_key": row["instrument_token"]} | told
