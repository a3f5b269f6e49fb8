"""Layer 2, orders process, cold: a stage that starts takes up what its journal says an earlier one left.

In the same run (the process died) or in a new one (the engine did): calls already made count in the
broker's windows, cancels are seen through, waiting openings are refused and, in the same run,
waiting exits of strategies taken up again; counters and the rows for people go on where they stood.
"""

from __future__ import annotations

from typing import Any, Final

from kite_hft.layout import IntentKind, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.day_so_far import packed
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.intents import Intent, as_exit
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import EXTERNAL, Change, Order
from kite_hft.trading.ports import OrdersConfig, Ports, Written
from kite_hft.trading.positions import multiplier_of, paise_of_units
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.recovery.waiting import cast_doubt, taken_up, waiting_intent, waiting_payload
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.evidence import merged
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.slices import slices

ORDERED: Final = (IntentKind.PLACE, IntentKind.MODIFY)
_COUNTED: Final = (
    "intents",
    "sent",
    "accepted",
    "filled",
    "partial_fills",
    "rejected",
    "cancelled",
    "ambiguous",
    "resolved",
    "modified",
    "refused",
)
"""Counters that follow from the journal: a kill between record and counter changes nothing."""


def take_up(
    found: Recovered, ports: Ports, config: OrdersConfig, book: Book, outbox: Outbox, desk: Desk, now_ns: int
) -> list[Intent]:
    """All of it but the latches; returns the intents to judge once the stage is ACTIVE."""
    ahead_ns = ports.clock.real_ns() - now_ns
    calls, lacking = merged(ports.calls_left, found.made.calls, ahead_ns, now_ns, ports.boot)
    desk.recall(
        calls,
        lacking,
        [order.tag for order in book.orders.values() if order.tag],
        limited_ns(found, ports.boot, ahead_ns, now_ns),
        now_ns,
    )
    outbox.conduct.restore(found.conduct)
    outbox.refusals.restore(found.refusals)
    if ports.restarted:
        _restore_counters(found, outbox)
    for order in book.live():
        order.inherited = ports.tags.order_no(order.tag) is None
    for change in found.lost:
        outbox.tell(change, now_ns)
    _complete_rows(ports.written, ports, book, outbox)
    for number in found.cancels:
        if number in book.orders and book.orders[number].status not in TERMINAL:
            desk.wish_cancel(number)
    _record_rests(found, ports, outbox)
    return _waiting(found, ports, book, outbox, desk, now_ns)


def _record_rests(found: Recovered, ports: Ports, outbox: Outbox) -> None:
    """Slices that a death has left without a record get theirs, and wait with the others from here on."""
    for data in found.rests.values():
        whole = waiting_intent(data)
        instrument = ports.instruments[whole.slot]
        for quantity in slices(whole.qty, instrument.freeze_quantity or 0, instrument.lot_size):
            found.engine_seq += 1
            words = {"strategy_seq": found.engine_seq, "target_seq": whole.strategy_seq, "qty": quantity}
            part = waiting_payload(whole._replace(**words), 0, data["reducing"])
            if data.get("doubtful"):  # in the record too: this process may die before it refuses them
                cast_doubt([part])
            outbox.journal(Kind.WAITING, part, (whole.strategy, found.engine_seq))
            found.waiting[whole.strategy, found.engine_seq] = part
    found.rests.clear()


def limited_ns(found: Recovered, boot: str, ahead_ns: int, now_ns: int) -> int | None:
    """When the broker last answered 429, on this process's monotonic clock; None: never.

    The same boot's monotonic time holds, whatever became of the wall clock. Of another boot only the wall
    clock tells; an answer cannot come after now, so that no cool-down grows by a clock that was set back.
    """
    if found.limited is None:
        return None
    real_ns, of_boot, mono_ns = found.limited
    same = bool(boot) and boot == of_boot
    return min(mono_ns if same else real_ns - ahead_ns, now_ns)


def _restore_counters(found: Recovered, outbox: Outbox) -> None:
    for name in _COUNTED:
        outbox.gauge(name, found.totals[name])
    outbox.gauge("external_orders", len(found.external_orders))
    outbox.gauge("external_fills", len(found.external_fills))
    outbox.refused.update(found.reasons)
    outbox.count("restarts")


def _complete_rows(written: Written, ports: Ports, book: Book, outbox: Outbox) -> None:
    """Rows that were journalled and not written: the process died between the two."""
    for order in book.orders.values():
        if order.strategy == EXTERNAL:
            continue
        quantity, paise = written.trades.get(order.order_no, (0, 0))
        instrument = ports.instruments[order.slot]
        due = paise_of_units(order.filled_units, instrument)
        if order.filled != quantity or due != paise:
            if due:
                share = (due - paise) / due
                more = order.filled_units - round(order.filled_units * (1 - share))
            else:  # people were told of a fill whose record is gone: the row is taken back
                more = -round(paise * instrument.scale / (100 * (multiplier_of(instrument) or 1)))
            outbox.write_trade(Change(order, order.status, order.filled - quantity, more))
        if order.status in TERMINAL and written.orders.get(order.order_no) != order.status.name:
            outbox.write_order(order)


def _waiting(
    found: Recovered, ports: Ports, book: Book, outbox: Outbox, desk: Desk, now_ns: int
) -> list[Intent]:
    again: list[Intent] = []
    for data in found.waiting.values():
        intent = waiting_intent(data)
        if intent.kind == IntentKind.CANCEL:
            target: Order | None = book.by_strategy(intent.strategy, intent.target_seq)
            if target is None:
                again.append(intent)  # of a trigger: it is looked for when the broker's list was read
            for order in book.family(target) if target is not None else ():
                if order.status not in TERMINAL:
                    desk.wish_cancel(order.order_no)
        elif taken_up(data, restarted=ports.restarted):
            again.append(as_exit(intent) if intent.kind in ORDERED else intent)
        elif data.get("doubtful"):
            text = "waited, as far as the journal could be written: it may have been refused already"
            outbox.refuse(intent, Reason.JOURNAL_FAILED, text, now_ns)
        else:
            outbox.refuse(intent, Reason.RESTARTED, "waited when the order process ended", now_ns)
    return again


def start_payload(found: Recovered, ports: Ports, config: OrdersConfig) -> dict[str, object]:
    """Journal record START."""
    return {
        "orders_replayed": found.placed,
        "absence_horizon_s": config.absence_horizon_s,
        "run": ports.tags.run,
        "restarted": ports.restarted,
        "continues": list(ports.continues),
        "broker": ports.broker_name,
    } | ({} if ports.day_so_far is None else {"day": packed(ports.day_so_far)})


def failed_payload(why: str) -> dict[str, object]:
    """Journal record STATE of a process whose predecessor could not write the journal any more."""
    return {"halted": f"the order process before this one: {why}", "journal_failed": True}


def begin(found: Recovered, ports: Ports, config: OrdersConfig, outbox: Outbox) -> None:
    """The START record, and what a person is told of runs that are continued."""
    outbox.journal(Kind.START, start_payload(found, ports, config))
    if ports.day_so_far is not None:
        found.begin_day(ports.day_so_far)
    if found.killed and not ports.killed():  # a person has taken the latch away meanwhile
        outbox.journal(Kind.STATE, {"halted": found.halted, "killed": ""})
    for strategy in sorted(found.holds.keys() - held_strategies(found, ports)):  # or a hold
        outbox.journal(Kind.STATE, {"halted": found.halted, "strategy": strategy, "state": ""})
    if ports.continues and not ports.restarted:
        text = f"{found.placed} orders of {', '.join(ports.continues)} were taken over"
        outbox.alert("RUN_CONTINUED", text)
    if ports.not_continued:
        outbox.alert("RUN_NOT_CONTINUED", ports.not_continued)


def held_strategies(found: Recovered, ports: Ports) -> dict[int, Hold]:
    """Who is held at a start. Where that is kept beside the runs, a person may have ended it there since an
    earlier run wrote its journal; within a run nobody does that but the order process.
    """
    if ports.holds is not None and not ports.restarted:
        return dict(ports.holds)
    return {**(ports.holds or {}), **found.holds}


def recovery_report(
    found: Recovered, ports: Ports, reconciler: Reconciler, reader: BookReader
) -> dict[str, Any]:
    """What a start did: from the journal, from the broker's books, and what is still open.

    JSON: journal {continues, restarted, orders, in_flight, waiting, cancels, plans, groups, triggers},
    broker {words: how many}, and the reader's own part.
    """
    taken = sum(taken_up(data, restarted=ports.restarted) for data in found.waiting.values())
    return {
        "journal": {
            "continues": list(ports.continues),
            "restarted": ports.restarted,
            "orders": found.placed,
            "in_flight": len(found.lost),
            "waiting_refused": len(found.waiting) - taken,
            "waiting_taken_up": taken,
            "cancels_seen_through": len(found.cancels),
            "plans_restored": len(found.plans),
            "groups_restored": len(found.groups),
            "triggers_restored": len(found.triggers),
        },
        "broker": dict(sorted(reconciler.done.items())),
        "vanished": reconciler.doubts.vanished,
        **reader.report(),
    }


def recovery_words(told: dict[str, Any]) -> str:
    """The same as one line for people: what is not zero."""
    journal = told["journal"]
    counted = [(name, n) for name, n in journal.items() if n and type(n) is int]
    names = [f"{n} {name.replace('_', ' ')}" for name, n in counted]
    if journal["continues"]:
        names.append(f"goes on from {', '.join(journal['continues'])}")
    names += [f"{n} {name}" for name, n in told["broker"].items()]
    names += [f"{told['triggers']} triggers wait at the broker"] if told["triggers"] else []
    return ", ".join(names) or "nothing was open"
