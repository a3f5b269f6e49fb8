"""Latches over stops and starts: the loss limit of the day, what a person let pass, and who is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from orders_world import PX, S, World, filled, limits

from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.holds import HALTED, Hold
from kite_hft.trading.ports import OrdersConfig


@dataclass
class Latch:
    """The file, in memory."""

    reason: str = ""

    def kill(self, reason: str, flatten: bool) -> None:
        self.reason = reason

    def unkill(self, by: str) -> None:
        self.reason = ""

    def ports(self) -> dict[str, Any]:
        return {"killed": lambda: self.reason, "kill": self.kill, "unkill": self.unkill}


def loser(latch: Latch, action: str) -> World:
    """Ten shares, bought at 100, and a limit of 100 rupees."""
    config = OrdersConfig(limits(), max_daily_loss_paise=10_000, on_daily_loss=action)
    world = World(config=config, more=latch.ports()).start()
    world.send(1)
    filled(world, 10)
    return world


def again(world: World, latch: Latch) -> World:
    """The next process of the run."""
    return World(
        broker=world.broker, clock=world.clock, history=[*world.history, *world.journal.records],
        config=world.config, more=latch.ports() | {"restarted": True},
    )  # fmt: skip


def fall(world: World, px: int) -> None:
    world.quote(px)
    world.clock.advance(S)
    world.step(3)


def stop(world: World) -> None:
    """In order, with the position still open."""
    world.stage.begin_stop(world.clock.mono)
    world.run(0.5, fresh=False)
    world.stage.close()


def next_run(world: World, latch: Latch, px: int, **more: Any) -> World:
    """The next run of the day, which goes on with this one."""
    fresh = World(
        broker=world.broker, clock=world.clock, history=[*world.history, *world.journal.records],
        config=world.config, more=latch.ports() | {"continues": ["run-1"]} | more,
    )  # fmt: skip
    fresh.stage.start()
    fresh.quote(px)
    fresh.run(3.0, fresh=False)
    assert fresh.stage.active
    return fresh


def losses(world: World) -> list[int]:
    told = [record.data() for record in world.journal.records if record.kind is Kind.GUARD]
    return [data["net_paise"] for data in told if data["guard"] == "daily_loss"]


def test_a_stop_and_a_start_give_no_new_limit() -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    fall(world, PX - 1000)
    assert world.stage.states.reducing
    stop(world)
    fresh = next_run(world, latch, PX - 1000)
    assert "net loss of the day 100.00" in fresh.stage.states.reducing and losses(fresh) == [-10_000]
    fresh.do("resume", by="a person")
    stop(fresh)
    third = next_run(fresh, latch, PX - 1990)
    assert not third.stage.states.reducing, "a person has let the first hundred pass"
    fall(third, PX - 2000)
    assert third.stage.states.reducing


def test_a_limit_that_was_reached_before_a_resume_of_one_strategy_stands() -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    fall(world, PX - 1000)
    world.stage.states.hold(1, "wild")
    world.do("resume", strategy=1, by="a person")
    stop(world)
    assert next_run(world, latch, PX - 1000).stage.states.reducing


def test_a_process_that_died_between_the_record_and_the_latch_trips_again() -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    fall(world, PX - 1000)
    last = max(i for i, r in enumerate(world.journal.records) if r.kind is Kind.GUARD)
    del world.journal.records[last + 1 :]
    fresh = again(world, latch)
    fresh.stage.start()
    fresh.quote(PX - 1000)
    fresh.run(3.0, fresh=False)
    assert fresh.stage.states.reducing


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_kill_that_a_person_ended_while_no_engine_ran_was_let_pass(by_hand: bool) -> None:
    latch = Latch()
    world = loser(latch, "kill")
    fall(world, PX - 1000)
    assert latch.reason
    stop(world)
    if by_hand:
        latch.unkill("a person")
    fresh = next_run(world, latch, PX - 1000)
    assert bool(latch.reason) is not by_hand and losses(fresh) == [], "nothing trips a second time"
    if not by_hand:
        fresh.do("resume", by="a person")
    fall(fresh, PX - 1990)
    assert not latch.reason
    fall(fresh, PX - 2000)
    assert latch.reason


def test_a_kill_that_is_over_lets_no_later_loss_pass() -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    latch.kill("enough", flatten=False)
    world.run(0.5)
    stop(world)
    latch.unkill("a person")
    fresh = next_run(world, latch, PX)
    fall(fresh, PX - 1000)
    assert fresh.stage.states.reducing
    stop(fresh)
    assert next_run(fresh, latch, PX - 1000).stage.states.reducing


def test_nothing_is_judged_before_it_is_known_what_is_held() -> None:
    """Ten were sold by hand while no process ran, and the price has fallen since."""
    latch = Latch()
    world = loser(latch, "kill")
    world.run(0.3)
    fresh = again(world, latch)
    row = world.row() | {
        "order_id": "999", "tag": None, "tags": [], "transaction_type": "SELL", "average_price": 99.5,
        "price": 99.5,
    }  # fmt: skip
    world.broker.rows["999"] = row
    fresh.stage.start()
    for _ in range(40):
        fresh.clock.advance(S // 20)
        fresh.quote(PX - 1500)
        fresh.step()
    assert fresh.stage.active and fresh.quantity() == 0
    assert not latch.reason and losses(fresh) == [], "at 85 nothing of ours was held"


def test_a_stage_that_never_read_the_books_judges_nothing() -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    fresh = again(world, latch)
    fresh.broker.hold = True
    fresh.stage.start()
    fall(fresh, PX - 1500)
    assert losses(fresh) == []
    fresh.stage.close()
    assert losses(fresh) == []


def test_books_that_do_not_agree_keep_no_loss_from_its_limit() -> None:
    """What is held is known; a person has to say what became of one order."""
    latch = Latch()
    world = loser(latch, "kill")
    fresh = again(world, latch)
    fresh.broker.rows.clear()
    fresh.clock.advance(400 * S)
    fresh.stage.start()
    fresh.quote(PX - 1500)
    fresh.run(20.0, fresh=False)
    assert not fresh.stage.active and "NOT_RECONCILED" in fresh.codes()
    assert "DAILY_LOSS" in fresh.codes() and latch.reason and losses(fresh) == [-15_000]


@pytest.mark.parametrize(
    ("kept", "held"), [({}, []), ({1: Hold(HALTED, "wild"), 2: Hold(HALTED, "x")}, [1, 2]), (None, [1])]
)
def test_what_is_kept_of_holds_counts_more_than_an_earlier_runs_journal(
    kept: dict[int, Hold] | None, held: list[int]
) -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    world.stage.states.hold(1, "wild", HALTED)
    stop(world)
    fresh = next_run(world, latch, PX, holds=kept)
    assert sorted(fresh.stage.states.holds) == held
    later = again(fresh, latch)
    later.stage.start()
    assert sorted(later.stage.states.holds) == held, "its journal tells what became of them"


def test_within_a_run_the_journal_knows_of_holds_too() -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    world.stage.states.hold(1, "wild", HALTED)
    fresh = World(broker=world.broker, clock=world.clock, history=list(world.journal.records),
                  config=world.config, more=latch.ports() | {"restarted": True, "holds": {}})  # fmt: skip
    fresh.stage.start()
    assert sorted(fresh.stage.states.holds) == [1]
