"""Layer 4, simulator, cold: what the portfolio feed tells: orders, positions, holdings, GTTs.

Every state of an order, in step with the book; nothing twice, nothing again after a reconnection.
"""

from __future__ import annotations

from typing import Any

from kite_hft.layout import Product
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Trade
from kite_hft.sim.upstox.gtt import gtt_update
from kite_hft.sim.upstox.gtt_book import GttBook
from kite_hft.sim.upstox.order_rows import told_states, update_row
from kite_hft.sim.upstox.portfolio import holding_update, position_update

KINDS = ("order", "gtt_order", "position", "holding")
"""update_type; a connection that names none gets `order`."""


class Updates:
    """Gathers what is to be told. One for each exchange: it empties the desk's list."""

    def __init__(self, exchange: Exchange, gtts: GttBook, user_id: str) -> None:
        self._exchange = exchange
        self._gtts = gtts
        self._user_id = user_id
        self._told: dict[str, int] = {}
        self._traded: dict[tuple[int, Product], None] = {}
        exchange.desk.touched = {}
        exchange.desk.on_trade.append(self._on_trade)

    def _on_trade(self, trade: Trade) -> None:
        self._traded[trade.instrument.slot, trade.product] = None

    def drain(self) -> list[dict[str, Any]]:
        """Rows since the last call: orders by the time of their states, then what follows from them."""
        desk = self._exchange.desk
        self._exchange.drain_updates()  # in the other broker's words: nobody reads them
        touched, desk.touched = desk.touched or {}, {}
        orders = []
        for order in touched.values():
            states = told_states(order)
            for word, state in states[self._told.get(order.order_id, 0) :]:
                orders.append((state.at_ns, update_row(order, word, state, self._user_id)))
            self._told[order.order_id] = len(states)
        rows = [row for _, row in sorted(orders, key=lambda pair: pair[0])]
        rows += self._portfolio()
        rows += [gtt_update(gtt) for gtt in self._gtts.changed.values()]
        self._gtts.changed.clear()
        return rows

    def _portfolio(self) -> list[dict[str, Any]]:
        account = self._exchange.account
        rows: list[dict[str, Any]] = []
        for slot, product in self._traded:
            rows.append(position_update(self._exchange, account.positions[slot, product]))
            if product == Product.CNC and slot in account.holdings:
                rows.append(holding_update(self._exchange, account, account.holdings[slot]))
        self._traded.clear()
        return rows
