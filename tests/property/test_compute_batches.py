"""Batch size and form of the strategy are invisible: the same INTENT bytes from all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.compute_doubles import Counts, ListQueue, ListReader

from kite_hft._kernels import Kernels
from kite_hft.layout import (
    COUNTERS,
    INTENT,
    ORDER_EVENT,
    TICK,
    EventKind,
    IntentKind,
    OrderStatus,
    Side,
    TickFlag,
)
from kite_hft.stages.compute import Compute
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.hosts import CompiledHost, PythonHost, new_batch
from kite_hft.strategies.kalman_ml import KalmanMl
from kite_hft.strategies.kalman_ml_compiled import KalmanMlCompiled
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled
from kite_hft.strategies.slots import SlotFacts
from kite_hft.strategies.windows import in_order

SLOTS = 5
TOKENS = np.arange(SLOTS, dtype=np.uint32) * 256 + 1001
SCALES = np.full(SLOTS, 100.0)
BEGIN_S = 1_765_770_000 + 300  # 09:15:00 IST
MAKE = {"A": KalmanSimple, "B": KalmanSimpleCompiled, "ML A": KalmanMl, "ML B": KalmanMlCompiled}
FACTS = SlotFacts(
    SCALES,
    np.array([5, 5, 1, 5, 10]),
    np.array([55_800, 55_800, 54_900, 56_400, 54_900]),  # two of them stop trading at 15:15
    np.array([54_600, 54_600, 54_000, 54_900, 54_000]),
)
ANSWERS = [OrderStatus.COMPLETE, OrderStatus.REJECTED, OrderStatus.REFUSED, OrderStatus.CANCELLED]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numba")
    folder.chmod(0o700)
    return folder


def market(seed: int, n: int) -> np.ndarray:
    """A day in `n` ticks: noisy prices, some without depth, some old, up to the close."""
    random = np.random.default_rng(seed)
    ticks = np.zeros(n, TICK)
    ticks["seq"] = np.arange(n)
    ticks["recv_ns"] = 10**12 + np.arange(n) * 1_000_003
    ticks["slot"] = random.integers(0, SLOTS + 1, n)
    ticks["exch_ns"] = (BEGIN_S + np.sort(random.integers(0, 22_800, n))) * 10**9
    ticks["last_px"] = 20_000 + random.normal(0, 60, n).astype(np.int64)
    ticks["last_px"][random.random(n) < 0.01] = 0
    ticks["bid_px"] = np.where(random.random(n) < 0.9, ticks["last_px"] - 5, 0)
    ticks["ask_px"] = np.where(random.random(n) < 0.9, ticks["last_px"] + 5, 0)
    ticks["volume"] = 10 * np.arange(n)
    ticks["flags"] = TickFlag.TRADE
    return ticks


class Broker:
    """Answers each intent at the next checkpoint, in a way that its number decides."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.net: dict[tuple[int, int, int], int] = {}
        self.open: dict[tuple[int, int], np.void] = {}

    def answer(self, intents: np.ndarray) -> np.ndarray:
        events = []
        for intent in intents:
            strategy, number = int(intent["strategy"]), int(intent["strategy_seq"])
            if intent["kind"] == IntentKind.EXITS:
                events.append(self._exits(intent))
                continue
            if intent["kind"] == IntentKind.CANCEL:
                order = self.open.pop((strategy, int(intent["target_seq"])), None)
                if order is None:
                    events.append(self._event(intent, OrderStatus.REFUSED, 0))
                else:
                    events.append(self._event(order, OrderStatus.CANCELLED, 0))
                continue
            choice = (number * 7 + self.seed) % 11
            if choice == 10:  # stays open with half of it filled
                self.open[strategy, number] = intent.copy()
                events.append(self._event(intent, OrderStatus.OPEN, int(intent["qty"]) // 2))
            elif choice == 9:
                events.append(self._event(intent, OrderStatus.AMBIGUOUS, 0))
                events.append(self._event(intent, OrderStatus.ABSENT, 0))
            else:
                status = ANSWERS[choice % 4] if choice < 4 else OrderStatus.COMPLETE
                full = int(intent["qty"]) if status == OrderStatus.COMPLETE else 0
                events.append(self._event(intent, status, full))
        return np.concatenate([np.zeros(0, ORDER_EVENT), *events])

    def _exits(self, intent: np.void) -> np.ndarray:
        """A stop is kept, refused, or hit at once: the fill comes under a number of the engine's."""
        choice = (int(intent["strategy_seq"]) + self.seed) % 5
        if choice == 0:
            return self._event(intent, OrderStatus.REFUSED, 0)
        kept = self._event(intent, OrderStatus.OPEN, 0)
        if choice > 1:
            return kept
        key = (int(intent["strategy"]), int(intent["slot"]), int(intent["product"]))
        fill = self._event(intent, OrderStatus.COMPLETE, self.net.pop(key, 0))
        self.net[key] = 0
        fill["strategy_seq"], fill["position"], fill["side"] = 2**62 + 1, 0, Side.SELL
        gone = self._event(intent, OrderStatus.COMPLETE, 0)
        return np.concatenate([kept, fill, gone])

    def _event(self, intent: np.void, status: OrderStatus, filled: int) -> np.ndarray:
        key = (int(intent["strategy"]), int(intent["slot"]), int(intent["product"]))
        sign = 1 if intent["side"] == Side.BUY else -1
        self.net[key] = self.net.get(key, 0) + sign * filled
        event = np.zeros(1, ORDER_EVENT)
        event["strategy"], event["slot"], event["product"] = key
        event["strategy_seq"], event["status"] = intent["strategy_seq"], status
        event["side"], event["fill_qty"], event["fill_px"] = intent["side"], filled, intent["ref_px"] + 1
        event["kind"], event["position"] = EventKind.UPDATED, self.net[key]
        return event


def trade(ticks, forms, batch_size, cache_dir, seed=0, room=1 << 20, checkpoint=50):
    """Run a day; the broker answers every `checkpoint` ticks, wherever batches end."""
    batch = new_batch(batch_size, TOKENS, SCALES)
    kernels = Kernels(SLOTS, scale=SCALES, token=TOKENS, x0=np.nan)
    hosts = []
    for number, (form, params) in enumerate(forms, 1):
        strategy = MAKE[form](**params)
        strategy.prepare(FACTS)
        if isinstance(strategy, BaseStrategy):
            hosts.append(PythonHost(strategy, number, batch))
        else:
            hosts.append(CompiledHost(strategy, number, batch, cache_dir=cache_dir))
    reader, intents, events, counts = (
        ListReader(ticks),
        ListQueue(INTENT, room),
        ListQueue(ORDER_EVENT),
        Counts(),
    )
    stage = Compute(
        readers=[reader],
        kernels=kernels,
        batch=batch,
        hosts=hosts,
        intents=intents,
        events=events,
        counters=counts,
        clock=lambda: 77,  # created_ns is the stage's stamp, not the strategy's: the same for all
    )
    stage.start()
    broker = Broker(seed)
    out = np.zeros(1000, INTENT)
    for end in range(checkpoint, len(ticks) + checkpoint, checkpoint):
        reader.stop = min(end, len(ticks))
        while stage.step(0):
            pass
        events.push(broker.answer(out[: intents.drain(out)]))
    stage.close()
    assert not stage.halted
    return intents.all(), counts.named(COUNTERS["compute"]), hosts


PARAMS = {"warmup": 5, "threshold": 0.0005, "quantity": 30, "retry_ticks": 3}


@given(st.integers(0, 10_000), st.sampled_from(["MARKET", "LIMIT"]), st.integers(50, 400))
@settings(max_examples=12, deadline=None)
def test_forms_and_batches(cache_dir, seed, order_type, checkpoint):
    ticks = market(seed, 2500)
    params = PARAMS | {"order_type": order_type}
    expected, counts, hosts = trade(ticks, [("A", params)], 1000, cache_dir, seed, 1 << 20, checkpoint)
    assert {1, 2} <= set(expected["side"].tolist())
    assert counts["computed"] == len(ticks) and counts["intents"] == len(expected)
    for form, size in (("A", 1), ("A", 7), ("B", 1), ("B", 7), ("B", 1000)):
        found, _, held = trade(ticks, [(form, params)], size, cache_dir, seed, 1 << 20, checkpoint)
        assert found.tobytes() == expected.tobytes(), (form, size)
        assert held[0].positions.tobytes() == hosts[0].positions.tobytes()


def test_the_day_ends_flat_or_cancelled(cache_dir):
    ticks = market(5, 6000)
    intents, _, _ = trade(ticks, [("A", PARAMS)], 1000, cache_dir, 5)
    second = dict(zip(ticks["seq"].tolist(), (ticks["exch_ns"] // 10**9).tolist(), strict=True))
    closing = [i for i in intents if second[int(i["tick_seq"])] >= BEGIN_S + 22_440]
    assert {int(i["kind"]) for i in closing} == {IntentKind.PLACE, IntentKind.CANCEL}
    assert all(i["kind"] == IntentKind.CANCEL or i["side"] == Side.SELL for i in closing)


def test_several_strategies_come_in_tick_order(cache_dir):
    ticks = market(9, 2000)
    forms = [("A", PARAMS), ("B", PARAMS | {"threshold": 0.002}), ("A", PARAMS | {"quantity": 7})]
    expected, _, _ = trade(ticks, forms, 1, cache_dir)
    assert set(expected["strategy"].tolist()) == {1, 2, 3}
    for size in (7, 1000):
        found, _, _ = trade(ticks, forms, size, cache_dir)
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("room", [0, 1])
def test_a_full_queue_refuses_alike(cache_dir, room):
    ticks = market(11, 1500)
    first, counts, _ = trade(ticks, [("A", PARAMS)], 25, cache_dir, room=room)
    second, counts_b, _ = trade(ticks, [("B", PARAMS)], 25, cache_dir, room=room)
    assert first.tobytes() == second.tobytes() and counts == counts_b
    assert counts["intents_refused_full"] > 0 and (len(first) == 0) == (room == 0)
    # Numbers of refused intents are used again: ORDERS sees no hole.
    assert first["strategy_seq"].tolist() == list(range(1, len(first) + 1))


ML = {"warmup": 15, "rel_width": 0.02, "quantity": 30, "stop_loss": 1.5, "retry_s": 20.0}


@given(
    st.integers(0, 10_000),
    st.sampled_from(["MARKET", "LIMIT"]),
    st.sampled_from(["rupees", "percent"]),
    st.sampled_from(["engine", "strategy"]),
    st.sampled_from([-1, 1]),
    st.integers(50, 400),
)
@settings(max_examples=16, deadline=None)
def test_both_forms_of_the_two_state_strategy(cache_dir, seed, order_type, unit, stop_by, sign, checkpoint):
    ticks = market(seed, 2500)
    chosen = {"order_type": order_type, "stop_loss_unit": unit, "stop_by": stop_by, "entry_sign": sign}
    params = ML | chosen
    expected, counts, (first,) = trade(ticks, [("ML A", params)], 1000, cache_dir, seed, 1 << 20, checkpoint)
    kinds = set(expected["kind"].tolist())
    assert {1, 2} <= set(expected["side"].tolist()) and counts["computed"] == len(ticks)
    assert (IntentKind.EXITS in kinds) == (stop_by == "engine")
    for form, size in (("ML A", 1), ("ML A", 7), ("ML B", 1), ("ML B", 7), ("ML B", 1000)):
        found, _, (host,) = trade(ticks, [(form, params)], size, cache_dir, seed, 1 << 20, checkpoint)
        assert found.tobytes() == expected.tobytes(), (form, size)
        assert host.positions.tobytes() == first.positions.tobytes()
        for slot, window in enumerate(in_order(host.states["window"]) if form == "ML B" else ()):
            assert window.tobytes() == first.strategy.window(slot).tobytes()


@pytest.mark.parametrize("room", [0, 1])
def test_a_full_queue_refuses_the_two_state_strategy_alike(cache_dir, room):
    ticks = market(11, 1500)
    first, counts, _ = trade(ticks, [("ML A", ML)], 25, cache_dir, room=room)
    second, counts_b, _ = trade(ticks, [("ML B", ML)], 25, cache_dir, room=room)
    assert first.tobytes() == second.tobytes() and counts == counts_b
    assert counts["intents_refused_full"] > 0 and (len(first) == 0) == (room == 0)
