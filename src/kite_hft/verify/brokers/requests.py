"""Layer 6, campaigns, cold: rows of the kit about what leaves: orders, changes, cancels, triggers."""

from __future__ import annotations

import json
from typing import Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.brokers.side import CANCEL, MODIFY, PLACE, TRIGGER
from kite_hft.trading.broker import HttpRequest, OrderRequest
from kite_hft.trading.exits.trigger import Leg, request_of
from kite_hft.trading.instruments import Instrument
from kite_hft.verify.brokers.kit import Kit, row

ORDER_ID: Final = "240123000000017"
_PROTECTED: Final = frozenset({OrderType.MARKET, OrderType.SLM})


def products_of(instrument: Instrument) -> tuple[Product, ...]:
    """What an instrument can be traded as."""
    if instrument.kind == "EQ":
        return Product.CNC, Product.MIS, Product.MTF
    return Product.NRML, Product.MIS


def sound(kit: Kit, request: HttpRequest, what: str) -> None:
    """A path without a host, fit for a request line; a body that says what it is."""
    path = request.path
    kit.holds(path.startswith("/") and "://" not in path, f"{what}: path {path!r} names a host")
    kit.holds(not request.body or request.content_type, f"{what}: a body without a content type")
    kit.holds(" " not in path and path.isascii(), f"{what}: path {path!r} is not encoded")


@row("place", "every order type, side, product and validity on every kind of instrument, term by term")
def place(kit: Kit) -> None:
    """The simulator's side reads from the bytes what was asked for."""
    for instrument in kit.tradable():
        for kind in OrderType:
            for side in Side:
                for product in products_of(instrument):
                    for validity in Validity:
                        order = kit.order(instrument, kind, side, product=product, validity=validity)
                        _as_asked(kit, order)


def _as_asked(kit: Kit, order: OrderRequest) -> None:
    request, instrument = kit.broker.place(order), order.instrument
    what = f"{instrument.key} {order.order_type.name} {order.side.name} {order.product.name}"
    sound(kit, request, what)
    call = kit.read(request)
    sent = (call.kind, call.slot, call.side, call.product, call.order_type, call.quantity, call.tag)
    asked = (PLACE, instrument.slot, order.side, order.product, order.order_type, order.quantity, order.tag)
    kit.holds(sent == asked, f"{what}: asked for {asked}, sent was {sent}")
    prices = (order.px, order.trigger_px)
    kit.holds((call.px, call.trigger_px) == prices, f"{what}: sent {call.px, call.trigger_px}")
    kit.holds(order.validity.name.encode() in request.body, f"{what}: no validity")


@row("protection", "orders at market carry a protection; one that the broker refuses never leaves")
def protection(kit: Kit) -> None:
    """Between the adapter's own bounds, and beyond them."""
    least, most = kit.broker.protection_percent
    for kind in _PROTECTED:
        for percent in (-1.0, max(least, 0.5), most):
            order = kit.order(kit.share, kind, protection_percent=percent)
            body = kit.broker.place(order).body
            kit.holds(
                b"protection" in body and f"{percent:g}".encode() in body, f"{kind.name} at {percent} %"
            )
        for percent in (0.0, most + 1):
            order = kit.order(kit.share, kind, protection_percent=percent)
            kit.raises(ValueError, lambda order=order: kit.broker.place(order), f"{kind.name} at {percent} %")  # type: ignore[misc]


@row("tags", "a tag of the longest length of the limits table leaves whole and comes back in the book")
def tags(kit: Kit) -> None:
    """The engine finds its orders again by it."""
    tag = ("kit" + "0123456789" * 9)[: kit.limits.tag_length_max]
    kit.holds(kit.limits.tag_length_max >= 20, "tags of fewer than 20 characters: the engine's have 20")
    request = kit.broker.place(kit.order(kit.share, tag=tag))
    kit.holds(kit.read(request).tag == tag, "the tag is another one on the wire")
    kit.ask(request)
    rows = kit.broker.parse_orders(kit.ask(kit.broker.order_book()).body)
    kit.holds([r.tags for r in rows] == [(tag,)], f"the book shows {[r.tags for r in rows]}")


@row("modify", "a modification names its order, and what it leaves alone stays as it is at the broker")
def modify(kit: Kit) -> None:
    """Quantity alone and price alone, at the simulator."""
    share, broker = kit.share, kit.broker
    for quantity, ticks in ((7, 0), (0, -40), (9, -30)):
        kit.anew()
        order = kit.order(share, quantity=5)
        order_id = kit.side.placed_id(json.loads(kit.ask(kit.broker.place(order)).body))
        px = kit.px(share, ticks) if ticks else 0
        given = px or (order.px if broker.modify_whole else 0)
        kind = int(OrderType.LIMIT) if broker.modify_whole else 0
        request = kit.broker.modify(order_id, share, quantity, given, 0, kind, -1.0)
        sound(kit, request, "modify")
        call = kit.read(request)
        kit.holds((call.kind, call.order_id) == (MODIFY, order_id), f"read back as {call}")
        answer = kit.ask(request)
        true = kit.bench.order_of(order_id).now
        wanted = (quantity or 5, px or order.px)
        kit.holds((true.quantity, true.px) == wanted, f"wanted {wanted}, is {true}: {answer.body[:120]!r}")
    if broker.modify_whole:
        kit.raises(ValueError, lambda: kit.broker.modify(order_id, share, 7, 0, 0, 0, -1.0), "without a type")


@row("cancel", "a cancel names its order, whatever is in the id, and ends it")
def cancel(kit: Kit) -> None:
    """Also an id with characters that a path cannot hold."""
    odd = "24/01 23?&=#%"
    for order_id in (ORDER_ID, odd):
        request = kit.broker.cancel(order_id)
        sound(kit, request, f"cancel of {order_id!r}")
    call = kit.read(kit.broker.cancel(ORDER_ID))
    kit.holds((call.kind, call.order_id) == (CANCEL, ORDER_ID), f"read back as {call}")
    kit.holds(odd not in kit.broker.cancel(odd).path, "an odd id stands in the path as it is")
    order_id = kit.side.placed_id(json.loads(kit.ask(kit.broker.place(kit.order(kit.share))).body))
    kit.ask(kit.broker.cancel(order_id))
    kit.holds(kit.bench.order_of(order_id).done, "the order lives on")


@row("triggers", "triggers are laid, changed, listed and deleted as far as the broker takes them")
def triggers(kit: Kit) -> None:
    """legs_max 0: none are taken, and nothing is asked."""
    broker, share = kit.broker, kit.share
    if not kit.holds(0 <= broker.trigger_legs_max <= 2, "trigger_legs_max is 0, 1 or 2"):
        return
    if not broker.trigger_legs_max:
        return
    px, last = kit.px(share, -100), kit.px(share)
    product = Product.CNC
    legs = [Leg(int(Side.BUY), 5, px, px)]
    request = broker.trigger_place(request_of(share, product, legs, last))
    sound(kit, request, "trigger")
    call = kit.read(request)
    terms = (TRIGGER, share.slot, int(product), ((int(Side.BUY), 5, px, px),))
    kit.holds((call.kind, call.slot, call.product, call.legs) == terms, f"read back as {call}")
    placed = broker.parse_trigger_outcome(kit.ask(request))
    number = getattr(placed, "order_id", "")
    if not kit.holds(number, f"not confirmed: {placed}"):
        return
    changed = [Leg(int(Side.BUY), 4, px, px)]
    kit.ask(broker.trigger_modify(number, request_of(share, product, changed, last)))
    rows = broker.parse_triggers(kit.ask(broker.triggers()).body)
    told = [(r.trigger_id, r.active, r.legs[0].quantity, r.legs[0].trigger_px) for r in rows]
    kit.holds(told == [(number, True, 4, px)], f"the list shows {told}")
    kit.ask(broker.trigger_delete(number))
    rows = broker.parse_triggers(kit.ask(broker.triggers()).body)
    kit.holds(not any(r.active for r in rows), "it waits on after it was deleted")
    _beyond(kit, px, last)


def _beyond(kit: Kit, px: int, last: int) -> None:
    """What the capability says that the broker does not take must not leave."""
    broker, share = kit.broker, kit.share
    two = [Leg(int(Side.SELL), 5, px, px), Leg(int(Side.SELL), 5, px + 200, px + 200)]
    if broker.trigger_legs_max < 2:
        asked = request_of(share, Product.CNC, two, last)
        kit.raises(ValueError, lambda: broker.trigger_place(asked), "two legs")
    if not broker.trigger_limit_apart:
        apart = request_of(share, Product.CNC, [Leg(int(Side.SELL), 5, px - share.tick_px, px)], last)
        kit.raises(ValueError, lambda: broker.trigger_place(apart), "a limit apart from its trigger")
