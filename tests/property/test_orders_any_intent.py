"""Whatever bytes a strategy writes into an intent: the order stage lives, and so does the next process.

A compiled strategy fills its records by itself. What it writes there may be refused; it may never end the
process that keeps everybody's exits, nor stand in the journal as something that ends each later one.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from group_tools import WIDE
from orders_world import PX, S, World, intent_row, limits, ok

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.ports import OrdersConfig

SEEDS, INTENTS = 24, 40
BYTES = (0, 1, 2, 3, 4, 5, 6, 7, 9, 77, 200, 255)
STRANGE: tuple[dict[str, Any], ...] = (
    {"px": -5}, {"px": 2**31 - 1}, {"trigger_px": -7}, {"qty": 0}, {"qty": 2**32 - 1}, {"trail_px": -1},
    {"step_px": -5}, {"signal": float("nan")}, {"target_seq": 2**62}, {"target_seq": 2**64 - 1},
    {"deadline_ns": -1}, {"deadline_ns": 2**62}, {"slot": 2**32 - 1}, {"legs": 99, "group": 7},
)  # fmt: skip
NUMBERS = (0, 1, 2**62, 2**63, 2**64 - 1)
KINDS = (IntentKind.PLACE,) * 4 + (IntentKind.MODIFY,) * 3 + (IntentKind.CANCEL,) + tuple(IntentKind)


def sensible(rng: random.Random, world: World) -> dict[str, Any]:
    """An intent as a strategy means it."""
    live = [order for order in world.stage.book.live() if order.strategy == 1]
    side, slot, kind = rng.choice((Side.BUY, Side.SELL)), rng.choice((0, 0, 1, 3)), rng.choice(KINDS)
    order_type, away = rng.choice(tuple(OrderType)), 5 * rng.randrange(-6, 7)
    priced, stops = order_type in (OrderType.LIMIT, OrderType.SL), order_type in (OrderType.SL, OrderType.SLM)
    words: dict[str, Any] = {
        "slot": slot, "kind": kind, "side": side, "order_type": order_type, "px": PX + away if priced else 0,
        "product": rng.choice((Product.MIS, Product.MIS, Product.NRML)),
        "qty": (75 if slot == 3 else 1) * rng.choice((1, 2, 4, 30)),
        "trigger_px": PX + away - (10 if side == Side.BUY else -10) if stops else 0,
    }  # fmt: skip
    if kind in (IntentKind.MODIFY, IntentKind.CANCEL) and live:
        target = rng.choice(live)
        words |= {"target_seq": target.strategy_seq, "slot": target.slot, "px": rng.choice((0, PX + away))}
        words |= {"order_type": rng.choice((0, 0, order_type)), "qty": rng.choice((0, words["qty"]))}
    return words


def accepts(world: World) -> None:
    def call(request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/margins"):
            return ok({"initial": {"total": 1}, "final": {"total": 1}})
        if request.path.startswith("/gtt"):
            return ok({"trigger_id": 100 + len(world.broker.sent)})
        return world.broker.accept(request)

    world.broker.on_call = call


def fill_one(rng: random.Random, world: World) -> None:
    rows = [row for row in world.broker.rows.values() if row["status"] == "OPEN"]
    if rows and rng.random() < 0.5:
        row = rng.choice(rows)
        row |= {"filled_quantity": row["quantity"], "average_price": 100.0, "status": "COMPLETE"}
        world.update(row)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_intent_ends_the_order_process_or_the_next_one(seed: int) -> None:
    rng = random.Random(seed)
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    accepts(world)
    for seq in range(1, INTENTS):
        words = sensible(rng, world)
        if rng.random() < 0.2:
            words |= {rng.choice([*words, "flags", "validity", "leg"]): rng.choice(BYTES)}
        elif rng.random() < 0.1:
            words |= rng.choice(STRANGE)
        number = rng.choice(NUMBERS) if rng.random() < 0.03 else seq
        world.quote(PX + 5 * rng.randrange(-3, 4))
        world.intents.push(intent_row(number, created_ns=world.clock.mono, **words))
        world.step(2)
        fill_one(rng, world)
        if rng.random() < 0.1:
            world.clock.advance(S)
            world.step()
    again = World(
        broker=world.broker, clock=world.clock, latest=world.latest, history=list(world.journal.records),
        config=world.config, more={"restarted": True},
    )  # fmt: skip
    accepts(again)
    again.stage.start()
    again.run(2.0)
    again.stage.begin_stop(again.clock.mono, "flatten")
    again.run(2.0)
    assert "INTENT" in world.journal.kinds() and again.stage.report() and again.stage.close() is not None


@pytest.mark.parametrize("strategy", [0xFFFF, 0xFFFE, 9, 0])
def test_a_number_that_is_none_of_this_engines_is_nobodys(strategy: int) -> None:
    """The engine counts by such numbers what others hold, and what triggers promise."""
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    for seq in range(1, 70):
        world.quote()
        world.intents.push(intent_row(seq, created_ns=world.clock.mono, strategy=strategy))
        world.step(2)
    assert not world.broker.calls("POST") and not world.stage.book.orders and not world.told
    assert world.stage.outbox.refused == {"BAD_INTENT": 69} and not world.stage.outbox.halted


@pytest.mark.parametrize("word", ["created_ns", "tick_recv_ns", "deadline_ns"])
@pytest.mark.parametrize("direct", [True, False])
def test_times_may_be_anything(word: str, direct: bool) -> None:
    """They are told as durations, by counters that hold no more than 63 bits."""
    world = World(config=OrdersConfig(limits(), WIDE)).start()
    if not direct:
        world.stage.express = None
    world.quote()
    row = intent_row(1, created_ns=world.clock.mono)
    row[word] = -(2**63)
    world.intents.push(row)
    world.step(3)
    placed = world.broker.calls("POST")
    assert len(placed) == (word != "deadline_ns")
    assert not placed or world.status(1) is not OrderStatus.NEW
