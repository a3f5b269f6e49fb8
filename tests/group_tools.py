"""A stage that trades in groups of two legs, with a broker that answers what they take."""

from __future__ import annotations

from typing import Any

from orders_world import PX, World, form, limits, ok

from kite_hft.layout import Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.ports import OrdersConfig

WIDE = RiskLimits(max_order_value=1e8, max_position_size=1e8, max_exposure=1e8)


def margins(world: World, rupees: float) -> None:
    """The broker's calculator says so; everything else is accepted."""

    def call(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/margins/basket"):
            return ok({"initial": {"total": 2 * rupees}, "final": {"total": rupees}})
        return world.broker.accept(request)

    world.broker.on_call = call


def group_world(rupees: float = 500.0, **more: Any) -> World:
    world = World(config=OrdersConfig(limits(), WIDE, **more)).start()
    margins(world, rupees)
    return world


def legs(world: World, first: int = 1, **more: Any) -> None:
    """A short in one instrument and its protective buy in another, the short named first."""
    words = {"group": 9, "legs": 2, "product": Product.NRML, "qty": 75} | more
    world.quote()
    world.wish(first, leg=1, slot=3, side=Side.SELL, **words)
    world.wish(first + 1, leg=2, slot=0, side=Side.BUY, **words | {"product": Product.MIS})


def fill(world: World, seq: int, quantity: int | None = None) -> None:
    row = world.broker.rows[world.order(seq).order_id]
    quantity = row["quantity"] if quantity is None else quantity
    row |= {"filled_quantity": quantity, "average_price": PX / 100}
    row["status"] = "COMPLETE" if quantity == row["quantity"] else "OPEN"
    world.update(row)
    world.run(0.3)


def reject(world: World, seq: int) -> None:
    row = world.broker.rows[world.order(seq).order_id]
    row |= {"status": "REJECTED", "status_message": "RMS"}
    world.update(row)
    world.run(0.3)


def again(world: World, **more: Any) -> World:
    """The order process died, and is started anew in the same run."""
    world.broker.ready.clear()
    return World(
        broker=world.broker, clock=world.clock, journal=world.journal, latest=world.latest,
        history=list(world.journal.records), config=world.config, more={"restarted": True} | more,
    ).start()  # fmt: skip


def posts(world: World) -> list[str]:
    return [form(r)["transaction_type"] for r in world.broker.calls("POST") if r.path == "/orders/regular"]
