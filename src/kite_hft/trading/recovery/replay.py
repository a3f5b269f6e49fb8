"""Layer 2, orders process, cold: the book rebuilt from the journal, and squared with the broker.

Starting and recovering are one path: replay (an empty journal is a journal), read the broker's
books, square, and only then trade. An order whose request was journalled but whose answer was not
is ambiguous: it may have left the machine. A run that goes on after another one of the day replays
that one's journal first; its own begins with a START record that names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kite_hft.layout import OrderStatus, Reason
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.book import EXTERNAL, Book, Change, Cut, Order
from kite_hft.trading.broker import OrderReport, TradeReport
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.positions import fill_units
from kite_hft.trading.sending.outbox import counted

Name = tuple[int, int]
"""(strategy, strategy_seq) of an intent."""


class RecoveryError(Exception):
    """The journal contradicts itself or today's instruments."""


@dataclass(slots=True)
class Recovered:
    """What the journal told besides the book. Times are CLOCK_REALTIME ns as journalled.

    seen: every intent that has a record. waiting: taken in, not sent and not refused when the
    journal ends. refused: those refused, or taken back, before they became orders. cancels: orders whose
    cancel was not seen through. touched: when a record last told of an order. calls: when order
    calls were sent, and whether a part kept for exits paid for them. lost: what the last process
    left in flight.
    """

    last_seq: dict[int, int] = field(default_factory=dict)  # strategy -> highest strategy_seq
    last_order_no: int = 0
    placed: int = 0
    halted: str = ""
    reducing: str = ""
    market_halted: bool = False
    ended: bool = False  # in order
    seen: set[Name] = field(default_factory=set)
    waiting: dict[Name, dict[str, Any]] = field(default_factory=dict)
    refused: dict[Name, dict[str, Any]] = field(default_factory=dict)
    cancels: set[int] = field(default_factory=set)
    touched: dict[int, int] = field(default_factory=dict)
    calls: list[tuple[int, bool]] = field(default_factory=list)
    last_429_ns: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # of refusals
    external_orders: set[str] = field(default_factory=set)
    external_fills: set[str] = field(default_factory=set)
    lost: list[Change] = field(default_factory=list)

    def count(self, change: Change) -> None:
        """What the process that made the change counted."""
        self.totals.update(counted(change))


def replay(records: Iterable[Record], book: Book, instruments: InstrumentTable, now_ns: int) -> Recovered:
    """Fold a journal into an empty book. What was in flight comes out AMBIGUOUS as of `now_ns`.

    Raises:
        RecoveryError: a record that does not fit what came before, or another instrument in a slot.
    """
    state = Recovered()
    for record in records:
        handler = _HANDLERS.get(record.kind)
        if handler is None:
            continue
        try:
            data = record.data() | {"time_ns": record.time_ns}
            handler(data, book, instruments, state)
        except (LookupError, ValueError, TypeError, msgspec.DecodeError) as error:
            raise RecoveryError(f"journal record {record.seq} ({record.kind.name}): {error!r}") from error
        if "no" in data:
            state.touched[data["no"]] = record.time_ns
    for order in book.live():
        change = book.enter(order, Input.LOSE, now_ns)
        order.status_ns = now_ns  # the horizon starts anew: these times are of another process
        order.changed_ns = 0
        if change:
            state.lost.append(change)
    return state


def _start(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.ended = False
    if not data.get("restarted"):  # another run: its counters begin at zero
        state.totals.clear()
        state.reasons.clear()
        state.external_orders.clear()
        state.external_fills.clear()


def _intent(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if instruments[data["slot"]].token != data["token"]:
        raise ValueError(f"slot {data['slot']} was token {data['token']}: instruments changed")
    order = Order(
        order_no=data["no"],
        strategy=data["strategy"],
        strategy_seq=data["seq"],
        slot=data["slot"],
        side=data["side"],
        order_type=data["type"],
        product=data["product"],
        validity=data["validity"],
        flags=data["flags"],
        quantity=data["qty"],
        px=data["px"],
        trigger_px=data["trigger_px"],
        tag=data["tag"],
        opening=data["opening"],
        sent_real_ns=data["time_ns"],
    )
    book.add(order)
    state.count(book.enter(order, Input.SUBMIT, 0))
    state.last_order_no = max(state.last_order_no, order.order_no)
    state.placed += 1
    state.calls.append((data["time_ns"], not order.opening))
    _seen(data, state)


def _seen(data: dict[str, Any], state: Recovered) -> Name:
    """The intent that a record is about has its word now; it waits no more."""
    name = (data["strategy"], data["seq"])
    if name[1]:
        state.totals["intents"] += name not in state.seen
        state.last_seq[name[0]] = max(state.last_seq.get(name[0], 0), name[1])
        state.seen.add(name)
        state.waiting.pop(name, None)
    return name


def _waiting(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    name = _seen(data, state)
    state.waiting[name] = data
    state.last_order_no = max(state.last_order_no, data["no"])


def _refused(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    name = _seen(data, state)
    state.totals["refused"] += 1
    state.totals["intents"] += data["reason"] == Reason.DUPLICATE_INTENT.name
    state.reasons[data["reason"]] += 1
    if "slot" in data:
        state.refused[name] = data


def _withdrawn(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.refused[_seen(data, state)] = data
    state.totals["cancelled"] += 1


def _call(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.calls.append((data["time_ns"], data["call"] == "cancel"))
    if data["strategy"] == EXTERNAL:
        return
    _seen(data, state)
    if data["call"] == "modify":
        book.ask_terms(book.orders[data["no"]], data["qty"])
    else:
        state.cancels.add(data["no"])


PLACE_INPUT: Final = {
    "confirmed": Input.CONFIRM,
    "refused": Input.DENY,
    "ambiguous": Input.LOSE,
    "unsent": Input.REFUSE,
}
"""Word of an ANSWER record -> what it does to a placed order."""


def _answer(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data.get("http") == 429:
        state.last_429_ns = data["time_ns"]
    if data["strategy"] == EXTERNAL:
        return  # adopted orders are read from the broker's book anew
    order = book.orders[data["no"]]
    if data["call"] == "place":
        if data["outcome"] == "confirmed":
            book.name(order, data["order_id"])
        state.count(book.enter(order, PLACE_INPUT[data["outcome"]], 0))
    elif data["call"] == "modify" and data["outcome"] != "ambiguous":
        confirmed = data["outcome"] == "confirmed"
        quantity, px, trigger_px = (
            data["terms"] if confirmed else (order.quantity, order.px, order.trigger_px)
        )
        state.count(book.set_terms(order, quantity, px, trigger_px, 0))
    elif data["call"] == "cancel" and data["outcome"] in ("confirmed", "refused"):
        state.cancels.discard(data["no"])


def _report(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    report = msgspec.convert(data["report"], OrderReport)
    state.count(book.fold(book.orders[data["no"]], report, 0))


def _trade(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    trade = msgspec.convert(data["trade"], TradeReport)
    state.count(book.fold_trade(book.orders[data["no"]], trade, 0))


def _resolved(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    order = book.orders[data["no"]]
    if data["how"] == "absent":
        # What an earlier recovery did before it could miss it.
        state.count(book.enter(order, Input.LOSE, 0))
        state.count(book.enter(order, Input.MISS, 0))


def _state(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.halted = data.get("halted", "")
    state.reducing = data.get("reducing", state.reducing)
    state.market_halted = data.get("market_halted", state.market_halted)


def _external(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.external_orders.update(data.get("orders", ()))
    state.external_fills.update(data.get("fills", ()))
    for cut in data.get("cuts", ()):
        order_id, square_off = cut["order_id"], cut.get("square_off", False)
        words = (cut["strategy"], cut["slot"], cut["product"], cut["qty"], cut["units"])
        book.cut(Cut(*words, order_id=order_id, square_off=square_off))


def _end(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    """A person ended the run in order: what was latched ends with it."""
    state.ended, state.halted, state.reducing, state.market_halted = True, "", "", False
    state.waiting.clear()


_HANDLERS: Final[dict[Kind, Callable[[dict[str, Any], Book, InstrumentTable, Recovered], None]]] = {
    Kind.START: _start,
    Kind.INTENT: _intent,
    Kind.REFUSED: _refused,
    Kind.WAITING: _waiting,
    Kind.WITHDRAWN: _withdrawn,
    Kind.CALL: _call,
    Kind.ANSWER: _answer,
    Kind.REPORT: _report,
    Kind.TRADE: _trade,
    Kind.RESOLVED: _resolved,
    Kind.STATE: _state,
    Kind.EXTERNAL: _external,
    Kind.END: _end,
}


_UNWRITTEN: Final = frozenset({"reserved", "reserved8", "seq"})


def waiting_payload(intent: Intent, order_no: int, reducing: bool) -> dict[str, Any]:
    """Journal record WAITING: the whole intent, so that an exit can be taken up again."""
    words = {n: v for n, v in zip(Intent._fields, intent, strict=True) if n not in _UNWRITTEN}
    return {
        "strategy": intent.strategy,
        "seq": intent.strategy_seq,
        "kind": intent.kind,
        "no": order_no,
        "reducing": reducing,
        "intent": words,
    }


def waiting_intent(data: dict[str, Any]) -> Intent:
    """The intent of a WAITING record."""
    return Intent(seq=0, reserved8=None, reserved=None, **data["intent"])


def next_seqs(journals: Iterable[Iterable[Record]]) -> dict[int, int]:
    """Strategy -> the next strategy_seq that it may use, from the journals of a day.

    A worker that starts anew numbers its intents from here: a number is never used twice.
    """
    last: dict[int, int] = {}
    for records in journals:
        for record in records:
            if record.kind not in (Kind.INTENT, Kind.REFUSED, Kind.WAITING, Kind.WITHDRAWN, Kind.CALL):
                continue
            data = record.data()
            if data["strategy"] != EXTERNAL:
                last[data["strategy"]] = max(last.get(data["strategy"], 0), data["seq"])
    return {strategy: seq + 1 for strategy, seq in last.items()}


def adopt(
    book: Book, report: OrderReport, order_no: int, instrument: Instrument, tag: str, now_ns: int
) -> Order:
    """A live order that this run did not make, as EXTERNAL; its fills so far stand in the positions."""
    order = Order(
        order_no=order_no,
        strategy=EXTERNAL,
        strategy_seq=0,
        slot=instrument.slot,
        side=report.side,
        order_type=report.order_type or 0,
        product=report.product or 0,
        validity=0,
        flags=0,
        quantity=report.quantity,
        px=report.px,
        trigger_px=report.trigger_px,
        tag=tag,
        created_ns=now_ns,
        status=OrderStatus.PENDING,
        status_ns=now_ns,
        filled=report.filled_quantity,
        filled_units=fill_units(report.average_price, report.filled_quantity, instrument.scale),
    )
    book.add(order)
    book.fold(order, report, now_ns)
    return order
