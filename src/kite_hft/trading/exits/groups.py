"""Layer 2, orders process, cold: intents that belong together: all of them, in the right order, or undone.

Legs are held until all have come. They are judged together: each counts in the book before the next is
looked at, and one refusal refuses all. What they cost as a basket is asked of the broker before the first
leg. Then they go out one by one, protective buys first, the next one when the last has filled (or was
accepted, where the settings say so). A leg that fails, or rests too long, breaks the group: what is live
is cancelled, what was not sent is refused, and what has filled is closed again, last leg first, or kept,
with an alert. A group that an earlier process left half done is broken, and ends by the same rule.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.layout import OrderStatus, OrderType, Product, Reason, Side, Validity
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book, Order
from kite_hft.trading.broker import HttpResponse, OrderRequest
from kite_hft.trading.exits.stewards import NEVER_NS, Hands
from kite_hft.trading.gate.checks import Context
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.sending.asides import Answer, Aside, Asides
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S, rupees_text

LEGS_MAX: Final = 8
CLOSINGS_MAX: Final = 3
"""So often is the closing of a broken group's leg tried."""
Name = tuple[int, int]
"""(strategy, group)."""


class Stage(enum.Enum):
    """How far a group is."""

    COMING = enum.auto()
    MARGIN = enum.auto()  # the broker was asked what it takes
    GOING = enum.auto()
    BROKEN = enum.auto()


@dataclass(slots=True)
class Leg:
    """One leg: the orders that it became (several above the freeze quantity)."""

    seq: int
    orders: list[Order] = field(default_factory=list)
    sent_ns: int = 0
    closings: int = 0
    closing: list[Order] = field(default_factory=list)

    @property
    def filled(self) -> int:
        """So much of it was traded and not closed again."""
        return sum(order.filled for order in self.orders) - sum(order.filled for order in self.closing)


@dataclass(slots=True)
class Group:
    """Legs in the order in which they go out, once all have come."""

    strategy: int
    group: int
    legs_due: int
    until_ns: int
    stage: Stage = Stage.COMING
    intents: list[Intent] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    at: int = 0  # the leg that is out
    why: str = ""

    @property
    def name(self) -> Name:
        return self.strategy, self.group


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
        asides: Asides,
        reader: BookReader,
    ) -> None:
        self._ports, self._config, self._book, self._outbox = ports, config, book, outbox
        self._desk, self._intake, self._hands = desk, intake, hands
        self._asides, self._reader = asides, reader
        self._wait_ns = round(config.group_wait_s * NS_PER_S)
        self._leg_ns = round(config.group_leg_s * NS_PER_S)
        self._groups: dict[Name, Group] = {}
        self.suspended = False

    @property
    def alive(self) -> bool:
        return bool(self._groups)

    def next_ns(self, now_ns: int) -> int:
        if any(g.stage is Stage.BROKEN for g in self._groups.values()):
            return now_ns + NS_PER_S // 10
        return min((group.until_ns for group in self._groups.values()), default=NEVER_NS)

    def restore(self, records: Iterable[dict[str, Any]], now_ns: int) -> None:
        """Groups that an earlier process left half done, from their GROUP records."""
        for data in records:
            group = Group(data["strategy"], data["group"], len(data["legs"]), now_ns, Stage.BROKEN)
            group.why = "the order process ended while it was under way"
            for seq in data["legs"]:
                first = self._book.by_strategy(group.strategy, seq)
                group.legs.append(Leg(seq, list(self._book.family(first)) if first else []))
            self._groups[group.name] = group

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
            self._judge(group, now_ns)

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
        ordered = sorted(group.intents, key=lambda i: (i.side != Side.BUY, i.leg))
        entered: list[tuple[Intent, Leg]] = []
        reducing = True
        for intent in ordered:
            verdict, context = self._intake.judge(intent, True, now_ns)
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

    def _enter(self, intent: Intent, context: Context) -> Leg:
        return Leg(intent.strategy_seq, self._intake.enter(intent, context))

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
        late = [i for i in group.intents if all(leg.seq != i.strategy_seq for leg in group.legs)]
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
        if not self._asides.offer(Aside("MARGIN", call, answered)):
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
        if funds is None or due > funds.net_paise:
            free = rupees_text(funds.net_paise) if funds else "unknown"
            self._no_margin(group, f"the group takes {rupees_text(due)}, free are {free}", now_ns)
        else:
            self._go(group, now_ns)

    def _no_margin(self, group: Group, text: str, now_ns: int) -> None:
        self._take_back(group, [], group.legs, text, now_ns, Reason.MARGIN)
        self._over(group, f"margin: {text}")

    # Going

    def _go(self, group: Group, now_ns: int) -> None:
        group.stage = Stage.GOING
        self._send(group, now_ns)

    def _send(self, group: Group, now_ns: int) -> None:
        leg = group.legs[group.at]
        leg.sent_ns, group.until_ns = now_ns, now_ns + self._leg_ns
        for order in leg.orders:
            if order.status is OrderStatus.NEW:
                self._desk.offer_order(order, now_ns)

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
        """The leg that is out: through, failed, or late."""
        leg = group.legs[group.at]
        states = [order.status for order in leg.orders]
        if OrderStatus.AMBIGUOUS in states:
            group.until_ns = now_ns + self._leg_ns  # its fate first: nothing is built on it
            return 0
        if any(s in TERMINAL and s is not OrderStatus.COMPLETE for s in states):
            return self._break(group, f"a leg ended {self._words(leg)}", now_ns)
        taken = self._config.group_next == "accepted" and all(s in WORKING for s in states)
        if all(s is OrderStatus.COMPLETE for s in states) or taken:
            group.at += 1
            if group.at < len(group.legs):
                self._send(group, now_ns)
                return 1
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
        for leg in group.legs:
            for order in leg.orders:
                self._desk.refuse_entered(order, Reason.GROUP, f"group {group.group}: {why}", now_ns)
        return self._undo(group, now_ns)

    # Undoing

    def _undo(self, group: Group, now_ns: int) -> int:
        """Cancel what lives, then close what has filled: the last leg first, so that cover goes last."""
        live = [o for leg in group.legs for o in leg.orders if o.status not in TERMINAL]
        for order in live:
            self._hands.cancel(order, now_ns)
        if live:
            return len(live)
        if not any(leg.filled for leg in group.legs):
            undone = any(leg.closings for leg in group.legs)
            self._told(group, "what had filled was closed again" if undone else "nothing was traded")
            self._over(group, group.why)
            return 0
        if self._config.group_partial == "keep":
            self._told(group, "what has filled is kept")
            self._over(group, group.why)
            return 0
        for leg in reversed(group.legs):
            if any(order.status not in TERMINAL for order in leg.closing):
                return 0  # it is under way
            if leg.filled > 0:
                return self._close(group, leg, now_ns)
        return 0

    def _close(self, group: Group, leg: Leg, now_ns: int) -> int:
        """Close a leg's fill, as far as its position still shows it."""
        order = leg.orders[0]
        key = (order.strategy, order.slot, order.product)
        held = self._book.standing(*key).quantity * order.sign
        quantity = min(leg.filled, max(0, held))
        leg.closings += 1
        if not quantity or leg.closings > CLOSINGS_MAX:
            if quantity:
                self._told(group, f"{quantity} of it could not be closed")
            leg.closing = [*leg.orders]  # nothing is left to be closed here
            return 0
        side = Side.SELL if order.side == Side.BUY else Side.BUY
        leg.closing += self._hands.place(*key, side, quantity, OrderType.MARKET, now_ns)
        return 1

    def _told(self, group: Group, what: str) -> None:
        name = f"{group.strategy} {group.group}"
        self._outbox.alert("GROUP_BROKEN", f"group {group.group}: {group.why}: {what}", name)

    def _over(self, group: Group, why: str) -> None:
        self._groups.pop(group.name, None)
        self._journal(group, ended=why or "done")

    def _journal(self, group: Group, **more: Any) -> None:
        words = {"strategy": group.strategy, "group": group.group, "legs": [leg.seq for leg in group.legs]}
        self._outbox.journal(Kind.GROUP, words | more)
