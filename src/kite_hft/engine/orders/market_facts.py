"""Layer 5, orders process, cold: the gate's facts of a run (trading/gate/facts.py), from files and tables.

Market rules of the day, the calendar's phases, the daily lists, the latest ticks, the clocks. Where the
run's market keeps no hours (a simulator that is always open) there are no phases and no cut-offs; the
lists are asked for where the market is a real one.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft.addresses import is_loopback
from kite_hft.clock import Clock
from kite_hft.engine.plan.days import trading_day
from kite_hft.layout import TICK
from kite_hft.plain import plain_text
from kite_hft.sessions import Phases, ist_date
from kite_hft.settings import Settings, SettingsError, load_yaml
from kite_hft.trading.gate.facts import ClockWatch, Closing, DayRules, Facts, Settlement, View
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.market_rules import MarketRules, MarketRulesError, market_rules
from kite_hft.units import NS_PER_S

Tick = np.ndarray[Any, np.dtype[np.void]]
"""TICK[1]."""
USUAL_CLOSE: Final = "15:30:00"
"""Which close the times of the table day_end are meant for, in shares and their derivatives."""
ALWAYS: Final = {"holidays": (), "valid_from": dt.date.min, "valid_to": dt.date.max}
_NAME: Final = re.compile(r"[A-Z]+:\S.*|[A-Z][A-Z0-9&-]*")


@dataclass(frozen=True, slots=True)
class DailyLists:
    """The rules with the day's lists filled in.

    lists: those that were found, None: none is needed. missing: those without which nothing is known, and
    what they could forbid is not opened. absent: those without which only the rules file speaks.
    """

    rules: MarketRules
    lists: tuple[str, ...] | None
    missing: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def daily_lists(rules: MarketRules, folder: Path) -> DailyLists:
    """The day's lists of restricted instruments, from `<folder>/<list>-<YYYY-MM-DD>.csv`, for every row of
    the table `restricted`: fo_ban and mis_blocked, trade_to_trade, sme, asm, gsm, suspended.

    One name a line (EXCHANGE:SYMBOL, or the name of an underlying), in the first column; lines that begin
    with # and a heading `symbol` are left out. An empty list is an empty file.

    Raises:
        SettingsError: a file cannot be read, or a line is no name.
    """
    found: list[str] = []
    missing: list[str] = []
    absent: list[str] = []
    for name, daily in [(r.name, r.daily) for r in rules.restrictions]:
        path = folder / f"{name}-{rules.day.isoformat()}.csv"
        if path.is_file():
            rules = rules.with_list(name, names_of(path))
            found.append(name)
        else:
            (missing if daily else absent).append(name)
    return DailyLists(rules, tuple(found), tuple(missing), tuple(absent))


def names_of(path: Path) -> list[str]:
    """The names in one list file.

    Raises:
        SettingsError: it cannot be read, or a line is no name.
    """
    try:
        lines = plain_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    names: list[str] = []
    for number, line in enumerate(lines, 1):
        word = line.partition(",")[0].strip().strip('"')
        if not word or word.startswith("#") or word.lower() == "symbol":
            continue
        if not _NAME.fullmatch(word):
            raise SettingsError(f"{path}, line {number}: {word!r} is neither EXCHANGE:SYMBOL nor a name")
        names.append(word)
    return names


def rules_of_day(settings: Settings, day: dt.date) -> MarketRules:
    """The market rules of the traded day.

    Raises:
        SettingsError: the file cannot be used.
    """
    try:
        return market_rules(load_yaml(settings.trading.market), day, settings.broker)
    except MarketRulesError as error:
        raise SettingsError(f"{settings.trading.market}: {error}") from error


def lists_of_day(settings: Settings, now_real_ns: int) -> DailyLists:
    """The same with the day's lists, which only a real market has.

    Raises:
        SettingsError: a file cannot be used.
    """
    rules = rules_of_day(settings, trading_day(settings, now_real_ns))
    if is_simulated(settings):
        return DailyLists(rules, None)
    return daily_lists(rules, settings.risk.lists)


def is_simulated(settings: Settings) -> bool:
    """Whether the prices come from this machine: the market behind them is a simulator's."""
    data = settings.kite.ws_url if "kite" in settings.data_brokers else settings.upstox.feed_url
    return settings.mode == "sim" or is_loopback(data)


def phases_of(settings: Settings, now_real_ns: int) -> Phases | None:
    """The phases that bind the run's market; None: it keeps no hours.

    A configured date that is not today belongs to a simulator, which keeps hours only when told to.
    trading.market_start and market_end are one continuous phase for everything. At a simulator the end of
    the engine's day moves with them; at a broker it stays, because the broker's own square-off does not move.
    """
    trading = settings.trading
    ours = settings.mode == "sim"
    if ours and settings.simulator.hours == "always":
        return None
    if not ours and trading.date is not None and trading.date != ist_date(now_real_ns):
        return None
    if trading.market_start and trading.market_end:
        row = {"segments": _Any(), "open": trading.market_start, "close": trading.market_end}
        usual = USUAL_CLOSE if is_simulated(settings) else trading.market_end
        today = row | {"date": trading_day(settings, now_real_ns)}
        return Phases([ALWAYS | row | {"close": usual, "special": [today]}])
    return Phases(load_yaml(trading.calendar))


def stamps_ahead_ns(settings: Settings, clock: Clock) -> int | None:
    """What to add to CLOCK_MONOTONIC for the clock of the exchange's stamps; None: they are a simulator's,
    and may be of a day that is long past.
    """
    now_ns = clock.real_ns()
    if is_simulated(settings) or settings.trading.date not in (None, ist_date(now_ns)):
        return None
    return now_ns - clock.mono_ns()


class _Any:
    """Every segment."""

    def __contains__(self, segment: object) -> bool:
        return True

    def __getitem__(self, at: int) -> str:
        return "all"


class ExchangeTime:
    """What the exchange's clock shows: the machine's, or of a simulator what its ticks are stamped with."""

    def __init__(self, clock: Clock, tick: Callable[[int], Tick | None], n: int, *, simulated: bool) -> None:
        self._clock, self._tick, self._n = clock, tick, n
        self._ahead_ns: int | None = None if simulated else 0

    def ahead_ns(self) -> int:
        """What to add to CLOCK_REALTIME; 0 until a simulator has sent a stamped tick."""
        if self._ahead_ns is None:
            self._ahead_ns = self._by_ticks()
        return self._ahead_ns or 0

    def _by_ticks(self) -> int | None:
        since_boot_ns = self._clock.real_ns() - self._clock.mono_ns()
        for slot in range(self._n):
            tick = self._tick(slot)
            if tick is not None and tick["exch_ns"][0]:
                return int(tick["exch_ns"][0]) - int(tick["recv_ns"][0]) - since_boot_ns
        return None


def market_facts(
    settings: Settings,
    instruments: InstrumentTable,
    clock: Clock,
    tick: Callable[[int], Tick | None],
    warn: Callable[[str], None],
) -> Facts:
    """The facts of the run. tick(slot): its latest TICK[1], None: none; warn: told what is missing.

    Raises:
        SettingsError: a rules file or a list cannot be used.
    """
    now_ns = clock.real_ns()
    lists = lists_of_day(settings, now_ns)
    real, day_text = lists.lists is not None, lists.rules.day.isoformat()
    if lists.missing:
        warn(
            f"daily lists missing in {settings.risk.lists}: {', '.join(lists.missing)} of {day_text}: "
            "what they could forbid is not opened, but for risk.allow. Write each as LIST-"
            f"{day_text}.csv, one EXCHANGE:SYMBOL or underlying a line, an empty file for an empty list"
        )
    if lists.absent:
        warn(
            f"no list of {day_text} in {settings.risk.lists} for {', '.join(lists.absent)}: of these only "
            f"the series in {settings.trading.market.name} are known"
        )
    phases = phases_of(settings, now_ns)
    day = DayRules(
        instruments, lists.rules, phases, lists=lists.lists,
        underlyings=None if real else frozenset(row.name for row in instruments if row.kind != "EQ"),
        allow=settings.risk.allow,
    )  # fmt: skip
    time = ExchangeTime(clock, tick, len(instruments), simulated=settings.mode == "sim")
    watch = ClockWatch(clock.mono_ns, clock.real_ns, round(settings.risk.skew_s * NS_PER_S))

    def view(slot: int, real_ns: int) -> View:
        return day.view(slot, real_ns + time.ahead_ns())

    def day_end(slot: int, real_ns: int) -> Closing | None:
        ahead_ns = time.ahead_ns()
        found = day.day_end(slot, real_ns + ahead_ns)
        return None if found is None else Closing(*(at_ns and at_ns - ahead_ns for at_ns in found))

    def settlement(slot: int, real_ns: int) -> Settlement | None:
        ahead_ns = time.ahead_ns()
        found = day.settlement(slot, real_ns + ahead_ns)
        return None if found is None else Settlement(found.last, *(at_ns - ahead_ns for at_ns in found[1:]))

    def traded(slot: int) -> bool:
        found = tick(slot)
        return found is not None and int(found["volume"][0]) > 0

    return Facts(
        view=view, traded=traded, clock_wrong=watch.wrong, day_end=None if phases is None else day_end,
        ahead_ns=time.ahead_ns if settings.mode == "sim" else None, watch=watch,
        settlement=None if phases is None else settlement,
    )  # fmt: skip


class TickOf:
    """The latest TICK of a slot, copied into a row of its own."""

    def __init__(self, reader_of: Callable[[int], Any]) -> None:
        self._reader_of, self._row = reader_of, np.zeros(1, TICK)

    def __call__(self, slot: int) -> Tick | None:
        reader = self._reader_of(slot)
        return self._row if reader is not None and reader.get(slot, self._row) else None
