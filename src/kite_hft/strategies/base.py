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

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft._views import BarView, TickView
from kite_hft.layout import IntentFlag, IntentKind, OrderType, Product, Reason, Side, Validity
from kite_hft.strategies.history import History
from kite_hft.strategies.intents import QTY_MAX, Outbox, Placed, Records, place_fields
from kite_hft.strategies.slots import SlotFacts
from kite_hft.units import NS_PER_S, PriceError, px_from_price

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
    indices: ClassVar[bool] = True  # whether `instruments: all` gives it those, too: nobody can trade them
    history: History | None = None  # the days before, where `params: {history: ..}` names them
    _desk: Desk

    def prepare(self, facts: SlotFacts) -> None:
        """Before `on_start`: grids and the end of the day of every slot, from master and calendar."""

    def on_start(self) -> None:
        """Before the first tick; subscriptions and parameters are set."""

    def on_tick(self, tick: TickView) -> None:
        """One tick of a subscribed instrument. `tick` is reused: copy what must be kept."""

    def on_bar(self, bar: BarView) -> None:
        """One closed bar of a subscribed instrument, before the tick that closed it."""

    def on_order(self, event: np.void) -> None:
        """One ORDER_EVENT of this strategy; its position is already taken over.

        Orders that the engine makes for the strategy (exits, closing everything) come under numbers
        from 2**62 on; exits themselves are told of under the number that `exits` answered: ACCEPTED when
        they stand, COMPLETE when the position is closed, CANCELLED when they end without that.
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
        fields = self._order_fields(
            side, instrument_token, quantity, order_type, product, price, trigger_price=trigger_price,
            validity=validity, is_exit=is_exit, signal=signal, slot=slot,
        )  # fmt: skip
        return self._refuse(fields) if isinstance(fields, Reason) else self._put(fields)

    def _order_fields(
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
    ) -> dict[str, Any] | Reason:
        """The fields of a new order, or why they make none."""
        at = self._subscribed_slot(instrument_token, slot)
        prices = self._px_of_prices(at, price, trigger_price)
        if isinstance(prices, Reason):
            return prices
        px, trigger_px = prices
        fields = place_fields(
            _member(Side, side), at, quantity, _member(OrderType, order_type), _member(Product, product),
            px, trigger_px, _member(Validity, validity), is_exit, signal,
        )  # fmt: skip
        return Reason.BAD_INTENT if fields is None else fields

    def exits(
        self,
        instrument_token: int,
        stop: float | None = None,
        target: float | None = None,
        trail: float | None = None,
        step: float | None = None,
        until: float | None = None,
        gtt: bool = False,
        *,
        product: str | Product = "MIS",
        order_type: str | OrderType | None = None,
        slot: int | None = None,
    ) -> Placed:
        """Ask for exits of a position, in place of those that stand; without any they are dropped.

        The order process keeps them, also when this one dies: one order that is the stop, and a limit at
        the target while the price is there. It follows the position, whichever orders made it; it may be
        asked for while the entry still works. What the strategy sells by itself comes first.

        stop, target: prices. trail: the stop follows the best price at this distance, in moves of at
        least `step`. until: seconds after the tick at hand, when the position is closed at the market.
        order_type: SL or SLM; by the exchange's rules when not told. gtt: stop and target lie at the
        broker as a trigger, for positions held overnight (CNC, NRML, MTF).

        REFUSED with FROZEN: with gtt, while a trigger of the strategy's own (`place_gtt`) closes the same
        position: cancel that first, or ask for exits without gtt. An order by which the strategy closes the
        position itself is refused with FROZEN when its exits were quicker, or do not give way in 3 s.
        """
        at = self._subscribed_slot(instrument_token, slot)
        prices = self._px_of_prices(at, stop, target, trail, step)
        if isinstance(prices, Reason):
            return self._refuse(prices)
        stop_px, target_px, trail_px, step_px = prices
        until_ns = self._desk.view.recv_ns + round(until * NS_PER_S) if until is not None else 0
        return self._put(
            {
                "kind": int(IntentKind.EXITS),
                "slot": at,
                "product": int(_member(Product, product)),
                "order_type": 0 if order_type is None else int(_member(OrderType, order_type)),
                "flags": int(IntentFlag.GTT) if gtt else 0,
                "trigger_px": stop_px,
                "px": target_px,
                "trail_px": trail_px,
                "step_px": step_px,
                "deadline_ns": until_ns,
            }
        )

    def place_gtt(
        self,
        side: str | Side,
        instrument_token: int,
        quantity: int,
        trigger_price: float,
        price: float,
        product: str | Product = "CNC",
        *,
        slot: int | None = None,
    ) -> Placed:
        """Ask for a trigger at the broker: at `trigger_price` it places a LIMIT order at `price`.

        It waits for days, without the engine. `cancel_order` takes it back while it has not fired.
        REFUSED with FROZEN when it would close what exits of the same position close that lie at the broker
        themselves (`exits(..., gtt=True)`): both could fire; change the exits instead.
        """
        at = self._subscribed_slot(instrument_token, slot)
        prices = self._px_of_prices(at, price, trigger_price)
        if isinstance(prices, Reason):
            return self._refuse(prices)
        px, trigger_px = prices
        if not 0 < quantity <= QTY_MAX or px <= 0 or trigger_px <= 0:
            return self._refuse(Reason.BAD_INTENT)
        return self._put(
            {
                "kind": int(IntentKind.GTT),
                "slot": at,
                "side": int(_member(Side, side)),
                "order_type": int(OrderType.LIMIT),
                "product": int(_member(Product, product)),
                "validity": int(Validity.DAY),
                "qty": quantity,
                "px": px,
                "trigger_px": trigger_px,
            }
        )

    def place_group(self, legs: Sequence[Mapping[str, Any]]) -> list[Placed]:
        """Ask for orders that belong together: all of them or none; each leg has place_order's arguments.

        They are judged together, and their margin is asked for before the first leaves. Purchases go
        first, each next leg when the last one has filled. A group that fails half-way is unwound.
        Answers one Placed for each leg, in order; when one cannot be taken none is.
        """
        outbox = self._desk.outbox
        made = [self._order_fields(**leg) for leg in legs]
        refused = next((fields for fields in made if isinstance(fields, Reason)), None)
        if refused is None and outbox.n + len(legs) > outbox.budget:
            refused = Reason.QUEUE_FULL
        if refused is not None:
            return [self._refuse(refused)] * len(legs)
        words = {"group": outbox.next_seq & 0xFFFFFFFF, "legs": len(legs)}
        return [
            self._put(fields | words | {"leg": number})
            for number, fields in enumerate(made, 1)
            if not isinstance(fields, Reason)
        ]

    def _subscribed_slot(self, instrument_token: int, slot: int | None) -> int:
        """The slot of a subscribed instrument; -1: it is not."""
        desk = self._desk
        at = desk.slot_of.get(instrument_token, -1) if slot is None else slot
        return at if 0 <= at < len(desk.subscribed) and desk.subscribed[at] else -1

    def _px_of_prices(self, at: int, *prices: float | None) -> tuple[int, ...] | Reason:
        """Prices in the instrument's unit, None as 0; or why they cannot be."""
        if at < 0:
            return Reason.UNKNOWN_INSTRUMENT
        scale = int(self._desk.scales[at])
        try:
            return tuple(0 if price is None else px_from_price(price, scale) for price in prices)
        except PriceError:
            return Reason.TICK_SIZE

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
        prices = self._px_of_prices(slot, price, trigger_price)
        if isinstance(prices, Reason):
            return self._refuse(prices)
        px, trigger_px = prices
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
