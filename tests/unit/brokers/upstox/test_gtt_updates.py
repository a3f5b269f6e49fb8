"""Pushes about good-till-triggered orders: the broker's list does not show those that have fired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orders_world import PX, World
from upstox_rows import SAMPLES, answer, problem
from upstox_world import KEYS, TABLE, ScriptedUpstox, begin, exits, held

from kite_hft.brokers.kite.rest import KITE
from kite_hft.brokers.upstox.rest import upstox
from kite_hft.brokers.values import AnswerError
from kite_hft.layout import TEXT, IntentKind, OrderStatus, Product, Side
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.order import EXTERNAL

READ = upstox(TABLE).parse_trigger_update
ENTRY: dict[str, Any] = {
    "kind": IntentKind.GTT,
    "product": Product.CNC,
    "trigger_px": PX - 100,
    "px": PX - 100,
}


def row(**more: Any) -> dict[str, Any]:
    rule = {
        "strategy": "ENTRY", "status": "COMPLETED", "trigger_type": "BELOW", "trigger_price": 99.0,
        "transaction_type": "SELL", "message": "", "order_id": "2611", "trailing_gap": None,
    }  # fmt: skip
    whole = {
        "update_type": "gtt_order", "type": "SINGLE", "exchange": "NSE_EQ", "instrument_token": KEYS[0],
        "quantity": 10, "product": "D", "gtt_order_id": "GTT-C0", "rules": [rule],
    }  # fmt: skip
    return whole | {"rules": [rule | more.pop("rule", {})]} | more


def of(**more: Any) -> bytes:
    return json.dumps(row(**more)).encode()


def test_what_a_push_says() -> None:
    found = READ(of())
    assert found is not None and (found.trigger_id, found.active) == ("GTT-C0", False)
    assert found.legs[0].order_id == "2611" and found.legs[0].quantity == 10
    waits = READ(of(rule={"status": "PENDING", "order_id": None}))
    assert waits is not None and waits.active
    assert READ(of(rule={"order_id": None})) is None, "it has fired, and does not say yet which order"
    assert READ(of(update_type="order")) is None and READ(b"no JSON") is None
    assert READ(of(instrument_token="NSE_EQ|OTHER", rules=None)) is None
    with pytest.raises(AnswerError):
        READ(of(quantity="x"))
    assert KITE.parse_trigger_update(of()) is None


@pytest.mark.data
def test_the_sample_of_a_push(data_dir: Path) -> None:
    found = READ((data_dir / SAMPLES / "portfolio_gtt_update.json").read_bytes())
    assert found is None or found.legs[0].order_id == "261123000000003"


def push(world: World, **more: Any) -> None:
    data, text = of(**more), np.zeros(1, TEXT)
    text["data"], text["length"] = data, len(data)
    world.texts.push(text)
    world.step()


def fire(scripted: ScriptedUpstox, name: str = "GTT-C0", filled: int = 0) -> str:
    """It places its order, and is in the list no more."""
    gone = scripted.gtts.pop(name)
    side = gone["transaction_type"]
    words = {
        "instrument_token": KEYS[0], "transaction_type": side, "quantity": 10, "product": "D",
        "price": 99.0, "order_type": "LIMIT", "tag": None,
    }  # fmt: skip
    order_id = scripted.enter(words)
    more = {
        "filled_quantity": filled,
        "average_price": 99.0 if filled else 0,
        "pending_quantity": 10 - filled,
    }
    scripted.rows[order_id] |= more | ({"status": "complete"} if filled == 10 else {})
    return order_id


def entered() -> tuple[World, ScriptedUpstox, str, dict[str, Any]]:
    """A trigger has placed its order, four of it have filled, and no book shows it yet."""
    world, scripted = begin()
    world.send(1, **ENTRY)
    world.run(3.0)
    order_id = fire(scripted, filled=4)
    return world, scripted, order_id, scripted.rows.pop(order_id)


def test_the_order_of_a_trigger_is_known_by_the_push() -> None:
    world, scripted = held()
    exits(world, trigger_px=PX - 100)
    order_id = fire(scripted, filled=10)
    push(world, rule={"order_id": order_id})
    order = world.stage.book.by_id(order_id)
    assert order is not None and order.strategy == 1, "at once: no list was read"
    push(world, rule={"order_id": order_id})  # another connection brings it again
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 0 and not world.stage.keeper.triggers.standing
    assert sum(row["transaction_type"] == "SELL" for row in scripted.rows.values()) == 1


def test_a_push_during_a_call_is_not_lost() -> None:
    world, scripted, order_id, late = entered()
    scripted.on_call = lambda request: TransportError("timed out", sent=True)
    world.wish(2, kind=IntentKind.CANCEL, target_seq=1)
    world.step()
    assert world.stage.keeper.triggers.standing[1, 1].busy
    push(world, rule={"order_id": order_id, "transaction_type": "BUY"})
    scripted.on_call = None
    scripted.rows[order_id] = late
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 4, world.alerts
    assert world.status(1) is OrderStatus.CANCELLED, "it was not wanted any more"


def test_a_push_about_one_whose_placing_was_not_answered() -> None:
    world, scripted = begin()

    def call(request: HttpRequest) -> TransportError:
        scripted.accept(request)
        return TransportError("timed out", sent=True)

    scripted.on_call = call
    world.send(1, **ENTRY)
    world.run(0.2)
    scripted.on_call = None
    order_id = fire(scripted, filled=10)
    scripted.rows[order_id] |= {"price": 98.95}  # as a person has changed it: by its terms nobody knows it
    push(world, rule={"order_id": order_id, "transaction_type": "BUY"})
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 10, world.alerts
    assert world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity == 0


def test_a_push_about_what_waits_or_is_not_ours_changes_nothing() -> None:
    world, scripted = held()
    exits(world, trigger_px=PX - 100)
    world.run(3.0)
    push(world, rule={"status": "PENDING", "order_id": None, "trigger_price": 12.0})
    push(world, gtt_order_id="GTT-OTHER")
    world.run(5.0)
    (trigger,) = world.stage.keeper.triggers.standing.values()
    assert trigger.legs[0].px == PX - 100 and len(scripted.calls("POST")) == 2


def test_a_push_that_says_that_it_was_cancelled() -> None:
    world, scripted = begin()
    world.send(1, **ENTRY)
    world.run(3.0)
    scripted.gtts.clear()
    push(world, rule={"status": "CANCELLED", "order_id": None, "transaction_type": "BUY"})
    assert world.kinds(1)[-1] == "CANCELLED" and not world.stage.keeper.triggers.standing


def test_a_push_that_cannot_be_read_is_told() -> None:
    world, _scripted = begin()
    push(world, quantity="x")
    assert "UPDATE_UNREADABLE" in world.codes()


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_without_the_push_its_terms_tell(side: Side) -> None:
    world, scripted = held()
    world.send(3, **(ENTRY | {"side": side}))
    world.run(3.0)
    fire(scripted, filled=10)
    world.stage.reader.want_triggers()
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == (20 if side is Side.BUY else 0), world.alerts
    assert world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity == 0


def test_a_push_that_came_before_its_deletion_was_confirmed_is_believed() -> None:
    world, scripted, order_id, late = entered()
    scripted.on_call = lambda request: answer({"gtt_order_ids": ["GTT-C0"]})
    world.wish(2, kind=IntentKind.CANCEL, target_seq=1)
    world.step()
    answers, scripted.ready = scripted.ready, []
    push(world, rule={"order_id": order_id, "transaction_type": "BUY"})
    scripted.ready, scripted.on_call = answers, None
    scripted.rows[order_id] = late
    world.run(10.0)
    assert world.quantity(product=Product.CNC) == 4, world.alerts
    assert world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity == 0


def test_a_push_about_one_that_was_thought_absent_names_its_order() -> None:
    world, scripted = begin()
    world.send(1, **ENTRY)
    world.stage.reader.want_triggers()
    world.run(3.0)
    order_id = fire(scripted, filled=4)
    late = scripted.rows.pop(order_id)
    late |= {"price": 98.95}  # a person has changed it
    world.stage.reader.want_triggers()
    world.run(20.0)
    assert world.reason(1) == "ABSENT"
    scripted.rows[order_id] = late
    push(world, rule={"order_id": order_id, "transaction_type": "BUY"})
    world.run(20.0)
    assert world.quantity(product=Product.CNC) == 4, world.alerts
    assert world.stage.book.standing(EXTERNAL, 0, Product.CNC).quantity == 0
    assert "TRIGGER_ADOPTED" in world.codes()


@pytest.mark.parametrize("status", [429, 400, 403])
def test_too_many_calls_are_known_by_their_code(status: int) -> None:
    world, scripted = held()
    scripted.on_call = lambda request: (
        problem(status, ("UDAPI10005", "Too Many Request Sent"))
        if request.path.startswith("/v3/order/gtt")
        else scripted.accept(request)
    )
    exits(world, trigger_px=PX - 100)
    world.run(5.0)
    assert "RATE_LIMITED" in world.codes() and world.stage.desk.throttle.cooling(world.clock.mono)
    assert sum(row["transaction_type"] == "SELL" for row in scripted.rows.values()) == 1, "its stop"


def test_a_push_about_our_own_deletion_is_no_firing() -> None:
    """It comes before the answer, as pushes may: the trigger is gone, and nothing has failed."""
    world, scripted = held()
    exits(world, trigger_px=PX - 100)
    world.run(3.0)
    words = {"order_type": 0, "side": 0, "qty": 0, "px": 0, "validity": 0, "product": Product.CNC}
    world.wish(3, kind=IntentKind.EXITS, trigger_px=0, **words)
    while not scripted.calls("DELETE"):
        world.step()
    answers, scripted.ready = scripted.ready, []
    push(world, rule={"status": "CANCELLED", "order_id": None})
    scripted.ready = answers
    world.step()
    assert not world.stage.keeper.triggers.standing
    world.run(5.0)
    assert not {"TRIGGER_FAILED", "TRIGGER_UNKNOWN"} & set(world.codes())
