"""Layer 6, campaigns, cold: rows of the kit about what else leaves and what becomes of it at the simulator.

Changes of orders that wait for a trigger, orders too large for one, hosts, triggers that are reached, and
subscriptions, each judged by what the simulator then has and does.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.stream import Stream
from kite_hft.trading.broker import Confirmed, OrderRequest, TriggerReport
from kite_hft.trading.exits.trigger import Leg, request_of
from kite_hft.trading.feed_words import FeedWords, WireError
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.verify.brokers.everywhere import Market
from kite_hft.verify.brokers.kit import Kit, row

MANY: Final = 1100
"""Instruments: more than any broker takes in one message."""
_NUMBER: Final = re.compile(rb'("(?:filled_)?quantity":\s*)\d+')


@row("changes", "a changed stop keeps its kind, gets its new terms, and never becomes another order")
def changes(kit: Kit) -> None:
    """Quantity, limit and trigger price of both kinds of stops, on every exchange that takes them."""
    market = Market(kit.side)
    broker = market.broker
    for one in market.open:
        for kind in (OrderType.LIMIT, OrderType.SL, *((OrderType.SLM,) if one.exchange == "NSE" else ())):
            product = Product.MIS if one.kind == "EQ" else Product.NRML
            lower = market.last[one.slot] - 33 * one.tick_px
            more = {"px": lower, "product": product} if kind is OrderType.SL else {"product": product}
            order = market.place(
                kit, market.order(one, kind, Side.SELL, 40 if kind is OrderType.LIMIT else -30, **more)
            )
            if order is None:
                continue
            step, now = one.tick_px, order.now
            px = now.px + step if kind in (OrderType.LIMIT, OrderType.SL) else 0
            trigger = now.trigger_px + 2 * step if kind is not OrderType.LIMIT else 0
            said = int(kind) if broker.modify_whole else 0
            request = broker.modify(order.order_id, one, 3 * one.lot_size, px, trigger, said, -1.0)
            done = broker.parse_outcome(market.ask(request))
            what = f"{one.key} {kind.name}"
            kit.holds(isinstance(done, Confirmed), f"{what}: {done}")
            true = order.now
            is_so = (true.order_type, true.quantity, true.px if px else 0, true.trigger_px if trigger else 0)
            wanted = (kind, 3 * one.lot_size, px, trigger)
            kit.holds(is_so == wanted, f"{what}: wanted {wanted}, is {is_so}")


@row("lots", "where the wire counts lots, and where it counts units, the quantity that was asked for leaves")
def lots(kit: Kit) -> None:
    """Of contracts whose lot is a thousand."""
    rows = tuple(
        replace(one, lot_size=1000, multiplier=1) if one.kind == "FUT" else one
        for one in Market(kit.side).table
    )
    table = kit.side.table(InstrumentTable(rows))
    broker = kit.side.broker(table)
    for one in table:
        order = OrderRequest(
            one, Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 3 * one.lot_size, 1000 * one.scale
        )
        call = kit.side.read(broker.place(order), table)
        kit.holds(call.quantity == 3 * one.lot_size, f"{one.key}: {call.quantity}, not {3 * one.lot_size}")


@row(
    "one order", "a placement is one order: what is too large for one is refused, and never cut by the broker"
)
def one_order(kit: Kit) -> None:
    """Beyond the exchange's freeze quantity."""
    market = Market(kit.side)
    for one in market.open:
        if one.freeze_quantity is None:
            continue
        before = len(market.exchange.orders)
        order = market.order(one, OrderType.LIMIT, Side.BUY, -40, quantity=3 * one.freeze_quantity)
        answer = market.broker.parse_outcome(market.ask(market.broker.place(order)))
        made = list(market.exchange.orders.values())[before:]
        alive = [order for order in made if not order.done]
        kit.holds(len(made) <= 1, f"{one.key}: {len(made)} orders came of one placement")
        kit.holds(not alive, f"{one.key}: {len(alive)} of three times the freeze quantity work: {answer}")


@row("nothing hidden", "an order shows itself whole: no part of it is disclosed alone")
def nothing_hidden(kit: Kit) -> None:
    """At the exchange."""
    market = Market(kit.side)
    for one in market.open:
        order = market.place(kit, market.order(one, OrderType.LIMIT, Side.BUY, -40))
        if order is not None:
            kit.holds(not order.now.disclosed, f"{one.key}: {order.now.disclosed} are disclosed")


@row("hosts", "order calls, and they alone, go to the broker's host for orders, where it has one")
def hosts(kit: Kit) -> None:
    """By the beginnings of their paths."""
    broker, share = kit.broker, kit.share
    leg = request_of(
        share, Product.CNC, [Leg(int(Side.BUY), 5, kit.px(share, -100), kit.px(share, -100))], kit.px(share)
    )
    whole = int(OrderType.LIMIT) if broker.modify_whole else 0
    orders = [
        broker.place(kit.order(share)), broker.cancel("240123000000017"),
        broker.modify("240123000000017", share, 7, kit.px(share), 0, whole, -1.0),
    ]  # fmt: skip
    others = [
        make()
        for make in (broker.order_book, broker.trade_book, broker.positions, broker.margins, broker.holdings)
    ]
    others += [broker.quotes([share.key]), broker.basket_margin([kit.order(share)])]
    if broker.trigger_legs_max:
        others += [broker.triggers(), broker.trigger_place(leg), broker.trigger_delete("17")]
    paths = broker.order_paths
    for request in orders if paths else ():
        kit.holds(request.path.startswith(paths), f"{request.method} {request.path} goes to another host")
    for request in others:
        kit.holds(not paths or not request.path.startswith(paths), f"{request.path} goes to the orders' host")


# Triggers


@row(
    "fired triggers",
    "a trigger waits until its price is reached, from the right side, and then names its order",
)
def fired(kit: Kit) -> None:
    """Of both sides, below and above the market; a half list raises."""
    if not kit.holds(0 <= kit.broker.trigger_legs_max <= 2, "trigger_legs_max is 0, 1 or 2"):
        return
    if not kit.broker.trigger_legs_max:
        return
    for side, ticks in ((Side.SELL, -40), (Side.SELL, 40), (Side.BUY, -40), (Side.BUY, 40)):
        market = Market(kit.side)
        account = market.exchange.account
        share, last = market.open[0], market.last[market.open[0].slot]
        account.carry_in(share, kit.side.carried, 10, last)
        px = last + ticks * share.tick_px
        what = f"{side.name} at {ticks:+} ticks"
        asked = request_of(share, Product.CNC, [Leg(int(side), 5, px, px)], last)
        number = getattr(
            market.broker.parse_trigger_outcome(market.ask(market.broker.trigger_place(asked))),
            "order_id",
            "",
        )
        if not kit.holds(number, f"{what}: not confirmed"):
            continue
        market.tick()
        _listed(kit, _only(kit, market), what, share, side, px)
        kit.holds(not market.exchange.orders, f"{what}: it fires before its price is reached")
        market.last[share.slot] = px + (2 if ticks > 0 else -2) * share.tick_px
        market.tick()
        body = market.ask(market.broker.triggers()).body
        orders = list(market.exchange.orders.values())
        if kit.holds(len(orders) == 1, f"{what}: {len(orders)} orders came of it"):
            order = orders[0]
            terms = (order.request.side, order.request.product, order.request.quantity, order.request.px)
            kit.holds(terms == (side, Product.CNC, 5, px), f"{what}: its order is {terms}")
            rows = market.broker.parse_triggers(body) or _pushed(kit, market)
            told = [leg.order_id for one in rows for leg in one.legs]
            kit.holds(told == [order.order_id], f"{what}: named is {told}, it is {order.order_id}")
            kit.holds(not any(one.active for one in rows), f"{what}: it is said to wait still")
        for cut in range(0, len(body), 11):
            kit.raises(ValueError, partial(market.broker.parse_triggers, body[:cut]), f"{cut} bytes")


def _pushed(kit: Kit, market: Market) -> list[TriggerReport]:
    """What a broker tells by pushes whose list shows no trigger that has fired: the last word."""
    found = (market.broker.parse_trigger_update(update.frame) for update in kit.side.updates(market.api))
    return [row for row in found if row is not None][-1:]


def _only(kit: Kit, market: Market) -> TriggerReport | None:
    rows = market.broker.parse_triggers(market.ask(market.broker.triggers()).body)
    return rows[0] if kit.holds(len(rows) == 1, f"{len(rows)} triggers are listed, one is there") else None


def _listed(kit: Kit, told: TriggerReport | None, what: str, one: Instrument, side: Side, px: int) -> None:
    if told is None:
        return
    kit.holds(told.active and told.token == one.token, f"{what}: active {told.active}, token {told.token}")
    (leg,) = told.legs
    terms = (leg.side, leg.product, leg.quantity, leg.px, leg.trigger_px, leg.order_id)
    kit.holds(terms == (side, Product.CNC, 5, px, px, ""), f"{what}: listed as {terms}")


@row("trigger facts", "two legs, and a limit apart from its trigger, are taken where the adapter says so")
def trigger_facts(kit: Kit) -> None:
    """What it says that it does not take is asked by the row `triggers`."""
    kit.holds(isinstance(kit.broker.trigger_legs_max, int), "trigger_legs_max is a number")
    market = Market(kit.side)
    share, last = market.open[0], market.last[market.open[0].slot]
    market.exchange.account.carry_in(share, kit.side.carried, 10, last)
    low, high, step = last - 40 * share.tick_px, last + 40 * share.tick_px, share.tick_px
    legs = []
    if market.broker.trigger_legs_max == 2:
        legs.append([Leg(int(Side.SELL), 5, low, low), Leg(int(Side.SELL), 5, high, high)])
    if market.broker.trigger_legs_max and market.broker.trigger_limit_apart:
        legs.append([Leg(int(Side.SELL), 5, low - step, low)])
    for wanted in legs:
        asked = request_of(share, Product.CNC, wanted, last)
        found = market.broker.parse_trigger_outcome(market.ask(market.broker.trigger_place(asked)))
        if not kit.holds(isinstance(found, Confirmed), f"{len(wanted)} legs: {found}"):
            continue
        assert isinstance(found, Confirmed)
        rows = [
            one
            for one in market.broker.parse_triggers(market.ask(market.broker.triggers()).body)
            if one.active
        ]
        told = [[(leg.trigger_px, leg.px) for leg in one.legs] for one in rows]
        true = [list(zip(asked.trigger_px, (leg.px for leg in asked.legs), strict=True))]
        kit.holds(told == true, f"listed as {told}, laid were {true}")
        market.ask(market.broker.trigger_delete(found.order_id))


# Websockets


@row(
    "subscriptions",
    "after the messages of the websocket the broker streams what was asked for, and nothing else",
)
def subscriptions(kit: Kit) -> None:
    """All modes, some tokens, a change of mode, an end; and more tokens than one message takes."""
    side = kit.side
    table = side.table(kit.bench.instruments)
    words = side.words(table)
    tokens = [int(token) for token in table.tokens()]
    for mode, number in words.modes.items():
        half = tokens[::2]
        stream = side.stream(table)
        _say(stream, words, words.subscription(half, mode))
        kit.holds(
            [slot for slot, held in enumerate(stream.modes.tolist()) if held]
            == list(range(0, len(tokens), 2)),
            f"{mode}: other instruments are streamed than were asked for",
        )
        kit.holds(
            set(stream.modes[::2].tolist()) == {number}, f"{mode}: streamed in {set(stream.modes.tolist())}"
        )
        for other, its in words.modes.items():
            _say(stream, words, words.change_mode(half, other))
            kit.holds(set(stream.modes[::2].tolist()) == {its}, f"{mode}: not all are in {other} now")
        _say(stream, words, words.unsubscribe(half[1:]))
        kit.holds(
            int((stream.modes > 0).sum()) == 1, f"{mode}: {int((stream.modes > 0).sum())} are left, not one"
        )
    _many(kit)


def _say(stream: Stream, words: FeedWords, messages: list[bytes]) -> None:
    for message in messages:
        stream.on_message(message, binary=words.binary)


def _many(kit: Kit) -> None:
    """More tokens than a message takes, in the least mode."""
    table = kit.side.table(default_instruments(MANY, 1)[0])
    words, stream = kit.side.words(table), kit.side.stream(table)
    least = min(words.modes, key=lambda name: words.modes[name])
    messages = words.subscription([int(token) for token in table.tokens()], least)
    _say(stream, words, messages)
    kit.holds(bool((stream.modes > 0).all()), f"{int((stream.modes == 0).sum())} of {MANY} are not streamed")
    kit.holds(max(map(len, messages)) <= 1 << 16, f"a message of {max(map(len, messages)):,} bytes")


@row("numbers in texts", "a text frame whose numbers are none is refused, whatever else it says")
def numbers_in_texts(kit: Kit) -> None:
    """NaN and infinities in an order update."""
    words = kit.side.updates_words(kit.bench.instruments)
    kit.ask(kit.broker.place(kit.order(kit.share, OrderType.MARKET)))
    frame = kit.bench.line.texts.frames[0]
    kit.holds(words.parse_text(frame)[0] == "order", "an order update is about an order")
    for bad in (b"NaN", b"Infinity", b"-Infinity"):
        spoiled = _NUMBER.sub(rb"\g<1>" + bad, frame)
        kit.holds(spoiled != frame, "an update has no quantity")
        kit.raises(WireError, lambda spoiled=spoiled: words.parse_text(spoiled), bad.decode())  # type: ignore[misc]
        kit.raises(ValueError, lambda spoiled=spoiled: kit.broker.parse_update(spoiled), bad.decode())  # type: ignore[misc]
