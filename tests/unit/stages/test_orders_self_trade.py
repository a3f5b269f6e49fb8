"""An entry against an order of ours on the other side is refused by what that is about to become, too."""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, Answer, World, error, filled

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Side
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.gate.checks_conduct import in_doubt
from kite_hft.trading.lifecycle import WORKING

STOP = {"order_type": OrderType.SLM, "px": 0, "trigger_px": PX - 100}
LIMIT = {"order_type": OrderType.LIMIT, "px": PX + 5, "trigger_px": PX + 5}


def exit_resting(**terms: Any) -> World:
    """Strategy 1 holds ten, and its order that closes them lies at the broker."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, **terms)
    status = "TRIGGER PENDING" if terms["order_type"] == OrderType.SLM else "OPEN"
    world.row()["status"] = status
    world.update(world.row())
    return world


def changes(world: World, answer: Answer, **terms: Any) -> None:
    """Strategy 1 changes its order; the broker says `answer` to that."""

    def call(request: HttpRequest) -> Answer:
        return answer if request.method == "PUT" else world.broker.accept(request)

    world.broker.on_call = call
    world.send(3, kind=IntentKind.MODIFY, target_seq=2, qty=0, **terms)


def entry(world: World, seq: int, px: int) -> str:
    """What becomes of a purchase of strategy 2."""
    world.send(seq, strategy=2, px=px, qty=1)
    known = world.stage.book.by_strategy(2, seq)
    if known is not None and known.status in WORKING:
        world.send(seq + 1, strategy=2, kind=IntentKind.CANCEL, target_seq=seq)
        return "passes"
    return world.reason(seq)


@pytest.mark.parametrize("answer", [None, TransportError("timed out", sent=True)])
def test_a_stop_that_is_being_made_a_limit_order_rests_in_the_market_by_now(answer: Answer) -> None:
    world = exit_resting(**STOP)
    assert entry(world, 10, PX + 5) == "passes", "a stop that has not triggered is not in the market"
    changes(world, answer, **LIMIT)
    assert world.order(2).order_type == OrderType.SLM and in_doubt(world.order(2)) is not None
    assert entry(world, 20, PX + 5) == "SELF_TRADE"
    assert entry(world, 30, PX) == "passes", "below it"


def test_a_price_that_an_order_is_being_changed_to_counts_beside_the_one_it_has() -> None:
    world = exit_resting(order_type=OrderType.LIMIT, px=PX + 50)
    changes(world, None, order_type=OrderType.LIMIT, px=PX + 5)
    assert entry(world, 10, PX + 5) == "SELF_TRADE"
    assert entry(world, 20, PX) == "passes"


def test_a_change_that_only_waits_counts_as_well() -> None:
    world = exit_resting(order_type=OrderType.LIMIT, px=PX + 50)
    throttle = world.stage.desk.throttle
    real, throttle.pop = throttle.pop, lambda now_ns: None  # type: ignore[method-assign]
    world.send(3, kind=IntentKind.MODIFY, target_seq=2, qty=0, order_type=OrderType.LIMIT, px=PX + 5)
    throttle.pop = real  # type: ignore[method-assign]
    assert not world.broker.calls("PUT")
    world.wish(10, strategy=2, px=PX + 5, qty=1)
    world.stage.intake.take(world.clock.mono)
    assert world.stage.outbox.refused["SELF_TRADE"] == 1


def test_what_came_to_nothing_counts_no_more() -> None:
    world = exit_resting(order_type=OrderType.LIMIT, px=PX + 50)
    changes(world, error(400, "OrderException", "not now"), order_type=OrderType.LIMIT, px=PX + 5)
    assert in_doubt(world.order(2)) is None and world.status(2) is OrderStatus.OPEN
    assert entry(world, 10, PX + 5) == "passes"


def test_a_limit_order_that_is_being_made_a_stop_is_in_the_market_until_that_is_known() -> None:
    world = exit_resting(order_type=OrderType.LIMIT, px=PX + 5)
    changes(world, None, **STOP)
    assert entry(world, 10, PX + 5) == "SELF_TRADE"
    assert entry(world, 20, PX) == "passes", "as a stop it waits for its trigger"
