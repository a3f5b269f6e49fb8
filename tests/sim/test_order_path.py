"""Short days of the order path: nothing breaks, the same seed gives the same day, planted bugs are found."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from kite_hft.sim.order_path.disk import SECTOR, VirtualDisk
from kite_hft.sim.order_path.faults import ACTS, KINDS, Faults
from kite_hft.sim.order_path.records import Tail
from kite_hft.sim.order_path.world import OrdersWorld
from kite_hft.verify.simulation.mutants import MUTANTS, MUTANTS_MIN, chosen, hunt
from kite_hft.verify.simulation.sim import limits, shares

LIMITS = limits()
SAMPLE = (
    "journal_skipped", "fsync_skipped", "resent_when_ambiguous", "resent_after_429", "5xx_refuses",
    "timeout_never_left", "halt_ignored", "stale_ignored", "reducing_by_flag", "strategies_not_told",
    "committed_first", "strangers_ignored", "exits_not_placed", "exits_of_a_half", "trigger_not_journalled",
    "trigger_sent_again", "trigger_cancel_forgotten", "sales_first", "one_slice_more", "not_sliced",
)  # fmt: skip


def test_days_hold() -> None:
    broken = {}
    faults = 0
    for seed in range(60):
        world = OrdersWorld(seed, LIMITS)
        world.run()
        faults += sum(world.faults.counts.values())
        if world.checker.breaks:
            broken[seed] = world.checker.breaks
    assert not broken
    assert faults > 60 * 80


def test_the_same_seed_gives_the_same_day_in_another_process() -> None:
    world = OrdersWorld(7, LIMITS)
    world.run()
    command = [sys.executable, "-m", "kite_hft.verify", "sim", "--seed", "7"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert told["hash"] == world.trace_hash() and told["breaks"] == []
    other = OrdersWorld(8, LIMITS)
    other.run()
    assert other.trace_hash() != told["hash"]


def test_mutants_are_many_and_named_once() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= MUTANTS_MIN
    assert set(SAMPLE) <= set(names)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_planted_bug_is_found(name: str) -> None:
    found = hunt(chosen(name)[0], LIMITS, most=40)
    assert found["seeds"], found
    clean = OrdersWorld(0, LIMITS)
    clean.run()
    assert not clean.checker.breaks, "the mutant was not taken out again"


def test_every_kind_of_fault_strikes_and_acts_have_a_method() -> None:
    world = OrdersWorld(0, LIMITS)
    assert all(hasattr(world.acts, f"_{kind}") for kind in ACTS)
    drawn = [Faults.drawn(random.Random(seed)).rates for seed in range(300)]
    assert {kind for rates in drawn for kind in rates} == set(KINDS)
    assert len({frozenset(rates) for rates in drawn}) > 290


def test_a_power_cut_keeps_what_was_synced() -> None:
    disk = VirtualDisk(random.Random(3))
    for _ in range(50):
        file = disk.create()
        data = random.Random(5).randbytes(5 * SECTOR)
        file.write_at(data[:1000], 0)
        file.sync()
        file.write_at(data[1000:], 1000)
        file.power_cut()
        assert file.data[:1000] == data[:1000] and len(file.data) <= len(data)
    assert any(0 in file.data[1000:] and file.data != data[: len(file.data)] for file in disk.files)


def test_the_checkers_own_reader_stops_at_a_torn_record() -> None:
    world = OrdersWorld(1, LIMITS)
    world.run()
    data = bytes(world.journals[0].data)
    whole = [kind for kind, _end, _payload in Tail().fresh(data)]
    assert whole[0] == "START" and len(whole) == len(world.records(world.journals[0]))
    assert len(list(Tail().fresh(data[:-1]))) == len(whole) - 1
    spoilt = bytearray(data)
    spoilt[len(data) // 2] ^= 1
    assert len(list(Tail().fresh(spoilt))) < len(whole)


def test_seeds_are_shared_without_gaps() -> None:
    assert shares(7, 10, 3) == [(10, 3), (13, 2), (15, 2)]
    assert shares(1, 0, 2) == [(0, 1)]
