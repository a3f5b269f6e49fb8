"""Layer 4, simulator, cold: what the broker refuses before an order exists, and in which words.

Everything here raises Refusal: an HTTP error to the client, and no order. Texts marked "invented"
are ours; the others were seen in official mock data or published threads.
"""

from __future__ import annotations

from typing import Final

from kite_hft.layout import OrderType, Side, Validity
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.orders import Change, NewOrder, Refusal
from kite_hft.sim.exchange.rules import MARKETS, STOPS
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.market_rules import MarketRules
from kite_hft.units import price_text

NO_PROTECTION: Final = (
    "Market orders without market protection are not allowed via API. "
    "Please set market protection or use a Limit order."
)
TYPE_NAMES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.SL: "SL",
    OrderType.SLM: "SL-M",
}


def check_request(order: NewOrder, rules: MarketRules) -> None:
    """Refuse what is wrong with a new order in itself.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    row = order.instrument
    if row.is_index:
        raise _input(f"{row.symbol} is an index and cannot be traded.")  # invented
    if order.variety not in o.VARIETIES:
        raise _input("Invalid `variety`.")
    check_legality(order, rules)
    required = rules.limit("protection_required")
    if required and order.order_type in MARKETS and not order.protection_percent:
        raise _input(NO_PROTECTION)
    most = rules.limit("protection_percent_max")
    if order.protection_percent and not (
        order.protection_percent == -1 or 0 < order.protection_percent <= most
    ):
        raise _input("Invalid `market_protection`.")  # invented
    longest = rules.limit("tag_length_max")
    if order.tag is not None and len(order.tag) > longest:
        raise _input(f"Invalid `tag`. Maximum {longest} characters allowed.")  # invented
    _check_validity(order, rules)
    check_terms(row, order.order_type, order.quantity, order.px, order.trigger_px, order.side)
    _check_variety(order, rules)
    check_disclosed(row, order.disclosed_quantity, order.quantity, rules)


def check_legality(order: NewOrder, rules: MarketRules) -> None:
    """What the dated tables forbid for this instrument.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    row, where = order.instrument, f"for {order.instrument.exchange} {order.instrument.kind}"
    kind = TYPE_NAMES[order.order_type]
    if rules.forbids(kind, row):
        raise _input(f"{kind} orders are not allowed {where}.")  # invented
    if rules.forbids(order.validity.name, row):
        raise _input(f"{order.validity.name} orders are not allowed for {row.exchange}.")  # invented
    if rules.forbids(order.product.name, row):
        raise _input(f"Invalid `product`: {order.product.name} is not allowed {where}.")  # invented
    if rules.forbids(order.variety, row):
        raise _input(f"Invalid `variety`: {order.variety} orders are not allowed {where}.")  # invented
    if order.disclosed_quantity and rules.forbids("DISCLOSED", row):
        raise _input(f"Disclosed quantity is not allowed {where}.")  # invented


def _check_validity(order: NewOrder, rules: MarketRules) -> None:
    if order.validity == Validity.TTL:
        if not 1 <= order.validity_ttl <= rules.limit("ttl_minutes_max"):
            raise _input("Invalid `validity_ttl`.")
        if order.variety not in (o.REGULAR, o.ICEBERG):
            raise _input(f"TTL validity is not allowed for {order.variety} orders.")  # invented
    elif order.validity_ttl:
        raise _input("`validity_ttl` needs validity TTL.")  # invented
    if order.validity == Validity.IOC and order.variety in (o.AMO, o.AUCTION, o.CO):
        raise _input(f"IOC validity is not allowed for {order.variety} orders.")  # invented


def check_terms(
    row: Instrument, order_type: OrderType, quantity: int, px: int, trigger_px: int, side: Side
) -> None:
    """Quantity and prices of a new or changed order.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    if quantity <= 0:
        raise _input("Invalid `quantity`.")
    if quantity % max(row.lot_size, 1):
        raise _input(f"Quantity should be multiple of lot size {row.lot_size}.")  # invented
    priced = order_type in (OrderType.LIMIT, OrderType.SL)
    if priced:
        check_px(row, "price", px)
    if order_type in STOPS:
        check_px(row, "trigger_price", trigger_px)
    if order_type == OrderType.SL and (trigger_px > px if side == Side.BUY else trigger_px < px):
        above = "above" if side == Side.BUY else "below"
        raise _input(f"Trigger price of a stoploss {side.name.lower()} order cannot be {above} its price.")


def check_px(row: Instrument, name: str, px: int) -> None:
    """A price is positive and on the instrument's grid.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    if px <= 0:
        raise _input(f"Invalid `{name}`.")
    if row.tick_px and px % row.tick_px:
        grid = price_text(row.tick_px, row.scale)
        raise _input(f"Tick size for this script is {grid}. Invalid `{name}`.")  # invented


def _check_variety(order: NewOrder, rules: MarketRules) -> None:
    row = order.instrument
    if order.variety == o.CO:
        if order.order_type not in (OrderType.MARKET, OrderType.LIMIT):
            raise _input("Cover orders are LIMIT or MARKET.")  # invented
        check_px(row, "trigger_price", order.trigger_px)
        check_cover(order.side, order.px if order.order_type == OrderType.LIMIT else 0, order.trigger_px)
    elif order.variety == o.ICEBERG:
        _check_iceberg(order, rules)
    elif order.variety == o.AUCTION:
        if not order.auction_number:
            raise _input("Missing or empty field `auction_number`")
        if order.order_type != OrderType.LIMIT or order.side != Side.SELL:
            raise _input("Auction orders are LIMIT sales.")  # invented
    if order.variety != o.AUCTION and order.auction_number:
        raise _input("`auction_number` needs variety auction.")  # invented
    if order.variety != o.ICEBERG and (order.iceberg_legs or order.iceberg_quantity):
        raise _input("`iceberg_legs` and `iceberg_quantity` need variety iceberg.")  # invented
    if order.autoslice and order.variety != o.REGULAR:
        raise _input("`autoslice` needs variety regular.")  # invented


def _check_iceberg(order: NewOrder, rules: MarketRules) -> None:
    low, high = rules.limit("iceberg_legs_min"), rules.limit("iceberg_legs_max")
    row, legs, each = order.instrument, order.iceberg_legs, order.iceberg_quantity
    if not low <= legs <= high:
        raise _input(f"Invalid `iceberg_legs`: {low} to {high} are allowed.")  # invented
    if each <= 0 or each % max(row.lot_size, 1):
        raise _input("Invalid `iceberg_quantity`.")
    last = order.quantity - each * (legs - 1)
    if not 0 < last <= each or last % max(row.lot_size, 1):
        raise _input("`iceberg_quantity` should be `quantity` divided by `iceberg_legs`.")  # invented
    if order.order_type not in (OrderType.LIMIT, OrderType.MARKET) or order.disclosed_quantity:
        raise _input("Iceberg orders are LIMIT or MARKET, without disclosed quantity.")  # invented


def check_cover(side: Side, px: int, trigger_px: int) -> None:
    """The second leg's trigger lies on the losing side of the first leg's price (0: not known).

    Raises:
        Refusal: InputException, HTTP 400.
    """
    if px and (trigger_px >= px if side == Side.BUY else trigger_px <= px):
        word = "below" if side == Side.BUY else "above"
        raise _input(f"Trigger price of a cover {side.name.lower()} order should be {word} its price.")


def check_disclosed(row: Instrument, disclosed: int, quantity: int, rules: MarketRules) -> None:
    """Disclosed quantity: none, or from a tenth of the quantity up to all of it.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    share = rules.limit("disclosed_percent_min")
    if disclosed and not (disclosed * 100 >= quantity * share and disclosed <= quantity):
        raise _input(f"Disclosed quantity should be {share} % of the quantity at least.")  # invented
    if disclosed and rules.forbids("DISCLOSED", row):
        raise _input(f"Disclosed quantity is not allowed for {row.exchange}.")  # invented


def check_change(request: NewOrder, change: Change, rules: MarketRules, is_market: bool) -> None:
    """A modification's own rules: a change to MARKET needs protection. `is_market`: it was one.

    Raises:
        Refusal: InputException, HTTP 400.
    """
    row = request.instrument
    required = rules.limit("protection_required") and not is_market
    if required and change.order_type in MARKETS and not change.protection_percent:
        raise _input(NO_PROTECTION)
    if change.order_type is not None and rules.forbids(TYPE_NAMES[change.order_type], row):
        raise _input(f"{TYPE_NAMES[change.order_type]} orders are not allowed for {row.exchange} {row.kind}.")
    if change.validity is not None and rules.forbids(change.validity.name, row):
        raise _input(f"{change.validity.name} orders are not allowed for {row.exchange}.")
    if change.quantity is not None and (change.quantity <= 0 or change.quantity % max(row.lot_size, 1)):
        raise _input(f"Quantity should be multiple of lot size {row.lot_size}.")
    if request.variety == o.CO:
        others = (change.order_type, change.quantity, change.validity, change.disclosed_quantity)
        if any(value is not None for value in others):
            raise _input("Only price and trigger price of a cover order can be modified.")  # invented
    if request.variety == o.AUCTION:
        raise _input("Auction orders cannot be modified.")  # invented


def _input(message: str) -> Refusal:
    return Refusal("InputException", message)
