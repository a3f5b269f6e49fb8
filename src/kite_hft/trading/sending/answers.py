"""Layer 2, orders process, hot: what the one answer to an order call proves.

An answer that proves nothing makes a placed order ambiguous: it is looked up and never sent again. One
that proves that nothing left, or that the broker refused, ends it.
"""

from __future__ import annotations

from collections.abc import Callable

from kite_hft.layout import IntentKind, OrderStatus, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import BookError
from kite_hft.trading.broker import (
    NO_SUCH_ORDER,
    Ambiguous,
    Confirmed,
    HttpResponse,
    Outcome,
    Refused,
    TransportError,
)
from kite_hft.trading.gate.states import States
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import Order
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery.replay import PLACE_INPUT
from kite_hft.trading.sending.address import ABOUT_ADDRESS
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.work import Work, answer_payload
from kite_hft.trading.unproven import Unproven

PLACE, MODIFY = IntentKind.PLACE, IntentKind.MODIFY


class Answers:
    """One per desk. doubted(now_ns): a call was refused for this machine's address: whether it may be so."""

    def __init__(
        self, ports: Ports, outbox: Outbox, states: States, desk: Desk, doubted: Callable[[int], bool]
    ) -> None:
        self._ports, self._outbox, self._states, self._desk = ports, outbox, states, desk
        self._doubted = doubted

    def take(self, work: Work, result: HttpResponse | TransportError, now_ns: int) -> None:
        """The one answer to a call."""
        outcome: Outcome | None = None  # None: no byte of it left
        if isinstance(result, HttpResponse):
            outcome = self._ports.broker.parse_outcome(result)
            missing = isinstance(outcome, Refused) and outcome.error_type == NO_SUCH_ORDER
            if work.kind is PLACE and (missing or result.status == 404):  # it named no order to be missing
                outcome = Ambiguous(f"HTTP {result.status} to a new order: {result.body[:200]!r}")
            received_ns = result.received_ns or now_ns
            self._outbox.record("order_ack", received_ns - (result.sent_ns or work.sent_ns))
        elif result.sent:
            outcome = Ambiguous(f"no answer: {result.reason}")
        text = result.reason if isinstance(result, TransportError) else ""
        payload = answer_payload(work, outcome, text)
        if isinstance(outcome, Refused) and outcome.http_status == 429:
            payload |= {"boot": self._ports.boot, "mono_ns": now_ns}  # for the cool-down of a later process
        self._outbox.journal(Kind.ANSWER, payload)
        for_address = isinstance(outcome, Refused) and self._heed(outcome, work.sent_ns, now_ns)
        if work.kind is PLACE:
            self._placed(work.order, outcome, text, now_ns, counts=not for_address)
        elif work.kind is MODIFY:
            self._modified(work, outcome, text, now_ns)
        else:
            self._cancelled(work.order, outcome, text, now_ns)
        denied = work.kind is PLACE and work.order.status is OrderStatus.REJECTED
        if isinstance(outcome, Ambiguous | Refused) and not denied:
            self._desk.look_up()
        self._desk.progressed(work.order, now_ns)

    def _heed(self, refusal: Refused, sent_ns: int, now_ns: int) -> bool:
        """True: it was refused for where it came from, as far as is known."""
        if refusal.http_status == 429:
            self._desk.throttle.cool_down(now_ns)
            self._outbox.alert("RATE_LIMITED", f"an order call was refused: {refusal.message}")
        elif refusal.error_type == "TokenException":
            held = sum(1 for p in self._desk.book.positions.values() if p.quantity)
            self._states.lose_token(refusal.message, held, sent_ns)
        elif refusal.error_type == "PermissionException":
            self._outbox.alert("EGRESS_REFUSED", f"an order call was refused: {refusal.message}")
            return ABOUT_ADDRESS.search(refusal.message) is not None and self._doubted(now_ns)
        return False

    def _placed(self, order: Order, outcome: Outcome | None, text: str, now_ns: int, *, counts: bool) -> None:
        """counts: were it refused, that would be one more rejection."""
        what, reason = PLACE_INPUT["unsent"], Reason.NOT_CONNECTED
        if isinstance(outcome, Confirmed):
            what, reason = PLACE_INPUT["confirmed"], Reason.NONE
            try:
                self._desk.book.name(order, outcome.order_id)
            except BookError as error:
                self._outbox.halt(str(error))
        elif isinstance(outcome, Refused):
            what, reason, text = PLACE_INPUT["refused"], Reason.BROKER, outcome.message
        elif isinstance(outcome, Ambiguous):
            what, reason, text = PLACE_INPUT["ambiguous"], Reason.NONE, outcome.why
        order.message = text or order.message
        change = self._desk.book.enter(order, what, now_ns)
        self._outbox.tell(change, now_ns, reason)
        judged = counts and (not isinstance(outcome, Refused) or _judged(outcome))
        if judged:
            self._states.ended(change)
        if not judged:  # it was not the order that was refused
            self._desk.unjudged.add(order.order_no)

    def _modified(self, work: Work, outcome: Outcome | None, text: str, now_ns: int) -> None:
        order = work.order
        self._desk.modifying.discard(order.order_no)
        if isinstance(outcome, Confirmed):
            quantity, px, trigger_px, kind = work.terms
            change = self._desk.book.set_terms(order, quantity, px, trigger_px, now_ns, kind, shown=False)
            self._outbox.tell(change, now_ns)
            if order.quantity_max:  # the exchange may turn it down yet: its book tells
                self._desk.look_up()
        elif isinstance(outcome, Ambiguous):
            order.unproven, order.changed_ns = Unproven(work.terms, now_ns), now_ns
            if order.status not in TERMINAL:  # else it has no terms any more
                self._outbox.alert_ambiguous(order, f"its modification: {outcome.why}")
        else:
            self._desk.end_modify(order, now_ns)
            if outcome is not None and _judged(outcome) and work.terms[3] != order.order_type:
                order.untaken = work.terms[3]
            reason = Reason.BROKER if outcome else Reason.NOT_CONNECTED
            if work.intent is not None:
                text = outcome.message if outcome else text
                self._outbox.refuse(work.intent, reason, text, now_ns)

    def _cancelled(self, order: Order, outcome: Outcome | None, text: str, now_ns: int) -> None:
        if outcome is None and order.status in TERMINAL:
            return  # it was dropped for that
        if isinstance(outcome, Confirmed):
            self._desk.cancel_taken(order, now_ns)
        elif isinstance(outcome, Refused) and outcome.http_status == 400:
            self._desk.cancel_failed(order, outcome.message, now_ns, told=False)
        else:
            why = outcome.message if isinstance(outcome, Refused) else outcome.why if outcome else text
            self._desk.cancel_failed(order, why, now_ns)


def _judged(outcome: Refused) -> bool:
    """The order itself was refused: not a call too many, nor a token."""
    return outcome.http_status != 429 and outcome.error_type != "TokenException"
