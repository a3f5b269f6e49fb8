"""Layer 4, simulator, cold: cash, reserved cash, positions and holdings of the one simulated client.

Integers only. Cash is opening - buys + sells, before charges. What may still be spent is cash less
what open orders reserve and positions block (margin.py sets both).
Fees of the broker (square-off) are noted apart and leave the cash alone, as on Kite, where they
come with the contract note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.orders import Trade
from kite_hft.trading.instruments import Instrument
from kite_hft.units import value_paise


@dataclass(slots=True)
class Position:
    """Of one (instrument, product). `buy_*`, `sell_*`: sums over the day's trades and conversions;
    `*_units`: price x quantity in units. What was carried in stands apart: `overnight_quantity` is
    signed, `overnight_px` its average price, `overnight_paise` its signed value."""

    instrument: Instrument
    product: Product
    buy_quantity: int = 0
    sell_quantity: int = 0
    buy_units: int = 0
    sell_units: int = 0
    buy_paise: int = 0
    sell_paise: int = 0
    overnight_quantity: int = 0
    overnight_px: int = 0
    overnight_paise: int = 0

    @property
    def net(self) -> int:
        """Signed quantity held now."""
        return self.overnight_quantity + self.day_net

    @property
    def day_net(self) -> int:
        """Signed quantity of the day's trades alone."""
        return self.buy_quantity - self.sell_quantity

    def move(self, to: Position, side: Side, position_type: str, quantity: int) -> None:
        """Give `quantity` of the day's buys (or sells), or of what was carried in, to another
        product at its average price. The sum of both positions stays what it was, to the paisa."""
        name = "overnight" if position_type == "overnight" else side.name.lower()
        whole = abs(int(getattr(self, f"{name}_quantity")))
        parts = ("paise",) if name == "overnight" else ("units", "paise")
        for part in parts:
            field = f"{name}_{part}"
            share = getattr(self, field) * quantity // whole
            setattr(self, field, getattr(self, field) - share)
            setattr(to, field, getattr(to, field) + share)
        moved = quantity if side == Side.BUY or name != "overnight" else -quantity
        setattr(self, f"{name}_quantity", getattr(self, f"{name}_quantity") - moved)
        setattr(to, f"{name}_quantity", getattr(to, f"{name}_quantity") + moved)
        if name == "overnight":
            kept = abs(to.overnight_quantity) - quantity
            worth = self.overnight_px * quantity + to.overnight_px * kept
            to.overnight_px = worth // (quantity + kept) if quantity + kept else 0


@dataclass(slots=True)
class Holding:
    """Shares in the demat account at the start of the day.

    `quantity`: settled; `t1_quantity`: bought the day before and on their way; `opening`: settled
    at the start; `authorised`: what may be sold of the settled ones today (CDSL TPIN; None: a
    standing DDPI, all of it); what was sold today shows in the CNC position, not here.
    """

    instrument: Instrument
    quantity: int
    t1_quantity: int = 0
    average_px: int = 0
    authorised: int | None = 0
    authorised_ns: int = 0
    opening: int = 0

    def __post_init__(self) -> None:
        self.opening = self.opening or self.quantity


class Fee(NamedTuple):
    """What the broker charges for acting by himself."""

    at_ns: int
    order_id: str
    paise: int


class Account:
    """Cash in paise, positions by (slot, product), holdings by slot, trades in order."""

    def __init__(self, cash_paise: int) -> None:
        self.opening_paise = cash_paise
        self.cash_paise = cash_paise
        self.reserved_paise = 0
        self.blocked: Callable[[], int] = lambda: 0
        """What positions block of the cash; negative: what they gave back of it."""
        self.positions: dict[tuple[int, Product], Position] = {}
        self.holdings: dict[int, Holding] = {}
        self.trades: list[Trade] = []
        self.fees: list[Fee] = []

    @property
    def available_paise(self) -> int:
        """What no open order and no position has laid claim to."""
        return self.cash_paise - self.reserved_paise - self.blocked()

    def net(self, slot: int, product: Product) -> int:
        """Signed quantity held."""
        position = self.positions.get((slot, product))
        return 0 if position is None else position.net

    def net_all(self, slot: int) -> int:
        """Signed quantity over all products."""
        return sum(p.net for (other, _), p in self.positions.items() if other == slot)

    def position(self, instrument: Instrument, product: Product) -> Position:
        """The position of an instrument in a product; made flat when there is none."""
        return self.positions.setdefault((instrument.slot, product), Position(instrument, product))

    def carry_in(self, instrument: Instrument, product: Product, quantity: int, average_px: int) -> None:
        """A position from before today; the cash it took was taken then."""
        position = self.position(instrument, product)
        position.overnight_quantity, position.overnight_px = quantity, average_px
        position.overnight_paise = value_paise(
            average_px, quantity, instrument.multiplier or 1, instrument.scale
        )

    def deliverable(self, slot: int, *, with_t1: bool = True) -> int:
        """How much a CNC sale may take: settled, T1 and bought today, less what was sold."""
        holding = self.holdings.get(slot)
        held = 0 if holding is None else holding.quantity + (holding.t1_quantity if with_t1 else 0)
        return held + self.net(slot, Product.CNC)

    def unauthorised(self, slot: int, quantity: int) -> int:
        """How much of another CNC sale of `quantity` would come from settled shares that are not
        authorised today. What was bought today goes first, then the settled, then T1."""
        holding = self.holdings.get(slot)
        if holding is None or holding.authorised is None:
            return 0
        position = self.positions.get((slot, Product.CNC))
        day_net = 0 if position is None else position.day_net
        taken = min(max(0, quantity - day_net), holding.quantity)
        return max(0, taken - holding.authorised)

    def note_fee(self, at_ns: int, order_id: str, paise: int) -> None:
        """Write down a fee of the broker's own order."""
        self.fees.append(Fee(at_ns, order_id, paise))

    def book(self, trade: Trade) -> None:
        """Add a trade to its position and to the cash."""
        self.trades.append(trade)
        position = self.position(trade.instrument, trade.product)
        units = trade.px * trade.quantity
        if trade.side == Side.BUY:
            position.buy_quantity += trade.quantity
            position.buy_units += units
            position.buy_paise += trade.value_paise
            self.cash_paise -= trade.value_paise
        else:
            position.sell_quantity += trade.quantity
            position.sell_units += units
            position.sell_paise += trade.value_paise
            self.cash_paise += trade.value_paise

    def totals(self) -> dict[str, Any]:
        """Plain numbers for an independent check: cash, reserve, fees, net positions by key."""
        return {
            "cash_paise": self.cash_paise,
            "reserved_paise": self.reserved_paise,
            "fees_paise": sum(fee.paise for fee in self.fees),
            "positions": {f"{p.instrument.key}:{p.product.name}": p.net for p in self.positions.values()},
        }
