"""Everything is closed beside orders of unknown fate: those that close the same, and those that do not."""

from __future__ import annotations

import pytest
from exits_tools import exits, guard, holding
from orders_world import PX, World, filled

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.book import Cut
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.intents import ENGINE_SEQ


def unanswered(world: World) -> None:
    """No placement is answered, and no order book read: nobody learns what became of them."""

    def call(request: HttpRequest) -> HttpResponse | TransportError:
        if request.method != "POST":
            return world.broker.accept(request)
        return TransportError("timed out", sent=True)

    def read(request: HttpRequest) -> HttpResponse | TransportError:
        if request.path == "/orders":
            return TransportError("timed out", sent=True)
        return world.broker.read(request)

    world.broker.on_call, world.broker.on_read = call, read


def turned(world: World) -> None:
    """Somebody has sold 12 of 10."""
    row = {"instrument_token": 256001, "product": "MIS", "exchange": "NSE", "tradingsymbol": "SHARE0"}
    world.broker.held = [row | {"quantity": -12}]
    world.stage.book.cut(Cut(1, 0, int(Product.MIS), -12, -12 * PX))


def sent(world: World) -> list[tuple[int, int]]:
    """(side, quantity) of the orders that the engine has placed at the market."""
    orders = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    return [(o.side, o.quantity) for o in orders if o.order_type == OrderType.MARKET]


@pytest.mark.parametrize("hold_s", [0.0, 2.0])
def test_an_entry_of_unknown_fate_holds_the_closing_up_for_seconds_only(hold_s: float) -> None:
    """Were it to fill, that would be closed as well; waiting for its proof takes minutes."""
    world = holding()
    unanswered(world)
    world.send(2, qty=5)
    assert world.status(2) is OrderStatus.AMBIGUOUS
    world.run(hold_s)
    world.broker.on_call = None
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(0.5)
    assert not sent(world), "it may be found at once"
    world.run(3.0 - hold_s)
    assert sent(world) == [(Side.SELL, 10)]
    filled(world, 10)
    world.run(5.0)
    assert world.quantity() == 0 and world.stage.flattening, "its fate is not known yet"


def test_an_exit_of_unknown_fate_on_the_closing_side_does_so_until_it_is_known() -> None:
    """Two would close the same."""
    world = holding()
    unanswered(world)
    world.send(2, qty=6, side=Side.SELL)
    assert world.status(2) is OrderStatus.AMBIGUOUS
    world.broker.on_call = None
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(20.0)
    assert not sent(world) and world.status(2) is OrderStatus.AMBIGUOUS


def test_nor_does_a_stop_from_before_the_position_turned() -> None:
    world = holding()
    unanswered(world)
    exits(world, trigger_px=PX - 100)
    old = guard(world)
    turned(world)
    world.broker.on_call = None
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(4.0)
    assert old.status is OrderStatus.AMBIGUOUS and sent(world) == [(Side.BUY, 2)]
