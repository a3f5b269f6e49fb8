"""How the stage is stopped: everything stays, or everything is closed."""

from __future__ import annotations

from orders_world import PX, World, error, filled, limits

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.gate.facts import Facts, View
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.ports import OrdersConfig


def stoppable() -> World:
    """10 held long, 5 short in another instrument, an exit and an entry at rest."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, slot=1, side=Side.SELL, qty=5)
    filled(world, 5)
    world.send(3, side=Side.SELL, px=PX + 100, qty=4)
    world.send(4, px=PX - 100, qty=1)
    return world


def test_keep_leaves_everything() -> None:
    world = stoppable()
    world.do("stop_policy", policy="keep")
    world.stage.begin_stop(world.clock.mono)
    world.run(3.0)
    assert world.stage.idle and not world.broker.calls("DELETE")
    assert len(world.stage.close()["orders"]) == 2


def test_before_the_feeds_end_openings_are_told_that_the_run_stops() -> None:
    """Once the connection is gone its prices are old: that is not why an opening is refused."""
    world = World().start()
    for seq in range(1, 30):
        world.wish(seq)
    world.step()
    waits = [o for o in world.stage.book.orders.values() if o.status is OrderStatus.NEW]
    assert waits, "more than leave at once"
    world.do("open_no_more")
    world.stale_slots.add(0)
    world.wish(30)
    world.run(3.0)
    refused = world.stage.report()["orders"]["refused"]
    assert refused.get("HALTED") and "NO_SNAPSHOT" not in refused, refused
    world.stage.begin_stop(world.clock.mono)
    world.run(3.0)
    assert world.stage.idle, "a stop that was announced is carried out all the same"
    assert not world.stage.book.working_count()


def fills_at_once(world: World, share: float = 1.0) -> None:
    """Every placement fills (partly) as it arrives."""

    def call(request: HttpRequest) -> HttpResponse:
        answer = world.broker.accept(request)
        if request.method == "POST":
            row = world.row()
            row["filled_quantity"] = max(1, int(row["quantity"] * share))
            row["average_price"] = 100.0
            if row["filled_quantity"] == row["quantity"]:
                row["status"] = "COMPLETE"
        return answer

    world.broker.on_call = call


def test_flatten_cancels_all_buys_back_shorts_first_and_ends_flat() -> None:
    world = stoppable()
    fills_at_once(world)
    before = len(world.broker.calls("POST"))
    world.do("stop_policy", policy="flatten")
    world.stage.begin_stop(world.clock.mono)
    assert not world.stage.idle
    world.run(6.0)
    assert world.stage.idle
    assert world.status(3) is world.status(4) is OrderStatus.CANCELLED
    placed = [o for o in world.stage.book.orders.values()][before:]
    assert [(o.side, o.quantity, o.slot) for o in placed] == [(Side.BUY, 5, 1), (Side.SELL, 10, 0)]
    assert all(o.order_type == OrderType.MARKET and o.product == 3 for o in placed)
    assert world.stage.close() == {"orders": [], "positions": []}
    assert "NOT_FLAT" not in world.codes()


def test_flatten_replaces_the_rest_of_a_closing_order_until_it_is_flat() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    fills_at_once(world, 0.5)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(40.0)
    assert world.stage.idle and world.quantity() == 0
    assert world.stage.close()["positions"] == []


def test_flatten_says_what_it_could_not_close() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.broker.on_call = lambda request: error(400, "OrderException", "circuit")
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(30.0)
    refused = len(world.broker.calls("POST")) - 1
    assert 1 <= refused <= 5
    world.stage.close()
    assert any(text.startswith("NOT_FLAT") and "NSE:SHARE0 10" in text for text in world.alerts)


def test_flatten_leaves_what_is_not_ours() -> None:
    world = World()
    world.broker.held = [
        {"exchange": "NSE", "tradingsymbol": "SHARE1", "instrument_token": 1001 * 256 + 1, "product": "MIS",
         "quantity": 7, "average_price": 99.0, "multiplier": 1}
    ]  # fmt: skip
    world.start()
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(3.0)
    assert world.stage.idle and not world.broker.calls("POST")


def test_flatten_buys_nothing_back_that_was_sold_out_of_the_holdings() -> None:
    world = World().start()
    world.send(1, side=Side.SELL, qty=4, product=Product.CNC)
    filled(world, 4)
    world.send(2, slot=1, qty=3, product=Product.CNC)
    filled(world, 3)
    fills_at_once(world)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(6.0)
    assert world.stage.idle and "NOT_FLAT" not in world.codes()
    placed = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [(o.side, o.quantity, o.slot) for o in placed] == [(Side.SELL, 3, 1)]
    assert world.quantity(product=Product.CNC) == -4


def test_flatten_sells_nothing_long_while_a_short_is_open() -> None:
    world = stoppable()
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(2.0)
    closing = [o for o in world.stage.book.live()]
    assert [(o.side, o.quantity, o.slot) for o in closing] == [(Side.BUY, 5, 1)]
    filled(world, 5)
    world.run(1.0)
    assert [(o.side, o.quantity, o.slot) for o in world.stage.book.live()] == [(Side.SELL, 10, 0)]


def refusing_buys(request: HttpRequest, world: World) -> HttpResponse:
    """Nothing can be bought back; what is sold fills."""
    if b"transaction_type=BUY" in request.body:
        return error(400, "OrderException", "circuit")
    answer = world.broker.accept(request)
    if request.method == "POST":
        row = world.row()
        row |= {"filled_quantity": row["quantity"], "average_price": 100.0, "status": "COMPLETE"}
    return answer


def test_a_short_that_nobody_sells_back_keeps_no_share_from_being_closed() -> None:
    world = stoppable()
    world.broker.on_call = lambda request: refusing_buys(request, world)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(20.0)
    assert (world.quantity(), world.quantity(slot=1)) == (0, -5)
    world.stage.close()
    *_, told = [text for text in world.alerts if text.startswith("NOT_FLAT")]
    assert "NSE:SHARE1 -5" in told and "SHARE0" not in told


def test_a_short_derivative_that_nobody_sells_back_keeps_the_long_one_that_may_cover_it() -> None:
    world = World().start()
    world.send(1, slot=3, qty=75)
    filled(world, 75)
    world.send(2, slot=3, side=Side.SELL, qty=75, product=Product.NRML)
    filled(world, 75)
    world.send(3)
    filled(world, 10)
    assert (world.quantity(slot=3), world.quantity(slot=3, product=Product.NRML)) == (75, -75)
    world.broker.on_call = lambda request: refusing_buys(request, world)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(20.0)
    assert world.quantity() == 0 and world.quantity(slot=3) == 75
    world.stage.close()
    *_, told = [text for text in world.alerts if text.startswith("NOT_FLAT")]
    assert "SHARE3 75" in told and "SHARE3 -75" in told


def test_at_a_locked_circuit_a_closing_order_waits_at_the_limit_with_an_alert() -> None:
    facts = Facts(band=lambda slot: (PX, PX + 2_000, 0))  # nobody buys below today's price
    world = World(more={"facts": facts}).start()
    world.send(1)
    filled(world, 10)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(0.5)
    order = list(world.stage.book.orders.values())[-1]
    assert (order.order_type, order.px, order.side) == (OrderType.LIMIT, PX, Side.SELL)
    assert order.strategy_seq >= ENGINE_SEQ and "EXIT_AT_CIRCUIT" in world.codes()


def test_a_position_above_the_freeze_quantity_is_closed_in_slices_at_once() -> None:
    wide = RiskLimits(max_order_value=1e9, max_position_size=1e9, max_exposure=1e9)
    world = World(config=OrdersConfig(limits(), wide)).start()
    for seq in (1, 2):
        world.send(seq, slot=3, qty=1800, product=Product.NRML)
        filled(world, 1800)
    fills_at_once(world)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(6.0)
    closing = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [(o.quantity, o.side) for o in closing] == [(1800, Side.SELL)] * 2
    assert world.stage.idle and world.quantity(slot=3, product=Product.NRML) == 0


def refusals(world: World) -> int:
    """Closing orders that the gate refused: each is journalled."""
    return sum(1 for r in world.journal.records if r.kind.name == "REFUSED")


def test_an_order_that_the_gate_refuses_is_tried_ever_later_and_told_once_with_its_cause() -> None:
    types = [-1]
    facts = Facts(view=lambda slot, now: View(until_ns=now, order_types=types[0]))
    world = World(more={"facts": facts}).start()
    world.send(1)
    filled(world, 10)
    fills_at_once(world, 0.5)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(1.0)
    assert world.quantity() == 5  # a closing order was taken, and rests
    types[0] = 0
    world.run(60.0)
    assert 3 <= refusals(world) <= 6
    (told,) = [text for text in world.alerts if text.startswith("EXIT_REFUSED")]
    assert "sell 5 NSE:SHARE0" in told and "takes no" in told
    types[0] = -1
    fills_at_once(world)
    world.run(35.0)
    assert world.quantity() == 0 and world.stage.idle


def test_less_than_a_lot_is_told_and_the_rest_closed() -> None:
    world = World().start()
    world.send(1, slot=3, qty=150)
    filled(world, 100)
    world.row()["status"] = "CANCELLED"
    world.run(3.0)
    fills_at_once(world)
    world.stage.begin_stop(world.clock.mono, "flatten")
    world.run(30.0)
    assert world.quantity(slot=3) == 25 and refusals(world) == 0
    closing = [o for o in world.stage.book.orders.values() if o.strategy_seq >= ENGINE_SEQ]
    assert [o.quantity for o in closing] == [75]
    told = [text for text in world.alerts if text.startswith("ODD_LOT")]
    assert len(told) == 1 and "25 of" in told[0] and "no whole lot of 75" in told[0]
    world.stage.close()
    assert any(text.startswith("NOT_FLAT") and "NFO:SHARE3 25" in text for text in world.alerts)
