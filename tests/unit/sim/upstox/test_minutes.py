"""The last whole minute against a plain count of the ticks before it."""

from __future__ import annotations

import numpy as np

from kite_hft.layout import TICK
from kite_hft.sim.upstox.minutes import MINUTE_NS, MinuteBars

START = 29_429_500 * MINUTE_NS


def ticks(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    """(slot, second, price, day volume) each."""
    made = np.zeros(len(rows), TICK)
    for row, (slot, second, px, volume) in zip(made, rows, strict=True):
        row["slot"], row["exch_ns"], row["last_px"], row["volume"] = slot, START + second * 10**9, px, volume
    return made


def plain(rows: list[tuple[int, int, int, int]], slot: int, minute: int) -> tuple[int, ...] | None:
    """The newest bar of a slot before a minute: (minute, open, high, low, close, volume)."""
    mine = [(s // 60, px, v) for at, s, px, v in rows if at == slot]
    past = [m for m, _, _ in mine if m < minute]
    if not past:
        return None
    last = max(past)
    prices = [px for m, px, _ in mine if m == last]
    before = [v for m, _, v in mine if m < last] or [next(v for m, _, v in mine)]
    volume = max(v for m, _, v in mine if m <= last) - max(before)
    return last, prices[0], max(prices), min(prices), prices[-1], volume


def test_bars_as_counted_plainly_in_any_batches() -> None:
    rng = np.random.default_rng(5)
    volumes = [100, 0, 5000]
    rows = []
    for second in np.sort(rng.integers(0, 600, 400)).tolist():
        slot = int(rng.integers(0, 3))
        volumes[slot] += int(rng.integers(0, 50))
        rows.append((slot, second, int(rng.integers(900, 1100)), volumes[slot]))
    for size in (1, 7, 400):
        bars = MinuteBars(4)
        for at in range(0, len(rows), size):
            part = rows[at : at + size]
            bars.see(ticks(part))
            minute = part[-1][1] // 60
            whole = bars.whole(np.arange(4), np.full(4, START // MINUTE_NS + minute))
            for slot, bar in enumerate(whole):
                wanted = plain(rows[: at + len(part)], slot, minute)
                if wanted is None:
                    assert bar["minute"] == -1
                else:
                    assert (bar["minute"] - START // MINUTE_NS, *bar.tolist()[1:]) == wanted


def test_a_late_look_still_gets_the_minute_before() -> None:
    bars = MinuteBars(1)
    rows = [(0, 0, 10, 1), (0, 60, 20, 2), (0, 120, 30, 3)]
    bars.see(ticks(rows))
    first = START // MINUTE_NS
    assert bars.whole(np.array([0]), np.array([first + 1]))["close"].tolist() == [10]
    assert bars.whole(np.array([0]), np.array([first + 2]))["close"].tolist() == [20]
    assert bars.whole(np.array([0]), np.array([first + 9]))["close"].tolist() == [30]
