"""Layer 2, orders process, hot: intents on their way in: counted, judged, and sent where they belong.

    queue -> duplicate? -> gate -> desk (in slices above the freeze quantity)
                       `-> whoever takes this kind: exits of a position, triggers, groups

What ORDERS itself does for a strategy comes through the same gate, under numbers of its own from
ENGINE_SEQ on. An intent leaves its queue only after it has a record in the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from kite_hft._express import Express
from kite_hft.layout import INTENT, IntentKind, OrderStatus, OrderType, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.checks import Context, Judged
from kite_hft.trading.gate.risk import Verdict
from kite_hft.trading.intents import ENGINE_SEQ, Intent, intents_of
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.recovery.waiting import waiting_payload
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.refusals import ends
from kite_hft.trading.slices import slices

INTENTS_PER_STEP: Final = 64
JUDGED: Final = "taken_to_judged"
PLACE, MODIFY, CANCEL = int(IntentKind.PLACE), int(IntentKind.MODIFY), int(IntentKind.CANCEL)
UNANSWERED: Final = (OrderStatus.NEW, OrderStatus.SENT)
MARKET = int(OrderType.MARKET)
PROBE: Final = int(IntentKind.PROBE)

Taker = Callable[[Intent, int], None]
"""Takes an intent of its kind over, and says by an event or a refusal what becomes of it."""


class Intake:
    """`judge(intent, last_seq, now_ns)`: the verdict, and what it was reached by. last_seq: the number that
    the strategy's must lie above.

    takers: kind -> who takes it instead of the desk. group: who takes legs of groups. at_market(intent): an
    order at market as the exchange takes it. make_room(intent, now_ns): True when exits that stand in the
    way of a PLACE or MODIFY give way to it; the intent is taken up again once they have.
    """

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        outbox: Outbox,
        desk: Desk,
        judge: Callable[[Intent, int, int], tuple[Verdict | None, Judged]],
    ) -> None:
        self._ports, self._outbox, self._desk, self.judge = ports, outbox, desk, judge
        self._slices_max = config.slices_max
        self.takers: dict[int, Taker] = {}
        self.group: Taker | None = None
        self.at_market: Callable[[Intent], Intent] | None = None
        self.make_room: Callable[[Intent, int], bool] | None = None
        self.express: Express | None = None  # for a plain placement that has nothing beside it
        self.change_trigger: Callable[[Intent, int], bool] | None = None  # a CANCEL or MODIFY that names one
        self._seen: set[tuple[int, int]] = set()
        self._heads: list[int] = []  # intents up to here were pushed before this process came
        self.last_seq: dict[int, int] = {}
        self._engine_seq = ENGINE_SEQ - 1
        self._taken: list[tuple[Intent, bool]] = []
        self._times: list[tuple[str, int]] = []  # of what was taken in: told when it has been sent
        self._mono_ns = ports.clock.mono_ns
        self._rows = np.zeros(INTENTS_PER_STEP, INTENT)
        self._bytes = self._rows.view(np.uint8).data

    def start(self, found: Recovered) -> None:
        """Go on where the journal ends; what stands in the queues was pushed for an earlier process."""
        self.last_seq, self._engine_seq, self._seen = found.last_seq, found.engine_seq, found.seen
        self._heads = [source.waiting() for source in self._ports.intents]

    def next_engine_seq(self) -> int:
        """A number for something that ORDERS itself does."""
        self._engine_seq += 1
        return self._engine_seq

    # From the queues

    def take(self, now_ns: int) -> list[int]:
        """Take in what waits; returns how many of each queue: they stay in it until `commit`."""
        taken, sources = [], self._ports.intents
        for at, source in enumerate(sources):
            n = source.peek(self._rows)
            taken.append(n)
            if n:
                beside = sum(taken) - n or any(other.waiting() for other in sources[at + 1 :])
                self._take_in(at, n, now_ns, alone=not beside)
        return taken

    def _take_in(self, at: int, n: int, now_ns: int, *, alone: bool) -> None:
        taken_ns, refusals = self._mono_ns(), self._outbox.refusals
        express = self.express if alone and n == 1 else None
        for intent in intents_of(self._bytes, n):
            old = self._heads[at] > 0
            self._heads[at] -= 1
            if intent.strategy not in self._ports.events:
                self._nobodys(intent, now_ns)
                continue
            if not old:  # else it waited for this process
                self._times.append(("intent_to_taken", taken_ns - intent.created_ns))
            if express is not None and not old and express.place(intent, at, now_ns):
                self._times.append((JUDGED, express.judged_ns - taken_ns))
            elif intent.kind == PROBE:
                self._outbox.count("probes")
            elif old and (intent.strategy, intent.strategy_seq) in self._seen:
                continue  # the records of an earlier process tell what waits of it
            else:
                if old:  # the same one may stand in the queue twice
                    self._seen.add((intent.strategy, intent.strategy_seq))
                if intent.strategy_seq >= ENGINE_SEQ:
                    self._outbox.count("intents")
                    text = f"strategy_seq {intent.strategy_seq} is a number of the engine's"
                    unnamed = intent._replace(strategy_seq=0)  # else the next process numbers on from there
                    self._outbox.refuse(unnamed, Reason.BAD_INTENT, text, now_ns)
                    continue
                refusals.fresh = None if old else (intent.strategy, intent.strategy_seq)
                self.consider(intent, now_ns, left_over=old)
                self._times.append((JUDGED, self._mono_ns() - taken_ns))
        refusals.fresh = None

    def _nobodys(self, intent: Intent, now_ns: int) -> None:
        """Only a worker that has gone wrong says so: the engine's own numbers are of this kind, too."""
        self._outbox.count("intents")
        text = f"strategy {intent.strategy} is none of this engine's"
        unnamed = intent._replace(strategy_seq=0)
        self._outbox.refuse(unnamed, Reason.BAD_INTENT, text, now_ns)

    def commit(self, taken: list[int]) -> None:
        """What was taken in has a record, or gets one now; then it leaves its queue."""
        for name, ns in self._times:
            self._outbox.record(name, ns)
            if name == JUDGED:
                self._outbox.count("intents")
        self._times.clear()
        if self._taken:
            self._desk.journal_waiting(self._taken)
            self._taken.clear()
        self._outbox.journalled.clear()
        for source, n in zip(self._ports.intents, taken, strict=False):
            if n:
                source.commit(n)

    def left_alone(self, at: int, created_ns: int, taken_ns: int, judged_ns: int) -> None:
        """The only intent that waited, in queue `at`, has been sent, or told of, by the express way."""
        self._heads[at] -= 1
        self._times += [("intent_to_taken", taken_ns - created_ns), (JUDGED, judged_ns - taken_ns)]
        self.commit([int(number == at) for number in range(len(self._heads))])

    def keep(self, intent: Intent, *, reducing: bool) -> None:
        """It is held for later: a WAITING record for it, unless it gets another one in this step."""
        self._taken.append((intent, reducing))

    # One intent

    def consider(self, intent: Intent, now_ns: int, *, left_over: bool = False) -> None:
        """Judge one intent and let it go its way. `left_over`: an earlier process may have had it."""
        taker = self.takers.get(intent.kind)
        if intent.group and intent.kind == PLACE and intent.strategy_seq < ENGINE_SEQ:
            taker = self.group or taker
        last_seq = intent.strategy_seq - 1 if left_over else self.last_seq.get(intent.strategy, 0)
        if taker is not None:
            if intent.strategy_seq <= last_seq:
                text = f"strategy {intent.strategy} has sent its intent {intent.strategy_seq} already"
                self._outbox.refuse(intent, Reason.DUPLICATE_INTENT, text, now_ns)
                return
            self._number(intent)
            taker(intent, now_ns)
            return
        if intent.strategy_seq > last_seq and self._waits(intent, now_ns):
            self._number(intent)
            self.keep(intent, reducing=True)
            return
        if intent.order_type == MARKET and intent.kind != CANCEL and self.at_market is not None:
            intent = self.at_market(intent)
        verdict, context = self.judge(intent, last_seq, now_ns)
        self._number(intent)
        if verdict is None:
            self.send(intent, context, now_ns)
        else:
            if ends(verdict.reason):
                self._taken.append((intent, context.reducing))
            self._outbox.refuse(intent, verdict.reason, verdict.text, now_ns)

    def _waits(self, intent: Intent, now_ns: int) -> bool:
        """It is about a trigger, or exits have to give way first."""
        kind = intent.kind
        change = self.change_trigger if kind in (MODIFY, CANCEL) else None
        if change is not None and change(intent, now_ns):
            return True
        return kind != CANCEL and self.make_room is not None and self.make_room(intent, now_ns)

    def _number(self, intent: Intent) -> None:
        if ENGINE_SEQ > intent.strategy_seq > self.last_seq.get(intent.strategy, 0):
            self.last_seq[intent.strategy] = intent.strategy_seq

    def send(self, intent: Intent, context: Judged, now_ns: int) -> None:
        """A judged intent goes to the desk."""
        if intent.kind == PLACE:
            instrument = context.instrument
            assert instrument is not None
            if not instrument.freeze_quantity or intent.qty <= instrument.freeze_quantity:
                self._taken.append((intent, context.reducing))
                self._desk.place(intent, context, now_ns)
                return
            for order in self.enter(intent, context):
                self._desk.offer_order(order, now_ns)
            return
        assert context.target is not None
        self._taken.append((intent, context.reducing))
        members = self._desk.book.family(context.target)
        if intent.kind == CANCEL:
            for order in members:
                self._desk.cancel(order, intent if order is context.target else None, now_ns)
        elif intent.strategy_seq >= ENGINE_SEQ:  # the engine knows the slices that it means
            self._desk.modify(intent, context, now_ns)
        elif len(members) > 1 and intent.qty:
            text = "the quantity of an order in slices does not change: cancel it, and place another"
            self._outbox.refuse(intent, Reason.BAD_INTENT, text, now_ns)
        elif any(order.status in UNANSWERED for order in members):  # they would stay at the old price
            text = "slices of it are still on their way to the broker: ask again once they are there"
            self._outbox.refuse(intent, Reason.ORDER_NOT_OPEN, text, now_ns)
        else:
            assert isinstance(context, Context)  # placements alone pass at once
            for order in members:
                if order is context.target or self._desk.settled(order):
                    self._desk.modify(intent, replace(context, target=order), now_ns)

    def enter(self, intent: Intent, context: Judged) -> list[Order]:
        """A judged PLACE becomes orders that the book counts from here on; they wait for `offer_order`."""
        instrument = context.instrument
        assert instrument is not None
        freeze = instrument.freeze_quantity
        if not freeze or intent.qty <= freeze:
            self._taken.append((intent, context.reducing))
            return [self._desk.enter(intent, context)]
        orders: list[Order] = []
        lasts = not intent.group and intent.strategy_seq < ENGINE_SEQ
        for quantity in slices(intent.qty, freeze, instrument.lot_size):
            part, whole = intent._replace(qty=quantity), 0 if orders else intent.qty
            if orders:
                part = part._replace(strategy_seq=self.next_engine_seq(), target_seq=intent.strategy_seq)
            orders.append(self._desk.enter(part, context))
            if lasts:  # all of them have a record before one leaves: a process that dies loses none
                waits = waiting_payload(part, orders[-1].order_no, context.reducing, whole)
                self._outbox.journal(Kind.WAITING, waits, (part.strategy, part.strategy_seq))
            else:
                self._taken.append((part, context.reducing))
        self._outbox.count("slices", len(orders))
        return orders
