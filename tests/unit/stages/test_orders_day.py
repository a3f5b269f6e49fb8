"""What is of the day goes on over stops and starts of the engine, whether the account was flat or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from orders_world import PX, S, World, filled, instruments, limits

from kite_hft._tally import Tally
from kite_hft.layout import IntentKind, Side
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.book import Book
from kite_hft.trading.broker import Conduct
from kite_hft.trading.day_so_far import DaySoFar, Sums, read
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.replay import replay

NAMES = {1: "one", 2: "two"}


def world(conduct: Conduct | None = None, **risk: Any) -> World:
    table = limits() if conduct is None else replace(limits(), per_contract=conduct)
    return World(config=OrdersConfig(table, RiskLimits(**risk)), more={"strategy_names": NAMES}).start()


def told(found: World) -> DaySoFar:
    """By the END record, which is the last one."""
    assert found.journal.records[-1].kind is Kind.END
    return read(found.journal.records[-1].data()["day"])


def stop(found: World) -> DaySoFar:
    found.stage.begin_stop(found.clock.mono)
    found.run(5)
    found.stage.close()
    return told(found)


def by_records(records: list[Record], found: World) -> DaySoFar:
    """As a run that died is read: nothing but its records."""
    book = Book(instruments())
    state = replay([r for r in records if r.kind is not Kind.END], book, instruments(), 0)
    risk, now_ns = found.config.risk, found.clock.real_ns()
    sums = Sums(Tally(risk), Guards(risk), state.conduct, instruments(), NAMES, 0)
    sums.recount(state.day, state.openings, state.guards)
    return sums.now(state.day, state.runs, now_ns)


def next_run(
    old: World, day: DaySoFar | None, net_paise: int = 0, history: list[Record] | None = None, **more: Any
) -> World:
    """Another run on this day; the account is as the last one left it."""
    old.clock.advance(S)
    return World(
        broker=old.broker, clock=old.clock, config=old.config, tags=Tags("abc", old.tags.run + 1),
        history=history or [],
        more={"strategy_names": NAMES, "day_so_far": day, "day_net_paise": net_paise} | more,
    ).start()  # fmt: skip


def again(old: World) -> World:
    """The process of `old` died, and another one of its run was started."""
    old.clock.advance(S)
    more = {**old.more, "day_so_far": None, "restarted": True}
    return World(
        broker=old.broker, clock=old.clock, config=old.config, tags=old.tags, journal=old.journal,
        history=list(old.journal.records), more=more,
    ).start()  # fmt: skip


def lose(found: World, seq: int, **more: Any) -> None:
    """Buy at 100, sell at 99: 10 rupees."""
    found.send(seq, qty=10, **more)
    filled(found, 10)
    found.send(seq + 1, side=Side.SELL, qty=10, px=PX - 100, **more)
    filled(found, 10, px=PX - 100)
    found.run(0.3)


def test_all_that_was_opened_today_counts_on() -> None:
    found = world(max_gross_notional=2_500.0)
    lose(found, 1)
    later = next_run(found, stop(found))
    assert later.stage.gate.tally.gross_paise == 100_000
    later.send(1, qty=10)
    assert later.status(1) in WORKING and later.stage.gate.tally.gross_paise == 200_000
    later.send(2, qty=6)
    assert later.reason(2) == "CAPITAL"
    later.send(3, kind=IntentKind.CANCEL, target_seq=1)
    later.run(1)
    third = next_run(later, stop(later))
    third.send(1, qty=6)
    assert third.reason(1) == "CAPITAL", "over two stops"


def test_messages_and_trades_count_on() -> None:
    found = world(Conduct(5, 2.0, 3.0, 100, 200))
    for seq in (1, 3):
        found.send(seq, qty=seq)
        found.send(seq + 1, kind=IntentKind.CANCEL, target_seq=seq)
        found.run(1)
    day = stop(found)
    assert day.contracts == {instruments()[0].token: (4, 0, 0)} and day.strategies == {"one": (4, 0, 0)}
    later = next_run(found, day)
    later.send(1, qty=5)
    assert later.status(1) in WORKING, "the fifth message"
    later.send(2, qty=6)
    assert later.reason(2) == "ORDER_TO_TRADE"
    assert next_run(later, None).stage.outbox.conduct.traffic(1, 0)[0].messages == 0, "a day that begins"


def test_the_best_of_the_day_stands_on() -> None:
    """20 rupees won, 10 of them lost; then another 10 in the next run."""
    found = world(max_drawdown=15.0)
    found.send(1, qty=10)
    filled(found, 10)
    found.send(2, side=Side.SELL, qty=10, px=PX + 200)
    filled(found, 10, px=PX + 200)
    found.run(0.3)
    lose(found, 3)
    assert not found.stage.gate.guards.drawdown
    day = stop(found)
    assert day.peak_paise == 2000
    later = next_run(found, day, net_paise=1000)
    assert not later.stage.gate.guards.drawdown
    lose(later, 1)
    later.send(3)
    assert later.reason(3) == "DRAWDOWN"
    third = next_run(later, stop(later), net_paise=0)
    third.send(1)
    assert third.reason(1) == "DRAWDOWN" and "GUARD_TRIPPED" in third.codes(), "a person ends it, no stop"
    third.do("resume", by="me")
    third.send(2)
    assert third.status(2) in WORKING
    third.send(3, kind=IntentKind.CANCEL, target_seq=2)
    third.run(1)
    fourth = next_run(third, stop(third), net_paise=0)
    fourth.send(1)
    assert fourth.status(1) in WORKING, "and it stays ended"


def test_a_drawdown_counts_what_runs_before_have_won_also_when_none_has_told_its_best() -> None:
    later = next_run(
        World(config=OrdersConfig(limits(), RiskLimits(max_drawdown=15.0))), None, net_paise=2000
    )
    lose(later, 1)
    assert not later.stage.gate.guards.drawdown and later.stage.gate.guards.peak_paise == 2000
    lose(later, 3)
    assert later.stage.gate.guards.drawdown


def test_a_drawdown_that_a_person_has_let_pass_does_not_trip_again_after_a_stop() -> None:
    found = world(max_drawdown=15.0)
    lose(found, 1)
    lose(found, 3)
    assert found.stage.gate.guards.drawdown
    found.do("resume", by="me")
    day = stop(found)
    assert (day.peak_paise, day.drawdown) == (-2000, "")
    later = next_run(found, day, net_paise=-2000)
    later.send(1)
    assert later.status(1) in WORKING and "GUARD_TRIPPED" not in later.codes()
    assert by_records(later.journal.records, later).peak_paise == -2000


def test_a_pause_after_losses_goes_on() -> None:
    found = world(stop_losses_max=2, stop_pause_s=60.0, stop_losses_s=600.0)
    lose(found, 1)
    day = stop(found)
    assert len(day.losses_ns) == 1
    later = next_run(found, day)
    lose(later, 1)
    later.send(3, strategy=2, slot=1)
    assert later.reason(3) == "STOP_GUARD", "the second loss"
    third = next_run(later, stop(later))
    third.send(1)
    assert third.reason(1) == "STOP_GUARD"
    assert "GUARD_TRIPPED" in third.codes()
    third.run(60)
    third.send(2)
    assert third.status(2) in WORKING
    third.send(3, kind=IntentKind.CANCEL, target_seq=2)
    third.run(1)
    day = stop(third)
    assert (day.paused_until_ns, day.losses_ns) == (0, ())


def test_a_strategy_cools_down_over_a_stop() -> None:
    found = world(cooldown_s=60.0)
    lose(found, 1)
    later = next_run(found, stop(found))
    later.send(1)
    assert later.reason(1) == "COOLDOWN"
    later.send(1, strategy=2)
    assert later.order(1, 2).status in WORKING
    later.run(60)
    later.send(2)
    assert later.status(2) in WORKING


@pytest.mark.parametrize("dies", [False, True])
def test_the_records_tell_what_the_end_would_have_told(dies: bool) -> None:
    """Orders, changes, cancels, fills in parts, losses, refusals; over runs, with and without a death."""
    risk = {"cooldown_s": 600.0, "stop_losses_max": 3, "stop_pause_s": 600.0, "max_drawdown": 25.0}
    found = world(**risk, stop_losses_s=3600.0)
    day: DaySoFar | None = None
    for _ in range(3):
        found.send(3, strategy=2, slot=1, qty=7)
        filled(found, 3)
        found.send(4, strategy=2, kind=IntentKind.MODIFY, target_seq=3, qty=9, px=PX - 5)
        if dies:
            found = again(found)
        found.send(5, strategy=2, kind=IntentKind.CANCEL, target_seq=3)
        found.run(1)
        found.send(6, slot=99)
        found.send(7, strategy=2, side=Side.SELL, slot=1, qty=3)
        filled(found, 3)
        lose(found, 8)
        before, day = day, stop(found)
        assert by_records(found.journal.records, found) == day
        assert day.runs == tuple(range(7, found.tags.run + 1))
        if before is not None:
            assert day.contracts[instruments()[0].token] > before.contracts[instruments()[0].token]
        found.clock.advance(700 * S)  # what cooled down is over
        found = next_run(found, day, net_paise=-1000 * len(day.runs))
    assert day is not None and day.gross_paise > 300_000 and day.peak_paise == 0 and day.drawdown


def test_a_run_that_goes_on_with_another_one_counts_everything_once() -> None:
    """A run in between, of another configuration say, was told of it, too."""
    first = world()
    first.send(1, qty=10)
    filled(first, 10)  # and it died with that position
    before = by_records(first.journal.records, first)
    second = next_run(first, before)
    second.send(1, slot=1, qty=10)
    second.send(2, kind=IntentKind.CANCEL, target_seq=1)
    second.run(1)
    day = stop(second)
    assert day.runs == (7, 8) and day.gross_paise == 200_000
    third = next_run(second, day, history=first.journal.records, continues=("100",))
    assert third.stage.gate.tally.gross_paise == 200_000
    assert third.stage.outbox.conduct.traffic(1, 0)[1].messages == 3
    assert stop(third).runs == (7, 8, 9)
    other = msgspec.structs.replace(day, runs=(8,), gross_paise=100_000, contracts={}, strategies={})
    third = next_run(second, other, history=first.journal.records, continues=("100",))
    assert third.stage.gate.tally.gross_paise == 200_000, "of the first one it knew nothing"
