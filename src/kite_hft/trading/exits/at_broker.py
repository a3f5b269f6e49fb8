"""Layer 2, orders process, cold: which triggers strategies and plans want at the broker.

An entry (IntentKind.GTT) is judged as the order that it will place: by the whole table of the gate, but that
its price may lie far from today's. A change of it is judged like a new one. Exits of a plan with the flag GTT
follow the position as one trigger: two legs where there is a stop and a target, one where there is one of
them. The broker fires it once and knows nothing of the position: it is changed as the position changes, and
deleted when there is none. What it has placed is closed like any late exit.

A trigger that a strategy asks for waits for its record as long as the disk hangs. That of a plan does not in
the default mode (asides.HANG_NS), for it protects: what a power cut then takes is found again at the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from kite_hft.layout import IntentKind, OrderType, Product, Reason, Side, Validity
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import TriggerReport
from kite_hft.trading.exits.plan import Key, Mode, Plan
from kite_hft.trading.exits.prices import Market, beyond
from kite_hft.trading.exits.stewards import BLANK
from kite_hft.trading.exits.trigger import MISSES, Leg, Trigger, closing_as, legs_of
from kite_hft.trading.exits.triggers import Triggers
from kite_hft.trading.gate.risk import Verdict
from kite_hft.trading.intents import Intent
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

OVERNIGHT: Final = frozenset({int(Product.CNC), int(Product.NRML), int(Product.MTF)})
"""Products that a trigger may be about (Kite: LIMIT orders in CNC, NRML, MTF)."""
RETRY_NS: Final = 10 * NS_PER_S


class Judge(Protocol):
    """What the gate says of an order beside so much that other triggers may place on its side. counts: in
    the day's sums, when it passes. again: it has waited; only what may have changed is asked."""

    def __call__(
        self, order: Intent, counts: bool, now_ns: int, beside: int = 0, *, again: bool = False
    ) -> Verdict | None: ...


class AtBroker:
    """Turns intents and plans into triggers."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        intake: Intake,
        market: Market,
        triggers: Triggers,
        judge: Judge,
    ) -> None:
        self._ports, self._book, self._outbox = ports, book, outbox
        self._intake, self._market = intake, market
        self._triggers, self._judge, self._gap = triggers, judge, config.stop_gap_percent
        self._collar = config.risk.price_collar_percent
        self._asked_ns: dict[tuple[int, int], int] = {}
        triggers.judge_again = self._again
        self.listed: Callable[[], Sequence[TriggerReport]] = tuple  # the broker's list as last read
        self.follows: Callable[[Key], bool] = lambda key: False  # as a trigger exits go with a position
        self._nobodys: set[str] | None = None  # of those that lay there when this process came

    # Entries

    def take(self, intent: Intent, now_ns: int) -> None:
        """A GTT intent: judged as the order that it becomes, then sent."""
        self._intake.keep(intent, reducing=False)
        refused = self._twice(intent) or self._refusal(intent, now_ns)
        if refused is None:
            leg = Leg(intent.side, intent.qty, intent.px, intent.trigger_px)
            trigger = Trigger(intent.strategy, intent.strategy_seq, intent.slot, intent.product, (leg,))
            trigger.closing = self._triggers.only_closes(trigger)
            beside = self._triggers.promised(trigger.key, intent.side)
            if not self._book.standing(*trigger.key).reduces(intent.side, intent.qty + beside):
                trigger.opened_px = self._market.last(intent.slot)  # so it counts in the day's sums
            if text := self._triggers.place(trigger, now_ns):
                failed = self._outbox.journal_failed
                refused = (Reason.JOURNAL_FAILED if failed else Reason.NOT_CONNECTED), text
        if refused is not None:
            self._outbox.refuse(intent, *refused, now_ns)

    def _twice(self, intent: Intent) -> tuple[Reason, str] | None:
        """Why it is not placed beside exits that lie at the broker: of two triggers there that close the same
        both may fire while nobody looks, and what the second one closes is not held any more. Exits that
        follow the position will close all of it, whatever they cover now.
        """
        key = (intent.strategy, intent.slot, intent.product)
        covered, held = self._triggers.covers(key, intent.side), self._book.standing(*key).quantity
        follow = held != 0 and self.follows(key)
        if not (covered or follow) or intent.side != (Side.SELL if held > 0 else Side.BUY):
            return None
        if not follow and intent.qty + covered + self._triggers.promised(key, intent.side) <= abs(held):
            return None
        most = abs(held) if follow else covered
        text = f"exits at the broker close {most} of {abs(held)}: both could fire; change the exits"
        return Reason.FROZEN, text

    def beside(self, key: Key) -> str:
        """Why exits of a position do not lie at the broker as a trigger: one of its strategy's own closes the
        same; "": none does.
        """
        held = self._book.standing(*key).quantity
        own = self._triggers.promised(key, int(Side.SELL if held > 0 else Side.BUY)) if held else 0
        if not own:
            return ""
        return (
            f"a trigger of its own closes {own} of {abs(held)}: cancel it first, or ask for exits without GTT"
        )

    def change(self, intent: Intent, now_ns: int) -> bool:
        """A CANCEL or MODIFY of a trigger; False: it names none."""
        trigger = self._triggers.standing.get((intent.strategy, intent.target_seq))
        if trigger is None or trigger.for_exits:
            return False
        if intent.kind == IntentKind.CANCEL:
            self._triggers.want(trigger, None, now_ns, anew=True)
            return True
        if trigger.wanted is None:
            self._outbox.refuse(intent, Reason.ORDER_NOT_OPEN, "the trigger is being deleted", now_ns)
            return True
        (leg,) = trigger.legs
        changed = Leg(leg.side, intent.qty or leg.quantity, intent.px or leg.px,
                      intent.trigger_px or leg.trigger_px)  # fmt: skip
        if refused := self._unchanged(intent, trigger, changed, now_ns):
            self._outbox.refuse(intent, *refused, now_ns)
            return True
        trigger.replies.append(intent)
        self._triggers.want(trigger, (changed,), now_ns, anew=True)
        return True

    def _unchanged(
        self, intent: Intent, trigger: Trigger, changed: Leg, now_ns: int
    ) -> tuple[Reason, str] | None:
        """Why a trigger is not changed: it is judged as if it were placed anew."""
        if changed.quantity > trigger.quantity:
            return Reason.BAD_INTENT, "a trigger is not enlarged: cancel it, and place another"
        words = {"side": changed.side, "product": trigger.product, "order_type": int(OrderType.LIMIT)}
        anew = intent._replace(
            **words, validity=int(Validity.DAY), slot=trigger.slot, qty=changed.quantity, px=changed.px,
            trigger_px=changed.trigger_px,
        )  # fmt: skip
        with self._triggers.aside_from(trigger):
            return self._refusal(anew, now_ns, counts=False)

    def _refusal(self, intent: Intent, now_ns: int, *, counts: bool = True) -> tuple[Reason, str] | None:
        """counts: one that passes counts in the day's sums."""
        broker = self._ports.broker
        if not broker.trigger_legs_max:
            return Reason.BAD_INTENT, "no triggers can be laid at this broker: send a stop or a limit order"
        if intent.product not in OVERNIGHT:
            return Reason.PRODUCT_NOT_ALLOWED, "a trigger takes the products CNC, NRML and MTF"
        if intent.trigger_px <= 0 or intent.px <= 0:
            return Reason.BAD_INTENT, f"a trigger needs a price and a trigger price, not {intent.px}"
        if not broker.trigger_limit_apart and intent.px != intent.trigger_px:
            text = f"limit {intent.px} and trigger {intent.trigger_px}: this broker takes one price for both"
            return Reason.BAD_INTENT, text
        off = abs(intent.px - intent.trigger_px) * 100
        if off > self._collar * intent.trigger_px:
            text = f"limit {intent.px} is more than {self._collar} % off its trigger {intent.trigger_px}"
            return Reason.PRICE_COLLAR, text
        rows = self._ports.instruments.rows
        tick_px = rows[intent.slot].tick_px if intent.slot < len(rows) else 0
        if tick_px > 0 and (intent.px % tick_px or intent.trigger_px % tick_px):
            return Reason.TICK_SIZE, f"limit {intent.px} or trigger {intent.trigger_px}: tick {tick_px}"
        if not self.fits(intent.slot, intent.qty):
            text = f"quantity {intent.qty}: the order of a trigger is not cut in slices"
            return Reason.MAX_ORDER_QUANTITY, text
        if self._market.last(intent.slot) == intent.trigger_px:
            return Reason.BAD_INTENT, "the trigger is at the price already"
        beside = self._triggers.promised((intent.strategy, intent.slot, intent.product), intent.side)
        verdict = self._judge(_as_order(intent), counts, now_ns, beside)
        return (verdict.reason, verdict.text) if verdict is not None else None

    def _again(self, trigger: Trigger, leg: Leg, now_ns: int) -> tuple[Reason, str] | None:
        """Why the call about a trigger, which has waited, does not leave any more."""
        words = {"created_ns": now_ns, "strategy": trigger.strategy, "strategy_seq": trigger.seq,
                 "slot": trigger.slot, "product": trigger.product, "side": leg.side, "qty": leg.quantity,
                 "px": leg.px}  # fmt: skip
        with self._triggers.aside_from(trigger):
            beside = self._triggers.promised(trigger.key, leg.side)
            order = _as_order(Intent(**BLANK | words))
            verdict = self._judge(order, False, now_ns, beside, again=True)
        return (verdict.reason, verdict.text) if verdict is not None else None

    def fits(self, slot: int, quantity: int) -> bool:
        """A trigger places one order: above the freeze quantity the exchange would refuse it."""
        rows = self._ports.instruments.rows
        freeze = rows[slot].freeze_quantity if slot < len(rows) else 0
        return not freeze or quantity <= freeze

    # Exits of plans

    def takes(self, plan: Plan) -> bool:
        """The broker takes as many legs in one trigger as the plan has."""
        legs = bool(plan.stop_px or plan.trail_px) + bool(plan.target_px)
        return legs <= self._ports.broker.trigger_legs_max

    def tend(self, plan: Plan, quantity: int, now_ns: int) -> int:
        """Keep the trigger of a plan true to the position; returns 1 when it had to be changed."""
        trigger = self._triggers.standing.get((plan.strategy, plan.seq))
        legs = self._legs(plan, quantity)
        if trigger is None:
            if not legs or now_ns < self._asked_ns.get((plan.strategy, plan.seq), 0):
                return 0
            self._asked_ns[plan.strategy, plan.seq] = now_ns + RETRY_NS
            trigger = Trigger(plan.strategy, plan.seq, plan.slot, plan.product, legs, for_exits=True)
            if not self._lies_there(trigger):
                self._triggers.place(trigger, now_ns)
            return 1
        wanted = legs or None
        stays = wanted == trigger.legs
        if trigger.wanted == wanted or (stays and (trigger.busy or trigger.wanted is None)):
            return 0
        self._triggers.want(trigger, wanted, now_ns)
        return 0 if stays else 1

    def begin(self) -> None:
        """The stage is ACTIVE for the first time, and the broker's list has been read."""
        if self._nobodys is None:
            known = {trigger.trigger_id for trigger in self._triggers.standing.values()}
            self._nobodys = {row.trigger_id for row in self.listed() if row.active} - known

    def _lies_there(self, trigger: Trigger) -> bool:
        """One of its sides and prices lay at the broker when this process came, and is nobody's: the power
        failed while the disk hung, and its record is lost. It is taken for ours, for two of them would close
        the same. What closes the same at other prices may be a person's: it is told, and ours placed.
        """
        token, standing = self._ports.instruments[trigger.slot].token, self._triggers.standing.values()
        taken = {other.trigger_id for other in standing}
        free = [row for row in self.listed() if row.trigger_id in (self._nobodys or set()) - taken]
        found = closing_as(trigger, token, free)
        sought = {name for t in standing if not t.trigger_id for name in t.alike(token, found, taken)}
        if not found or sought:  # what was sent and not answered is looked for by itself
            return False
        key, same = self._ports.instruments[trigger.slot].key, trigger.alike(token, found, taken)
        if len(same) != 1:
            names = ", ".join(row.trigger_id for row in found)
            text = f"{names} in {key} is nobody's and closes what exits placed beside it close, too"
            self._outbox.alert("TRIGGER_UNKNOWN", text, str(trigger.name))
            return False
        row = next(row for row in found if row.trigger_id == same[0])
        trigger.trigger_id, trigger.legs = row.trigger_id, legs_of(row)
        trigger.wanted, trigger.tried_ns = trigger.legs, 0
        if not self._outbox.journal(Kind.GTT, trigger.payload() | {"id": row.trigger_id, "do": ""}):
            return False
        self._triggers.standing[trigger.name] = trigger
        text = f"trigger {row.trigger_id} in {key} is taken for that of exits whose record is lost"
        self._outbox.alert("TRIGGER_ADOPTED", text, row.trigger_id)
        return True

    def stands(self, plan: Plan) -> bool:
        """A trigger of the plan lies at the broker, as far as its list tells. One that has a name and was not
        shown yet goes before the position is closed, too.
        """
        trigger = self._triggers.standing.get((plan.strategy, plan.seq))
        unseen = trigger is not None and trigger.unseen and plan.mode is not Mode.OUT
        return trigger is not None and not (trigger.lost or unseen)

    def older(self, plan: Plan) -> bool:
        """A trigger of an earlier plan of the position, which closes the same, has not been deleted yet."""
        others = (t for t in self._triggers.standing.values() if t.key == plan.key and t.seq != plan.seq)
        return any(t.for_exits and not t.lost and t.legs[0].side == plan.side for t in others)

    def holds_up(self, plan: Plan, now_ns: int) -> bool:
        """The closing of its position waits until its triggers are gone: for seconds, as any closing does. A
        person is told of what does not go, and is closed beside; but not while an order is there that such a
        trigger may have placed, for that closes the same.
        """
        standing = self._triggers.standing.values()
        here = [t for t in standing if t.for_exits and t.key == plan.key and not t.lost]
        if any(trigger.claimed or trigger.holds_up(plan.out_ns, now_ns) for trigger in here):
            return True
        for trigger in here:
            self._triggers.closed_beside(trigger)
        return False

    def may_have_fired(self, plan: Plan, now_ns: int) -> int:
        """What the strategy's own triggers may have closed just now: changes of them came to nothing, or an
        order is there that one may have placed, and the list has not told yet.
        """
        standing = self._triggers.standing.values()
        here = (t for t in standing if t.key == plan.key and not t.for_exits and t.legs[0].side == plan.side)
        soon = (t for t in here if t.claimed or (t.trigger_id and t.unsure and t.told_soon(now_ns)))
        return sum(trigger.quantity for trigger in soon)

    def sought(self, plan: Plan) -> bool:
        """Its trigger was sent, and is not to be seen: until that is clear orders protect."""
        trigger = self._triggers.standing.get((plan.strategy, plan.seq))
        return trigger is not None and (trigger.lost or trigger.unseen)

    def missed(self, plan: Plan) -> None:
        """An earlier process had sought its trigger in vain: an order of the plan stands beside it."""
        if (trigger := self._triggers.standing.get((plan.strategy, plan.seq))) is not None:
            trigger.misses = MISSES

    def covers(self, key: Key, side: int) -> int:
        """What triggers of a position's plan may still place on a side, 0: on any."""
        return self._triggers.covers(key, side)

    def clear_up(self, plans: Mapping[Key, Plan], now_ns: int) -> None:
        """Triggers of plans that an earlier process ended: it may have died before it could delete them."""
        for trigger in list(self._triggers.standing.values()):
            plan = plans.get(trigger.key)
            if trigger.for_exits and not (plan is not None and plan.gtt and plan.seq == trigger.seq):
                self._triggers.want(trigger, None, now_ns)

    def drop(self, plan: Plan, now_ns: int) -> None:
        """The plan is over: nothing of it stays at the broker."""
        self._asked_ns.pop((plan.strategy, plan.seq), None)
        trigger = self._triggers.standing.get((plan.strategy, plan.seq))
        if trigger is not None and trigger.wanted is not None:
            self._triggers.want(trigger, None, now_ns)

    def _legs(self, plan: Plan, quantity: int) -> tuple[Leg, ...]:
        """Lower trigger first. A stop's limit lies behind its trigger, a target's at it; at a broker that
        knows one price only, both lie at it."""
        if not quantity or not plan.side:
            return ()
        instrument, size = self._ports.instruments[plan.slot], abs(quantity)
        legs = []
        if plan.level_px:
            apart = self._ports.broker.trigger_limit_apart
            px = beyond(plan.level_px, plan.side, self._gap, instrument) if apart else plan.level_px
            legs.append(Leg(plan.side, size, px, plan.level_px))
        if plan.target_px:
            legs.append(Leg(plan.side, size, plan.target_px, plan.target_px))
        return tuple(sorted(legs, key=lambda leg: leg.trigger_px))

    def fired(self, plan: Plan, order: Order, now_ns: int) -> None:
        """The trigger of a plan has placed `order`: from now on the position is being closed."""
        plan.leave("target" if order.side == Side.SELL and order.px >= plan.target_px > 0 else "stop", now_ns)
        plan.tries, plan.out_px = 1, order.px


def _as_order(intent: Intent) -> Intent:
    """The order that it becomes: that is what the gate judges."""
    words = {"kind": int(IntentKind.PLACE), "order_type": int(OrderType.LIMIT), "flags": 0}
    return intent._replace(**words, validity=int(Validity.DAY), trigger_px=0, group=0)
