"""Layer 2, orders process, cold: making the orders of a plan what the plan wants, one step at a time.

An order is changed only while nothing else of it is under way. Less comes before more: what is too much
is taken away at once, what is too little is added when nothing that could fill stands beside it. An order
that may not be modified any more is cancelled, and placed anew when it has ended. So is one at the target
that the broker does not turn back into a stop, at the first refusal: until the new stop is taken nothing
stops a loss, and a person is told. What others cancel before it stood is refused; what they cancel soon
after is placed anew at once, and from the second time on later and later. What is less than a lot no order
can cover.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.trading.exits.plan import Key, Mode, Plan, named
from kite_hft.trading.exits.prices import Market, beyond, odd_lot, odd_text, sendable
from kite_hft.trading.exits.stewards import STOOD_NS, Hands
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

RESERVE: Final = 3
"""Modifications of an order that trailing leaves for what must happen."""
RETRY_NS: Final = NS_PER_S // 2
RETRY_NS_MAX: Final = 30 * NS_PER_S
STUCK_NS: Final = 5 * NS_PER_S
"""So long does a change without an answer get until the book shows it."""
SHOWN_NS: Final = 2 * NS_PER_S
"""So long may the exchange take to show an order smaller while something waits for that."""
TRIES_MAX: Final = 3
"""An order that does not take a change asked for so often is replaced by another."""
GROWS_NS: Final = 2 * NS_PER_S
"""So long may a part of a position stand bare because an order that is to cover it cannot be changed yet."""
_STOPS: Final = (OrderType.SL, OrderType.SLM)
_UNKNOWN: Final = frozenset({OrderStatus.NEW, OrderStatus.SENT, OrderStatus.PENDING, OrderStatus.AMBIGUOUS})


class Terms(NamedTuple):
    """What an order of a plan should be."""

    order_type: OrderType
    px: int = 0
    trigger_px: int = 0


@dataclass(slots=True)
class Asked:
    """The change of an order that was asked for last, how often, and when it may be asked for again."""

    wish: tuple[Terms, int]
    tries: int = 0
    next_ns: int = 0


class Fitter:
    """Acts by `hands` on the orders of plans."""

    def __init__(
        self, ports: Ports, config: OrdersConfig, outbox: Outbox, hands: Hands, market: Market
    ) -> None:
        self._ports, self._outbox, self.hands, self._market = ports, outbox, hands, market
        self._gap, self.rest_ns = config.stop_gap_percent, round(config.stop_rest_s * NS_PER_S)
        self._cap, self._slices_max = config.limits.modifications_per_order, config.slices_max
        self._placed: dict[Key, list[Order]] = {}
        self._young: dict[Key, list[Order]] = {}  # at work, and not for long
        self._counted: dict[Key, set[int]] = {}  # intents whose slices plan.undone has in it
        self._asked: dict[Key, dict[int, Asked]] = {}  # by order number
        self._short_ns: dict[Key, int] = {}  # since when a plan's order is to grow and cannot yet

    def forget(self, plan: Plan) -> None:
        """The plan is over."""
        self._placed.pop(plan.key, None)
        self._young.pop(plan.key, None)
        self._counted.pop(plan.key, None)
        self._asked.pop(plan.key, None)
        self._short_ns.pop(plan.key, None)
        for code in ("STOP_UNFILLED", "EXIT_AT_CIRCUIT", "EXIT_REFUSED", "ODD_LOT"):
            self._outbox.clear(code, self._told_of(plan))

    def _name(self, plan: Plan) -> str:
        return self._ports.instruments[plan.slot].key

    def _told_of(self, plan: Plan) -> str:
        return named(self._name(plan), plan.key)

    def fit(self, plan: Plan, guards: list[Order], want: int, now_ns: int) -> int:
        """Bring the live orders of a plan nearer to `want` of what it wants; returns how many calls."""
        self._learn(plan, now_ns)
        self._price_out(plan, guards, now_ns)
        terms = self._terms(plan)
        if terms is None:
            for order in guards:
                self.hands.cancel(order, now_ns)
            return len(guards)
        instrument = self._ports.instruments[plan.slot]
        if odd := odd_lot(want, instrument):
            self._outbox.alert("ODD_LOT", odd_text(plan.sign * want, instrument), self._told_of(plan))
        short = want - odd - sum(order.open_quantity for order in guards)
        if short <= 0:
            self._short_ns.pop(plan.key, None)
        grower = self._grower(guards, short)
        beside = short > 0 and not self._waits(plan, guards, grower, now_ns)
        done, excess = 0, max(0, -short)
        for order in reversed(guards):
            if not self.hands.settled(order):
                if self._gives_way(order, terms, excess, now_ns):
                    excess -= min(excess, order.open_quantity)
                    self.hands.cancel(order, now_ns)
                    done += 1
                continue
            less = min(excess, order.pending)
            excess -= less
            if less and less == order.pending:
                self.hands.cancel(order, now_ns)
                done += 1
            else:
                more = short if order is grower else 0
                done += self._amend(plan, order, terms, order.quantity - less + more, now_ns)
        if beside:
            done += self._place(plan, terms, short, now_ns)
        return done

    def _gives_way(self, order: Order, terms: Terms, excess: int, now_ns: int) -> bool:
        """An order whose last change is unproven is not what is wanted, and cannot be changed: it is
        cancelled, and placed anew when it has ended. At once where it may be too much, or is of another
        kind; else, and where the broker has taken the change, when it has not been shown for some time.
        """
        doubt = order.unproven
        if not self.hands.stuck(order) or not (excess or self.hands.may_place):
            return False
        if doubt is None:
            return excess > 0 and now_ns - order.changed_ns >= SHOWN_NS
        if excess or terms.order_type not in (order.order_type, doubt.terms[3]):
            return True
        as_is = (terms.order_type, terms.px, terms.trigger_px) == (
            order.order_type, order.px, order.trigger_px
        )  # fmt: skip
        less = order.quantity < order.quantity_max
        return now_ns - doubt.since_ns >= STUCK_NS and (less or not as_is)

    def _grower(self, guards: list[Order], short: int) -> Order | None:
        """The newest order that may still be modified takes in what is too little; slices are not filled up.
        None: it becomes an order of its own, beside them.
        """
        if short <= 0 or not guards:
            return None
        freeze = self._ports.instruments[guards[0].slot].freeze_quantity
        if freeze and (len(guards) > 1 or guards[0].quantity + short > freeze):
            return None
        return next((order for order in reversed(guards) if not self._spent(order, 1)), None)

    def _waits(self, plan: Plan, guards: list[Order], grower: Order | None, now_ns: int) -> bool:
        """Nothing is put beside an order whose fate is open, nor, for a while, beside one that is to grow and
        cannot yet: a change or a cancel of it is under way.
        """
        if any(order.status is OrderStatus.AMBIGUOUS for order in guards):
            return True
        if grower is None or self.hands.settled(grower):
            self._short_ns.pop(plan.key, None)
            return grower is not None
        return now_ns - self._short_ns.setdefault(plan.key, now_ns) < GROWS_NS

    # Prices

    def _terms(self, plan: Plan) -> Terms | None:
        """None: nothing belongs at the broker."""
        instrument = self._ports.instruments[plan.slot]
        if plan.mode is Mode.OUT:
            return Terms(OrderType.LIMIT, plan.out_px) if plan.out_px else Terms(OrderType.MARKET)
        if plan.mode is Mode.TARGET:
            return Terms(OrderType.LIMIT, self._market.inside(plan.target_px, plan.slot))
        if not plan.level_px:
            return None
        trigger = self._market.inside(plan.level_px, plan.slot)
        kind = plan.kind(market_stops=self._market.takes(plan.slot, OrderType.SLM))
        if kind is OrderType.SLM:
            return Terms(kind, 0, trigger)
        px = self._market.inside(beyond(trigger, plan.side, self._gap, instrument), plan.slot)
        return Terms(kind, px, trigger)

    def _price_out(self, plan: Plan, guards: list[Order], now_ns: int) -> None:
        """The price of a closing order: the market, then further and further away, the circuit at most."""
        if plan.mode is not Mode.OUT:
            return
        name, locked = self._name(plan), self._market.locked(plan.slot, plan.side)
        if locked:
            text = f"{name} stands at its circuit limit: the order to close it waits there"
            self._outbox.alert("EXIT_AT_CIRCUIT", text, self._told_of(plan))
            plan.out_px = locked
            return
        rested = bool(guards) and all(self.hands.settled(order) for order in guards)
        if not plan.out_px and (plan.tries or not self._market.at_market(plan.slot)):
            plan.tries = max(plan.tries, 1)
            plan.out_px = self._stepped(plan)
        elif rested and now_ns - plan.priced_ns >= self.rest_ns:
            plan.tries, plan.priced_ns = plan.tries + 1, now_ns
            plan.out_px = self._stepped(plan)
            if plan.tries > 1:
                self._outbox.count("stops_unfilled")

    def _stepped(self, plan: Plan) -> int:
        last = self._market.last(plan.slot) or plan.out_px or plan.level_px
        if not last:
            return 0  # without any price: at the market
        px = beyond(last, plan.side, self._gap * plan.tries, self._ports.instruments[plan.slot])
        return self._market.inside(px, plan.slot)

    # Orders

    def _spent(self, order: Order, reserve: int) -> bool:
        return order.modifications >= self._cap - reserve

    def _amend(self, plan: Plan, order: Order, terms: Terms, quantity: int, now_ns: int) -> int:
        """Change an order so that it is what the plan wants; 1 when it had to be."""
        if terms.order_type == order.untaken == OrderType.SLM and order.order_type == OrderType.SL:
            plan.plain_stop = True
            terms = self._terms(plan) or terms
        as_is = terms.order_type == order.order_type and (
            (terms.px, terms.trigger_px) == (order.px, order.trigger_px)
        )
        if terms.order_type is OrderType.MARKET and order.order_type == OrderType.MARKET:
            as_is = True
        if as_is and quantity == order.quantity:
            return 0
        trails = terms.order_type == order.order_type and quantity == order.quantity
        trails = trails and plan.mode is Mode.STOP
        asked = self._asked.setdefault(plan.key, {}).get(order.order_no)
        if asked is None or asked.wish != (terms, quantity):
            asked = self._asked[plan.key][order.order_no] = Asked((terms, quantity))
        unturned = asked.tries > 0 and terms.order_type in _STOPS and order.order_type not in _STOPS
        if unturned:
            name, told_of = self._name(plan), self._told_of(plan)
            text = f"the order at the target of {name} was not turned back into a stop: {self._outbox.why}"
            self._outbox.alert(
                "EXIT_REFUSED", f"{text}; it is cancelled, and a stop placed after it", told_of
            )
        elif now_ns < asked.next_ns:
            return 0  # it came to nothing before: the order is as it was
        if (spent := self._spent(order, RESERVE if trails else 0)) or unturned or asked.tries >= TRIES_MAX:
            if self.hands.may_place or quantity < order.quantity:
                self.hands.cancel(order, now_ns)  # its successor is placed when it has ended
                return 1
            if spent:
                text = f"the order of {self._name(plan)} may not be modified any more, and none can follow"
                self._outbox.alert("EXIT_REFUSED", f"{text} today: it stays as it is", self._told_of(plan))
            if spent or now_ns < asked.next_ns:
                return 0
        asked.tries, asked.next_ns = (
            asked.tries + 1,
            now_ns + min(RETRY_NS_MAX, RETRY_NS << min(asked.tries, 8)),
        )
        self.hands.modify(
            order,
            now_ns,
            quantity=quantity if quantity != order.quantity else 0,
            px=terms.px if terms.px != order.px or terms.order_type != order.order_type else 0,
            trigger_px=terms.trigger_px if terms.trigger_px != order.trigger_px else 0,
            order_type=0 if terms.order_type == order.order_type else int(terms.order_type),
        )
        return 1

    def _place(self, plan: Plan, terms: Terms, quantity: int, now_ns: int) -> int:
        """A new order for what is not covered; after refusals later and later, and in no phase of the day
        that takes none of its type: where the closing auction begins a stop is gone until the next day.
        """
        if now_ns < plan.retry_ns or self._market.shut(plan.slot, terms.order_type):
            return 0
        quantity = sendable(quantity, self._ports.instruments[plan.slot], self._slices_max)
        placed = self.hands.place(
            *plan.key, plan.side, quantity, terms.order_type, now_ns, px=terms.px, trigger_px=terms.trigger_px
        )
        self._placed.setdefault(plan.key, []).extend(placed)
        if not placed:
            self._refused(plan, self._outbox.why, now_ns)
        return 1

    def _learn(self, plan: Plan, now_ns: int) -> None:
        """What became of the orders that were placed last, of each as soon as that is known: when one slice
        is refused the next attempt has to wait, whatever became of the others.
        """
        placed = self._placed.pop(plan.key, [])
        refused = (OrderStatus.REJECTED, OrderStatus.REFUSED)
        turned_down = [o for o in placed if o.status in refused or self.hands.undone(o)]
        self._look_at_young(plan, now_ns)
        if young := [o for o in placed if o.status not in TERMINAL and o.status not in _UNKNOWN]:
            self._young.setdefault(plan.key, []).extend(young)
        unknown = [order for order in placed if order.status in _UNKNOWN]
        absent = [order for order in placed if order.status is OrderStatus.ABSENT]
        if self._ports.broker.catch_all and any(order.order_type == OrderType.SLM for order in absent):
            plan.plain_stop = True  # what proved nothing may have refused the type: SL is taken everywhere
        if turned_down:
            if any(o.order_type == OrderType.SLM and self.hands.judged(o) for o in turned_down):
                plan.plain_stop = True
            self._refused(plan, turned_down[0].message or turned_down[0].status.name, now_ns)
            placed = unknown
        if unknown:
            self._placed[plan.key] = placed
        elif any(o.status not in TERMINAL or o.filled or o.order_id for o in placed):
            plan.refused = 0
            if not plan.undone:
                self._outbox.clear("EXIT_REFUSED", self._told_of(plan))

    def _look_at_young(self, plan: Plan, now_ns: int) -> None:
        """What others cancelled soon after it was taken: its successor leaves at once, the next later. Slices
        of one intent are one, however many reads tell of them.
        """
        if not (young := self._young.pop(plan.key, [])):
            return
        undone = [order for order in young if self.hands.undone(order)]
        live = [order for order in young if order.status in WORKING and not self.hands.called_off(order)]
        stay = [order for order in live if not order.filled and now_ns - order.status_ns < STOOD_NS]
        counted = self._counted.setdefault(plan.key, set())
        new = {order.parent or order.strategy_seq for order in undone} - counted
        if new:
            counted |= new
            plan.undone += 1
            if plan.undone > 1:
                pause_ns = min(RETRY_NS_MAX, RETRY_NS << min(plan.undone - 2, 8))
                plan.retry_ns = max(plan.retry_ns, now_ns + pause_ns)
                text = f"an order that protects {self._name(plan)} was cancelled {plan.undone} times in a row"
                why = undone[0].message or "by others"
                self._outbox.alert("EXIT_REFUSED", f"{text}: {why}", self._told_of(plan))
        elif not undone and plan.undone and (len(stay) < len(live) or any(order.filled for order in young)):
            plan.undone = 0
            counted.clear()
            self._outbox.clear("EXIT_REFUSED", self._told_of(plan))
        if stay:
            self._young[plan.key] = stay

    def _refused(self, plan: Plan, why: str, now_ns: int) -> None:
        plan.refused += 1
        plan.retry_ns = now_ns + min(RETRY_NS_MAX, RETRY_NS * 2 ** min(plan.refused - 1, 8))
        side = "sell" if plan.side == Side.SELL else "buy"
        text = f"the order to {side} {self._name(plan)} was refused {plan.refused} times: {why}"
        self._outbox.alert("EXIT_REFUSED", text, self._told_of(plan))
