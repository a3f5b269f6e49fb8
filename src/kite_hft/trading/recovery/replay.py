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

from kite_hft.layout import IntentKind, Reason
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.book import EXTERNAL, Book, Change, Order
from kite_hft.trading.broker import OrderReport, TradeReport
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.positions import Cut
from kite_hft.trading.recovery.adopting import child_of, take_slice
from kite_hft.trading.recovery.lookup import by_terms_alone
from kite_hft.trading.recovery.waiting import answered, cast_doubt
from kite_hft.trading.sending.conduct import ConductBook
from kite_hft.trading.sending.evidence import Journalled
from kite_hft.trading.sending.outbox import counted
from kite_hft.trading.unproven import Unproven

Name = tuple[int, int]
"""(strategy, strategy_seq) of an intent."""
Key = tuple[int, int, int]
"""(strategy, slot, product) of a position."""


class RecoveryError(Exception):
    """The journal contradicts itself or today's instruments."""


@dataclass(slots=True)
class Recovered:
    """What the journal told besides the book. Times are CLOCK_REALTIME ns as journalled.

    seen: every intent that has a record. waiting: taken in, not sent and not refused when the
    journal ends (but see waiting.cast_doubt). refused: those refused, or taken back, before they became
    orders. cancels: orders whose cancel was not seen through. touched: when a record last told of an order.
    calls: order calls, but for those that never left. limited: when the broker last answered 429, as
    (CLOCK_REALTIME ns, boot, CLOCK_MONOTONIC ns of that boot). lost: what the last process left in flight.
    """

    last_seq: dict[int, int] = field(default_factory=dict)  # strategy -> highest number of its own
    engine_seq: int = ENGINE_SEQ - 1  # highest that ORDERS gave to what it did itself
    plans: dict[Key, dict[str, Any]] = field(default_factory=dict)  # exits that stand, as last journalled
    groups: dict[Name, dict[str, Any]] = field(default_factory=dict)  # groups begun and not ended
    triggers: dict[Name, dict[str, Any]] = field(default_factory=dict)  # GTTs that may live at the broker
    triggers_over: set[str] = field(default_factory=set)  # ids of those that have ended
    last_order_no: int = 0
    placed: int = 0
    halted: str = ""
    reducing: str = ""
    address: str = ""  # why the broker takes no order call from this machine
    market_halted: bool = False
    killed: str = ""
    holds: dict[int, Hold] = field(default_factory=dict)  # by strategy
    loss_paise: int = 0  # net of the day at which its limit tripped last
    guards: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # the gate's other GUARD records
    openings: list[tuple[int, int, int]] = field(default_factory=list)  # when, order, last price of then
    ended: bool = False  # in order
    seen: set[Name] = field(default_factory=set)
    waiting: dict[Name, dict[str, Any]] = field(default_factory=dict)
    refused: dict[Name, dict[str, Any]] = field(default_factory=dict)
    refusals: Counter[int] = field(default_factory=Counter)  # by strategy, each with a record of its own
    cancels: set[int] = field(default_factory=set)
    touched: dict[int, int] = field(default_factory=dict)
    calls: list[Journalled] = field(default_factory=list)
    limited: tuple[int, str, int] | None = None
    totals: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # of refusals
    external_orders: set[str] = field(default_factory=set)
    external_fills: set[str] = field(default_factory=set)
    adopted: dict[str, int] = field(default_factory=dict)  # broker's id of an adopted order -> our number
    accepted: set[str] = field(default_factory=set)  # differences that a person has accepted
    runs: set[int] = field(default_factory=set)  # numbers of the runs whose records these are
    lost: list[Change] = field(default_factory=list)
    user: str = ""  # who places our orders, in the broker's words
    by_terms: set[int] = field(default_factory=set)  # orders that their terms alone have found
    conduct: ConductBook = field(default_factory=ConductBook)

    def count(self, change: Change) -> None:
        """What the process that made the change counted."""
        self.totals.update(counted(change))
        if change.fill_quantity > 0:
            self.conduct.traded(change.order.slot, change.order.strategy)

    def id_of_adopted(self, number: int) -> str:
        """The broker's id of an order that was adopted under `number`."""
        return next((order_id for order_id, n in self.adopted.items() if n == number), "")

    def unsent(self, number: int) -> None:
        """The last call of an order never left the machine."""
        for at in range(len(self.calls) - 1, -1, -1):
            if self.calls[at].no == number and not self.calls[at].unsent:
                self.calls[at] = self.calls[at]._replace(unsent=True)
                return


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
    for position in [p for p in book.positions.values() if p.strategy == EXTERNAL]:
        book.set_external(position.slot, position.product, 0, 0)  # what others hold, the broker tells anew
    for order in book.live():
        change = book.enter(order, Input.LOSE, now_ns)
        order.status_ns = now_ns  # the horizon starts anew: these times are of another process
        order.changed_ns = 0
        if order.unproven is not None:
            order.unproven.since_ns = now_ns
        if change:
            state.lost.append(change)
    return state


def _start(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.ended = False
    if "run" in data:
        state.runs.add(data["run"])
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
        parent=data.get("parent", 0),
        sent_real_ns=data["time_ns"],
    )
    book.add(order)
    state.count(book.enter(order, Input.SUBMIT, 0))
    state.last_order_no = max(state.last_order_no, order.order_no)
    state.placed += 1
    if order.opening:
        state.openings.append((data["time_ns"], order.order_no, data["ref_px"]))
    state.calls.append(Journalled(data["time_ns"], not order.opening, order.tag, order.order_no))
    state.conduct.called(IntentKind.PLACE, order.slot, order.strategy)
    _seen(data, state)


def _seen(data: dict[str, Any], state: Recovered, *, decided: bool = True) -> Name:
    """The intent that a record is about has its word now; `decided`: it waits no more."""
    name = (data["strategy"], data["seq"])
    if name[1]:
        if name[1] >= ENGINE_SEQ:
            state.engine_seq = max(state.engine_seq, name[1])
        else:
            state.totals["intents"] += name not in state.seen
            state.last_seq[name[0]] = max(state.last_seq.get(name[0], 0), name[1])
        state.seen.add(name)
        if decided:
            state.waiting.pop(name, None)
    return name


def _waiting(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    name = _seen(data, state)
    state.waiting[name] = data
    state.last_order_no = max(state.last_order_no, data["no"])


def _refused(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if flood := data.get("count", 0):  # in numbers: its strategy was told of each
        state.totals["refused"] += flood
        state.totals["intents"] += flood
        state.reasons[data["reason"]] += flood
        state.last_seq[data["strategy"]] = max(state.last_seq.get(data["strategy"], 0), data["seq"])
        return
    state.refusals[data["strategy"]] += 1
    state.totals["refused"] += 1
    state.reasons[data["reason"]] += 1
    twice = data["reason"] == Reason.DUPLICATE_INTENT.name  # the one that came first may wait still
    state.totals["intents"] += twice
    name = _seen(data, state, decided=not twice)
    if "slot" in data and not twice:
        state.refused[name] = data


def _withdrawn(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.refused[_seen(data, state)] = data
    state.totals["cancelled"] += 1


def _call(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    number = data["no"]
    order_id = data.get("order_id") or (
        book.orders[number].order_id if number in book.orders else state.id_of_adopted(number)
    )
    state.calls.append(Journalled(data["time_ns"], data["call"] == "cancel", order_id, number))
    if data["strategy"] == EXTERNAL:
        return
    _seen(data, state)
    slot, modified = book.orders[data["no"]].slot, data["call"] == "modify"
    state.conduct.called(IntentKind.MODIFY if modified else IntentKind.CANCEL, slot, data["strategy"])
    if modified:
        book.ask_terms(book.orders[number], data["qty"])
        book.orders[number].unproven = Unproven(tuple(data["terms"]), 0)
    elif 0 < data["seq"] < ENGINE_SEQ:  # its strategy's wish: of all slices
        state.cancels.update(order.order_no for order in book.family(book.orders[number]))
    else:
        state.cancels.add(number)


PLACE_INPUT: Final = {
    "confirmed": Input.CONFIRM,
    "refused": Input.DENY,
    "ambiguous": Input.LOSE,
    "unsent": Input.REFUSE,
}
"""Word of an ANSWER record -> what it does to a placed order."""


def _answer(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data.get("http") == 429:
        state.limited = data["time_ns"], data.get("boot", ""), data.get("mono_ns", 0)
    if data["outcome"] == "unsent":
        state.unsent(data["no"])
    if data["strategy"] == EXTERNAL:
        return  # adopted orders are read from the broker's book anew
    order = book.orders[data["no"]]
    if data["call"] == "place":
        if data["outcome"] == "confirmed":
            book.name(order, data["order_id"])
        state.count(book.enter(order, PLACE_INPUT[data["outcome"]], 0))
    elif data["call"] == "modify" and data["outcome"] != "ambiguous":
        confirmed = data["outcome"] == "confirmed"
        order.order_type = data.get("was", order.order_type)
        stood = (order.quantity, order.px, order.trigger_px, order.order_type)
        quantity, px, trigger_px, kind = data["terms"] if confirmed else stood
        state.count(book.set_terms(order, quantity, px, trigger_px, 0, kind, shown=not confirmed))


def _report(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    report = msgspec.convert(data["report"], OrderReport)
    order = book.orders[data["no"]]
    if by_terms_alone(order, report):
        state.by_terms.add(order.order_no)
    if order.order_no not in state.by_terms:
        state.user = report.placed_by or state.user
    words = {word: data.get(word, False) for word in ("guessed", "rearmed")}
    state.count(book.fold(order, report, 0, **words))


def _trade(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    order, trade = book.orders[data["no"]], msgspec.convert(data["trade"], TradeReport)
    if not order.order_id:  # the journal did not take the record that named it
        book.name(order, trade.order_id)
    state.count(book.fold_trade(order, trade, 0))


def _resolved(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data["how"] == "slice":
        _slice(data, book, state)
        return
    order = book.orders[data["no"]]
    if data["how"] == "absent":
        # What an earlier recovery did before it could miss it.
        state.count(book.enter(order, Input.LOSE, 0))
        state.count(book.enter(order, Input.MISS, 0))
    elif data["how"] == "gone":
        state.accepted.add(str(data["no"]))
        state.count(book.enter(order, Input.REPORT_CANCELLED, 0))


def _slice(data: dict[str, Any], book: Book, state: Recovered) -> None:
    order, end = take_slice(book, data, 0)
    if end:
        state.count(end)
    state.last_order_no = max(state.last_order_no, order.order_no)


def _command(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    """What a person said: of it only what no other record tells."""
    if data.get("do") == "resolve" and (name := data.get("accepted")):
        state.accepted.add(name)


def _state(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data.get("journal_failed"):
        cast_doubt(state.waiting.values())
    state.halted = data.get("halted", "")
    state.reducing = data.get("reducing", state.reducing)
    state.address = data.get("address", state.address)
    state.market_halted = data.get("market_halted", state.market_halted)
    state.killed = data.get("killed", state.killed)
    if "strategy" in data:
        state.holds.pop(data["strategy"], None)
        if data["state"]:
            state.holds[data["strategy"]] = Hold(data["state"], data["reason"])


def _guard(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data["guard"] == "daily_loss":
        state.loss_paise = data["net_paise"]
    else:
        state.guards.append((data["time_ns"], data))


def _external(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.external_orders.update(data.get("orders", ()))
    state.external_fills.update(data.get("fills", ()))
    for order_id, number in data.get("adopted", {}).items():
        state.adopted[order_id] = number
        state.last_order_no = max(state.last_order_no, number)
    for cut in data.get("cuts", ()):
        order_id, square_off = cut["order_id"], cut.get("square_off", False)
        words = (cut["strategy"], cut["slot"], cut["product"], cut["qty"], cut["units"])
        book.cut(Cut(*words, order_id=order_id, square_off=square_off))


def _plan(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    _seen(data, state)
    key = (data["strategy"], data["slot"], data["product"])
    if data.get("ended"):
        state.plans.pop(key, None)
    else:
        state.plans[key] = data


def _group(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    name = (data["strategy"], data["group"])
    for numbers in data.get("closing", ()):  # whether or not their orders ever got a record
        state.engine_seq = max(state.engine_seq, *numbers, 0)
    if data.get("ended"):
        state.groups.pop(name, None)
    else:
        state.groups[name] = data


def _gtt(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    """A trigger as it was wished, asked for, answered, fired or ended; one that has ended is forgotten."""
    name = _seen(data, state)
    for done in answered(data, state.waiting):
        del state.waiting[done]
    if data.get("child") is not None:
        order = child_of(data)
        book.add(order)
        book.name(order, data["child"])
        state.last_order_no = max(state.last_order_no, order.order_no)
        if order.strategy_seq >= ENGINE_SEQ:
            state.engine_seq = max(state.engine_seq, order.strategy_seq)
    if data.get("ended"):
        state.triggers_over.add(state.triggers.pop(name, {}).get("id", ""))
    else:
        state.triggers[name] = state.triggers.get(name, {}) | data


def _end(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    """A person ended the run in order: what was latched globally ends with it; a strategy stays held."""
    state.ended, state.market_halted, state.address = True, False, ""  # the next start asks by itself
    if not data.get("alone"):  # else it ended by itself: its supervisor was gone
        state.halted = state.reducing = ""
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
    Kind.GUARD: _guard,
    Kind.EXTERNAL: _external,
    Kind.COMMAND: _command,
    Kind.PLAN: _plan,
    Kind.GROUP: _group,
    Kind.GTT: _gtt,
    Kind.END: _end,
}
