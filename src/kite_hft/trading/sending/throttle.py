"""Layer 2, orders process, hot: which order call leaves next, and when.

Pure: times are CLOCK_MONOTONIC ns handed in. Every call is paid out of the account's Budget
(budget.py), in whose windows the last places are kept for cancels and exits (urgent). Placements
count to the day, and opening ones stop at a share of it. An opening intent that waits past its
deadline is dropped and reported; an urgent one is never dropped once taken in. Within a lane the order is
that of coming, but for urgent calls that are told to go first: those before all others, in their own
order. A placement counts to the day when it is taken in, and no longer when it is dropped unsent.

EgressGate is the second, independent count at the transport's border: other data, other code. It
must never fire; when it does, the limiter above is wrong and nothing more may be opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from kite_hft._lanes import ThrottleState
from kite_hft.layout import Reason
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import Budget
from kite_hft.units import NS_PER_S

T = TypeVar("T")
_new: Final = tuple.__new__
ENTRIES_MAX: Final = 256
URGENT_MAX: Final = 1024
LANE_SHARE: Final = 4
"""Exits of one strategy take no more than one part of so many of the urgent lane."""
_NEVER_NS: Final = 2**62
_LONG_AGO_NS: Final = -(2**62)


class Waiting(NamedTuple, Generic[T]):
    """One call in the queue."""

    item: T
    urgent: bool
    placement: bool
    deadline_ns: int
    queued_ns: int


class Denied(NamedTuple):
    """Why a call cannot be taken in."""

    reason: Reason
    text: str


class Throttle(ThrottleState, Generic[T]):
    """The order calls of one account on their way out, in two lanes: urgent, then entries.

    placed_today: placements of the account, as far as they are known. last_ns: when an order call left
    last. `budget`: shared with whoever
    else calls the broker; None: its own.
    """

    def __init__(
        self,
        limits: Limits,
        budget: Budget | None = None,
        *,
        entries_max: int = ENTRIES_MAX,
        urgent_max: int = URGENT_MAX,
    ) -> None:
        self.budget = budget or Budget(limits)
        self._limits = limits
        self._urgent: deque[Waiting[T]] = deque()
        self._entries: deque[Waiting[T]] = deque()
        self._first = 0  # so many at the head of the urgent lane were told to go first
        self._entries_max, self._urgent_max = entries_max, urgent_max
        self._entry_day = int(limits.orders_per_day * limits.entry_share_of_day)
        self._exit_day = limits.orders_per_day - (limits.orders_per_day - self._entry_day) // 2
        self._cool_until_ns = self.last_ns = _LONG_AGO_NS
        self.deadline_ns = _NEVER_NS  # no entry's deadline is before it: nothing is `expired` until then
        self.placed_today = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._entries)

    @property
    def urgent_since_ns(self) -> int:
        """When the urgent call that leaves next was offered; none waits: far off."""
        return self._urgent[0].queued_ns if self._urgent else _NEVER_NS

    def offer(
        self,
        item: T,
        now_ns: int,
        *,
        urgent: bool,
        placement: bool,
        deadline_ns: int,
        first: bool = False,
        beside: Callable[[T], bool] | None = None,
    ) -> Denied | None:
        """Queue a call; returns why it cannot be taken in, None when it is.

        `deadline_ns` binds entries only. first: an urgent one that goes before all others in its lane, and is
        taken in where that is full. beside: of a placement that a strategy asks for, whether another call is
        one as well, of the same strategy: its exits take no more than a share of the lane, and leave the last
        placements of the day to stops and closings of the engine.
        """
        lane, most = (self._urgent, self._urgent_max) if urgent else (self._entries, self._entries_max)
        if urgent and beside is not None and len(lane) >= most // LANE_SHARE:
            waiting_too = sum(beside(waiting.item) for waiting in lane)
            if waiting_too >= most // LANE_SHARE:
                return Denied(Reason.THROTTLE_QUEUE_FULL, f"{waiting_too} exits of the strategy wait")
        if len(lane) >= most and not first:
            return Denied(Reason.THROTTLE_QUEUE_FULL, f"{len(lane)} calls wait >= {most}")
        if placement:
            share = self._limits.orders_per_day if beside is None else self._exit_day
            if self.placed_today >= (share if urgent else self._entry_day):
                return self._day_is_over(urgent, beside is None)
            self.placed_today += 1
        if not urgent and deadline_ns < self.deadline_ns:
            self.deadline_ns = deadline_ns
        waiting = _new(Waiting, (item, urgent, placement, deadline_ns, now_ns))
        if first:
            lane.insert(self._first, waiting)
            self._first += 1
        else:
            lane.append(waiting)
        return None

    def put_first(self, is_it: Callable[[T], bool]) -> bool:
        """Urgent calls that wait already go before all others in their lane; False: there is none."""
        ahead, urgent = self._first, list(self._urgent)
        chosen = [w for w in urgent[ahead:] if is_it(w.item)]
        if chosen:
            self._urgent = deque([*urgent[:ahead], *chosen])
            self._urgent.extend(w for w in urgent[ahead:] if not is_it(w.item))
            self._first += len(chosen)
        return bool(chosen)

    @property
    def exits_left(self) -> bool:
        """A strategy may place another exit today."""
        return self.placed_today < self._exit_day

    def _day_is_over(self, urgent: bool, engine: bool) -> Denied:
        most = self._limits.orders_per_day
        why = f"of {most} the rest is for stops and closings of the engine" if urgent else ""
        why = f"day cap {most}" if urgent and engine else why or f"of {most} the rest is for exits"
        return Denied(Reason.DAY_CAP, f"{self.placed_today} orders today: {why}")

    def expired(self, now_ns: int) -> list[T]:
        """Entries whose deadline has passed; they leave the queue."""
        if now_ns < self.deadline_ns:
            return []
        late = [w for w in self._entries if w.deadline_ns <= now_ns]
        items = self._drop(late) if late else []
        self.deadline_ns = min((w.deadline_ns for w in self._entries), default=_NEVER_NS)
        return items

    def take(self, now_ns: int) -> Waiting[T] | None:
        """The next call that may leave now; the windows count it as sent from here on."""
        if (waiting := self.pop(now_ns)) is not None:
            self.leaves(now_ns)
        return waiting

    def quiet(self, now_ns: int) -> bool:
        """No call waits, and an entry might leave."""
        return not (self._urgent or self._entries) and self.free_at(now_ns, False) <= now_ns

    def pop(self, now_ns: int) -> Waiting[T] | None:
        """The same, not counted yet: what is dropped after all keeps no place from a cancel behind it."""
        if self._urgent and self.free_at(now_ns, True) <= now_ns:
            waiting = self._urgent.popleft()
            if self._first:
                self._first -= 1
        elif self._entries and self.free_at(now_ns, False) <= now_ns:
            waiting = self._entries.popleft()
        else:
            return None
        return waiting

    def leaves(self, now_ns: int) -> None:
        """What was popped leaves: the windows count it."""
        self.budget.left(now_ns)
        self.last_ns = now_ns

    def unsent(self, waiting: Waiting[T]) -> None:
        """What was popped is dropped: it does not count to the day."""
        self.placed_today -= waiting.placement

    def withdraw(self, is_it: Callable[[T], bool]) -> list[T]:
        """Take back what still waits, in either lane."""
        gone = [w for lane in (self._urgent, self._entries) for w in lane if is_it(w.item)]
        return self._drop(gone)

    def drop_entries(self) -> list[T]:
        """All waiting entries leave the queue (halt, stop)."""
        return self._drop(list(self._entries))

    def _drop(self, dropped: list[Waiting[T]]) -> list[T]:
        gone = {id(w) for w in dropped}
        if gone:
            self._first = sum(id(w) not in gone for w in islice(self._urgent, self._first))
            self._entries = deque(w for w in self._entries if id(w) not in gone)
            self._urgent = deque(w for w in self._urgent if id(w) not in gone)
            self.placed_today -= sum(w.placement for w in dropped)
        return [w.item for w in dropped]

    def cool_down(self, now_ns: int) -> None:
        """The broker answered 429: entries wait out the cool-down, urgent calls pass singly."""
        self._cool_until_ns = now_ns + round(self._limits.cooldown_after_429_s * NS_PER_S)

    def cooling(self, now_ns: int) -> bool:
        """Entries wait out a cool-down of the broker's."""
        return now_ns < self._cool_until_ns

    def passes(self, urgent: bool, now_ns: int) -> bool:
        """Whether a call that was let out, and was held back since, may leave now: in a cool-down that has
        begun meanwhile entries wait, and urgent calls pass singly. One that may is the last that left.
        """
        gap_ns = round(self._limits.cooldown_urgent_gap_s * NS_PER_S)
        if now_ns < self._cool_until_ns and not (urgent and now_ns >= self.last_ns + gap_ns):
            return False
        self.last_ns = now_ns
        return True

    def left_late(self, at_ns: int) -> None:
        """A call that was let out before, and had to wait for a connection, has left only at `at_ns`."""
        self.last_ns = max(self.last_ns, at_ns)

    def seen_today(self, placed: int) -> None:
        """The broker, or a file of the day, knows of `placed` placements; what waits comes on top."""
        waiting = sum(w.placement for lane in (self._urgent, self._entries) for w in lane)
        self.placed_today = max(self.placed_today, placed + waiting)

    def next_ns(self, now_ns: int) -> int | None:
        """When something happens here next, or a deadline is to be looked at; None: empty."""
        at = _NEVER_NS
        if self._urgent:
            at = self.free_at(now_ns, True)
        if self._entries:
            at = min(at, self.free_at(now_ns, False), self.deadline_ns)
        elif not self._urgent:
            return None
        return max(now_ns, at)

    def free_at(self, now_ns: int, urgent: bool) -> int:
        """From when on an order call may leave, were none before it."""
        budget = self.budget
        at = budget.urgent_free_ns if urgent else budget.entry_free_ns
        if now_ns >= budget.hold_ns:
            at = max(at, budget.behind_read_ns(urgent))
        if at < self._cool_until_ns and now_ns < self._cool_until_ns:
            if not urgent:
                return self._cool_until_ns
            gap = round(self._limits.cooldown_urgent_gap_s * NS_PER_S)
            return max(at, min(self.last_ns + gap, self._cool_until_ns))
        return at


class EgressGate:
    """Counts calls where they leave, and that no order is placed twice.

    Keeps the times of the calls that each window still holds: when they were written, as soon as that is
    known. `order_windows`: of order calls; `all_windows`: of order calls and reads together.
    """

    def __init__(self, order_windows: Iterable[RateWindow], all_windows: Iterable[RateWindow] = ()) -> None:
        orders = [(w.calls, round(w.window_s * NS_PER_S), deque[int]()) for w in order_windows]
        self._all = [(w.calls, round(w.window_s * NS_PER_S), deque[int]()) for w in all_windows]
        self._both = orders + self._all
        self._placed: set[str] = set()

    def recall(self, at_ns: int, *, read: bool = False) -> None:
        """A call that an earlier process sent; older ones first."""
        for _, _, times in self._all if read else self._both:
            times.append(at_ns)

    def written(self, after_ns: int, *, read: bool = False) -> None:
        """The newest call has left only now."""
        for _, _, times in self._all if read else self._both:
            if times:
                times[-1] = after_ns

    def moved(self, from_ns: int, to_ns: int | None, *, read: bool = False) -> None:
        """A call that stood at `from_ns` has left only now, at `to_ns`; None: it stands nowhere any more."""
        for _, _, times in self._all if read else self._both:
            if from_ns in times:
                times.reverse()  # of equal ones the newest: behind others it would keep those from ending
                times.remove(from_ns)
                times.reverse()
                if to_ns is not None:
                    times.append(to_ns)

    def recall_tags(self, tags: Iterable[str]) -> None:
        """Orders that an earlier process placed."""
        self._placed.update(tags)

    def refuses(self, now_ns: int, placed_tag: str = "") -> str:
        """Why this order call must not leave; empty: it may, and is counted."""
        if placed_tag and placed_tag in self._placed:
            return f"order {placed_tag} would be placed a second time"
        if text := self._too_many(self._both, now_ns):
            return text
        for _, _, times in self._both:
            times.append(now_ns)
        if placed_tag:
            self._placed.add(placed_tag)
        return ""

    def refuses_read(self, now_ns: int) -> str:
        """The same of a read."""
        if text := self._too_many(self._all, now_ns):
            return text
        self.recall(now_ns, read=True)
        return ""

    @staticmethod
    def _too_many(held: list[tuple[int, int, deque[int]]], now_ns: int) -> str:
        for most, span_ns, times in held:
            begin_ns = now_ns - span_ns
            while times and times[0] <= begin_ns:
                times.popleft()
            if len(times) >= most:
                return f"more than {most} calls in {span_ns / NS_PER_S} s"
        return ""
