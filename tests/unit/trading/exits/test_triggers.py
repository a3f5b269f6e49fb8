"""Triggers that lie at the broker: entries of strategies, exits of positions held overnight."""

from __future__ import annotations

import json
from typing import Any

from orders_world import PX, S, World, error, filled, form, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.intents import ENGINE_SEQ

Answer = HttpResponse | TransportError


class Gtts:
    """The broker's triggers, beside a scripted broker."""

    def __init__(self, world: World) -> None:
        self.world, self.rows, self.lost, self.calls = world, dict[int, dict[str, Any]](), False, list[str]()
        world.broker.on_call, world.broker.triggers = self.call, []

    def call(self, request: HttpRequest) -> Answer:
        if not request.path.startswith("/gtt/triggers"):
            return self.world.broker.accept(request)
        self.calls.append(request.method)
        number = int(request.path.rsplit("/", 1)[1]) if request.method != "POST" else 100 + len(self.rows)
        if request.method == "DELETE":
            self.rows[number]["status"] = "deleted"
        else:
            self.rows[number] = self.row(number, form(request))
        self.world.broker.triggers = list(self.rows.values())
        return TransportError("timed out", sent=True) if self.lost else ok({"trigger_id": number})

    def row(self, number: int, terms: dict[str, str]) -> dict[str, Any]:
        condition, orders = json.loads(terms["condition"]), json.loads(terms["orders"])
        token = (1000 + int(condition["tradingsymbol"][-1])) * 256 + 1
        return {
            "id": number, "type": terms["type"], "status": "active",
            "condition": condition | {"instrument_token": token},
            "orders": [order | {"result": None} for order in orders],
        }  # fmt: skip

    def fire(self, number: int, leg: int = 0, failed: str = "") -> str:
        """The trigger places its order, without any tag; returns the order's id."""
        row, terms = self.rows[number], self.rows[number]["orders"][leg]
        order_id = "" if failed else f"77{number}"
        status = "failed" if failed else "success"
        terms["result"] = {
            "order_result": {"status": status, "order_id": order_id, "rejection_reason": failed}
        }
        row["status"] = "triggered"
        if not failed:
            self.world.broker.rows[order_id] = {
                "order_id": order_id, "status": "OPEN", "exchange": "NSE", "tag": None, "tags": [],
                "tradingsymbol": terms["tradingsymbol"], "transaction_type": terms["transaction_type"],
                "instrument_token": row["condition"]["instrument_token"], "quantity": terms["quantity"],
                "order_type": "LIMIT", "product": terms["product"], "filled_quantity": 0,
                "pending_quantity": terms["quantity"], "average_price": 0, "price": terms["price"],
                "trigger_price": 0, "order_timestamp": "2027-01-15 13:30:00",
            }  # fmt: skip
        return order_id


GTT = {
    "kind": IntentKind.GTT, "product": Product.CNC, "px": PX - 95, "trigger_px": PX - 100, "qty": 10,
}  # fmt: skip


def entry(world: World, seq: int = 1, **more: Any) -> None:
    world.send(seq, **(GTT | more))
    world.run(0.3)


def test_an_entry_lies_at_the_broker_and_its_order_is_the_strategys() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    assert gtts.rows[100]["condition"]["trigger_values"] == [99.0] and gtts.rows[100]["type"] == "single"
    assert world.kinds(1) == ["ACCEPTED"] and not world.stage.book.live_count()
    order_id = gtts.fire(100)
    world.update(world.broker.rows[order_id])  # the order comes before the list says whose it is
    world.run(4.0)
    order = world.order(1)
    assert order.order_id == order_id and order.opening and not world.stage.outbox.totals["external_orders"]
    filled(world, 10, PX - 95)
    assert world.quantity(product=Product.CNC) == 10
    assert world.kinds(1)[-2:] == ["FILL", "COMPLETE"]


def test_an_entry_is_judged_as_the_order_that_it_becomes() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world, product=Product.MIS)
    assert world.reason(1) == "PRODUCT_NOT_ALLOWED"
    entry(world, 2, qty=100_000)
    assert world.reason(2) == "MAX_ORDER_QUANTITY"
    entry(world, 3, px=PX - 1_000)
    assert world.reason(3) == "PRICE_COLLAR"
    entry(world, 4, trigger_px=PX)
    assert world.reason(4) == "BAD_INTENT"
    world.stage.halt("test", world.clock.mono)
    entry(world, 5)
    assert world.reason(5) == "HALTED" and not gtts.calls


def test_one_without_an_answer_is_looked_up_and_never_sent_again() -> None:
    world = World().start()
    gtts = Gtts(world)
    gtts.lost = True
    entry(world)
    world.run(4.0)
    assert gtts.calls == ["POST"] and world.kinds(1) == ["ACCEPTED"]
    assert world.stage.keeper.triggers.standing[1, 1].trigger_id == "100"


def test_one_that_was_never_there_is_absent_after_two_reads() -> None:
    world = World().start()
    gtts = Gtts(world)
    gtts.lost = True
    world.broker.on_call = lambda request: TransportError("timed out", sent=True)
    entry(world)
    world.run(6.0)
    assert world.kinds(1) == ["REJECTED"] and world.reason(1) == "ABSENT"
    assert not gtts.rows and not world.stage.keeper.triggers.standing


def test_a_refused_one_and_one_that_fails_to_place() -> None:
    world = World().start()
    gtts = Gtts(world)
    world.broker.on_call = lambda request: error(400, "InputException", "Trigger already met")
    entry(world)
    assert world.kinds(1) == ["REJECTED"] and world.reason(1) == "BROKER"
    world.broker.on_call = gtts.call
    entry(world, 2)
    gtts.fire(100, failed="RMS: margin")
    world.stage.reader.want_triggers()
    world.run(4.0)
    assert world.kinds(2)[-1] == "REJECTED" and "TRIGGER_FAILED" in world.codes()


def test_cancelled_and_changed_by_its_strategy() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 90, qty=0, order_type=0)
    world.run(0.3)
    assert gtts.rows[100]["orders"][0]["price"] == 99.1 and world.kinds(1)[-1] == "UPDATED"
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.run(0.3)
    assert gtts.rows[100]["status"] == "deleted" and world.kinds(1)[-1] == "CANCELLED"
    assert gtts.calls == ["POST", "PUT", "DELETE"]


def test_a_killed_account_sends_no_entry() -> None:
    killed = [""]
    world = World(more={"killed": lambda: killed[0]}).start()
    gtts = Gtts(world)
    world.quote()
    world.wish(1, **GTT)
    world.stage.intake.take(world.clock.mono)  # judged, and still in the queue of calls
    killed[0] = "test"
    world.run(0.3)
    assert not gtts.calls and world.reason(1) == "KILLED"


def overnight() -> tuple[World, Gtts]:
    world = World().start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    words = {"kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0}
    world.send(2, product=Product.CNC, trigger_px=PX - 100, px=PX + 200, **words)
    world.run(0.3)
    return world, gtts


def test_exits_overnight_are_one_trigger_of_two_legs() -> None:
    world, gtts = overnight()
    row = gtts.rows[100]
    assert row["type"] == "two-leg" and row["condition"]["trigger_values"] == [99.0, 102.0]
    assert [(o["transaction_type"], o["quantity"], o["price"]) for o in row["orders"]] == [
        ("SELL", 10, 98.0),
        ("SELL", 10, 102.0),
    ]
    assert not world.stage.book.live_count()


def test_the_trigger_follows_the_position_and_goes_with_it() -> None:
    world, gtts = overnight()
    world.send(3, product=Product.CNC, qty=5)
    filled(world, 5)
    world.run(0.3)
    assert [o["quantity"] for o in gtts.rows[100]["orders"]] == [15, 15]
    world.send(4, product=Product.CNC, side=Side.SELL, qty=15, px=PX)
    filled(world, 15)
    world.run(2.0)
    assert gtts.rows[100]["status"] == "deleted" and world.kinds(2)[-1] == "COMPLETE"


def test_a_fired_exit_closes_the_position_and_is_priced_anew_when_it_rests() -> None:
    world, gtts = overnight()
    order_id = gtts.fire(100, leg=0)
    world.update(world.broker.rows[order_id])
    world.run(4.0)
    (order,) = world.stage.book.live_orders.values()
    assert order.order_id == order_id and order.strategy_seq >= ENGINE_SEQ and not order.opening
    for _ in range(100):
        world.clock.advance(S // 20)
        world.quote(PX - 300)
        world.step()
    assert order.px < 9_700 and order.order_type == OrderType.LIMIT
    row = world.broker.rows[order_id]
    world.update(row | {"filled_quantity": 10, "status": "COMPLETE", "average_price": 96.0})
    world.run(0.3)
    assert world.quantity(product=Product.CNC) == 0 and world.kinds(2)[-1] == "COMPLETE"
    assert gtts.calls == ["POST"]


def test_after_a_restart_the_list_tells_what_became_of_it() -> None:
    world = World().start()
    gtts = Gtts(world)
    entry(world)
    order_id = gtts.fire(100)
    row = world.broker.rows[order_id]
    row |= {"filled_quantity": 10, "status": "COMPLETE", "average_price": 99.0}
    other = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    assert other.quantity(product=Product.CNC) == 10
    assert other.status(1) is OrderStatus.COMPLETE and not other.stage.keeper.triggers.standing
    third = World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), more={"restarted": True},
    ).start()  # fmt: skip
    assert third.quantity(product=Product.CNC) == 10
    assert [r.kind for r in world.journal.records].count(Kind.GTT) >= 3
