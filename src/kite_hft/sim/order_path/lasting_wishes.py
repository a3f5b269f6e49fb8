"""Layer 4, campaigns and tests, cold: what strategies ask for that lasts: exits, triggers, groups.

Exits are asked for positions that are held and for entries that still work, with every mixture of stop,
target, trailing and time, at the broker (GTT) or not, near enough to the price to be reached within a day
of seconds. Groups come whole or with a leg missing, in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kite_hft.layout import IntentFlag, IntentKind, OrderType, Product, Side, Validity
from kite_hft.sim.order_path.market import SLOTS
from kite_hft.units import NS_PER_S

if TYPE_CHECKING:
    from kite_hft.sim.order_path.flow import Flow

STEP_PX = 5
_MIXTURES = ("stop", "stop", "both", "both", "both", "trail", "trail and target", "target", "time")


def keep(flow: Flow, strategy: int) -> bool:
    """Exits for something that is held, or for an entry at work; False: there is none."""
    rng = flow.rng
    held = [key for key, quantity in flow.positions.items() if quantity and key[0] == strategy]
    entries = [asked for asked in flow.alive(strategy) if asked.product != Product.CNC]
    if held and (not entries or rng.random() < 0.7):
        key = rng.choice(held)
        sign = 1 if flow.positions[key] > 0 else -1
    elif entries:
        entry = rng.choice(entries)
        key, sign = (strategy, entry.slot, entry.product), 1 if entry.side == Side.BUY else -1
    else:
        return False
    if rng.random() < 0.03:
        sign = -sign  # on the wrong side of the price
    slot, product = key[1], key[2]
    what, px = rng.choice(_MIXTURES), flow.market.px[slot]
    words: dict[str, Any] = {"trigger_px": 0, "px": 0, "trail_px": 0, "step_px": 0, "deadline_ns": 0}
    if what in ("stop", "both"):
        words["trigger_px"] = px - sign * STEP_PX * rng.randrange(2, 30)
    if what in ("both", "target", "trail and target"):
        words["px"] = px + sign * STEP_PX * rng.randrange(2, 30)
    if what.startswith("trail"):
        words["trail_px"], words["step_px"] = STEP_PX * rng.randrange(2, 20), STEP_PX * rng.randrange(4)
    if what == "time" or rng.random() < 0.2:
        words["deadline_ns"] = flow.mono_ns() + rng.randrange(1, 12) * NS_PER_S
    at_broker = product == Product.NRML and what != "time" and rng.random() < 0.5
    flow.wish(
        strategy, kind=IntentKind.EXITS, slot=slot, product=product,
        flags=IntentFlag.GTT if at_broker else 0,
        order_type=rng.choice((0, 0, OrderType.SL)), **words,
    )  # fmt: skip
    flow.kept.append(key)
    return True


def drop(flow: Flow, strategy: int) -> None:
    """The exits of a position are wanted no more."""
    mine = [key for key in flow.kept[-10:] if key[0] == strategy]
    if mine:
        _strategy, slot, product = flow.rng.choice(mine)
        flow.wish(strategy, kind=IntentKind.EXITS, slot=slot, product=product)


def trigger(flow: Flow, strategy: int) -> None:
    """An entry that lies at the broker until its price is reached."""
    rng = flow.rng
    slot = rng.choice([slot for slot in SLOTS if flow.table[slot].lot_size > 1])
    side = rng.choice((Side.BUY, Side.SELL))
    px = flow.market.px[slot] + STEP_PX * rng.choice((-1, 1)) * rng.randrange(2, 25)
    quantity, away = flow.table[slot].lot_size * rng.choice((1, 2)), rng.randrange(0, 4)
    if not flow.limit_apart and away != 3:  # one in four asks for it all the same, and is refused
        away = 0
    flow.wish(
        strategy, kind=IntentKind.GTT, slot=slot, side=side, product=Product.NRML,
        qty=quantity, trigger_px=px, px=px + STEP_PX * away * (1 if side == Side.BUY else -1),
    )  # fmt: skip


def group(flow: Flow, strategy: int) -> None:
    """Two to four legs in different instruments; sometimes one never comes."""
    rng = flow.rng
    legs = rng.choice((2, 2, 3, 4))
    slots = rng.sample(SLOTS, legs)
    number, order = flow.next_seq[strategy], list(range(1, legs + 1))
    rng.shuffle(order)
    missing = rng.random() < 0.08
    held = {key[1]: quantity for key, quantity in flow.positions.items() if key[0] == strategy and quantity}
    closing = bool(held) and rng.random() < 0.5
    for leg in order[missing:]:
        slot = slots[leg - 1]
        row, side = flow.table[slot], rng.choice((Side.BUY, Side.SELL))
        if closing and slot in held:
            side = Side.SELL if held[slot] > 0 else Side.BUY
        market = rng.random() < 0.3
        away = STEP_PX * rng.choice((3, 3, 1, 0, -2)) * (1 if side == Side.BUY else -1)
        flow.wish(
            strategy, kind=IntentKind.PLACE, slot=slot, side=side,
            order_type=OrderType.MARKET if market else OrderType.LIMIT,
            product=Product.MIS if row.lot_size == 1 else Product.NRML, validity=Validity.DAY,
            qty=row.lot_size * rng.choice((1, 1, 2, 3)) if row.lot_size > 1 else rng.choice((2, 5, 10)),
            px=0 if market else flow.market.px[slot] + away, group=number, leg=leg, legs=legs,
        )  # fmt: skip
