"""A worker that dies at random points computes, asks and writes what one that lives on does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from property.test_compute_batches import Broker
from worker_world import WorkerWorld, random_deaths

from kite_hft.layout import TICK, TickFlag
from kite_hft.stages.compute import REPLAYED

BEGIN_S = 1_765_770_300  # 2025-12-15 09:15:00 IST
SLOTS = 6
STEPS, TICKS_PER_STEP = 24, 60
PARAMS = {"warmup": 5, "threshold": 0.0005, "quantity": 30, "retry_ticks": 3}
FORMS = [
    {"name": "kalman_simple", "form": "A", "params": PARAMS},
    {"name": "kalman_simple", "form": "B", "params": {**PARAMS, "threshold": 0.002}},
]


def market(seed: int, n: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    ticks = np.zeros(n, TICK)
    ticks["recv_ns"] = 10**12 + np.arange(n) * 1_000_003
    ticks["slot"] = random.integers(0, SLOTS, n)
    ticks["exch_ns"] = (BEGIN_S + np.sort(random.integers(0, 22_800, n))) * 10**9
    ticks["exch_ns"][random.random(n) < 0.05] = 0  # then the time of arrival counts
    ticks["last_px"] = 20_000 + random.normal(0, 60, n).astype(np.int64)
    ticks["bid_px"], ticks["ask_px"] = ticks["last_px"] - 5, ticks["last_px"] + 5
    ticks["volume"] = 10 * np.arange(n)
    ticks["flags"] = TickFlag.TRADE
    return ticks


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of compiled loops for all lives."""
    return tmp_path_factory.mktemp("state")


def live(
    state: Path,
    seed: int,
    batch: int,
    deaths: list[int],
    feed_deaths: frozenset[int] = frozenset(),
    *,
    compiled: bool = False,
    snapshot_s: float = 2e-5,
    feeds: int = 1,
) -> dict[str, Any]:
    """A day of STEPS steps; the broker answers after each, wherever the worker died in it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder)
        path.chmod(0o700)
        world = WorkerWorld(
            path,
            batch=batch,
            strategies=FORMS,
            slots=SLOTS,
            state=state,
            compiled=compiled,
            snapshot_s=snapshot_s,
            feeds=feeds,
        )
        broker, told = Broker(seed), [market(seed + feed, STEPS * TICKS_PER_STEP) for feed in range(feeds)]
        died = 0
        for step in range(STEPS):
            if step in feed_deaths:
                world.next_ring()
            for number, (feed, ticks) in enumerate(zip(world.feeds, told, strict=True)):
                ticks["connection"] = number
                feed.publish(ticks[step * TICKS_PER_STEP : (step + 1) * TICKS_PER_STEP])
            died += world.run(deaths[step])
            world.tell(broker.answer(world.take()))
        world.run()
        found = world.end()
        assert not any("not exactly" in line for line in world.said.lines), world.said.lines
        return found | {"died": died, "said": world.said.lines}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in ("intents", "bars"):
        mine, theirs = found[name], expected[name]
        assert len(mine) == len(theirs), name
        different = [n for n in range(len(mine)) if mine[n].tobytes() != theirs[n].tobytes()]
        assert not different, f"{name} {different[:5]}: {mine[different[0]]} != {theirs[different[0]]}"
    assert [hash(p) for p in found["positions"]] == [hash(p) for p in expected["positions"]]
    assert {n: found["counters"][n] for n in REPLAYED} == {n: expected["counters"][n] for n in REPLAYED}


@pytest.mark.parametrize("batch", [1, 7, 1000])
@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_deaths_leave_no_trace(state: Path, batch: int, seed: int, fate: int) -> None:
    never = [-1] * STEPS
    expected = live(state, seed, batch, never)
    deaths = random_deaths(fate, STEPS, 60 if batch > 1 else 500)
    found = live(state, seed, batch, deaths, frozenset({7, 15}))
    assert_same(found, expected)
    assert len(expected["intents"]) > 20 and len(expected["bars"]) > 100
    assert found["counters"]["restarts"] == found["died"]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_deaths_leave_no_trace_between_two_feeds(state: Path, seed: int, fate: int) -> None:
    """What is passed over of the second feed is the same once more: the rule is in the snapshot."""
    expected = live(state, seed, 1000, [-1] * STEPS, feeds=2)
    deaths = random_deaths(fate, STEPS, 60)
    found = live(state, seed, 1000, deaths, frozenset({7, 15}), feeds=2)
    assert_same(found, expected)
    assert found["counters"]["restarts"] == found["died"]
    counted = expected["counters"]
    assert counted["twins_passed_over"] > 100 and counted["computed"] > 100
    assert counted["twins_passed_over"] + counted["computed"] == 2 * STEPS * TICKS_PER_STEP


@pytest.mark.parametrize("batch", [1, 7, 1000])
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.sampled_from([2e-5, 2e-3, 1.0]))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_compiled_steps_are_those_of_the_stage(
    state: Path, batch: int, seed: int, fate: int, snapshot_s: float
) -> None:
    """Alive, and dead and recovered, with a few snapshots or many."""
    expected = live(state, seed, batch, [-1] * STEPS)
    assert_same(live(state, seed, batch, [-1] * STEPS, compiled=True, snapshot_s=snapshot_s), expected)
    deaths = random_deaths(fate, STEPS, 40)
    found = live(state, seed, batch, deaths, frozenset({7, 15}), compiled=True, snapshot_s=snapshot_s)
    assert_same(found, expected)
    assert found["counters"]["restarts"] == found["died"]
