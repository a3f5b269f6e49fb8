"""Layer 4, simulator, cold: broker and exchange in one: the account's whole face.

Pure and seeded: no clock, no I/O; every call is told `now_ns` (ns since the epoch, the exchange's
clock). Orders walk Kite's status chain (chain.py) with a drawn delay, meet the moving book
(matching.py) under the conditions of the hour (conditions.py, hours.py); varieties.py continues
those of several legs, gtt.py keeps triggers, broker_acts.py is what happens without being asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from kite_hft.layout import TICK, Product, Side
from kite_hft.sim.exchange import broker_acts, portfolio
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.account import Account, Holding
from kite_hft.sim.exchange.chain import NOT_FOUND, Chain
from kite_hft.sim.exchange.checks import check_cover, check_request
from kite_hft.sim.exchange.conditions import Conditions, among
from kite_hft.sim.exchange.desk import Desk
from kite_hft.sim.exchange.gtt import GttBook
from kite_hft.sim.exchange.hours import Hours
from kite_hft.sim.exchange.margin import Margins
from kite_hft.sim.exchange.matching import Lock, Matching
from kite_hft.sim.exchange.orders import Change, NewOrder, Order, Refusal
from kite_hft.sim.exchange.risk import CLOSED_MARKET, HALTED
from kite_hft.sim.exchange.rules import MARKETS, ExchangeParams
from kite_hft.sim.exchange.varieties import Varieties
from kite_hft.sim.market.source import Ticks
from kite_hft.trading.instruments import InstrumentTable

__all__ = ["NOT_FOUND", "Exchange"]

FIRST_AUCTION: Final = 20
OpeningPosition = tuple[int, Product, int, int]
"""(slot, product, signed quantity, average price in units)."""


class Exchange:
    """One client's account at the simulated broker."""

    def __init__(
        self,
        instruments: InstrumentTable,
        cash_paise: int,
        seed: int = 0,
        params: ExchangeParams | None = None,
        opening_positions: Sequence[OpeningPosition] = (),
        opening_holdings: Sequence[Holding] = (),
        auctions: Mapping[str, int] | None = None,
    ) -> None:
        """`auctions`: buy-in auctions of the day, number -> slot; None: one for each holding."""
        self.instruments = instruments
        self.params = params or ExchangeParams()
        self.account = Account(cash_paise)
        for slot, product, quantity, average_px in opening_positions:
            self.account.carry_in(instruments[slot], product, quantity, average_px)
        self.account.holdings = {h.instrument.slot: h for h in opening_holdings}
        if auctions is None:
            auctions = {str(n): h.instrument.slot for n, h in enumerate(opening_holdings, FIRST_AUCTION)}
        self.auctions = dict(auctions)
        self.latest: Ticks = np.zeros(len(instruments), TICK)
        self.latest["slot"] = np.arange(len(instruments))
        self.margins = Margins(self.account, instruments, self.latest)
        self.account.blocked = self.margins.blocked_paise
        self.desk = Desk(self.account, self.params, seed, self.margins)
        self.orders: dict[str, Order] = self.desk.orders
        self.matching = Matching(self.latest, self.desk, self.params.fills, self._mode, self._protect)
        self.seen = self.matching.seen
        self.conditions = Conditions(instruments, self.params, self.desk, self.latest, seed)
        self.conditions.locks = self.matching.locks
        self.chain = Chain(self.desk, self.matching, self.conditions)
        self.varieties = Varieties(self.desk, self.chain, self.matching, self.conditions)
        self.gtts = GttBook(
            self.params.market.gtt, lambda order: check_request(order, self.params.market), self._place_fired
        )
        self.desk.on_done.append(self._fired_done)
        self._hours = Hours(self) if self.conditions.enforced else None

    def _mode(self, slot: int) -> str:
        return self.conditions.mode(slot)

    def _protect(self, order: Order, _: int) -> None:
        self.chain.protect_triggered(order)

    # -- market data

    def on_ticks(self, ticks: Ticks, now_ns: int) -> None:
        """The market moves: TICK rows in order; resting orders and triggers may go off."""
        self.step(now_ns)
        ticks = self.conditions.overlay(ticks)
        slots = ticks["slot"]
        triggers = self.gtts.watched()
        interesting = self.matching.watched[slots]
        if triggers:
            interesting |= among(slots, triggers)
        for i in np.flatnonzero(interesting).tolist():
            slot = int(slots[i])
            if self.matching.watched[slot]:
                self.matching.snapshot(slot, ticks[i], now_ns, trading=not self.halted)
            if slot in triggers and self.conditions.mode(slot) == "continuous":
                self.latest[slot] = ticks[i]
                self.seen[slot] = True
                self.gtts.on_last(slot, int(ticks[i]["last_px"]), now_ns)
        if self._hours is not None:
            self._hours.watch(ticks)
        self.matching.take_over(ticks)

    # -- requests

    def place(self, request: NewOrder, now_ns: int, *, taken_first: bool = False) -> str:
        """Take an order in; returns its id (of an iceberg: of the first leg; of a cover order: of
        the first leg). It will be REJECTED later if the risk system says so.

        taken_first: so it is, too, when it comes at a wrong time: a broker who takes in what is well formed.

        Raises:
            Refusal: the request is wrong in itself, or comes at a wrong time; no order exists.
        """
        self.step(now_ns)
        self._check(request, taken_first)
        return self.varieties.begin(request, now_ns).order_id

    def place_sliced(self, request: NewOrder, now_ns: int) -> tuple[str, list[str | Refusal]]:
        """Take an order in, split over the freeze quantity: (id of the whole, id or error of each).

        An order within the freeze quantity is one order, and no children.

        Raises:
            Refusal: as `place`; or too many slices.
        """
        freeze = self.params.market.freeze(request.instrument)
        if not freeze or request.quantity <= freeze:
            return self.place(replace(request, autoslice=False), now_ns), []
        self.step(now_ns)
        self._check(request)
        return self.varieties.slices(request, now_ns)

    def modify(self, order_id: str, change: Change, now_ns: int) -> str:
        """Ask for a change; it takes effect some stages later unless the order is done by then.

        Raises:
            Refusal: unknown, done or busy order, too many modifications, or wrong terms.
        """
        self.step(now_ns)
        order = self.chain.changeable(order_id, "modified")
        if change.parent_order_id and change.parent_order_id != order.parent_id:
            raise Refusal("InputException", "Invalid `parent_order_id`.")
        self.chain.modify(order, change, now_ns)
        return order_id

    def cancel(self, order_id: str, now_ns: int, parent_order_id: str | None = None) -> str:
        """Ask for cancellation; of a cover order's second leg: for the exit from the position.

        Raises:
            Refusal: unknown, done or busy order, or a wrong parent.
        """
        self.step(now_ns)
        order = self.chain.changeable(order_id, "cancelled")
        if order.request.variety == o.CO and order.parent_id is not None and not order.triggered:
            self.varieties.exit_cover(order, parent_order_id, now_ns)
        elif parent_order_id and parent_order_id != order.parent_id:
            raise Refusal("InputException", "Invalid `parent_order_id`.")
        else:
            self.chain.cancel(order, now_ns)
        return order_id

    def _check(self, request: NewOrder, taken_first: bool = False) -> None:
        check_request(request, self.params.market)
        row = request.instrument
        if request.variety == o.CO and request.order_type in MARKETS:
            check_cover(request.side, int(self.latest[row.slot]["last_px"]), request.trigger_px)
        if request.variety == o.AUCTION:
            self._check_auction(request)
        elif request.variety != o.AMO and not taken_first:
            if self.halted:
                raise Refusal("OrderException", HALTED[0])
            if not self.conditions.takes(row.slot, request.order_type):
                raise Refusal("OrderException", CLOSED_MARKET[0])
        self.chain.check_authorised(request)

    def _check_auction(self, request: NewOrder) -> None:
        slot = request.instrument.slot
        if self.auctions.get(request.auction_number or "") != slot:
            raise Refusal("InputException", "Invalid `auction_number`: no such auction in this instrument.")
        window = self.params.market.auction_window(request.instrument)
        if self.conditions.enforced and window is not None and not self.conditions.within(*window):
            raise Refusal("OrderException", "The auction market is closed now.")

    # -- triggers

    def _place_fired(self, request: NewOrder, gtt_id: int, now_ns: int) -> str:
        self._check(request)
        return self.varieties.begin(request, now_ns, gtt_id).order_id

    def _fired_done(self, order: Order, now_ns: int) -> None:
        if order.gtt_id is not None and order.now.status == o.REJECTED:
            self.gtts.order_rejected(order.gtt_id, order.order_id, order.now.message or "", now_ns)

    # -- portfolio

    def convert(
        self,
        key: str,
        old_product: Product,
        new_product: Product,
        side: Side,
        position_type: str,
        quantity: int,
        now_ns: int,
    ) -> None:
        """Convert `quantity` of a position ("EXCHANGE:SYMBOL", "day" or "overnight", long: BUY).

        Raises:
            Refusal: no such position, wrong terms, or no money.
        """
        self.step(now_ns)
        row = self.instruments.by_key.get(key)
        if row is None:
            raise Refusal("InputException", "Invalid `tradingsymbol`.")
        if self.chain.margin_rejections:
            self.chain.margin_rejections -= 1
            raise Refusal("MarginException", "Insufficient funds to convert the position.")
        portfolio.convert(
            self.account, self.margins, self.params.market, row, old_product, new_product, side,
            position_type, quantity,
        )  # fmt: skip

    def authorise(self, slots: Iterable[int] | None, now_ns: int) -> int:
        """Authorise today's sale of holdings (of some slots, or all); returns how many rows."""
        return portfolio.authorise(self.account, slots, now_ns)

    # -- what the broker and the exchange do by themselves

    def square_off_mis(self, now_ns: int, slots: Iterable[int] | None = None) -> list[str]:
        """The broker closes MIS positions; see broker_acts. Returns the ids of his orders."""
        return broker_acts.square_off_mis(self, now_ns, slots)

    def rms_order(self, slot: int, side: Side, quantity: int, product: Product, now_ns: int) -> list[str]:
        """Orders of the risk desk, without our tag. Returns their ids."""
        return broker_acts.rms_order(self, slot, side, quantity, product, now_ns)

    def cancel_stops(self, slots: Iterable[int] | None, now_ns: int) -> list[str]:
        """The exchange cancels untriggered stops; returns their ids."""
        return broker_acts.cancel_stops(self, slots, now_ns)

    def set_close(self, slot: int, close_px: int) -> None:
        """Ex-date: the previous close changes, and with it the band; triggers are cancelled."""
        self.conditions.closes[slot] = close_px
        self.latest["close_px"][slot] = close_px
        self.gtts.corporate_action(slot, self.desk.now_ns)

    def lock_circuit(self, slot: int, side: Lock | None) -> None:
        """The price is locked at the "upper" or "lower" circuit: one side trades. None frees it."""
        self.matching.lock(slot, side)

    def overlay(self, ticks: Ticks) -> Ticks:
        """The ticks with ex-date closes and one-sided books, as a feed of this exchange shows them."""
        return self.conditions.overlay(ticks)

    @property
    def halted(self) -> bool:
        """Whether the whole market stands still."""
        return self.conditions.halted

    def halt(self, on: bool, now_ns: int) -> None:
        """The market halts (no trade, no entry; cancels pass), or resumes."""
        self.step(now_ns)
        self.conditions.halted = on

    @property
    def hold_order_ns(self) -> int:
        """So long the next order stays in PUT ORDER REQ RECEIVED; 0: as usual."""
        return self.desk.hold_order_ns

    @hold_order_ns.setter
    def hold_order_ns(self, ns: int) -> None:
        self.desk.hold_order_ns = ns

    def reject_next_margin(self, n: int) -> None:
        """The next `n` orders are rejected for want of money."""
        self.chain.margin_rejections = n

    # -- time and accounts

    def step(self, now_ns: int) -> int:
        """Do all stages due by `now_ns`; returns how many.

        Raises:
            CalendarError: with hours "exchange", when the calendar does not cover the day.
        """
        if self._hours is not None:
            self._hours.begin(now_ns)
        self.gtts.step(now_ns)
        return self.desk.run(now_ns)

    def next_due_ns(self) -> int | None:
        """When the next stage is due, or None."""
        return self.desk.next_due_ns()

    def band(self, slot: int) -> tuple[int, int]:
        """Circuit limits of a slot, in its unit; (0, 0) while no close is known."""
        return self.conditions.band(slot)

    def drain_updates(self) -> list[dict[str, Any]]:
        """Order updates since the last call, oldest first: order rows, some with status UPDATE."""
        return self.desk.drain_updates()

    def parameters(self) -> dict[str, Any]:
        """How honest this simulation is: fill rule, latency, hours, rules."""
        return self.params.described() | {"orders_per_day": self.desk.orders_per_day}

    def stats(self) -> dict[str, int]:
        """Totals for the simulator's report."""
        statuses = [order.now.status for order in self.orders.values()]
        return {
            "orders": len(statuses),
            "complete": statuses.count(o.COMPLETE),
            "rejected": statuses.count(o.REJECTED),
            "cancelled": statuses.count(o.CANCELLED),
            "trades": len(self.account.trades),
            "cash_paise": self.account.cash_paise,
        }
