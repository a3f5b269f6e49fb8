"""A running engine from outside: what its shared memory says of processes, connections, prices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kite_hft import _counters, _table
from kite_hft.engine.runs import look as looking
from kite_hft.engine.runs.look import Look, segment_files, stage_segments
from kite_hft.engine.runs.runs import RunNote
from kite_hft.layout import COUNTERS, HISTOGRAMS, SLOT_STATS, TICK, SegmentKind
from kite_hft.memory.header import PAYLOAD_OFFSET
from kite_hft.memory.segment import Segment, attach, create, make_directory, start_ticks

S = 1_000_000_000
NOW = 1_000 * S
MARKET = {"name": "market-0", "stages": ["feed", "compute"], "connection": 0, "worker": 0}
ORDERS = {"name": "orders", "stages": ["orders"], "connection": None, "worker": None}


class Memory:
    """The shared memory of a run, written by this process."""

    def __init__(self, shm: Path) -> None:
        self.held: dict[str, Segment] = {}
        for name, stage in (("feed-0", "feed"), ("compute-0", "compute"), ("orders", "orders")):
            self._make(
                shm, f"counters-{name}", SegmentKind.COUNTERS, 1, len(COUNTERS[stage]), len(HISTOGRAMS[stage])
            )
        self._make(shm, "slots-0", SegmentKind.SLOT_STATS, 2)
        self._make(shm, "latest-0", SegmentKind.LATEST_TABLE, 2)

    def _make(
        self, shm: Path, name: str, kind: SegmentKind, n: int, counters: int = 0, histograms: int = 0
    ) -> None:
        path = create(
            shm, name, kind, n, counters=counters, histograms=histograms, now_mono_ns=NOW, now_real_ns=1
        )
        self.held[name] = attach(path, kind, writable=True)

    def count(self, name: str, **values: int) -> None:
        writer = _counters.CounterWriter(self.held[f"counters-{name}"].view)
        for word, value in values.items():
            writer.set(COUNTERS[name.split("-")[0]].index(word), value)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory(make_directory(tmp_path, "shm"))
    yield made
    for segment in made.held.values():
        segment.close()


@pytest.fixture
def look(memory: Memory, tmp_path: Path) -> Iterator[Look]:
    note = RunNote(
        "kite", "X", "sim", "1", str(tmp_path), str(tmp_path / "shm"), "", os.getpid(),
        start_ticks(os.getpid()), 1, processes=[MARKET, ORDERS],
    )  # fmt: skip
    opened = Look.open(note)
    yield opened
    opened.close()


def test_a_process_lives_hangs_or_is_dead(memory: Memory, look: Look) -> None:
    memory.count("feed-0", restarts=2)
    rows = {row["name"]: row for row in look.processes(NOW)}
    assert list(rows) == ["supervisor", "market-0", "orders"]
    assert rows["supervisor"]["state"] == "alive" and rows["supervisor"]["heartbeat_s"] is None
    assert (rows["market-0"]["state"], rows["market-0"]["pid"]) == ("alive", os.getpid())
    assert rows["market-0"]["restarts"] == 2 and rows["orders"]["restarts"] == 0
    memory.held["counters-orders"].heartbeat(NOW + 3 * S)
    memory.held["counters-feed-0"].heartbeat(NOW + 3 * S)
    # One stage of two beats no more: the process hangs.
    late = {row["name"]: row for row in look.processes(NOW + 3 * S)}
    assert late["market-0"]["state"] == "hung" and late["market-0"]["heartbeat_s"] == 3.0
    assert late["orders"]["state"] == "alive"
    memory.held["counters-orders"]._set(writer_start_ticks=1)
    assert look.processes(NOW)[2]["state"] == "dead"
    memory.held["counters-orders"]._set(writer_pid=0)
    assert look.processes(NOW)[2]["state"] == "starting"


def test_a_connection_says_when_it_last_heard(memory: Memory, look: Look) -> None:
    memory.count(
        "feed-0", connected=1, subscribed=2, last_frame_ns=NOW - S, disconnects=4, malformed_price_range=3
    )
    (row,) = look.connections(NOW)
    assert row["connected"] and row["instruments"] == 2 and row["last_frame_s"] == 1.0
    assert row["last_tick_s"] is None and row["disconnects"] == 4 and row["malformed"] == 3


def test_the_state_is_that_of_the_order_process(memory: Memory, look: Look) -> None:
    quiet = {"market_halted": False, "token_dead": False, "strategies_held": 0, "naked_paise": 0}
    assert look.state() == {"state": "NOT_ACTIVE", **quiet}
    memory.count("orders", state_active=1, market_halted=1)
    assert look.state() == {"state": "ACTIVE", **quiet, "market_halted": True}
    memory.count("orders", state_killed=1)
    assert look.state()["state"] == "KILLED"


def test_prices_and_slot_statistics(memory: Memory, look: Look) -> None:
    tick = np.zeros(1, TICK)
    tick["slot"], tick["last_px"], tick["recv_ns"] = 1, 4242, NOW
    _table.TableWriter(memory.held["latest-0"].view).put(tick, 1)
    assert look.mark(1) == 4242 and look.mark(0) == 0 and look.mark(99) == 0
    view = memory.held["slots-0"].view[PAYLOAD_OFFSET : PAYLOAD_OFFSET + 2 * SLOT_STATS.itemsize]
    rows = np.frombuffer(view, SLOT_STATS)
    rows["ticks"] = [7, 9]
    found = look.slot_stats()
    rows["ticks"] = 0
    assert found[0]["ticks"].tolist() == [7, 9]  # a copy
    del rows, view


def test_the_newest_generation_of_a_segment_counts(tmp_path: Path) -> None:
    for name in (
        "ticks-0.g2.seg",
        "ticks-0.g10.seg",
        "ticks-0.g9.seg",
        "x.gy.seg",
        "ticks-0.current",
        "run.json",
    ):
        (tmp_path / name).touch()
    assert segment_files(tmp_path) == {"ticks-0": tmp_path / "ticks-0.g10.seg"}


def test_the_counters_that_a_process_writes() -> None:
    assert list(stage_segments(MARKET)) == ["counters-feed-0", "counters-compute-0"]
    assert list(stage_segments(ORDERS)) == ["counters-orders"]
    assert list(stage_segments({"stages": ["updates"], "connection": 2})) == ["counters-feed-2"]


def test_a_connection_is_down_when_its_process_is_dead(
    memory: Memory, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.count("feed-0", connected=1)
    assert [row["connected"] for row in look.connections(NOW)] == [True]
    monkeypatch.setattr(looking, "lives", lambda pid, ticks: False)
    assert [row["connected"] for row in look.connections(NOW)] == [False]
