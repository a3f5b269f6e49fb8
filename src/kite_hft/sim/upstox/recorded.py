"""Layer 4, simulator, cold: the recorded Upstox V3 feed as the rows that its frames are written from.

A replay plays TICKs, as for any broker; each carries in `seq` the number of its recorded row, from
which its frame gets everything that was recorded, Greeks and bars included, in true V3 form. The engine's
own recordings of raw frames give such rows as well: whole ones, with what the messages before them told.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import AuxKind, TickFlag
from kite_hft.sim.market.recordings import UPSTOX
from kite_hft.sim.market.replay import (
    Level,
    MarketFeed,
    Replay,
    ReplayError,
    feed_of,
    messages,
    open_replay,
)
from kite_hft.sim.market.source import Ticks, Times, join_ticks
from kite_hft.sim.upstox.frames import (
    AUCTION_PART,
    DAY_PART,
    FEED,
    GREEKS_PART,
    LEVEL_PART,
    LEVELS,
    MINUTE_PART,
    Feeds,
)
from kite_hft.trading.instruments import InstrumentTable

_COLUMNS: Final = (
    ("parts", 1), ("levels", 1), ("ltp", 1), ("ltt", 1), ("ltq", 1), ("cp", 1), ("atp", 1), ("vtt", 1),
    ("oi", 1), ("iv", 1), ("tbq", 1), ("tsq", 1), ("greeks", 5), ("day", 4), ("day_vol", 1), ("day_ts", 1),
    ("minute", 4), ("minute_vol", 1), ("minute_ts", 1),
)  # fmt: skip
"""Fields of a row and how many numbers each is; the levels come behind, each with its four."""
_WIDTH: Final = sum(width for _, width in _COLUMNS) + 4 * LEVELS
_NO_GREEKS: Final = [0.0] * 5
_NO_BAR: Final = [0.0] * 6
_NOBODY: Final = Level()


class RecordedRows:
    """Reads files of the recorded feed, and keeps the rows of all of them."""

    def __init__(self) -> None:
        self._parts: list[Feeds] = []
        self._count = 0

    def read(self, lines: Iterable[str], where: str) -> list[tuple[str, Times, Ticks]]:
        """As market.replay.read_feed; the ticks' `seq` numbers the rows."""
        kept = messages(lines, where)
        parts = feed_of(kept, where)
        numbers: list[list[float]] = []
        for line_no, message in enumerate(kept, 1):
            try:
                numbers.append(_numbers(message.fullFeed.marketFF))
            except ReplayError as error:
                raise ReplayError(f"{where}, line {line_no}: {error}") from error
        rows = _rows(np.array(numbers, np.float64).reshape(-1, _WIDTH))
        for _, _, ticks in parts:
            ticks["seq"] = np.arange(self._count, self._count + len(ticks))
        self._parts.append(rows)
        self._count += len(rows)
        return parts

    def rows(self) -> Feeds | None:
        """FEED[n] of all files; None: there was none of this kind."""
        return np.concatenate(self._parts) if self._count else None


class FrameRows:
    """Rows of recorded frames: each tick with the Greeks, bars and auction figures that were told of its
    instrument last."""

    def __init__(self) -> None:
        self._state: Feeds = np.zeros(0, FEED)
        self._parts: list[tuple[Ticks, Feeds]] = []
        self._scales: npt.NDArray[np.float64] = np.zeros(0)

    def begin(self, instruments: InstrumentTable) -> None:
        """Another connection: nothing is known."""
        self._scales = instruments.scales()
        self._state = np.zeros(len(instruments), FEED)
        self._state["index"] = [row.is_index for row in instruments]

    def add(self, ticks: Ticks, aux: npt.NDArray[np.void]) -> None:
        """What one frame held."""
        for record in aux:
            if int(record["kind"]) in _TAKE:
                _TAKE[int(record["kind"])](self._state[int(record["slot"])], record)
        self._parts.append((ticks, self._state[ticks["slot"]]))

    def rows(self) -> Feeds:
        """FEED[n], in the order of `add`."""
        ticks, rows = join_ticks([t for t, _ in self._parts]), np.concatenate([r for _, r in self._parts])
        scale = self._scales[ticks["slot"]]
        rows["ltp"], rows["cp"] = ticks["last_px"] / scale, ticks["close_px"] / scale
        rows["ltt"] = ticks["last_trade_s"].astype(np.int64) * 1000
        rows["ltq"], rows["vtt"], rows["oi"] = ticks["last_qty"], ticks["volume"], ticks["oi"]
        rows["atp"] = ticks["average_px"] / scale
        rows["tbq"], rows["tsq"] = ticks["total_buy_qty"], ticks["total_sell_qty"]
        there = np.zeros((len(ticks), LEVELS), bool)
        for side in ("bid", "ask"):
            rows[f"{side}_p"][:, 0] = ticks[f"{side}_px"] / scale
            rows[f"{side}_p"][:, 1:] = ticks[f"{side}_px_deep"] / scale[:, None]
            rows[f"{side}_q"] = ticks[f"{side}_qty"]
            there |= (rows[f"{side}_p"] > 0) | (rows[f"{side}_q"] > 0)
        rows["levels"] = np.where(there.any(axis=1), LEVELS - np.argmax(there[:, ::-1], axis=1), 0)
        rows["parts"][(ticks["flags"] & TickFlag.DEPTH) > 0] |= LEVEL_PART
        return rows


def _greeks_of(row: np.void, record: np.void) -> None:
    values = np.nan_to_num(record["values"])
    row["greeks"], row["iv"] = values[:5], values[5]
    row["parts"] |= GREEKS_PART


def _bar_of(row: np.void, record: np.void) -> None:
    name, part = ("minute", MINUTE_PART) if record["part"] else ("day", DAY_PART)
    values = np.nan_to_num(record["values"])
    row[name], row[f"{name}_vol"], row[f"{name}_ts"] = values[:4], int(values[4]), int(values[5])
    row["parts"] |= part


def _auction_of(row: np.void, record: np.void) -> None:
    values = record["values"]
    row["parts"] = row["parts"] & ~np.uint8(AUCTION_PART) | (0 if np.isnan(values[0]) else AUCTION_PART)
    figures = np.nan_to_num(values)
    row["iep"], row["rp"] = figures[:2]
    for name, value in zip(("ieq", "iiq_total", "iiq_market", "cas_eligible"), figures[2:6], strict=True):
        row[name] = int(value)


_TAKE: Final = {
    int(AuxKind.GREEKS): _greeks_of,
    int(AuxKind.BAR): _bar_of,
    int(AuxKind.AUCTION): _auction_of,
}
"""What of AUX a row holds. Levels beyond the fifth are none: they are made up again (frames.deeper)."""


def open_recorded(path: Path) -> tuple[Replay, Feeds | None, Ticks | None]:
    """(the replay, its rows, their ticks by `seq`); None, None: recorded otherwise.

    Raises:
        ReplayError: as market.replay.open_replay.
    """
    recorded, frames = RecordedRows(), FrameRows()
    replay = open_replay(path, recorded.read, UPSTOX, frames)
    if replay.numbers is not None:
        ticks = replay.ticks.copy()
        ticks["recv_ns"][replay.numbers < 0] = -1  # of a compact row: no tick that is played is such a one
        return replay, frames.rows()[replay.numbers], ticks
    rows = recorded.rows()
    if rows is None:
        return replay, None, None
    ticks = replay.ticks
    return replay, rows, ticks[np.argsort(ticks["seq"], kind="stable")]


def _numbers(market: MarketFeed) -> list[float]:
    """One message as the numbers of _COLUMNS, in order; exact to 2^53."""
    ltpc, quotes = market.ltpc, market.marketLevel.bidAskQuote
    parts, count = LEVEL_PART, len(quotes)
    if count > LEVELS:
        raise ReplayError(f"{count} levels: five are known")
    quotes = quotes + [_NOBODY] * (LEVELS - count)
    levels = [n for q in quotes for n in (q.bidQ, q.bidP, q.askQ, q.askP)]
    greeks = _NO_GREEKS
    if (g := market.optionGreeks) is not None:
        parts |= GREEKS_PART
        greeks = [g.delta, g.theta, g.gamma, g.vega, g.rho]
    bars = {"1d": _NO_BAR, "I1": _NO_BAR}
    for bar in market.marketOHLC.ohlc:
        if bar.interval in bars:
            parts |= DAY_PART if bar.interval == "1d" else MINUTE_PART
            bars[bar.interval] = [bar.open, bar.high, bar.low, bar.close, bar.vol, bar.ts]
    return [
        parts, count, ltpc.ltp, ltpc.ltt, ltpc.ltq, ltpc.cp, market.atp, market.vtt, market.oi, market.iv,
        market.tbq, market.tsq, *greeks, *bars["1d"], *bars["I1"], *levels,
    ]  # fmt: skip


def _rows(numbers: npt.NDArray[np.float64]) -> Feeds:
    rows = np.zeros(len(numbers), FEED)
    at = 0
    for name, width in _COLUMNS:
        part = numbers[:, at : at + width]
        rows[name] = part[:, 0] if width == 1 else part
        at += width
    levels = numbers[:, at:].reshape(-1, LEVELS, 4)
    for i, name in enumerate(("bid_q", "bid_p", "ask_q", "ask_p")):
        rows[name] = levels[:, :, i]
    return rows
