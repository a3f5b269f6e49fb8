"""The compute stage on real rings, queues and counters."""

from __future__ import annotations

import numpy as np
import pytest
from reference.compute_doubles import Counts, ListQueue, ListReader

from kite_hft._counters import CounterReader, CounterWriter
from kite_hft._kernels import BAR_CUT, Kernels
from kite_hft._queue import QueueConsumer, QueueProducer
from kite_hft._ring import RingReader, RingWriter
from kite_hft._twins import Twins
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import (
    COUNTERS,
    HISTOGRAMS,
    INTENT,
    ORDER_EVENT,
    TICK,
    OrderStatus,
    Product,
    SegmentKind,
    Side,
    TickFlag,
    TickKind,
)
from kite_hft.memory import segment
from kite_hft.stages.compute import COUNTER, HISTOGRAM, Compute
from kite_hft.stages.compute_ports import QueueContractError
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.hosts import PythonHost, new_batch
from kite_hft.strategies.kalman_simple import KalmanSimple

SLOTS = 3
TOKENS = np.array([408065, 738561, 5633], np.uint32)
SCALES = np.full(SLOTS, 100.0)
BEGIN_NS = (1_765_770_000 + 300) * 10**9


def ticks_of(n: int, start: int = 0) -> np.ndarray:
    ticks = np.zeros(n, TICK)
    at = np.arange(start, start + n)
    ticks["slot"] = at % SLOTS
    ticks["last_px"] = 10_000 + 37 * (at % 11)
    ticks["volume"] = at + 1
    ticks["exch_ns"] = BEGIN_NS + at // 6 * 10**9
    ticks["recv_ns"] = 5_000 + at // 4 * 1000
    ticks["flags"] = TickFlag.TRADE
    return ticks


class BuyOnce(BaseStrategy):
    """Buys 2 of a slot that it does not hold."""

    name = "buy_once"

    def __init__(self) -> None:
        self.waiting, self.sessions, self.bars = set(), 0, []

    def on_tick(self, tick):
        if self.position(tick.slot) == 0 and tick.slot not in self.waiting:
            self.waiting.add(tick.slot)
            assert self.place_order("BUY", tick.instrument_token, 2, signal=0.5)

    def on_bar(self, bar):
        self.bars.append((bar.slot, bar.period_s))

    def on_session(self):
        self.sessions += 1


def stage_of(strategies, reader, intents, events, counters, batch=None, **more) -> Compute:
    batch = batch or new_batch(64, TOKENS, SCALES)
    hosts = [PythonHost(s, number, batch) for number, s in enumerate(strategies, 1)]
    stage = Compute(
        readers=[reader],
        kernels=Kernels(SLOTS, scale=SCALES, token=TOKENS),
        batch=batch,
        hosts=hosts,
        intents=intents,
        events=events,
        counters=counters,
        clock=lambda: 1_000_000,
        **more,
    )
    stage.start()
    return stage


@pytest.fixture
def shared(tmp_path):
    """(create and attach a segment) closed at the end."""
    folder = segment.make_directory(tmp_path, "memory")
    opened = []

    def make(name: str, kind: SegmentKind, capacity: int, **more: int) -> segment.Segment:
        path = segment.create(folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **more)
        opened.append(segment.attach(path, kind, writable=True, claim=False))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


class Numbered(ListReader):
    """A ListReader that says which tick its last drain began with."""

    lost_last = 0
    generation = 1

    def drain(self, out):
        self.first_seq = self.position
        return super().drain(out)


class Written:
    """An input log in memory."""

    def __init__(self):
        self.drains = []

    def drained(self, source, generation, first_seq, n, lost, now_ns, room):
        self.drains.append((source, first_seq, n))

    def events(self, *entry):
        raise AssertionError("no events here")


def test_of_two_feeds_the_fresher_tick_is_taken():
    """What is drained is written down whole; strategies and counters see what is left of it."""
    first, second = ticks_of(30), ticks_of(30)
    second["connection"], second["recv_ns"] = 1, second["recv_ns"] + 300
    second["last_px"] += 5
    second["exch_ns"][20:] += 60 * 10**9
    counts, inputs = Counts(), Written()
    seen = []

    class Look(BaseStrategy):
        name = "look"

        def on_tick(self, tick):
            seen.append(tick.last_px)

    readers = [Numbered(first), Numbered(second)]
    stage = stage_of(
        [Look()], None, ListQueue(INTENT), ListQueue(ORDER_EVENT), counts,
        twins=Twins(SLOTS, 10**9), inputs=inputs, sources=[4, 7],
    )  # fmt: skip
    stage._readers = readers
    while stage.step(1):
        pass
    assert inputs.drains == [(4, 0, 30), (7, 0, 30)]
    assert seen == [*first["last_px"].tolist(), *second["last_px"][20:].tolist()]
    totals = {name: counts.values[COUNTER[name]] for name in ("computed", "twins_passed_over", "batches")}
    assert totals == {"computed": 40, "twins_passed_over": 20, "batches": 2}
    taken = np.concatenate([first, second[20:]])
    checksum = tick_checksum(TOKENS[taken["slot"]], taken["last_px"], taken["volume"])
    assert counts.values[COUNTER["checksum_computed"]] % 2**64 == checksum


def test_a_batch_that_is_passed_over_whole_is_no_batch():
    first, second = ticks_of(6), ticks_of(6)
    second["connection"] = 1
    counts = Counts()
    stage = stage_of([], None, ListQueue(INTENT), ListQueue(ORDER_EVENT), counts, twins=Twins(SLOTS, 10**9))
    stage._readers = [Numbered(first), Numbered(second)]
    assert stage.step(1) == 12
    assert counts.values[COUNTER["batches"]] == 1 and counts.values[COUNTER["twins_passed_over"]] == 6


def test_on_shared_memory(shared):
    ring = shared("ticks", SegmentKind.TICK_RING, 128)
    intents = shared("intents", SegmentKind.INTENT_QUEUE, 64)
    events = shared("events", SegmentKind.EVENT_QUEUE, 64)
    names, histograms = COUNTERS["compute"], HISTOGRAMS["compute"]
    counts = shared(
        "counters", SegmentKind.COUNTERS, len(names), counters=len(names), histograms=len(histograms)
    )
    writer, orders, answers = RingWriter(ring.view), QueueConsumer(intents.view), QueueProducer(events.view)
    strategy = BuyOnce()
    stage = stage_of(
        [strategy], RingReader(ring.view), QueueProducer(intents.view), QueueConsumer(events.view),
        CounterWriter(counts.view), intent_deadline_ns=500,
    )  # fmt: skip
    assert stage.step(0) == 0
    ticks = ticks_of(100)
    writer.publish(ticks)
    assert [stage.step(0), stage.step(0), stage.step(0)] == [64, 36, 0]
    sent = np.zeros(10, INTENT)
    assert orders.drain(sent) == 3
    assert sent["slot"][:3].tolist() == [0, 1, 2] and sent["strategy_seq"][:3].tolist() == [1, 2, 3]
    assert set(sent["created_ns"][:3].tolist()) == {1_000_000}
    assert sent["deadline_ns"][:3].tolist() == (sent["tick_recv_ns"][:3] + 500).tolist() == [5_500] * 3
    event = np.zeros(1, ORDER_EVENT)
    event["strategy"], event["slot"], event["product"], event["position"] = 1, 1, Product.MIS, 2
    answers.push(event)
    assert stage.step(0) == 1 and strategy.position(1) == 2
    reader = CounterReader(counts.view)
    found = {name: reader.value(index) for index, name in enumerate(names)}
    expected = {"computed": 100, "batches": 2, "intents": 3, "signals": 3, "events": 1, "lost": 0, "late": 0}
    assert {name: found[name] for name in expected} == expected
    checksum = tick_checksum(TOKENS[ticks["slot"]], ticks["last_px"], ticks["volume"])
    assert found["checksum_computed"] % 2**64 == checksum
    assert reader.histogram(HISTOGRAM["read_to_computed"]).sum() == 100
    assert reader.histogram(HISTOGRAM["tick_to_intent"]).sum() == 3
    # The writer laps the reader: what is gone is counted, the rest is computed.
    for part in range(4):
        writer.publish(ticks_of(100, 100 * (part + 1)))
    while stage.step(0):
        pass
    assert reader.value(COUNTER["lost"]) + reader.value(COUNTER["computed"]) == 500
    assert reader.value(COUNTER["lost"]) >= 400 - 128
    stage.close()
    assert reader.value(COUNTER["bars"]) == len(strategy.bars) + SLOTS * 4


def test_events_go_before_ticks():
    events = ListQueue(ORDER_EVENT)
    event = np.zeros(1, ORDER_EVENT)
    event["strategy"], event["slot"], event["product"], event["position"] = 1, 2, Product.MIS, 9
    events.push(event)
    intents = ListQueue(INTENT)
    stage = stage_of([BuyOnce()], ListReader(ticks_of(6)), intents, events, Counts())
    stage.step(0)
    assert intents.all()["slot"].tolist() == [0, 1]


def test_a_strategy_that_raises_is_halted_alone():
    class Broken(BaseStrategy):
        name = "broken"

        def on_tick(self, tick):
            self.place_order("BUY", tick.instrument_token, 1)
            if tick.slot == 2:
                raise ZeroDivisionError("no")

    told = []
    # Room for three: what the broken one had asked for must not be taken off the other's share.
    intents, counts = ListQueue(INTENT, room=3), Counts()
    stage = stage_of(
        [Broken(), BuyOnce()], ListReader(ticks_of(60), 30), intents, ListQueue(ORDER_EVENT), counts,
        on_halt=lambda name, error: told.append((name, type(error))),
    )  # fmt: skip
    while stage.step(0):
        pass
    assert told == [("broken", ZeroDivisionError)] and stage.halted == {"broken": "ZeroDivisionError: no"}
    assert intents.all()["strategy"].tolist() == [2, 2, 2]
    assert counts.values[COUNTER["computed"]] == 60


def test_a_new_session_starts_afresh():
    closed = []
    reader = ListReader(ticks_of(60), 30)
    strategy = BuyOnce()
    stage = stage_of(
        [strategy], reader, ListQueue(INTENT), ListQueue(ORDER_EVENT), Counts(),
        bars_sink=lambda bars: closed.append(bars.copy()),
    )  # fmt: skip
    stage.step(0)
    stage.start_session(BEGIN_NS, BEGIN_NS + 10**12)
    assert strategy.sessions == 1 and stage._batch.rows["tick_no"][:30].max() == 10
    stage.step(0)
    assert stage._batch.rows["tick_no"][:30].max() == 10
    assert stage.close_bars_through(BEGIN_NS + 10**9 * 120) == 2 * SLOTS
    stage.close()
    bars = np.concatenate(closed)
    long = bars[bars["period_s"] == 900]
    assert len(long) == 2 * SLOTS and (long["flags"] & BAR_CUT).all()
    # Each session's first message only set the baseline; all other volume is in the bars.
    assert bars[bars["period_s"] == 1]["volume"].sum() == long["volume"].sum() == 2 * SLOTS * 9 * 3


def test_a_queue_that_breaks_its_word_is_an_error():
    class Liar(ListQueue):
        def push(self, records, n=-1):
            return 0

    stage = stage_of([BuyOnce()], ListReader(ticks_of(6)), Liar(INTENT), ListQueue(ORDER_EVENT), Counts())
    with pytest.raises(QueueContractError):
        stage.step(0)


def test_two_strategies_need_two_numbers():
    batch = new_batch(8, TOKENS, SCALES)
    hosts = [PythonHost(BuyOnce(), 1, batch), PythonHost(BuyOnce(), 1, batch)]
    with pytest.raises(ValueError, match="one number"):
        Compute(
            readers=[], kernels=Kernels(SLOTS), batch=batch, hosts=hosts, intents=ListQueue(INTENT),
            events=ListQueue(ORDER_EVENT), counters=Counts(), clock=lambda: 0,
        )  # fmt: skip


def day(strategy: KalmanSimple, prices: list[int], times_s: list[int], events=None) -> np.ndarray:
    """One instrument through one strategy; events[i] are delivered before tick i."""
    ticks = np.zeros(len(prices), TICK)
    ticks["last_px"], ticks["exch_ns"] = prices, BEGIN_NS + np.array(times_s) * 10**9
    ticks["bid_px"], ticks["ask_px"] = ticks["last_px"] - 5, ticks["last_px"] + 5
    reader, intents, queue = ListReader(ticks, 1), ListQueue(INTENT), ListQueue(ORDER_EVENT)
    stage = stage_of([strategy], reader, intents, queue, Counts())
    for i in range(len(ticks)):
        for status, seq, position in (events or {}).get(i, ()):
            event = np.zeros(1, ORDER_EVENT)
            event["strategy"], event["product"], event["status"] = 1, Product.MIS, status
            event["strategy_seq"], event["position"] = seq, position
            queue.push(event)
        stage.step(0)
    return intents.all()


def test_kalman_simple_by_hand():
    # Flat prices, a fall (estimate above price: BUY), a rise (SELL), a fall again, and 15:29.
    prices = [10_000] * 120 + [9_900] + [10_200] * 3 + [9_000] * 3
    times = [*range(124), 22_439, 22_440, 22_500]
    events = {
        122: [(OrderStatus.OPEN, 1, 20), (OrderStatus.COMPLETE, 1, 50)],
        124: [(OrderStatus.COMPLETE, 2, 0)],
        125: [(OrderStatus.OPEN, 3, 30)],
        126: [(OrderStatus.CANCELLED, 3, 30)],
    }
    made = day(KalmanSimple(quantity=50), prices, times, events)
    what = made[["kind", "side", "qty", "flags", "target_seq", "product", "order_type"]].tolist()
    assert what == [
        (1, Side.BUY, 50, 0, 0, Product.MIS, 1),
        (1, Side.SELL, 50, 1, 0, Product.MIS, 1),
        (1, Side.BUY, 50, 0, 0, Product.MIS, 1),
        (3, 0, 0, 0, 3, 0, 0),  # 15:29 with an order at work: cancel it
        (1, Side.SELL, 30, 1, 0, Product.MIS, 1),  # then sell what it had bought
    ]
    assert made["signal"][0] > 0.001 and made["signal"][1] < -0.001
    assert made["ref_px"].tolist() == [9_900, 10_200, 9_000, 9_000, 9_000]


def test_kalman_simple_waits_for_its_warm_up():
    prices = [10_000] * 97 + [9_900 + i for i in range(5)]
    made = day(KalmanSimple(), prices, list(range(102)))
    # Tick 100 is the first that may trade, as the published code goes on from `ticks < 100`.
    assert made["ref_px"].tolist() == [9_902]
    warm = day(KalmanSimple(warmup=102), prices, list(range(102)))
    assert warm["ref_px"].tolist() == [9_904]
    assert len(day(KalmanSimple(warmup=103), prices, list(range(102)))) == 0


def test_kalman_simple_pauses_after_a_refusal():
    prices = [10_000] * 120 + [9_000] * 30
    events = {121: [(OrderStatus.REFUSED, 1, 0)]}
    made = day(KalmanSimple(retry_ticks=10, order_type="LIMIT"), prices, list(range(150)), events)
    assert made["strategy_seq"].tolist() == [1, 2] and made["px"].tolist() == [9_005, 9_005]


def test_kalman_simple_before_the_open_and_without_an_end():
    prices = [10_000] * 120 + [9_000]
    assert len(day(KalmanSimple(), prices, [-600] * 121)) == 0
    assert len(day(KalmanSimple(), prices, [22_600] * 121)) == 0
    assert len(day(KalmanSimple(flatten_at=""), prices, [22_600] * 121)) == 1


@pytest.mark.parametrize("send_stamp", [False, True])
def test_what_is_timed_from_where_to_where(send_stamp):
    """The clock moves while the ring is drained (200), in each strategy call (1,000), on a push (70)."""
    now = [10_000]

    class SlowReader(ListReader):
        first_seq = lost_last = 0

        def drain(self, out):
            now[0] += 200
            return super().drain(out)

    class SlowBuyer(BuyOnce):
        def on_tick(self, tick):
            now[0] += 1_000
            super().on_tick(tick)

    class SlowQueue(ListQueue):
        def push(self, records, n=-1):
            now[0] += 70
            return super().push(records, n)

    ticks = ticks_of(5)
    ticks["recv_ns"] = [9_000, 9_000, 9_000, 9_500, 9_500]
    ticks["slot"] = 1
    ticks["kind"], ticks["oi_day_high"] = TickKind.FULL, [3, 2**32 - 1, 0, 9, 8]  # µs; the third bears none
    counts, intents = Counts(), SlowQueue(INTENT)
    batch = new_batch(64, TOKENS, SCALES)
    stage = Compute(
        readers=[SlowReader(ticks)], kernels=Kernels(SLOTS, scale=SCALES, token=TOKENS), batch=batch,
        hosts=[PythonHost(SlowBuyer(), 1, batch)], intents=intents, events=ListQueue(ORDER_EVENT),
        counters=counts, clock=lambda: now[0], send_stamp=send_stamp,
    )  # fmt: skip
    stage.start()
    stage.step(0)
    found = {name: sorted(counts.recorded.get(index, [])) for name, index in HISTOGRAM.items()}
    drained, intent = 10_200, 15_200
    computed = intent + 70
    assert found["read_to_drained"] == sorted([(drained - 9_000, 1)] * 3 + [(drained - 9_500, 1)] * 2)
    assert found["read_to_computed"] == sorted([(computed - 9_000, 1)] * 3 + [(computed - 9_500, 1)] * 2)
    assert found["tick_to_intent"] == [(intent - 9_000, 1)]
    assert intents.all()["created_ns"].tolist() == [intent]
    stamped = {
        "send_to_computed": [(6_000, 1), (7_000, 1), (12_000, 1), (16_000, 1)],  # of whole microseconds
        "send_to_intent": [(12_000, 1)],
    }
    for name, values in stamped.items():
        assert found[name] == (values if send_stamp else []), name
