"""Upstox messages in tests: one of each branch by hand, put into frames."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

OPTION, SHARE, INDEX = "NSE_FO|55775", "NSE_EQ|INE002A01018", "NSE_INDEX|Nifty 50"
KEYS = [OPTION, SHARE, INDEX]
TIME_MS = 1_795_416_300_600
LIVE, SNAPSHOT = 1, 0


def full(pb: ModuleType, last: float = 219.3) -> Any:
    """A MarketFullFeed whose numbers all differ, so that two swapped fields cannot hide."""
    ff = pb.MarketFullFeed(atp=201.07, vtt=456_150, oi=3_214_500, iv=0.1325, tbq=100_500, tsq=200_750)
    ff.ltpc.CopyFrom(pb.LTPC(ltp=last, ltt=TIME_MS - 43, ltq=75, cp=494.05))
    for i in range(5):
        ff.marketLevel.bidAskQuote.add(
            bidQ=75 + i, bidP=last - 0.05 * (i + 1), askQ=175 + i, askP=last + 0.05 * (i + 1)
        )
    ff.optionGreeks.CopyFrom(pb.OptionGreeks(delta=0.5, theta=-16.1, gamma=0.0003, vega=45.7, rho=15.4))
    ff.marketOHLC.ohlc.add(interval="1d", open=200, high=230, low=190, close=last, vol=9, ts=5)
    ff.marketOHLC.ohlc.add(interval="I1", open=210, high=220, low=205, close=215, vol=7, ts=6)
    return ff


def frame(pb: ModuleType, feeds: dict[str, Any], kind: int = LIVE, time_ms: int = TIME_MS) -> bytes:
    """feeds: key -> LTPC, MarketFullFeed, IndexFullFeed, FirstLevelWithGreeks or a whole Feed."""
    message = pb.FeedResponse(type=kind, currentTs=time_ms)
    for key, body in feeds.items():
        feed = message.feeds[key]
        name = type(body).__name__
        if name == "LTPC":
            feed.ltpc.CopyFrom(body)
        elif name == "FirstLevelWithGreeks":
            feed.firstLevelWithGreeks.CopyFrom(body)
        elif name == "MarketFullFeed":
            feed.fullFeed.marketFF.CopyFrom(body)
        elif name == "IndexFullFeed":
            feed.fullFeed.indexFF.CopyFrom(body)
        else:
            feed.CopyFrom(body)
    return bytes(message.SerializeToString(deterministic=True))  # by key


def one(ticks: np.ndarray) -> np.void:
    (tick,) = ticks
    return tick
