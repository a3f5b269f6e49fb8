"""Messages, modifications and trades are counted by contract and strategy, over a restart as well."""

from __future__ import annotations

from dataclasses import replace

from orders_world import PX, World, filled, limits

from kite_hft.layout import IntentKind
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate.facts import Traffic
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.conduct import ConductBook, Tally, noise
from kite_hft.trading.sending.evidence import ENTRY, READ, RECOVERED, URGENT, Left

LEVELS = Conduct(messages_min=10, ratio_warn=5, ratio_stop=8, modifications_warn=6, modifications_stop=9)


def test_levels_bind_from_their_numbers_on() -> None:
    assert not noise(Tally(9, 0, 0), LEVELS), "too few to tell"
    assert noise(Tally(10, 0, 0), LEVELS) == "10 messages to 0 trades today: 10 >= 5"
    assert not noise(Tally(14, 0, 3), LEVELS) and noise(Tally(15, 0, 3), LEVELS)
    assert not noise(Tally(9, 5, 9), LEVELS)
    assert noise(Tally(9, 6, 9), LEVELS) == "6 modifications today >= 6"
    assert not noise(Tally(10**6, 10**6, 0), Conduct()), "without levels nothing is noise"


def test_contract_and_strategy_are_apart() -> None:
    book = ConductBook()
    for strategy, slot in ((1, 0), (1, 1), (2, 0)):
        book.called(IntentKind.PLACE, slot, strategy)
    book.called(IntentKind.MODIFY, 0, 1)
    book.traded(0, 2)
    assert book.traffic(1, 0) == (Traffic(3, 1, 1), Traffic(3, 0, 1))
    assert book.traffic(2, 1) == (Traffic(1, 0, 0), Traffic(1, 1, 0))
    told = book.warnings(0, 1, Conduct(1, 3, 9, 99, 99), Conduct(1, 4, 9, 1, 99))
    assert [row.key for row in told] == ["contract 0", "strategy 1"]


def test_the_stage_counts_what_left_and_a_restart_counts_the_same() -> None:
    world = World().start()
    world.send(1, px=PX - 10)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 15, qty=0)
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.send(4)
    filled(world, 10)
    found = world.stage.outbox.conduct.traffic(1, 0)
    assert found == (Traffic(4, 1, 1), Traffic(4, 1, 1))
    again = World(
        broker=world.broker,
        clock=world.clock,
        journal=world.journal,
        history=list(world.journal.records),
        more={"restarted": True},
    ).start()
    assert again.stage.outbox.conduct.traffic(1, 0) == found


def test_each_call_leaves_a_row_and_a_day_begins_with_the_rows_before_it() -> None:
    rows: list[Left] = []
    world = World(more={"on_call": rows.append}).start()
    reads = [row.call for row in rows]
    assert reads[:4] == ["ORDERS", "TRADES", "POSITIONS", "TRIGGERS"] and {r.part for r in rows} == {READ}
    world.send(1, px=PX - 10)
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    calls = [row for row in rows if row.part != READ]
    assert [(row.call, row.part) for row in calls] == [("PLACE", ENTRY), ("CANCEL", URGENT)]
    assert calls[0].name == world.order(1).tag and calls[1].name == world.order(1).order_id
    assert world.stage.outbox.totals["calls_today"] == len(rows)
    assert calls[0].real_ns - calls[0].mono_ns == world.clock.real_ns() - world.clock.mono

    more: list[Left] = []
    other = World(clock=world.clock, more={"on_call": more.append, "calls_left": rows})
    other.stage.start()
    assert other.stage.desk.throttle.placed_today == 1
    assert other.stage.outbox.totals["calls_today"] == len(rows) and not more
    assert other.stage.desk.egress.budget.longest_ns > 0


def test_a_restart_writes_down_what_the_crash_took_from_the_evidence() -> None:
    world = World().start()
    world.send(1, px=PX - 10)
    rows: list[Left] = []
    again = World(
        clock=world.clock,
        broker=world.broker,
        journal=world.journal,
        history=list(world.journal.records),
        more={"restarted": True, "on_call": rows.append},
    )
    again.stage.start()
    assert [(row.call, row.part) for row in rows] == [(RECOVERED, ENTRY)]


def test_noise_warns_a_person_once() -> None:
    table = replace(limits(), per_contract=Conduct(1, 2, 9, 99, 99))
    world = World(config=OrdersConfig(table)).start()
    for seq in range(1, 5):
        world.send(seq, px=PX - 10)
    assert world.codes().count("CONDUCT") == 1


def test_where_a_trade_or_a_message_is_one() -> None:
    every = Conduct(messages_min=0, ratio_warn=1)
    assert noise(Tally(), every) == "" and noise(Tally(1, 0, 0), every).startswith("1 messages to 0 trades")
    assert noise(Tally(1, 0, 2), every) == "", "half a message to a trade"
