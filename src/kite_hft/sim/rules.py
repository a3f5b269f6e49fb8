"""Layer 4, simulator, cold: what the simulated broker refuses, and in which words.

Two moments. `check_request` runs before an order exists and raises Refusal (an HTTP 400 to the
client). `risk_rejection` is the broker's risk system: the order exists by then and ends REJECTED
with a status message and the raw text ("RMS:..."). Texts marked "invented" in the comments are
ours; the others were seen in official mock data or published threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.account import Account
from kite_hft.sim.orders import Change, NewOrder, Refusal
from kite_hft.trading.instruments import Instrument
from kite_hft.units import price_text, rupees_text, value_paise

TAG_MAX: Final = 20
NO_PROTECTION: Final = (
    "Market orders without market protection are not allowed via API. "
    "Please set market protection or use a Limit order."
)
STOPS: Final = frozenset((OrderType.SL, OrderType.SLM))
MARKETS: Final = frozenset((OrderType.MARKET, OrderType.SLM))
OPTIONS: Final = frozenset(("CE", "PE"))

# Automatic protection, percent of the last price, by upper price bound in rupees (support article).
_AUTO_EQUITY: Final = ((100, 2.0), (500, 1.0), (None, 0.5))
_AUTO_OPTION: Final = ((10, 5.0), (100, 3.0), (500, 2.0), (None, 1.0))


@dataclass(frozen=True, slots=True)
class Circuit:
    """Price band of a day, in basis points of the previous close (invented: the real ones come
    from the exchange)."""

    equity_bp: int = 2_000
    option_up_bp: int = 100_000

    def band(self, instrument: Instrument, close_px: int) -> tuple[int, int]:
        """Lowest and highest price allowed, on the instrument's grid; (0, 0): not known."""
        if close_px <= 0:
            return 0, 0
        step = max(instrument.tick_px, 1)
        option = instrument.kind in OPTIONS
        up = close_px * (10_000 + (self.option_up_bp if option else self.equity_bp)) // 10_000
        low = step if option else close_px * (10_000 - self.equity_bp) // 10_000
        return max(-(-low // step) * step, step), up // step * step


@dataclass(frozen=True, slots=True)
class ExchangeParams:
    """Knobs of the simulated broker. `latency_ns`: bounds of each stage's uniform delay."""

    latency_ns: tuple[int, int] = (100_000, 700_000)
    circuit: Circuit = field(default_factory=Circuit)
    user_id: str = "SIM001"
    keep_tags: bool = True
    modifications_max: int = 25


def auto_protection(instrument: Instrument, last_px: int) -> float:
    """Kite's automatic market protection in percent."""
    table = _AUTO_OPTION if instrument.kind in OPTIONS else _AUTO_EQUITY
    for bound, percent in table:
        if bound is None or last_px < bound * instrument.scale:
            return percent
    raise AssertionError("the last row of the table has no bound")


def protected_px(instrument: Instrument, side: Side, last_px: int, percent: float) -> int:
    """Limit price of a protected market order, on the grid and inside the band."""
    step = max(instrument.tick_px, 1)
    band = last_px * round(percent * 1_000_000) // 100_000_000
    if side == Side.BUY:
        return (last_px + band) // step * step
    return max(-(-(last_px - band) // step) * step, step)


def check_request(order: NewOrder) -> None:
    """Refuse what is wrong with a new order in itself.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    row = order.instrument
    if row.is_index:
        raise _input(f"{row.symbol} is an index and cannot be traded.")  # invented
    if order.order_type in MARKETS and not order.protection_percent:
        raise _input(NO_PROTECTION)
    if order.protection_percent and not (
        order.protection_percent == -1 or 0 < order.protection_percent <= 100
    ):
        raise _input("Invalid `market_protection`.")  # invented
    if row.exchange == "MCX" and order.validity == Validity.IOC:
        raise _input("IOC orders are not allowed for MCX.")  # invented; the rule is of 2026-04-01
    if order.tag is not None and len(order.tag) > TAG_MAX:
        raise _input("Invalid `tag`. Maximum 20 characters allowed.")  # invented
    check_terms(row, order.order_type, order.quantity, order.px, order.trigger_px)


def check_terms(row: Instrument, order_type: OrderType, quantity: int, px: int, trigger_px: int) -> None:
    """Quantity and prices of a new or changed order.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    if quantity <= 0:
        raise _input("Invalid `quantity`.")
    if quantity % max(row.lot_size, 1):
        raise _input(f"Quantity should be multiple of lot size {row.lot_size}.")  # invented
    priced = order_type in (OrderType.LIMIT, OrderType.SL)
    for name, value, needed in (("price", px, priced), ("trigger_price", trigger_px, order_type in STOPS)):
        if not needed:
            continue
        if value <= 0:
            raise _input(f"Invalid `{name}`.")
        if row.tick_px and value % row.tick_px:
            grid = price_text(row.tick_px, row.scale)
            raise _input(f"Tick size for this script is {grid}. Invalid `{name}`.")  # invented


def check_change(row: Instrument, change: Change) -> None:
    """A modification's own rules: a change to MARKET needs protection.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    if change.order_type in MARKETS and not change.protection_percent:
        raise _input(NO_PROTECTION)
    if row.exchange == "MCX" and change.validity == Validity.IOC:
        raise _input("IOC orders are not allowed for MCX.")
    if change.quantity is not None and (change.quantity <= 0 or change.quantity % max(row.lot_size, 1)):
        raise _input(f"Quantity should be multiple of lot size {row.lot_size}.")


def order_value_paise(instrument: Instrument, px: int, quantity: int) -> int:
    """Price x quantity x multiplier; an instrument without multiplier counts as 1."""
    return value_paise(px, quantity, instrument.multiplier or 1, instrument.scale)


def risk_rejection(
    order: NewOrder,
    px: int,
    quantity: int,
    band: tuple[int, int],
    account: Account,
    open_sells: int,
    user_id: str,
) -> tuple[str, str] | None:
    """The risk system's verdict: None, or (status_message, status_message_raw).

    `px`: the limit price, after protection; `open_sells`: quantity of other open sells of the
    same instrument and product.
    """
    row = order.instrument
    if row.freeze_quantity and quantity > row.freeze_quantity:
        raw = f"RMS:Rule: Check freeze qty, Freeze qty {row.freeze_quantity}, order qty {quantity}"
        return f"Quantity exceeds the freeze quantity of {row.freeze_quantity}.", raw  # invented
    low, high = band
    if high and not low <= px <= high:
        bounds = f"{price_text(low, row.scale)} - {price_text(high, row.scale)}"
        return (
            f"Price is outside the circuit limits {bounds}.",
            f"RMS:Rule: Check circuit limit including square off order exceeds, circuit limit {bounds}",
        )
    if order.side == Side.BUY:
        required = order_value_paise(row, px, quantity)
        available = account.available_paise
        if required > available:
            need, have = rupees_text(required), rupees_text(available)
            return (
                f"Insufficient funds. Required margin is {need} but available margin is {have}. "
                "Check the orderbook for open orders.",
                f"RMS:Margin Exceeds,Required:{need}, Available:{have} for entity account-{user_id} "
                "across exchange across segment across product ",
            )
    elif order.product == Product.CNC:
        held = account.net(row.slot, Product.CNC)
        if quantity + open_sells > held:
            return (
                f"Insufficient stock holding. Required quantity {quantity + open_sells}, available {held}.",
                f"RMS:Rule: Check holdings for entity account-{user_id}, required {quantity + open_sells}, "
                f"available {held}",
            )  # invented
    return None


def _input(message: str) -> Refusal:
    return Refusal("InputException", message)
