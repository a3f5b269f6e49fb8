"""Layer 2, compute, hot: form A of a strategy, plain Python called for every tick.

    class Mine(BaseStrategy):
        def on_tick(self, tick):
            if tick["change_percent"] > 2.0 and self.position(tick.slot) == 0:
                self.place_order("BUY", tick["instrument_token"], 1)

A strategy sees its subscribed instruments only, in tick order, and kernel rows no later than the
tick at hand. It has no clock, no I/O, and knows of its position what ORDERS has told it. What it
returns or raises never reaches the order path: an exception halts the strategy.
For the compiled form (B) see compiled.py.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft._views import BarView, TickView
from kite_hft.layout import IntentKind, OrderType, Product, Reason, Side, Validity
from kite_hft.strategies.intents import Outbox, Placed, Records, place_fields
from kite_hft.units import PriceError, px_from_price

POSITION = np.dtype([("qty", "<i8"), ("by_product", "<i8", (5,))])
"""Net quantity of one slot, and its parts by Product; written from ORDER_EVENTs only."""


class Desk(Protocol):
    """What a running strategy is given (see stages/compute.py's hosts)."""

    outbox: Outbox
    view: TickView
    scales: npt.NDArray[np.float64]
    slot_of: dict[int, int]
    subscribed: npt.NDArray[np.uint8]
    positions: Records
    in_tick: bool


class BaseStrategy:
    """Derive, and override what is needed. Constructor arguments are the strategy's parameters."""

    name = "strategy"
    _desk: Desk

    def on_start(self) -> None:
        """Before the first tick; subscriptions and parameters are set."""

    def on_tick(self, tick: TickView) -> None:
        """One tick of a subscribed instrument. `tick` is reused: copy what must be kept."""

    def on_bar(self, bar: BarView) -> None:
        """One closed bar of a subscribed instrument, before the tick that closed it."""

    def on_order(self, event: np.void) -> None:
        """One ORDER_EVENT of this strategy; its position is already taken over.

        An event of kind SNAPSHOT repeats the state of an order (or, with strategy_seq 0, of a
        position) after a restart: what is known already must not be done twice.
        """

    def on_session(self) -> None:
        """A new session: kernels start afresh, positions stay."""

    def save(self) -> bytes | None:
        """All that the strategy remembers, for a restart of its process; None: it starts afresh then.

        Called twice a second between two ticks: keep it small and fast. JSON or msgpack, no pickle.
        Positions, estimates and the numbering of orders are kept by the engine. A strategy that
        starts afresh keeps its positions and is told its working orders by SNAPSHOT events.
        """
        return None

    def restore(self, saved: bytes) -> None:
        """Go on from what `save` returned; `on_start` was called before."""

    # ---- what a strategy may ask -----------------------------------------------------------

    @property
    def tick(self) -> TickView:
        """The tick at hand."""
        return self._desk.view

    @property
    def row(self) -> TickView:
        """Kernel outputs of the tick at hand: estimate, estimate2, velocity2, rel_diff, tick_no."""
        return self._desk.view

    def estimate(self, slot: int) -> float:
        """The 1-state estimate of a subscribed slot as of its last tick seen; NaN before one."""
        return float(self._desk.view.latest["estimate"][slot])

    def slot(self, instrument_token: int) -> int:
        """Slot of a token.

        Raises:
            KeyError: no such instrument in this run.
        """
        return self._desk.slot_of[instrument_token]

    def position(self, slot: int) -> int:
        """Net quantity of a slot, as ORDERS last told it."""
        return int(self._desk.positions["qty"][slot])

    # ---- what a strategy may do --------------------------------------------------------------

    def place_order(
        self,
        side: str | Side,
        instrument_token: int,
        quantity: int,
        order_type: str | OrderType = "MARKET",
        product: str | Product = "MIS",
        price: float | None = None,
        *,
        trigger_price: float | None = None,
        validity: str | Validity = "DAY",
        is_exit: bool = False,
        signal: float = 0.0,
        slot: int | None = None,
    ) -> Placed:
        """Ask for an order; `slot`, where known, saves the look-up of the token.

        Prices are in currency units. is_exit: it only reduces a position.

        Raises:
            KeyError: no such side, order type, product or validity.
        """
        desk = self._desk
        at = desk.slot_of.get(instrument_token, -1) if slot is None else slot
        if not 0 <= at < len(desk.subscribed) or not desk.subscribed[at]:
            return self._refuse(Reason.UNKNOWN_INSTRUMENT)
        scale = int(desk.scales[at])
        try:
            px = 0 if price is None else px_from_price(price, scale)
            trigger_px = 0 if trigger_price is None else px_from_price(trigger_price, scale)
        except PriceError:
            return self._refuse(Reason.TICK_SIZE)
        fields = place_fields(
            _member(Side, side),
            at,
            quantity,
            _member(OrderType, order_type),
            _member(Product, product),
            px,
            trigger_px,
            _member(Validity, validity),
            is_exit,
            signal,
        )
        return self._refuse(Reason.BAD_INTENT) if fields is None else self._put(fields)

    def cancel_order(self, order_id: int, slot: int) -> Placed:
        """Ask for the cancellation of an own order (`Placed.order_id`)."""
        return self._put({"kind": int(IntentKind.CANCEL), "slot": slot, "target_seq": order_id})

    def modify_order(
        self,
        order_id: int,
        slot: int,
        quantity: int,
        order_type: str | OrderType,
        price: float | None = None,
        trigger_price: float | None = None,
    ) -> Placed:
        """Ask for another quantity, type or price of an own order; all of them are given anew."""
        scale = int(self._desk.scales[slot])
        try:
            px = 0 if price is None else px_from_price(price, scale)
            trigger_px = 0 if trigger_price is None else px_from_price(trigger_price, scale)
        except PriceError:
            return self._refuse(Reason.TICK_SIZE)
        kind = _member(OrderType, order_type)
        fields = place_fields(
            Side.BUY, slot, quantity, kind, Product.MIS, px, trigger_px, Validity.DAY, False, 0.0
        )
        if fields is None:
            return self._refuse(Reason.BAD_INTENT)
        # The order keeps its side, product and validity: ORDERS knows them.
        fields |= {
            "kind": int(IntentKind.MODIFY),
            "target_seq": order_id,
            "side": 0,
            "product": 0,
            "validity": 0,
        }
        return self._put(fields)

    def _refuse(self, reason: Reason) -> Placed:
        return Placed(reason, self._desk.outbox.next_seq)

    def _put(self, fields: dict[str, Any]) -> Placed:
        desk = self._desk
        view = desk.view
        if not desk.in_tick:  # from on_order: no tick caused it
            return desk.outbox.put(-1, fields)
        fields["tick_recv_ns"] = view.recv_ns
        fields["tick_seq"] = view.seq
        if fields["slot"] == view.slot:
            fields["ref_px"] = view.last_px
        return desk.outbox.put(view.index, fields)


def _member(kind: Any, value: Any) -> Any:
    """ "BUY", Side.BUY or 1 as an enum member."""
    return kind[value] if isinstance(value, str) else kind(value)
