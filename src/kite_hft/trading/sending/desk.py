"""Layer 2, orders process, hot: order calls on their way out.

    judged intent -> throttle -> (judged again when it waited) -> egress gate -> journal -> transport

With fsync_before_send an order waits behind the journal for the disk (staging.py), and passes the gate when
it leaves. A cancel is a wish: it leaves as soon as the order has a name at the broker, and again when a later
read shows that it was lost. What answers prove: answers.py; cancels before waiting exits: cancelling.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from kite_hft._entering import Entering
from kite_hft.layout import IntentKind, OrderStatus, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.gate.checks import Context, Judged
from kite_hft.trading.gate.risk import Verdict
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL, WORKING, Input
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.records import intent_payload
from kite_hft.trading.recovery.waiting import waiting_records
from kite_hft.trading.sending.cancelling import TRIES, CancelsFirst, CancelTries
from kite_hft.trading.sending.egress import Egress
from kite_hft.trading.sending.evidence import Left
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.staging import LOOK_NS, Staged, Staging, past
from kite_hft.trading.sending.throttle import Denied, Throttle
from kite_hft.trading.sending.work import (
    Cancel,
    Work,
    answer_payload,
    call_payload,
    change_of,
    judged_again,
    request_of,
    terms_of,
    withdrawn_payload,
)
from kite_hft.units import NS_PER_S

PLACE, MODIFY, CANCEL = IntentKind.PLACE, IntentKind.MODIFY, IntentKind.CANCEL
UNSENT = "cancelled before it left"
LATCH_AGAIN_NS = NS_PER_S // 1000
"""Of what opens: so long after its step began (a disk may stall, a process stand still) it is judged anew."""


class Desk:
    """Sends orders, modifications and cancels, each at most once.

    `submit(work, request)` hands a call to the transport; `regather(intent, now_ns)` gathers a fresh
    context for an intent that had to wait; `look_up()` asks for a read of the order book.
    """

    def __init__(
        self, ports: Ports, config: OrdersConfig, book: Book, outbox: Outbox, states: States,
        submit: Callable[[Work, HttpRequest], None], regather: Callable[[Intent, int], Context],
        look_up: Callable[[], None],
    ) -> None:  # fmt: skip
        self._ports, self._config, self.book, self._outbox = ports, config, book, outbox
        self._states, self._submit, self.look_up = states, submit, look_up
        self.enter_intent = Entering(Order, book, ports.tags.prefix, EXTERNAL).enter
        self._verdict = partial(judged_again, book=book, regather=regather, limits=config.risk)
        self._entry_wait_ns = round(config.entry_wait_s * NS_PER_S)
        self.egress = Egress(ports, config.limits, outbox, self._entry_wait_ns, self._doubt)
        self.throttle: Throttle[Work] = Throttle(config.limits, self.egress.budget)
        self.egress.beside(self.throttle)
        self.staging = Staging(ports.synced_seq, self.egress.budget)
        self._protection, self._fsync_first = config.risk.market_protection, config.fsync_before_send
        self._mono_ns, self._killed, self._rows = ports.clock.mono_ns, ports.killed, ports.instruments.rows
        self.last_order_no, self.cancelling = 0, dict[int, Cancel]()
        self.modifying, self.unwanted = set[int](), set[int]()  # unwanted: to be cancelled, were they to live
        self.unjudged: set[int] = set()  # refused without a look at the order: too many calls, token, address
        self._entered: dict[int, Work] = {}  # in the book, not yet in the throttle: legs of groups
        self._tries, self.cancels_first = CancelTries(), CancelsFirst(self.throttle)

    def recall(
        self, calls: Iterable[Left], lacking: Iterable[Left], tags: Iterable[str], limited_ns: int | None,
        now_ns: int,
    ) -> None:  # fmt: skip
        """What earlier processes sent today (Egress.recall). limited_ns: when the broker last answered
        429, None: never.
        """
        self.throttle.seen_today(self.egress.recall(calls, lacking, tags, now_ns))
        self.throttle.last_ns = self.egress.last_order_ns
        if limited_ns is not None:
            self.throttle.cool_down(limited_ns)

    def take_no(self) -> int:
        """The next order number."""
        self.last_order_no += 1
        return self.last_order_no

    # Taking in

    def place(self, intent: Intent, context: Judged, now_ns: int) -> None:
        """A judged PLACE becomes an order, counted in the book from here on, and queues for the broker."""
        self._queue(self._work_of(intent, context), now_ns)

    def enter(self, intent: Intent, context: Judged) -> Order:
        """A judged PLACE becomes an order that counts in the book and waits for `offer_order`."""
        work = self._work_of(intent, context)
        self._entered[work.order.order_no] = work
        return work.order

    def _work_of(self, intent: Intent, context: Judged) -> Work:
        self.last_order_no = number = self.last_order_no + 1
        order = self.enter_intent(intent, number, not context.reducing)
        return Work(PLACE, order, intent, context)

    def doubt(self, order: Order, now_ns: int) -> Verdict | None:
        """What the gate says now against an entered order; None: it may be offered."""
        return self._verdict(self._entered[order.order_no], now_ns)

    def offer_order(self, order: Order, now_ns: int) -> None:
        """Let an entered order queue for the broker."""
        self._queue(self._entered.pop(order.order_no), now_ns)

    def _queue(self, work: Work, now_ns: int) -> None:
        if denied := self._offer(work, now_ns):
            assert work.intent is not None
            self._refuse_order(work.order, work.intent, *denied, now_ns)

    def refuse_entered(self, order: Order, reason: Reason, text: str, now_ns: int) -> None:
        """An entered order is not sent after all."""
        if (work := self._entered.pop(order.order_no, None)) is not None and work.intent is not None:
            self._refuse_order(order, work.intent, reason, text, now_ns)

    def modify(self, intent: Intent, context: Judged, now_ns: int) -> None:
        """A judged MODIFY: the worse of both quantities counts from here on."""
        target = context.target
        assert target is not None
        terms = terms_of(intent, target)
        if denied := self._offer(Work(MODIFY, target, intent, context, terms), now_ns):
            return self._outbox.refuse(intent, *denied, now_ns)
        self.book.ask_terms(target, terms[0], terms)
        self.modifying.add(target.order_no)

    def cancel(self, order: Order, intent: Intent | None, now_ns: int) -> None:
        """Cancel now, or as soon as the order has a name; a doubled wish is one wish."""
        if order.status is OrderStatus.NEW:
            self.throttle.withdraw(lambda work: work.order is order)
            self._entered.pop(order.order_no, None)
            name = (order.strategy, order.strategy_seq)
            self._outbox.journal_end(Kind.WITHDRAWN, withdrawn_payload(order), name)
            self._outbox.tell(self.book.enter(order, Input.WITHDRAW, now_ns), now_ns)
        elif order.status in TERMINAL:
            return  # a slice that has ended
        elif order.status not in WORKING:
            self.cancelling[order.order_no] = Cancel.WISHED
            if self.staging:  # one that waits for the disk need not leave any more; for a connection: _doubt
                self._take_back(lambda w: w.item.order is order, Reason.NOT_CONNECTED, UNSENT, now_ns)
        elif self.cancelling.get(order.order_no) is not Cancel.UNDER_WAY:
            self._offer_cancel(order, intent, now_ns)

    def wish_cancel(self, order_no: int) -> None:
        """An earlier process had to cancel it, and may not have: see it through."""
        self.cancelling[order_no] = Cancel.FAILED

    def progressed(self, order: Order, now_ns: int) -> None:
        """The order may have got its name, or its end: see to a cancel that waits for either."""
        how = self.cancelling.get(order.order_no)
        if how is not None and order.status in TERMINAL:
            del self.cancelling[order.order_no]
            self.unwanted.add(order.order_no)
            self._outbox.clear("CANCEL_FAILED", str(order.order_no))
        elif how is Cancel.WISHED and order.status in WORKING:
            self._offer_cancel(order, None, now_ns)

    def retry_cancel(self, order: Order, shown: OrderStatus | None, asked_ns: int, now_ns: int) -> None:
        """A book read asked for at `asked_ns` has `shown` an order: a cancel that failed goes out again."""
        number, how = order.order_no, self.cancelling.get(order.order_no)
        if how is None or order.status not in WORKING:
            return
        if how is Cancel.FAILED and self._tries.due(number, asked_ns, now_ns):
            self._offer_cancel(order, None, now_ns)
        elif how is Cancel.TAKEN and self._tries.not_carried_out(number, shown, asked_ns):
            self.cancel_failed(order, "the broker took it, and the order is still at work", now_ns)

    def cancel_taken(self, order: Order, now_ns: int) -> None:
        """The broker took it: the order ends, unless a later read of the book shows that it has not."""
        self.cancelling[order.order_no] = Cancel.TAKEN
        self._tries.taken(order.order_no, now_ns)

    def cancel_failed(self, order: Order, text: str, now_ns: int, *, told: bool = True) -> None:
        """Unproven, unsent, not carried out: once more. Not `told`: refused, as a rule as it has ended."""
        tries = self._tries.failed(order.order_no, now_ns)
        self.cancelling[order.order_no] = Cancel.FAILED
        if told:
            self.look_up()
        if told or tries >= TRIES:
            text = f"cancel of order {order.order_no} failed {tries} times: {text}"
            self._outbox.alert("CANCEL_FAILED", text, str(order.order_no))

    def _offer_cancel(self, order: Order, intent: Intent | None, now_ns: int) -> None:
        if denied := self._offer(Work(CANCEL, order, intent, None), now_ns):
            self.cancel_failed(order, denied.text, now_ns)
        else:
            self.cancelling[order.order_no] = Cancel.UNDER_WAY

    def _offer(self, work: Work, now_ns: int) -> Denied | None:
        work.offered_ns = self._mono_ns()
        urgent = work.context is None or work.context.reducing
        deadline_ns = now_ns + self._entry_wait_ns
        if work.intent is not None and work.intent.deadline_ns:
            deadline_ns = min(deadline_ns, work.intent.deadline_ns)
        first = work.kind is CANCEL and self.cancels_first.takes_turn(work.order.order_no)
        return self.throttle.offer(
            work, now_ns, urgent=urgent, placement=work.kind is PLACE, deadline_ns=deadline_ns, first=first,
            beside=None if work.engines else work.beside,
        )  # fmt: skip

    def settled(self, order: Order) -> bool:
        """At the broker, and no modification or cancel of it is under way or unproven."""
        under_way = order.order_no in self.modifying or order.order_no in self.cancelling
        return order.status in WORKING and not under_way and not order.quantity_max

    # Giving up before anything left

    def drop_entries(self, reason: Reason, text: str, now_ns: int) -> None:
        """Take back every opening order and modification that still waits."""
        for work in self.throttle.drop_entries():
            self._drop(work, reason, text, now_ns)
        self._take_back(lambda waiting: not waiting.urgent, reason, text, now_ns)

    def heed_journal(self, now_ns: int) -> None:
        """What its thread beside has found: a sync that failed, a disk that is nearly full."""
        failed, low = self._ports.journal_state()
        if (failed or low or self._outbox.disk_low) and self._outbox.heed_journal(failed, low):
            reason = Reason.JOURNAL_FAILED if failed else Reason.HALTED
            self.drop_entries(reason, failed or low, now_ns)

    def drop_all(self, reason: Reason, text: str, now_ns: int) -> None:
        """Nothing can be sent: take back everything that waits; cancels stay as wishes."""
        self._take_back(lambda waiting: True, reason, text, now_ns)
        for work in self.throttle.withdraw(lambda work: True):
            if work.kind is not CANCEL:
                self._drop(work, reason, text, now_ns)
            elif work.order.status not in TERMINAL:  # else there is nothing to cancel any more
                self.cancelling[work.order.order_no] = Cancel.FAILED

    def _drop(self, work: Work, reason: Reason, text: str, now_ns: int) -> None:
        order = work.order
        if work.kind is PLACE:
            assert work.intent is not None
            self._refuse_order(order, work.intent, reason, text, now_ns)
        elif work.kind is CANCEL:
            self.cancel_failed(order, text, now_ns)
        elif work.intent is not None:
            self.end_modify(order, now_ns)
            self._outbox.refuse(work.intent, reason, text, now_ns)

    def _refuse_order(self, order: Order, intent: Intent, reason: Reason, text: str, now_ns: int) -> None:
        order.message = text
        row = self._outbox.refused_record(intent, reason, text, now_ns)
        self._outbox.tell(self.book.enter(order, Input.REFUSE, now_ns), now_ns, reason, row=row)
        self._outbox.refusals.ended(order, intent)

    def _take_back(self, is_it: Callable[[Staged], bool], reason: Reason, text: str, now_ns: int) -> None:
        for waiting in self.staging.take_back(is_it):
            self.throttle.unsent(waiting)
            self._unsend(waiting.item, reason, text, now_ns)

    def _unsend(self, work: Work, reason: Reason, text: str, now_ns: int) -> None:
        """It stands in the journal as sent, and has not left."""
        self._outbox.journal(Kind.ANSWER, answer_payload(work, None, text))
        if work.kind is PLACE:
            work.order.message = text
            self._outbox.tell(self.book.enter(work.order, Input.REFUSE, now_ns), now_ns, reason)
            self.progressed(work.order, now_ns)
        else:
            self._drop(work, reason, text, now_ns)

    def end_modify(self, order: Order, now_ns: int) -> None:
        """It came to nothing: the terms stand as they were."""
        self.modifying.discard(order.order_no)
        self.book.set_terms(order, order.quantity, order.px, order.trigger_px, now_ns)

    # Sending

    def send(self, now_ns: int) -> int:
        """Let out what may leave now; returns how many calls that was."""
        if self._states.token_dead:
            return 0
        sent = self._release(now_ns) if self._fsync_first and self.staging else 0
        if now_ns >= self.throttle.deadline_ns:
            for work in self.throttle.expired(now_ns):
                self._drop(work, Reason.THROTTLE_DEADLINE, "waited past its deadline", now_ns)
        while (waiting := self.throttle.pop(now_ns)) is not None:
            self._dispatch(waiting, now_ns)
            sent += 1
        return sent

    def next_ns(self, now_ns: int) -> int | None:
        """When `send` must run next although nothing arrives; None: not by itself."""
        at_ns, look_ns = self.throttle.next_ns(now_ns), now_ns + LOOK_NS
        return (look_ns if at_ns is None else min(at_ns, look_ns)) if self.staging else at_ns

    def _release(self, now_ns: int) -> int:
        """Let out what waited for the disk, and is on it now; nothing after the journal has failed."""
        if self._outbox.journal_failed:
            failed = self._outbox.journal_failed
            self._take_back(lambda waiting: True, Reason.JOURNAL_FAILED, failed, now_ns)
        text = "past its deadline before it could leave"
        self._take_back(past(now_ns), Reason.THROTTLE_DEADLINE, text, now_ns)
        synced = self.staging.synced(now_ns, self.throttle.passes)
        for waiting in synced:
            work = waiting.item
            verdict = self._doubt(work, work.opens, True, now_ns) or self._at_border(work, now_ns)
            if verdict is None:
                self._leave(work, now_ns, staged_ns=now_ns)
            else:
                self._give_back(waiting, now_ns)
                self._unsend(work, *verdict, now_ns)
        return len(synced)

    def journal_waiting(self, taken: Iterable[tuple[Intent, bool]]) -> None:
        """Intents (and whether they reduce) without a record yet wait: they must outlive this process."""
        for name, payload in waiting_records(taken, self._outbox.journalled, self.book):
            self._outbox.journal(Kind.WAITING, payload, name)

    def _dispatch(self, waiting: Staged, now_ns: int) -> None:
        work, order = waiting.item, waiting.item.order
        work.let_out_ns = self._mono_ns()
        if work.kind is CANCEL and order.status not in WORKING:
            return self.progressed(order, now_ns)
        if (verdict := self._doubt(work, work.opens, waiting.queued_ns < now_ns, now_ns)) is not None:
            self.throttle.unsent(waiting)
            return self._drop(work, *verdict, now_ns)
        self.throttle.leaves(now_ns)
        waits = self._fsync_first and work.kind is not CANCEL
        crosses = None if waits else self._at_border(work, now_ns)
        if (verdict := crosses or self._written(work)) is not None:
            if waits or crosses:  # else the second count has it, and keeps its place
                self._give_back(waiting, now_ns)
            self._drop(work, *verdict, now_ns)
        elif waits:
            self._stage(waiting, now_ns)
        else:
            self._leave(work, now_ns)

    def _doubt(self, work: Work, opens: bool, waited: bool, now_ns: int) -> Verdict | None:
        """Why a call whose turn it is does not leave."""
        if opens and (killed := self._killed()):
            return Verdict(Reason.KILLED, f"killed: {killed}")
        if work.kind is PLACE and work.order.order_no in self.cancelling:
            return Verdict(Reason.NOT_CONNECTED, UNSENT)
        return self._verdict(work, now_ns) if waited or self._outbox.halted else None

    def _at_border(self, work: Work, now_ns: int) -> Verdict | None:
        """The second count says no: the throttle is wrong, and nothing more may be opened."""
        if text := self.egress.gate.refuses(now_ns, work.order.tag if work.kind is PLACE else ""):
            self._outbox.halt(f"egress: {text}")
            return Verdict(Reason.HALTED, text)
        return None

    def _written(self, work: Work) -> Verdict | None:
        """Journal it. A cancel leaves even when that cannot be: it takes risk away."""
        if (self._journal(work) and not self._outbox.journal_failed) or work.kind is CANCEL:
            return None
        return Verdict(Reason.JOURNAL_FAILED, self._outbox.journal_failed)

    def _give_back(self, waiting: Staged, now_ns: int) -> None:
        """What was counted at `now_ns` does not leave: its place in the windows, and in the day, is free."""
        self.egress.budget.moved(now_ns, None)
        self.throttle.unsent(waiting)

    def _stage(self, waiting: Staged, now_ns: int) -> None:
        """From here on it counts as sent: a process that dies now cannot know."""
        work, order = waiting.item, waiting.item.order
        self.staging.add(waiting, self._outbox.journal_seq, now_ns)
        if work.kind is PLACE:
            order.sent_ns, order.sent_real_ns = now_ns, self._ports.clock.real_ns()
            self._outbox.tell(self.book.enter(order, Input.SUBMIT, now_ns), now_ns)

    def _journal(self, work: Work) -> bool:
        order, context = work.order, work.context
        if work.kind is PLACE:
            assert context is not None
            judged = (context.ref_px, context.tick_seq, context.age_ns)
            payload = intent_payload(order, self._rows[order.slot].token, judged)
            return self._outbox.journal(Kind.INTENT, payload, (order.strategy, order.strategy_seq))
        return self._outbox.journal(Kind.CALL, call_payload(work), work.name)

    def _leave(self, work: Work, now_ns: int, *, staged_ns: int = 0) -> None:
        order, instrument = work.order, self._rows[work.order.slot]
        work.sent_ns = now_ns
        if work.kind is PLACE:
            order.sent_ns, order.sent_real_ns = now_ns, self._ports.clock.real_ns()
            request = self._ports.broker.place(request_of(order, instrument, self._protection))
        else:
            request = change_of(work, self._ports.broker, instrument, self._protection)
        before_ns = self._mono_ns()
        held_up = work.opens and before_ns - now_ns > LATCH_AGAIN_NS
        if held_up and (verdict := self.egress.held_up(work, now_ns, before_ns)) is not None:
            return self.withhold(work, *verdict, now_ns)
        self._submit(work, request)
        self.left(work, before_ns, self._mono_ns(), now_ns, staged_ns)

    def withhold(self, work: Work, reason: Reason, text: str, now_ns: int) -> None:
        """Its record stands, and it must not leave: it ends as what was to be sent and never left."""
        if work.kind is PLACE:
            self.throttle.placed_today -= 1
            self._outbox.tell(self.book.enter(work.order, Input.SUBMIT, now_ns), now_ns)
        self._unsend(work, reason, text, now_ns)

    def left(self, work: Work, before_ns: int, after_ns: int, now_ns: int, staged_ns: int = 0) -> None:
        """An order call was handed over between the two times."""
        self.egress.order_left(work, before_ns, after_ns, staged_ns)
        self.throttle.last_ns = after_ns
        if work.kind is PLACE:
            self._outbox.tell(self.book.enter(work.order, Input.SUBMIT, now_ns), now_ns)
        elif work.kind is MODIFY:
            work.order.growth = 0
