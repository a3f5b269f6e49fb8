"""Layer 2, orders process, cold: the book rebuilt from the journal, and squared with the broker.

Starting and recovering are one path: replay (an empty journal is a journal), read the broker's
books, square, and only then trade. An order whose request was journalled but whose answer was not
is ambiguous: it may have left the machine. A run that goes on after another one of the day replays
that one's journal first; its own begins with a START record that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from kite_hft.layout import IntentKind, Reason
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.book import Book, BookError
from kite_hft.trading.broker import OrderReport, TradeReport
from kite_hft.trading.day_so_far import read
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import WORKING, Input
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.positions import Cut
from kite_hft.trading.recovery.adopting import child_of, take_slice, unwanted
from kite_hft.trading.recovery.explain import as_gone
from kite_hft.trading.recovery.lookup import by_terms_alone
from kite_hft.trading.recovery.opened import by_change, by_order, by_trigger
from kite_hft.trading.recovery.recovered import Name, Recovered
from kite_hft.trading.recovery.waiting import answered, cast_doubt, count_slice
from kite_hft.trading.sending.evidence import READ, URGENT, Journalled
from kite_hft.trading.unproven import SHOWN_NS, Unproven, by_the_call


class RecoveryError(Exception):
    """The journal contradicts itself or today's instruments."""


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
    if state.to_clear and not any(number in book.live_orders for number in state.to_clear):
        state.clear_to = 0  # that is done: what opens by now was not meant
    for position in [p for p in book.positions.values() if p.strategy == EXTERNAL]:
        book.set_external(position.slot, position.product, 0, 0)  # what others hold, the broker tells anew
    until_ns = max(state.touched.values(), default=0)
    for order in filter(by_the_call, book.orders.values()):
        if until_ns - state.touched.get(order.order_no, 0) < SHOWN_NS:
            order.status_ns = now_ns  # a row of before that may still show it as under way
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
    state.made.begun(data["time_ns"])
    if "day" in data:
        state.begin_day(read(data["day"]))
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
    state.opened(by_order(data))
    call = Journalled(data["time_ns"], not order.opening, order.tag)
    state.made.left(call, ("place", order.order_no))
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
    if "whole" in data or (data["strategy"], data["seq"]) not in state.seen:
        count_slice(data, state.rests)
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
    number, about = data["no"], (data["call"], data.get("about", data["no"]))
    if "about" in data:
        part = data.get("part", READ)
        made = Journalled(data["time_ns"], part == URGENT, data["about"], beside=part == READ)
        return state.made.left(made, about)
    order_id = data.get("order_id") or (
        book.orders[number].order_id if number in book.orders else state.id_of_adopted(number)
    )
    state.made.left(Journalled(data["time_ns"], data["call"] == "cancel", order_id), about)
    if data["strategy"] == EXTERNAL:
        return
    _seen(data, state)
    slot, modified = book.orders[data["no"]].slot, data["call"] == "modify"
    state.conduct.called(IntentKind.MODIFY if modified else IntentKind.CANCEL, slot, data["strategy"])
    if modified:
        state.opened(by_change(data, book.orders[number]))
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
    unsent = data["outcome"] == "unsent"
    about = (data["call"], data.get("about", data["no"]))
    state.made.answered(about, data["time_ns"], unsent=unsent)
    if data["strategy"] == EXTERNAL:
        return  # adopted orders are read from the broker's book anew
    order = book.orders[data["no"]]
    if data["call"] == "place":
        if data["outcome"] == "confirmed":
            try:
                book.name(order, data["order_id"])
            except BookError as error:  # that has halted the process which heard it, too
                state.halted = state.halted or str(error)
        order.message = data.get("text") or order.message
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
    if data["no"] in state.adopted.values() and data["no"] not in book.orders:
        return  # an adopted order is read from the broker's book anew, or is not there
    order = book.orders[data["no"]]
    if data["how"] == "absent":
        # What an earlier recovery did before it could miss it.
        state.count(book.enter(order, Input.LOSE, 0))
        state.count(book.enter(order, Input.MISS, 0))
    elif data["how"] == "gone":
        state.accepted.add((str(data["no"]), as_gone(order)))
        order.gone = order.status in WORKING
        state.count(book.enter(order, Input.REPORT_CANCELLED, 0))


def _slice(data: dict[str, Any], book: Book, state: Recovered) -> None:
    order, end = take_slice(book, data, 0, data["time_ns"])
    if end:
        state.count(end)
    state.last_order_no = max(state.last_order_no, order.order_no)


def _command(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    """What a person said: of it only what no other record tells."""
    if data.get("do") == "resolve" and (name := data.get("accepted")):
        if "amount" in data:  # else nobody knows what was accepted: a person is asked again
            state.accepted.add((name, data["amount"]))
    elif data.get("do") == "resume" and data.get("strategy") is None:
        state.let_paise = state.loss_paise
    elif data.get("do") == "cancel_all":
        state.to_clear = tuple(data.get("orders", ()))
        state.clear_to = data.get("up_to", max(state.to_clear, default=0))
        for strategy, seq in data.get("triggers", ()):
            if (strategy, seq) in state.triggers:
                state.triggers[strategy, seq]["unwanted"] = True


def _state(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data.get("journal_failed"):
        cast_doubt([*state.waiting.values(), *state.rests.values()])
    state.halted = data.get("halted", "")
    state.reducing = data.get("reducing", state.reducing)
    state.address = data.get("address", state.address)
    state.market_halted = data.get("market_halted", state.market_halted)
    if "killed" in data:
        if state.killed and not data["killed"]:  # that only a person does
            state.let_paise = state.loss_paise
        state.killed = data["killed"]
    if "strategy" in data:
        state.holds.pop(data["strategy"], None)
        if data["state"]:
            state.holds[data["strategy"]] = Hold(data["state"], data["reason"])


def _guard(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data["guard"] == "daily_loss":
        state.loss_paise = data["net_paise"]
    else:
        state.guards.append((data["time_ns"], data))
    if data["guard"] == "closed":
        name = (data["strategy"], data["slot"])
        state.judged.update((key, len(p.fills)) for key, p in book.positions.items() if key[:2] == name)


def _external(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.external_orders.update(data.get("orders", ()))
    state.strangers.update(data.get("orders", ()))
    state.external_fills.update(data.get("fills", ()))
    state.beside.update(data.get("beside", {}))
    for order_id, number in data.get("adopted", {}).items():
        state.adopted[order_id] = number
        state.last_order_no = max(state.last_order_no, number)
    for cut in data.get("cuts", ()):
        order_id, square_off = cut["order_id"], cut.get("square_off", False)
        words = (cut["strategy"], cut["slot"], cut["product"], cut["qty"], cut["units"])
        book.cut(Cut(*words, order_id=order_id, square_off=square_off))
    state.cancels.update(n for n in data.get("cancels", ()) if n in book.orders)
    for held in data.get("held", ()):
        if (instrument := instruments.by_token.get(held["token"])) is not None:
            state.external[instrument.slot, held["product"]] = held["qty"]


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
    state.opened(by_trigger(data))
    for done in answered(data, state.waiting):
        del state.waiting[done]
    if data.get("child") is not None:
        order = child_of(data, data["time_ns"])
        book.add(order)
        book.name(order, data["child"])
        state.last_order_no = max(state.last_order_no, order.order_no)
        if order.strategy_seq >= ENGINE_SEQ:
            state.engine_seq = max(state.engine_seq, order.strategy_seq)
        if unwanted(state.triggers.get(name, {}) | data, book.standing(name[0], order.slot, order.product)):
            state.cancels.add(order.order_no)
    if data.get("late"):
        state.triggers_absent.pop(name, None)  # another one may bear its name by now
    elif data.get("ended"):
        whole = state.triggers.pop(name, {}) | data
        state.triggers_over.add(whole.get("id", ""))
        if data["ended"] == "absent":
            state.triggers_absent[name] = whole
    else:
        state.triggers[name] = state.triggers.get(name, {}) | data


def _end(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    """A person ended the run in order: what was latched globally ends with it, but for the kill; a strategy
    stays held. A loss that only the end has let go of is none that a person let pass.
    """
    state.ended, state.market_halted, state.address = True, False, ""  # the next start asks by itself
    if not data.get("alone"):  # else it ended by itself: its supervisor was gone
        state.halted = state.reducing = ""
        if not state.killed:
            state.loss_paise = state.let_paise
    state.waiting.clear()
    state.rests.clear()


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
