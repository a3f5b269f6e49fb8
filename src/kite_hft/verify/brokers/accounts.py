"""Layer 6, campaigns, cold: rows of the kit about money, shares, bands and margins of an account in use."""

from __future__ import annotations

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange.account import Holding
from kite_hft.verify.brokers.everywhere import Market
from kite_hft.verify.brokers.kit import Kit, row


@row("money", "what is free, what is used and what the day began with, after orders and trades")
def money(kit: Kit) -> None:
    """A position, an order that waits, and a profit that was taken."""
    market = Market(kit.side)
    share = market.open[0]
    market.place(kit, market.order(share, OrderType.MARKET, Side.BUY, 0, product=Product.MIS, quantity=400))
    market.place(kit, market.order(share, OrderType.MARKET, Side.SELL, 0, product=Product.MIS, quantity=100))
    market.place(kit, market.order(share, OrderType.LIMIT, Side.BUY, -40, quantity=50))
    account = market.exchange.account
    funds = market.broker.parse_funds(market.ask(market.broker.margins()).body)
    kit.holds(
        funds.net_paise == account.available_paise, f"net {funds.net_paise}, not {account.available_paise}"
    )
    kit.holds(funds.opening_paise == account.opening_paise, f"it began with {funds.opening_paise}")
    used = account.opening_paise - account.available_paise
    kit.holds(funds.used_paise == used > 0, f"used {funds.used_paise}, not {used}")
    for one in market.open:
        kit.holds(funds.free_paise(one.exchange) >= 0, f"{one.exchange}: {funds.free_paise(one.exchange)}")


@row("shares", "holdings that were sold of today, on every exchange for shares, under the run's names")
def shares(kit: Kit) -> None:
    """Settled, on their way, sold."""
    market = Market(kit.side)
    account = market.exchange.account
    owned = [one for one in market.open if one.kind == "EQ"]
    for n, one in enumerate(owned):
        account.holdings[one.slot] = Holding(one, 40 + n, 10, market.last[one.slot], authorised=None)
    market.place(kit, market.order(owned[0], OrderType.MARKET, Side.SELL, 0, product=Product.CNC, quantity=7))
    found = market.broker.parse_holdings(market.ask(market.broker.holdings()).body)
    told = sorted((one.key, one.settled, one.t1, one.used) for one in found)
    true = sorted((one.key, 40 + n, 10, 0 if n else 7) for n, one in enumerate(owned))
    kit.holds(told == true, f"holdings {told}, true are {true}")


@row("bands", "price bands of several instruments at once, each in its own unit")
def bands(kit: Kit) -> None:
    """On every exchange."""
    market = Market(kit.side)
    scales = {one.key: one.scale for one in market.open}
    found = market.broker.parse_bands(market.ask(market.broker.quotes(list(scales))).body, scales)
    for one in market.open:
        low, high = market.exchange.band(one.slot)
        true = (low, high) if 0 < low <= high else None
        kit.holds(found.get(one.key) == true, f"{one.key}: {found.get(one.key)}, true are {true}")


@row("baskets", "several legs are asked for together, and cost no more together than one by one")
def baskets(kit: Kit) -> None:
    """A future and an option against it."""
    market = Market(kit.side)
    legs = [
        market.order(one, OrderType.LIMIT, side, 0)
        for one, side in zip(
            (x for x in market.open if x.exchange == "NFO"), (Side.BUY, Side.SELL), strict=False
        )
    ]
    alone = [
        market.broker.parse_basket_margin(market.ask(market.broker.basket_margin([leg])).body) for leg in legs
    ]
    both = market.broker.parse_basket_margin(market.ask(market.broker.basket_margin(legs)).body)
    apart = sum(one.initial_paise for one in alone)
    kit.holds(
        abs(both.initial_paise - apart) <= len(legs),
        f"one by one {both.initial_paise}, by themselves {apart}",
    )
    for margin in (both, *alone):
        kit.holds(margin.final_paise <= margin.initial_paise > 0, f"{margin}")
    kit.holds(any(one.final_paise < one.initial_paise for one in alone), f"a premium that comes in: {alone}")
