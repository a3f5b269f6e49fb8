"""Layer 4, simulator, hot: a seeded synthetic market that yields TICK records.

Every instrument ticks `rate` times a second, evenly spread: tick number k belongs to slot
k mod N and is due k / (N * rate) seconds after the start. The path depends only on the seed and
on k: never on how ticks are taken in batches, nor on orders.

Model of instrument i, in logarithms: deviation x (Ornstein-Uhlenbeck, one step per tick) plus
beta_i times a market factor F (the same process, one step per round of N ticks). Around that
mid-price stand five levels on the price grid; the last price bounces between bid and ask.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import TICK, TickFlag, TickKind
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.units import NS_PER_S

Ticks = npt.NDArray[np.void]
Times = npt.NDArray[np.int64]

TICK_VOLATILITY: Final = 4e-4
"""Standard deviation of one tick's own step: about 0.08 % against a 1-state Kalman filter of
gain 0.1, so that a deviation of 0.1 % is crossed every few ticks."""
REVERSION: Final = 0.02
FACTOR_VOLATILITY: Final = 1e-4
FACTOR_REVERSION: Final = 0.002
_UNIFORMS: Final = 24
"""Uniform draws per tick; a fixed number keeps the stream independent of batch borders."""

TRADED_FLAGS: Final = (
    TickFlag.TRADE | TickFlag.OHLC | TickFlag.DEPTH | TickFlag.OI
    | TickFlag.EXCHANGE_TIME | TickFlag.LAST_TRADE_TIME
)  # fmt: skip
INDEX_FLAGS: Final = TickFlag.OHLC | TickFlag.EXCHANGE_TIME | TickFlag.INDEX


class SyntheticMarket:
    """Source of ticks; `base_px` (int per slot, on the grid) is where each price starts."""

    def __init__(
        self,
        instruments: InstrumentTable,
        base_px: npt.NDArray[np.int64],
        rate: float,
        seed: int,
        start_ns: int,
    ) -> None:
        """`rate`: ticks per second and instrument; `start_ns`: exchange time of the first tick.

        Raises:
            ValueError: no instruments, a rate that is not positive, or a base price that leaves
                no room for five levels above zero.
        """
        n = len(instruments)
        if n == 0 or not rate > 0:
            raise ValueError("a market needs at least one instrument and a positive rate")
        self.instruments = instruments
        self.start_ns = start_ns
        self._n = n
        self._period_ns = NS_PER_S / (n * rate)
        self._taken = 0
        self._tick = np.array([max(r.tick_px, 1) for r in instruments], np.int64)
        self._lot = np.array([max(r.lot_size, 1) for r in instruments], np.int64)
        # Sizes on the book: whole lots, and tens of shares where the lot is one.
        self._crowd = np.where(self._lot == 1, 1200, 40)
        self._index = np.array([r.is_index for r in instruments])
        self._derivative = np.array([r.kind != "EQ" for r in instruments])
        self._base = np.asarray(base_px, np.int64)
        if len(self._base) != n or np.any(self._base < 40 * self._tick):
            raise ValueError("each instrument needs a base price of at least 40 price steps")
        streams = np.random.SeedSequence(seed).spawn(4)
        self._normals, self._uniforms, self._factors, setup = (np.random.default_rng(s) for s in streams)
        self._beta = setup.uniform(0.5, 1.5, n)
        self._deviation = np.zeros(n)
        self._factor = 0.0
        self._state = np.zeros(n, TICK)
        self._turnover = np.zeros(n)
        self._open(setup)

    def _open(self, setup: np.random.Generator) -> None:
        """The state before the first tick: yesterday's close and an opening book."""
        rows, base = self._state, self._base
        shift = setup.integers(-20, 21, self._n) * self._tick
        rows["slot"] = np.arange(self._n)
        rows["close_px"] = np.maximum(base + shift, self._tick)
        rows["kind"] = np.where(self._index, int(TickKind.INDEX_FULL), int(TickKind.FULL))
        rows["flags"] = np.where(self._index, int(INDEX_FLAGS), int(TRADED_FLAGS))
        rows["oi"] = np.where(self._derivative, self._lot * setup.integers(1_000, 20_000, self._n), 0)
        rows["oi_day_high"] = rows["oi"]
        rows["oi_day_low"] = rows["oi"]
        rows["exch_ns"] = self.start_ns // NS_PER_S * NS_PER_S
        rows["last_trade_s"] = np.where(self._index, 0, self.start_ns // NS_PER_S)
        everyone = slice(0, self._n)
        self._quote(everyone, base, setup.random((self._n, _UNIFORMS)))
        for name in ("open_px", "high_px", "low_px", "average_px"):
            rows[name] = rows["last_px"]
        rows["average_px"][self._index] = 0

    def opening(self) -> Ticks:
        """TICK[n]: the book as it stands now, one row per slot (a copy)."""
        return self._state.copy()

    def next_ns(self) -> int | None:
        """When the next tick is due, ns after the start. A synthetic market never ends."""
        return int(self._taken * self._period_ns)

    def take(self, until_ns: int, limit: int) -> tuple[Times, Ticks]:
        """The ticks due up to `until_ns` after the start, at most `limit`: (due ns, TICK) in order."""
        last = int(until_ns / self._period_ns)
        while int((last + 1) * self._period_ns) <= until_ns:
            last += 1
        while last >= 0 and int(last * self._period_ns) > until_ns:
            last -= 1
        count = max(0, min(limit, last + 1 - self._taken))
        out = np.empty(count, TICK)
        numbers = np.arange(self._taken, self._taken + count)
        times = (numbers * self._period_ns).astype(np.int64)
        done = 0
        while done < count:
            first = self._taken % self._n
            if first == 0:
                self._factor += -FACTOR_REVERSION * self._factor + FACTOR_VOLATILITY * float(
                    self._factors.standard_normal()
                )
            m = min(count - done, self._n - first)
            self._advance(slice(first, first + m), times[done : done + m])
            out[done : done + m] = self._state[first : first + m]
            done += m
            self._taken += m
        return times, out

    def step(self, now_ns: int) -> Ticks:
        """All ticks due at exchange time `now_ns`."""
        return self.take(now_ns - self.start_ns, 1 << 62)[1]

    def _advance(self, who: slice, times: Times) -> None:
        """One tick for each slot of `who`."""
        m = who.stop - who.start
        x = self._deviation[who]
        x += -REVERSION * x + TICK_VOLATILITY * self._normals.standard_normal(m)
        mid = self._base[who] * np.exp(x + self._beta[who] * self._factor)
        uniforms = self._uniforms.random((m, _UNIFORMS))
        self._quote(who, mid, uniforms)
        self._trade(who, uniforms[:, -1], self.start_ns + times)

    def _quote(self, who: slice, mid: npt.NDArray[Any], u: npt.NDArray[np.float64]) -> None:
        """Set five levels a side around `mid`, and the last price on one of the touches."""
        rows, tick, lot = self._state[who], self._tick[who], self._lot[who]
        wide = (u[:, 0] < 0.25).astype(np.int64) + (u[:, 1] < 0.1)
        bid = np.maximum(np.floor(mid / tick).astype(np.int64) - wide, 12) * tick
        ask = bid + (1 + wide) * tick
        rows["last_px"] = np.where(u[:, 2] < 0.5, bid, ask)
        crowd = self._crowd[who]
        rows["last_qty"] = lot * (1 + (u[:, 3] * u[:, 3] * crowd / 4).astype(np.int64))
        rows["bid_px"], rows["ask_px"] = bid, ask
        gaps = 1 + (u[:, 4:8] < 0.3)
        steps = np.cumsum(gaps, axis=1) * tick[:, None]
        rows["bid_px_deep"] = bid[:, None] - steps
        rows["ask_px_deep"] = ask[:, None] + steps
        crowds = (u[:, 8:18] * u[:, 8:18] * crowd[:, None]).astype(np.int64)
        rows["bid_qty"] = lot[:, None] * (1 + crowds[:, :5])
        rows["ask_qty"] = lot[:, None] * (1 + crowds[:, 5:])
        rows["bid_orders"] = 1 + (u[:, 18:19] * 9).astype(np.int64)
        rows["ask_orders"] = 1 + (u[:, 19:20] * 9).astype(np.int64)
        rows["total_buy_qty"] = rows["bid_qty"].sum(axis=1) + lot * (u[:, 20] * 500).astype(np.int64)
        rows["total_sell_qty"] = rows["ask_qty"].sum(axis=1) + lot * (u[:, 21] * 500).astype(np.int64)
        index = self._index[who]
        if index.any():
            _blank_index(rows, index)

    def _trade(self, who: slice, u: npt.NDArray[np.float64], exchange_ns: Times) -> None:
        """Day totals, OHLC, open interest and times after this tick's trade."""
        rows = self._state[who]
        traded = ~self._index[who]
        quantity = rows["last_qty"].astype(np.int64)
        rows["volume"] += quantity
        self._turnover[who] += quantity * rows["last_px"].astype(np.float64)
        rows["average_px"][traded] = np.rint(self._turnover[who][traded] / rows["volume"][traded])
        np.maximum(rows["high_px"], rows["last_px"], out=rows["high_px"])
        np.minimum(rows["low_px"], rows["last_px"], out=rows["low_px"])
        step = np.where(self._derivative[who], self._lot[who] * ((u * 5).astype(np.int64) - 2), 0)
        oi = np.maximum(rows["oi"].astype(np.int64) + step, 0)
        rows["oi"] = np.minimum(oi, 2**32 - 1)
        np.maximum(rows["oi_day_high"], rows["oi"], out=rows["oi_day_high"])
        np.minimum(rows["oi_day_low"], rows["oi"], out=rows["oi_day_low"])
        seconds = exchange_ns // NS_PER_S
        rows["exch_ns"] = seconds * NS_PER_S
        rows["last_trade_s"][traded] = seconds[traded]


def _blank_index(rows: Ticks, index: npt.NDArray[np.bool_]) -> None:
    """An index has a value and no book."""
    for name in (
        "last_qty", "bid_px", "ask_px", "bid_px_deep", "ask_px_deep", "bid_qty", "ask_qty",
        "bid_orders", "ask_orders", "total_buy_qty", "total_sell_qty",
    ):  # fmt: skip
        rows[name][index] = 0
