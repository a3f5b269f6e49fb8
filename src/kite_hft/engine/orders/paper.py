"""Layer 5, orders process, cold: paper trading: the simulated exchange on the real feed's ticks.

The exchange lives in this process and dies with it. A process that is started again gives the new
one what the journal knows (`resume`): positions and cash go on; orders that still worked are gone,
and are told as cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from kite_hft.clock import Clock
from kite_hft.layout import TICK, OrderType, Product, Side
from kite_hft.memory.follow import FollowingReader
from kite_hft.sessions import ist_text
from kite_hft.sim.in_process import UpdateTexts, make_broker
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import Order
from kite_hft.trading.positions import divide_half_even, paise_of_units
from kite_hft.trading.records import name_of

DELAY_NS: Final = (15_000_000, 75_000_000)
"""One way; there and back 30 to 150 ms, as a broker takes."""
LOOK_NS: Final = 5_000_000
TICKS_PER_LOOK: Final = 4096


class PaperTransport:
    """The transport of paper mode. Ticks are taken in whenever it is polled."""

    def __init__(
        self,
        instruments: InstrumentTable,
        cash_paise: int,
        seed: int,
        clock: Clock,
        rings: Sequence[FollowingReader],
    ) -> None:
        self._broker = make_broker(instruments, cash_paise, seed, clock, DELAY_NS)
        self._instruments, self._clock, self._rings = instruments, clock, rings
        self._ticks = np.zeros(TICKS_PER_LOOK, TICK)
        self.texts = UpdateTexts(clock)

    def resume(self, book: Book) -> None:
        """Let the account hold what `book`, replayed from the journal, says; end what worked in it."""
        exchange, now_ns = self._broker.exchange, self._clock.real_ns()
        ids = [order.order_id for order in book.orders.values() if order.order_id]
        while ids and exchange.desk.new_id(now_ns) < max(ids):
            pass  # no number is given twice
        for key in {(p.slot, p.product) for p in book.positions.values()}:
            self._hold(key, book)
        for order in book.orders.values():
            instrument = self._instruments[order.slot]
            exchange.account.cash_paise -= order.sign * paise_of_units(order.filled_units, instrument)
        rows = [self._ended(order) for order in book.live()]
        self.texts.add([self._broker.api.update_frame(row) for row in rows])

    def _hold(self, key: tuple[int, int], book: Book) -> None:
        """One position, of all strategies together."""
        held = [p for p in book.positions.values() if (p.slot, p.product) == key]
        quantity, units = sum(p.quantity for p in held), sum(p.cost_units for p in held)
        if quantity:
            average_px = divide_half_even(units if quantity > 0 else -units, abs(quantity))
            words = (self._instruments[key[0]], Product(key[1]), quantity, average_px)
            self._broker.exchange.account.carry_in(*words)

    def _ended(self, order: Order) -> dict[str, Any]:
        """The update that tells of an order's end."""
        instrument = self._instruments[order.slot]
        average = order.filled_units / order.filled / instrument.scale if order.filled else 0
        return {
            "order_id": order.order_id or f"lost-{order.tag}",
            "status": "CANCELLED",
            "status_message": "the paper exchange was started again",
            "exchange": instrument.exchange,
            "tradingsymbol": instrument.symbol,
            "instrument_token": instrument.token,
            "transaction_type": name_of(Side, order.side),
            "order_type": name_of(OrderType, order.order_type),
            "product": name_of(Product, order.product),
            "quantity": order.quantity,
            "filled_quantity": order.filled,
            "pending_quantity": 0,
            "cancelled_quantity": order.quantity - order.filled,
            "average_price": average,
            "price": order.px / instrument.scale,
            "trigger_price": order.trigger_px / instrument.scale,
            "tag": order.tag,
            "tags": [order.tag],
            "order_timestamp": ist_text(self._clock.real_ns()),
        }

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self._broker.submit(request_id, request)

    def parameters(self) -> dict[str, Any]:
        """By which rules orders are filled, for the report."""
        return self._broker.exchange.parameters()

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]:
        """Let the exchange see the newest ticks, then collect answers and order updates."""
        exchange = self._broker.exchange
        for ring in self._rings:
            while n := ring.drain(self._ticks):
                exchange.on_ticks(self._ticks[:n], self._clock.real_ns())
        exchange.step(self._clock.real_ns())
        answers = self._broker.poll()
        self.texts.add(self._broker.update_frames())
        return answers

    def next_deadline_ns(self) -> int | None:
        """Ticks are looked at every few milliseconds: nobody wakes this process for them."""
        return self._clock.mono_ns() + LOOK_NS

    def silent(self, now_ns: int) -> None:
        """There is no descriptor that could have been looked at."""

    def fileno(self) -> int:
        return -1

    def last_failure(self) -> str:
        return ""

    def close(self) -> None:
        pass
