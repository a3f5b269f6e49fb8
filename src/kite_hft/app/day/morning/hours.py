"""Layer 6, by hand, cold: the hours of the day for each class of instruments of the run. Pure.

A class is an exchange, with and without the closing auction: all of it has the same phases, the same end of
entries, the same square-off.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.sessions import CONTINUOUS, CalendarError, Phase, Phases, ist_midnight_ns, ist_text
from kite_hft.trading.gate.facts import DayRules
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import MarketRules

WORDS: Final = {
    "NSE": "NSE shares", "BSE": "BSE shares", "NFO": "NSE derivatives", "BFO": "BSE derivatives",
    "CDS": "NSE currency", "BCD": "BSE currency", "MCX": "MCX", "NCO": "NSE commodities",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassHours:
    """One class. Times are HH:MM; "": there is no such. special: hours of their own on this day."""

    name: str
    exchange: str
    cas: bool
    instruments: int
    phases: tuple[tuple[str, str, str], ...] = ()  # name, from, until
    trades_from: str = ""
    trades_until: str = ""
    entries_until: str = ""
    flat_by: str = ""
    square_off: str = ""
    special: bool = False
    error: str = ""

    @property
    def trades(self) -> bool:
        return bool(self.trades_until)

    def row(self) -> dict[str, Any]:
        """For --json."""
        return {
            "class": self.name, "exchange": self.exchange, "closing_auction": self.cas,
            "instruments": self.instruments,
            "trades_from": self.trades_from, "trades_until": self.trades_until,
            "entries_until": self.entries_until, "flat_by": self.flat_by, "square_off": self.square_off,
            "special": self.special, "error": self.error,
            "phases": [{"name": name, "from": start, "until": end} for name, start, end in self.phases],
        }  # fmt: skip


def class_hours(
    instruments: InstrumentTable, rules: MarketRules, calendar: Phases, day: dt.date, listed: frozenset[str]
) -> tuple[ClassHours, ...]:
    """The classes of the run's instruments. listed: names with derivatives, which take part in the closing
    auction."""
    judge = DayRules(instruments, rules, calendar, underlyings=listed)
    classes: dict[tuple[str, bool], list[Instrument]] = {}
    for row in instruments:
        if not row.is_index:
            classes.setdefault((row.exchange, judge.is_cas(row)), []).append(row)
    return tuple(_hours(rows, cas, rules, calendar, day) for (_, cas), rows in sorted(classes.items()))


def _hours(
    rows: Sequence[Instrument], cas: bool, rules: MarketRules, calendar: Phases, day: dt.date
) -> ClassHours:
    row = rows[0]
    name = WORDS.get(row.exchange, row.exchange)
    if row.exchange in ("NSE", "BSE"):
        name += ", closing auction" if cas else ", no auction"
    try:
        phases = calendar.on(row.exchange, cas, day)
        shift_ns = calendar.shift_ns(row.exchange, day)
    except CalendarError as error:
        return ClassHours(name, row.exchange, cas, len(rows), error=str(error))
    if not phases:
        return ClassHours(name, row.exchange, cas, len(rows))
    end, broker = rules.day_end(row, cas), rules.square_off(row, cas)
    base_ns = ist_midnight_ns(day) + shift_ns
    open_ = [phase for phase in phases if phase.match == CONTINUOUS]
    return ClassHours(
        name, row.exchange, cas, len(rows),
        tuple((phase.name, clock(phase.start_ns), clock(phase.end_ns)) for phase in phases),
        trades_from=clock(open_[0].start_ns) if open_ else "",
        trades_until=clock(open_[-1].end_ns) if open_ else "",
        entries_until=clock(base_ns + end.entries_until_ns) if end else "",
        flat_by=clock(base_ns + end.flat_by_ns) if end else "",
        square_off=clock(base_ns + broker.at_ns) if broker else "",
        special=is_special(phases, shift_ns, row.exchange, day),
    )  # fmt: skip


def is_special(phases: Sequence[Phase], shift_ns: int, exchange: str, day: dt.date) -> bool:
    """Whether the day has hours of its own: another close, or it is no weekday."""
    return bool(shift_ns) or day.weekday() >= 5


def clock(epoch_ns: int) -> str:
    """HH:MM in India."""
    return ist_text(epoch_ns)[11:16]
