"""Layer 2, orders process, hot: profit and loss of a run after charges, in exact paise.

    gross = realised + unrealised      net = gross - charges

Strategies' positions count whole. What the broker or a person does to them has been moved into them
(Book.cut), so that EXTERNAL, what the account holds beside this run, never counts.

Charges are settled order by order as fills are accounted (`CostBook`); a partial fill adds what the
order costs more than before. The depository charge of a day is due once for each share of which
more is sold than bought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kite_hft.layout import NO_SLOT, Product, Side
from kite_hft.trading.book import Book
from kite_hft.trading.costs import Schedule
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.positions import UNKNOWN_ORDER, Cut, Position, paise_of_units
from kite_hft.trading.records import name_of

Key = tuple[int, int, int]
"""(strategy, slot, product)."""


class CostBook:
    """What the orders of a run have cost so far. `schedule` None: nothing costs anything."""

    def __init__(self, book: Book, instruments: InstrumentTable, schedule: Schedule | None) -> None:
        """Raises ChargesError: an instrument that the schedule has no rates for."""
        if schedule is not None:
            schedule.check(instruments)
        self._book, self._instruments, self._schedule = book, instruments, schedule
        self._of_order: dict[int, int] = {}
        self._of_position: dict[Key, int] = {}
        self._cuts = 0  # so many of the book's are accounted
        self._cut_paise: dict[tuple[str, int], tuple[int, int]] = {}  # (order id, product) -> (value, cost)
        self._told: dict[int, int] = {}  # order -> paise that its fills were told to cost

    def settle(self) -> None:
        """Account all orders that filled since, and all cuts; a no-op when there are none."""
        while self._book.traded:
            self._settle(self._book.orders[self._book.traded.pop()])
        for cut in self._book.cuts[self._cuts :]:
            self._settle_cut(cut)
        self._cuts = len(self._book.cuts)

    def of_order(self, order_no: int) -> int:
        """Paise that an order has cost so far."""
        self.settle()
        return self._of_order.get(order_no, 0)

    def begin(self) -> None:
        """What was accounted so far (a replayed journal) has been told before."""
        self.settle()
        self._told = dict(self._of_order)

    def of_fill(self, order_no: int) -> int:
        """Paise that an order costs more than when this was asked last."""
        more = self.of_order(order_no) - self._told.get(order_no, 0)
        self._told[order_no] = self._of_order.get(order_no, 0)
        return more

    def of_position(self, position: Position) -> int:
        """Paise that the orders of a position have cost, without the depository's day charge; as of the last
        `settle`."""
        return self._of_position.get((position.strategy, position.slot, position.product), 0)

    def _settle(self, order: Order) -> None:
        if self._schedule is None or order.slot == NO_SLOT:
            return
        instrument = self._instruments[order.slot]
        value = abs(paise_of_units(order.filled_units, instrument))
        cost = self._schedule.charges(instrument, order.product, order.side, value).total_paise
        more = cost - self._of_order.get(order.order_no, 0)
        self._of_order[order.order_no] = cost
        self._charge((order.strategy, order.slot, order.product), more)

    def _settle_cut(self, cut: Cut) -> None:
        """A stranger's order that closed positions of ours costs us too, with the broker's fee once.

        Without a known order nothing is charged: the account may just have netted what it held.
        """
        if self._schedule is None or cut.order_id == UNKNOWN_ORDER:
            return
        instrument, order = self._instruments[cut.slot], (cut.order_id, cut.product)
        value, cost = self._cut_paise.get(order, (0, 0))
        fee = self._schedule.fixed_paise("square_off_fee", instrument, cut.product) if cut.square_off else 0
        value += paise_of_units(cut.units, instrument)
        side = Side.BUY if value > 0 else Side.SELL
        charges = self._schedule.charges(instrument, cut.product, side, abs(value)).total_paise
        whole = fee + charges if value else 0  # it was taken back
        self._cut_paise[order] = (value, whole)
        self._charge((cut.strategy, cut.slot, cut.product), whole - cost)

    def _charge(self, key: Key, paise: int) -> None:
        self._of_position[key] = self._of_position.get(key, 0) + paise

    def depository_paise(self, slot: int, product: int, traded: int) -> int:
        """The day's charge for a share of which `traded` (net of buys) left the account; 0: none did."""
        if self._schedule is None or traded >= 0 or product not in (Product.CNC, Product.MTF):
            return 0
        return self._schedule.fixed_paise("depository_charge", self._instruments[slot], product)


@dataclass(slots=True)
class Pnl:
    """Paise, of one strategy, one product, or all."""

    realised: int = 0
    unrealised: int = 0
    charges: int = 0

    @property
    def gross(self) -> int:
        return self.realised + self.unrealised

    @property
    def net(self) -> int:
        return self.gross - self.charges

    def add(self, more: Pnl) -> None:
        """Add another part to this one."""
        self.realised += more.realised
        self.unrealised += more.unrealised
        self.charges += more.charges

    def as_dict(self) -> dict[str, int]:
        """gross, charges, net, realised, unrealised."""
        return {
            "gross": self.gross,
            "charges": self.charges,
            "net": self.net,
            "realised": self.realised,
            "unrealised": self.unrealised,
        }


def account(book: Book, instruments: InstrumentTable, costs: CostBook, mark: Callable[[int], int]) -> Pnl:
    """All of the run. `mark(slot)`: last price in units, 0: unknown (open quantity counts at cost)."""
    total = Pnl()
    for _position, part in parts(book, instruments, costs, mark):
        total.add(part)
    return total


def breakdown(
    book: Book, instruments: InstrumentTable, costs: CostBook, mark: Callable[[int], int]
) -> dict[str, Any]:
    """pnl_paise of report.json: the total, and the same by strategy number and by product."""
    total, strategies, products = Pnl(), dict[str, Pnl](), dict[str, Pnl]()
    for position, part in parts(book, instruments, costs, mark):
        total.add(part)
        strategies.setdefault(str(position.strategy), Pnl()).add(part)
        products.setdefault(name_of(Product, position.product), Pnl()).add(part)
    return total.as_dict() | {
        "by_strategy": {name: part.as_dict() for name, part in sorted(strategies.items())},
        "by_product": {name: part.as_dict() for name, part in sorted(products.items())},
    }


def parts(
    book: Book, instruments: InstrumentTable, costs: CostBook, mark: Callable[[int], int]
) -> Iterator[tuple[Position, Pnl]]:
    """Every position of the run that has traded, with its profit and loss."""
    costs.settle()
    moved: dict[tuple[int, int], list[Position]] = {}
    for position in book.positions.values():
        if position.fills and position.strategy != EXTERNAL:
            moved.setdefault((position.slot, position.product), []).append(position)
    for (slot, product), positions in moved.items():
        instrument = instruments[slot]
        px = mark(slot) if any(p.quantity for p in positions) else 0
        # The day charge is the account's; it stands with the position that sold most.
        sold_most = min(positions, key=lambda p: p.quantity)
        depository = costs.depository_paise(slot, product, sum(p.quantity for p in positions))
        for position in positions:
            open_units = position.quantity * px - position.cost_units if px else 0
            realised = paise_of_units(position.realised_units, instrument)
            gross = paise_of_units(position.realised_units + open_units, instrument)
            charges = costs.of_position(position) + (depository if position is sold_most else 0)
            yield position, Pnl(realised, gross - realised, charges)
