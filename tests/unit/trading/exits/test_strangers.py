"""A stop gives way to an order by hand that closes the same position."""

from __future__ import annotations

from typing import Any

from exits_tools import armed, exits, guard, holding
from orders_world import PX, World, filled

from kite_hft.layout import OrderType
from kite_hft.trading.broker import HttpRequest, HttpResponse


def by_hand(world: World, quantity: int = 10, **more: Any) -> dict[str, Any]:
    """A trader's own order in the broker's app that would close the position."""
    row = dict(world.row()) | {
        "order_id": "hand1", "status": "OPEN", "transaction_type": "SELL", "tag": None, "tags": [],
        "filled_quantity": 0, "quantity": quantity, "pending_quantity": quantity, "order_type": "LIMIT",
        "price": 103.0, "trigger_price": 0, "average_price": 0,
    }  # fmt: skip
    world.broker.rows["hand1"] = row | more
    return world.broker.rows["hand1"]


def cancelled_at_once(world: World) -> None:
    """The exchange ends what is cancelled, and the book tells so."""

    def call(request: HttpRequest) -> HttpResponse:
        answer = world.broker.accept(request)
        if request.method == "DELETE":
            row = world.broker.rows[request.path.rsplit("/", 1)[1]]
            row |= {"status": "CANCELLED", "pending_quantity": 0}
        return answer

    world.broker.on_call = call


def test_a_stop_gives_way_to_an_order_by_hand_and_comes_back_when_that_is_gone() -> None:
    world = holding()
    exits(world, trigger_px=PX - 100)
    armed(world)
    cancelled_at_once(world)
    row = by_hand(world, 4)
    world.update(row)
    world.run(4.0)
    assert [o.quantity for o in world.stage.book.live_orders.values()] == [6]
    by_hand(world, 10)
    world.run(8.0)
    assert not world.stage.book.live_count()
    assert any(text.startswith("STOP_GAVE_WAY") and "hand1" in text for text in world.alerts)
    world.broker.rows["hand1"] |= {"status": "CANCELLED", "pending_quantity": 0}
    world.run(6.0)
    assert guard(world).quantity == 10 and guard(world).order_type == OrderType.SLM
    assert "STOP_GAVE_WAY" in {f["code"] for f in world.alert_fields if f.get("cleared")}


def test_what_the_trader_sells_of_his_own_shares_is_not_ours() -> None:
    world = World()
    world.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE0", "instrument_token": 1000 * 256 + 1, "product": "MIS",
         "quantity": 10, "average_price": 99.0, "multiplier": 1}
    ]  # fmt: skip
    world.start()
    world.send(1)
    filled(world, 10)
    exits(world, trigger_px=PX - 100)
    armed(world)
    by_hand(world, 10)
    world.stage.reader.polls.orders_wanted = True
    world.run(4.0)
    assert [o.quantity for o in world.stage.book.live_orders.values()] == [10]
