"""Layer 2, compute, hot: where the INTENT records of one strategy are put together.

One outbox per strategy: it numbers the strategy's intents, knows how many more the queue will
take in this step, and remembers which tick of the batch each one came from, so that the stage
can hand on the intents of several strategies in tick order whatever the size of the batch.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kite_hft._intents import IntentBox
from kite_hft.layout import (
    INTENT,
    NO_SLOT,
    IntentFlag,
    IntentKind,
    OrderType,
    Product,
    Reason,
    Side,
    Validity,
)

Records = npt.NDArray[np.void]

QTY_MAX: Final = 2**32 - 1
MAX_PER_TICK: Final = 4
"""A compiled strategy may return at most so many intents for one tick."""
N_SLOTS, ROW_STEP, STRATEGY, BOX, N = range(10, 15)
CALL_WORDS: Final = 15
"""What a compiled strategy's loop is told, int64 each: ten addresses (compiled.addresses_of), number of
slots, 1: a kernel row for each tick or 0: the first one stands for all, the strategy's number, address of
the box, number of ticks."""


class Placed(NamedTuple):
    """The answer of place_order, modify_order and cancel_order.

    reason: Reason.NONE when the intent was taken; ORDERS may still refuse it later by an event.
    order_id: the strategy's own number of this intent (INTENT.strategy_seq); events carry it.
    """

    reason: Reason
    order_id: int

    @property
    def accepted(self) -> bool:
        return self.reason == Reason.NONE

    def __bool__(self) -> bool:
        return self.reason == Reason.NONE


class Outbox(IntentBox):
    """Intents of one strategy since the last `begin()`.

    strategy: number of the strategy (INTENT.strategy). capacity: intents per step.
    next_seq: number of the next intent, from 1; a refused one does not use its number up.
    """

    def __init__(self, strategy: int, capacity: int, next_seq: int = 1) -> None:
        blank: Records = np.zeros(1, INTENT)
        blank["slot"] = NO_SLOT
        # A compiled strategy writes before it is asked whether there is room: hence the spare.
        super().__init__(strategy, capacity, blank, 2 * MAX_PER_TICK, next_seq)

    def put(self, tick_index: int, fields: dict[str, Any]) -> Placed:
        """Append one intent with these INTENT fields; refused when the queue has no more room."""
        if self.n >= self.budget:
            self.refused += 1
            return Placed(Reason.QUEUE_FULL, self.next_seq)
        record = self.records[self.n]
        for name, value in fields.items():
            record[name] = value
        record["strategy"] = self.strategy
        record["strategy_seq"] = self.next_seq
        self.tick_index[self.n] = tick_index
        self.n += 1
        self.next_seq += 1
        return Placed(Reason.NONE, self.next_seq - 1)


def place_fields(
    side: Side,
    slot: int,
    qty: int,
    order_type: OrderType,
    product: Product,
    px: int,
    trigger_px: int,
    validity: Validity,
    is_exit: bool,
    signal: float,
) -> dict[str, Any] | None:
    """The INTENT fields of a new order, or None when they make no order.

    qty: 1 .. 2**32 - 1; px, trigger_px: int32 in the instrument's unit, exactly where the type
    needs them.
    """
    priced = order_type in {OrderType.LIMIT, OrderType.SL}
    triggered = order_type in {OrderType.SL, OrderType.SLM}
    if not 0 < qty <= QTY_MAX or priced != (px > 0) or triggered != (trigger_px > 0):
        return None
    return {
        "kind": int(IntentKind.PLACE),
        "slot": slot,
        "side": int(side),
        "order_type": int(order_type),
        "product": int(product),
        "validity": int(validity),
        "flags": int(IntentFlag.EXIT) if is_exit else 0,
        "qty": qty,
        "px": px,
        "trigger_px": trigger_px,
        "signal": signal,
    }
