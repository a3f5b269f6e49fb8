"""What a restarted worker does where going on exactly is impossible: it says so, and counts what is lost."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from property.test_worker_recovery import FORMS, SLOTS, market
from worker_world import WorkerWorld

from kite_hft.layout import ORDER_EVENT, EventKind, OrderStatus
from kite_hft.memory.counters import named
from kite_hft.memory.snapshots import half_path

WRITTEN = """
import json

from kite_hft.strategies.base import BaseStrategy

class Forgetful(BaseStrategy):
    name = "forgetful"

    def __init__(self):
        self.ticks, self.heard = 0, []

    def on_tick(self, tick):
        self.ticks += 1
        if self.ticks == 3:
            self.place_order("BUY", tick.instrument_token, 1, slot=tick.slot)

    def on_order(self, event):
        self.heard.append((int(event["kind"]), int(event["strategy_seq"])))


class Half(Forgetful):
    def save(self):
        return b"good" if self.ticks < 5 else b"bad"

    def restore(self, saved):
        if saved == b"bad":
            raise ValueError("not mine")


class Unsaved(Forgetful):
    def save(self):
        return b"" if self.ticks < 20 else json.dumps(self)


class Wordy(Forgetful):
    def save(self):
        return None if self.ticks < 20 else "no bytes"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        Path(made).chmod(0o700)
        (Path(made) / "written.py").write_text(WRITTEN)
        yield Path(made)


def counters(world: WorkerWorld) -> dict[str, int]:
    return named("compute", world.worker.counters.values())


def test_a_lapped_ring_is_said_and_counted(folder: Path) -> None:
    """The ticks since the snapshot are gone when the worker comes back."""
    world = WorkerWorld(folder, batch=100, strategies=FORMS[:1], slots=SLOTS, ring=256, snapshot_s=1e3)
    ticks = market(1, 900)
    for first in (0, 100, 200):
        world.feed.publish(ticks[first : first + 100])
        world.run()
    world.die()
    world.feed.publish(ticks[300:])
    world.born()
    world.run()
    found, said = counters(world), " ".join(world.said.lines)
    assert "not exactly where it stopped: 300 ticks are no longer in their ring" in said
    assert found["computed"] == 256 and found["lost"] == 644
    assert found["computed"] + found["lost"] == 900
    world.end()


def test_without_a_whole_snapshot_counting_goes_on(folder: Path) -> None:
    world = WorkerWorld(folder, batch=100, strategies=FORMS[:1], slots=SLOTS)
    ticks = market(2, 300)
    world.feed.publish(ticks[:200])
    world.run()
    world.take()
    before = counters(world)
    world.die()
    for half in (0, 1):
        half_path(world.shm, "snapshot-0", half).write_bytes(b"rubbish")
    world.born()
    world.feed.publish(ticks[200:])
    world.run()
    found = counters(world)
    assert "no snapshot" in " ".join(world.said.lines)
    assert found["computed"] == 300 and found["lost"] == 0 and found["replayed_ticks"] == 0
    numbers = [int(i["strategy_seq"]) for part in world.intents for i in part]
    later = [int(i["strategy_seq"]) for i in world.take()]
    assert before["intents"] == len(numbers) and not set(numbers) & set(later), "numbers go on"
    world.end()


def test_a_strategy_without_memory_starts_afresh_with_its_position(folder: Path) -> None:
    sections = [{"name": f"{folder}/written.py:Forgetful"}, FORMS[0]]
    world = WorkerWorld(folder, batch=10, strategies=sections, slots=SLOTS, snapshot_s=1e3)
    world.feed.publish(market(3, 60))
    world.run()
    first = world.take()
    placed = first[first["strategy"] == 1]
    assert len(placed) == 1 and placed["strategy_seq"][0] == 1
    event = np.zeros(1, ORDER_EVENT)
    event["strategy"], event["strategy_seq"], event["slot"] = 1, 1, placed["slot"][0]
    event["kind"], event["status"], event["product"] = EventKind.COMPLETE, OrderStatus.COMPLETE, 3
    event["position"] = 1
    world.tell(event)
    world.run()
    assert world.worker.compute._hosts[0].strategy.heard == [(EventKind.COMPLETE, 1)]
    world.die()
    world.born()
    strategy = world.worker.compute._hosts[0].strategy
    assert "forgetful keeps no state of its own" in " ".join(world.said.lines)
    assert strategy.ticks == 0, "it sits out the replay"
    event["kind"] = EventKind.SNAPSHOT
    world.tell(event)  # as the order process does for a restarted worker
    world.feed.publish(market(4, 10))
    world.run()
    assert strategy.position(int(event["slot"][0])) == 1
    assert strategy.heard == [(EventKind.SNAPSHOT, 1)]
    again = world.take()
    assert again["strategy_seq"][again["strategy"] == 1].tolist() == [2], "numbers go on"
    world.end()


def test_a_strategy_that_cannot_be_restored_is_halted_alone(folder: Path) -> None:
    sections = [{"name": f"{folder}/written.py:Half"}, FORMS[0]]
    world = WorkerWorld(folder, batch=10, strategies=sections, slots=SLOTS)
    world.feed.publish(market(3, 60))
    world.run()
    world.die()
    world.born()
    assert [host.name for host in world.worker.compute._hosts] == ["kalman_simple"]
    assert "ValueError: not mine" in " ".join(world.said.lines)
    assert counters(world)["strategies_halted"] == 1
    world.die()
    world.born()
    assert [host.name for host in world.worker.compute._hosts] == ["kalman_simple"], "for good"
    assert counters(world)["strategies_halted"] == 1
    world.end()


@pytest.mark.parametrize(
    ("name", "why"), [("Unsaved", "not JSON serializable"), ("Wordy", "save() gave str")]
)
def test_a_strategy_that_cannot_tell_its_state_is_halted_alone(folder: Path, name: str, why: str) -> None:
    """It would keep its worker from every later start, and with the worker the prices."""
    sections = [{"name": f"{folder}/written.py:{name}"}, FORMS[0]]
    world = WorkerWorld(folder, batch=10, strategies=sections, slots=SLOTS)
    world.feed.publish(market(3, 60))
    world.run()
    for _ in range(2):
        assert [host.name for host in world.worker.compute._hosts] == ["kalman_simple"]
        assert counters(world)["strategies_halted"] == 1 and counters(world)["computed"] == 60
        world.die()
        world.born()
    assert why in " ".join(world.said.lines)
    world.feed.publish(market(4, 10))
    world.run()
    assert counters(world)["computed"] == 70
    world.end()


def test_events_that_nobody_worked_on_are_not_lost(folder: Path) -> None:
    """Taken from the queue by a process that died before it could write that down."""
    world = WorkerWorld(folder, batch=10, strategies=FORMS[:1], slots=SLOTS)
    event = np.zeros(1, ORDER_EVENT)
    event["strategy"], event["slot"], event["product"], event["position"] = 1, 2, 3, 7
    world.tell(event)
    assert world.run(left=1), "dies between the queue and the log"
    assert world.worker.compute._hosts[0].positions["qty"][2] == 7
    assert counters(world)["events"] == 1
    world.end()


def test_a_log_record_that_the_worker_died_in_is_no_doubt(folder: Path) -> None:
    import segments

    from kite_hft.layout import SegmentKind
    from kite_hft.memory.segment import attach

    world = WorkerWorld(folder, batch=10, strategies=FORMS[:1], slots=SLOTS)
    world.feed.publish(market(3, 30))
    world.run()
    with attach(world.paths["inputs-0"], SegmentKind.INPUT_RING, writable=True, claim=False) as held:
        segments.set_control(held, intent=int(held.control()["head"]) + 1)
    world.die()
    world.born()
    assert "not exactly" not in " ".join(world.said.lines)
    world.end()
