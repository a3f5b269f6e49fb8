"""The published two-state strategy over one series of prices, as plainly as it can be written.

Every order fills at once and at the last price; the rules are those of the script, tick by tick, with
its coin toss, its clock and its model left out. Standard library only.
"""

from __future__ import annotations

from collections import deque

from reference.kalman import Kalman2


def trades(
    prices: list[float],
    *,
    warmup: int = 100,
    width: float = 0.001,
    epsilon: float = 1e-10,
    sign: int = -1,
    stop_loss: float = 50.0,
    flatten_from: int | None = None,
) -> tuple[list[tuple[int, str, float]], list[tuple[float, float, float]]]:
    """(index of the tick, action, relative difference) of every trade; the last ten rows of features.

    flatten_from: from this tick on the market closes.
    """
    kalman, rows, entry = Kalman2(), deque(maxlen=10), None
    made = []
    for index, price in enumerate(prices):
        estimate, velocity = (round(x, 6) for x in kalman.update(price))
        rel = round((estimate - price) / price, 6)
        rows.append((estimate, velocity, rel))
        closing = flatten_from is not None and index >= flatten_from
        if entry is not None and closing:
            made.append((index, "EOD SELL", rel))
            entry = None
        elif entry is not None and price <= round(entry - stop_loss, 6):
            made.append((index, "STOPLOSS SELL", rel))
            entry = None
        elif entry is not None:
            if velocity > 0 and epsilon < -sign * rel < width - epsilon:
                made.append((index, "SELL", rel))
                entry = None
        elif closing or index + 1 < warmup or len(rows) < 10:
            continue
        elif velocity < 0 and epsilon < sign * rel < width - epsilon:
            made.append((index, "BUY", rel))
            entry = price
    return made, list(rows)
