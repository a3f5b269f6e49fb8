"""Two feeds that tell different prices: when they part, when they agree again, what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import diverging as plain

from kite_hft.layout import Side
from kite_hft.trading.gate.diverging import Change, DivergenceLimits, FeedPair
from kite_hft.trading.instruments import Instrument
from kite_hft.verify.risk.bench import OTHER, SHARE, Bench

S, MS = 10**9, 10**6
PX = 100_000
LIMITS = DivergenceLimits(percent=0.5, ticks=5, for_ns=3 * S, agree_ns=5 * S, fresh_ns=2 * S)
ROW = Instrument(7, 2049, 8, "SBIN", "NSE", "NSE", "EQ", 5, 1)


class Feed:
    """Prices that a test sets: slot -> (price, received)."""

    def __init__(self, name: str, slots: list[int]) -> None:
        self.name, self.slots = name, slots
        self.told: dict[int, tuple[int, int]] = {}

    def read(self, px: Any, recv_ns: Any) -> None:
        for at, slot in enumerate(self.slots):
            px[at], recv_ns[at] = self.told.get(slot, (0, 0))


class Two:
    """Two feeds of some instruments, looked at again and again."""

    def __init__(self, slots: int = 1, limits: DivergenceLimits = LIMITS, **words: Any) -> None:
        rows = [
            replace(ROW, slot=7 + at, token=2049 + 256 * at, symbol=f"S{at}", **words) for at in range(slots)
        ]
        numbers = [row.slot for row in rows]
        self.kite, self.upstox = Feed("kite", numbers), Feed("upstox", numbers)
        self.pair = FeedPair(rows, self.kite, self.upstox, limits)

    def look(self, now_ns: int, a: int, b: int, slot: int = 7, old_ns: int = 0) -> list[Change]:
        self.kite.told[slot], self.upstox.told[slot] = (a, now_ns), (b, now_ns - old_ns)
        return self.pair.look(now_ns)


def far(two: Two, begin_ns: int = 0, until_ns: int = 3 * S) -> list[Change]:
    """They differ for so long, at a look every 100 ms."""
    found = []
    for now_ns in range(begin_ns, until_ns + 1, 100 * MS):
        found += two.look(now_ns, PX, PX + 600)
    return found


def test_they_part_when_they_have_differed_for_long_enough() -> None:
    two = Two()
    assert far(two, until_ns=3 * S - 100 * MS) == [] and not two.pair.apart
    text = "the feeds tell different prices: 1000.00 by kite and 1006.00 by upstox"
    assert two.look(3 * S, PX, PX + 600) == [Change(7, "NSE:S0", text)]
    assert two.pair.apart == {7: text}
    assert far(two, 3 * S + 1, 60 * S) == [], "told once"
    assert two.pair.apart == {7: text}


@pytest.mark.parametrize(
    ("words", "a", "b", "differs"),
    [
        ({}, PX, PX + 501, True), ({}, PX, PX + 500, False), ({}, PX + 501, PX, True),
        ({}, 100, 126, True), ({}, 100, 125, False),  # a large part of the price, and 5 steps
        ({"tick_px": 100}, PX, PX + 600, True), ({"tick_px": 120}, PX, PX + 600, False),
        ({}, 0, PX, False), ({}, PX, 0, False), ({}, -PX, PX, False), ({"tick_px": 0}, PX, PX + 600, True),
    ],
)  # fmt: skip
def test_what_is_a_difference(words: dict[str, Any], a: int, b: int, differs: bool) -> None:
    two = Two(limits=replace(LIMITS, for_ns=0), **words)
    assert bool(two.look(S, a, b)) is differs


def test_one_look_without_a_difference_ends_the_span() -> None:
    for calm in ({"a": PX, "b": PX + 1}, {"a": PX, "b": PX + 600, "old_ns": 2 * S + 1}, {"a": 0, "b": PX}):
        two = Two()
        assert far(two, until_ns=2900 * MS) == []
        assert two.look(2950 * MS, **calm) == []
        assert far(two, 3 * S, 5900 * MS) == [] and far(two, 6 * S, 6 * S)


def test_they_agree_after_a_while_and_not_by_silence() -> None:
    two = Two()
    assert far(two)
    assert two.look(4 * S, PX, PX) == [] and two.pair.apart
    assert two.look(8 * S, PX, PX, old_ns=3 * S) == [], "a silent feed says nothing, and ends the span"
    assert two.look(9 * S, PX, PX) == [] and two.look(14 * S - 1, PX, PX) == []
    assert two.look(14 * S, PX, PX) == [Change(7, "NSE:S0", "")] and not two.pair.apart
    assert far(two, 15 * S, 17_900 * MS) == [] and far(two, 18 * S, 18 * S), "anew after its time"


def test_each_instrument_for_itself_and_one_dict_for_ever() -> None:
    two = Two(3)
    apart = two.pair.apart
    for now_ns in range(0, 4 * S, 500 * MS):
        for slot, px in ((7, PX), (8, PX + 600), (9, PX - 600)):
            two.look(now_ns, PX, px, slot)
    assert set(apart) == {8, 9} and apart is two.pair.apart
    assert [change.slot for change in two.pair.let_go()] == [8, 9] and not apart
    assert two.look(4 * S, PX, PX + 600, 8) == [], "what a person has let go parts anew after its time"


@pytest.mark.parametrize("name", ["percent", "ticks", "for_ns", "agree_ns", "fresh_ns"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_limits_are_numbers_above_nothing(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(LIMITS, **{name: value})


LOOKS = st.lists(
    st.tuples(
        st.integers(1, 3),  # time since the look before
        st.sampled_from([0, 100, 100, 101, 103, 110]), st.integers(0, 4),
        st.sampled_from([0, 100, 100, 101, 103, 110]), st.integers(0, 4),
    ), max_size=40,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(LOOKS, st.sampled_from([0.0, 0.5, 2.0]), st.integers(0, 4), st.integers(0, 6), st.integers(0, 6))
def test_as_the_plain_rule(steps: list[Any], percent: float, ticks: int, for_ns: int, agree_ns: int) -> None:
    two = Two(limits=DivergenceLimits(percent, ticks, for_ns, agree_ns, fresh_ns=2), tick_px=1)
    now_ns, looks, found = 0, [], []
    for wait, a, a_old, b, b_old in steps:
        now_ns += wait
        looks.append((now_ns, a, now_ns - a_old, b, now_ns - b_old))
        two.kite.told[7], two.upstox.told[7] = (a, now_ns - a_old), (b, now_ns - b_old)
        was = 7 in two.pair.apart
        changes = two.pair.look(now_ns)
        assert bool(changes) == (was != (7 in two.pair.apart))
        found.append(7 in two.pair.apart)
    limits = {"percent": percent, "px": ticks, "for_ns": for_ns, "agree_ns": agree_ns, "fresh_ns": 2}
    assert found == plain.parted(looks, limits)


# In the gate


def test_a_person_is_told_and_openings_are_refused_until_they_agree() -> None:
    bench, two = Bench(held=((1, SHARE, 3, 10),)), Two(limits=replace(LIMITS, for_ns=0, agree_ns=0))
    pair = FeedPair([replace(ROW, slot=SHARE)], two.kite, two.upstox, replace(LIMITS, for_ns=0, agree_ns=0))
    two.kite.slots = two.upstox.slots = [SHARE]
    gate = bench.stage.gate
    gate.facts = replace(gate.facts, feeds=pair)
    for px, told in ((PX, []), (PX + 600, ["FEEDS_DIVERGE"]), (PX, ["FEEDS_DIVERGE", "FEEDS_DIVERGE"])):
        two.kite.told[SHARE], two.upstox.told[SHARE] = (PX, S), (px, S)
        gate.look_at_feeds(S)
        assert bench.alerts == told
    two.upstox.told[SHARE] = (PX + 600, S)
    gate.look_at_feeds(S)
    assert pair.apart
    gate.let_go(S)
    assert not pair.apart and len(bench.alerts) == 4


def test_the_stage_looks_by_itself() -> None:
    bench = Bench(parted=(SHARE,))
    looks: list[int] = []

    class Watched(FeedPair):
        def look(self, now_ns: int) -> list[Change]:
            looks.append(now_ns)
            return []

    gate = bench.stage.gate
    gate.facts = replace(gate.facts, feeds=Watched((), Feed("a", []), Feed("b", []), LIMITS))
    for _ in range(5):
        bench.stage.step(bench.clock.mono)
        bench.clock.mono += 100 * MS
    assert len(looks) == 5


def test_openings_are_refused_and_exits_pass() -> None:
    bench = Bench(parted=(SHARE,), held=((1, SHARE, 3, 10),))
    refused = bench.ask(slot=SHARE)
    assert refused is not None and refused[0] == "FEEDS_DIVERGE" and "100.00 by a" in refused[1]
    assert bench.ask(slot=SHARE, side=Side.SELL, qty=10) is None and "EXIT_UNSURE" in bench.alerts
    assert bench.ask(slot=OTHER) is None
    assert bench.stage.gate.facts.feeds is not None
    bench.stage.gate.facts.feeds.apart.clear()
    below = 9_995  # of the exit that is under way
    assert bench.ask(slot=SHARE, px=below) is None, "the quick way sees the same dict"


def test_no_instrument_is_enough() -> None:
    assert Two(0).pair.look(S) == [] == Two(0).pair.let_go()
