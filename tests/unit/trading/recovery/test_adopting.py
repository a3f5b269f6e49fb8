"""Orders that no intent made: adopted ones, the broker's slices, orders that the journal has lost."""

from __future__ import annotations

from typing import Any

from orders_world import Queue, World, filled, ok

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import OrderStatus, Product
from kite_hft.memory.journal import Kind
from kite_hft.trading.intents import ENGINE_SEQ, Tags
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.recovery.adopting import adopt, opens

OTHER_RUN = Tags("abc", 99)


def again(world: World, records: list[Any] | None = None, **more: Any) -> World:
    history = list(world.journal.records) if records is None else records
    world.journal.records[:] = history
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, history=list(history),
        intents=Queue(), more={"restarted": True} | more,
    )  # fmt: skip


def test_an_order_that_the_journal_has_lost_is_adopted_halts_and_its_number_is_never_used_again() -> None:
    world = World().start()
    world.send(1)
    world.send(2, slot=1)
    lost = [r for r in world.journal.records if r.data().get("no") != 2]
    run = again(world, lost).start()
    assert "not in the journal" in run.stage.outbox.halted and "ORDER_ADOPTED" in run.codes()
    adopted = [o for o in run.stage.book.orders.values() if o.strategy == EXTERNAL]
    assert [(o.status, o.tag) for o in adopted] == [(OrderStatus.OPEN, run.tags.tag(2))]
    assert run.stage.desk.last_order_no >= 2
    assert run.stage.report()["recovery"]["broker"]["orders adopted"] == 1


def test_so_is_one_that_has_filled_already_and_its_shares_count() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    run = again(world, world.journal.records[:1]).start()
    assert "not in the journal" in run.stage.outbox.halted
    assert run.stage.book.standing(EXTERNAL, 0, Product.MIS).quantity == 10
    assert run.stage.book.by_id(world.row()["order_id"]).status is OrderStatus.COMPLETE


def test_an_order_of_a_run_that_is_not_continued_is_adopted_without_a_halt() -> None:
    world = World().start()
    world.send(1)
    tag = OTHER_RUN.tag(5)
    world.broker.rows["z"] = world.row() | {"order_id": "z", "tag": tag, "tags": [tag]}
    world.run(3.0)
    assert not world.stage.outbox.halted and "ORDER_ADOPTED" in world.codes()


def test_of_a_run_that_is_continued_it_halts() -> None:
    world = World().start()
    world.send(1)
    run = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records[:1]), intents=Queue(),
        tags=Tags("abc", 8), more={"continues": ("101500",)},
    ).start()  # fmt: skip
    assert "not in the journal" in run.stage.outbox.halted


def test_an_adopted_order_keeps_its_number_over_restarts_whatever_the_order_of_rows() -> None:
    world = World().start()
    world.send(1)
    for name, number in (("b", 5), ("a", 6)):
        tag = OTHER_RUN.tag(number)
        world.broker.rows[name] = world.row(0) | {"order_id": name, "tag": tag, "tags": [tag]}
    world.run(3.0)
    numbers = {o.order_id: o.order_no for o in world.stage.book.orders.values()}
    assert numbers["a"] < numbers["b"], "by the broker's id, not by the place in his book"
    world.send(2, slot=1)
    run = again(world).start()
    assert {o.order_id: o.order_no for o in run.stage.book.orders.values()} == numbers | {
        run.order(2).order_id: run.order(2).order_no
    }


def slices(world: World) -> None:
    """The broker has made two orders of ours of 10; the whole is no order any more."""
    whole = world.broker.rows.pop(world.row()["order_id"])
    for name, quantity, done in (("s1", 6, 6), ("s2", 4, 0)):
        world.broker.rows[name] = whole | {
            "order_id": name, "quantity": quantity, "filled_quantity": done, "average_price": 100.0,
            "status": "COMPLETE" if done == quantity else "OPEN",
            "tags": ["autoslice", f"autoslice:{whole['order_id']}", whole["tag"]],
        }  # fmt: skip


def test_slices_of_the_brokers_making_belong_to_their_strategy() -> None:
    world = World().start()
    world.send(1)
    slices(world)
    world.run(3.0)
    parts = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [(o.order_id, o.quantity, o.filled, o.strategy) for o in parts] == [
        ("s1", 6, 6, 1),
        ("s2", 4, 0, 1),
    ]
    assert world.status(1) is OrderStatus.CANCELLED and world.quantity() == 6
    assert world.stage.book.worst_case(0) == 10 and not world.stage.outbox.halted
    assert "EXTERNAL_ORDER" not in world.codes()


def test_slices_stand_in_the_journal() -> None:
    world = World().start()
    world.send(1)
    slices(world)
    world.run(3.0)
    run = again(world)
    before = len(run.journal.records)
    run.start()
    assert run.quantity() == 6 and run.stage.book.worst_case(0) == 10
    assert {o.order_id: o.order_no for o in run.stage.book.orders.values()} == {
        o.order_id: o.order_no for o in world.stage.book.orders.values()
    }
    written = {r.kind for r in run.journal.records[before:]}
    assert not written & {Kind.REPORT, Kind.RESOLVED, Kind.TRADE}


def protected(held: int = 10, **more: Any) -> World:
    """The account holds `held`; a stop of a run that is not continued lies at the broker."""
    world, tag = World(more=more), OTHER_RUN.tag(3)
    share = {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1}
    if held:
        world.broker.held = [share | {"quantity": held, "product": "MIS", "average_price": 100.0}]
    world.broker.rows["stop"] = share | {
        "order_id": "stop", "status": "TRIGGER PENDING", "quantity": 10, "transaction_type": "SELL",
        "order_type": "SL-M", "product": "MIS", "filled_quantity": 0, "pending_quantity": 10,
        "average_price": 0, "price": 0.0, "trigger_price": 99.0, "tag": tag, "tags": [tag],
    }  # fmt: skip
    return world.start()


def beside(world: World, name: str, quantity: int, side: str = "SELL") -> None:
    """One more order of that run: a LIMIT."""
    tag = OTHER_RUN.tag(20 + len(world.broker.rows))
    world.broker.rows[name] = world.broker.rows["stop"] | {
        "order_id": name, "status": "OPEN", "order_type": "LIMIT", "price": 104.0, "trigger_price": 0.0,
        "quantity": quantity, "transaction_type": side, "tag": tag, "tags": [tag],
    }  # fmt: skip
    world.run(2.5)


def status(world: World, name: str) -> str:
    return str(world.broker.rows[name]["status"])


def test_the_stop_of_an_earlier_run_stays_at_an_ordinary_end() -> None:
    world = protected()
    beside(world, "target", 10)
    beside(world, "excess", 5)
    beside(world, "entry", 5, "BUY")
    world.stage.begin_stop(world.clock.mono, "cancel")
    world.run(2.0)
    assert status(world, "stop") == "TRIGGER PENDING" and status(world, "target") == "OPEN"
    assert status(world, "excess") == status(world, "entry") == "CANCELLED"
    assert world.stage.idle


def test_and_after_a_kill_for_as_long_as_there_is_something_to_close() -> None:
    latch = [""]
    world = protected(killed=lambda: latch[0])
    latch[0] = "a person"
    world.run(2.0)
    assert status(world, "stop") == "TRIGGER PENDING"
    world.broker.held[0]["quantity"] = 0
    world.run(60.0)
    assert status(world, "stop") == "CANCELLED", "it would open a short"


def test_where_nothing_is_held_a_stop_is_an_entry() -> None:
    world = protected(held=0)
    world.stage.begin_stop(world.clock.mono, "cancel")
    world.run(1.0)
    assert status(world, "stop") == "CANCELLED"


def test_before_the_positions_are_known_it_is_an_exit() -> None:
    world = protected()
    run = again(world)
    run.broker.on_read = lambda request: None  # no answer
    run.stage.start()
    run.run(0.2)
    adopted = adopt_stop(run)
    assert not opens(run.stage.book, adopted)
    run.stage.begin_stop(run.clock.mono, "flatten")
    assert status(world, "stop") == "TRIGGER PENDING"


def adopt_stop(run: World) -> Any:
    report = KITE.parse_orders(ok([run.broker.rows["stop"]]).body)[0]
    return adopt(run.stage.book, report, 99, run.stage._ports.instruments.rows[0], report.tags[0], 0, 0)


def test_closing_everything_leaves_what_protects_others_and_ends() -> None:
    world = protected()
    world.send(1, qty=5)
    filled(world, 5)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(1.0)
    filled(world, 5)
    world.run(5.0)
    assert status(world, "stop") == "TRIGGER PENDING" and world.quantity() == 0
    assert not world.stage.flattening and world.stage.idle


def test_but_not_what_would_sell_ours_a_second_time() -> None:
    world = protected(held=0)
    world.send(1, qty=10)
    filled(world, 10)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(1.0)
    assert status(world, "stop") == "CANCELLED"


def test_delivery_shares_that_are_sold_were_held() -> None:
    world = protected(held=0)
    world.broker.rows["stop"]["product"] = "CNC"
    run = again(world, []).start()
    run.stage.begin_stop(run.clock.mono, "cancel")
    run.run(1.0)
    assert status(run, "stop") == "TRIGGER PENDING"


def adopted_by_update(world: World) -> Any:
    """An order of a run that is not continued, told by the stream; the broker's book lags."""
    tag = OTHER_RUN.tag(5)
    lagging = world.broker.rows.pop(world.row()["order_id"])
    world.broker.rows["z"] = lagging | {"order_id": "z", "tag": tag, "tags": [tag]}
    hidden = world.broker.rows.pop("z")
    world.broker.rows[lagging["order_id"]] = lagging
    world.update(hidden)
    order = world.stage.book.by_id("z")
    assert order is not None and order.strategy == EXTERNAL
    return order


def test_an_adopted_order_that_the_book_has_not_shown_yet_has_not_vanished() -> None:
    world = World().start()
    world.send(1)
    order = adopted_by_update(world)
    world.run(30.0)
    assert "ORDER_VANISHED" not in world.codes()
    world.run(170.0, step_s=0.5)
    assert f"order {order.order_no} (z" in next(a for a in world.alerts if a.startswith("ORDER_VANISHED"))


def test_a_persons_word_about_an_adopted_order_stands_in_the_way_of_no_start() -> None:
    world = World().start()
    world.send(1)
    tag = OTHER_RUN.tag(5)
    world.broker.rows["z"] = world.row() | {"order_id": "z", "tag": tag, "tags": [tag]}
    world.run(3.0)
    order = world.stage.book.by_id("z")
    del world.broker.rows["z"]
    world.run(12.0)
    assert "ORDER_VANISHED" in world.codes()
    name = str(order.order_no)
    world.do("resolve", ask="q", name=name, how="absent", order_id="", by="me")
    world.run(1.0)
    assert order.status is OrderStatus.CANCELLED
    run = again(world).start()
    assert run.stage.book.by_id("z") is None and not run.stage.outbox.halted


def test_a_slice_that_the_book_has_not_shown_yet_has_not_vanished() -> None:
    world = World().start()
    world.send(1)
    whole = world.broker.rows[world.row()["order_id"]]
    tags = ["autoslice", f"autoslice:{whole['order_id']}", whole["tag"]]
    part = whole | {"order_id": "s1", "quantity": 4, "pending_quantity": 4, "tags": tags}
    whole |= {"quantity": 6, "pending_quantity": 6}
    world.update(part)
    world.run(30.0)
    assert "ORDER_VANISHED" not in world.codes() and world.stage.book.by_id("s1") is not None
    run = again(world).start()
    run.run(30.0)
    assert not {"ORDER_VANISHED", "NOT_RECONCILED"} & set(run.codes())
    world.broker.rows["s1"] = part
