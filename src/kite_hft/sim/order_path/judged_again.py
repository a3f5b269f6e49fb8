"""Layer 4, campaigns and tests, cold: the gate once more, for each order about to leave, in own sums.

And what may be given up for want of a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kite_hft.sim.brokers.side import CANCEL, PLACE
from kite_hft.sim.order_path.ledger import BUY, ENGINE_SEQ, Placed
from kite_hft.sim.order_path.lines import NO_CONNECTION
from kite_hft.trading.broker import HttpRequest
from kite_hft.units import NS_PER_S

if TYPE_CHECKING:
    from kite_hft.sim.order_path.checkers import Checker
    from kite_hft.sim.order_path.flow import Wish

Name = tuple[int, int]
"""(strategy, number of its intent)."""
_SIDES: Final = (BUY, 2)


def given_up(checker: Checker, request: HttpRequest, why: str) -> None:
    """A call found no connection, and never leaves: an entry may end so, an exit or a cancel must not."""
    call = checker.world.network.read(request)
    if why != NO_CONNECTION:
        return  # it was judged once more
    checker.read_journal()
    rows = checker.ledger.told.by_no.values()
    row = next((row for row in rows if call.kind == PLACE and row["tag"] == call.tag), None)
    if row is not None and not row["opening"]:
        checker.break_(f"exit {row['no']} was given up unsent: {why}")
    if call.kind == CANCEL and call.order_id in checker.ledger.by_id:
        checker.break_(f"the cancel of {call.order_id} was given up unsent: {why}")


def judged_again(checker: Checker, placed: Placed) -> None:
    """The gate once more, in sums of our own."""
    world, stage = checker.world, checker.world.stage
    if stage is None or not stage.active:
        checker.break_(f"order {placed.no} left while the engine was not active")
        return
    if not placed.opening:
        _reduces(checker, placed)
        return
    told, risk = checker.ledger.told, world.day.risk
    why = told.halted or told.reducing or ("told to halt" if checker.halt_told else "")
    if world.latch is not None:
        why = why or f"killed: {world.latch[0]}"
    if world.now_ns < checker.calls.cool_until_ns and not world.day.fsync:
        why = why or "the cool-down after a 429"
    if why or checker.market_halted or stage.stopping:
        checker.break_(f"order {placed.no} opens: {why or 'market halt or stop'}")
    price = world.prices.rows.get(placed.slot)
    if price is None or world.clock.mono - price[2] > risk.stale_tick_s * NS_PER_S:
        checker.break_(f"order {placed.no} opens on an old price: {price}, now {world.clock.mono}")
    if placed.slot in world.stale:
        checker.break_(f"order {placed.no} opens before a tick has come since the reconnect")
    _sizes(checker, placed, price[0] if price else 0)
    _in_time(checker, placed)
    for no in told.ambiguous:
        other = told.by_no.get(no)
        if other and (other["slot"], other["side"]) == (placed.slot, placed.side):
            checker.break_(f"order {placed.no} opens beside the ambiguous order {no}")


def _in_time(checker: Checker, placed: Placed) -> None:
    """No entry leaves past the deadline of its intent; that of a group is for the first of its legs."""
    wish, world = checker.wishes.get(_intent(placed)), checker.world
    if wish is None:
        return
    group = checker.lasting.groups.legs.get((placed.name[0], wish.group), {}) if wish.group else {}
    late_ns = world.clock.mono - wish.at_ns - world.flow.patience_ns
    if late_ns >= 0 and len(group) < 2:
        checker.break_(f"order {placed.no} opens {late_ns / NS_PER_S:.3f} s past its deadline")


def _sizes(checker: Checker, placed: Placed, px: int) -> None:
    world, risk = checker.world, checker.world.day.risk
    row = world.exchange.instruments[placed.slot]
    if placed.quantity > risk.max_order_quantity or placed.quantity % row.lot_size or placed.px % row.tick_px:
        checker.break_(f"order {placed.no}: quantity {placed.quantity} at {placed.px}")
    if placed.px * placed.quantity > risk.max_order_value * 100:
        checker.break_(f"order {placed.no}: value {placed.px * placed.quantity}")
    off = abs(placed.px - px) * 100
    if placed.px and px and off > (risk.price_collar_percent + 1) * px:
        checker.break_(f"order {placed.no}: {placed.px} is far off {px}")
    _room(checker, placed)
    if any(key[0] == placed.slot for key in checker.strangers):
        return
    worst = _worst(checker, placed)
    near = max(placed.px, px)  # an order that has waited is judged by the price of now, too
    if worst * near > risk.max_position_size * 100:
        checker.break_(f"order {placed.no}: worst case {worst} of slot {placed.slot} at {near}")
    told = checker.ledger.told
    if not (checker.strangers or any(told.cut_low.values()) or any(told.cut_high.values())):
        _exposure(checker, placed, worst * near)


def _room(checker: Checker, placed: Placed) -> None:
    """Every slice is an order, and so is every leg: the first of them leaves when there is room for all. Of
    slices that waited some may have been refused, which is room for the others. Exits that have left
    while it waited have taken room from it.
    """
    now_ns = checker.world.now_ns
    live = [order for order in checker.ledger.mine()
            if order.remaining and (order.no < placed.no or 0 < order.left_ns < now_ns)]  # fmt: skip
    known = {_intent(order) for order in checker.ledger.mine()}
    wish = checker.wishes.get(_intent(placed))
    beside: dict[Name, Wish] = {_intent(placed): wish} if wish is not None else {}
    if wish is not None and wish.group:
        strategy = placed.name[0]
        beside = {name: leg for name, leg in checker.wishes.items()
                  if name[0] == strategy and leg.group == wish.group}  # fmt: skip
    follows = bool(placed.parent or known & beside.keys())
    orders = sum(_orders(checker, leg) for leg in beside.values()) - _refused(checker, placed)
    orders = 1 if follows else max(1, orders)
    if len(live) + orders > checker.world.day.risk.max_working_orders:
        checker.break_(f"order {placed.no} is one of {orders} more beside {len(live)} live ones")


def _refused(checker: Checker, placed: Placed) -> int:
    """Slices like this order that were refused: they bear numbers of the engine's. Of the same intent, or of
    another like it.
    """
    like = placed.name[0], placed.slot, placed.side, placed.key[2]
    return sum(
        data["seq"] >= ENGINE_SEQ and (data["strategy"], data["slot"], data["side"], data["product"]) == like
        for data in checker.ledger.told.refused
    )


def _intent(placed: Placed) -> Name:
    """What its strategy asked for: slices are parts of one intent."""
    return placed.name[0], placed.parent or placed.name[1]


def _orders(checker: Checker, wish: Wish) -> int:
    """The exchange takes no more than the freeze quantity at once, in whole lots."""
    row = checker.world.exchange.instruments[wish.slot]
    if not row.freeze_quantity or wish.quantity <= row.freeze_quantity:
        return 1
    most = row.freeze_quantity - row.freeze_quantity % row.lot_size
    return (wish.quantity + most - 1) // most


def _exposure(checker: Checker, placed: Placed, total: int) -> None:
    """The worst case of every other instrument, product by product, comes on top of `total` paise. Exits that
    were asked for later and have left while this order waited count with what they have closed, and so do
    orders that triggers have placed meanwhile, once the engine has heard of them.
    """
    world = checker.world
    orders = [order for order in checker.ledger.mine()
              if order.no < placed.no or 0 < order.left_ns < world.now_ns or (order.trigger and order.known)
             ]  # fmt: skip
    for slot, product in {(order.slot, order.product) for order in orders}:
        if slot == placed.slot:
            continue
        here = [order for order in orders if (order.slot, order.product) == (slot, product)]
        held = sum(order.filled if order.side == BUY else -order.filled for order in here)
        buys = sum(order.remaining for order in here if order.side == BUY)
        sells = sum(order.remaining for order in here if order.side != BUY)
        worst = max(abs(held + buys), abs(held - sells))
        row = world.exchange.instruments[slot]
        total += worst * world.prices.last_px(slot) * (row.multiplier or 1)
    if total > world.day.risk.max_exposure * 100:
        checker.break_(f"order {placed.no}: worst case of all instruments {total}")


def _worst(checker: Checker, placed: Placed) -> int:
    """The largest position of its slot and product on the order's side, and what is largest in its other
    products: what is held of one closes nothing of another.
    """
    worst = placed.quantity + _on_side(checker, placed, placed.side, placed.product)
    known = (*checker.ledger.mine(), *checker.ledger.placed.values())
    for product in {order.product for order in known if order.slot == placed.slot} - {placed.product}:
        worst += max(0, *(_on_side(checker, placed, side, product) for side in _SIDES))
    return worst


def _on_side(checker: Checker, placed: Placed, side: int, product: int) -> int:
    """The position of the order's slot in one product, on a side, were all older orders of it to fill. What
    an order has filled whose record a power cut took is held all the same: the engine adopts it. What others
    have closed of it, by the broker's word, is not.
    """
    ledger = checker.ledger
    cuts = ledger.told.cut_low if side == BUY else ledger.told.cut_high
    cut = sum(quantity for (_, *where), quantity in cuts.items() if where == [placed.slot, product])
    worst = cut if side == BUY else -cut
    for order in (*ledger.mine(), *(order for order in ledger.placed.values() if order.lost)):
        if (order.slot, order.product) != (placed.slot, product):
            continue
        if order.side != side:
            worst -= order.filled
        elif order.no < placed.no and not order.lost:
            worst += order.filled + order.remaining
    return worst


def _reduces(checker: Checker, placed: Placed) -> None:
    """It was judged to reduce: then what older orders leave of the position is enough for it."""
    free = 0
    for order in checker.ledger.mine():
        if order.key != placed.key:
            continue
        if order.side != placed.side:
            free += order.filled
        elif order.no < placed.no:
            free -= order.filled + order.remaining
    told = checker.ledger.told  # what was cut when it was judged: at best
    cut = -told.cut_low[placed.key] if placed.side == BUY else told.cut_high[placed.key]
    if free + cut < placed.quantity:
        checker.break_(f"order {placed.no} of {placed.quantity} passed as an exit of {free}")
