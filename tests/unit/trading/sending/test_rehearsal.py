"""A rehearsal walks the way of an order and leaves no trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from express_twins import Watched, state
from orders_world import PX, MemoryJournal, World, filled, intent

from kite_hft.layout import IntentFlag, OrderType, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.intents import Intent
from kite_hft.trading.sending.rehearsal import LAST_SEQ, PREFIX, Rehearsal, RehearsalError


@dataclass
class Nowhere:
    """Keeps what would have left."""

    sent: list[HttpRequest] = field(default_factory=list)
    forgotten: int = 0

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.sent.append(HttpRequest(*request))

    def forget(self) -> None:
        self.forgotten += 1


@dataclass
class Scrap:
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    forgotten: int = 0

    def forget(self) -> None:
        self.forgotten += 1


def lived() -> World:
    """A stage that has sent, and holds, and has orders at work."""
    world = World(broker=Watched()).start()
    world.send(1)
    world.step(3)
    filled(world, 10)
    world.send(2, px=PX - 5)
    world.send(3, slot=1, order_type=OrderType.SL, trigger_px=PX - 5)
    world.send(4, side=Side.SELL, flags=IntentFlag.EXIT, qty=5, px=PX + 5)
    world.step(5)
    world.quote()
    return world


def rehearsal(world: World, passes: Any = None) -> tuple[Rehearsal, Nowhere, Scrap]:
    stage, nowhere, scrap = world.stage, Nowhere(), Scrap()
    made = Rehearsal(
        passes or stage.gate.passes, lambda: "", world.adapter, world.table, world.clock, -1.0, nowhere, scrap
    )
    return made, nowhere, scrap


WISHES = {
    "as the last": {"strategy_seq": 4, "side": Side.SELL, "flags": IntentFlag.EXIT, "qty": 5, "px": PX + 5},
    "an opening": {"strategy_seq": 2, "px": PX - 5},
    "a stop": {"strategy_seq": 3, "slot": 1, "order_type": OrderType.SL, "trigger_px": PX - 5},
    "another instrument": {"strategy_seq": 2, "slot": 4, "qty": 75},
    "with a deadline": {"strategy_seq": 2, "deadline_ns": 1},
}


@pytest.mark.parametrize("name", WISHES)
def test_the_stage_is_as_it_was(name: str) -> None:
    world = lived()
    made, nowhere, scrap = rehearsal(world)
    before = state(world)
    for again in range(1, 4):
        made.walk(intent(**WISHES[name]), world.clock.mono)  # type: ignore[arg-type]
        assert made.walked == len(nowhere.sent) == nowhere.forgotten == scrap.forgotten == again
    assert state(world) == before
    assert [record.kind for record in scrap.journal.records] == [Kind.INTENT] * 3
    assert PREFIX.encode() in nowhere.sent[0].body and world.tags.prefix != PREFIX
    assert not made._book.orders and not made._book.live_orders and not made._gate._placed
    world.send(5, px=PX - 10)
    assert world.order(5).order_no == 5, "its next order is what it would have been"


def test_the_gate_is_asked_for_a_duplicate_alone() -> None:
    world, asked = lived(), []

    def passes(wish: Intent, last_seq: int, now_ns: int) -> object:
        asked.append(last_seq)
        return world.stage.gate.passes(wish, last_seq, now_ns)

    made, _, _ = rehearsal(world, passes)
    made.walk(intent(9, px=PX - 5), world.clock.mono)  # one that would pass
    assert asked == [LAST_SEQ] and made.walked == 1
    made, nowhere, _ = rehearsal(world, lambda *words: object())
    with pytest.raises(RehearsalError, match="passed twice"):
        made.walk(intent(9), world.clock.mono)
    assert not nowhere.sent and not made.walked


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_an_order_that_comes_meanwhile_does_not_wait(looks: int) -> None:
    world, asked = lived(), list[int]()
    nowhere, scrap = Nowhere(), Scrap()

    def came() -> bool:
        asked.append(len(scrap.journal.records))
        return len(asked) == looks + 1

    words = world.stage.gate.passes, lambda: "", world.adapter, world.table, world.clock, -1.0
    made = Rehearsal(*words, nowhere, scrap, came)
    before = state(world)
    made.walk(intent(2, px=PX - 5), world.clock.mono)
    assert len(asked) == looks + 1 and not nowhere.sent and not nowhere.forgotten and not made.walked
    assert asked[-1] == (looks == 2), "before the kill latch is asked, behind it, and behind the record"
    assert state(world) == before and scrap.forgotten == 1
    assert not made._gate._placed and not made._book.orders and not made._book.live_orders
    made.walk(intent(2, px=PX - 5), world.clock.mono)
    assert made.walked == 1, "the next one comes to its end"


def test_what_cannot_be_walked_is_left() -> None:
    world = lived()
    made, nowhere, _ = rehearsal(world)
    made.walk(intent(2, order_type=OrderType.MARKET, px=0), world.clock.mono)
    assert not nowhere.sent and not made.walked
