"""What must hold for any market and any orders: nothing from nowhere, nothing beyond a limit,
accounts to the paisa, terminal states for good, same seed same trace."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from reference.ledger import Deal, cash_after, filled, positions
from sim_tools import CURRENCY, EQUITY, MS, NOW, TABLE, snapshot

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.exchange import Exchange
from kite_hft.sim.orders import NOT_YET_OPEN, TERMINAL, Change, NewOrder, Refusal
from kite_hft.sim.rows import order_row
from kite_hft.sim.rules import ExchangeParams

BASE = {0: 10_000, 3: 845_000_000}
STEP = {0: 5, 3: 25_000}
ROWS = {0: EQUITY, 3: CURRENCY}

slots = st.sampled_from([0, 3])
quantities = st.integers(0, 12)
ticks = st.tuples(
    st.just("tick"), slots, st.integers(-6, 6), st.integers(1, 3),
    st.lists(quantities, min_size=10, max_size=10), st.integers(-4, 4), st.integers(-3, 20),
)  # fmt: skip
places = st.tuples(
    st.just("place"), slots, st.sampled_from(list(Side)),
    st.sampled_from(["LIMIT", "MARKET", "IOC", "SL", "SL-M"]), st.sampled_from([Product.MIS, Product.CNC]),
    st.integers(1, 40), st.integers(-10, 10),
)  # fmt: skip
changes = st.tuples(st.just("modify"), st.integers(0, 30), st.integers(1, 40), st.integers(-10, 10))
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))
steps = st.tuples(st.just("step"), st.integers(0, 4000))
scenarios = st.lists(
    st.one_of(ticks, places, places, changes, cancels, steps, steps), min_size=30, max_size=90
)


@dataclass
class Supply:
    """What one snapshot can give, and what was taken: levels and fills as (price or limit, quantity)."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    traded: int
    last: int
    bought: list[tuple[int, int]] = field(default_factory=list)
    sold: list[tuple[int, int]] = field(default_factory=list)

    def check(self) -> None:
        """There is a way to serve all fills: each from levels its limit reaches, or from the volume
        traded when its limit reaches the last price. (Reachable sets are nested, so it is enough
        to compare sums up to each limit: Hall's condition.)"""
        sell = [(-px, n) for px, n in self.sold]
        bids = [(-px, n) for px, n in self.bids]
        needed = self.excess(self.bought, self.asks, self.last) + self.excess(sell, bids, -self.last)
        assert needed <= self.traded, "filled more than was shown and traded"

    @staticmethod
    def excess(fills: list[tuple[int, int]], levels: list[tuple[int, int]], last: int) -> int:
        """Quantity filled beyond the levels."""
        most = 0
        for limit, _ in fills:
            filled = sum(n for px, n in fills if px <= limit)
            more = filled - sum(n for px, n in levels if px <= limit)
            assert more <= 0 or last <= limit, "nothing traded at this price"
            most = max(most, more)
        return most


class Run:
    """Plays a scenario and checks, at every snapshot, that fills had something to fill from."""

    def __init__(self, seed: int) -> None:
        self.exchange = Exchange(TABLE, 10**8, seed, ExchangeParams(latency_ns=(0, MS)))
        self.now = NOW
        self.volume: dict[int, int] = {}  # highest so far
        self.supply: dict[int, Supply] = {0: Supply([], [], 0, 0), 3: Supply([], [], 0, 0)}
        self.counted = 0
        self.filled: dict[str, int] = {}
        self.locked: dict[str, Any] = {}

    def play(self, scenario: list[tuple[Any, ...]]) -> Run:
        for verb, *values in scenario:
            getattr(self, verb)(*values)
            self.check()
        self.step(100_000)
        self.check()
        return self

    def tick(self, slot: int, shift: int, spread: int, sizes: list[int], last: int, traded: int) -> None:
        self.exchange.step(self.now)
        self.check()
        step = STEP[slot]
        bid = BASE[slot] + shift * step
        bids = [(bid - i * step, sizes[i]) for i in range(5)]
        asks = [(bid + (spread + i) * step, sizes[5 + i]) for i in range(5)]
        high = self.volume.get(slot)
        volume = (1000 if high is None else high) + traded
        rise = 0 if high is None else max(0, traded)
        self.volume[slot] = volume if high is None else max(high, volume)
        row = snapshot(slot, bids, asks, last=bid + last * step, volume=volume, close=BASE[slot])
        self.supply[slot] = Supply(bids, asks, rise, bid + last * step)
        self.exchange.on_ticks(row, self.now)

    def place(self, slot: int, side: Side, kind: str, product: Product, quantity: int, shift: int) -> None:
        px = BASE[slot] + shift * STEP[slot]
        market = kind in ("MARKET", "SL-M")
        order_type = {"MARKET": OrderType.MARKET, "SL": OrderType.SL, "SL-M": OrderType.SLM}.get(
            kind, OrderType.LIMIT
        )
        self.exchange.place(
            NewOrder(
                ROWS[slot], side, order_type, product, quantity,
                Validity.IOC if kind == "IOC" else Validity.DAY,
                px=0 if market else px, trigger_px=px if kind.startswith("SL") else 0,
                protection_percent=-1 if market else 0,
            ),
            self.now,
        )  # fmt: skip

    def modify(self, which: int, quantity: int, shift: int) -> None:
        self.change(which, lambda o: self.exchange.modify(
            o.order_id, Change(quantity=quantity, px=BASE[o.slot] + shift * STEP[o.slot]), self.now
        ))  # fmt: skip

    def cancel(self, which: int) -> None:
        self.change(which, lambda o: self.exchange.cancel(o.order_id, self.now))

    def change(self, which: int, act: Any) -> None:
        orders = list(self.exchange.orders.values())
        if orders:
            with contextlib.suppress(Refusal):
                act(orders[which % len(orders)])

    def step(self, microseconds: int) -> None:
        self.now += microseconds * 1000
        self.exchange.step(self.now)

    def check(self) -> None:
        self.check_fills()
        for order in self.exchange.orders.values():
            state = order.now
            assert 0 <= state.filled <= state.quantity
            assert (
                state.pending + state.filled + state.cancelled == state.quantity or state.status == "REJECTED"
            )
            if order.request.side == Side.BUY and state.status not in NOT_YET_OPEN:
                # px units of 1/scale rupee, multiplier units a lot: paise, rounded half to even.
                row, px = order.request.instrument, state.px or state.trigger_px
                value = round(Fraction(px * order.remaining * (row.multiplier or 1) * 100, row.scale))
                assert order.reserved_paise == value
            if order.order_id in self.locked:
                assert order.states == self.locked[order.order_id]
            elif state.status in TERMINAL:
                self.locked[order.order_id] = list(order.states)
                assert order.reserved_paise == 0

    def check_fills(self) -> None:
        """New trades are within the limit, and within what the current snapshots can give."""
        trades = self.exchange.account.trades[self.counted :]
        self.counted += len(trades)
        for trade in trades:
            slot = trade.instrument.slot
            order = self.exchange.orders[trade.order_id]
            self.filled[order.order_id] = self.filled.get(order.order_id, 0) + trade.quantity
            limit = next(s.px for s in order.states if s.filled == self.filled[order.order_id])
            assert trade.px <= limit if trade.side == Side.BUY else trade.px >= limit
            supply = self.supply[slot]
            (supply.bought if trade.side == Side.BUY else supply.sold).append((limit, trade.quantity))
            supply.check()

    def deals(self) -> list[Deal]:
        return [
            Deal(t.order_id, t.instrument.symbol, t.product.name, t.side.name, t.quantity,
                 Fraction(t.px, t.instrument.scale), t.instrument.multiplier or 1)
            for t in self.exchange.account.trades
        ]  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(scenarios, st.integers(0, 3))
def test_any_day_at_the_exchange(scenario: list[tuple[Any, ...]], seed: int) -> None:
    run = Run(seed).play(scenario)
    account, deals = run.exchange.account, run.deals()
    assert account.cash_paise == cash_after(10**8, deals)
    held = {
        (p.instrument.symbol, p.product.name): (p.buy_quantity, p.buy_paise, p.sell_quantity, p.sell_paise)
        for p in account.positions.values()
    }
    assert held == positions(deals)
    by_order = filled(deals)
    for order in run.exchange.orders.values():
        quantity, average = by_order.get(order.order_id, (0, Fraction(0)))
        assert order.now.filled == quantity
        row = order_row(order, order.now, "USER")
        assert row["average_price"] == float(average)
        assert row["filled_quantity"] == quantity
    reserved = sum(order.reserved_paise for order in run.exchange.orders.values())
    assert account.reserved_paise == reserved


@settings(max_examples=30, deadline=None)
@given(scenarios, st.integers(0, 3))
def test_same_seed_same_trace_and_same_prices_with_or_without_orders(
    scenario: list[tuple[Any, ...]], seed: int
) -> None:
    first, second = Run(seed).play(scenario), Run(seed).play(scenario)
    assert [o.states for o in first.exchange.orders.values()] == [
        o.states for o in second.exchange.orders.values()
    ]
    assert first.exchange.account.trades == second.exchange.account.trades
    quiet = Run(seed).play([event for event in scenario if event[0] in ("tick", "step")])
    assert quiet.exchange.latest.tobytes() == first.exchange.latest.tobytes()
