"""Layer 4, simulator, cold: what the broker and the exchange do by themselves.

Square-off of MIS, orders of the risk desk, stops that the exchange cancels, a close changed by an
ex-date, a locked circuit, a halted market. Called by the clock (hours.py), by fault files and by
tests, through the methods of Exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.orders import NewOrder, Order
from kite_hft.sim.exchange.rules import protected_px

if TYPE_CHECKING:
    from kite_hft.sim.exchange.exchange import Exchange

RMS: Final = "RMS"
STOP_CANCELLED: Final = "Cancelled by the exchange before the closing auction."
SQUARED_OFF: Final = "Cancelled by the broker before square-off."


def rms_order(
    exchange: Exchange, slot: int, side: Side, quantity: int, product: Product, now_ns: int
) -> list[str]:
    """Orders of the risk desk, without a tag, at the end of the band; slices within the freeze
    quantity. Returns their ids."""
    row, rules = exchange.instruments[slot], exchange.params.market
    low, high = exchange.band(slot)
    last_px = int(exchange.latest[slot]["last_px"])
    px = high if side == Side.BUY else low
    if not px:
        px = protected_px(row, side, last_px, float(rules.limit("protection_percent_max")))
    lot, freeze = max(row.lot_size, 1), rules.freeze(row)
    size = max(freeze // lot * lot, lot) if freeze else quantity
    ids = []
    while quantity > 0:
        part = min(size, quantity)
        request = NewOrder(row, side, OrderType.LIMIT, product, part, px=px)
        order = exchange.desk.new_order(request, now_ns, placed_by=RMS)
        exchange.chain.start(order, now_ns)
        ids.append(order.order_id)
        quantity -= part
    return ids


def square_off_mis(exchange: Exchange, now_ns: int, slots: Iterable[int] | None = None) -> list[str]:
    """Close all MIS positions (of some slots, or all): cancel their orders, buy back shorts, sell
    longs. Each order costs a fee, noted on the account. Returns the ids of the broker's orders."""
    wanted = None if slots is None else set(slots)
    for order in exchange.matching.waiting(wanted):
        if order.request.product == Product.MIS and order.placed_by is None:
            exchange.chain.expire(order, now_ns, SQUARED_OFF)
    positions = [
        p
        for (slot, product), p in exchange.account.positions.items()
        if product == Product.MIS and p.net and (wanted is None or slot in wanted)
    ]
    ids: list[str] = []
    for position in sorted(positions, key=lambda p: p.net > 0):
        slot, net = position.instrument.slot, position.net - _under_way(exchange, position.instrument.slot)
        if net == 0 or (net > 0) != (position.net > 0):
            continue
        rule = exchange.params.market.square_off(position.instrument, exchange.conditions.is_cas(slot))
        side = Side.BUY if net < 0 else Side.SELL
        for order_id in rms_order(exchange, slot, side, abs(net), Product.MIS, now_ns):
            exchange.orders[order_id].fee_paise = 0 if rule is None else rule.fee_paise
            exchange.account.note_fee(now_ns, order_id, exchange.orders[order_id].fee_paise)
            ids.append(order_id)
    return ids


def _under_way(exchange: Exchange, slot: int) -> int:
    """What the broker's own open orders in MIS will still take off a position, signed as it."""
    return sum(
        order.remaining * (-1 if order.request.side == Side.BUY else 1)
        for order in exchange.orders.values()
        if order.placed_by == RMS and order.slot == slot and order.request.product == Product.MIS
    )


def cancel_stops(exchange: Exchange, slots: Iterable[int] | None, now_ns: int) -> list[str]:
    """The exchange cancels untriggered stops (of some slots, or all); returns their ids."""
    stops = [order for order in exchange.matching.waiting(slots) if not order.triggered]
    return _cancel(exchange, stops, STOP_CANCELLED, now_ns)


def cancel_for_auction(
    exchange: Exchange, slots: Iterable[int], kinds: Iterable[str], now_ns: int
) -> list[str]:
    """What a closing auction does not take over: "stops", "disclosed", "out_of_band"."""
    kinds, ending = set(kinds), []
    for order in exchange.matching.waiting(slots):
        low, high = exchange.band(order.slot)
        if (
            ("stops" in kinds and not order.triggered)
            or ("disclosed" in kinds and (order.now.disclosed or order.leg is not None))
            or ("out_of_band" in kinds and high and not low <= order.now.px <= high)
        ):
            ending.append(order)
    return _cancel(exchange, ending, STOP_CANCELLED, now_ns)


def end_day(exchange: Exchange, slots: Iterable[int], now_ns: int) -> list[str]:
    """The market of some slots closes: what still waits there ends."""
    return _cancel(exchange, exchange.matching.waiting(slots), None, now_ns)


def settle_buy_in(exchange: Exchange, slots: Iterable[int], now_ns: int) -> int:
    """The buy-in auction of some slots ends: offers at the last price or below are taken."""
    chosen, taken = set(slots), 0
    for order in list(exchange.orders.values()):
        if order.request.variety != o.AUCTION or order.slot not in chosen or order.now.status != o.OPEN:
            continue
        last_px = int(exchange.latest[order.slot]["last_px"])
        if exchange.seen[order.slot] and order.now.px <= last_px:
            exchange.desk.fill(order, order.remaining, order.now.px, now_ns)
            taken += 1
        else:
            exchange.chain.expire(order, now_ns)
    return taken


def _cancel(exchange: Exchange, orders: Iterable[Order], message: str | None, now_ns: int) -> list[str]:
    ids = []
    for order in orders:
        exchange.chain.expire(order, now_ns, message)
        ids.append(order.order_id)
    return ids
