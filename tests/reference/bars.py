"""Slow twin of the bars in ext/kernels.h: messages of one instrument, grouped by period.

The rules: a message counts inside the session only; the first one only sets the volume baseline;
it counts if its day volume exceeds the highest so far and adds the difference; where there is no
day volume every message counts and adds 0; older than the open second: late, changes nothing.
A message before the session sets the baseline. Until a day volume has counted the baseline may be of
the day before, so a lower one takes its place; from then on it is this day's, and nothing lowers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

SECOND_NS = 1_000_000_000


class Message(NamedTuple):
    time_ns: int
    px: int
    volume: int | None  # of the day; None: the message carries none


class Bar(NamedTuple):
    start_ns: int
    open_px: int
    high_px: int
    low_px: int
    close_px: int
    volume: int
    ticks: int


def counted(
    messages: Iterable[Message], open_ns: int, close_ns: int
) -> tuple[list[tuple[int, int, int]], int]:
    """([(time_ns, px, added volume)] of the messages that count, how many were late)."""
    taken: list[tuple[int, int, int]] = []
    guessed: int | None = None  # what the day began with, while nothing has proved it
    proved: int | None = None  # the volume that counted last: no other of this day can be below
    late = 0
    for time_ns, px, volume in messages:
        if px <= 0 or time_ns >= close_ns:
            continue
        if time_ns < open_ns:
            if volume is not None:
                guessed = volume
            continue
        if volume is not None and proved is None and guessed is None:
            guessed = volume
            continue
        if taken and time_ns < taken[-1][0] // SECOND_NS * SECOND_NS:
            late += 1
            continue
        if volume is None:
            taken.append((time_ns, px, 0))
            continue
        before = guessed if proved is None else proved
        assert before is not None
        if volume > before:
            taken.append((time_ns, px, volume - before))
            proved = volume
        elif proved is None:
            guessed = min(before, volume)
    return taken, late


def bars(taken: Sequence[tuple[int, int, int]], period_s: int, open_ns: int = 0) -> list[Bar]:
    """Bars of one period, counted from the session's open; the last one may be unfinished."""
    groups: dict[int, list[tuple[int, int, int]]] = {}
    for row in taken:
        groups.setdefault((row[0] - open_ns) // (period_s * SECOND_NS), []).append(row)
    made = []
    for number, rows in sorted(groups.items()):
        prices = [px for _, px, _ in rows]
        start = open_ns + number * period_s * SECOND_NS
        added = sum(volume for _, _, volume in rows)
        made.append(Bar(start, prices[0], max(prices), min(prices), prices[-1], added, len(rows)))
    return made
