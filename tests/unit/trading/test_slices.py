"""An intent above the freeze quantity: several orders, one order to its strategy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from orders_world import PX, Answer, S, World, filled, instruments, limits

from kite_hft.layout import EventKind, IntentKind, OrderStatus, OrderType, Product, Reason, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.intents import intents_of
from kite_hft.trading.order import Change, Order
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.slices import family_events, of_intent, slices

FREEZE, LOT = 1800, 75
WIDE = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9, max_order_quantity=100_000)


@pytest.mark.parametrize(
    ("quantity", "freeze", "lot", "parts"),
    [
        (1800, 1800, 75, [1800]),
        (1875, 1800, 75, [1800, 75]),
        (3600, 1800, 75, [1800, 1800]),
        (4000, 1000, 300, [900, 900, 900, 900, 400]),
        (10**6, 0, 1, [10**6]),
    ],
)
def test_parts_are_multiples_of_the_lot_within_the_freeze_quantity(
    quantity: int, freeze: int, lot: int, parts: list[int]
) -> None:
    assert slices(quantity, freeze, lot) == parts


def sliced() -> World:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    world.send(1, slot=3, qty=4500, product=Product.NRML)
    world.step(4)
    return world


def told(world: World, seq: int) -> list[tuple[str, int, int, int, int]]:
    return [
        (
            EventKind(e["kind"]).name,
            int(e["qty"]),
            int(e["filled_qty"]),
            int(e["fill_qty"]),
            int(e["position"]),
        )
        for e in world.told
        if e["strategy_seq"] == seq
    ]


def test_three_orders_are_one_to_the_strategy() -> None:
    world = sliced()
    orders = list(world.stage.book.orders.values())
    assert [o.quantity for o in orders] == [1800, 1800, 900]
    assert [o.parent for o in orders] == [0, 1, 1] and world.order(1) is orders[0]
    assert world.stage.outbox.totals["slices"] == 3
    assert len({form["tag"] for form in world.broker.rows.values()}) == 3
    rows = list(world.broker.rows.values())
    world.update(rows[1] | {"filled_quantity": 1800, "status": "COMPLETE", "average_price": 100})
    world.update(rows[0] | {"filled_quantity": 1800, "status": "COMPLETE", "average_price": 100})
    world.update(rows[2] | {"filled_quantity": 900, "status": "COMPLETE", "average_price": 100})
    assert told(world, 1) == [
        ("SENT", 4500, 0, 0, 0),
        ("ACCEPTED", 4500, 0, 0, 0),
        ("FILL", 4500, 1800, 1800, 1800),
        ("FILL", 4500, 3600, 1800, 3600),
        ("FILL", 4500, 4500, 900, 4500),
        ("COMPLETE", 4500, 4500, 0, 4500),
    ]
    assert not [e for e in world.told if e["strategy_seq"] not in (0, 1)]


def test_a_slice_that_is_rejected_makes_the_whole_end_cancelled() -> None:
    world = sliced()
    rows = list(world.broker.rows.values())
    world.update(rows[0] | {"status": "REJECTED", "status_message": "RMS"})
    assert told(world, 1)[-1][0] == "ACCEPTED"
    world.update(rows[1] | {"filled_quantity": 1800, "status": "COMPLETE", "average_price": 100})
    world.update(rows[2] | {"filled_quantity": 900, "status": "COMPLETE", "average_price": 100})
    assert told(world, 1)[-1] == ("CANCELLED", 4500, 2700, 0, 2700)


def test_the_end_of_a_slice_tells_how_the_others_stand() -> None:
    world = sliced()
    rows = list(world.broker.rows.values())
    world.update(rows[1] | {"status": "OPEN"})
    world.update(rows[2] | {"status": "OPEN"})
    assert OrderStatus(int(world.told[-1]["status"])) is OrderStatus.PENDING, "the first one is not seen yet"
    world.update(rows[0] | {"status": "REJECTED", "status_message": "RMS"})
    assert told(world, 1)[-1][0] == "UPDATED"
    assert OrderStatus(int(world.told[-1]["status"])) is OrderStatus.OPEN


def test_a_slice_that_is_accepted_last_tells_how_the_whole_stands() -> None:
    world, calls = World(config=OrdersConfig(limits(), WIDE)).start(), list[str]()

    def call(request: HttpRequest) -> Answer:
        answer = world.broker.accept(request)
        calls.append(request.path)
        return answer if len(calls) > 1 else None  # the first one's answer is late

    world.broker.on_call = call
    world.send(1, slot=3, qty=4500, product=Product.NRML)
    world.step(4)
    rows = list(world.broker.rows.values())
    for row in (rows[1], rows[2], rows[0]):
        world.update(row | {"status": "OPEN"})
    assert [kind for kind, *_ in told(world, 1)].count("ACCEPTED") == 1
    last = [event for event in world.told if event["strategy_seq"] == 1][-1]
    assert (EventKind(last["kind"]), OrderStatus(int(last["status"]))) == (
        EventKind.UPDATED,
        OrderStatus.OPEN,
    )


def test_a_cancel_of_the_whole_cancels_every_slice() -> None:
    world = sliced()
    world.send(2, kind=IntentKind.CANCEL, slot=3, target_seq=1)
    world.step(4)
    assert len(world.broker.calls("DELETE")) == 3


def test_more_than_the_broker_lets_be_sliced_is_refused_whole() -> None:
    world = World(config=OrdersConfig(limits(), WIDE, slices_max=2)).start()
    world.send(1, slot=3, qty=3675, product=Product.NRML)
    assert world.reason(1) == "MAX_ORDER_QUANTITY" and not world.broker.calls("POST")
    world.send(2, slot=3, qty=3600, product=Product.NRML)
    world.step(2)
    assert len(world.broker.calls("POST")) == 2


@pytest.mark.parametrize(("room", "passes"), [(4, True), (3, False)])
def test_each_slice_takes_the_room_of_a_working_order(room: int, passes: bool) -> None:
    world = World(config=OrdersConfig(limits(), replace(WIDE, max_working_orders=room))).start()
    world.send(1, px=PX - 20)
    world.send(2, slot=3, qty=4500, product=Product.NRML)
    world.step(4)
    if passes:
        assert world.stage.book.live_count() == 4
        world.send(3, slot=1)
        assert world.reason(3) == "MAX_WORKING_ORDERS"
    else:
        assert world.reason(2) == "MAX_WORKING_ORDERS" and world.stage.book.live_count() == 1


def test_an_exit_in_slices_passes_though_there_is_no_room() -> None:
    world = World(config=OrdersConfig(limits(), replace(WIDE, max_working_orders=3))).start()
    for seq in (1, 2):
        world.send(seq, slot=3, qty=FREEZE, product=Product.NRML)
        filled(world, FREEZE)
    for seq in (3, 4, 5):
        world.send(seq, px=PX - 20)
    world.send(6, slot=3, side=Side.SELL, qty=2 * FREEZE, product=Product.NRML)
    world.step(4)
    assert world.stage.book.live_count() == 5 and len(world.stage.book.family(world.order(6))) == 2


def test_slices_that_wait_are_judged_again_for_the_room_of_all_that_live() -> None:
    world = World(config=OrdersConfig(limits(), replace(WIDE, max_working_orders=3), entry_wait_s=20)).start()
    world.send(1, px=PX)
    filled(world, 10)
    world.stage.desk.throttle._cool_until_ns = world.clock.mono + 3 * S // 2
    world.send(2, slot=3, qty=4500, product=Product.NRML)
    world.send(3, side=Side.SELL, px=PX + 20)  # an exit needs no room, and takes some
    for _ in range(40):
        world.clock.advance(50_000_000)
        world.quote()
        world.step()
    first, *others = world.stage.book.family(world.order(2))
    assert first.status is OrderStatus.REFUSED and "1 live orders + 3 slices" in first.message
    assert [order.quantity for order in others] == [1800, 900] and world.stage.book.live_count() == 3


def test_slices_come_out_of_the_journal_as_one() -> None:
    world = sliced()
    again = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    assert [len(m) for m in again.stage.book.families.values()] == [3]
    again.send(2, qty=1)
    assert again.status(2) is OrderStatus.PENDING


def test_exits_of_a_large_position_are_sliced_too() -> None:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    world.send(1, slot=3, qty=1800, product=Product.NRML)
    filled(world, 1800)
    world.send(2, slot=3, qty=900, product=Product.NRML)
    filled(world, 900)
    words = {"slot": 3, "product": Product.NRML, "order_type": 0, "side": 0, "qty": 0, "px": 0, "validity": 0}
    world.send(3, kind=IntentKind.EXITS, trigger_px=PX - 100, **words)
    world.step(3)
    stops = [o for o in world.stage.book.live_orders.values()]
    assert [(o.quantity, o.side, o.order_type) for o in stops] == [
        (1800, Side.SELL, OrderType.SLM),
        (900, Side.SELL, OrderType.SLM),
    ]


def first_filled(world: World) -> None:
    row = world.row(0)
    row |= {"filled_quantity": 1800, "status": "COMPLETE", "average_price": 100}
    world.update(row)


def test_when_the_first_slice_has_ended_the_rest_is_cancelled_all_the_same() -> None:
    world = sliced()
    first_filled(world)
    world.send(2, kind=IntentKind.CANCEL, slot=3, target_seq=1)
    world.run(2.5)
    assert len(world.broker.calls("DELETE")) == 2 and not world.kinds(2)
    assert told(world, 1)[-1] == ("CANCELLED", 4500, 1800, 0, 1800)
    world.send(3, kind=IntentKind.CANCEL, slot=3, target_seq=1)
    assert world.reason(3) == "ORDER_NOT_OPEN"


def test_and_modified_with_all_slices_that_live_within_the_cap_of_each() -> None:
    world = sliced()
    first_filled(world)
    world.send(2, kind=IntentKind.MODIFY, slot=3, target_seq=1, qty=0, px=PX + 10)
    world.step(2)
    assert [row["price"] for row in world.broker.rows.values()] == [100.0, 100.1, 100.1]
    world.order(1)
    last = list(world.stage.book.orders.values())[-1]
    last.modifications = limits().modifications_per_order
    world.send(3, kind=IntentKind.MODIFY, slot=3, target_seq=1, qty=0, px=PX + 20)
    assert world.reason(3) == "MODIFICATION_CAP"


def test_and_not_modified_while_one_is_on_its_way() -> None:
    """It would stay at the old price, and its strategy would not know."""
    world, calls = World(config=OrdersConfig(limits(), WIDE)).start(), list[str]()

    def call(request: HttpRequest) -> Answer:
        answer = world.broker.accept(request)
        calls.append(request.path)
        return answer if len(calls) != 3 else None  # the last one's answer is late

    world.broker.on_call = call
    world.send(1, slot=3, qty=4500, product=Product.NRML)
    world.step(4)
    change = {"kind": IntentKind.MODIFY, "slot": 3, "target_seq": 1, "qty": 0, "px": PX + 10}
    world.send(2, **change)
    assert world.reason(2) == "ORDER_NOT_OPEN" and not world.broker.calls("PUT")
    world.update(world.row() | {"status": "OPEN"})
    world.send(3, **change)
    world.step(2)
    assert [row["price"] for row in world.broker.rows.values()] == [100.1] * 3


def test_and_not_while_one_waits_for_its_turn() -> None:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    for number in range(1, 7):
        world.send(number, qty=1)
    world.wish(7, slot=3, qty=4500, product=Product.NRML)  # its last slice finds the window full
    world.step()
    for row in list(world.broker.rows.values()):
        world.update(row | {"status": "OPEN"})
    slices = world.stage.book.family(world.order(7))
    assert {order.status for order in slices} == {OrderStatus.OPEN, OrderStatus.NEW}
    world.wish(8, kind=IntentKind.MODIFY, slot=3, target_seq=7, qty=0, px=PX + 10)
    world.step()
    assert world.reason(8) == "ORDER_NOT_OPEN" and not world.broker.calls("PUT")


def test_a_waiting_cancel_is_seen_through_for_all_of_them_after_a_restart() -> None:
    world = sliced()
    first_filled(world)
    world.wish(2, kind=IntentKind.CANCEL, slot=3, target_seq=1)
    intent = intents_of(world.intents.rows[0].tobytes(), 1)[0]
    world.stage.desk.journal_waiting([(intent, True)])
    again = World(
        broker=world.broker, clock=world.clock, history=list(world.journal.records), more={"restarted": True}
    ).start()  # fmt: skip
    again.run(3.0)
    assert len(world.broker.calls("DELETE")) == 2


def test_a_partial_exit_makes_room_in_a_sliced_stop() -> None:
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    world.send(1, slot=3, qty=3750, product=Product.NRML)
    for row in list(world.broker.rows.values()):
        row |= {"filled_quantity": row["quantity"], "status": "COMPLETE", "average_price": 100}
        world.update(row)
    words = {"slot": 3, "product": Product.NRML, "order_type": 0, "side": 0, "qty": 0, "px": 0, "validity": 0}
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 100, **words)
    world.run(2.0)
    world.send(3, slot=3, product=Product.NRML, side=Side.SELL, qty=900)
    world.run(6.0)
    assert world.status(3) is OrderStatus.OPEN and not world.stage.outbox.refused
    live = [o for o in world.stage.book.live_orders.values() if o.side == Side.SELL]
    assert sum(o.quantity for o in live) == 3750
    assert sum(o.quantity for o in live if o.order_type == OrderType.SLM) == 2850


def test_a_cancel_of_the_whole_leaves_ended_slices_alone() -> None:
    """A wish to cancel what has ended would never be seen through, and the stage never be idle."""
    world = sliced()
    rows = list(world.broker.rows.values())
    world.update(rows[0] | {"filled_quantity": 1800, "status": "COMPLETE", "average_price": 100})
    world.send(2, kind=IntentKind.CANCEL, slot=3, target_seq=1)
    world.step(4)
    for row in rows[1:]:
        world.update(row | {"status": "CANCELLED"})
    assert len(world.broker.calls("DELETE")) == 2 and not world.stage.desk.cancelling


def test_slices_of_unknown_fate_are_told_once_all_are_found() -> None:
    world = sliced()
    orders = list(world.stage.book.orders.values())
    members = [replace(order, status=OrderStatus.PENDING) for order in orders[1:]]
    change = Change(orders[0], OrderStatus.AMBIGUOUS, 0, 0, False)
    events = family_events(change, [orders[0], *members], Reason.NONE, 0, instruments()[3], 0)
    assert [EventKind(int(e["kind"][0])) for e in events] == [EventKind.ACCEPTED]
    members[0].status = OrderStatus.AMBIGUOUS
    events = family_events(change, [orders[0], *members], Reason.NONE, 0, instruments()[3], 0)
    assert not events
    members[0].status = OrderStatus.PENDING
    gone = Change(replace(orders[0], status=OrderStatus.ABSENT), OrderStatus.AMBIGUOUS, 0, 0, False)
    events = family_events(gone, [gone.order, *members], Reason.ABSENT, 0, instruments()[3], 0)
    told = [(EventKind(int(e["kind"][0])), OrderStatus(int(e["status"][0]))) for e in events]
    assert told == [(EventKind.UPDATED, OrderStatus.PENDING)]  # the others live, and nothing is in doubt


def test_a_cancel_that_a_crash_cut_short_is_seen_through_for_every_slice() -> None:
    world = sliced()
    world.send(2, kind=IntentKind.CANCEL, slot=3, target_seq=1)
    records = world.journal.records
    first = next(at for at, r in enumerate(records) if r.kind.name == "CALL")
    sent = {request.path for request in world.broker.calls("DELETE")}
    for row in world.broker.rows.values():
        row["status"] = "OPEN"  # of the calls none has arrived
    again = World(
        broker=world.broker, clock=world.clock, latest=world.latest, history=list(records[: first + 1]),
        more={"restarted": True},
    ).start()  # fmt: skip
    before = len(again.broker.calls("DELETE")) - 3
    again.run(6.0)
    cancelled = [request.path for request in again.broker.calls("DELETE")][before:]
    assert len(sent) == 3 and sent <= set(cancelled)
    assert {row["status"] for row in world.broker.rows.values()} == {"CANCELLED"}


def test_a_slice_whose_first_never_left_is_known_by_its_intent() -> None:
    """The first one was refused when it was to leave: the next process finds no record of it."""
    book = Book(instruments())
    late = Order(order_no=2, strategy=4, strategy_seq=2**62, slot=0, side=1, order_type=2, product=2,
                 validity=1, flags=0, quantity=25, px=PX, trigger_px=0, tag="b", parent=2)  # fmt: skip
    book.add(late)
    assert of_intent(book, 4, 2) == [late] and of_intent(book, 4, 3) == []
    whole = Order(order_no=3, strategy=4, strategy_seq=9, slot=0, side=1, order_type=2, product=2,
                  validity=1, flags=0, quantity=25, px=PX, trigger_px=0, tag="c")  # fmt: skip
    book.add(whole)
    assert of_intent(book, 4, 9) == [whole]
