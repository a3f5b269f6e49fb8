"""Short days of the order path: nothing breaks, the same seed gives the same day, planted bugs are found."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kite_hft.layout import INTENT, ORDER_EVENT
from kite_hft.sim.brokers.upstox import UPSTOX_SIDE
from kite_hft.sim.exchange.conditions import FEW, among
from kite_hft.sim.order_path.disk import SECTOR, VirtualDisk
from kite_hft.sim.order_path.faults import ACTS, KINDS, Faults
from kite_hft.sim.order_path.queues import EventQueue, row_of
from kite_hft.sim.order_path.records import Tail
from kite_hft.sim.order_path.world import OrdersWorld
from kite_hft.verify.simulation import sim, sittings
from kite_hft.verify.simulation.mutants import MUTANTS, MUTANTS_MIN, chosen, hunt
from kite_hft.verify.simulation.sim import limits, pieces, shares

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


def test_days_with_upstox_hold() -> None:
    broken = {}
    for seed in range(25):
        world = OrdersWorld(seed, limits(UPSTOX_SIDE), side=UPSTOX_SIDE)
        world.run()
        if world.checker.breaks:
            broken[seed] = world.checker.breaks
    assert not broken


def test_kinds_that_a_broker_has_not_are_never_drawn_and_leave_the_others_as_they_are() -> None:
    kinds = {"tag_dropped": "why", "update_double": "why"}
    side = replace(UPSTOX_SIDE, without=kinds)
    for seed in range(12):
        bare = OrdersWorld(seed, limits(side), side=side).faults.rates
        whole = OrdersWorld(seed, limits(side), side=UPSTOX_SIDE).faults.rates
        assert bare == {kind: rate for kind, rate in whole.items() if kind not in kinds}


def test_the_command_takes_a_broker_and_names_it_where_it_replays() -> None:
    command = [sys.executable, "-m", "kite_hft.verify", "sim", "--broker", "upstox", "--seed", "3"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert told["breaks"] == [] and "--broker upstox" in told["replay"]


@pytest.mark.parametrize("name", ["resent_when_ambiguous", "5xx_refuses", "exits_not_placed"])
def test_a_planted_bug_is_found_with_upstox(name: str) -> None:
    found = hunt(chosen(name)[0], limits(UPSTOX_SIDE), most=40, side=UPSTOX_SIDE)
    assert found["seeds"], found


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
    found = hunt(chosen(name)[0], LIMITS, most=160)
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
    assert shares([(10, 7)], 3) == [[(10, 3)], [(13, 2)], [(15, 2)]]
    assert shares([(0, 1)], 2) == [[(0, 1)]]
    assert shares([(0, 2), (10, 5), (30, 1)], 2) == [[(0, 2), (10, 2)], [(12, 3), (30, 1)]]
    assert list(pieces(5, 23)) == [(5, 10), (15, 10), (25, 3)]


def test_a_campaign_in_two_sittings_is_the_same_as_in_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sittings, "code_of", lambda: "the same")
    monkeypatch.setattr(sim, "code_of", sittings.code_of)

    def run(*words: str) -> dict[str, Any]:
        assert sim.main(words) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {key: value for key, value in told.items() if key not in ("seconds", "seeds_per_s")}

    kept = str(tmp_path / "kept.json")
    run("--seeds", "3", "--keep", kept)
    whole = run("--seeds", "8")
    assert run("--seeds", "8", "--keep", kept) == whole and whole["spans"] == [[0, 8]]
    assert run("--add", kept) == whole


def test_an_intent_row_is_what_numpy_makes_of_its_words() -> None:
    words = {
        "strategy": 3,
        "strategy_seq": 2**63,
        "kind": 9,
        "qty": 100_000,
        "px": -5,
        "signal": math.nan,
        "legs": 2,
    }
    slow = np.zeros(1, INTENT)
    for name, value in words.items():
        slow[name] = value
    assert row_of(words).tobytes() == slow.tobytes() and row_of(words).flags.writeable


def test_events_are_numbered_as_they_are_pushed() -> None:
    queue, rows = EventQueue(), np.zeros(3, ORDER_EVENT)
    rows["seq"], rows["order_no"], rows["px"] = 99, (7, 8, 9), -1
    queue.push(rows[:1])
    queue.push(rows[1:])
    taken = queue.take()
    assert taken["seq"].tolist() == [0, 1, 2] and taken["order_no"].tolist() == [7, 8, 9]
    assert taken["px"].tolist() == [-1] * 3 and rows["seq"].tolist() == [99] * 3 and not len(queue.take())


def test_few_slots_are_found_as_many_are() -> None:
    slots = np.array([5, 0, 3, 5, 700], np.uint32)
    for wanted in ([], [5], [0, 700, 4], list(range(FEW + 3))):
        assert among(slots, wanted).tolist() == np.isin(slots, wanted).tolist()
