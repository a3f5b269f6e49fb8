"""The slow, obvious rule of which of two feeds' ticks counts. Standard library only; nothing of the product.

`taken(ticks, hold_ns)`: ticks as (slot, connection, exchange time in ns, time of receipt in ns), in the order
in which they were drained -> whether each of them is taken.
"""

from __future__ import annotations

Tick = tuple[int, int, int, int]


def taken(ticks: list[Tick], hold_ns: int) -> list[bool]:
    answers: list[bool] = []
    for at, (slot, connection, exch_ns, recv_ns) in enumerate(ticks):
        before = [tick for tick, yes in zip(ticks[:at], answers, strict=True) if yes and tick[0] == slot]
        if not before:
            answers.append(True)
            continue
        leader = before[-1][1]
        reign: list[Tick] = []  # what was taken since this feed leads
        for tick in reversed(before):
            if tick[1] != leader:
                break
            reign.append(tick)
        newest_second = max(tick[2] // 10**9 for tick in reign)
        later = exch_ns // 10**9 > newest_second
        quiet = recv_ns - before[-1][3] >= hold_ns
        answers.append(connection == leader or later or quiet)
    return answers
