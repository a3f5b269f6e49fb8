"""Sums of a day: as they stand in a record, and what another run makes of them."""

from __future__ import annotations

import json

import msgspec
import pytest
from orders_world import REAL0, S, instrument, instruments

from kite_hft._tally import VALUE_MAX, Tally
from kite_hft.layout import IntentKind
from kite_hft.trading.day_so_far import Cooling, DaySoFar, Sums, labels, of_today, packed, read
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.sending.conduct import ConductBook

NOW_NS = 50 * S
AHEAD_NS = REAL0 - NOW_NS
LIMITS = RiskLimits(stop_losses_max=3, stop_losses_s=100.0, cooldown_s=60.0)
TOKEN = instrument(0).token
FULL = DaySoFar(
    "2027-01-15", (3, 5), 7_000, {TOKEN: (4, 2, 1), 77: (1, 0, 0)}, {"one": (4, 2, 1), "gone": (1, 0, 0)},
    900, "far below", (REAL0 - 99 * S, REAL0 - S),
    (Cooling("gone", TOKEN, REAL0 + 5), Cooling("one", 77, REAL0 + 3), Cooling("one", TOKEN, REAL0 + 7)),
    REAL0 + 9 * S,
)  # fmt: skip


class Run:
    """Where a run keeps its sums."""

    def __init__(self, table: InstrumentTable | None = None, names: dict[int, str] | None = None) -> None:
        self.tally, self.guards, self.conduct = Tally(LIMITS), Guards(LIMITS), ConductBook()
        names = {1: "one", 2: "two"} if names is None else names
        self.sums = Sums(self.tally, self.guards, self.conduct, table or instruments(), names, AHEAD_NS)


@pytest.mark.parametrize("found", [FULL, DaySoFar("2027-01-15")])
def test_a_record_holds_them(found: DaySoFar) -> None:
    assert read(json.loads(json.dumps(packed(found)))) == found
    assert read(json.loads(msgspec.json.encode(packed(found)))) == found


def test_what_is_none_is_refused_and_what_is_not_known_yet_passed_over() -> None:
    for data in (
        {},
        {"day": 5},
        {"day": "x", "gross_paise": "1"},
        {"day": "x", "contracts": {"a": [1, 2, 3]}},
    ):
        with pytest.raises(msgspec.ValidationError):
            read(data)
    assert read({"day": "x", "of_a_later_version": 1}) == DaySoFar("x")


def test_another_run_counts_on_and_hands_on_what_it_does_not_trade() -> None:
    run = Run()
    run.sums.take_up(FULL)
    assert run.tally.gross_paise == 7_000 and run.tally.of_strategy(1, NOW_NS).orders == 0
    contract, strategy = run.conduct.traffic(1, 0)
    assert (
        (contract.messages, contract.modifications, contract.trades)
        == (4, 2, 1)
        == tuple((strategy.messages, strategy.modifications, strategy.trades))
    )
    assert run.guards.peak_paise == 900 and run.guards.drawdown == "far below" and not run.guards.calm
    assert run.guards.cooling_ns(1, 0, NOW_NS) == 7 and run.guards.cooling_ns(2, 0, NOW_NS) == 0
    assert run.guards.paused_ns(NOW_NS) == 9 * S
    assert run.sums.now(FULL, (), NOW_NS) == FULL
    run.conduct.called(IntentKind.MODIFY, 0, 2)
    run.conduct.called(IntentKind.PLACE, 1, 1)
    run.tally.add(1, 0, 1, 5, 10, NOW_NS)
    later = run.sums.now(FULL, (9,), NOW_NS + 8 * S)
    assert (later.runs, later.gross_paise, later.paused_until_ns) == ((3, 5, 9), 7_010, REAL0 + 9 * S)
    assert later.contracts == {77: (1, 0, 0), TOKEN: (5, 3, 1), instrument(1).token: (1, 0, 0)}
    assert later.strategies == {"gone": (1, 0, 0), "one": (5, 2, 1), "two": (1, 1, 0)}
    assert later.losses_ns == (REAL0 - S,) and later.cooling == (), "what is over is left out"
    assert run.sums.now(FULL, (), NOW_NS + 9 * S).paused_until_ns == 0


def test_instruments_and_strategies_may_be_numbered_otherwise() -> None:
    table = InstrumentTable(
        (instrument(0, token=instrument(1).token, symbol="SHARE1"), instrument(1, token=TOKEN))
    )
    run = Run(table, {1: "two", 2: "one"})
    run.sums.take_up(FULL)
    assert [traffic.messages for traffic in run.conduct.traffic(2, 1)] == [4, 4]
    assert [traffic.messages for traffic in run.conduct.traffic(1, 0)] == [0, 0]
    assert run.guards.cooling_ns(2, 1, NOW_NS) == 7 and run.guards.cooling_ns(1, 1, NOW_NS) == 0
    assert run.sums.now(FULL, (), NOW_NS) == FULL


def test_the_same_strategy_on_several_workers() -> None:
    assert labels({3: "a", 1: "a", 2: "b"}) == {1: "a", 2: "b", 3: "a/2"}
    run = Run(names={1: "a", 2: "a"})
    for number in (1, 2, 2, 7):
        run.conduct.called(IntentKind.PLACE, 0, number)
    found = run.sums.now(None, (), NOW_NS)
    assert found.strategies == {"a": (1, 0, 0), "a/2": (2, 0, 0), "7": (1, 0, 0)}
    other = Run(names={1: "a", 2: "a"})
    other.sums.take_up(found)
    assert other.sums.now(found, (), NOW_NS) == found


def test_a_sum_that_no_record_could_hold() -> None:
    run = Run()
    for _ in range(3):
        run.tally.add(1, 0, 1, 1, VALUE_MAX, NOW_NS)
    found = run.sums.now(None, (), NOW_NS)
    assert found.gross_paise == VALUE_MAX and read(json.loads(json.dumps(packed(found)))) == found
    run.tally.carry(3 * VALUE_MAX)
    assert run.tally.gross_paise == 4 * VALUE_MAX


def test_the_day_is_indias() -> None:
    found = Run().sums.now(None, (), NOW_NS)
    assert found.day == "2027-01-15" and of_today(found, REAL0)
    midnight_ns = 1_799_951_400 * S  # 2027-01-15 00:00 in India
    assert of_today(found, midnight_ns) and not of_today(found, midnight_ns - 1)


def test_losses_before_and_now_are_counted_together() -> None:
    run = Run()
    run.sums.take_up(msgspec.structs.replace(FULL, paused_until_ns=0, drawdown="", cooling=()))
    assert run.guards.paused_ns(NOW_NS) == 0
    words = {"guard": "closed", "strategy": 1, "slot": 0, "paise": -1, "peak_paise": 0}
    assert "3 positions closed at a loss" in run.guards.fold(words, NOW_NS)
