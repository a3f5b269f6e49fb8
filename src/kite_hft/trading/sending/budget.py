"""Layer 2, orders process, hot: the one budget out of which every call to the broker is paid.

Pure: times are CLOCK_MONOTONIC ns handed in. Windows are data (Limits). Three kinds of calls share
them: urgent ones (cancels, exits), entries (orders and modifications that open), reads of the
broker's books. The last `reserved` calls of a window are for urgent ones, whoever made those before
them: an urgent call never waits while fewer than `reserved` of its kind have left in a window. Reads
get at most `reads` of it, and only what the others leave: the throttle is asked first. A read that
order calls have kept waiting for `read_wait_s` holds the next place of the shared windows, so that
look-ups go on in a storm. Relief is a call beside orders that takes risk away or protects (the deletion of
a trigger at the broker): it has an urgent call's places, and counts with the broker among the reads. Where
triggers are order calls to him theirs are paid as such (asides.py), and are no reads of either kind.

A window keeps rings of the times at which the places of its newest calls are free again: the oldest
entry of a full ring is the answer, and nothing is ever searched or thrown out. Spans are longer than
told by DRIFT, for two clocks that are being slewed run apart (500 ppm each, adjtimex(2)).

A call stands in its windows where its bytes left, however long it took from the decision to there: it is
counted at the decision and put, once it is written, at a clock read after that (`written`, `read_written`;
one that waited meanwhile: `moved`, `read_moved`). Who asks whether another fits may read the clock before
he writes: places only grow free with time. So n calls of a window never lie closer than its span at the
socket.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from kite_hft._lanes import BudgetState, RingState
from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.units import NS_PER_S

DRIFT: Final = 0.001
NEVER_NS: Final = 2**62
_LONG_AGO_NS: Final = -(2**62)


class ReadKind(enum.Enum):
    """Which of the broker's windows a read counts in, besides the shared ones."""

    OTHER = "other"  # books, positions, margins, triggers
    RELIEF = "relief"  # of these what is urgent: it waits for no read
    QUOTE = "quote"
    HISTORICAL = "historical"


class Ring(RingState):
    """The newest `n` calls: when is the place of each free again?"""

    __slots__ = ()
    times: list[int]

    def __init__(self, n: int, span_ns: int) -> None:
        self.n, self.span_ns = n, span_ns
        self.times, self.at = [_LONG_AGO_NS] * n, 0

    def free_ns(self) -> int:
        """From when on one more call fits."""
        return self.times[self.at]

    def second_ns(self) -> int:
        """From when on two more fit; with a single place: one."""
        return self.times[(self.at + 1) % self.n]

    def move(self, from_ns: int, to_ns: int | None) -> None:
        """A call counted at `from_ns` leaves only at `to_ns`; None: never. Each place still serves one call
        per span.
        """
        told = from_ns + self.span_ns
        if told in self.times:
            self.times[self.times.index(told)] = _LONG_AGO_NS if to_ns is None else to_ns + self.span_ns
            self.hold(sorted(self.times))

    def hold(self, times: list[int]) -> None:
        """So many places are free from these times on, the earliest first."""
        self.times[self.at :] = times[: self.n - self.at]
        self.times[: self.at] = times[self.n - self.at :]


def span_ns_of(window: RateWindow) -> int:
    """For how long a call takes a place of `window`."""
    return round(window.window_s * (1 + DRIFT) * NS_PER_S)


def _rings(windows: Iterable[RateWindow], part: str) -> list[Ring]:
    """One ring a window: of all its places, of those that are not reserved ("open"), or of its reads."""
    made = []
    for window in windows:
        places = {"all": window.calls, "open": window.calls - window.reserved, "reads": window.reads}[part]
        if places:
            made.append(Ring(places, span_ns_of(window)))
    return made


def implied(window: RateWindow, by: RateWindow) -> bool:
    """Whether calls that keep `by` keep `window` as well."""
    return (
        by.window_s >= window.window_s
        and by.calls <= window.calls
        and by.calls - by.reserved <= window.calls - window.reserved
    )


class Budget(BudgetState):
    """All windows of one account, and from when on each kind of call may leave.

    urgent_free_ns, entry_free_ns: of order calls. hold_ns: from then on the next place of the shared
    windows is a read's.
    """

    def __init__(self, limits: Limits) -> None:
        shared = limits.all_windows
        orders = [w for w in limits.order_windows if not any(implied(w, by) for by in shared)]
        opens = [w.calls > w.reserved for w in (*shared, *orders)]
        kinds = {
            ReadKind.OTHER: limits.other_windows,
            ReadKind.QUOTE: limits.quote_windows,
            ReadKind.HISTORICAL: limits.historical_windows,
        }
        self._shared_all, self._shared_open = _rings(shared, "all"), _rings(shared, "open")
        self._all = [*self._shared_all, *_rings(orders, "all")]
        self._open = [*self._shared_open, *_rings(orders, "open")]
        self._rings = [*self._all, *self._open]
        parts = iter(self._open)
        self._pairs = [
            (whole, next(parts) if open_ else None) for whole, open_ in zip(self._all, opens, strict=True)
        ]
        self._single = any(ring.n == 1 for ring in self._rings)
        self._reads = _rings(shared, "reads")
        self._of_kind = {kind: _rings(windows, "all") for kind, windows in kinds.items()}
        kept = [w.reserved > 0 for w in limits.other_windows]
        self._others_open = _rings([w for w in limits.other_windows if w.reserved], "open")
        self._others_read = _rings(limits.other_windows, "open")  # of reads alone
        parts = iter(self._others_open)
        self._other_pairs = [
            (whole, next(parts) if open_ else None)
            for whole, open_ in zip(self._of_kind[ReadKind.OTHER], kept, strict=True)
        ]
        self._read_wait_ns = round(limits.read_wait_s * NS_PER_S)
        every = [*limits.order_windows, *shared, *(w for windows in kinds.values() for w in windows)]
        spans_ns = [span_ns_of(w) for w in every]
        self.longest_ns, self.shortest_ns = max(spans_ns, default=0), min(spans_ns, default=NEVER_NS)
        self.urgent_free_ns = self.entry_free_ns = _LONG_AGO_NS
        self.hold_ns = NEVER_NS
        self.last_read = ReadKind.OTHER  # the kind of the newest read

    # Order calls

    def left(self, now_ns: int) -> None:
        """An order call leaves."""
        free_ns, found = _LONG_AGO_NS, []
        for rings in (self._all, self._open):  # as `_add`, written out: each order passes here
            for ring in rings:
                times, at = ring.times, ring.at
                times[at] = now_ns + ring.span_ns
                ring.at = at = at + 1 if at + 1 < ring.n else 0
                if times[at] > free_ns:
                    free_ns = times[at]
            found.append(free_ns)
        self.urgent_free_ns, self.entry_free_ns = found

    def written(self, after_ns: int) -> None:
        """Its bytes have left only now: what is counted is never earlier than what was done."""
        for ring in self._rings:
            ring.times[ring.at - 1] = after_ns + ring.span_ns
        if self._single:  # else the newest call is not the one whose place is free next
            self._look()

    def moved(self, from_ns: int, to_ns: int | None) -> None:
        """An order call that was counted at `from_ns` was held back, and leaves only at `to_ns`; None: it was
        dropped, and never will.
        """
        self._move(self._pairs, from_ns, to_ns)

    def _move(self, pairs: list[tuple[Ring, Ring | None]], from_ns: int, to_ns: int | None) -> None:
        for whole, part in pairs:
            whole.move(from_ns, to_ns)
            if part is not None:  # an urgent call may have taken a place in it that was not free: that is
                part.hold(sorted(whole.times)[-part.n :])  # told by the ring that knows all calls
        self._look()

    def _look(self) -> None:
        self.urgent_free_ns = _latest(self._all)
        self.entry_free_ns = max(self.urgent_free_ns, _latest(self._open))

    def behind_read_ns(self, urgent: bool) -> int:
        """From when on an order call may leave and still leave a shared place to a read."""
        rings = self._shared_all if urgent else (*self._shared_all, *self._shared_open)
        return max((ring.second_ns() for ring in rings), default=_LONG_AGO_NS)

    # Reads

    def read_free_ns(self, kind: ReadKind, now_ns: int, *, alone: bool = False) -> int:
        """From when on a read may leave; one that was kept waiting may use what is kept for urgent calls.

        alone: nobody else sends (the start): reads may have more than their part.
        """
        # Both rings: a call that was moved (it waited for the disk) stands out of its turn in either.
        at = max(_latest(self._shared_all), self._own_free_ns(kind))
        if kind is ReadKind.RELIEF:
            if now_ns < self.hold_ns:
                return at
            beside_ns = max((r.second_ns() for r in self._of_kind[ReadKind.OTHER]), default=at)
            return max(at, beside_ns, self.behind_read_ns(urgent=True))
        if now_ns < self.hold_ns:
            at = max(at, _latest(self._shared_open))
        return at if alone else max(at, _latest(self._reads))

    def read_look_ns(self, kind: ReadKind, now_ns: int, *, alone: bool = False) -> int:
        """When to ask again for a read: it may leave then, or begins to hold a place."""
        at = self.read_free_ns(kind, now_ns, alone=alone)
        return min(at, self.hold_ns) if now_ns < self.hold_ns else at

    def read_left(self, now_ns: int, kind: ReadKind) -> None:
        """A read leaves."""
        _add(self._rings_of(kind), now_ns)
        self.last_read = kind
        if kind is not ReadKind.RELIEF:  # else a read waits on
            self.hold_ns = NEVER_NS
        self._look()

    def read_written(self, after_ns: int) -> None:
        """As `written`, of the newest read."""
        for ring in self._rings_of(self.last_read):
            ring.times[ring.at - 1] = after_ns + ring.span_ns
        self._look()

    def read_moved(self, kind: ReadKind, from_ns: int, to_ns: int | None) -> None:
        """As `moved`, of a read."""
        own = self._other_pairs
        if kind in (ReadKind.QUOTE, ReadKind.HISTORICAL):
            own = [(ring, None) for ring in self._of_kind[kind]]
        reads = [] if kind is ReadKind.RELIEF else self._reads
        for ring in (*reads, *self._others_read) if kind is ReadKind.OTHER else reads:
            ring.move(from_ns, to_ns)
        self._move([*self._pairs[: len(self._shared_all)], *own], from_ns, to_ns)

    def _rings_of(self, kind: ReadKind) -> tuple[Ring, ...]:
        shared = (*self._shared_all, *self._shared_open)
        if kind is ReadKind.RELIEF:
            return (*shared, *self._of_kind[ReadKind.OTHER], *self._others_open)
        others = (*self._others_open, *self._others_read) if kind is ReadKind.OTHER else ()
        return (*shared, *self._reads, *self._of_kind[kind], *others)

    def _own_free_ns(self, kind: ReadKind) -> int:
        """From when on the broker's windows for such calls have a place."""
        if kind is ReadKind.RELIEF:
            return _latest(self._of_kind[ReadKind.OTHER])
        at = _latest(self._of_kind[kind])
        return max(at, _latest(self._others_open)) if kind is ReadKind.OTHER else at

    def read_waits(self, now_ns: int, kind: ReadKind) -> None:
        """A read is due and finds no place: when no reads are in its way, it will not be for ever."""
        own = self._others_read if kind is ReadKind.OTHER else self._of_kind[kind]
        if max(_latest(own), _latest(self._reads)) > now_ns:
            self.hold_ns = NEVER_NS
        elif self.hold_ns == NEVER_NS:
            self.hold_ns = now_ns + self._read_wait_ns

    def no_read_waits(self) -> None:
        """None is wanted any more."""
        self.hold_ns = NEVER_NS


def _add(rings: Iterable[Ring], now_ns: int) -> None:
    """Count a call in all of `rings`."""
    for ring in rings:
        ring.times[ring.at] = now_ns + ring.span_ns
        ring.at = (ring.at + 1) % ring.n


def _latest(rings: Iterable[Ring]) -> int:
    at = _LONG_AGO_NS
    for ring in rings:
        free_ns = ring.free_ns()
        if free_ns > at:
            at = free_ns
    return at
