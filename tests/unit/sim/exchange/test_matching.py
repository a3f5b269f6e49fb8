"""Fills on a recorded day against the slow rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference.fills import Shown, fills
from sim_tools import EQUITY, NOW, TABLE, snapshot

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import NewOrder
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.market.replay import open_replay
from kite_hft.trading.instruments import InstrumentTable

EVERYTHING = 1 << 62
WINDOW = 80


def shown(row: np.void) -> Shown:
    sides = []
    for side in ("bid", "ask"):
        prices = [int(row[f"{side}_px"]), *row[f"{side}_px_deep"].tolist()]
        levels = zip(prices, row[f"{side}_qty"].tolist(), strict=True)
        sides.append([(px, quantity) for px, quantity in levels if px > 0])
    return Shown(sides[0], sides[1], int(row["last_px"]), int(row["volume"]))


@pytest.mark.data
def test_a_recorded_day_fills_orders_as_the_slow_rule_says(data_dir: Path) -> None:
    replay = open_replay(data_dir / "upstox_v3_20251215")
    _, ticks = replay.take(EVERYTHING, EVERYTHING)
    params = ExchangeParams(latency_ns=(0, 0))
    seen = {"whole": 0, "part": 0, "none": 0}
    for row in replay.instruments:
        mine = ticks[ticks["slot"] == row.slot]
        mine = mine[(mine["bid_px"] > 0) & (mine["ask_px"] > 0)]
        mine["slot"] = 0
        table = InstrumentTable(()).select([row])
        for number, first in enumerate(range(0, len(mine) - WINDOW, max(WINDOW, len(mine) // 24))):
            window = mine[first : first + WINDOW]
            buy, lots = number % 2 == 0, 1 + number % 12
            own, far = ("bid_px", "ask_px") if buy else ("ask_px", "bid_px")
            deep = window[0][f"{own}_deep"].tolist()
            px = int([window[0][own], deep[1] or window[0][own], window[0][far]][number // 2 % 3])
            side, quantity = Side.BUY if buy else Side.SELL, lots * row.lot_size
            exchange = Exchange(table, 10**15, 0, params)
            exchange.on_ticks(window[:1], 1)
            request = NewOrder(table[0], side, OrderType.LIMIT, Product.MIS, quantity, px=px)
            order = exchange.orders[exchange.place(request, 1)]
            exchange.step(1)
            for i in range(1, WINDOW):
                exchange.on_ticks(window[i : i + 1], 1 + i)
            assert order.now.status != "REJECTED", order.now.message
            ours = [(trade.px, trade.quantity) for trade in exchange.account.trades]
            assert ours == fills(buy, px, quantity, [shown(r) for r in window]), (row.key, first)
            seen["whole" if order.done else "part" if order.now.filled else "none"] += 1
    assert min(seen.values()) >= 3, seen


def test_what_a_stop_took_from_a_snapshot_is_gone_for_the_next_order() -> None:
    exchange = Exchange(TABLE, 10**9, 0, ExchangeParams(latency_ns=(0, 0)))

    def show(bid: int, now: int) -> None:
        bids, asks = [(bid, 5)], [(bid + 5, 5)]
        exchange.on_ticks(snapshot(0, bids, asks, last=bid, volume=1000, close=10_000), now)

    def buy(order_type: OrderType, now: int, **prices: int) -> None:
        exchange.place(NewOrder(EQUITY, Side.BUY, order_type, Product.CNC, 5, **prices), now)
        exchange.step(now)

    show(10_000, NOW)
    buy(OrderType.SL, NOW, px=10_100, trigger_px=10_020)
    show(10_020, NOW + 1)  # triggers it: it takes the five that are shown
    buy(OrderType.LIMIT, NOW + 2, px=10_100)
    assert [order.now.filled for order in exchange.orders.values()] == [5, 0]
