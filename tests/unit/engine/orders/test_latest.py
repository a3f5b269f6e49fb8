"""The latest ticks over the connections of a run: one broker's, or two of the same instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segments as tools

from kite_hft import _table
from kite_hft.engine.market.workers import slots_of, twins_of
from kite_hft.engine.orders.latest import FreshOfAll, LatestOfAll
from kite_hft.engine.orders.settings import divergence_limits
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import SLOT_STATS, TICK, SegmentKind
from kite_hft.memory import segment
from kite_hft.memory.header import PAYLOAD_OFFSET
from kite_hft.settings import Settings
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.gate.diverging import DivergenceLimits

N = 5
S = 10**9
ONE = [{"number": 0, "slots": [0, 1, 2, 3, 4], "broker": "kite"}]
APART = [
    {"number": 0, "slots": [0, 1, 2], "broker": "kite"},
    {"number": 1, "slots": [3, 4], "broker": "kite"},
]
BOTH = [
    *APART,
    {"number": 2, "slots": [0, 3], "broker": "upstox"},
    {"number": 3, "slots": [2], "broker": "upstox"},
]


class Tables:
    """Tables and freshness of some connections, and their writers."""

    def __init__(self, folder: Path, connections: list[dict[str, Any]]) -> None:
        self.connections, self.paths = connections, {}
        self.writers: list[_table.TableWriter] = []
        self.stats: list[Any] = []
        self._held = []
        for connection in connections:
            for kind, name in ((SegmentKind.LATEST_TABLE, "latest"), (SegmentKind.SLOT_STATS, "slots")):
                path = tools.make(folder, kind, N, name=f"{name}-{connection['number']}")
                self.paths[f"{name}-{connection['number']}"] = str(path)
                self._held.append(segment.attach(path, kind, writable=True, claim=False))
                if kind is SegmentKind.LATEST_TABLE:
                    self.writers.append(_table.TableWriter(self._held[-1].view))
                else:
                    view = self._held[-1].view
                    self.stats.append(np.frombuffer(view, SLOT_STATS, count=N, offset=PAYLOAD_OFFSET))
        self.segments = Segments(self.paths)

    def tell(self, connection: int, slot: int, px: int, recv_ns: int, behind_ns: int = 0) -> None:
        record = np.zeros(1, TICK)
        record["slot"], record["last_px"], record["recv_ns"], record["seq"] = slot, px, recv_ns, px
        self.writers[connection].put(record, -1, behind_ns)

    def latest(self, ahead_ns: int | None = None) -> LatestOfAll:
        return LatestOfAll(self.connections, N, self.segments, ahead_ns)

    def fresh(self) -> FreshOfAll:
        return FreshOfAll(self.connections, N, self.segments, self.paths)

    def close(self) -> None:
        self.segments.close()
        self.writers.clear()
        self.stats.clear()
        for one in self._held:
            one.close()


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Callable[[list[dict[str, Any]]], Tables]]:
    made: list[Tables] = []

    def make(connections: list[dict[str, Any]]) -> Tables:
        made.append(Tables(tmp_path, connections))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_one_table_answers_itself(tables: Any) -> None:
    held = tables(ONE)
    held.tell(0, 3, 100, 7)
    latest = held.latest()
    assert isinstance(getattr(latest.look, "__self__", None), _table.TableReader), "no step between"
    assert latest.look(3) == (100, 100, 7) and latest.last_px(3) == 100 and latest.look(1) is None
    assert latest.pair(default_instruments(N, 1)[0], DivergenceLimits()) is None
    fresh = held.fresh()
    assert fresh.of_slot is not None and not fresh(3)
    held.stats[0]["fresh"][3] = 1
    assert fresh(3) and not fresh(2)
    del fresh, latest


def test_several_connections_of_one_broker(tables: Any) -> None:
    held = tables(APART)
    held.tell(0, 2, 100, 7)
    held.tell(1, 3, 200, 8)
    held.tell(1, 2, 999, 9)  # not its instrument
    latest = held.latest()
    assert (latest.look(2), latest.look(3), latest.look(4), latest.look(99)) == (
        (100, 100, 7), (200, 200, 8), None, None,
    )  # fmt: skip
    assert latest.last_px(2) == 100 and latest.last_px(99) == 0 and not latest.second
    fresh = held.fresh()
    assert fresh.of_slot is not None
    del fresh, latest


def test_of_two_brokers_the_fresher_tick_counts(tables: Any) -> None:
    held = tables(BOTH)
    latest = held.latest()
    assert latest.look(0) is None and latest.last_px(0) == 0
    held.tell(2, 0, 101, 50)
    assert latest.look(0) == (101, 101, 50)
    held.tell(0, 0, 100, 49)
    assert latest.look(0) == (101, 101, 50) and latest.last_px(0) == 101
    held.tell(0, 0, 102, 51)
    assert latest.look(0) == (102, 102, 51) and latest.last_px(0) == 102
    held.tell(0, 1, 7, 1)
    assert latest.look(1) == (7, 7, 1), "the other broker does not carry it"
    assert latest.look(99) is None and set(latest.second) == {0, 2, 3}
    fresh = held.fresh()
    assert fresh.of_slot is None, "two bytes: it has to be asked"
    held.stats[2]["fresh"][0] = held.stats[0]["fresh"][1] = 1
    assert [fresh(slot) for slot in (0, 1, 2)] == [True, True, False]
    del fresh, latest


def test_what_comes_late_is_old_and_the_other_feed_is_the_fresher_one(tables: Any) -> None:
    ahead_ns, now_ns = 1_795_000_000 * S, 100 * S
    held = tables(BOTH)
    latest = held.latest(ahead_ns)
    held.tell(0, 0, 100, now_ns, 30 * S - ahead_ns)  # thirty seconds late, received last
    held.tell(2, 0, 101, now_ns - S, S // 2 - ahead_ns)
    assert latest.look(0) == (101, 101, now_ns - S) and latest.last_px(0) == 101
    held.tell(2, 0, 102, now_ns - 60 * S, S // 2 - ahead_ns)
    assert latest.look(0) == (100, 100, now_ns - 29 * S), "the best there is is as old as its stamps"
    held.tell(0, 1, 7, now_ns, 30 * S - ahead_ns)
    assert latest.look(1) == (7, 7, now_ns - 29 * S)
    held.tell(0, 1, 8, now_ns, 2 * S - ahead_ns)
    assert latest.look(1) == (8, 8, now_ns), "within the stamps' resolution, and what clocks differ by"
    held.tell(0, 1, 9, now_ns, 2 * S + 1 - ahead_ns)
    assert latest.look(1) == (9, 9, now_ns - S - 1)
    held.tell(2, 3, 20_000, now_ns, 30 * S - ahead_ns)
    held.tell(1, 3, 10_000, now_ns)
    pair = latest.pair(default_instruments(N, 1)[0], DivergenceLimits(for_ns=0))
    assert pair is not None and pair.look(now_ns) == [], "an old price does not differ, it is old"
    assert held.latest().look(0) == (100, 100, now_ns), "a simulator's stamps are not judged"
    del latest, pair


def test_one_table_that_judges_answers_itself(tables: Any) -> None:
    held = tables(ONE)
    held.tell(0, 3, 100, 50 * S, 10 * S)
    latest = held.latest(0)
    assert isinstance(getattr(latest.look, "__self__", None), _table.TableReader), "no step between"
    assert latest.look(3) == (100, 100, 41 * S) and latest.last_px(3) == 100
    del latest


def test_both_feeds_are_held_against_each_other(tables: Any) -> None:
    held = tables(BOTH)
    latest, (instruments, _) = held.latest(), default_instruments(N, 1)
    limits = divergence_limits(Settings.model_validate({"datafeed": {"diverge_s": 0.0}}))
    assert (limits.percent, limits.ticks, limits.for_ns, limits.fresh_ns) == (0.5, 5, 0, 2 * S)
    pair = latest.pair(instruments, limits)
    assert pair is not None
    for slot, first, second in ((0, 0, 2), (2, 0, 3), (3, 1, 2)):
        held.tell(first, slot, 10_000, S)
        held.tell(second, slot, 10_000 if slot == 0 else 20_000, S)
    told = pair.look(S)
    assert [change.slot for change in told] == [2, 3]
    assert told[0].text == "the feeds tell different prices: 100.00 by kite and 200.00 by upstox"
    assert set(pair.apart) == {2, 3}
    del latest, pair


def test_a_worker_of_two_feeds_takes_the_fresher_tick() -> None:
    def config(*numbers: int) -> dict[str, Any]:
        return {"worker": {"connections": list(numbers)}, "connections": BOTH}

    settings = Settings.model_validate({"datafeed": {"twin_hold_s": 0.25}})
    assert twins_of(settings, config(0), N) is None and twins_of(settings, config(0, 1), N) is None
    assert twins_of(settings, config(2, 3), N) is None
    twins = twins_of(settings, config(0, 2), N)
    assert twins is not None
    rows = np.zeros(3, TICK)
    rows["connection"], rows["recv_ns"] = [0, 2, 2], [0, S // 4 - 1, S // 4]
    assert twins.take(rows, 3) == 2 and rows["recv_ns"][:2].tolist() == [0, S // 4]
    assert slots_of(config(0, 2)).tolist() == [0, 1, 2, 3], "each once"
