"""Layer 2, orders process, cold: how far the machine's wall clock is off the broker's, by his answers' Date.

A Date header has whole seconds (RFC 9110, 6.6.1): when an answer was made the broker's clock stood at
`date` or up to a second behind it, and that was between the sending of its request and its receipt. Each
answer so gives two bounds of the skew, and all that are kept give the narrowest ones. Only what they prove
is told: a clock that may be right is right.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from kite_hft.trading.gate.facts import ClockWatch
from kite_hft.units import NS_PER_S

ROUND_TRIP_MAX_NS: Final = NS_PER_S // 2
"""An answer that took longer tells too little, and may lie in somebody's cache."""
ANSWERS_MIN: Final = 4
"""So many have to agree before anything is told: one machine of the broker's may be wrong."""
ANSWERS_MAX: Final = 16
KEPT_NS: Final = 120 * NS_PER_S
"""Older ones are forgotten: two clocks drift."""
SLACK_NS: Final = NS_PER_S // 100
"""The time of sending is read behind the call that sends."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Bounds(NamedTuple):
    """Of CLOCK_MONOTONIC against the broker's clock; `at_ns`: when the answer came."""

    at_ns: int
    least_ns: int
    most_ns: int


class BrokerClock:
    """The estimate, from the answers of the last two minutes. `watch` is told while the clock is off."""

    def __init__(self, mono_ns: Callable[[], int], real_ns: Callable[[], int], watch: ClockWatch) -> None:
        self._mono_ns, self._real_ns, self._watch = mono_ns, real_ns, watch
        self._kept: deque[_Bounds] = deque(maxlen=ANSWERS_MAX)
        self._last: tuple[bytes, int | None] = (b"", None)

    def answered(self, date: bytes, sent_ns: int, received_ns: int) -> None:
        """An answer with this Date header; times are CLOCK_MONOTONIC ns. An unreadable one tells nothing."""
        if date != self._last[0]:
            self._last = date, date_ns(date)
        at_ns = self._last[1]
        if at_ns is None or not 0 < sent_ns <= received_ns <= sent_ns + ROUND_TRIP_MAX_NS:
            return
        least_ns = sent_ns - SLACK_NS - (at_ns + NS_PER_S)
        self._kept.append(_Bounds(received_ns, least_ns, received_ns - at_ns))
        while self._kept[0].at_ns < received_ns - KEPT_NS:
            self._kept.popleft()
        off = abs(self.skew_ns() or 0) > self._watch.most_ns
        self._watch.skew_ns = self.skew_ns if off else None

    def skew_ns(self) -> int | None:
        """By so much, at least, the wall clock is ahead of the broker's (below 0: behind); 0: it may be
        right. None: too few answers to say, or none for two minutes.

        Where answers contradict one another (machines that differ, a Date that was made a second before)
        the truth may be anywhere between them.
        """
        now_ns = self._mono_ns()
        kept = [bounds for bounds in self._kept if now_ns - bounds.at_ns <= KEPT_NS]
        if len(kept) < ANSWERS_MIN:
            return None
        ahead_ns = self._real_ns() - now_ns
        least_ns = max(bounds.least_ns for bounds in kept) + ahead_ns
        most_ns = min(bounds.most_ns for bounds in kept) + ahead_ns
        least_ns, most_ns = min(least_ns, most_ns), max(least_ns, most_ns)
        return max(least_ns, 0) or min(most_ns, 0)


def date_ns(date: bytes) -> int | None:
    """CLOCK_REALTIME ns of an IMF-fixdate (`Sun, 06 Nov 1994 08:49:37 GMT`); None: it is none."""
    try:
        words = date.decode("ascii").split()
        day, month, year = int(words[1]), _MONTHS.index(words[2]) + 1, int(words[3])
        hour, minute, second = (int(part) for part in words[4].split(":"))
        if words[5:] != ["GMT"]:
            return None
        when = dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=dt.UTC)
        return int(when.timestamp()) * NS_PER_S
    except (ValueError, IndexError):
        return None
