"""Changes of a trigger that its strategy asks for: each is made once, whoever dies meanwhile."""

from __future__ import annotations

import json

from gtt_tools import Answer, Gtts, entry, overnight
from journal_tools import after, of_kind
from orders_world import PX, S, World, filled

from kite_hft.layout import IntentKind, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, TransportError


def test_changes_that_were_made_are_not_made_again_after_a_restart() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    for seq, px in ((2, PX - 90), (3, PX - 80)):
        world.send(seq, kind=IntentKind.MODIFY, target_seq=1, px=px, qty=0, order_type=0)
        world.run(0.3)
    assert [data["answered"] for data in of_kind(world, Kind.GTT) if data.get("answered")] == [[2], [3]]
    other = after(world).start()
    other.run(3.0)
    assert gtts.calls == ["POST", "PUT", "PUT"] and gtts.rows[100]["orders"][0]["price"] == 99.2


def test_one_that_waits_behind_another_is_taken_up() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.broker.hold = True
    for seq, px in ((2, PX - 90), (3, PX - 80)):
        world.send(seq, kind=IntentKind.MODIFY, target_seq=1, px=px, qty=0, order_type=0)
    world.broker.hold = False
    while len(gtts.calls) < 3:  # the first is answered, and the second leaves
        world.run(0.05)
    answered = [data["answered"] for data in of_kind(world, Kind.GTT) if data.get("answered")]
    assert answered == [[2]] and gtts.calls == ["POST", "PUT", "PUT"]
    gtts.rows[100]["orders"][0]["price"] = 99.1  # it is lost on its way
    world.broker.triggers = list(gtts.rows.values())
    other = after(world).start()
    other.run(3.0)
    assert gtts.calls == ["POST", "PUT", "PUT", "PUT"] and gtts.rows[100]["orders"][0]["price"] == 99.2


def test_one_that_the_list_shows_to_be_made_waits_no_more() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    gtts.lost = True
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(6.0)
    gtts.lost = False
    assert [data["answered"] for data in of_kind(world, Kind.GTT) if data.get("answered")] == [[2]]
    other = after(world).start()
    other.run(3.0)
    assert gtts.calls == ["POST", "PUT"] and not other.kinds(2)


def test_a_change_of_a_trigger_is_none_of_the_order_that_it_has_placed() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)  # it does not arrive
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.broker.on_call = gtts.call
    order_id = gtts.fire(100)
    world.update(world.broker.rows[order_id])
    world.run(6.0)
    assert world.order(1).order_id == order_id
    other = after(world).start()
    other.run(3.0)
    assert not other.kinds(2) and not any(r.path.endswith(order_id) for r in other.broker.calls("PUT"))


def test_one_without_an_answer_counts_as_made_where_that_is_more() -> None:
    world, gtts = overnight()
    key = (1, 0, int(Product.CNC))
    world.broker.on_read = lambda request: world.broker.read(request) if "gtt" not in request.path else None
    world.send(3, product=Product.CNC, qty=5)
    gtts.lost = True
    filled(world, 5)
    world.run(0.3)
    assert [order["quantity"] for order in gtts.rows[100]["orders"]] == [15, 15]
    assert world.stage.keeper.triggers.covers(key) == 15
    other = after(world)
    other.stage.start()
    assert other.stage.keeper.triggers.covers(key) == 15
    world.broker.on_read = None
    other.run(6.0)
    (trigger,) = other.stage.keeper.triggers.standing.values()
    assert trigger.quantity == 15 and not trigger.unsure


def test_nor_does_one_that_makes_it_smaller_count_before_it_is_known() -> None:
    world, gtts = overnight()
    world.broker.on_read = lambda request: world.broker.read(request) if "gtt" not in request.path else None
    gtts.lost = True
    world.send(3, product=Product.CNC, side=2, qty=4)
    world.run(0.3)
    assert [order["quantity"] for order in gtts.rows[100]["orders"]] == [6, 6]
    assert world.stage.keeper.triggers.covers((1, 0, int(Product.CNC))) == 10


def late_change(world: World, gtts: Gtts) -> HttpRequest:
    """The trigger of the exits is to shrink for an order of the strategy; that call (returned) gets no
    answer. The list is read once the order was refused, and shows the old terms: the call is under way."""
    late: list[HttpRequest] = []
    unread_ns = world.clock.mono + 5 * S

    def call(request: HttpRequest) -> Answer:
        if request.method == "PUT" and not late:
            late.append(request)
            return TransportError("timed out", sent=True)
        return gtts.call(request)

    def read(request: HttpRequest) -> Answer:
        if request.path == "/gtt/triggers" and world.clock.mono < unread_ns:
            return TransportError("timed out", sent=True)
        return world.broker.read(request)

    world.broker.on_call, world.broker.on_read = call, read
    world.send(3, product=Product.CNC, side=Side.SELL, px=PX + 50, qty=4)
    world.run(9.0)
    assert world.kinds(3) == ["REFUSED"] and len(late) == 1
    assert gtts.rows[100]["orders"][0]["quantity"] == 10 and "PUT" not in gtts.calls
    assert not world.stage.keeper.triggers.standing[1, 2].unsure
    return late[0]


def test_a_change_that_arrives_after_the_list_was_read_is_seen_and_undone() -> None:
    world, gtts = overnight()
    gtts.call(late_change(world, gtts))
    assert gtts.rows[100]["orders"][0]["quantity"] == 6
    world.run(260.0)
    assert [leg["quantity"] for leg in gtts.rows[100]["orders"]] == [10, 10], "the position is covered again"


def test_terms_that_a_person_has_changed_are_those_of_the_trigger() -> None:
    """A strategy's own is as the person has it; that of exits goes back to what they were asked for."""
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    gtts.rows[100]["orders"][0]["quantity"] = 4
    world.broker.triggers = list(gtts.rows.values())
    world.run(260.0)
    (trigger,) = world.stage.keeper.triggers.standing.values()
    assert trigger.quantity == 4 and gtts.calls == ["POST"]


def test_an_old_list_undoes_no_change() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    old = json.loads(json.dumps(list(gtts.rows.values())))
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(0.3)
    world.broker.triggers = old
    world.run(60.0)
    (trigger,) = world.stage.keeper.triggers.standing.values()
    assert trigger.legs[0].px == PX - 90 and gtts.calls == ["POST", "PUT"]
