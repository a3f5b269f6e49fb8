"""Layer 2, orders process, hot: how many calls may leave, and which goes next.

Pure: times are CLOCK_MONOTONIC ns handed in. The broker's windows are data (Limits); in each, the
last `reserved` calls are kept for cancels and exits (urgent). Placements count to the day, and
opening ones stop at a share of it. An opening intent that waits past its deadline is dropped and
reported; an urgent one is never dropped once taken in. A placement counts to the day when it is
taken in, and no longer when it is dropped unsent.

EgressGate is the second, independent count at the transport's border: other data, other code. It
must never fire; when it does, the limiter above is wrong and nothing more may be opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.units import NS_PER_S

T = TypeVar("T")
ENTRIES_MAX: Final = 256
URGENT_MAX: Final = 1024


class Window:
    """One sliding window: when were the last calls, and does one more fit?"""

    def __init__(self, limit: RateWindow) -> None:
        self.limit = limit
        self.span_ns = round(limit.window_s * NS_PER_S)
        self._all: deque[int] = deque()
        self._entries: deque[int] = deque()

    def free_at(self, now_ns: int, urgent: bool) -> int:
        """The first time from `now_ns` on at which one more call fits."""
        over_ns = now_ns - self.span_ns
        for times in (self._all, self._entries):
            while times and times[0] <= over_ns:
                times.popleft()
        at = now_ns
        if len(self._all) >= self.limit.calls:
            at = self._all[-self.limit.calls] + self.span_ns
        most = self.limit.calls - self.limit.reserved
        if not urgent and len(self._entries) >= most:
            at = max(at, self._entries[-most] + self.span_ns)
        return at

    def record(self, now_ns: int, urgent: bool) -> None:
        self._all.append(now_ns)
        if not urgent:
            self._entries.append(now_ns)


@dataclass(slots=True)
class Waiting(Generic[T]):
    """One call in the queue."""

    item: T
    urgent: bool
    placement: bool
    deadline_ns: int
    queued_ns: int


class Throttle(Generic[T]):
    """The order calls of one account on their way out, in two lanes: urgent, then entries."""

    def __init__(
        self, limits: Limits, *, entries_max: int = ENTRIES_MAX, urgent_max: int = URGENT_MAX
    ) -> None:
        self._limits = limits
        self._windows = [Window(w) for w in limits.order_windows]
        self._urgent: deque[Waiting[T]] = deque()
        self._entries: deque[Waiting[T]] = deque()
        self._entries_max, self._urgent_max = entries_max, urgent_max
        self._entry_day = int(limits.orders_per_day * limits.entry_share_of_day)
        self._cool_until_ns = -(2**63)
        self._last_ns = -(2**63)
        self.placed_today = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._entries)

    def offer(self, item: T, now_ns: int, *, urgent: bool, placement: bool, deadline_ns: int) -> str:
        """Queue a call; returns why it cannot be taken in, empty when it is.

        `deadline_ns` binds entries only.
        """
        lane, most = (self._urgent, self._urgent_max) if urgent else (self._entries, self._entries_max)
        if len(lane) >= most:
            return f"{len(lane)} calls wait >= {most}"
        if placement and self.placed_today >= (self._limits.orders_per_day if urgent else self._entry_day):
            return f"{self.placed_today} orders today: {'day cap' if urgent else 'the rest is for exits'}"
        lane.append(Waiting(item, urgent, placement, deadline_ns, now_ns))
        self.placed_today += placement
        return ""

    def expired(self, now_ns: int) -> list[T]:
        """Entries whose deadline has passed; they leave the queue."""
        late = [w for w in self._entries if w.deadline_ns <= now_ns]
        return self._drop(late) if late else []

    def take(self, now_ns: int) -> Waiting[T] | None:
        """The next call that may leave now; the windows count it as sent from here on."""
        for lane in (self._urgent, self._entries):
            if lane and self._free_at(now_ns, lane[0]) <= now_ns:
                waiting = lane.popleft()
                self._count(now_ns, waiting)
                return waiting
        return None

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
            self._entries = deque(w for w in self._entries if id(w) not in gone)
            self._urgent = deque(w for w in self._urgent if id(w) not in gone)
            self.placed_today -= sum(w.placement for w in dropped)
        return [w.item for w in dropped]

    def cool_down(self, now_ns: int) -> None:
        """The broker answered 429: entries wait out the cool-down, urgent calls pass singly."""
        self._cool_until_ns = now_ns + round(self._limits.cooldown_after_429_s * NS_PER_S)

    def recall(self, at_ns: int, urgent: bool) -> None:
        """A call that an earlier process sent; older ones first."""
        for window in self._windows:
            window.record(at_ns, urgent)
        self._last_ns = at_ns

    def next_ns(self, now_ns: int) -> int | None:
        """When something happens here next: a call may leave or a deadline passes; None: empty."""
        times = [self._free_at(now_ns, lane[0]) for lane in (self._urgent, self._entries) if lane]
        times += [w.deadline_ns for w in self._entries]
        return max(now_ns, min(times)) if times else None

    def _free_at(self, now_ns: int, waiting: Waiting[T]) -> int:
        at = now_ns
        for window in self._windows:
            at = max(at, window.free_at(now_ns, waiting.urgent))
        if at < self._cool_until_ns:
            if not waiting.urgent:
                return self._cool_until_ns
            gap = round(self._limits.cooldown_urgent_gap_s * NS_PER_S)
            return max(at, min(self._last_ns + gap, self._cool_until_ns))
        return at

    def _count(self, now_ns: int, waiting: Waiting[T]) -> None:
        for window in self._windows:
            window.record(now_ns, waiting.urgent)
        self._last_ns = now_ns


class EgressGate:
    """Counts order calls where they leave, and that no order is placed twice.

    Keeps the times of the last `calls` calls of each window in a ring: a call is one too many when
    the one `calls` places before it is younger than the window.
    """

    def __init__(self, windows: tuple[RateWindow, ...]) -> None:
        self._rings: list[tuple[int, list[int]]] = [
            (round(w.window_s * NS_PER_S), [-(2**63)] * w.calls) for w in windows
        ]
        self._calls = 0
        self._placed: set[str] = set()

    def recall(self, at_ns: int) -> None:
        """A call that an earlier process sent; older ones first."""
        for _, ring in self._rings:
            ring[self._calls % len(ring)] = at_ns
        self._calls += 1

    def recall_tags(self, tags: Iterable[str]) -> None:
        """Orders that an earlier process placed."""
        self._placed.update(tags)

    def refuses(self, now_ns: int, placed_tag: str = "") -> str:
        """Why this call must not leave; empty: it may, and is counted."""
        if placed_tag and placed_tag in self._placed:
            return f"order {placed_tag} would be placed a second time"
        for span_ns, ring in self._rings:
            oldest = ring[self._calls % len(ring)]
            if now_ns - oldest < span_ns:
                return f"more than {len(ring)} order calls in {span_ns / NS_PER_S} s"
        for _, ring in self._rings:
            ring[self._calls % len(ring)] = now_ns
        self._calls += 1
        if placed_tag:
            self._placed.add(placed_tag)
        return ""
