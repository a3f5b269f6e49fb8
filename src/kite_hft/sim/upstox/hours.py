"""Layer 4, simulator, cold: the phases of the exchanges in Upstox's words, by segment.

MarketStatus of a segment is that of its ordinary instruments; where the closing auction of some is,
casMarketStatus tells besides. With hours "always" all segments are open all day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.sessions import AUCTION, CONTINUOUS, CalendarError, ist_date
from kite_hft.sim.exchange.conditions import Conditions
from kite_hft.sim.market.keys import SEGMENTS
from kite_hft.sim.upstox.frames import market_info

PRE_OPEN_START, PRE_OPEN_END, NORMAL_OPEN, NORMAL_CLOSE, CLOSING_START, CLOSING_END = range(6)
STATUS_WORDS: Final = (
    "PRE_OPEN_START", "PRE_OPEN_END", "NORMAL_OPEN", "NORMAL_CLOSE", "CLOSING_START", "CLOSING_END",
)  # fmt: skip
_EXCHANGES: Final = {segment: exchange for exchange, segment in SEGMENTS.items()} | {
    "NSE_INDEX": "NSE", "BSE_INDEX": "BSE", "MCX_INDEX": "MCX",
}  # fmt: skip
"""All segments that market_info names -> the exchange whose hours they keep."""
_OF_PHASE: Final = {"pre_open": PRE_OPEN_START, "pre_open_limit": PRE_OPEN_START, "buffer": PRE_OPEN_END}
_PRE_OPEN_WORDS: Final = {
    "pre_open": "PRE_OPEN_START", "pre_open_limit": "PRE_OPEN_M_END", "buffer": "PRE_OPEN_END",
}  # fmt: skip
_CLOSING_WORDS: Final = {
    "close_pause": "CTS_CLOSE",
    "close_entry": "CAS_LM_START",
    "close_limit": "CAS_M_STOP",
}
_CAS_SEGMENTS: Final = ("NSE_EQ", "BSE_EQ")


@dataclass(slots=True)
class Segments:
    """What all segments are at, told when it changes."""

    conditions: Conditions
    _told: tuple[Any, ...] = field(default=())

    def status(self, segment: str, now_ns: int) -> int:
        """MarketStatus of a segment."""
        if not self.conditions.enforced:
            return NORMAL_OPEN
        try:
            phase = self.conditions.phases.phase_at(_EXCHANGES[segment], False, now_ns)
        except CalendarError:
            return NORMAL_CLOSE
        if phase.match == CONTINUOUS:
            return NORMAL_OPEN
        return _OF_PHASE.get(phase.name, NORMAL_CLOSE)

    def _auctions(self, now_ns: int) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]]:
        """(closing, pre-open): segment -> word and since when, epoch ms."""
        closing: dict[str, tuple[str, int]] = {}
        pre_open: dict[str, tuple[str, int]] = {}
        if not self.conditions.enforced:
            return closing, pre_open
        for segment in _CAS_SEGMENTS:
            try:
                day = self.conditions.phases.on(_EXCHANGES[segment], True, ist_date(now_ns))
            except CalendarError:
                continue
            for phase in day:
                if phase.start_ns <= now_ns:
                    since = phase.start_ns // 1_000_000
                    if phase.name in _CLOSING_WORDS:
                        closing[segment] = _CLOSING_WORDS[phase.name], since
                        if now_ns >= phase.end_ns and phase is day[-1]:
                            closing[segment] = "CAS_STOP", phase.end_ns // 1_000_000
                    elif phase.name in _PRE_OPEN_WORDS:
                        pre_open[segment] = _PRE_OPEN_WORDS[phase.name], since
        return closing, pre_open

    def frame(self, now_ns: int) -> bytes:
        """market_info of this moment."""
        return market_info(
            {segment: self.status(segment, now_ns) for segment in _EXCHANGES},
            *self._auctions(now_ns),
            now_ns // 1_000_000,
        )

    def news(self, now_ns: int) -> Sequence[bytes]:
        """market_info when something changed since the last call."""
        if not self.conditions.enforced:
            return ()
        now = (*(self.status(segment, now_ns) for segment in _EXCHANGES), self._auctions(now_ns))
        changed, self._told = bool(self._told) and now != self._told, now
        return (self.frame(now_ns),) if changed else ()

    def in_auction(self, slots: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """bool[n]: slots that are in an auction now."""
        if not self.conditions.enforced:
            return np.zeros(len(slots), bool)
        return np.array([self.conditions.mode(slot) == AUCTION for slot in slots.tolist()], bool)


def exchange_of(name: str) -> str | None:
    """The exchange behind a word of the market calls: an exchange's or a segment's."""
    if name in SEGMENTS:
        return name
    return "NCO" if name == "NSCOM" else _EXCHANGES.get(name)


def holiday_rows(calendar: Sequence[Mapping[str, Any]], year: int) -> list[dict[str, Any]]:
    """The calls' rows of a year's closed days, by the dated calendar."""
    closed: dict[dt.date, set[str]] = {}
    names = {"INDICES", *SEGMENTS}
    for row in calendar:
        for day in row.get("holidays", ()):
            if day.year == year and row["valid_from"] <= day <= row["valid_to"]:
                closed.setdefault(day, set()).update(set(row["segments"]) & names - {"INDICES"})
    return [
        {
            "date": day.isoformat(),
            "description": "Trading holiday",
            "holiday_type": "TRADING_HOLIDAY",
            "closed_exchanges": sorted("NSCOM" if e == "NCO" else e for e in exchanges),
            "open_exchanges": [],
        }
        for day, exchanges in sorted(closed.items())
    ]
