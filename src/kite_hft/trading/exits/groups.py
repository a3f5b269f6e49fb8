"""Layer 2, orders process, cold: intents that belong together: all of them, in the right order, or undone.

Legs are held until all have come. They are judged together: each counts in the book before the next is
looked at, and one refusal refuses all. What they cost as a basket is asked of the broker before the first
leg. Then they go out one by one, protective buys first, the next one when the last has filled (or was
accepted, where the settings say so), each judged once more before it leaves. A leg that fails, may not
follow, or rests too long, breaks the group: it is undone (unwinding.py). A group that an earlier process
left half done is broken, and ends by the same rule; one that has filled meanwhile is whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kite_hft.layout import OrderStatus, OrderType, Product, Reason, Side, Validity
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpResponse, OrderRequest
from kite_hft.trading.exits.group import DIED, Group, Leg, Name, Stage, group_of
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.prices import Market
from kite_hft.trading.exits.stewards import NEVER_NS, Hands
from kite_hft.trading.exits.unwinding import Unwinder
from kite_hft.trading.gate.checks import Judged
from kite_hft.trading.gate.risk import Verdict
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.sending.asides import Answer, Aside, Asides
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.slices import of_intent
from kite_hft.units import NS_PER_S, rupees_text

LEGS_MAX: Final = 8
LOOK_NS: Final = NS_PER_S // 10
"""So often is a group looked at that is being undone, or whose next leg waits for a price."""
TAKEN: Final = frozenset({OrderStatus.TRIGGER_PENDING, OrderStatus.OPEN, OrderStatus.COMPLETE})
"""The exchange has accepted it. One that has a name alone may still be rejected by the broker's risk desk."""
PRICELESS: Final = frozenset(
    {Reason.STALE_TICK, Reason.NO_SNAPSHOT, Reason.NO_REFERENCE_PRICE, Reason.MARKET_HALT}
)
"""No price to be judged by, which may be over in a moment: the next leg waits, as long as a leg may rest."""


class Groups:
    """The steward of groups."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        desk: Desk,
        intake: Intake,
        hands: Hands,
        market: Market,
        asides: Asides,
        reader: BookReader,
    ) -> None:
        self._ports, self._config, self._book, self._outbox = ports, config, book, outbox
        self._desk, self._intake, self._asides, self._reader = desk, intake, asides, reader
        self.unwinder = Unwinder(ports, config, book, outbox, hands, market, self._journal)
        self._wait_ns = round(config.group_wait_s * NS_PER_S)
        self._leg_ns = round(config.group_leg_s * NS_PER_S)
        self._groups: dict[Name, Group] = {}
        self.suspended = False

    @property
    def alive(self) -> bool:
        return bool(self._groups)

    def next_ns(self, now_ns: int) -> int:
        if any(g.stage is Stage.BROKEN or _waits(g) for g in self._groups.values()):
            return now_ns + LOOK_NS
        return min((group.until_ns for group in self._groups.values()), default=NEVER_NS)

    def restore(self, records: Iterable[dict[str, Any]], now_ns: int) -> None:
        """Groups that an earlier process left half done, from their GROUP records."""
        for data in records:
            group = group_of(data, self._orders_of, now_ns)
            self._groups[group.name] = group
            self.unwinder.take_up(group)

    def _orders_of(self, strategy: int, seq: int) -> list[Order]:
        return of_intent(self._book, strategy, seq)

    def claims(self, key: Key) -> int:
        """So much of a position is about to be closed as soon as exits have made room for it."""
        broken = [group for group in self._groups.values() if group.stage is Stage.BROKEN]
        return sum(leg.claims for group in broken for leg in group.legs if leg.claims and leg.key == key)

    # Coming

    def take(self, intent: Intent, now_ns: int) -> None:
        """One leg. The group goes on when all have come."""
        self._intake.keep(intent, reducing=False)
        name = (intent.strategy, intent.group)
        group = self._groups.get(name)
        if group is None:
            until_ns = now_ns + self._wait_ns
            group = self._groups[name] = Group(*name, legs_due=intent.legs, until_ns=until_ns)
        group.intents.append(intent)
        self._outbox.stirred += 1
        wrong = self._wrong(group, intent)
        if wrong:
            self._refuse_all(group, Reason.GROUP, wrong, now_ns)
        elif len(group.intents) == group.legs_due:
            if undone := self._undone_beside(group):
                self._refuse_all(group, Reason.GROUP, undone, now_ns)
            else:
                self._judge(group, now_ns)

    def _undone_beside(self, group: Group) -> str:
        """In a position in which a broken group is being closed nobody could tell whose fill is whose."""
        keys = {(i.strategy, i.slot, i.product) for i in group.intents}
        for other in self._groups.values():
            if other.stage is Stage.BROKEN and any(leg.orders and leg.key in keys for leg in other.legs):
                return f"group {other.group} is being undone in a position of group {group.group}"
        return ""

    def _wrong(self, group: Group, intent: Intent) -> str:
        if group.stage is not Stage.COMING:
            return f"group {group.group} is under way already"
        if not 1 < intent.legs <= LEGS_MAX or intent.legs != group.legs_due:
            return f"a group has 2 to {LEGS_MAX} legs, the same number in each: not {intent.legs}"
        numbers = [other.leg for other in group.intents]
        if not 1 <= intent.leg <= intent.legs or len(set(numbers)) != len(numbers):
            return f"leg {intent.leg} of {intent.legs} does not exist, or came twice"
        return ""

    def _judge(self, group: Group, now_ns: int) -> None:
        """All at once: what one adds counts when the next is looked at."""
        legs = sorted(group.intents, key=lambda i: (i.side != Side.BUY, i.leg))
        turn = self._intake.at_market
        turned = [turn(i) if turn is not None and i.order_type == OrderType.MARKET else i for i in legs]
        ordered = _one_by_one(turned)
        entered: list[tuple[Intent, Leg]] = []
        reducing = True
        for intent in ordered:
            verdict, context = self._intake.judge(intent, intent.strategy_seq - 1, now_ns)
            if verdict is not None:
                text = f"leg {intent.leg} of group {group.group}: {verdict.text}"
                self._take_back(group, [i for i, _ in entered], [leg for _, leg in entered], text, now_ns)
                rest = [i for i in ordered if i not in [done for done, _ in entered]]
                for other in rest:
                    reason = verdict.reason if other is intent else Reason.GROUP
                    self._outbox.refuse(other, reason, text, now_ns)
                self._groups.pop(group.name, None)
                return
            reducing = reducing and context.reducing
            entered.append((intent, self._enter(intent, context)))
        group.legs = [leg for _, leg in entered]
        self._outbox.count("groups")
        self._journal(group)
        if reducing:
            self._go(group, now_ns)
        else:
            self._ask_margin(group, ordered, now_ns)

    def _enter(self, intent: Intent, context: Judged) -> Leg:
        return Leg(intent.strategy_seq, self._intake.enter(intent, context), intent.qty)

    def _take_back(
        self, group: Group, intents: list[Intent], legs: list[Leg], text: str, now_ns: int,
        reason: Reason = Reason.GROUP,
    ) -> None:  # fmt: skip
        for leg in legs:
            for order in leg.orders:
                self._desk.refuse_entered(order, reason, text, now_ns)

    def _refuse_all(self, group: Group, reason: Reason, text: str, now_ns: int) -> None:
        """Nothing of it has left."""
        if group.stage is Stage.COMING:
            for intent in group.intents:
                self._outbox.refuse(intent, reason, text, now_ns)
            self._groups.pop(group.name, None)
            return
        entered = {leg.seq for leg in group.legs if leg.orders}  # by this process, or by one before it
        late = [i for i in group.intents if i.strategy_seq not in entered]
        for intent in late:
            group.intents.remove(intent)
            self._outbox.refuse(intent, reason, text, now_ns)

    # Margin

    def _ask_margin(self, group: Group, intents: list[Intent], now_ns: int) -> None:
        requests = [self._request(intent) for intent in intents]
        group.stage, group.until_ns = Stage.MARGIN, now_ns + self._leg_ns
        name = group.name

        def answered(result: Answer, at_ns: int) -> None:
            if self._groups.get(name) is group and group.stage is Stage.MARGIN:
                self._margin(group, requests, result, at_ns)

        call = self._ports.broker.basket_margin(requests)
        if not self._asides.offer(Aside("MARGIN", call, answered), now_ns):
            self._no_margin(group, "too many calls wait", now_ns)

    def _request(self, intent: Intent) -> OrderRequest:
        px = intent.px or (0 if intent.order_type == OrderType.MARKET else intent.trigger_px)
        return OrderRequest(
            self._ports.instruments[intent.slot],
            Side(intent.side),
            OrderType(intent.order_type),
            Product(intent.product),
            Validity(intent.validity),
            intent.qty,
            px,
            intent.trigger_px,
        )

    def _margin(self, group: Group, legs: list[OrderRequest], result: Answer, now_ns: int) -> None:
        if not isinstance(result, HttpResponse) or result.status != 200:
            word = result.reason if not isinstance(result, HttpResponse) else f"HTTP {result.status}"
            self._no_margin(group, f"the broker does not say what it takes: {word}", now_ns)
            return
        try:
            margin = self._ports.broker.parse_basket_margin(result.body)
        except ValueError as error:
            self._no_margin(group, str(error), now_ns)
            return
        # Where nothing is bought the legs protect one another only once all are there.
        hedged = any(leg.side == Side.BUY for leg in legs)
        due = margin.final_paise if hedged else max(margin.initial_paise, margin.final_paise)
        funds = self._reader.funds
        free_paise = min(funds.free_paise(leg.instrument.exchange) for leg in legs) if funds else 0
        if funds is None or due > free_paise:
            free = rupees_text(free_paise) if funds else "unknown"
            self._no_margin(group, f"the group takes {rupees_text(due)}, free are {free}", now_ns)
        else:
            self._go(group, now_ns)

    def _no_margin(self, group: Group, text: str, now_ns: int) -> None:
        self._take_back(group, [], group.legs, text, now_ns, Reason.MARGIN)
        self._over(group, f"margin: {text}")

    # Going

    def _go(self, group: Group, now_ns: int) -> None:
        """Its first leg leaves when it is looked at: what has come with the same answers is known then."""
        group.stage, group.until_ns = Stage.GOING, now_ns + self._leg_ns
        self._outbox.stirred += 1

    def _send(self, group: Group, now_ns: int) -> int:
        """The next leg goes out, if it still may: much can have happened since it was judged."""
        leg = group.legs[group.at]
        verdict = self._doubt(leg, now_ns)
        if verdict is None:
            leg.sent_ns = now_ns
            for order in leg.orders:
                if order.status is OrderStatus.NEW:
                    self._desk.offer_order(order, now_ns)
            return 1
        if verdict.reason in PRICELESS and now_ns < group.until_ns:
            return 0
        text = f"a leg of group {group.group} may not follow: {verdict.text}"
        for order in leg.orders:
            self._desk.refuse_entered(order, verdict.reason, text, now_ns)
        if group.at:
            return self._break(group, text, now_ns)
        self._take_back(group, [], group.legs, text, now_ns)
        self._over(group, text)
        return 0

    def _doubt(self, leg: Leg, now_ns: int) -> Verdict | None:
        """Why a leg may not leave any more."""
        for order in leg.orders:
            if order.status is not OrderStatus.NEW:
                continue
            if (verdict := self._desk.doubt(order, now_ns)) is not None:
                return verdict
            position = self._book.position(order)
            if not (order.opening or position.reduces(order.side, 0)):
                return Verdict(Reason.FROZEN, f"{position.quantity} held: what it was to reduce is closed")
        return None

    def act(self, now_ns: int) -> int:
        """Whatever is due in each group."""
        done = 0
        for group in list(self._groups.values()):
            if group.stage is Stage.COMING:
                if now_ns >= group.until_ns:
                    missing = group.legs_due - len(group.intents)
                    text = f"{missing} legs of group {group.group} did not come"
                    self._refuse_all(group, Reason.GROUP, text, now_ns)
            elif group.stage is Stage.MARGIN:
                if now_ns >= group.until_ns:
                    self._no_margin(group, "the broker did not say what it takes", now_ns)
            elif group.stage is Stage.GOING:
                done += self._look(group, now_ns)
            elif not self.suspended:
                done += self._undo(group, now_ns)
        return done

    def _look(self, group: Group, now_ns: int) -> int:
        """The leg that is out: through, failed, or late. One that was only accepted may fail after that."""
        for earlier in group.legs[: group.at]:
            if _failed(earlier):
                return self._break(group, f"a leg ended {self._words(earlier)}", now_ns)
        leg = group.legs[group.at]
        if _waits(group):
            return self._send(group, now_ns)
        states = [order.status for order in leg.orders]
        if OrderStatus.AMBIGUOUS in states:
            group.until_ns = now_ns + self._leg_ns  # its fate first: nothing is built on it
            return 0
        if _failed(leg):
            return self._break(group, f"a leg ended {self._words(leg)}", now_ns)
        taken = self._config.group_next == "accepted" and all(s in TAKEN for s in states)
        if all(s is OrderStatus.COMPLETE for s in states) or taken:
            group.at += 1
            if group.at < len(group.legs):
                group.until_ns = now_ns + self._leg_ns
                return self._send(group, now_ns)
            self._over(group, "")
            return 0
        if now_ns >= group.until_ns:
            late = f"after {self._config.group_leg_s:g} s"
            return self._break(group, f"a leg is {self._words(leg)} {late}", now_ns)
        return 0

    def _words(self, leg: Leg) -> str:
        order = next((o for o in leg.orders if o.status is not OrderStatus.COMPLETE), leg.orders[0])
        key = self._ports.instruments[order.slot].key
        return f"{order.status.name} ({key}{': ' + order.message if order.message else ''})"

    def _break(self, group: Group, why: str, now_ns: int) -> int:
        group.stage, group.why = Stage.BROKEN, why
        self._journal(group)
        for leg in group.legs:
            for order in leg.orders:
                self._desk.refuse_entered(order, Reason.GROUP, f"group {group.group}: {why}", now_ns)
        return 0 if self.suspended else self._undo(group, now_ns)

    def _undo(self, group: Group, now_ns: int) -> int:
        if group.why == DIED and group.whole and not group.told:
            group.why = ""  # all had filled: what was not written is that it is over
            self._over(group, "")
            return 0
        calls, what = self.unwinder.undo(group, now_ns)
        if what:
            self.unwinder.tell(group, what)
            self._over(group, group.why)
        return calls

    def _over(self, group: Group, why: str) -> None:
        self._groups.pop(group.name, None)
        self._journal(group, ended=why or "done")

    def _journal(self, group: Group, **more: Any) -> None:
        self._outbox.journal_last(("group", *group.name), Kind.GROUP, group.payload(**more))


def _one_by_one(legs: list[Intent]) -> list[Intent]:
    """The strategy's deadline is for the first leg: the others wait for those before them to fill, which may
    rest for longer (group_leg_s), and have their own time in the throttle from then on.
    """
    return [*legs[:1], *(leg._replace(deadline_ns=0) for leg in legs[1:])]


def _failed(leg: Leg) -> bool:
    """Some of it has ended without a fill."""
    return any(o.status in TERMINAL and o.status is not OrderStatus.COMPLETE for o in leg.orders)


def _waits(group: Group) -> bool:
    """Its next leg waits for a price to be judged by."""
    return group.stage is Stage.GOING and not group.legs[group.at].sent_ns
