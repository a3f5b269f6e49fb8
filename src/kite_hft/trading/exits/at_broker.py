"""Layer 2, orders process, cold: which triggers strategies and plans want at the broker.

An entry (IntentKind.GTT) is judged as the order that it will place. Exits of a plan with the flag GTT
follow the position as one trigger: two legs where there is a stop and a target, one where there is one of
them. The broker fires it once and knows nothing of the position: it is changed as the position changes, and
deleted when there is none. What it has placed is closed like any late exit.
"""

from __future__ import annotations

from typing import Final

from kite_hft.layout import IntentKind, OrderType, Product, Reason, Side, Validity
from kite_hft.trading.book import Order
from kite_hft.trading.exits.plan import Plan
from kite_hft.trading.exits.prices import Market, beyond, on_grid
from kite_hft.trading.exits.triggers import Leg, Trigger, Triggers
from kite_hft.trading.intents import Intent
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

OVERNIGHT: Final = frozenset({int(Product.CNC), int(Product.NRML), int(Product.MTF)})
"""Products that a trigger may be about (Kite: LIMIT orders in CNC, NRML, MTF)."""
RETRY_NS: Final = 10 * NS_PER_S


class AtBroker:
    """Turns intents and plans into triggers."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        outbox: Outbox,
        intake: Intake,
        market: Market,
        triggers: Triggers,
    ) -> None:
        self._ports, self._outbox, self._intake, self._market = ports, outbox, intake, market
        self._triggers, self._gap = triggers, config.stop_gap_percent
        self._collar = config.risk.price_collar_percent
        self._asked_ns: dict[tuple[int, int], int] = {}

    # Entries

    def take(self, intent: Intent, now_ns: int) -> None:
        """A GTT intent: judged as the order that it becomes, then sent."""
        self._intake.keep(intent, reducing=False)
        refused = self._refusal(intent, now_ns)
        if refused is None:
            leg = Leg(intent.side, intent.qty, intent.px, intent.trigger_px)
            trigger = Trigger(intent.strategy, intent.strategy_seq, intent.slot, intent.product, (leg,))
            if text := self._triggers.place(trigger, now_ns):
                refused = Reason.NOT_CONNECTED, text
        if refused is not None:
            self._outbox.refuse(intent, *refused, now_ns)

    def _refusal(self, intent: Intent, now_ns: int) -> tuple[Reason, str] | None:
        if intent.product not in OVERNIGHT:
            return Reason.PRODUCT_NOT_ALLOWED, "a trigger takes the products CNC, NRML and MTF"
        if intent.trigger_px <= 0 or intent.px <= 0:
            return Reason.BAD_INTENT, f"a trigger needs a price and a trigger price, not {intent.px}"
        off = abs(intent.px - intent.trigger_px) * 100
        if off > self._collar * intent.trigger_px:
            text = f"limit {intent.px} is more than {self._collar} % off its trigger {intent.trigger_px}"
            return Reason.PRICE_COLLAR, text
        rows = self._ports.instruments.rows
        tick_px = rows[intent.slot].tick_px if intent.slot < len(rows) else 0
        if tick_px > 0 and (intent.px % tick_px or intent.trigger_px % tick_px):
            return Reason.TICK_SIZE, f"limit {intent.px} or trigger {intent.trigger_px}: tick {tick_px}"
        if self._market.last(intent.slot) == intent.trigger_px:
            return Reason.BAD_INTENT, "the trigger is at the price already"
        order = self._as_order(intent, tick_px)
        verdict, _context = self._intake.judge(order, True, now_ns)
        return (verdict.reason, verdict.text) if verdict is not None else None

    def _as_order(self, intent: Intent, tick_px: int) -> Intent:
        """What the gate judges: the same order, at today's price."""
        last = self._market.last(intent.slot)
        px = on_grid(last, tick_px, up=False) if last > 0 and tick_px > 0 else intent.px
        words = {"kind": int(IntentKind.PLACE), "order_type": int(OrderType.LIMIT), "flags": 0}
        return intent._replace(**words, validity=int(Validity.DAY), px=px, trigger_px=0, group=0)

    # Exits of plans

    def tend(self, plan: Plan, quantity: int, now_ns: int) -> int:
        """Keep the trigger of a plan true to the position; returns 1 when it had to be changed."""
        trigger = self._triggers.standing.get((plan.strategy, plan.seq))
        legs = self._legs(plan, quantity)
        if trigger is None:
            if not legs or now_ns < self._asked_ns.get((plan.strategy, plan.seq), 0):
                return 0
            self._asked_ns[plan.strategy, plan.seq] = now_ns + RETRY_NS
            name = (plan.strategy, plan.seq, plan.slot, plan.product)
            self._triggers.place(Trigger(*name, legs, for_exits=True), now_ns)
            return 1
        wanted = legs or None
        if trigger.wanted == wanted and (wanted != trigger.legs or trigger.busy):
            return 0
        if wanted == trigger.legs:
            return 0
        self._triggers.want(trigger, wanted, now_ns)
        return 1

    def stands(self, plan: Plan) -> bool:
        """A trigger of the plan lies at the broker, or may."""
        return (plan.strategy, plan.seq) in self._triggers.standing

    def drop(self, plan: Plan, now_ns: int) -> None:
        """The plan is over: nothing of it stays at the broker."""
        self._asked_ns.pop((plan.strategy, plan.seq), None)
        trigger = self._triggers.standing.get((plan.strategy, plan.seq))
        if trigger is not None and trigger.wanted is not None:
            self._triggers.want(trigger, None, now_ns)

    def _legs(self, plan: Plan, quantity: int) -> tuple[Leg, ...]:
        """Lower trigger first. A stop's limit lies behind its trigger, a target's at it."""
        if not quantity or not plan.side:
            return ()
        instrument, size = self._ports.instruments[plan.slot], abs(quantity)
        legs = []
        if plan.level_px:
            px = beyond(plan.level_px, plan.side, self._gap, instrument)
            legs.append(Leg(plan.side, size, px, plan.level_px))
        if plan.target_px:
            legs.append(Leg(plan.side, size, plan.target_px, plan.target_px))
        return tuple(sorted(legs, key=lambda leg: leg.trigger_px))

    def fired(self, plan: Plan, order: Order, now_ns: int) -> None:
        """The trigger of a plan has placed `order`: from now on the position is being closed."""
        plan.leave("target" if order.side == Side.SELL and order.px >= plan.target_px > 0 else "stop", now_ns)
        plan.tries, plan.out_px = 1, order.px
