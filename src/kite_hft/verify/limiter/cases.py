"""Layer 6, by hand or CI, cold: one day of `verify limiter`: drawn arrivals through the real throttle.

A case is a function of (seed, number): broker, pattern of arrivals, mix of kinds, patience of
entries, slowness of the process, stalls of it between a decision and the write, and the way to the server.
Time is virtual. The engine's own
Throttle and Budget decide; this file offers calls, lets time pass from one due time to the next, and
keeps when each call left.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.trading.broker import Limits
from kite_hft.trading.sending.budget import Budget, ReadKind, span_ns_of
from kite_hft.trading.sending.throttle import Throttle
from kite_hft.verify.limiter.server import GRANTED, SECOND, Times, arrived, ideal, most_sliding, over

ARRIVALS: Final = 20_000
DAY_NS: Final = 22_500 * SECOND
PATTERNS: Final = ("steady", "poisson", "bursts", "edges", "storm")
ENTRY, CHANGE, EXIT, CANCEL, READ, RELIEVE = range(6)
"""RELIEVE: the deletion of a trigger, an urgent call that the broker counts among the reads."""
OTHER: Final = ReadKind.OTHER
RELIEF: Final = ReadKind.RELIEF
STALLS_MS: Final = (30, 200, 400, 900, 1300, 3000)
STALLED_CALLS: Final = 0.004
"""So many of a stalled process's calls are written that much later than they were decided, at most."""
JITTER_NS: Final = SECOND // 4
NEVER: Final = 2**62
Kinds = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Case:
    """What was drawn. Times in ns."""

    number: int
    broker: str
    pattern: str
    rate: float  # arrivals per second
    shares: tuple[float, ...]  # of ENTRY, CHANGE, EXIT, CANCEL, READ, RELIEVE
    patience_ns: int
    slow_ns: int  # from the decision to the bytes on their way, at most
    offset_ns: int  # the server's clock minus ours
    drift_ppm: float
    jitter_ns: int
    edge: bool
    placed: int  # before the case began
    stalls: bool


@dataclass
class Outcome:
    """What came of a case. sent: order calls; waits in ns, of urgent calls that left."""

    case: Case
    wrong: list[str] = field(default_factory=list)
    arrivals: int = 0
    sent: int = 0
    reads: int = 0
    ideal: int = 0
    demand: int = 0
    urgent: int = 0  # cancels and exits that left
    prompt: int = 0  # of them: came while kept places were free, and left at once
    worst_exit_ns: int = 0
    worst_exit_ahead: int = 0
    worst_single_ns: int = 0  # of urgent calls with none before them in the lane
    worst_read_ns: int = 0
    busiest: dict[str, int] = field(default_factory=dict)


def draw_case(seed: int, number: int, brokers: tuple[str, ...]) -> tuple[Case, np.random.Generator]:
    """Case `number` of `seed`, and its source of randomness."""
    draw = np.random.default_rng((seed, number))
    weights = draw.dirichlet(np.where(draw.random(6) < 0.3, 0.02, 1.0))
    if draw.random() < 0.5:  # exits are few, as they should be
        weights[[EXIT, CANCEL]] *= 0.02
    weights[RELIEVE] *= 0.1
    weights /= weights.sum()
    case = Case(
        number=number,
        broker=brokers[number % len(brokers)],
        pattern=PATTERNS[number // len(brokers) % len(PATTERNS)],
        rate=float(np.exp(draw.uniform(np.log(0.9), np.log(40.0)))),
        shares=tuple(float(w) for w in weights),
        patience_ns=int(draw.choice([SECOND // 5, SECOND, 3 * SECOND, 30 * SECOND, 120 * SECOND])),
        slow_ns=int(draw.choice([0, 20_000, 3_000_000])),
        offset_ns=int(draw.integers(-3600 * SECOND, 3600 * SECOND)),
        drift_ppm=float(draw.uniform(-500, 500)),
        jitter_ns=int(draw.choice([0, JITTER_NS // 4, JITTER_NS, JITTER_NS])),
        edge=bool(draw.random() < 0.5),
        placed=int(draw.choice([0, 0, 0, 1500, 4300])),
        stalls=number % 3 > 0,
    )
    return case, draw


def arrivals(case: Case, n: int, draw: np.random.Generator) -> tuple[Times, Kinds]:
    """When calls are wished, sorted, and of which kind; shapes (n,)."""
    kinds = draw.choice(6, n, p=np.array(case.shares)).astype(np.int8)
    mean_ns = SECOND / case.rate
    if case.pattern == "steady":
        at = np.arange(n) * mean_ns
    elif case.pattern == "poisson":
        at = np.cumsum(draw.exponential(mean_ns, n))
    elif case.pattern == "bursts":
        size = int(draw.integers(2, 60))
        at = np.cumsum(np.where(np.arange(n) % size == 0, draw.exponential(mean_ns * size, n), 1000.0))
    elif case.pattern == "edges":  # just before and just behind the server's calendar seconds and minutes
        size = int(draw.integers(2, 24))
        edge = np.arange(n) // size * np.ceil(size / case.rate) * SECOND
        spread = draw.choice([-300, -250, -2, 0, 1, 10, 750, 995], n) * 1_000_000
        at = np.sort(edge + SECOND + spread - case.offset_ns % SECOND)
    else:  # quiet, then everything at once
        size = n // 8
        at = np.cumsum(np.where(np.arange(n) % size == 0, mean_ns * size, draw.exponential(mean_ns / 20, n)))
    times = 10 * SECOND + np.floor(at - at[0]).astype(np.int64)
    keep = times < DAY_NS
    return times[keep], kinds[keep]


def bound_ns(limits: Limits, ahead: int, slow_ns: int) -> int:
    """The longest that an urgent call may wait with `ahead` urgent ones in its lane, itself counted.

    While one waits, each span of a window sees at least `reserved` urgent calls leave, or the lane run
    empty: entries never take more than the rest. In shared windows a read may hold one place of them.
    Windows bind one after another at worst, so their waits add up.
    """
    total = 0
    for windows, held in ((limits.all_windows, 1), (limits.order_windows, 0)):
        for window in windows:
            total += -(-ahead // max(1, window.reserved - held)) * span_ns_of(window)
    return total + 4 * ahead * slow_ns


def run_case(seed: int, number: int, tables: dict[str, Limits], n: int = ARRIVALS) -> Outcome:
    """Drive one case and judge it."""
    case, draw = draw_case(seed, number, tuple(tables))
    limits = tables[case.broker]
    at, kinds = arrivals(case, n, draw)
    found = Outcome(case, arrivals=len(at))
    drive = Drive(case, limits, found, draw)
    drive.run(at.tolist(), kinds.tolist())
    judge(case, limits, found, drive, at, kinds, draw)
    return found


class Drive:
    """The process: a loop that wakes when something arrives or is due."""

    def __init__(self, case: Case, limits: Limits, found: Outcome, draw: np.random.Generator) -> None:
        self.budget = Budget(limits)
        self.throttle: Throttle[tuple[int, int, int]] = Throttle(limits, self.budget)
        self.throttle.placed_today = case.placed
        self._case, self._found, self._limits = case, found, limits
        self._slow = draw.integers(0, case.slow_ns + 1, 4096).tolist() if case.slow_ns else []
        self._stalls = _stalls(case)
        self._stalled = 0  # ns in all
        self.orders: list[int] = []  # when order calls left
        self.reads: list[int] = []  # and those that the broker counts with reads
        self._reliefs: deque[tuple[int, int, int]] = deque()  # when it came, the same without stalls, mark
        self.placements = case.placed
        self._read_since = NEVER  # a read is wanted since
        self._now = self._ahead = 0
        self._urgent_at: list[int] = []  # when urgent calls left
        self._kept = [(w.reserved, span_ns_of(w)) for w in limits.order_windows]
        self._kept += [(max(1, w.reserved - 1), span_ns_of(w)) for w in limits.all_windows]
        self._relief_at: list[int] = []  # when reliefs left, which the broker counts among the reads
        self._kept_relief = [(w.reserved, span_ns_of(w)) for w in limits.other_windows if w.reserved]

    def run(self, at: list[int], kinds: list[int]) -> None:
        """All arrivals; what still waits when the last has come stays unsent."""
        throttle, patience = self.throttle, self._case.patience_ns
        urgent_lane: list[bool] = [False, False, True, True, False]
        wake = NEVER
        for time_ns, kind in zip(at, kinds, strict=True):
            while wake < time_ns:
                wake = self._step(max(wake, self._now))
            now = max(time_ns, self._now)
            if kind == READ:
                if self._read_since == NEVER:
                    self._read_since = now - self._stalled
            elif kind == RELIEVE:
                self._ahead += 1
                kept = self._ahead == 1 and self._kept_free(now, 1)
                kept = kept and _few(self._relief_at, self._kept_relief, now)
                mark = -self._ahead if kept else self._ahead
                self._reliefs.append((now, now - self._stalled, mark))
            else:
                urgent = urgent_lane[kind]
                ahead = self._ahead + 1
                mark = -ahead if urgent and self._kept_free(now) else ahead
                denied = throttle.offer(
                    (now - self._stalled, kind, mark), now, urgent=urgent, placement=kind in (ENTRY, EXIT),
                    deadline_ns=now + patience,
                )  # fmt: skip
                if urgent and denied is None:
                    self._ahead = ahead
            wake = self._step(now)

    def _step(self, now: int) -> int:
        """What may leave leaves; returns when to look again."""
        throttle, orders = self.throttle, self.orders
        throttle.expired(now)
        now = self._relieve(now, throttle.urgent_since_ns)
        while (waiting := throttle.take(now)) is not None:
            if self._slow:
                now += self._slow[len(orders) & 4095]
            now = self._stall(now)
            self.budget.written(now)
            orders.append(now)
            offered, kind, ahead = waiting.item
            self.placements += kind in (ENTRY, EXIT)
            if waiting.urgent:
                self._ahead -= 1
                self._urgent_left(now - self._stalled - offered, now, ahead)
        now = self._relieve(now, NEVER)
        read = self._read(now) if self._read_since != NEVER else NEVER
        now = self._now = max(now, self._now)
        due = throttle.next_ns(now)
        if self._reliefs:
            read = min(read, max(now, self.budget.read_free_ns(RELIEF, now)))
        return min(NEVER if due is None else due, read)

    def _relieve(self, now: int, before: int) -> int:
        """Deletions that came before `before`, as the order stage sends them; returns the time then."""
        budget, reliefs = self.budget, self._reliefs
        while reliefs and reliefs[0][0] < before and budget.read_free_ns(RELIEF, now) <= now:
            _, offered, ahead = reliefs.popleft()
            budget.read_left(now, RELIEF)
            now = self._stall(now)
            budget.read_written(now)
            self.reads.append(now)
            self._ahead -= 1
            self._relief_at.append(now)
            self._urgent_left(now - self._stalled - offered, now, ahead)
        return now

    def _stall(self, now: int) -> int:
        """The process may stand still before it writes; waits are judged without that time."""
        stall = self._stalls[(len(self.orders) + len(self.reads)) & 65535] if self._stalls else 0
        self._stalled += stall
        return now + stall

    def _kept_free(self, now: int, waiting: int = 0) -> bool:
        """Whether fewer urgent calls than are kept places have left in every window, and none waits but for
        `waiting`.
        """
        return self._ahead <= waiting and _few(self._urgent_at, self._kept, now)

    def _urgent_left(self, wait: int, now: int, ahead: int) -> None:
        found = self._found
        self._urgent_at.append(now)
        found.urgent += 1
        if ahead < 0:
            ahead = -ahead
            found.prompt += 1
            if wait > self._case.slow_ns:
                found.wrong.append(f"an exit waited {wait / SECOND:.6f} s, and kept places were free")
        if wait > found.worst_exit_ns:
            found.worst_exit_ns, found.worst_exit_ahead = wait, ahead
        if ahead == 1 and wait > found.worst_single_ns:
            found.worst_single_ns = wait
        if wait and wait > bound_ns(self._limits, ahead, self._case.slow_ns):
            found.wrong.append(f"an exit with {ahead} in its lane waited {wait / SECOND:.3f} s")

    def _read(self, now: int) -> int:
        """The read that is wanted: it leaves, or waits for its place; returns when to look again."""
        budget = self.budget
        if budget.read_free_ns(OTHER, now) > now:
            budget.read_waits(now, OTHER)
            return budget.read_look_ns(OTHER, now)
        budget.read_left(now, OTHER)
        self._found.worst_read_ns = max(self._found.worst_read_ns, now - self._stalled - self._read_since)
        now = self._now = self._stall(now)
        budget.read_written(now)
        self.reads.append(now)
        self._read_since = NEVER
        return NEVER


def _few(left: list[int], kept: list[tuple[int, int]], now: int) -> bool:
    """Whether fewer than the kept places have `left` in every span."""
    return all(len(left) < places or left[-places] + span <= now for places, span in kept)


def _stalls(case: Case) -> list[int]:
    """How long the process stands still before each of its calls, in turn; of its own draw."""
    if not case.stalls:
        return []
    draw = np.random.default_rng((case.number, case.placed, case.offset_ns % SECOND))
    longest = draw.choice(STALLS_MS, 1 << 16) * 1_000_000
    rare = draw.random(1 << 16) < STALLED_CALLS
    found: list[int] = np.where(rare, np.floor(longest * draw.random(1 << 16)), 0).astype(np.int64).tolist()
    return found


def judge(
    case: Case,
    limits: Limits,
    found: Outcome,
    drive: Drive,
    at: Times,
    kinds: Kinds,
    draw: np.random.Generator,
) -> None:
    """Hold what left against the server, against our own promise, and against the ideal limiter."""
    granted = GRANTED[case.broker]
    orders, reads = np.array(drive.orders, np.int64), np.array(drive.reads, np.int64)
    way = (case.jitter_ns, case.offset_ns, case.drift_ppm, case.edge, draw)
    found.sent, found.reads = len(orders), len(reads)
    at_server, reads_at_server = np.sort(arrived(orders, *way)), np.sort(arrived(reads, *way))
    found.wrong += over(granted, at_server, reads_at_server, drive.placements)
    for seconds, _ in granted.orders:
        found.busiest[f"{seconds} s"] = most_sliding(at_server, seconds * SECOND)
    together = np.sort(np.concatenate((orders, reads)))
    for window in limits.all_windows:
        most = most_sliding(together, round(window.window_s * SECOND))
        found.busiest[f"all in {window.window_s} s"] = most
        if most > window.calls:
            found.wrong.append(
                f"{most} calls of all kinds in {window.window_s} s: {window.calls} are allowed"
            )
    if not kinds.size:
        return
    is_order = kinds < READ
    urgent = (kinds == EXIT) | (kinds == CANCEL)
    placement = (kinds == ENTRY) | (kinds == EXIT)
    found.demand = int(is_order.sum())
    found.ideal = ideal(
        granted, at[is_order], urgent[is_order], placement[is_order], at[is_order] + case.patience_ns,
        case.placed,
    )  # fmt: skip
    wait_ns = round(limits.read_wait_s * SECOND) + 2 * span_ns_of(limits.all_windows[0])
    if case.broker == "kite" and found.worst_read_ns > wait_ns + 10 * case.slow_ns:
        found.wrong.append(f"a read waited {found.worst_read_ns / SECOND:.3f} s")


def summary_of(found: Outcome) -> dict[str, Any]:
    """For the parent process: numbers only."""
    return {
        "number": found.case.number,
        "broker": found.case.broker,
        "pattern": found.case.pattern,
        "wrong": found.wrong[:3],
        "arrivals": found.arrivals,
        "sent": found.sent,
        "reads": found.reads,
        "ideal": found.ideal,
        "demand": found.demand,
        "urgent": found.urgent,
        "prompt": found.prompt,
        "worst_exit_ns": found.worst_exit_ns,
        "worst_exit_ahead": found.worst_exit_ahead,
        "worst_single_ns": found.worst_single_ns,
        "worst_read_ns": found.worst_read_ns,
        "busiest": found.busiest,
    }
