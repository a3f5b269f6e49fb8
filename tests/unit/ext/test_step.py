"""The compiled tick step does what the stage does, record for record, and leaves it what is rare."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from property.test_compute_batches import PARAMS, SCALES, SLOTS, TOKENS, Broker, market

from kite_hft._counters import CounterReader, CounterWriter
from kite_hft._inputs import InputLog
from kite_hft._kernels import Kernels
from kite_hft._queue import QueueConsumer, QueueProducer
from kite_hft._ring import RingReader, RingWriter
from kite_hft.clock import SystemClock
from kite_hft.layout import (
    COUNTERS,
    HISTOGRAMS,
    INPUT,
    INTENT,
    ORDER_EVENT,
    IntentFlag,
    IntentKind,
    SegmentKind,
)
from kite_hft.memory import segment
from kite_hft.stages.compute import HISTOGRAM, Compute
from kite_hft.stages.compute_ports import QueueContractError
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.hosts import CompiledHost, PythonHost, new_batch
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled

FOREVER = 2**62


class Breaks(BaseStrategy):
    """Raises at its 20th tick, with a wish half made."""

    name = "breaks"
    seen = 0

    def on_tick(self, tick: Any) -> None:
        self.seen += 1
        if self.seen == 20:
            self.place_order("BUY", tick.instrument_token, 1)
            raise ArithmeticError("twenty")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("numba")
    folder.chmod(0o700)
    return folder


class World:
    """One stage on segments, and its compiled step."""

    def __init__(
        self, folder: Any, forms: list[str], cache: Any, *, batch: int, room: int, ring: int, **more: Any
    ):
        self.opened: list[segment.Segment] = []
        self.folder = segment.make_directory(folder, f"memory-{len(list(folder.iterdir()))}")
        words = {"counters": len(COUNTERS["compute"]), "histograms": len(HISTOGRAMS["compute"])}
        self.ring = self.make("ticks", SegmentKind.TICK_RING, ring)
        intents, events = (
            self.make(name, kind, size)
            for name, kind, size in (
                ("intents", SegmentKind.INTENT_QUEUE, room),
                ("events", SegmentKind.EVENT_QUEUE, 1024),
            )
        )
        log = self.make("inputs", SegmentKind.INPUT_RING, 1 << 13)
        counts = self.make("counters", SegmentKind.COUNTERS, 1, **words)
        self.feed, self.taker, self.orders = (
            RingWriter(self.ring),
            QueueConsumer(intents),
            QueueProducer(events),
        )
        self.log, self.counters = RingReader(log), CounterReader(counts)
        self.reader, self.batch = RingReader(self.ring), new_batch(batch, TOKENS, SCALES)
        self.bars: list[bytes] = []
        self.stage = Compute(
            readers=[self.reader],
            kernels=Kernels(SLOTS, scale=SCALES, token=TOKENS, x0=np.nan),
            batch=self.batch,
            hosts=[self.host(form, number, cache) for number, form in enumerate(forms, 1)],
            intents=QueueProducer(intents), events=QueueConsumer(events), counters=CounterWriter(counts),
            clock=SystemClock().mono_ns, inputs=InputLog(log), sources=[3], queue=5,
            bars_sink=lambda closed: self.bars.append(closed.tobytes()), **more,
        )  # fmt: skip
        self.stage.start()
        self.slow_calls, self.failures, self.due_ns = 0, [], FOREVER
        self.fast = self.stage.compiled(self.slow, self.failures.append)
        self.lead()

    def make(self, name: str, kind: SegmentKind, capacity: int, **more: int) -> memoryview:
        path = segment.create(self.folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **more)
        self.opened.append(segment.attach(path, kind, writable=True, claim=False))
        return self.opened[-1].view

    def host(self, form: str, number: int, cache: Any) -> Any:
        if form == "B":
            return CompiledHost(KalmanSimpleCompiled(**PARAMS), number, self.batch, cache_dir=cache)
        return PythonHost(Breaks() if form == "breaks" else KalmanSimple(**PARAMS), number, self.batch)

    def lead(self) -> None:
        self.fast.follow(self.reader, 1, self.stage.hosts, self.due_ns)

    def slow(self) -> None:
        self.slow_calls += 1
        while self.stage.step(0):
            pass
        self.lead()

    def told(self) -> dict[str, Any]:
        """All that it has written, without times and what depends on them."""
        log = np.zeros(1 << 13, INPUT)
        log = log[: self.log.drain(log)]
        log["now_ns"] = 0
        names = [n for n in COUNTERS["compute"]]
        timed = (
            "tick_to_intent",
            "send_to_intent",
            "read_to_drained",
            "read_to_computed",
            "send_to_computed",
        )
        return {
            "inputs": log.tobytes(),
            "bars": b"".join(self.bars),
            "counters": dict(zip(names, self.counters.values().tolist(), strict=True)),
            "timed": {n: int(self.counters.histogram(HISTOGRAM[n]).sum()) for n in timed},
            "halted": dict(self.stage.halted),
            "last_ns": self.stage._kernels.last_ns,
        }


def day(world: World, seed: int, part: int, n: int, *, compiled: bool) -> dict[str, Any]:
    """Ticks in reads of `part`; the broker answers every other read; all that came of it."""
    ticks, broker, intents = market(seed, n), Broker(seed), []
    ticks["kind"], ticks["oi_day_high"] = 5, 1
    out = np.zeros(4096, INTENT)
    for read, at in enumerate(range(0, n, part)):
        world.feed.publish(ticks[at : at + part])
        if compiled:
            world.fast()
        else:
            world.slow()
        if read % 2:
            intents.append(out[: world.taker.drain(out)].copy())
            world.orders.push(broker.answer(intents[-1]))
    intents.append(out[: world.taker.drain(out)].copy())
    made = np.concatenate(intents)
    assert (made["created_ns"] > 0).all()
    since_ns = np.where(made["tick_recv_ns"] > 0, made["tick_recv_ns"], made["created_ns"])
    late = np.where(made["deadline_ns"] > 0, made["deadline_ns"] - since_ns, 0)
    made["created_ns"] = made["deadline_ns"] = 0
    return world.told() | {"intents": made.tobytes(), "late": late.tolist(), "n": len(made)}


@pytest.mark.parametrize("forms", [["B"], ["A"], ["A", "B", "A"], ["B", "breaks", "A"], ["breaks"], []])
@given(
    st.integers(0, 9999), st.sampled_from([1, 7, 64]), st.sampled_from([5, 30, 90]), st.sampled_from([2, 64])
)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_same_as_the_stage(tmp_path, cache_dir, forms, seed, batch, part, room):
    more = {"intent_deadline_ns": 5_000 if seed % 2 else 0, "send_stamp": bool(seed % 3)}
    made = [
        World(tmp_path, forms, cache_dir, batch=batch, room=room, ring=64, **more) for _ in range(2)
    ]  # parts of 90 lap the ring of 64
    expected = day(made[0], seed, part, 900, compiled=False)
    found = day(made[1], seed, part, 900, compiled=True)
    assert found == expected
    assert not made[1].failures and made[1].slow_calls < made[0].slow_calls
    assert (expected["counters"]["lost"] > 0) == (part > 64)
    assert ("breaks" in expected["halted"]) == ("breaks" in forms)
    for world in made:
        for one in world.opened:
            one.close()


@pytest.mark.parametrize("forms", [["A"], ["A", "A"]])
def test_the_deadline_of_an_opening_counts_from_its_tick(tmp_path, cache_dir, forms) -> None:
    """Whether one strategy speaks (in the step) or several (by the stage)."""
    made = World(tmp_path, forms, cache_dir, batch=64, room=64, ring=1024, intent_deadline_ns=5_000)
    ticks = market(1, 900)
    made.feed.publish(ticks)
    made.fast()
    out = np.zeros(4096, INTENT)
    out = out[: made.taker.drain(out)]
    assert made.slow_calls == 0 and set(out["strategy"].tolist()) == set(range(1, len(forms) + 1))
    opening = out[(out["kind"] == IntentKind.PLACE) & (out["flags"] & IntentFlag.EXIT == 0)]
    assert len(opening) and (opening["tick_recv_ns"] < opening["created_ns"]).all()
    assert (opening["deadline_ns"] == opening["tick_recv_ns"] + 5_000).all()
    assert not out[out["flags"] & IntentFlag.EXIT > 0]["deadline_ns"].any()
    for one in made.opened:
        one.close()


@pytest.fixture
def world(tmp_path, cache_dir):
    made = World(tmp_path, ["B"], cache_dir, batch=64, room=64, ring=256)
    yield made
    for one in made.opened:
        one.close()


def test_when_it_calls_for_the_stage(world: World) -> None:
    ticks = market(1, 40)
    world.fast()
    world.feed.publish(ticks)
    world.fast()
    assert world.slow_calls == 0 and world.told()["counters"]["computed"] == 40
    # Order events wait: they go before ticks, and the stage does both.
    event = np.zeros(1, ORDER_EVENT)
    event["strategy"], event["product"], event["position"] = 1, 1, 9
    world.orders.push(event)
    world.feed.publish(ticks)
    world.fast()
    assert world.slow_calls == 1 and world.stage.hosts[0].positions["qty"][0] == 9
    # Due: after the step. With 0: instead of it.
    world.due_ns = 1
    world.lead()
    world.feed.publish(ticks)
    world.fast()
    assert world.slow_calls == 2
    world.due_ns = 0
    world.lead()
    world.fast()
    assert world.slow_calls == 3
    world.due_ns = FOREVER
    world.lead()
    world.fast()
    assert world.slow_calls == 3
    world.feed.close_clean()  # the ring ends: another one may follow
    world.fast()
    assert world.slow_calls == 4


def test_a_failure_is_told_and_ends_it(world: World) -> None:
    def broken(_closed: Any) -> None:
        raise OSError("no space")

    world.stage._bars_sink = broken
    ticks = market(1, 200)
    for failures in (world.failures, None):
        fast = world.stage.compiled(world.slow, failures.append if failures is not None else None)
        fast.follow(world.reader, 1, world.stage.hosts, FOREVER)
        world.feed.publish(ticks)
        if failures is None:
            with pytest.raises(OSError, match="no space"):
                fast()
        else:
            fast()
            position = world.reader.position
            fast()
            assert [str(error) for error in failures] == ["no space"] and world.reader.position == position
            while world.reader.drain(world.batch.ticks):
                pass


def test_what_it_is_made_of(world: World) -> None:
    parts = SimpleNamespace(**vars(world.stage))
    world.stage._inputs = None
    with pytest.raises(TypeError, match="input log"):
        world.stage.compiled(world.slow, None)
    world.stage._inputs = parts._counters
    with pytest.raises(TypeError):
        world.stage.compiled(world.slow, None)
    world.stage._inputs, world.stage._batch = parts._inputs, new_batch(64, TOKENS, SCALES, np.dtype("V64"))
    with pytest.raises(ValueError, match="need 64 of 192"):
        world.stage.compiled(world.slow, None)
    assert issubclass(QueueContractError, RuntimeError)
