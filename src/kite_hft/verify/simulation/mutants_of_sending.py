"""Layer 6, campaigns, cold: mutants of the way out: journal, throttle, calls, what their answers prove."""

from __future__ import annotations

import re
from typing import Any, Final

from kite_hft.brokers.kite import answers, rest
from kite_hft.layout import IntentKind, OrderStatus, Reason
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.trading.broker import HttpResponse, Refused, TransportError
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.recovery import lookup, replay
from kite_hft.trading.sending import budget, desk, egress
from kite_hft.trading.sending.answers import Answers
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.egress import Egress
from kite_hft.trading.sending.staging import Staging
from kite_hft.trading.sending.throttle import EgressGate, Throttle
from kite_hft.trading.sending.work import Work, request_of
from kite_hft.verify.simulation.planting import Mutant, Patches

PLACE: Final = IntentKind.PLACE


def _journal_skipped(p: Patches) -> None:
    def make(old: Any) -> Any:
        def journal(self: Desk, work: Work) -> bool:
            return True if work.kind is PLACE else old(self, work)

        return journal

    p.around(Desk, "_journal", make)


def _fsync_skipped(p: Patches) -> None:
    def sync(self: JournalWriter) -> int:
        self.synced_seq = self.next_seq - 1
        return self.synced_seq

    p.set(JournalWriter, "sync", sync)


def _fsync_not_awaited(p: Patches) -> None:
    p.around(Staging, "__init__", lambda old: lambda self, synced, more: old(self, lambda: 2**62, more))


def _waiting_not_journalled(p: Patches) -> None:
    p.set(Desk, "journal_waiting", lambda self, taken: None)


def _resent_when_ambiguous(p: Patches) -> None:
    def make(old: Any) -> Any:
        def take(self: Answers, work: Work, result: Any, now_ns: int) -> None:
            lost = isinstance(result, TransportError) and result.sent
            if work.kind is PLACE and lost and not work.offered_ns < 0:
                work.offered_ns = -1  # once
                request = request_of(work.order, self._ports.instruments[work.order.slot])
                self._desk._submit(work, self._ports.broker.place(request))
                return
            old(self, work, result, now_ns)

        return take

    p.around(Answers, "take", make)


def _resent_under_a_new_number(p: Patches) -> None:
    def make(old: Any) -> Any:
        def take(self: Answers, work: Work, result: Any, now_ns: int) -> None:
            old(self, work, result, now_ns)
            refused = isinstance(result, HttpResponse) and result.status == 429
            if work.kind is PLACE and refused and work.intent is not None and work.context is not None:
                book = self._desk.book
                book._by_strategy.pop((work.order.strategy, work.order.strategy_seq), None)
                self._desk.offer_order(self._desk.enter(work.intent, work.context), now_ns)

        return take

    p.around(Answers, "take", make)


def _outcome(change: Any) -> Any:
    """A plant that changes what answers prove: `change(response, outcome)`."""

    def plant(p: Patches) -> None:
        from dataclasses import replace

        from kite_hft.sim.order_path.network import Network

        def make(old: Any) -> Any:
            def init(self: Any, *words: Any) -> None:
                old(self, *words)
                right = self.broker.parse_outcome
                self.broker = replace(
                    self.broker, parse_outcome=lambda response: change(response, right(response))
                )

            return init

        p.around(Network, "__init__", make)

    return plant


def _5xx_refuses(response: HttpResponse, outcome: Any) -> Any:
    return Refused("NetworkException", "server error", response.status) if response.status >= 500 else outcome


def _odd_200_refuses(response: HttpResponse, outcome: Any) -> Any:
    unsure = response.status == 200 and not hasattr(outcome, "order_id")
    return Refused("GeneralException", "no order id", 200) if unsure else outcome


def _400_refuses(response: HttpResponse, outcome: Any) -> Any:
    return Refused("OrderException", "refused", 400) if response.status == 400 else outcome


def _timeout_never_left(p: Patches) -> None:
    def make(old: Any) -> Any:
        def take(self: Answers, work: Work, result: Any, now_ns: int) -> None:
            if isinstance(result, TransportError):
                result = TransportError(result.reason, sent=False)
            old(self, work, result, now_ns)

        return take

    p.around(Answers, "take", make)


def _unsent_is_ambiguous(p: Patches) -> None:
    def make(old: Any) -> Any:
        def take(self: Answers, work: Work, result: Any, now_ns: int) -> None:
            if isinstance(result, TransportError):
                result = TransportError(result.reason, sent=True)
            old(self, work, result, now_ns)

        return take

    p.around(Answers, "take", make)


def _horizon_short(p: Patches) -> None:
    p.around(lookup.Lookup, "__init__", lambda old: lambda self, horizon_ns: old(self, horizon_ns // 8))


def _one_read(p: Patches) -> None:
    p.set(lookup, "READS", 1)


def _limiter_off_by_one(p: Patches) -> None:
    p.around(budget.Ring, "__init__", lambda old: lambda self, n, span_ns: old(self, n + 1, span_ns))
    _gate_asleep(p)


def _gate_asleep(p: Patches) -> None:
    p.set(EgressGate, "_too_many", staticmethod(lambda held, now_ns: ""))


def _windows_not_counted(p: Patches) -> None:
    p.set(budget.Budget, "left", lambda self, now_ns: None)
    p.set(budget.Budget, "written", lambda self, after_ns: None)
    _gate_asleep(p)


def _reserve_ignored(p: Patches) -> None:
    p.around(
        budget, "_rings", lambda old: lambda windows, part: old(windows, "all" if part == "open" else part)
    )


def _cooldown_ignored(p: Patches) -> None:
    p.set(Throttle, "cool_down", lambda self, now_ns: None)


def _exits_in_the_slow_lane(p: Patches) -> None:
    def make(old: Any) -> Any:
        def offer(self: Any, item: Any, now_ns: int, **words: Any) -> Any:
            return old(self, item, now_ns, **words | {"urgent": words["urgent"] and item.kind is not PLACE})

        return offer

    p.around(Throttle, "offer", make)


def _deadline_ignored(p: Patches) -> None:
    p.set(Throttle, "expired", lambda self, now_ns: [])


def _connections_in_turn(p: Patches) -> None:
    p.set(Egress, "urgent", lambda self, request_id: False)


def _judged_before_the_wait(p: Patches) -> None:
    p.set(Egress, "_too_late", lambda self, work, opens, now_ns: "")


def _exits_given_up(p: Patches) -> None:
    p.set(Egress, "waits_on", lambda self, request_id: False)


def _lost_place_kept(p: Patches) -> None:
    p.set(Egress, "placed", lambda self, request_id: True)


def _staged_place_lost(p: Patches) -> None:
    stands = Staging._stands

    def mutant(self: Staging, staged: Any, now_ns: int) -> bool:
        if now_ns - staged.counted_ns < self._budget.shortest_ns:
            return stands(self, staged, now_ns)
        staged.counted_ns = now_ns
        return True

    p.set(Staging, "_stands", mutant)


def _judged_before_the_stall(p: Patches) -> None:
    def held_up(self: Egress, work: Any, judged_ns: int, now_ns: int) -> tuple[Reason, str] | None:
        killed = self._ports.killed()
        return (Reason.KILLED, f"killed: {killed}") if killed else None

    p.set(Egress, "held_up", held_up)


def _latch_asked_once(p: Patches) -> None:
    p.set(desk, "LATCH_AGAIN_NS", 2**62)


def _cancel_not_retried(p: Patches) -> None:
    p.set(Desk, "retry_cancel", lambda self, order, shown, asked_ns, now_ns: None)


def _cancel_of_unnamed_forgotten(p: Patches) -> None:
    def make(old: Any) -> Any:
        def cancel(self: Desk, order: Any, intent: Any, now_ns: int) -> None:
            if order.status not in (OrderStatus.SENT, OrderStatus.AMBIGUOUS):
                old(self, order, intent, now_ns)

        return cancel

    p.around(Desk, "cancel", make)


def _day_cap_ignored(p: Patches) -> None:
    def make(old: Any) -> Any:
        def offer(self: Any, item: Any, now_ns: int, **words: Any) -> Any:
            self.placed_today = 0
            return old(self, item, now_ns, **words)

        return offer

    p.around(Throttle, "offer", make)


def _refused_answer_keeps_the_order(p: Patches) -> None:
    p.everywhere(replay.PLACE_INPUT, {**replay.PLACE_INPUT, "refused": Input.CONFIRM})


def _calls_forgotten(p: Patches) -> None:
    p.set(egress.Egress, "recall", lambda self, calls, lacking, tags, now_ns: 0)


def _unsure_words_ignored(p: Patches) -> None:
    owner = rest if hasattr(rest, "_UNSURE") else answers
    p.set(owner, "_UNSURE", re.compile(r"(?!)"))


SENDING: Final = (
    Mutant("journal_skipped", "an order leaves without its INTENT record", _journal_skipped),
    Mutant("fsync_skipped", "the sync says that it is done and does nothing", _fsync_skipped),
    Mutant("fsync_not_awaited", "with fsync_before_send no order waits for the disk", _fsync_not_awaited),
    Mutant("waiting_not_journalled", "intents that wait have no record", _waiting_not_journalled),
    Mutant("resent_when_ambiguous", "a lost answer: the order is sent again without a look-up",
           _resent_when_ambiguous),
    Mutant("resent_after_429", "429: the intent is placed once more under a new number",
           _resent_under_a_new_number),
    Mutant("5xx_refuses", "a 5xx is taken for a refusal", _outcome(_5xx_refuses)),
    Mutant("odd_200_refuses", "a 200 that cannot be read is taken for a refusal", _outcome(_odd_200_refuses)),
    Mutant("400_refuses", "every 400 is taken for a refusal, the timed-out one too", _outcome(_400_refuses)),
    Mutant("unsure_words_ignored", "the words of a refusal that take it back are not read",
           _unsure_words_ignored),
    Mutant("timeout_never_left", "a call without an answer is taken for one that never left",
           _timeout_never_left),
    Mutant("unsent_is_ambiguous", "a call that never left is taken for ambiguous", _unsent_is_ambiguous),
    Mutant("horizon_short", "absence is believed after an eighth of the horizon", _horizon_short),
    Mutant("one_read", "one read instead of two proves absence", _one_read),
    Mutant("limiter_off_by_one", "every window lets one more call through", _limiter_off_by_one),
    Mutant("windows_not_counted", "calls that leave are not counted", _windows_not_counted),
    Mutant("reserve_ignored", "entries use the places that are kept for exits", _reserve_ignored),
    Mutant("cooldown_ignored", "after a 429 entries go on", _cooldown_ignored),
    Mutant("exits_wait_as_entries", "exits stand in the lane of entries, with its deadline",
           _exits_in_the_slow_lane),
    Mutant("deadline_ignored", "an entry waits on past its deadline", _deadline_ignored),
    Mutant("connections_in_turn", "an exit without a connection waits behind entries", _connections_in_turn),
    Mutant("judged_before_the_wait", "what has waited for a connection is not judged again",
           _judged_before_the_wait),
    Mutant("exits_given_up", "exits and cancels without a connection are given up, as entries are",
           _exits_given_up),
    Mutant("lost_place_kept", "an exit leaves in a place that is free again, and others have taken",
           _lost_place_kept),
    Mutant("staged_place_lost", "what waits for the disk leaves without a place when its own is over",
           _staged_place_lost),
    Mutant("judged_before_the_stall", "after a stall nothing but the kill latch is asked again",
           _judged_before_the_stall),
    Mutant("latch_asked_once", "a kill while its record is written does not stop an order",
           _latch_asked_once),
    Mutant("cancel_not_retried", "a cancel whose answer was lost is not sent again", _cancel_not_retried),
    Mutant("early_cancel_forgotten", "a cancel of an order without a name is forgotten",
           _cancel_of_unnamed_forgotten),
    Mutant("day_cap_ignored", "the day's cap does not bind", _day_cap_ignored),
    Mutant("refusal_confirms", "a refused order is taken for one at the broker",
           _refused_answer_keeps_the_order),
    Mutant("calls_forgotten", "a restart forgets which calls have left", _calls_forgotten),
)  # fmt: skip
"""Mutants of journal, sending and outcomes."""
