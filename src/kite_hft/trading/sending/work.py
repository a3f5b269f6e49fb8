"""Layer 2, orders process, hot: the pure parts of sending: orders from intents, requests, records."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import IntentKind, OrderType, Product, Reason, Side, Validity
from kite_hft.trading.book import Book
from kite_hft.trading.broker import (
    AUTOMATIC_BAND,
    Broker,
    Confirmed,
    HttpRequest,
    OrderRequest,
    Outcome,
    Refused,
)
from kite_hft.trading.gate.checks import Context, Judged
from kite_hft.trading.gate.checks_conduct import closed, outrun
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.gate.risk import Verdict, judge
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.order import Order

_new: Final = tuple.__new__
PRICED: Final = (OrderType.LIMIT, OrderType.SL)
TRIGGERED: Final = (OrderType.SL, OrderType.SLM)
SIDES: Final = {int(side): side for side in Side}
ORDER_TYPES: Final = {int(kind): kind for kind in OrderType}
PRODUCTS: Final = {int(product): product for product in Product}
VALIDITIES: Final = {int(validity): validity for validity in Validity}


class Cancel(enum.Enum):
    """How far a cancel is; out of the table once the order has ended."""

    WISHED = enum.auto()  # the order has no name yet
    UNDER_WAY = enum.auto()  # waits in the throttle, or is unanswered
    TAKEN = enum.auto()  # the broker took it; the order's end is still to come
    FAILED = enum.auto()  # unproven, or for nothing: once more when a book read shows the order working


@dataclass(slots=True, eq=False)
class Work:
    """One order call: what was asked, and by which context it was judged."""

    kind: IntentKind
    order: Order
    intent: Intent | None  # None: our own cancel
    context: Judged | None  # None for cancels: nothing is judged but the order's state
    terms: tuple[int, int, int, int] = (0, 0, 0, 0)  # MODIFY: quantity, price, trigger, type as they would be
    offered_ns: int = 0  # to the throttle
    let_out_ns: int = 0  # by the throttle
    sent_ns: int = 0

    @property
    def opens(self) -> bool:
        """It was judged to add risk. What passes as an exit does not, and no cancel does."""
        return self.context is not None and not self.context.reducing

    @property
    def engines(self) -> bool:
        """No placement that a strategy asks for, nor a slice of one."""
        order = self.order
        return self.kind is not IntentKind.PLACE or (order.parent or order.strategy_seq) >= ENGINE_SEQ

    def beside(self, other: Work) -> bool:
        """A placement that the same strategy asks for."""
        return not other.engines and other.order.strategy == self.order.strategy

    @property
    def name(self) -> tuple[int, int] | None:
        """(strategy, strategy_seq) of the intent; None: our own wish."""
        return (self.intent.strategy, self.intent.strategy_seq) if self.intent else None


def judged_again(
    work: Work, now_ns: int, *, book: Book, regather: Callable[[Intent, int], Context], limits: RiskLimits
) -> Verdict | None:
    """Judge a call once more that had to wait; None: it may leave. regather: gathers what is known now."""
    if work.intent is None or work.context is None:
        return None
    fresh = regather(work.intent, now_ns)
    fresh.reducing = work.context.reducing
    if work.kind is IntentKind.PLACE:
        fresh.counted = work.order
        if fresh.reducing and (text := closed(book, work.order) or outrun(book, work.order)):
            return Verdict(Reason.FROZEN, text)
    elif work.kind is IntentKind.MODIFY:
        fresh.target = work.order  # a slice: its intent names the first one that lives
    if (verdict := judge(work.intent, fresh, limits, again=True)) is None:
        work.context = fresh
    return verdict


def order_of(intent: Intent, order_no: int, tag: str, *, opening: bool) -> Order:
    """The order that a PLACE asks for."""
    return Order(  # in the order of its fields: by name takes twice as long
        order_no,
        intent.strategy,
        intent.strategy_seq,
        intent.slot,
        intent.side,
        intent.order_type,
        intent.product,
        intent.validity,
        intent.flags,
        intent.qty,
        intent.px if intent.order_type in PRICED else 0,
        intent.trigger_px if intent.order_type in TRIGGERED else 0,
        tag,
        intent.created_ns,
        intent.tick_recv_ns,
        opening=opening,
        parent=intent.target_seq if intent.strategy_seq >= ENGINE_SEQ else 0,  # it is a slice of ours
    )


def terms_of(intent: Intent, target: Order) -> tuple[int, int, int, int]:
    """(quantity, price, trigger price, type) of `target` once a MODIFY is through; zeros leave a term.

    A type takes the prices that it needs, and no others.
    """
    kind = intent.order_type or target.order_type
    px = (intent.px or target.px) if kind in PRICED else 0
    trigger_px = (intent.trigger_px or target.trigger_px) if kind in TRIGGERED else 0
    return intent.qty or target.quantity, px, trigger_px, kind


def request_of(
    order: Order, instrument: Instrument, protection_percent: float = AUTOMATIC_BAND
) -> OrderRequest:
    """The same for the broker. protection_percent: of MARKET and SL-M."""
    words = (
        instrument,
        SIDES[order.side],
        ORDER_TYPES[order.order_type],
        PRODUCTS[order.product],
        VALIDITIES[order.validity],
        order.quantity,
        order.px,
        order.trigger_px,
        protection_percent,
        order.tag,
    )
    return _new(OrderRequest, words)  # by way of its own __new__ takes three times as long


def change_of(work: Work, broker: Broker, instrument: Instrument, protection_percent: float) -> HttpRequest:
    """The call of a modification or a cancel."""
    order = work.order
    if work.kind is IntentKind.CANCEL:
        return broker.cancel(order.order_id)
    wish = work.intent
    assert wish is not None
    if broker.modify_whole:
        _, px, trigger_px, whole_kind = work.terms
        return broker.modify(
            order.order_id, instrument, wish.qty, px, trigger_px, whole_kind, protection_percent
        )
    kind = wish.order_type if wish.order_type != order.order_type else 0
    return broker.modify(
        order.order_id, instrument, wish.qty, wish.px, wish.trigger_px, kind, protection_percent
    )


def call_payload(work: Work) -> dict[str, Any]:
    """Journal record CALL: a modification or a cancel leaves. opening, ref_px: of a change that adds risk."""
    record: dict[str, Any] = {
        "call": work.kind.name.lower(),
        "no": work.order.order_no,
        "strategy": work.order.strategy,
        "seq": work.intent.strategy_seq if work.intent else 0,
        "qty": work.terms[0],
        "terms": work.terms,
    }
    if work.context is None or work.context.reducing:
        return record
    return record | {"opening": True, "ref_px": work.context.ref_px}


def answer_payload(work: Work, outcome: Outcome | None, text: str) -> dict[str, Any]:
    """Journal record ANSWER. `outcome` None: the call never left, and `text` says why."""
    record: dict[str, Any] = {
        "call": work.kind.name.lower(),
        "no": work.order.order_no,
        "strategy": work.order.strategy,
    }
    if outcome is None:
        return record | {"outcome": "unsent", "text": text}
    if isinstance(outcome, Confirmed):
        record |= {"outcome": "confirmed", "order_id": outcome.order_id, "terms": work.terms}
        # A read of the book may have told what type it was, and such terms are in no record.
        return record | ({"was": int(work.order.order_type)} if work.kind is IntentKind.MODIFY else {})
    if isinstance(outcome, Refused):
        words = f"{outcome.http_status} {outcome.error_type}: {outcome.message}"
        return record | {"outcome": "refused", "text": words, "http": outcome.http_status}
    return record | {"outcome": "ambiguous", "text": outcome.why}


def withdrawn_payload(order: Order) -> dict[str, Any]:
    """Journal record WITHDRAWN: enough to tell the strategy once more."""
    return {
        "strategy": order.strategy,
        "seq": order.strategy_seq,
        "kind": int(IntentKind.PLACE),
        "slot": order.slot,
        "side": order.side,
        "product": order.product,
        "qty": order.quantity,
    }
