"""Layer 2, orders process, hot: order calls on their way out, and what their answers prove.

    judged intent -> throttle -> (judged again when it waited) -> egress gate -> journal -> transport

A cancel is a wish: it leaves as soon as the order has a name at the broker, once. An answer that
proves nothing makes a placed order ambiguous; it is looked up and never sent again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Reason, Side, Validity
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book, BookError, Order
from kite_hft.trading.broker import (
    Ambiguous,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderRequest,
    Outcome,
    Refused,
    TransportError,
)
from kite_hft.trading.checks import Context, resulting
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import TERMINAL, WORKING, Input
from kite_hft.trading.outbox import Outbox
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.records import intent_payload
from kite_hft.trading.recovery import PLACE_INPUT
from kite_hft.trading.risk import judge
from kite_hft.trading.throttle import EgressGate, Throttle, Waiting
from kite_hft.units import NS_PER_S

PLACE, MODIFY, CANCEL = IntentKind.PLACE, IntentKind.MODIFY, IntentKind.CANCEL
_PRICED: Final = (OrderType.LIMIT, OrderType.SL)
_TRIGGERED: Final = (OrderType.SL, OrderType.SLM)


class Cancel(enum.Enum):
    """How far a cancel is; out of the table once the order has ended or the cancel has failed."""

    WISHED = enum.auto()  # the order has no name yet
    UNDER_WAY = enum.auto()  # waits in the throttle, or is unanswered
    TAKEN = enum.auto()  # the broker took it; the order's end is still to come


@dataclass(slots=True, eq=False)
class Work:
    """One order call: what was asked, and by which context it was judged."""

    kind: IntentKind
    order: Order
    intent: Intent | None  # None: our own cancel
    context: Context | None  # None for cancels: nothing is judged but the order's state
    terms: tuple[int, int, int] = (0, 0, 0)  # MODIFY: quantity, price, trigger as they would be
    sent_ns: int = 0


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
        submit: Callable[[Work, HttpRequest], None],
        regather: Callable[[Intent, int], Context],
        look_up: Callable[[], None],
    ) -> None:
        self._ports, self._config, self._book, self._outbox = ports, config, book, outbox
        self._submit, self._regather, self._look_up = submit, regather, look_up
        self.throttle: Throttle[Work] = Throttle(config.limits)
        self._gate = EgressGate(config.limits.order_windows)
        self.last_order_no = 0
        self.cancelling: dict[int, Cancel] = {}
        self.modifying: set[int] = set()

    def take_no(self) -> int:
        """The next order number."""
        self.last_order_no += 1
        return self.last_order_no

    # Taking in

    def place(self, intent: Intent, context: Context, now_ns: int) -> None:
        """A judged PLACE becomes an order, counted in the book from here on."""
        order_no = self.take_no()
        order = Order(
            order_no=order_no,
            strategy=intent.strategy,
            strategy_seq=intent.strategy_seq,
            slot=intent.slot,
            side=intent.side,
            order_type=intent.order_type,
            product=intent.product,
            validity=intent.validity,
            flags=intent.flags,
            quantity=intent.qty,
            px=intent.px if intent.order_type in _PRICED else 0,
            trigger_px=intent.trigger_px if intent.order_type in _TRIGGERED else 0,
            tag=self._ports.tags.tag(order_no),
            created_ns=intent.created_ns,
            tick_recv_ns=intent.tick_recv_ns,
            opening=not context.reducing,
        )
        self._book.add(order)
        if text := self._offer(Work(PLACE, order, intent, context), now_ns):
            self._refuse_order(order, Reason.THROTTLE_QUEUE_FULL, text, now_ns)

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
            self._outbox.tell(self._book.enter(order, Input.WITHDRAW, now_ns), now_ns)
        elif order.status not in WORKING:
            self.cancelling[order.order_no] = Cancel.WISHED
        elif self.cancelling.get(order.order_no) is not Cancel.UNDER_WAY:
            self._offer_cancel(order, intent, now_ns)

    def progressed(self, order: Order, now_ns: int) -> None:
        """The order may have got its name, or its end: see to a cancel that waits for either."""
        if order.order_no not in self.cancelling:
            return
        if order.status in TERMINAL:
            del self.cancelling[order.order_no]
        elif order.status in WORKING and self.cancelling[order.order_no] is Cancel.WISHED:
            self._offer_cancel(order, None, now_ns)

    def _offer_cancel(self, order: Order, intent: Intent | None, now_ns: int) -> None:
        if text := self._offer(Work(CANCEL, order, intent, None), now_ns):
            self.cancelling.pop(order.order_no, None)
            self._ports.alert(f"cancel of order {order.order_no} not taken in: {text}")
        else:
            self.cancelling[order.order_no] = Cancel.UNDER_WAY

    def _offer(self, work: Work, now_ns: int) -> str:
        urgent = work.context is None or work.context.reducing
        deadline_ns = now_ns + round(self._config.entry_wait_s * NS_PER_S)
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

    def _drop(self, work: Work, reason: Reason, text: str, now_ns: int) -> None:
        order = work.order
        if work.kind is PLACE:
            self._refuse_order(order, reason, text, now_ns)
        elif work.kind is CANCEL:
            self.cancelling.pop(order.order_no, None)
            self._ports.alert(f"cancel of order {order.order_no} not sent: {text}")
        elif work.intent is not None:
            self._end_modify(order, now_ns)
            self._outbox.refuse(work.intent, reason, text, now_ns)

    def _refuse_order(self, order: Order, reason: Reason, text: str, now_ns: int) -> None:
        order.message = text
        self._outbox.journal(
            Kind.REFUSED,
            {"strategy": order.strategy, "seq": order.strategy_seq, "kind": PLACE}
            | {"reason": reason.name, "text": text},
        )
        self._outbox.tell(self._book.enter(order, Input.REFUSE, now_ns), now_ns, reason)

    def _end_modify(self, order: Order, now_ns: int) -> None:
        """It came to nothing: the terms stand as they were."""
        self.modifying.discard(order.order_no)
        self._book.set_terms(order, order.quantity, order.px, order.trigger_px, now_ns)

    # Sending

    def send(self, now_ns: int) -> int:
        """Let out what may leave now; returns how many calls that was."""
        for work in self.throttle.expired(now_ns):
            self._drop(work, Reason.THROTTLE_DEADLINE, "waited past its deadline", now_ns)
        sent = 0
        while (waiting := self.throttle.take(now_ns)) is not None:
            self._dispatch(waiting, now_ns)
            sent += 1
        return sent

    def _dispatch(self, waiting: Waiting[Work], now_ns: int) -> None:
        work, order = waiting.item, waiting.item.order
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
            return self._outbox.journal(Kind.INTENT, intent_payload(order, token, judged))
        return self._outbox.journal(
            Kind.CALL,
            {
                "call": work.kind.name.lower(),
                "no": order.order_no,
                "strategy": order.strategy,
                "seq": work.intent.strategy_seq if work.intent else 0,
                "qty": work.terms[0],
            },
        )

    def _leave(self, work: Work, now_ns: int) -> None:
        order, broker = work.order, self._ports.broker
        instrument = self._ports.instruments[order.slot]
        work.sent_ns = now_ns
        if work.kind is MODIFY:
            wish = work.intent
            assert wish is not None
            self._submit(work, broker.modify(order.order_id, instrument, wish.qty, wish.px, wish.trigger_px))
            return
        if work.kind is CANCEL:
            self._submit(work, broker.cancel(order.order_id))
            return
        change = self._book.enter(order, Input.SUBMIT, now_ns)
        order.sent_ns, order.sent_real_ns = now_ns, self._ports.clock.real_ns()
        self._submit(work, broker.place(_request(order, instrument)))
        after_ns = self._ports.clock.mono_ns()
        if order.created_ns:
            self._outbox.record("intent_to_sent", after_ns - order.created_ns)
        if order.tick_recv_ns:
            self._outbox.record("tick_to_order", after_ns - order.tick_recv_ns)
        self._outbox.tell(change, now_ns)

    # Answers

    def answer(self, work: Work, result: HttpResponse | TransportError, now_ns: int) -> None:
        """The one answer to a call."""
        outcome: Outcome | None = None  # None: no byte of it left
        if isinstance(result, HttpResponse):
            outcome = self._ports.broker.parse_outcome(result)
            received_ns = result.received_ns or now_ns
            self._outbox.record("order_ack", received_ns - (result.sent_ns or work.sent_ns))
        elif result.sent:
            outcome = Ambiguous(f"no answer: {result.reason}")
        text = result.reason if isinstance(result, TransportError) else ""
        if isinstance(outcome, Refused):
            self._heed(outcome, now_ns)
        self._journal_answer(work, outcome, text)
        if work.kind is PLACE:
            self._placed(work.order, outcome, text, now_ns)
        elif work.kind is MODIFY:
            self._modified(work, outcome, text, now_ns)
        else:
            self._cancelled(work.order, outcome, text)
        denied = work.kind is PLACE and work.order.status is OrderStatus.REJECTED
        if isinstance(outcome, Ambiguous | Refused) and not denied:
            self._look_up()
        self.progressed(work.order, now_ns)

    def _heed(self, refusal: Refused, now_ns: int) -> None:
        if refusal.http_status == 429:
            self.throttle.cool_down(now_ns)
            self._ports.alert(f"rate limit answered: {refusal.message}")
        elif refusal.error_type == "TokenException":
            self._outbox.halt(f"the broker's session is dead: {refusal.message}")

    def _journal_answer(self, work: Work, outcome: Outcome | None, text: str) -> None:
        record: dict[str, Any] = {
            "call": work.kind.name.lower(),
            "no": work.order.order_no,
            "strategy": work.order.strategy,
        }
        if outcome is None:
            record |= {"outcome": "unsent", "text": text}
        elif isinstance(outcome, Confirmed):
            record |= {"outcome": "confirmed", "order_id": outcome.order_id, "terms": work.terms}
        elif isinstance(outcome, Refused):
            words = f"{outcome.http_status} {outcome.error_type}: {outcome.message}"
            record |= {"outcome": "refused", "text": words}
        else:
            record |= {"outcome": "ambiguous", "text": outcome.why}
        self._outbox.journal(Kind.ANSWER, record)

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
            self._ports.alert(f"order {order.order_no} is ambiguous: {text}")
        order.message = text or order.message
        self._outbox.tell(self._book.enter(order, what, now_ns), now_ns, reason)

    def _modified(self, work: Work, outcome: Outcome | None, text: str, now_ns: int) -> None:
        order = work.order
        self.modifying.discard(order.order_no)
        if isinstance(outcome, Confirmed):
            self._outbox.tell(self._book.set_terms(order, *work.terms, now_ns), now_ns)
        elif isinstance(outcome, Ambiguous):
            order.changed_ns = now_ns  # the worse quantity stands until a later read shows the terms
            self._ports.alert(f"modification of order {order.order_no} is ambiguous: {outcome.why}")
        else:
            self._end_modify(order, now_ns)
            reason = Reason.BROKER if outcome else Reason.NOT_CONNECTED
            if work.intent is not None:
                text = outcome.message if outcome else text
                self._outbox.refuse(work.intent, reason, text, now_ns)

    def _cancelled(self, order: Order, outcome: Outcome | None, text: str) -> None:
        if isinstance(outcome, Confirmed):
            self.cancelling[order.order_no] = Cancel.TAKEN
            return
        self.cancelling.pop(order.order_no, None)
        if not isinstance(outcome, Refused):  # refused: it has ended already, the book will tell
            self._ports.alert(f"cancel of order {order.order_no} failed: {outcome or text}")


def _request(order: Order, instrument: Instrument) -> OrderRequest:
    return OrderRequest(
        instrument=instrument,
        side=Side(order.side),
        order_type=OrderType(order.order_type),
        product=Product(order.product),
        validity=Validity(order.validity),
        quantity=order.quantity,
        px=order.px,
        trigger_px=order.trigger_px,
        tag=order.tag,
    )
