"""Layer 2, orders process, hot: the border that every call to the broker crosses, order calls and reads.

It holds the account's budget, the independent gate, and what is kept of a call that has left:
evidence, the day's counters, the conduct of its contract and strategy, and its times.

A call counts where its bytes leave. Nearly all are written while they are handed over. One that finds no
connection free waits in the transport (net/http.py tells: `waits`, `urgent`, `waits_on`, `placed`, `stops`,
`wrote`). It keeps its place meanwhile, is put where it was written when it is, and given up before that place
is free again. There, too, cancels and exits go first, and orders are judged once more before they leave. An
exit and a cancel wait on for as long as no connection is free, and their places move along; one whose place
is free again all the same (the process stood still) needs another before it leaves. In a cool-down of the
broker's that has begun meanwhile they leave singly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kite_hft.layout import IntentKind, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpResponse, Limits, Refused
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.ports import Ports
from kite_hft.trading.sending.budget import NEVER_NS, Budget, ReadKind
from kite_hft.trading.sending.evidence import ENTRY, PLACE, READ, URGENT, Left
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.throttle import EgressGate, Throttle
from kite_hft.trading.sending.work import Work
from kite_hft.units import NS_PER_S

TRIGGER = "GTT"
"""Name of calls about triggers at the broker in the evidence."""
TOO_MANY = 429  # HTTP status
_WORDS = {
    IntentKind.PLACE: "exit",
    IntentKind.MODIFY: "the change of order",
    IntentKind.CANCEL: "the cancel of",
}


class _Held(NamedTuple):
    """A call that waits in the transport since `since_ns`: an order call (`work`), one of the kind of a read,
    or with neither a trigger's where that is an order call. It stands in the windows where its row says, or
    nowhere any more.
    """

    row: Left
    kind: ReadKind | None
    work: Work | None
    since_ns: int
    stands: bool = True

    @property
    def never_dropped(self) -> bool:
        """An exit, or a cancel: it waits for a connection for as long as there is none."""
        return self.work is not None and self.row.part == URGENT and not self.proves

    @property
    def proves(self) -> bool:
        """The proof of the address, a cancel of no order: it is made again when it could not leave."""
        return self.work is not None and self.work.order.order_no <= 0

    @property
    def of_trigger(self) -> bool:
        """About a trigger, and paid as an order call is."""
        return self.work is None and self.kind is None

    @property
    def urgent(self) -> bool:
        return self.row.part == URGENT or self.kind is ReadKind.RELIEF

    @property
    def opens(self) -> bool:
        """It may open something: an entry, or a trigger at the broker that takes no risk away."""
        return self.row.part == ENTRY or (self.row.call == TRIGGER and not self.urgent)

    @property
    def needless(self) -> bool:
        """A cancel of an order that has ended meanwhile."""
        work = self.work
        return work is not None and work.kind is IntentKind.CANCEL and work.order.status in TERMINAL


class Egress:
    """One per order stage. entry_wait_ns: so long at most does a call that opens wait, from its offer on.
    doubt(work, opens, waited, now_ns): why a call whose turn it is does not leave, (reason, text).
    """

    def __init__(
        self,
        ports: Ports,
        limits: Limits,
        outbox: Outbox,
        entry_wait_ns: int = NEVER_NS,
        doubt: Callable[[Work, bool, bool, int], tuple[Reason, str] | None] = lambda *words: None,
    ) -> None:
        self._ports, self._limits, self._outbox = ports, limits, outbox
        self._entry_wait_ns, self._doubt = entry_wait_ns, doubt
        self.cooling: Callable[[int], bool] = lambda now_ns: False  # entries wait out the broker's cool-down
        self.passes: Callable[[bool, int], bool] = lambda urgent, now_ns: True  # and exits pass singly
        self._left_late: Callable[[int], None] = lambda at_ns: None
        self.budget = Budget(limits)
        self.gate = EgressGate(limits.order_windows, limits.all_windows)
        self.last_order_ns = 0  # CLOCK_MONOTONIC
        self._waits = 0  # number of a request that waits in the transport, and has no row in `_held` yet
        self._held: dict[int, _Held] = {}
        if hasattr(ports.transport, "follower"):  # in others nothing waits
            ports.transport.follower = self

    def beside(self, throttle: Throttle[Work]) -> None:
        """Who lets calls out knows of the broker's cool-down, and hears when what had to wait has left."""
        self.cooling, self.passes, self._left_late = throttle.cooling, throttle.passes, throttle.left_late

    def recall(self, calls: Iterable[Left], lacking: Iterable[Left], tags: Iterable[str], now_ns: int) -> int:
        """What earlier processes sent today, oldest first: it stands in the windows, and counts.

        lacking: those of them that no evidence file has; it gets them now. Returns how many placements
        the evidence knows of.
        """
        placed = total = 0
        for call in calls:
            total += 1
            placed += call.call == PLACE
            at_ns = min(call.mono_ns, now_ns)  # the wall clock may have been put back since
            if now_ns - at_ns > self.budget.longest_ns:
                continue
            if call.part == READ:
                self.budget.read_left(at_ns, ReadKind.OTHER)
            else:
                self.budget.left(at_ns)
                self.last_order_ns = at_ns
            self.gate.recall(at_ns, read=call.part == READ)
        for call in lacking:
            self._ports.on_call(call)
        self.gate.recall_tags(tags)
        self._outbox.gauge("calls_today", total)
        return placed

    def order_left(self, work: Work, before_ns: int, after_ns: int, staged_ns: int = 0) -> None:
        """An order call was handed over between the two times. staged_ns: it had waited for the disk, and
        stands there in the windows; 0: it is their newest.
        """
        order, outbox = work.order, self._outbox
        if staged_ns:
            self.budget.moved(staged_ns, after_ns)
        else:
            self.budget.written(after_ns)
        self.gate.written(after_ns)
        self._time(work, before_ns, after_ns)
        urgent = work.context is None or work.context.reducing
        name = order.tag if work.kind is IntentKind.PLACE else order.order_id
        part = URGENT if urgent else ENTRY
        row = Left(after_ns, self._ports.clock.real_ns(), work.kind.name, part, name)
        self._handed_over(row, None, work)
        outbox.count("calls_today")
        if order.strategy == EXTERNAL:
            return  # what a person or another program makes of the account is not ours to judge
        outbox.conduct.called(work.kind, order.slot, order.strategy)
        levels = self._limits.per_contract, self._limits.per_strategy
        for told in outbox.conduct.warnings(order.slot, order.strategy, *levels):
            outbox.alert("CONDUCT", told.text, told.key)

    def order_refused(self, now_ns: int) -> str:
        """Why a trigger's call must not leave that is an order call; it is counted if it may."""
        if text := self.gate.refuses(now_ns):
            self._outbox.halt(f"egress: a trigger's call: {text}")
        return text

    def read_refused(self, now_ns: int) -> str:
        """Why a read must not leave: the budget is wrong, and nothing more may be opened."""
        if text := self.gate.refuses_read(now_ns):
            self._outbox.halt(f"egress: a read: {text}")
        return text

    def aside_leaves(self, name: str, part: str = READ) -> str:
        """A call beside orders leaves next: its record, by which a later process knows it, and what paid for
        it; returns what the record and its row are named.
        """
        about = f"{self._ports.tags.run}.{self._outbox.journal_seq + 1}"
        words = {"call": name, "about": about, "no": 0, "strategy": EXTERNAL, "seq": 0}
        self._outbox.journal(Kind.CALL, words if part == READ else words | {"part": part})
        return about

    def aside_unsent(self, name: str, about: str) -> None:
        """It is proven that it never left."""
        self._aside_ended(name, about, {"outcome": "unsent"})

    def aside_limited(self, name: str, about: str, answer: HttpResponse, now_ns: int) -> bool:
        """Whether the broker answered that a trigger's call was one too many: a later process waits, too."""
        outcome = self._ports.broker.parse_trigger_outcome(answer) if name == TRIGGER else None
        if not isinstance(outcome, Refused) or outcome.http_status != TOO_MANY:
            return False
        limited = {"outcome": "refused", "http": TOO_MANY, "boot": self._ports.boot, "mono_ns": now_ns}
        self._aside_ended(name, about, limited)
        self._outbox.alert("RATE_LIMITED", "a trigger's call was refused: too many requests")
        return True

    def _aside_ended(self, name: str, about: str, words: dict[str, Any]) -> None:
        named = {"call": name, "about": about, "no": 0, "strategy": EXTERNAL}
        self._outbox.journal(Kind.ANSWER, named | words)

    def trigger_left(self, name: str, about: str, part: str) -> int:
        """A trigger's call that is an order call was handed over; returns when."""
        clock = self._ports.clock
        after_ns = clock.mono_ns()
        self.budget.written(after_ns)
        self.gate.written(after_ns)
        self._handed_over(Left(after_ns, clock.real_ns(), name, part, about), None)
        self._outbox.count("calls_today")
        return after_ns

    def read_left(self, name: str, about: str = "") -> None:
        """A read was handed over, or (about: what its record is named) a call beside orders."""
        clock = self._ports.clock
        after_ns = clock.mono_ns()
        self.budget.read_written(after_ns)
        self.gate.written(after_ns, read=True)
        self._handed_over(Left(after_ns, clock.real_ns(), name, READ, about), self.budget.last_read)
        self._outbox.count("calls_today")

    def _handed_over(self, row: Left, kind: ReadKind | None, work: Work | None = None) -> None:
        if self._waits:
            self._held[self._waits], self._waits = _Held(row, kind, work, row.mono_ns), 0
        else:
            self._ports.on_call(row)

    # The transport says

    def waits(self, request_id: int) -> None:
        """The call that is being handed over waits for a connection."""
        self._waits = request_id

    def holds(self, work: Work) -> bool:
        """An order call has not left yet: it waits for a connection."""
        return any(held.work is work for held in self._held.values())

    def urgent(self, request_id: int) -> bool:
        """Whether a call that waits goes before the others: a cancel, an exit, what takes risk away."""
        held = self._held.get(request_id)
        return held is not None and held.urgent

    def waits_on(self, request_id: int) -> bool:
        """A call has waited for as long as one may: exits and cancels wait on, a person is told, and their
        places in the broker's windows move along.
        """
        held, now_ns = self._held.get(request_id), self._ports.clock.mono_ns()
        if held is None or held.work is None or not held.never_dropped:
            return False
        if self._stands(held, now_ns):
            self._keep_place(request_id, held, now_ns)
        self.still_waits(_what(held.work), held.since_ns, now_ns)
        return True

    def still_waits(self, what: str, since_ns: int, now_ns: int) -> None:
        """A person is told of what waits on for a connection."""
        text = f"{what} has waited {(now_ns - since_ns) / NS_PER_S:.1f} s for a connection to the broker, and"
        self._outbox.alert("EXIT_WAITS", f"{text} has not left", what)

    def waits_no_more(self, what: str) -> None:
        """It has left, or need not leave any more; harmless when nobody was told."""
        self._outbox.clear("EXIT_WAITS", what)

    def _keep_place(self, request_id: int, held: _Held, now_ns: int) -> None:
        if now_ns > held.row.mono_ns:
            self.budget.moved(held.row.mono_ns, now_ns)
            self.gate.moved(held.row.mono_ns, now_ns)
            self._held[request_id] = held._replace(row=held.row._replace(mono_ns=now_ns))

    def _stands(self, held: _Held, now_ns: int) -> bool:
        """Its place in the windows is its own."""
        return held.stands and now_ns - held.row.mono_ns < self.budget.shortest_ns

    def placed(self, request_id: int) -> bool:
        """A call that waits may have the connection that is free. Only an exit or a cancel that has lost its
        place in the windows, and finds no other, or that has to wait in a cool-down, must let others go
        before it.
        """
        held, now_ns = self._held.get(request_id), self._ports.clock.mono_ns()
        if held is not None and held.of_trigger and held.urgent and self.cooling(now_ns):
            return bool(self.stops(request_id)) or self.passes(True, now_ns)
        if held is None or not held.never_dropped:
            return True
        stands = self._stands(held, now_ns)
        if (stands and not self.cooling(now_ns)) or self.stops(request_id):
            return True  # what does not leave after all takes no place from another
        return (stands or self._another_place(request_id, held, now_ns)) and self.passes(True, now_ns)

    def _another_place(self, request_id: int, held: _Held, now_ns: int) -> bool:
        budget, row = self.budget, held.row
        if held.stands:  # long windows count it still
            budget.moved(row.mono_ns, None)
            self.gate.moved(row.mono_ns, None)
            held = self._held[request_id] = held._replace(stands=False)
        if budget.urgent_free_ns > now_ns:
            return self._place_of_another(request_id, held, now_ns)
        if text := self.gate.refuses(now_ns):
            self._outbox.halt(f"egress: {text}")
            return False
        budget.left(now_ns)
        self._held[request_id] = held._replace(row=row._replace(mono_ns=now_ns), stands=True)
        return True

    def _place_of_another(self, request_id: int, held: _Held, now_ns: int) -> bool:
        """That of what opens, which is given up then; else of a trigger's call, or of the newest exit or
        cancel behind it.
        """
        newest = reversed([each for each in self._held.items() if each[1].kind is None])
        for number, other in sorted(newest, key=lambda each: (each[1].never_dropped, each[1].urgent)):
            behind = not other.never_dropped or other.since_ns > held.since_ns
            if behind and self._stands(other, now_ns):
                self._held[number] = other._replace(stands=False)
                row = held.row._replace(mono_ns=other.row.mono_ns)
                self._held[request_id] = held._replace(row=row, stands=True)
                return True
        return False

    def stops(self, request_id: int) -> str:
        """Why a call that has waited must not leave any more; empty: it may."""
        held, now_ns = self._held.get(request_id), self._ports.clock.mono_ns()
        if held is None:
            return ""
        if held.needless:
            return "the order has ended"
        if not held.never_dropped and not held.stands:
            return "its place in the broker's windows has gone to an exit or a cancel"
        if not held.never_dropped and not self._stands(held, now_ns):
            return "no connection was free for as long as its place in the broker's windows was its own"
        if held.opens:
            if killed := self._ports.killed():
                return f"killed: {killed}"
            if self._outbox.halted:
                return self._outbox.halted
        if (held.proves or (held.of_trigger and held.opens)) and self.cooling(now_ns):
            return "the broker's cool-down has begun meanwhile"
        work = held.work
        return self._too_late(work, held.opens, now_ns) if work is not None and work.context else ""

    def _too_late(self, work: Work, opens: bool, now_ns: int) -> str:
        """Why an order or a modification does not leave. Neither deadline nor cool-down ends exits."""
        if opens and now_ns >= self._until_ns(work):
            return "no connection was free before its deadline"
        if opens and self.cooling(now_ns):
            return "the broker's cool-down has begun meanwhile"
        verdict = self._doubt(work, opens, True, now_ns)
        return verdict[1] if verdict is not None else ""

    def _until_ns(self, work: Work) -> int:
        """The deadline of what opens."""
        until_ns, intent = work.offered_ns + self._entry_wait_ns, work.intent
        deadline_ns = intent.deadline_ns if intent is not None else 0
        return min(until_ns, deadline_ns) if deadline_ns else until_ns

    def held_up(self, work: Work, judged_ns: int, now_ns: int) -> tuple[Reason, str] | None:
        """Why what opens does not leave, although it was judged at `judged_ns` and stands in the windows
        there: that is long ago (a disk hung, the process stood still). Its place is free then.
        """
        verdict = self._doubt(work, True, True, now_ns)
        if verdict is None and now_ns >= self._until_ns(work):
            verdict = Reason.THROTTLE_DEADLINE, "past its deadline before it could leave"
        if verdict is not None:
            self.budget.moved(judged_ns, None)
            self.gate.moved(judged_ns, None)
        return verdict

    def wrote(self, request_id: int, at_ns: int | None) -> None:
        """A call that had waited has left, at `at_ns`; None: it never will, and keeps its place and its row;
        but for a cancel that nobody needs any more, and a call beside orders, which may be tried again for
        as long as no connection is free: they give their places back, and have none.
        """
        held = self._held.pop(request_id, None)
        if held is None:
            return
        row, kind = held.row, held.kind
        if held.work is not None and held.never_dropped:
            self.waits_no_more(_what(held.work))
        if at_ns is None and kind is not None and row.name:
            self.budget.read_moved(kind, row.mono_ns, None)
            self.gate.moved(row.mono_ns, None, read=True)
            return
        if at_ns is None and (held.needless or held.of_trigger):
            if held.stands:
                self.budget.moved(row.mono_ns, None)
                self.gate.moved(row.mono_ns, None)
            return
        if at_ns is not None:
            if kind is None:
                self.budget.moved(row.mono_ns, at_ns)
                self._left_late(at_ns)
            else:
                self.budget.read_moved(kind, row.mono_ns, at_ns)
            self.gate.moved(row.mono_ns, at_ns, read=kind is not None)
            row = row._replace(mono_ns=at_ns, real_ns=self._ports.clock.real_ns())
        self._ports.on_call(row)

    def _time(self, work: Work, before_ns: int, after_ns: int) -> None:
        """Times of a call that has left, written down when they can hold nothing up any more."""
        record = self._outbox.record
        record("throttle_wait", work.let_out_ns - work.offered_ns)
        record("journalled", before_ns - work.let_out_ns)
        record("written", after_ns - before_ns)
        if work.kind is IntentKind.PLACE:
            if work.order.created_ns:
                record("intent_to_sent", after_ns - work.order.created_ns)
            if work.order.tick_recv_ns:
                record("tick_to_order", after_ns - work.order.tick_recv_ns)


def _what(work: Work) -> str:
    return f"{_WORDS[work.kind]} {work.order.order_no}"
