"""What must hold for any market and any orders: nothing from nowhere, nothing beyond a limit,
accounts to the paisa, terminal states for good, same seed same trace."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.fills import Shown, fills
from reference.ledger import Deal, cash_after, filled, positions
from sim_tools import CURRENCY, EQUITY, MS, NOW, OPTION, TABLE, snapshot

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import NOT_YET_OPEN, TERMINAL, Change, NewOrder, Order, Refusal
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.kite.rows import order_row
from kite_hft.trading.instruments import InstrumentTable

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
    st.sampled_from(["LIMIT", "MARKET", "IOC", "SL", "SL-M", "CO", "ICEBERG", "DISCLOSED", "TTL"]),
    st.booleans(), st.integers(1, 40), st.integers(-10, 10),
)  # fmt: skip
acts = st.tuples(
    st.just("act"), st.sampled_from(["halt", "upper", "lower", "free", "square", "stops"]), slots
)
changes = st.tuples(st.just("modify"), st.integers(0, 30), st.integers(1, 40), st.integers(-10, 10))
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))
steps = st.tuples(st.just("step"), st.integers(0, 4000))
scenarios = st.lists(
    st.one_of(ticks, places, places, changes, cancels, steps, steps, ticks, acts), min_size=30, max_size=90
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

    def place(self, slot: int, side: Side, kind: str, carried: bool, quantity: int, shift: int) -> None:
        px = BASE[slot] + shift * STEP[slot]
        market = kind in ("MARKET", "SL-M")
        order_type = {"MARKET": OrderType.MARKET, "SL": OrderType.SL, "SL-M": OrderType.SLM}.get(
            kind, OrderType.LIMIT
        )
        overnight = Product.CNC if slot == 0 else Product.NRML
        more: dict[str, Any] = {}
        if kind == "CO":
            more = {"variety": "co", "trigger_px": px + STEP[slot] * (-3 if side == Side.BUY else 3)}
        elif kind == "ICEBERG":
            more = {"variety": "iceberg", "iceberg_legs": 3, "iceberg_quantity": quantity}
            quantity = 3 * quantity - quantity // 2
        elif kind == "DISCLOSED" and slot == 0:
            more = {"disclosed_quantity": max(1, quantity // 3)}
        elif kind == "TTL":
            more = {"validity": Validity.TTL, "validity_ttl": 1}
        elif kind.startswith("SL"):
            more = {"trigger_px": px}
        if kind == "IOC":
            more = {"validity": Validity.IOC}
        request = NewOrder(
            ROWS[slot], side, order_type, overnight if carried else Product.MIS, quantity,
            px=0 if market else px, protection_percent=-1 if market else 0, **more,
        )  # fmt: skip
        with contextlib.suppress(Refusal):
            self.exchange.place(request, self.now)

    def act(self, what: str, slot: int) -> None:
        """Something that nobody asked for."""
        exchange = self.exchange
        if what == "halt":
            exchange.halt(not exchange.halted, self.now)
        elif what == "square":
            exchange.square_off_mis(self.now)
        elif what == "stops":
            exchange.cancel_stops(None, self.now)
        else:
            exchange.lock_circuit(slot, None if what == "free" else what)  # type: ignore[arg-type]

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
            if state.status not in NOT_YET_OPEN:
                self.check_reserve(order)
            if order.order_id in self.locked:
                assert order.states == self.locked[order.order_id]
            elif state.status in TERMINAL:
                self.locked[order.order_id] = list(order.states)
                assert order.reserved_paise == 0

        account = self.exchange.account
        assert account.reserved_paise == sum(o.reserved_paise for o in self.exchange.orders.values())
        self.check_legs()

    def check_reserve(self, order: Order) -> None:
        """A delivery buy reserves its value, a delivery sale nothing; what is on margin a part of
        its value at most: a fifth of a share's."""
        request, state = order.request, order.now
        row, px = request.instrument, state.px or state.trigger_px
        value = Fraction(px * order.remaining * (row.multiplier or 1) * 100, row.scale)
        if row.kind == "EQ" and request.product == Product.CNC:
            assert order.reserved_paise == (value if request.side == Side.BUY else 0)
        elif row.kind == "EQ":
            assert 0 <= order.reserved_paise <= -(-value // 5)
        else:
            assert 0 <= order.reserved_paise <= 1.3 * value

    def check_legs(self) -> None:
        """Legs of icebergs come one after another and add up; a cover order has one stop, for
        exactly what was filled."""
        orders = list(self.exchange.orders.values())
        for first in orders:
            children = [order for order in orders if order.parent_id == first.order_id]
            if first.leg is not None and first.parent_id is None:
                legs = [first, *children]
                whole = first.leg.total_quantity
                assert [order.leg.leg for order in legs if order.leg] == list(range(1, len(legs) + 1))
                assert all(order.now.status == "COMPLETE" for order in legs[:-1])
                planned = sum(order.leg.leg_quantity for order in legs if order.leg)
                assert legs[-1].leg is not None and planned + legs[-1].leg.remaining_quantity == whole
            elif first.request.variety == "co" and first.parent_id is None:
                filled = first.now.filled if first.done else 0
                assert [order.now.quantity for order in children] == ([filled] if filled else [])
                assert all(order.request.side != first.request.side for order in children)

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
    ids = [trade.trade_id for trade in account.trades]
    assert len(set(ids)) == len(ids)
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


levels = st.lists(quantities, min_size=10, max_size=10)
snapshots = st.lists(
    st.tuples(st.integers(-6, 6), st.integers(1, 3), levels, st.integers(-4, 6), st.integers(-3, 20)),
    min_size=2, max_size=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(snapshots, st.booleans(), st.integers(-10, 10), st.integers(1, 40))
def test_one_order_fills_as_the_slow_rule_says(
    moves: list[tuple[int, int, list[int], int, int]], buy: bool, shift: int, quantity: int
) -> None:
    exchange = Exchange(TABLE, 10**9, 0, ExchangeParams(latency_ns=(0, 0)))
    market, volume = [], 1000
    for i, (at, spread, sizes, last, traded) in enumerate(moves):
        bid, volume = 10_000 + 5 * at, volume + traded
        bids = [(bid - 5 * n, sizes[n]) for n in range(5)]
        asks = [(bid + 5 * (spread + n), sizes[5 + n]) for n in range(5)]
        market.append(Shown(bids, asks, bid + 5 * last, volume))
        exchange.on_ticks(snapshot(0, bids, asks, last=bid + 5 * last, volume=volume, close=10_000), NOW + i)
        if i == 0:
            side = Side.BUY if buy else Side.SELL
            request = NewOrder(EQUITY, side, OrderType.LIMIT, Product.MIS, quantity, px=10_000 + 5 * shift)
            exchange.place(request, NOW)
            exchange.step(NOW)
    ours = [(trade.px, trade.quantity) for trade in exchange.account.trades]
    assert ours == fills(buy, 10_000 + 5 * shift, quantity, market)


@settings(max_examples=100, deadline=None)
@given(scenarios, st.integers(0, 3), st.lists(st.integers(1, 30), max_size=4))
def test_conversions_move_positions_and_lose_nothing(
    scenario: list[tuple[Any, ...]], seed: int, quantities: list[int]
) -> None:
    exchange = Run(seed).play(scenario).exchange
    account = exchange.account
    before = {slot: sums(exchange, slot) for slot in (0, 3)}
    for (slot, product), position in list(account.positions.items()):
        for quantity in quantities:
            side = Side.BUY if position.day_net > 0 else Side.SELL
            other = (Product.CNC if slot == 0 else Product.NRML) if product == Product.MIS else Product.MIS
            with contextlib.suppress(Refusal):
                key = position.instrument.key
                exchange.convert(key, product, other, side, "day", quantity, exchange.desk.now_ns)
    assert {slot: sums(exchange, slot) for slot in (0, 3)} == before


def sums(exchange: Exchange, slot: int) -> tuple[int, ...]:
    """Over all products of an instrument: quantities and values bought and sold."""
    found = [p for (other, _), p in exchange.account.positions.items() if other == slot]
    names = ("buy_quantity", "sell_quantity", "buy_units", "sell_units", "buy_paise", "sell_paise")
    return tuple(sum(getattr(p, name) for p in found) for name in names)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 100), st.integers(1, 12), st.integers(0, 4_000_000))
def test_slices_add_up_to_what_was_asked(lots: int, freeze_lots: int, cash_rupees: int) -> None:
    row = replace(OPTION, freeze_quantity=75 * freeze_lots + 10)
    table = InstrumentTable((replace(row, slot=0),))
    exchange = Exchange(table, cash_rupees * 100, 0, ExchangeParams(latency_ns=(0, 0)))
    exchange.on_ticks(snapshot(0, [(5_000, 10**6)], [(5_005, 10**6)], close=5_000), NOW)
    request = NewOrder(table[0], Side.BUY, OrderType.LIMIT, Product.NRML, 75 * lots, px=5_005)
    if lots > 10 * freeze_lots:
        with pytest.raises(Refusal):
            exchange.place_sliced(request, NOW)
        assert not exchange.orders
        return
    children = exchange.place_sliced(request, NOW)[1]
    exchange.step(NOW)
    taken = [exchange.orders[child] for child in children if isinstance(child, str)]
    refused = len(children) - len(taken)
    if children:
        assert len(children) == -(-lots // freeze_lots)
        assert all(order.now.status == "COMPLETE" and order.now.quantity % 75 == 0 for order in taken)
        if not refused:
            assert sum(order.now.filled for order in taken) == 75 * lots
    assert exchange.account.cash_paise >= 0


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
    quiet = Run(seed).play([event for event in scenario if event[0] in ("tick", "step", "act")])
    assert quiet.exchange.latest.tobytes() == first.exchange.latest.tobytes()
