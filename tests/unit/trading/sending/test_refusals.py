"""A flood of refusals: each is told, few have records of their own, and nothing grows with the others."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, S, World, intent, limits

from kite_hft.layout import IntentKind, OrderStatus, Reason, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.numbering import next_seqs
from kite_hft.trading.sending import refusals
from kite_hft.trading.sending.refusals import Refusals

WIDE = RiskLimits(
    max_working_orders=10**6, max_exposure=1e12, max_position_size=1e12, period_orders=10**6,
    period_quantity=10**9, period_value=1e15, repeats_max=10**6,
)  # fmt: skip
COLLAR = "PRICE_COLLAR"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small numbers, so that the tests are quick."""
    monkeypatch.setattr(refusals, "PER_SECOND", 5)
    monkeypatch.setattr(refusals, "PER_DAY", 12)
    monkeypatch.setattr(refusals, "ORDERS_KEPT", 10)


def records(world: World) -> list[dict[str, Any]]:
    return [record.data() for record in world.journal.records if record.kind is Kind.REFUSED]


def flood(world: World, first: int, n: int, **words: Any) -> None:
    for seq in range(first, first + n):
        world.wish(seq, **{"px": 3 * PX} | words)
    while world.intents.rows:
        world.step()


def again(world: World) -> World:
    world.broker.ready.clear()
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(world.journal.records),
        config=world.config, more={"restarted": True, "counted": dict(world.stage.outbox.totals)},
    )  # fmt: skip


def test_each_is_told_few_are_written_and_the_rest_is_one_number_a_second() -> None:
    world = World().start()
    world.quote()
    flood(world, 1, 100)
    told = [event for event in world.told if event["reason"] == Reason.PRICE_COLLAR]
    assert [int(event["strategy_seq"]) for event in told] == list(range(1, 101))
    assert [r["seq"] for r in records(world)[:5]] == [1, 2, 3, 4, 5]
    world.run(2.0)
    rest = records(world)[5:]
    assert sum(r["count"] for r in rest) == 95 and len(rest) <= 2
    assert rest[-1]["seq"] == 100 and rest[-1]["reason"] == COLLAR and "off 10000" in rest[-1]["text"]
    assert "WAITING" not in world.journal.kinds()
    totals = world.stage.outbox.totals
    assert totals["refused"] == totals["intents"] == 100 and world.stage.outbox.refused == {COLLAR: 100}


def test_one_second_more_and_a_day() -> None:
    world = World().start()
    for n in range(4):
        world.quote()
        flood(world, 1 + 10 * n, 10)
        world.run(1.0)
    own = [r["seq"] for r in records(world) if "count" not in r]
    assert own == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 21, 22], "five a second, twelve a day"
    assert sum(r.get("count", 1) for r in records(world)) == 40
    world.quote()
    flood(world, 1, 2, strategy=2)
    assert [r["seq"] for r in records(world) if r["strategy"] == 2] == [1, 2], "each strategy has its own"


def test_a_restart_counts_the_same_and_no_number_is_used_twice() -> None:
    world = World().start()
    world.quote()
    flood(world, 1, 100)
    world.run(2.0)
    fresh = again(world).start()
    assert fresh.stage.outbox.refused == {COLLAR: 100}
    assert fresh.stage.outbox.totals["refused"] == fresh.stage.outbox.totals["intents"] == 100
    assert fresh.stage.intake.last_seq[1] == 100 and next_seqs([world.journal.records]) == {1: 101}
    fresh.send(100)
    assert records(fresh)[-1]["reason"] == "DUPLICATE_INTENT"
    for n in range(5):
        fresh.run(1.0)
        fresh.quote()
        flood(fresh, 101 + 10 * n, 10)
    own = [r for r in records(fresh) if "count" not in r]
    assert len(own) == 12, "the day's count goes on"


def test_orders_that_find_the_queue_full_are_forgotten_in_the_end() -> None:
    world = World(config=OrdersConfig(limits(), risk=WIDE)).start()
    world.stage.desk.throttle._entries_max = 20
    world.quote()
    flood(world, 1, 300, px=PX)
    book = world.stage.book
    assert len(book.orders) <= 8 + 20 + 10 and book.by_strategy(1, 100) is None
    assert book.by_strategy(1, 300) is not None and world.status(300) is OrderStatus.REFUSED
    told = [e["strategy_seq"] for e in world.told if e["reason"] == Reason.THROTTLE_QUEUE_FULL]
    assert len(told) == world.stage.outbox.totals["refused"] >= 272 and len(set(told)) == len(told)
    assert len([row for row in world.order_rows if row["status"] == "REFUSED"]) == 5
    world.send(100, px=PX)
    assert world.stage.outbox.refused["DUPLICATE_INTENT"] == 1
    world.send(301, kind=IntentKind.CANCEL, target_seq=100)
    assert world.reason(301) == "UNKNOWN_ORDER"


def test_an_intent_that_waits_has_a_record_of_its_end_whatever_else_comes() -> None:
    """A process that comes later must not take it up again."""
    world = World(config=OrdersConfig(limits(), risk=WIDE, entry_wait_s=0.5)).start()
    world.quote()
    flood(world, 1, 30, px=PX - 5)
    world.quote()
    flood(world, 31, 50)
    world.run(2.0)
    waiting = {r.data()["seq"] for r in world.journal.records if r.kind is Kind.WAITING}
    ended = {r["seq"] for r in records(world) if "count" not in r}
    sent = {r.data()["seq"] for r in world.journal.records if r.kind is Kind.INTENT}
    assert waiting and waiting <= ended | sent
    fresh = again(world)
    fresh.stage.start()
    assert not fresh.stage._found.waiting


def test_the_end_of_a_run_leaves_no_number_out() -> None:
    world = World().start()
    world.quote()
    flood(world, 1, 20)
    world.run(0.2)
    world.quote()
    flood(world, 21, 10)  # in the second that has its record
    world.stage.begin_stop(world.clock.mono)
    world.stage.close()
    assert sum(r.get("count", 1) for r in records(world)) == 30
    assert world.journal.kinds()[-1] == "END"


def test_what_the_engine_does_itself_is_never_a_number() -> None:
    """Slices and exits that we keep: whoever made them asks the book."""
    world = World(config=OrdersConfig(limits(), risk=WIDE)).start()
    written: list[Any] = []
    made = Refusals(lambda *record: bool(written.append(record)) or True, world.stage.book)
    for n in range(20):
        made.fresh = (1, ENGINE_SEQ + n)
        assert made.record(intent(ENGINE_SEQ + n, side=Side.SELL), Reason.CIRCUIT, "", 5 * S)
    assert len(written) == 20
