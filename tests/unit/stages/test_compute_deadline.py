"""Until when ORDERS may send what a worker wants that lags behind its ticks."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference.compute_doubles import Counts, ListQueue, ListReader

from kite_hft._kernels import Kernels
from kite_hft.layout import INTENT, ORDER_EVENT, TICK, Product, TickFlag
from kite_hft.stages.compute import Compute
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.hosts import PythonHost, new_batch

S = 10**9
NOW_NS = 60 * S
TOKENS, SCALES = np.array([408065], np.uint32), np.full(1, 100.0)


class Trades(BaseStrategy):
    name = "trades"

    def on_tick(self, tick: Any) -> None:
        self.place_order("BUY", tick.instrument_token, 1)
        self.place_order("SELL", tick.instrument_token, 1, is_exit=True)

    def on_order(self, event: Any) -> None:
        self.place_order("BUY", int(TOKENS[0]), 1)


def test_what_an_old_tick_causes_is_as_old_as_the_tick_and_an_exit_is_never_late() -> None:
    """Of ten seconds behind nothing may open any more; what no tick caused counts from now."""
    ticks, event = np.zeros(1, TICK), np.zeros(1, ORDER_EVENT)
    ticks["last_px"], ticks["exch_ns"], ticks["flags"] = 10_000, 1_765_770_300 * S, TickFlag.TRADE
    ticks["recv_ns"] = NOW_NS - 10 * S
    event["strategy"], event["product"] = 1, Product.MIS
    events, intents, batch = ListQueue(ORDER_EVENT), ListQueue(INTENT), new_batch(8, TOKENS, SCALES)
    events.push(event)
    readers: list[Any] = [ListReader(ticks)]
    stage = Compute(
        readers=readers, kernels=Kernels(1, scale=SCALES, token=TOKENS), batch=batch,
        hosts=[PythonHost(Trades(), 1, batch)], intents=intents, events=events,  # type: ignore[arg-type]
        counters=Counts(), clock=lambda: NOW_NS, intent_deadline_ns=2 * S,
    )  # fmt: skip
    stage.start()
    stage.step(NOW_NS)
    assert intents.all()["created_ns"].tolist() == [NOW_NS] * 3
    assert intents.all()["deadline_ns"].tolist() == [NOW_NS + 2 * S, NOW_NS - 8 * S, 0]
