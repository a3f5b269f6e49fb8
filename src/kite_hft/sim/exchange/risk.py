"""Layer 4, simulator, cold: the broker's risk system: orders that exist and end REJECTED.

`rejection` gives the status message and the raw text ("RMS:..."), or None. Texts marked
"invented" are ours; the others were seen in official mock data or published threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.account import Account
from kite_hft.sim.exchange.orders import NewOrder
from kite_hft.trading.market_rules import MarketRules
from kite_hft.units import price_text, rupees_text

Rejection = tuple[str, str]
CLOSED_MARKET: Rejection = (
    "Markets are closed right now. Use GTT or place an after market order (AMO).",
    "16387 : Security is not allowed to trade in this market",
)
HALTED: Rejection = ("The market is halted.", "RMS:Rule: Market halt, new orders are blocked")  # invented


@dataclass(frozen=True, slots=True)
class RiskView:
    """What the risk system looks at beside the order: band (0, 0: unknown), quantity of other open
    sales of the same instrument and product, the client's id, and the margin that it takes."""

    account: Account
    rules: MarketRules
    band: tuple[int, int]
    open_sells: int
    user_id: str
    required_paise: int


def rejection(order: NewOrder, px: int, quantity: int, view: RiskView) -> Rejection | None:
    """The risk system's verdict on `quantity` at `px` (the limit price, after protection)."""
    return (
        _restricted(order, quantity, view)
        or _size_and_band(order, px, quantity, view)
        or (_stock(order, quantity, view) if order.side == Side.SELL else None)
        or _funds(view)
    )


def margin_exceeded(required_paise: int, available_paise: int, user_id: str) -> Rejection:
    """Not enough money, in the broker's words."""
    need, have = rupees_text(required_paise), rupees_text(available_paise)
    return (
        f"Insufficient funds. Required margin is {need} but available margin is {have}. "
        "Check the orderbook for open orders.",
        f"RMS:Margin Exceeds,Required:{need}, Available:{have} for entity account-{user_id} "
        "across exchange across segment across product ",
    )


def _restricted(order: NewOrder, quantity: int, view: RiskView) -> Rejection | None:
    """Restricted lists. What makes a position smaller passes, unless the instrument is suspended."""
    row, closed = order.instrument, view.rules.closed(order.instrument)
    if not closed:
        return None
    held = view.account.net(row.slot, order.product)
    reduces = quantity <= (max(0, -held) if order.side == Side.BUY else max(0, held))
    for what, name in closed.items():
        blocked = what == "all" or (
            not reduces and what in (order.product.name, order.variety, "entry")
        )  # fmt: skip
        if blocked:
            return (
                f"{row.symbol} is restricted ({name}): this kind of order is blocked.",
                f"RMS:Rule: Blocked by list {name} for {row.key}",
            )  # invented
    return None


def _size_and_band(order: NewOrder, px: int, quantity: int, view: RiskView) -> Rejection | None:
    row, freeze = order.instrument, view.rules.freeze(order.instrument)
    if freeze and quantity > freeze:
        raw = f"RMS:Rule: Check freeze qty, Freeze qty {freeze}, order qty {quantity}"
        return f"Quantity exceeds the freeze quantity of {freeze}.", raw  # invented
    low, high = view.band
    if high and not low <= px <= high:
        bounds = f"{price_text(low, row.scale)} - {price_text(high, row.scale)}"
        return (
            f"Price is outside the circuit limits {bounds}.",
            f"RMS:Rule: Check circuit limit including square off order exceeds, circuit limit {bounds}",
        )
    return None


def _funds(view: RiskView) -> Rejection | None:
    """What takes no money passes, also when there is none left."""
    required = view.required_paise
    if not required or required <= (available := view.account.available_paise):
        return None
    return margin_exceeded(required, available, view.user_id)


def _stock(order: NewOrder, quantity: int, view: RiskView) -> Rejection | None:
    """A delivery sale needs the shares; only MIS and derivatives may be sold short."""
    row, account = order.instrument, view.account
    if order.product == Product.MTF:
        held = account.net(row.slot, Product.MTF)
    elif order.product == Product.CNC:
        with_t1 = "btst" not in view.rules.closed(row)
        held = account.deliverable(row.slot, with_t1=with_t1)
    else:
        return None
    if quantity + view.open_sells > held:
        return (
            f"Insufficient stock holding. Required quantity {quantity + view.open_sells}, available {held}.",
            f"RMS:Rule: Check holdings for entity account-{view.user_id}, required "
            f"{quantity + view.open_sells}, available {held}",
        )  # invented
    return None
