"""What an order must have to be taken for that of a trigger which the broker's list leaves out."""

from __future__ import annotations

from typing import Any

from gtt_tools import LEAVES_OUT, Gtts, Unlisted, again, bid, entry, others, sells, shown, stop, ten
from orders_world import PX, World, error

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.order import EXTERNAL


def listed(world: World) -> None:
    """The list is read, and what it shows taken in."""
    world.stage.reader.want_triggers()
    world.run(3.0)


def as_fired(world: World, gtts: Gtts, number: int, name: str, **more: Any) -> dict[str, Any]:
    """An order with the terms of a trigger that somebody else has entered; the trigger itself is gone."""
    order_id = gtts.fire(number)
    gtts.rows[number]["status"] = "deleted"
    row = world.broker.rows[name] = world.broker.rows.pop(order_id) | {"order_id": name, **more}
    return row


def shrunk(world: World, gtts: Gtts, seq: int, target: int, quantity: int, strategy: int = 1) -> None:
    """A change of a trigger's quantity that is not answered: either may stand."""
    gtts.lost = True
    more: dict[str, Any] = {"qty": quantity, "px": 0, "trigger_px": 0, "order_type": 0}
    world.wish(seq, kind=IntentKind.MODIFY, target_seq=target, strategy=strategy, **more)
    world.step(2)
    gtts.lost = False


def taken(world: World, order_id: str) -> int | None:
    """Which intent's an order is; None: a stranger's, or nobody's yet."""
    order = world.stage.book.by_id(order_id)
    return None if order is None or order.strategy == EXTERNAL else order.strategy_seq


def test_an_order_that_was_there_before_the_trigger_is_not_its_own() -> None:
    world, gtts = bid()
    read = world.broker.on_read
    assert read is not None
    world.broker.on_read = lambda request: (
        error(503, "GeneralException", "try later") if request.path.startswith("/gtt") else read(request)
    )
    row = as_fired(world, gtts, 100, "byhand", price=(PX - 90) / 100)
    gtts.rows[100]["status"] = "active"
    world.update(row)
    world.run(1.0)
    assert world.stage.keeper.triggers.claims.open, "an order of the size of the first is there"
    entry(world, 3, px=PX - 90)
    gtts.rows[101]["status"] = "deleted"
    world.run(5.0)
    world.broker.on_read = read
    world.run(30.0)
    assert taken(world, "byhand") is None, world.alerts
    world.run(190.0, 0.5)
    assert world.reason(3) == "ABSENT"


def test_a_stop_order_at_the_price_of_a_trigger_is_not_its_own() -> None:
    world, gtts = bid()
    world.update(as_fired(world, gtts, 100, "byhand", order_type="SL", trigger_price=(PX - 100) / 100))
    world.run(15.0)
    assert world.reason(2) == "ABSENT" and taken(world, "byhand") is None, world.alerts


def test_of_three_orders_two_triggers_can_have_placed_nobody_is_told_a_guess() -> None:
    """Ten or five, and ten or twenty: which of the two has placed the ten?"""
    world, gtts = bid()
    entry(world, 3, strategy=2, qty=20)
    listed(world)
    shrunk(world, gtts, 4, 2, 5)
    shrunk(world, gtts, 5, 3, 10, strategy=2)
    five, ten, twenty = gtts.fire(100), gtts.fire(101), "twenty"
    world.broker.rows[twenty] = world.broker.rows[ten] | {"order_id": twenty, "quantity": 20}
    assert [world.broker.rows[name]["quantity"] for name in (five, ten, twenty)] == [5, 10, 20]
    for name in (five, ten, twenty):
        shown(world, name, world.broker.rows[name]["quantity"])
    world.run(20.0)
    assert [taken(world, name) for name in (five, ten, twenty)] == [None] * 3, world.alerts
    assert "TRIGGER_UNKNOWN" in world.codes()


def test_of_two_strategies_neither_waits_for_an_order_that_has_ended_without_a_fill() -> None:
    world, gtts = bid()
    entry(world, 3, strategy=2)
    listed(world)
    order_id = gtts.fire(100)
    gtts.rows[101]["status"] = "deleted"
    row = world.broker.rows[order_id]
    world.update(row)
    row |= {"status": "CANCELLED", "pending_quantity": 0, "cancelled_quantity": 10}
    world.update(row)
    world.run(20.0)
    assert not world.stage.keeper.triggers.standing, world.alerts


def test_beside_an_order_of_ours_that_was_not_answered_a_trigger_takes_none() -> None:
    world, gtts = bid()

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method == "POST" and request.path.startswith("/orders"):
            return TransportError("timed out", sent=True)
        return gtts.call(request)

    world.broker.on_call = call
    world.send(3, product=Product.CNC, px=PX - 95)
    assert world.status(3) is OrderStatus.AMBIGUOUS
    world.update(as_fired(world, gtts, 100, "untagged"))
    world.run(15.0)
    assert taken(world, "untagged") != 2, world.alerts


def test_exits_do_not_grow_into_what_an_order_may_close_that_is_nobodys_yet() -> None:
    world, gtts = ten(LEAVES_OUT)
    Unlisted(world, gtts)
    entry(world, 2, side=Side.SELL, qty=4)
    world.send(
        3, kind=IntentKind.EXITS, order_type=0, side=0, qty=0, px=0, trigger_px=PX - 200, product=Product.CNC
    )
    world.send(4, side=Side.SELL, qty=4, px=PX + 50, product=Product.CNC)
    listed(world)
    guard = next(row for row in world.broker.rows.values() if row["trigger_price"])
    assert guard["quantity"] == 6
    order_id = gtts.fire(100)
    twin = world.broker.rows["byhand"] = world.broker.rows[order_id] | {"order_id": "byhand"}
    for row in (world.broker.rows[order_id], twin):
        world.update(row)
    world.run(90.0)
    assert "TRIGGER_UNKNOWN" in world.codes()
    world.send(6, kind=IntentKind.CANCEL, target_seq=4)
    world.run(3.0)
    assert world.status(4) is OrderStatus.CANCELLED and guard["quantity"] == 6, world.alerts


def test_what_is_placed_in_the_stead_of_one_thought_absent_outlives_its_order() -> None:
    """The process dies when it has told that the first had fired after all, before the second is deleted."""
    world, gtts = stop()
    row = gtts.rows[100]
    gtts.rows[100] = row | {"status": "deleted"}
    listed(world)
    world.run(20.0)
    assert gtts.calls == ["POST", "POST"]
    gtts.rows[100] = row
    order_id = gtts.fire(100)
    gtts.rows[100] = row | {"status": "deleted"}
    shown(world, order_id, 4)
    world.run(10.0)
    records = world.journal.records
    at = next(i for i, r in enumerate(records) if r.kind is Kind.GTT and r.data().get("late"))
    world.journal.records = records[: at + 1]
    gtts.rows[101]["status"] = "active"
    other = again(world)
    gtts.world = other
    Unlisted(other, gtts)
    other.stage.start()
    assert other.stage.keeper.triggers.standing[1, 2].trigger_id == "101", "known without a look at the list"
    other.run(10.0)
    left = [leg["quantity"] for leg in gtts.rows[101]["orders"] if gtts.rows[101]["status"] == "active"]
    open_here = [row["pending_quantity"] for row in other.broker.rows.values() if row["status"] == "OPEN"]
    assert max(left, default=0) + sum(open_here) == 6, "what may close the six that are left"
    assert sells(other) == 1 and others(other) == 0
