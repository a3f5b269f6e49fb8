"""What a Python strategy may see and ask."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kite_hft._kernels import Kernels
from kite_hft.layout import (
    NO_SLOT,
    ORDER_EVENT,
    IntentFlag,
    IntentKind,
    OrderType,
    Product,
    Reason,
    Side,
    TickFlag,
)
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.hosts import PythonHost, new_batch
from kite_hft.strategies.intents import MAX_PER_TICK

TOKENS = np.array([738561, 5633, 256265], np.uint32)
SCALES = np.array([100.0, 100.0, 10_000_000.0])


def host_of(strategy: BaseStrategy, slots=None, room: int = 100) -> tuple[PythonHost, Kernels]:
    batch = new_batch(16, TOKENS, SCALES)
    host = PythonHost(strategy, 3, batch, slots)
    host.start()
    host.outbox.begin(room)
    return host, Kernels(len(TOKENS), scale=SCALES, token=TOKENS)


def feed(host: PythonHost, kernels: Kernels, *prices: tuple[int, int], second: int = 0) -> None:
    batch = host._batch
    batch.ticks[:] = np.zeros((), batch.ticks.dtype)
    for i, (slot, px) in enumerate(prices):
        tick = batch.ticks[i]
        tick["slot"], tick["last_px"], tick["close_px"], tick["seq"] = slot, px, 10_000, 50 + i
        tick["recv_ns"], tick["exch_ns"] = 900 + i, (second + i) * 10**9
        tick["bid_px"], tick["ask_px"], tick["flags"] = px - 5, px + 5, TickFlag.DEPTH
        tick["ask_px_deep"], tick["bid_qty"] = [px + 10] * 4, [1, 2, 3, 4, 5]
    kernels.run(batch.ticks, len(prices), batch.rows, batch.bars)
    host.run(len(prices))


class Recorder(BaseStrategy):
    def __init__(self, act=None) -> None:
        self.act, self.seen, self.answers, self.bars, self.orders = act, [], [], [], []

    def on_tick(self, tick):
        self.seen.append((tick.slot, tick.last_price, tick.estimate))
        if self.act is not None:
            self.answers.append(self.act(self, tick))

    def on_bar(self, bar):
        self.bars.append((bar.instrument_token, bar.period_s, bar.open, bar.high, bar.low, bar.close))

    def on_order(self, event):
        self.orders.append(int(event["strategy_seq"]))


def test_a_tick_reads_like_kiteticker_s():
    read = {}

    def look(_, tick):
        names = ("instrument_token", "last_price", "change_percent", "change", "oi", "volume_traded")
        read.update({name: tick[name] for name in names})
        read["depth"], read["px"], read["ohlc"] = tick["depth"], tick.last_px, tick["ohlc"]
        assert "last_price" in tick and "nonsense" not in tick and tick.get("nonsense", 4) == 4
        for wrong in ("nonsense", "__class__", "deliver"):
            with pytest.raises(KeyError):
                tick[wrong]

    host, kernels = host_of(Recorder(look))
    feed(host, kernels, (1, 10_250))
    assert (read["instrument_token"], read["last_price"], read["change_percent"]) == (5633, 102.5, 2.5)
    assert read["depth"]["buy"][0] == {"quantity": 1, "price": 102.45, "orders": 0}
    assert read["depth"]["sell"][4]["price"] == 102.6
    assert read["px"] == 10_250 and read["ohlc"]["close"] == 100.0


def test_only_subscribed_slots_and_no_look_ahead():
    def look(strategy, tick):
        return strategy.estimate(0), strategy.estimate(1), strategy.row.tick_no

    strategy = Recorder(look)
    host, kernels = host_of(strategy, slots=[0, 1])
    feed(host, kernels, (0, 10_000), (2, 99), (1, 20_000), (0, 11_000), (7, 5), (0, 0))
    assert [slot for slot, _, _ in strategy.seen] == [0, 1, 0]
    (first0, nothing, _), (still, first1, _), (second0, _, number) = strategy.answers
    assert math.isnan(nothing) and still == first0 != second0 and first1 > 190 and number == 2
    # The kernels have already seen the whole batch; the strategy had not.
    assert first0 == pytest.approx(10_000 / 100 * (1.0001 / 1.0101))


def test_bars_come_before_the_tick_that_closed_them():
    strategy = Recorder()
    host, kernels = host_of(strategy, slots=[1])
    feed(host, kernels, (1, 100), (1, 300), (0, 5), (1, 200), (0, 6), second=58)
    assert strategy.bars == [
        (5633, 1, 1.0, 1.0, 1.0, 1.0),
        (5633, 1, 3.0, 3.0, 3.0, 3.0),
        (5633, 60, 1.0, 3.0, 1.0, 3.0),
    ]
    n = kernels.flush(70 * 10**9, host._batch.bars)
    host.bars_closed(n)
    assert [bar[1] for bar in strategy.bars[3:]] == [1, 60, 300, 900]


def test_an_order_becomes_one_intent():
    def act(strategy, tick):
        return strategy.place_order(
            "BUY",
            5633,
            4,
            "SL",
            "NRML",
            102.55,
            trigger_price=102.5,
            validity="IOC",
            is_exit=True,
            signal=0.25,
        )

    host, kernels = host_of(Recorder(act))
    feed(host, kernels, (1, 10_250))
    assert host.outbox.n == 1
    intent = host.outbox.records[0]
    expected = {
        "strategy": 3, "strategy_seq": 1, "slot": 1, "kind": IntentKind.PLACE, "side": Side.BUY, "qty": 4,
        "order_type": OrderType.SL, "product": Product.NRML, "validity": 2, "px": 10_255,
        "trigger_px": 10_250, "ref_px": 10_250, "tick_seq": 50,
       "tick_recv_ns": 900, "flags": IntentFlag.EXIT, "signal": 0.25,
        "created_ns": 0, "target_seq": 0, "deadline_ns": 0,
    }  # fmt: skip
    assert {name: intent[name].item() for name in expected} == expected
    assert host.outbox.records["slot"][1] == NO_SLOT


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda s, t: s.place_order("BUY", 1, 1), Reason.UNKNOWN_INSTRUMENT),
        (lambda s, t: s.place_order("BUY", 256265, 1), Reason.UNKNOWN_INSTRUMENT),  # not subscribed
        (lambda s, t: s.place_order("BUY", 0, 1, slot=-1), Reason.UNKNOWN_INSTRUMENT),
        (lambda s, t: s.place_order("BUY", 5633, 0), Reason.BAD_INTENT),
        (lambda s, t: s.place_order("BUY", 5633, 2**32), Reason.BAD_INTENT),
        (lambda s, t: s.place_order("BUY", 5633, 1, "LIMIT"), Reason.BAD_INTENT),
        (lambda s, t: s.place_order("BUY", 5633, 1, "MARKET", price=5.0), Reason.BAD_INTENT),
        (lambda s, t: s.place_order("BUY", 5633, 1, "SLM"), Reason.BAD_INTENT),
        (lambda s, t: s.place_order("BUY", 5633, 1, "LIMIT", price=math.nan), Reason.TICK_SIZE),
        (lambda s, t: s.place_order("BUY", 5633, 1, "LIMIT", price=1.0001), Reason.TICK_SIZE),
        (lambda s, t: s.place_order("BUY", 5633, 1, "LIMIT", price=1e9), Reason.TICK_SIZE),
        (lambda s, t: s.place_order("BUY", 5633, 1, "LIMIT", price=-1.0), Reason.BAD_INTENT),
        (lambda s, t: s.modify_order(1, 1, 1, "LIMIT"), Reason.BAD_INTENT),
        (lambda s, t: s.modify_order(1, 1, 1, "LIMIT", math.inf), Reason.TICK_SIZE),
    ],
)
def test_what_makes_no_order_is_refused_at_once(call, reason):
    strategy = Recorder(call)
    host, kernels = host_of(strategy, slots=[0, 1])
    feed(host, kernels, (1, 10_250))
    assert [(a.reason, a.accepted, bool(a)) for a in strategy.answers] == [(reason, False, False)]
    assert host.outbox.n == 0


def test_cancel_modify_and_a_full_queue():
    def act(strategy, tick):
        placed = strategy.place_order(Side.SELL, 5633, 1)
        changed = strategy.modify_order(placed.order_id, 1, 2, "LIMIT", 99.5)
        return placed, changed, strategy.cancel_order(placed.order_id, 1)

    strategy = Recorder(act)
    host, kernels = host_of(strategy, room=2)
    feed(host, kernels, (1, 10_250))
    ((placed, changed, cancelled),) = strategy.answers
    assert (placed.order_id, changed.order_id, cancelled) == (1, 2, (Reason.QUEUE_FULL, 3))
    assert (host.outbox.n, host.outbox.refused) == (2, 1)
    modify = host.outbox.records[1]
    assert (modify["kind"], modify["target_seq"], modify["px"], modify["side"]) == (
        IntentKind.MODIFY,
        1,
        9950,
        0,
    )
    host.outbox.begin(5)
    assert (host.outbox.records["slot"][: 2 + MAX_PER_TICK] == NO_SLOT).all() and host.outbox.next_seq == 3


def test_a_wrong_word_is_the_strategy_s_error():
    host, kernels = host_of(Recorder(lambda s, t: s.place_order("HOLD", 5633, 1)))
    with pytest.raises(KeyError):
        feed(host, kernels, (1, 10_250))


def test_positions_come_from_events_only():
    strategy = Recorder()
    host, _ = host_of(strategy)
    events = np.zeros(4, ORDER_EVENT)
    events["strategy"], events["slot"], events["strategy_seq"] = [3, 3, 4, 3], [1, 1, 1, 99], [1, 2, 3, 4]
    events["product"], events["position"] = [Product.MIS, Product.CNC, 3, 3], [10, -4, 77, 5]
    assert host.events(events, 4) == 3
    assert strategy.position(1) == 6 and strategy.orders == [1, 2]
    events["position"][0] = 0
    host.events(events, 1)
    assert strategy.position(1) == -4 and strategy.position(0) == 0


def test_the_checklist_s_example():
    class Mine(BaseStrategy):
        def should_buy(self, tick):
            return tick["change_percent"] > 2.0

        def on_tick(self, tick):
            if self.should_buy(tick):
                self.place_order("BUY", tick["instrument_token"], 1)

    host, kernels = host_of(Mine())
    feed(host, kernels, (0, 10_190), (1, 10_201))
    assert host.outbox.n == 1 and host.outbox.records["slot"][0] == 1


def test_exits_triggers_and_groups() -> None:
    def act(strategy: BaseStrategy, tick) -> list:
        at = tick.instrument_token
        return [
            strategy.exits(at, stop=99.0, target=103.0, trail=1.5, step=0.25, until=60.0),
            strategy.exits(at, gtt=True, stop=99.0, product="CNC", order_type="SL"),
            strategy.exits(at),
            strategy.place_gtt("BUY", at, 10, 95.0, 95.5),
            strategy.exits(256265, stop=1.0),
            strategy.place_gtt("BUY", at, 0, 95.0, 95.5),
        ]

    strategy = Recorder(act)
    host, kernels = host_of(strategy, [0, 1])
    feed(host, kernels, (0, 10_000))
    answers = strategy.answers[0]
    assert [a.reason.name for a in answers] == ["NONE"] * 4 + ["UNKNOWN_INSTRUMENT", "BAD_INTENT"]
    made = host.outbox.records[: host.outbox.n]
    assert made["kind"].tolist() == [5, 5, 5, 6]
    what = made[["trigger_px", "px", "trail_px", "step_px", "product", "order_type", "flags"]].tolist()
    assert what == [
        (9_900, 10_300, 150, 25, Product.MIS, 0, 0),
        (9_900, 0, 0, 0, Product.CNC, OrderType.SL, IntentFlag.GTT),
        (0, 0, 0, 0, Product.MIS, 0, 0),
        (9_500, 9_550, 0, 0, Product.CNC, OrderType.LIMIT, 0),
    ]
    assert made["deadline_ns"].tolist() == [900 + 60 * 10**9, 0, 0, 0]
    assert made["side"].tolist() == [0, 0, 0, Side.BUY] and made["qty"].tolist() == [0, 0, 0, 10]


def test_a_group_is_taken_whole_or_not_at_all() -> None:
    leg = {"side": "BUY", "instrument_token": 738561, "quantity": 1}

    def act(strategy: BaseStrategy, tick) -> list:
        bad = leg | {"quantity": 0}
        return [strategy.place_group([leg, bad]), strategy.place_group([leg, leg | {"side": "SELL"}])]

    strategy = Recorder(act)
    host, kernels = host_of(strategy, [0], room=3)
    feed(host, kernels, (0, 10_000), (0, 10_000))
    (refused, taken), (_, no_room) = strategy.answers
    assert [a.reason for a in refused] == [Reason.BAD_INTENT] * 2
    assert [a.order_id for a in taken] == [1, 2] and all(taken)
    assert [a.reason for a in no_room] == [Reason.QUEUE_FULL] * 2
    made = host.outbox.records[: host.outbox.n]
    assert made[["group", "leg", "legs", "side"]].tolist() == [(1, 1, 2, 1), (1, 2, 2, 2)]
