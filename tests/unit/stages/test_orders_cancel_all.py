"""A person has everything cancelled that opens, and nothing is stopped."""

from __future__ import annotations

from typing import Any

from orders_world import PX, World, error, filled, lost

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.intents import Tags
from kite_hft.trading.lifecycle import WORKING

OTHER_RUN = Tags("abc", 6)


def cancel_all(world: World) -> list[int]:
    """Asked for; the orders that the answer names."""
    world.do("cancel_all", ask="a question", reason="too many", by="a test")
    commands = [record.data() for record in world.journal.records if record.kind is Kind.COMMAND]
    told: dict[str, Any] = commands[-1]
    assert {name: told[name] for name in ("do", "ask", "reason", "by")} == {
        "do": "cancel_all", "ask": "a question", "reason": "too many", "by": "a test",
    }  # fmt: skip
    return list(told["orders"])


def test_entries_go_exits_and_stops_stay_and_trading_goes_on() -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 50, qty=5)
    world.send(3, side=Side.SELL, order_type=OrderType.SL, px=PX - 60, trigger_px=PX - 50, qty=5)
    world.send(4, px=PX - 20)
    world.send(5, px=PX - 25, slot=1)
    assert cancel_all(world) == [world.order(4).order_no, world.order(5).order_no]
    world.run(4.0)
    assert world.status(4) is world.status(5) is OrderStatus.CANCELLED
    assert world.status(2) in WORKING and world.status(3) in WORKING and world.quantity() == 10
    assert not world.stage.outbox.halted and not world.stage.states.killed and world.stage.active
    world.send(6, px=PX - 20, slot=1)
    world.run(2.0)
    assert world.status(6) in WORKING, "it concerns what was there when it was asked for"


def test_what_waits_never_leaves() -> None:
    world = World().start()
    for seq in range(1, 13):
        world.wish(seq, px=PX - 20, qty=1)
    world.quote()
    world.step()
    waiting = [seq for seq in range(1, 13) if world.status(seq) is OrderStatus.NEW]
    placed = len(world.broker.calls("POST"))
    assert waiting and placed
    assert len(cancel_all(world)) == 12
    world.run(4.0)
    assert all(world.status(seq) is OrderStatus.CANCELLED for seq in range(1, 13))
    assert len(world.broker.calls("POST")) == placed


def test_cancels_keep_to_the_windows_of_the_broker() -> None:
    """No more calls in 1.25 s than the rules have, and none beside the throttle."""
    world = World().start()
    for seq in range(1, 11):
        world.send(seq, px=PX - 20, qty=1)
        world.run(0.4)
    world.run(2.0)
    cancel_all(world)
    before = len(world.broker.calls("DELETE"))
    world.step(3)
    assert 0 < len(world.broker.calls("DELETE")) - before <= 10
    world.run(4.0)
    assert len(world.broker.calls("DELETE")) == 10, "each once"
    assert all(world.status(seq) is OrderStatus.CANCELLED for seq in range(1, 11))


def test_one_whose_fate_is_unknown_is_cancelled_when_it_is_found() -> None:
    world = World().start()
    lost(world, entered=True)
    assert world.status(1) is OrderStatus.AMBIGUOUS
    assert cancel_all(world) == [world.order(1).order_no]
    world.run(8.0)
    assert world.status(1) is OrderStatus.CANCELLED and len(world.broker.calls("DELETE")) == 1


def test_a_cancel_that_fails_goes_out_again() -> None:
    world = World().start()
    world.send(1, px=PX - 20)
    tries: list[HttpRequest] = []

    def busy(request: HttpRequest) -> HttpResponse:
        tries.append(request)
        return error(503, "NetworkException", "not now") if len(tries) < 3 else world.broker.accept(request)

    world.broker.on_call = busy
    cancel_all(world)
    world.run(20.0)
    assert world.status(1) is OrderStatus.CANCELLED and len(tries) == 3


def test_exits_that_close_nothing_go_too_and_stops_with_the_last_entry() -> None:
    """As long as an entry may still fill, a stop is what would protect it."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    stop_terms = {"px": PX - 110, "trigger_px": PX - 100, "order_type": OrderType.SL}
    world.send(2, side=Side.SELL, qty=6, **stop_terms)
    world.row()["status"] = "TRIGGER PENDING"
    world.update(world.row())
    world.send(3, side=Side.SELL, qty=4, px=PX + 60)
    world.send(9, side=Side.SELL)  # the 10 a second time: judged as an opening, and its exits stay
    filled(world, 10)
    world.send(10, px=PX - 50)
    assert world.quantity() == 0
    hold, entry_id = [True], world.order(10).order_id
    refusal = error(400, "InputException", "not now")
    world.broker.on_call = lambda request: (
        refusal if hold[0] and request.path.endswith(entry_id) else world.broker.accept(request)
    )
    assert cancel_all(world) == [world.order(3).order_no, world.order(10).order_no]
    world.run(4.0)
    assert world.status(3) is OrderStatus.CANCELLED and world.status(2) in WORKING, "the entry may still fill"
    hold[0] = False
    world.run(10.0)
    assert world.status(10) is OrderStatus.CANCELLED and world.status(2) is OrderStatus.CANCELLED


def test_where_nothing_opens_nothing_is_done() -> None:
    world = World().start()
    assert cancel_all(world) == []
    calls = len(world.broker.sent)
    world.step(5)
    assert len(world.broker.sent) == calls and world.stage._killing.next_ns() is None


def test_what_an_earlier_run_left_is_judged_when_it_is_known_what_is_held() -> None:
    """An exit of it looks like an opening before that."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    tag = OTHER_RUN.tag(5)
    row = world.row() | {"order_id": "z", "transaction_type": "SELL", "tag": tag, "tags": [tag]}
    row |= {"status": "OPEN", "filled_quantity": 0, "pending_quantity": 10, "price": 105.0}
    world.broker.rows["z"] = row
    fresh = World(broker=world.broker, clock=world.clock, tags=Tags("abc", 8))
    fresh.stage.start()
    for _ in range(100):
        if fresh.stage.book.by_id("z") is not None:
            break
        fresh.step()
    assert fresh.stage.book.by_id("z") is not None and not fresh.stage.book.account_known
    fresh.stage.desk.last_order_no = max(fresh.stage.book.orders)
    assert cancel_all(fresh) == []
    fresh.run(20.0)
    assert fresh.stage.active and fresh.broker.rows["z"]["status"] == "OPEN"
