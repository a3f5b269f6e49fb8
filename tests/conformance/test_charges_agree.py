"""Two calculators, written apart: the engine's charges and the simulator's POST /charges/orders."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from sim_tools import AUTH

from kite_hft.layout import Product, Side
from kite_hft.sessions import ist_midnight_ns
from kite_hft.settings import load_yaml
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.kite.api import Credentials, KiteApi
from kite_hft.sim.kite.quota import UNLIMITED
from kite_hft.trading.costs import Schedule, schedule_from_mapping
from kite_hft.trading.instruments import Instrument, InstrumentTable, scale_of_token
from kite_hft.trading.positions import paise_of_units

DAY = dt.date(2026, 11, 20)
NOW = ist_midnight_ns(DAY) + 10 * 3600 * 10**9
SEGMENTS = {"NSE": 1, "NFO": 2, "CDS": 3, "BSE": 4, "BFO": 5, "BCD": 6, "MCX": 7}
SHARES = ("NSE", "BSE")
PRICES = (0.5, 1.5, 99.95, 560.0, 24_999.9)
QUANTITIES = (1, 75, 4_000)


def master() -> InstrumentTable:
    rows = []
    for exchange, low in SEGMENTS.items():
        for kind in ("EQ",) if exchange in SHARES else ("FUT", "CE", "PE"):
            slot, token = len(rows), (1_000 + len(rows)) * 256 + low
            segment = exchange if exchange in SHARES else f"{exchange}-{'FUT' if kind == 'FUT' else 'OPT'}"
            rows.append(
                Instrument(
                    slot, token, token >> 8, f"X{slot}{kind}", exchange, segment, kind, 5, 1,
                    scale=scale_of_token(token), multiplier=1, freeze_quantity=10**6,
                )
            )  # fmt: skip
    return InstrumentTable(tuple(rows))


TABLE = master()


@pytest.fixture(scope="module")
def schedule() -> Schedule:
    return schedule_from_mapping(load_yaml(Path("config/rules/charges_zerodha_2026-04-01.yaml")), DAY)


def grid() -> list[tuple[Instrument, Product, Side, int, float]]:
    found = []
    for row in TABLE:
        products = (Product.CNC, Product.MIS) if row.exchange in SHARES else (Product.NRML, Product.MIS)
        found += list(itertools.product([row], products, Side, QUANTITIES, PRICES))
    return found


def simulated(orders: list[tuple[Instrument, Product, Side, int, float]]) -> list[dict[str, Any]]:
    exchange = Exchange(TABLE, 10**12, seed=1)
    api = KiteApi(exchange, TABLE, Credentials("key", "secret", "token"), UNLIMITED)
    body = [
        {
            "order_id": str(number), "exchange": row.exchange, "tradingsymbol": row.symbol,
            "transaction_type": side.name, "variety": "regular", "product": product.name,
            "order_type": "LIMIT", "quantity": quantity, "average_price": price,
        }
        for number, (row, product, side, quantity, price) in enumerate(orders)
    ]  # fmt: skip
    headers = AUTH | {"content-type": "application/json"}
    answer = api.handle("POST", "/charges/orders", [], headers, json.dumps(body).encode(), NOW)
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = json.loads(answer.body)["data"]
    return rows


def test_both_say_the_same_over_the_grid(schedule: Schedule) -> None:
    orders = grid()
    wrong = []
    for order, theirs in zip(orders, simulated(orders), strict=True):
        row, product, side, quantity, price = order
        value = paise_of_units(round(price * row.scale) * quantity, row)
        ours = schedule.charges(row, product, side, value).total_paise
        # Theirs is a float of rupees: half a paisa of it may fall either way.
        if abs(ours - theirs["charges"]["total"] * 100) > 0.5 + 1e-6:
            wrong.append(
                f"{row.exchange} {row.kind} {product.name} {side.name} {quantity} at {price}: "
                f"{ours} paise, simulator {theirs['charges']}"
            )
    assert not wrong, f"{len(wrong)} of {len(orders)} differ\n" + "\n".join(wrong[:10])
