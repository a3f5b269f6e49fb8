"""Layer 2, orders process, cold: the exits that ORDERS keeps for positions, and their one order each.

A plan's stop rests at the broker, sized to the position, so that a dead engine leaves protection behind.
Everything else is a modification of that order: it follows the position, trails, becomes a LIMIT at the
target and a stop again, is priced anew towards the circuit when it has triggered and does not fill. What
a strategy sells by itself comes first: the stop gives way to it. Where an order could still fill nothing
is placed beside it, so that exits never add up to more than the position. Plans are journalled, and find
their orders again in the book after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from kite_hft.layout import EventKind, IntentFlag, OrderStatus, Reason, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.exits.asking import Refusal, form_refusal, side_refusal
from kite_hft.trading.exits.at_broker import AtBroker
from kite_hft.trading.exits.fitting import Fitter
from kite_hft.trading.exits.giving_way import GivingWay
from kite_hft.trading.exits.plan import Key, Mode, Plan, asked_for, named, plan_of
from kite_hft.trading.exits.prices import Market
from kite_hft.trading.exits.stewards import NEVER_NS, Hands
from kite_hft.trading.exits.tended import Tended
from kite_hft.trading.exits.trigger import Trigger
from kite_hft.trading.gate.risk import Verdict
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.records import position_event
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

PERIOD_NS: Final = 50_000_000
"""So often are prices looked at while a plan lives."""
ENTRY_NS: Final = 5 * NS_PER_S
"""So long does a plan wait for a position that no order promises any more."""
NO_PAIRS: Final = "this broker takes no stop and target in one trigger"
LOOK_NS: Final = 2 * NS_PER_S
"""So often is the order book read while a stop gives way to an order of somebody else."""


class Plans:
    """The steward of exits. peek(intent, now_ns): what the gate would say."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        intake: Intake,
        hands: Hands,
        market: Market,
        at_broker: AtBroker,
        peek: Callable[[Intent, int], Verdict | None],
    ) -> None:
        self._ports, self._book, self._outbox, self._intake = ports, book, outbox, intake
        self._market, self._at_broker = market, at_broker
        self.fitter = Fitter(ports, config, outbox, hands, market)
        self._tended = Tended(ports.instruments, ports.on_book)
        self.plans: dict[Key, Plan] = {}
        self.giving = GivingWay(book, outbox, intake, peek, self.covered, self._left, hands)
        self.leaving = False  # the engine stops: what is at the broker stays as it is
        self.suspended = False  # everything is being closed: nothing is protected beside that
        self.closing: Callable[[Key], bool] = lambda key: False  # somebody else closes this position
        self.foreign: Callable[[Order], bool] = lambda order: False  # it closes a leg of a broken group
        self.strangers: Callable[[Key], list[tuple[str, int]]] = lambda key: []  # and who they are
        self.look_up: Callable[[], None] = lambda: None  # asks for a read of the order book
        self._gave_way: set[Key] = set()  # to a stranger's order, and a person knows
        self._look_ns = 0
        self._restored: list[Plan] = []

    @property
    def alive(self) -> bool:
        return bool(self.plans or self.giving.held)

    def next_ns(self, now_ns: int) -> int:
        return NEVER_NS if self.suspended else now_ns + PERIOD_NS

    def restore(self, records: Iterable[dict[str, Any]], now_ns: int) -> None:
        """Plans of an earlier process, from their PLAN records."""
        ahead_ns = self._ports.clock.real_ns() - self._ports.clock.mono_ns()
        for data in records:
            plan = plan_of(data, ahead_ns, now_ns)
            self.plans[plan.key] = plan
        self._restored = list(self.plans.values())
        self._count()

    def begin(self, now_ns: int) -> None:
        """The broker's books are read and agree, and nothing was taken in yet. A plan of an earlier process
        whose position is gone has ended, whether or not its journal took that: it never guards the next one.
        """
        restored, self._restored = self._restored, []
        for plan in restored:
            waits = self._entered(plan)
            if plan.gtt and not self._at_broker.takes(plan):  # its process died before it could say so
                self._without_trigger(plan, NO_PAIRS)
            if self.plans.get(plan.key) is plan and not waits and not self._book.standing(*plan.key).quantity:
                self._over(plan, "flat", Reason.NONE if plan.side else Reason.NO_POSITION, now_ns)
                self._cancel(self._guards(plan.key), now_ns)

    def clear_up(self, now_ns: int) -> None:
        """What plans left that an earlier process ended: it may have died before it could cancel that."""
        self._at_broker.clear_up(self.plans, now_ns)
        for order in self._book.live():
            plan = self.plans.get((order.strategy, order.slot, order.product))
            if _guard(order) and not self.foreign(order):
                if plan is None:
                    self.fitter.hands.see_cancelled(order)
                elif plan.gtt:
                    self._at_broker.missed(plan)

    # What strategies ask for

    def take(self, intent: Intent, now_ns: int) -> None:
        """An EXITS intent: new exits for a position, instead of those that stand; all zero: none. One record
        says so, and without it nothing of it is done: a process that starts anew goes by what stood before.
        """
        refused, plan = self._refusal(intent, now_ns), asked_for(intent, now_ns)
        key, dropped = plan.key, not (intent.trigger_px or intent.px or intent.trail_px or intent.deadline_ns)
        if refused is None and not self._journal(plan, "dropped" if dropped else "", owed=False):
            refused = Reason.JOURNAL_FAILED, self._outbox.journal_failed
        if refused is not None:
            self._intake.keep(intent, reducing=True)
            self._outbox.refuse(intent, *refused, now_ns)
            return
        if (old := self.plans.get(key)) is not None:
            self._ended(old, Reason.SUPERSEDED, now_ns)
        if dropped:
            self._tell(plan, EventKind.COMPLETE, OrderStatus.COMPLETE, Reason.NONE, now_ns)
            for order in self._guards(key):
                self.fitter.hands.cancel(order, now_ns)
        else:
            self.plans[key] = plan
            self._tell(plan, EventKind.ACCEPTED, OrderStatus.OPEN, Reason.NONE, now_ns)
            if plan.gtt and not self._at_broker.takes(plan):
                self._without_trigger(plan, NO_PAIRS)
        self._count()

    def _refusal(self, intent: Intent, now_ns: int) -> Refusal | None:
        if (refused := form_refusal(intent, self._ports.instruments, now_ns)) is not None:
            return refused
        key = (intent.strategy, intent.slot, intent.product)
        if intent.flags & IntentFlag.GTT and (beside := self._at_broker.beside(key)):
            return Reason.FROZEN, beside
        side = self._side(key)
        if side == 0 and key not in self.plans:
            name = self._ports.instruments[intent.slot].key
            return Reason.NO_POSITION, f"nothing of {name} is held, and no entry is under way"
        return side_refusal(intent, side, self._market.last)

    def _side(self, key: Key) -> int:
        """Side of the orders that would close the position, or the one that its entry is to make."""
        quantity = self._book.standing(*key).quantity
        if quantity:
            return _closing(quantity)
        entry = next((o for o in self._book.live_orders.values() if _entry(o, key)), None)
        if entry is None:
            return 0
        return int(Side.SELL if entry.side == Side.BUY else Side.BUY)

    def covered(self, key: Key) -> int:
        """What exits of a position may still fill: orders, and what a trigger may place."""
        held = self._book.standing(*key).quantity
        return self._guarded(key, held) + self._at_broker.covers(key, _closing(held) if held else 0)

    def _guarded(self, key: Key, held: int) -> int:
        """What orders of exits may still close of what is held; 0: of anything."""
        guards = (o for o in self._guards(key) if not held or o.side == _closing(held))
        return sum(order.open_quantity for order in guards)

    def _left(self, key: Key) -> int:
        """What is held, less what the strategy's own live orders close."""
        position = self._book.standing(*key)
        closing = position.open_sell if position.quantity > 0 else position.open_buy
        if closing:
            closing -= self._guarded(key, position.quantity)
        return max(0, abs(position.quantity) - max(0, closing))

    def _taken(self, plan: Plan, now_ns: int) -> int:
        """What somebody else's orders may still close of it: the stop gives way, and a person is told."""
        others = self.strangers(plan.key)
        whose = "by somebody else"
        for order_id, _quantity in others:
            if (adopted := self._book.by_id(order_id)) is not None:
                whose = "that the journal has lost, and that is being cancelled,"
                self.fitter.hands.cancel(adopted, now_ns)
        if others:
            name, told_of = self._ports.instruments[plan.slot].key, self._told_of(plan)
            words = ", ".join(f"order {order_id} ({quantity})" for order_id, quantity in others)
            self._gave_way.add(plan.key)
            if now_ns >= self._look_ns:
                self._look_ns = now_ns + LOOK_NS
                self.look_up()  # it may be over, and nothing of ours is live that would tell
            self._outbox.alert("STOP_GAVE_WAY", f"{words} {whose} closes {name} as well", told_of)
        elif plan.key in self._gave_way:
            self._gave_way.discard(plan.key)
            self._outbox.clear("STOP_GAVE_WAY", self._told_of(plan))
        return sum(quantity for _, quantity in others)

    # What is done about it

    def act(self, now_ns: int) -> int:
        """Look at prices, positions and orders; do what is due."""
        if self.suspended:
            return self.giving.drop(now_ns)
        done = self.giving.let_go(now_ns)
        guards: dict[Key, list[Order]] = {}
        for order in self._book.live_orders.values():
            if _guard(order) and not self.foreign(order):
                guards.setdefault((order.strategy, order.slot, order.product), []).append(order)
        for plan in list(self.plans.values()):
            done += self._tend(plan, guards.get(plan.key, []), now_ns)
        exits = [(plan, guards.get(plan.key, ())) for plan in self.plans.values()]
        self._tended.say(() if self.leaving else exits, now_ns)
        return done

    def leave(self, now_ns: int) -> int:
        """The engine stops and leaves stops behind: a LIMIT at the target protects nothing."""
        self.leaving = True
        for plan in self.plans.values():
            if plan.mode is Mode.TARGET and plan.level_px:
                plan.mode = Mode.STOP
        return self.act(now_ns)

    def _tend(self, plan: Plan, guards: list[Order], now_ns: int) -> int:
        quantity = self._book.standing(*plan.key).quantity
        if not quantity:
            return self._flat(plan, guards, now_ns)
        if self.closing(plan.key):
            return self._turn_back(plan, guards, now_ns)
        side = _closing(quantity)
        if plan.side and side != plan.side:
            self._over(plan, "the position has turned", Reason.NO_POSITION, now_ns)
            return self._cancel(guards, now_ns)
        if wrong := [order for order in guards if order.side != side]:  # from before the position turned
            guards = [order for order in guards if order.side == side]
            self._cancel(wrong, now_ns)
        instrument = self._ports.instruments[plan.slot]
        last = self._market.last(plan.slot)
        changed = False
        if not plan.side:
            plan.begin(side, last, instrument.tick_px)
            changed = True
        before = plan.mode
        if not self.leaving:
            changed |= plan.look(last, instrument.tick_px, now_ns)
            changed |= self._stop_missed(plan, guards, now_ns)
        if changed:
            self._journal(plan)
        if plan.mode is Mode.OUT and before is not Mode.OUT:
            self._outbox.count("exits_fired")
        taken, stands = self._taken(plan, now_ns), sum(order.open_quantity for order in guards)
        want = max(0, self._left(plan.key) - self.giving.waiting(plan.key) - taken)
        if plan.mode is not Mode.OUT:  # what its trigger covers stands, too: a doubt makes nothing smaller
            stands += self._at_broker.covers(plan.key, side)
        if want > stands:  # nothing grows into what may be closed by now
            want = max(stands, want - max(0, self._at_broker.may_have_fired(plan, now_ns) - taken))
        beside = plan.mode is Mode.OUT and not self._at_broker.holds_up(plan, now_ns)
        if self._at_broker.older(plan) and not beside:
            return 0  # a trigger of the plan before it may still fire: nothing is placed beside that
        if plan.gtt:
            lies = plan.mode is not Mode.OUT and self._at_broker.fits(plan.slot, want)
            if lies and guards and not (self._at_broker.stands(plan) or self._at_broker.sought(plan)):
                return self._cancel(guards, now_ns)  # no trigger is placed beside an order that may fill
            done = self._at_broker.tend(plan, want if lies else 0, now_ns)
            if self._at_broker.stands(plan) and not beside:  # nothing is placed beside what may fire
                return done + self._cancel(guards, now_ns) if lies else done
            if lies and not self._at_broker.sought(plan):
                return done
        return self.fitter.fit(plan, guards, want, now_ns)

    def _turn_back(self, plan: Plan, guards: list[Order], now_ns: int) -> int:
        """Somebody else closes the position, and may have to wait for that: meanwhile an order at the target
        becomes a stop when the price leaves it. Nothing is placed, and nothing more is done.
        """
        last, tick_px = self._market.last(plan.slot), self._ports.instruments[plan.slot].tick_px
        if not guards or plan.mode is not Mode.TARGET or last <= 0 or not plan.turn(last, tick_px):
            return 0
        self._journal(plan)
        return self.fitter.fit(plan, guards, sum(order.open_quantity for order in guards), now_ns)

    def fired(self, trigger: Trigger, order: Order, now_ns: int) -> None:
        """A trigger has placed its order: of a plan, it closes the position from now on. One whose exits have
        ended, or whose position is gone or was turned meanwhile, is too late: what it placed is cancelled.
        """
        if not trigger.for_exits:
            return
        plan, held = self.plans.get(trigger.key), self._book.standing(*trigger.key).quantity
        if plan is None or not held or order.side != _closing(held):
            if order.open_quantity:
                self.fitter.hands.cancel(order, now_ns)
            return
        self._at_broker.fired(plan, order, now_ns)
        self._outbox.count("exits_fired")
        self._journal(plan)

    def turned_down(self, trigger: Trigger, why: str, now_ns: int) -> None:
        """The trigger of a plan could not be placed: orders protect for today, and a person is told."""
        plan = self.plans.get((trigger.strategy, trigger.slot, trigger.product))
        if plan is None or plan.seq != trigger.seq or not plan.gtt:
            return
        self._without_trigger(plan, why)

    def _without_trigger(self, plan: Plan, why: str) -> None:
        """Orders of the engine protect instead, and a person is told."""
        plan.gtt = False
        key = self._ports.instruments[plan.slot].key
        self._outbox.alert("TRIGGER_FAILED", f"no trigger for {key}: {why}; orders protect it for today", key)
        self._journal(plan)
        self._outbox.stirred += 1

    def _stop_missed(self, plan: Plan, guards: list[Order], now_ns: int) -> bool:
        """The price is at the stop, and nothing at the broker closes the position: close it."""
        if plan.mode is not Mode.STOP or not plan.touched_ns:
            return False
        if not guards:
            plan.leave("stop", now_ns)
            return True
        if now_ns - plan.touched_ns < self.fitter.rest_ns or not any(o.open_quantity for o in guards):
            return False
        key = self._ports.instruments[plan.slot].key
        self._outbox.count("stops_unfilled")
        self._outbox.alert(
            "STOP_UNFILLED", f"the stop of {key} was reached and is not filled", self._told_of(plan)
        )
        plan.leave("stop", now_ns, tries=1)
        return True

    def _flat(self, plan: Plan, guards: list[Order], now_ns: int) -> int:
        """Nothing is held: the plan is over, unless an entry is still to make a position."""
        waits = self._entered(plan)
        if not plan.side and (waits or now_ns - plan.began_ns < ENTRY_NS):
            return 0
        if plan.side and waits:
            plan.side = 0  # an entry is still at work: it begins anew with what that makes
            plan.began_ns = now_ns
            self._at_broker.drop(plan, now_ns)  # a trigger would open something until then
        elif plan.side or not waits:
            self._over(plan, "flat", Reason.NONE if plan.side else Reason.NO_POSITION, now_ns)
        return self._cancel(guards, now_ns)

    def _entered(self, plan: Plan) -> bool:
        """An entry is at work that makes a position as the plan's: one on its other side turns it."""
        live = self._book.live_orders.values()
        return any(_entry(order, plan.key) and order.side != plan.side for order in live)

    def _cancel(self, guards: list[Order], now_ns: int) -> int:
        for order in guards:
            self.fitter.hands.cancel(order, now_ns)
        return len(guards)

    def _guards(self, key: Key) -> list[Order]:
        live, foreign = self._book.live_orders.values(), self.foreign
        return [o for o in live if _guard(o) and (o.strategy, o.slot, o.product) == key and not foreign(o)]

    # What is told

    def _told_of(self, plan: Plan) -> str:
        return named(self._ports.instruments[plan.slot].key, plan.key)

    def _over(self, plan: Plan, why: str, reason: Reason, now_ns: int) -> None:
        self._journal(plan, why)
        self._ended(plan, reason, now_ns)

    def _ended(self, plan: Plan, reason: Reason, now_ns: int) -> None:
        self.plans.pop(plan.key, None)
        ended = reason is Reason.NONE
        kind, status = (
            (EventKind.COMPLETE, OrderStatus.COMPLETE)
            if ended
            else (EventKind.CANCELLED, OrderStatus.CANCELLED)
        )
        self._tell(plan, kind, status, reason, now_ns)
        self.fitter.forget(plan)
        if plan.key in self._gave_way:
            self._gave_way.discard(plan.key)
            self._outbox.clear("STOP_GAVE_WAY", self._told_of(plan))
        if plan.gtt:
            self._at_broker.drop(plan, now_ns)
        self._count()

    def _journal(self, plan: Plan, ended: str = "", *, owed: bool = True) -> bool:
        clock = self._ports.clock
        payload = plan.payload(clock.real_ns() - clock.mono_ns(), ended)
        about, name = ("exits", *plan.key), (plan.strategy, plan.seq)
        return self._outbox.journal_last(about, Kind.PLAN, payload, name, owed=owed)

    def _tell(self, plan: Plan, kind: EventKind, status: OrderStatus, reason: Reason, now_ns: int) -> None:
        position = self._book.standing(*plan.key).quantity
        event = position_event(*plan.key, position, now_ns)
        row = event[0]
        row["kind"], row["status"], row["strategy_seq"] = kind, status, plan.seq
        row["reason"], row["side"], row["px"] = reason, plan.side, plan.level_px
        self._outbox.push(plan.strategy, event)

    def _count(self) -> None:
        self._outbox.gauge("exit_plans", len(self.plans))
        self._outbox.stirred += 1


def _guard(order: Order) -> bool:
    """An order of the engine's own that closes: no slice of a strategy's order."""
    return order.strategy_seq >= ENGINE_SEQ and not order.opening and not 0 < order.parent < ENGINE_SEQ


def _closing(held: int) -> int:
    """Side of what closes a position."""
    return int(Side.SELL if held > 0 else Side.BUY)


def _entry(order: Order, key: Key) -> bool:
    return order.opening and (order.strategy, order.slot, order.product) == key
