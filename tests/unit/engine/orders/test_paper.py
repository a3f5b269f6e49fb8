"""Paper trading: an exchange in the order process that dies with it, and goes on from the journal."""

from __future__ import annotations

from typing import Any

import numpy as np
from orders_world import PX, World, instruments

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.paper import PaperTransport
from kite_hft.layout import TICK, OrderStatus, Product, Side

CASH_PAISE = 10_000_000_00


class Market:
    """What stands in for the tick rings: every drain brings one tick of slot 0, once."""

    def __init__(self) -> None:
        self.due = False

    def drain(self, out: np.ndarray) -> int:
        if not self.due:
            return 0
        self.due = False
        out[:1] = np.zeros(1, TICK)
        row: Any = out[0]
        row["slot"], row["last_px"], row["bid_px"], row["ask_px"] = 0, PX, PX - 5, PX
        row["bid_qty"] = row["ask_qty"] = 10_000
        return 1


def paper(clock: ManualClock) -> tuple[PaperTransport, Market]:
    market = Market()
    return PaperTransport(instruments(), CASH_PAISE, 1, clock, [market]), market  # type: ignore[list-item]


def world_on(transport: PaperTransport, **more: Any) -> World:
    return World(broker=transport, texts=transport.texts, **more)  # type: ignore[arg-type]


def run(world: World, market: Market, seconds: float) -> None:
    for _ in range(round(seconds / 0.05)):
        market.due = True
        world.run(0.05)


def test_a_paper_exchange_goes_on_after_the_death_of_its_process() -> None:
    clock = World().clock
    transport, market = paper(clock)
    world = world_on(transport, clock=clock)
    world.stage.start()
    run(world, market, 3.0)
    world.send(1, px=PX)
    world.send(2, px=PX - 500, qty=3)
    run(world, market, 5.0)
    assert (world.status(1), world.status(2)) == (OrderStatus.COMPLETE, OrderStatus.OPEN), world.alerts
    assert world.quantity() == 10
    cash = transport._broker.exchange.account.cash_paise

    transport, market = paper(clock)
    again = world_on(
        transport, clock=clock, journal=world.journal, history=list(world.journal.records),
        intents=world.intents, events=world.events, counters=world.counters,
        more={"restarted": True, "counted": dict(world.stage.outbox.totals)},
    )  # fmt: skip
    again.stage.start()
    transport.resume(again.stage.book)
    assert transport._broker.exchange.account.cash_paise == cash
    run(again, market, 40.0)  # the positions are compared more than once
    assert again.stage.active and not again.stage.outbox.halted, again.alerts
    assert again.quantity() == 10 and again.status(2) is OrderStatus.CANCELLED
    again.send(3, side=Side.SELL, px=PX - 50, product=Product.MIS)
    run(again, market, 3.0)
    assert again.status(3) is OrderStatus.COMPLETE and again.quantity() == 0
    assert not {"POSITION_MISMATCH", "BROKER_ACTED", "EXTERNAL_POSITION", "HALTED"} & set(again.codes())
