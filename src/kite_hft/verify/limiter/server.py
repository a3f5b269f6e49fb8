"""Layer 6, by hand or CI, cold: the broker's side of `verify limiter`, written apart from the engine.

A broker counts requests by the calendar second, minute and half hour of its own clock, and
placements by the day; whether a window slides instead is not always said, so both are looked at. The
figures are the brokers' own (not those of config/rules, which leave room): shares no code with the
throttle.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
SECOND: Final = 1_000_000_000


@dataclass(frozen=True)
class Granted:
    """What a broker grants: (seconds, requests) of order calls and of reads; placements of a day."""

    orders: tuple[tuple[int, int], ...]
    reads: tuple[tuple[int, int], ...]
    placements: int


GRANTED: Final = {
    # kite.trade docs, exceptions page, 2026-07-14
    "kite": Granted(((1, 10), (60, 400)), ((1, 10),), 5000),
    # rate-limits page, copy of 2026-09-02; the day is our own cap
    "upstox": Granted(((1, 10), (60, 500), (1800, 2000)), ((1, 50), (60, 500), (1800, 2000)), 5000),
}


def most_in_calendar(times: Times, seconds: int) -> int:
    """Most of `times` that fall into one calendar window."""
    if not len(times):
        return 0
    return int(np.unique(times // (seconds * SECOND), return_counts=True)[1].max())


def most_sliding(times: Times, span_ns: int) -> int:
    """Most of the sorted `times` in any half-open window of `span_ns`."""
    if not len(times):
        return 0
    begins = np.searchsorted(times, times - span_ns, side="right")
    return int((np.arange(1, len(times) + 1) - begins).max())


def arrived(
    sent: Times, jitter_ns: int, offset_ns: int, drift_ppm: float, edge: bool, draw: np.random.Generator
) -> Times:
    """When calls sent at `sent` arrive, by the server's clock; in the order of `sent`.

    Each is under way for 0 to `jitter_ns`. edge: the network is an enemy: whatever can be held back
    until the next calendar second of the server is, and everything else comes at once.
    """
    own = sent + np.round(sent * (drift_ppm * 1e-6)).astype(np.int64) + offset_ns
    if not edge:
        return own + draw.integers(0, jitter_ns + 1, len(sent))
    to_edge = -own % SECOND
    return own + np.where(to_edge <= jitter_ns, to_edge, 0)


def over(granted: Granted, orders: Times, reads: Times, placements: int) -> list[str]:
    """Every limit of the broker that was passed."""
    wrong = []
    for name, times, windows in (("orders", orders, granted.orders), ("reads", reads, granted.reads)):
        ordered = np.sort(times)
        for seconds, most in windows:
            for how, found in (
                ("calendar", most_in_calendar(ordered, seconds)),
                ("sliding", most_sliding(ordered, seconds * SECOND)),
            ):
                if found > most:
                    wrong.append(f"{found} {name} in a {how} window of {seconds} s: {most} are granted")
    if placements > granted.placements:
        wrong.append(f"{placements} placements in a day: {granted.placements} are granted")
    return wrong


def ideal(granted: Granted, at: Times, urgent: Times, placement: Times, deadline: Times, placed: int) -> int:
    """How many of these order calls a limiter with perfect knowledge sends until the last has come.

    It knows the server's clock and the way's delay, keeps nothing back for exits, and is bound by the
    broker's windows alone. Calendar windows are laminar (a second lies in one minute, in one half hour),
    so sending whatever may go, urgent ones first and entries in the order of their deadlines, is the
    most that anybody can send; entries wait until their deadline, urgent calls for ever.
    """
    now = {seconds: -1 for seconds, _ in granted.orders}
    room = {seconds: 0 for seconds, _ in granted.orders}
    most = dict(granted.orders)
    waiting: tuple[deque[tuple[bool, int]], deque[tuple[bool, int]]] = (deque(), deque())
    sent = 0

    def free(second: int) -> int:
        for seconds in now:
            if now[seconds] != second // seconds:
                now[seconds], room[seconds] = second // seconds, most[seconds]
        return min(room.values())

    def send(time_ns: int) -> None:
        nonlocal sent, placed
        places = free(time_ns // SECOND)
        for lane in (waiting[1], waiting[0]):
            while places and lane:
                is_placement, until = lane.popleft()
                if until < time_ns or (is_placement and placed >= granted.placements):
                    continue
                placed += is_placement
                places -= 1
                sent += 1
                for seconds in room:
                    room[seconds] -= 1

    second = -1
    rows = zip(at.tolist(), urgent.tolist(), placement.tolist(), deadline.tolist(), strict=True)
    for time_ns, is_urgent, is_placement, until in rows:
        arriving = time_ns // SECOND
        while second < arriving and (waiting[0] or waiting[1]):
            second += 1
            send(second * SECOND)
            while waiting[0] and waiting[0][0][1] < second * SECOND:
                waiting[0].popleft()
        second = arriving
        waiting[is_urgent].append((is_placement, until if not is_urgent else 2**62))
        send(time_ns)
    return sent
