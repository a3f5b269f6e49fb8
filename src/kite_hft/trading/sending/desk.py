"""Layer 2, orders process, hot: order calls on their way out, and what their answers prove.

    judged intent -> throttle -> (judged again when it waited) -> egress gate -> journal -> transport

A cancel is a wish: it leaves as soon as the order has a name at the broker, and again when a later
book read shows that it was lost: cancelling twice does no harm. An answer that proves nothing makes
a placed order ambiguous; it is looked up and never sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from kite_hft.layout import IntentKind, OrderStatus, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book, BookError, Change, Order
from kite_hft.trading.broker import (
    Ambiguous,
    Confirmed,
    HttpRequest,
    HttpResponse,
    Outcome,
    Refused,
    TransportError,
)
from kite_hft.trading.gate.checks import Context, resulting
from kite_hft.trading.gate.risk import judge
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL, WORKING, Input
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.records import intent_payload
from kite_hft.trading.recovery.replay import PLACE_INPUT, waiting_payload
from kite_hft.trading.sending.outbox import Outbox, refused_payload
from kite_hft.trading.sending.throttle import EgressGate, Throttle, Waiting
from kite_hft.trading.sending.work import (
    Cancel,
    Work,
    answer_payload,
    call_payload,
    order_of,
    request_of,
    withdrawn_payload,
)
from kite_hft.units import NS_PER_S

PLACE, MODIFY, CANCEL = IntentKind.PLACE, IntentKind.MODIFY, IntentKind.CANCEL
CANCEL_TRIES: Final = 10
"""So often is a cancel sent whose answers prove nothing, or that the broker refuses to a working order."""


class Desk:
    """Sends orders, modifications and cancels, each at most once.

    `submit(work, request)` hands a call to the transport; `regather(intent, now_ns)` gathers a fresh
    context for an intent that had to wait; `look_up()` asks for a read of the order book.
    """

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        states: States,
        submit: Callable[[Work, HttpRequest], None],
        regather: Callable[[Intent, int], Context],
        look_up: Callable[[], None],
    ) -> None:
        self._ports, self._config, self._book, self._outbox = ports, config, book, outbox
        self._states = states
        self._submit, self._regather, self._look_up = submit, regather, look_up
        self.throttle: Throttle[Work] = Throttle(config.limits)
        self._gate = EgressGate(config.limits.order_windows)
        self._entry_wait_ns = round(config.entry_wait_s * NS_PER_S)
        self.last_order_no = 0
        self.cancelling: dict[int, Cancel] = {}
        self.modifying: set[int] = set()
        self._tries: dict[int, int] = {}  # cancels of an order so far
        self._failed_ns: dict[int, int] = {}  # when the last of them failed

    def recall(self, calls: Iterable[tuple[int, bool]], tags: Iterable[str], cool_ns: int) -> None:
        """What an earlier process sent: (time, paid from the part for exits) of each call, CLOCK_MONOTONIC.

        `cool_ns`: when the broker last answered 429.
        """
        for at_ns, urgent in sorted(calls):
            self.throttle.recall(at_ns, urgent)
            self._gate.recall(at_ns)
        self._gate.recall_tags(tags)
        if cool_ns:
            self.throttle.cool_down(cool_ns)

    def take_no(self) -> int:
        """The next order number."""
        self.last_order_no += 1
        return self.last_order_no

    # Taking in

    def place(self, intent: Intent, context: Context, now_ns: int) -> None:
        """A judged PLACE becomes an order, counted in the book from here on."""
        order_no = self.take_no()
        order = order_of(intent, order_no, self._ports.tags.tag(order_no), opening=not context.reducing)
        self._book.add(order)
        if text := self._offer(Work(PLACE, order, intent, context), now_ns):
            self._refuse_order(order, intent, Reason.THROTTLE_QUEUE_FULL, text, now_ns)

    def modify(self, intent: Intent, context: Context, now_ns: int) -> None:
        """A judged MODIFY: the worse of both quantities counts from here on."""
        target = context.target
        assert target is not None
        quantity, px = resulting(intent, target)
        terms = (quantity, px, intent.trigger_px or target.trigger_px)
        if text := self._offer(Work(MODIFY, target, intent, context, terms), now_ns):
            self._outbox.refuse(intent, Reason.THROTTLE_QUEUE_FULL, text, now_ns)
            return
        self._book.ask_terms(target, quantity)
        self.modifying.add(target.order_no)

    def cancel(self, order: Order, intent: Intent | None, now_ns: int) -> None:
        """Cancel now, or as soon as the order has a name; a doubled wish is one wish."""
        if order.status is OrderStatus.NEW:
            self.throttle.withdraw(lambda work: work.order is order)
            name = (order.strategy, order.strategy_seq)
            self._outbox.journal(Kind.WITHDRAWN, withdrawn_payload(order), name)
            self._outbox.tell(self._book.enter(order, Input.WITHDRAW, now_ns), now_ns)
        elif order.status not in WORKING:
            self.cancelling[order.order_no] = Cancel.WISHED
        elif self.cancelling.get(order.order_no) is not Cancel.UNDER_WAY:
            self._offer_cancel(order, intent, now_ns)

    def wish_cancel(self, order_no: int) -> None:
        """An earlier process had to cancel it, and may not have: see it through."""
        self.cancelling[order_no] = Cancel.FAILED

    def progressed(self, order: Order, now_ns: int) -> None:
        """The order may have got its name, or its end: see to a cancel that waits for either."""
        if order.order_no not in self.cancelling:
            return
        if order.status in TERMINAL:
            del self.cancelling[order.order_no]
            self._outbox.clear("CANCEL_FAILED", str(order.order_no))
        elif order.status in WORKING and self.cancelling[order.order_no] is Cancel.WISHED:
            self._offer_cancel(order, None, now_ns)

    def retry_cancel(self, order: Order, asked_ns: int, now_ns: int) -> None:
        """A book read asked for at `asked_ns` has told of `order`: a cancel that failed goes out again."""
        number = order.order_no
        if self.cancelling.get(number) is not Cancel.FAILED or order.status not in WORKING:
            return
        if asked_ns >= self._failed_ns.get(number, 0):
            self._offer_cancel(order, None, now_ns)

    def _cancel_failed(self, order: Order, text: str, now_ns: int) -> None:
        tries = self._tries[order.order_no] = self._tries.get(order.order_no, 0) + 1
        text = f"cancel of order {order.order_no} failed {tries} times: {text}"
        if tries < CANCEL_TRIES:
            self.cancelling[order.order_no], self._failed_ns[order.order_no] = Cancel.FAILED, now_ns
            self._look_up()
        else:
            self.cancelling.pop(order.order_no, None)
        self._outbox.alert("CANCEL_FAILED", text, str(order.order_no))

    def _offer_cancel(self, order: Order, intent: Intent | None, now_ns: int) -> None:
        if text := self._offer(Work(CANCEL, order, intent, None), now_ns):
            self._cancel_failed(order, text, now_ns)
        else:
            self.cancelling[order.order_no] = Cancel.UNDER_WAY

    def _offer(self, work: Work, now_ns: int) -> str:
        work.offered_ns = self._ports.clock.mono_ns()
        urgent = work.context is None or work.context.reducing
        deadline_ns = now_ns + self._entry_wait_ns
        if work.intent is not None and work.intent.deadline_ns:
            deadline_ns = min(deadline_ns, work.intent.deadline_ns)
        return self.throttle.offer(
            work, now_ns, urgent=urgent, placement=work.kind is PLACE, deadline_ns=deadline_ns
        )

    # Giving up before anything left

    def drop_entries(self, reason: Reason, text: str, now_ns: int) -> None:
        """Take back every opening order and modification that still waits."""
        for work in self.throttle.drop_entries():
            self._drop(work, reason, text, now_ns)

    def drop_all(self, reason: Reason, text: str, now_ns: int) -> None:
        """Nothing can be sent: take back everything that waits; cancels stay as wishes."""
        for work in self.throttle.withdraw(lambda work: True):
            if work.kind is CANCEL:
                self.cancelling[work.order.order_no] = Cancel.FAILED
            else:
                self._drop(work, reason, text, now_ns)

    def _drop(self, work: Work, reason: Reason, text: str, now_ns: int) -> None:
        order = work.order
        if work.kind is PLACE:
            assert work.intent is not None
            self._refuse_order(order, work.intent, reason, text, now_ns)
        elif work.kind is CANCEL:
            self._cancel_failed(order, text, now_ns)
        elif work.intent is not None:
            self._end_modify(order, now_ns)
            self._outbox.refuse(work.intent, reason, text, now_ns)

    def _refuse_order(self, order: Order, intent: Intent, reason: Reason, text: str, now_ns: int) -> None:
        order.message = text
        name = (order.strategy, order.strategy_seq)
        self._outbox.journal(Kind.REFUSED, refused_payload(intent, reason, text), name)
        self._outbox.tell(self._book.enter(order, Input.REFUSE, now_ns), now_ns, reason)

    def _end_modify(self, order: Order, now_ns: int) -> None:
        """It came to nothing: the terms stand as they were."""
        self.modifying.discard(order.order_no)
        self._book.set_terms(order, order.quantity, order.px, order.trigger_px, now_ns)

    # Sending

    def send(self, now_ns: int) -> int:
        """Let out what may leave now; returns how many calls that was."""
        if self._states.token_dead:
            return 0
        for work in self.throttle.expired(now_ns):
            self._drop(work, Reason.THROTTLE_DEADLINE, "waited past its deadline", now_ns)
        sent = 0
        while (waiting := self.throttle.take(now_ns)) is not None:
            self._dispatch(waiting, now_ns)
            sent += 1
        return sent

    def journal_waiting(self, taken: Iterable[tuple[Intent, bool]]) -> None:
        """Intents (and whether they reduce) that were taken in and have no record yet wait: they must
        outlive this process.
        """
        for intent, reduces in taken:
            name = (intent.strategy, intent.strategy_seq)
            if name in self._outbox.journalled:
                continue
            order = self._book.by_strategy(*name) if intent.kind == PLACE else None
            number = order.order_no if order else 0
            self._outbox.journal(Kind.WAITING, waiting_payload(intent, number, reduces), name)

    def _dispatch(self, waiting: Waiting[Work], now_ns: int) -> None:
        work, order = waiting.item, waiting.item.order
        work.let_out_ns = self._ports.clock.mono_ns()
        if work.kind is CANCEL and order.status not in WORKING:
            self.progressed(order, now_ns)
            return
        waited = waiting.queued_ns < now_ns or self._outbox.halted
        if waited and not self._still_good(work, now_ns):
            return
        if text := self._gate.refuses(now_ns, order.tag if work.kind is PLACE else ""):
            self._outbox.halt(f"egress: {text}")
            self._drop(work, Reason.HALTED, text, now_ns)
            return
        # A cancel leaves even when the journal cannot be written: it takes risk away.
        if not self._journal(work) and work.kind is not CANCEL:
            self._drop(work, Reason.JOURNAL_FAILED, self._outbox.halted, now_ns)
            return
        self._leave(work, now_ns)

    def _still_good(self, work: Work, now_ns: int) -> bool:
        if work.intent is None or work.context is None:
            return True
        fresh = self._regather(work.intent, now_ns)
        fresh.reducing = work.context.reducing
        verdict = judge(work.intent, fresh, self._config.risk, again=True)
        if verdict is not None:
            self._drop(work, verdict.reason, verdict.text, now_ns)
            return False
        work.context = fresh
        return True

    def _journal(self, work: Work) -> bool:
        order, context = work.order, work.context
        if work.kind is PLACE:
            assert context is not None
            judged = (context.ref_px, context.tick_seq, context.age_ns)
            token = self._ports.instruments[order.slot].token
            return self._outbox.journal(Kind.INTENT, intent_payload(order, token, judged), work.name)
        return self._outbox.journal(Kind.CALL, call_payload(work), work.name)

    def _leave(self, work: Work, now_ns: int) -> None:
        order, broker = work.order, self._ports.broker
        instrument = self._ports.instruments[order.slot]
        work.sent_ns = now_ns
        change: Change | None = None
        if work.kind is MODIFY:
            wish = work.intent
            assert wish is not None
            request = broker.modify(order.order_id, instrument, wish.qty, wish.px, wish.trigger_px)
        elif work.kind is CANCEL:
            request = broker.cancel(order.order_id)
        else:
            change = self._book.enter(order, Input.SUBMIT, now_ns)
            order.sent_ns, order.sent_real_ns = now_ns, self._ports.clock.real_ns()
            request = broker.place(request_of(order, instrument))
        before_ns = self._ports.clock.mono_ns()
        self._submit(work, request)
        self._time(work, before_ns, self._ports.clock.mono_ns())
        if change is not None:
            self._outbox.tell(change, now_ns)

    def _time(self, work: Work, before_ns: int, after_ns: int) -> None:
        """Times of a call that has left, written down when they can hold nothing up any more."""
        record = self._outbox.record
        record("throttle_wait", work.let_out_ns - work.offered_ns)
        record("journalled", before_ns - work.let_out_ns)
        record("written", after_ns - before_ns)
        if work.kind is PLACE:
            if work.order.created_ns:
                record("intent_to_sent", after_ns - work.order.created_ns)
            if work.order.tick_recv_ns:
                record("tick_to_order", after_ns - work.order.tick_recv_ns)

    # Answers

    def answer(self, work: Work, result: HttpResponse | TransportError, now_ns: int) -> None:
        """The one answer to a call."""
        outcome: Outcome | None = None  # None: no byte of it left
        if isinstance(result, HttpResponse):
            outcome = self._ports.broker.parse_outcome(result)
            if work.kind is PLACE and result.status == 404:  # it named no order that could be missing
                outcome = Ambiguous(f"HTTP 404 to a new order: {result.body[:200]!r}")
            received_ns = result.received_ns or now_ns
            self._outbox.record("order_ack", received_ns - (result.sent_ns or work.sent_ns))
        elif result.sent:
            outcome = Ambiguous(f"no answer: {result.reason}")
        text = result.reason if isinstance(result, TransportError) else ""
        self._outbox.journal(Kind.ANSWER, answer_payload(work, outcome, text))
        if isinstance(outcome, Refused):
            self._heed(outcome, now_ns)
        if work.kind is PLACE:
            self._placed(work.order, outcome, text, now_ns)
        elif work.kind is MODIFY:
            self._modified(work, outcome, text, now_ns)
        else:
            self._cancelled(work.order, outcome, text, now_ns)
        denied = work.kind is PLACE and work.order.status is OrderStatus.REJECTED
        if isinstance(outcome, Ambiguous | Refused) and not denied:
            self._look_up()
        self.progressed(work.order, now_ns)

    def _heed(self, refusal: Refused, now_ns: int) -> None:
        if refusal.http_status == 429:
            self.throttle.cool_down(now_ns)
            self._outbox.alert("RATE_LIMITED", f"an order call was refused: {refusal.message}")
        elif refusal.error_type == "TokenException":
            held = sum(1 for p in self._book.positions.values() if p.quantity)
            self._states.lose_token(refusal.message, held)
        elif refusal.error_type == "PermissionException":
            self._outbox.alert("EGRESS_REFUSED", f"an order call was refused: {refusal.message}")

    def _placed(self, order: Order, outcome: Outcome | None, text: str, now_ns: int) -> None:
        what, reason = PLACE_INPUT["unsent"], Reason.NOT_CONNECTED
        if isinstance(outcome, Confirmed):
            what, reason = PLACE_INPUT["confirmed"], Reason.NONE
            try:
                self._book.name(order, outcome.order_id)
            except BookError as error:
                self._outbox.halt(str(error))
        elif isinstance(outcome, Refused):
            what, reason, text = PLACE_INPUT["refused"], Reason.BROKER, outcome.message
        elif isinstance(outcome, Ambiguous):
            what, reason, text = PLACE_INPUT["ambiguous"], Reason.NONE, outcome.why
        order.message = text or order.message
        change = self._book.enter(order, what, now_ns)
        self._outbox.tell(change, now_ns, reason)
        judged = not isinstance(outcome, Refused) or (
            outcome.http_status != 429 and outcome.error_type != "TokenException"
        )
        if judged:  # else it was not the order that was refused
            self._states.ended(change)

    def _modified(self, work: Work, outcome: Outcome | None, text: str, now_ns: int) -> None:
        order = work.order
        self.modifying.discard(order.order_no)
        if isinstance(outcome, Confirmed):
            self._outbox.tell(self._book.set_terms(order, *work.terms, now_ns), now_ns)
        elif isinstance(outcome, Ambiguous):
            order.changed_ns = now_ns  # the worse quantity stands until a later read shows the terms
            self._outbox.alert_ambiguous(order, f"its modification: {outcome.why}")
        else:
            self._end_modify(order, now_ns)
            reason = Reason.BROKER if outcome else Reason.NOT_CONNECTED
            if work.intent is not None:
                text = outcome.message if outcome else text
                self._outbox.refuse(work.intent, reason, text, now_ns)

    def _cancelled(self, order: Order, outcome: Outcome | None, text: str, now_ns: int) -> None:
        if isinstance(outcome, Confirmed):
            self.cancelling[order.order_no] = Cancel.TAKEN
        elif isinstance(outcome, Refused) and outcome.http_status == 400:
            # It has ended already, as a rule; a book read that shows it working sends the cancel again.
            tries = self._tries[order.order_no] = self._tries.get(order.order_no, 0) + 1
            if tries < CANCEL_TRIES:
                self.cancelling[order.order_no], self._failed_ns[order.order_no] = Cancel.FAILED, now_ns
            else:
                self._cancel_failed(order, outcome.message, now_ns)
        else:
            why = outcome.message if isinstance(outcome, Refused) else outcome.why if outcome else text
            self._cancel_failed(order, why, now_ns)
