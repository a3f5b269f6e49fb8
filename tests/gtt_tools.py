"""The broker's triggers (GTT) beside the scripted broker, and intents about them."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

from orders_world import PX, Queue, World, error, filled, form, ok

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import IntentKind, Product, Side
from kite_hft.trading.broker import Broker, HttpRequest, HttpResponse, TransportError
from kite_hft.trading.order import EXTERNAL

Answer = HttpResponse | TransportError
LEAVES_OUT = replace(KITE, lists_fired=False)
"""A broker whose list does not show what has fired."""


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
        segment = 1 if condition["exchange"] == "NSE" else 2
        token = (1000 + int(condition["tradingsymbol"][-1])) * 256 + segment
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
                "order_id": order_id, "status": "OPEN", "exchange": row["condition"]["exchange"],
                "tag": None, "tags": [],
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


def ten(adapter: Broker = KITE) -> tuple[World, Gtts]:
    """Ten are held."""
    world = World(adapter=adapter).start()
    gtts = Gtts(world)
    world.send(1, product=Product.CNC)
    filled(world, 10)
    return world, gtts


def overnight(adapter: Broker = KITE) -> tuple[World, Gtts]:
    world, gtts = ten(adapter)
    words = {"kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0}
    world.send(2, product=Product.CNC, trigger_px=PX - 100, px=PX + 200, **words)
    world.run(0.3)
    return world, gtts


class Lagging:
    """Reads of the list show it as it was when this was made, until `ends`."""

    def __init__(self, world: World, gtts: Gtts) -> None:
        self.world, self.gtts, self.then = world, gtts, deepcopy(list(gtts.rows.values()))
        self.lags = True
        world.broker.on_read, world.broker.on_call = self.read, self.call

    def read(self, request: HttpRequest) -> HttpResponse:
        now, broker = self.world.broker.triggers, self.world.broker
        broker.triggers = self.then if self.lags else now
        answer = broker.read(request)
        broker.triggers = now
        return answer

    def call(self, request: HttpRequest) -> Answer:
        """One that has fired can be neither changed nor deleted."""
        number = request.path.rsplit("/", 1)[1]
        if number.isdigit() and self.gtts.rows.get(int(number), {}).get("status") == "triggered":
            return error(400, "InputException", "the trigger is not active")
        return self.gtts.call(request)

    def ends(self) -> None:
        self.lags = False


def shown(world: World, order_id: str, quantity: int) -> None:
    """The order book and an update show so much of an order filled."""
    row = world.broker.rows[order_id]
    row |= {"filled_quantity": quantity, "pending_quantity": row["quantity"] - quantity}
    row |= {"average_price": row["price"], "status": "OPEN" if quantity < row["quantity"] else "COMPLETE"}
    world.update(row)


def closing(adapter: Broker = KITE) -> tuple[World, Gtts]:
    """Ten are held, and a trigger of the strategy's own closes them."""
    world, gtts = ten(adapter)
    entry(world, 2, side=Side.SELL)
    return world, gtts


def again(world: World) -> World:
    """Another process of the run."""
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), intents=Queue(), adapter=world.adapter, more={"restarted": True},
    )  # fmt: skip


def fired(world: World, gtts: Gtts, quantity: int) -> tuple[str, Lagging]:
    """The trigger's order has filled so much while the list does not tell of it."""
    lag = Lagging(world, gtts)
    order_id = gtts.fire(100)
    world.update(world.broker.rows[order_id])
    world.run(5.0)
    shown(world, order_id, quantity)
    world.run(1.0)
    return order_id, lag


class Unlisted:
    """The list shows what waits alone, and what has fired takes no call."""

    def __init__(self, world: World, gtts: Gtts) -> None:
        self.gtts, self.broker = gtts, world.broker
        world.broker.on_read, world.broker.on_call = self.read, self.call

    def read(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/gtt/triggers"):
            return self.broker.read(request)
        return ok([row for row in self.gtts.rows.values() if row["status"] == "active"])

    def call(self, request: HttpRequest) -> Answer:
        number = request.path.rsplit("/", 1)[1]
        if number.isdigit() and self.gtts.rows.get(int(number), {}).get("status") == "triggered":
            return error(400, "InputException", "the trigger is not active")
        return self.gtts.call(request)


def stop() -> tuple[World, Gtts]:
    """Ten are held, and their stop lies at the broker; the list has shown it."""
    world, gtts = overnight(LEAVES_OUT)
    Unlisted(world, gtts)
    world.stage.reader.want_triggers()
    world.run(3.0)
    return world, gtts


def bid() -> tuple[World, Gtts]:
    """A trigger waits that buys ten; the list has shown it."""
    world = World(adapter=LEAVES_OUT).start()
    gtts = Gtts(world)
    Unlisted(world, gtts)
    entry(world, 2)
    world.stage.reader.want_triggers()
    world.run(3.0)
    return world, gtts


def fired_late() -> tuple[World, Gtts, str, dict[str, Any]]:
    """A trigger that buys ten has fired, and nothing of its order is heard until it is thought absent."""
    world, gtts = bid()
    order_id = gtts.fire(100)
    late = world.broker.rows.pop(order_id)
    world.stage.reader.want_triggers()
    world.run(10.0)
    assert world.reason(2) == "ABSENT"
    return world, gtts, order_id, late


def fell(world: World, seconds: float) -> None:
    """The price is below the stop for so long."""
    for _ in range(round(seconds / 0.05)):
        world.quote(PX - 150)
        world.run(0.05, fresh=False)


def sells(world: World) -> int:
    return sum(row["transaction_type"] == "SELL" for row in world.broker.rows.values())


def others(world: World) -> int:
    return world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity
