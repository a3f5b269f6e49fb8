"""Layer 5, supervisor, cold: what the watchdog gets to know: plain values, so that it loads no models.

Phases of the day by exchange, with and without the closing auction; which shares take part in it; when
the broker squares off MIS; limits, sinks and folders.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace
from typing import Any, Final

from kite_hft.brokers.upstox.keys import lot_of
from kite_hft.engine.keys.taking import keeps_secrets
from kite_hft.engine.orders.market_facts import is_simulated
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.plan.launch import Run
from kite_hft.sessions import (
    CONTINUOUS,
    CalendarError,
    Phases,
    ist_date,
    ist_midnight_ns,
    ist_text,
    seconds_of_day,
    session_on,
)
from kite_hft.settings import Settings, load_yaml
from kite_hft.trading.gate.facts import DayRules
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.market_rules import MarketRules, market_rules
from kite_hft.units import IST_OFFSET_S, NS_PER_S

WITH_AUCTION: Final = ("NSE", "BSE")
SETTLING_AHEAD: Final = dt.timedelta(days=15)
"""No later expiry is looked at: holidays are shorter."""
EXCHANGES: Final = (*WITH_AUCTION, "NFO", "BFO", "CDS", "BCD", "MCX", "NCO")


def watch_config(run: Run) -> dict[str, Any]:
    """Everything that the watchdog is told at its start.

    Raises:
        SettingsError, CalendarError, MarketRulesError: a dated file cannot be used.
    """
    settings, now_ns = run.settings, run.clock.real_ns()
    alerts, day = settings.alerts, trading_day(settings, now_ns)
    offset_ns = market_offset_ns(settings, now_ns)
    rules = market_rules(load_yaml(settings.trading.market), day, settings.broker)
    summary_ns = ist_midnight_ns(day) + seconds_of_day(alerts.close_summary) * NS_PER_S
    # A simulator of this machine, or one inside ORDERS, holds positions only while it runs.
    real = settings.mode == "live"
    return {
        "pid": os.getpid(),
        "shm": str(run.shm),
        "folder": str(run.folder.path),
        "lock": str(run.folder.lock),
        "offset_ns": offset_ns or 0,
        "linger": real,
        "private": keeps_secrets(settings),
        "remind_s": alerts.remind_s,
        "about": {"broker": settings.broker, "account": settings.account, "run": run.folder.name},
        "alerts": alerts.model_dump(mode="json"),
        "limits": {
            "naked_paise": round(alerts.naked_limit * 100),
            "grace_ns": round(alerts.naked_grace_s * NS_PER_S),
            "blind_ns": round(alerts.blind_s * NS_PER_S),
            "summary_at_ns": 0 if offset_ns is None else summary_ns,
        },
        "called": called_of(settings, run.instruments),
        "facts": plain_facts(settings, run.instruments, rules, day, always_open=offset_ns is None)
        | {"closing_ns": round(alerts.naked_closing_s * NS_PER_S)},
    }


def called_of(settings: Settings, instruments: InstrumentTable) -> dict[str, list[str | int]]:
    """Upstox's key -> [EXCHANGE:SYMBOL, our units in one of the wire's, multiplier], where its books are
    read; {}: they are Kite's, as those of the paper exchange are."""
    if settings.broker != "upstox" or (settings.mode == "paper" and not settings.upstox.sandbox):
        return {}
    return called_by(instruments)


def called_by(instruments: InstrumentTable) -> dict[str, list[str | int]]:
    """The same of a table, whoever the broker is."""
    named = [row for row in instruments if row.upstox_key]
    return {row.upstox_key: [row.key, lot_of(row), row.multiplier or 1] for row in named}


def market_offset_ns(settings: Settings, now_real_ns: int) -> int | None:
    """What to add to the machine's clock for the market's; None: that market is always open.

    A configured date that is not today belongs to a simulator: with hours of its own when it is ours and
    keeps the exchange's, open at any time otherwise.
    """
    day, simulator = settings.trading.date, settings.simulator
    if day is None or day == ist_date(now_real_ns):
        return 0
    if settings.mode == "sim" and simulator.hours == "exchange" and simulator.exchange_time:
        moment = dt.datetime.fromisoformat(simulator.exchange_time)
        midnight = ist_midnight_ns(moment.date())
        return midnight + seconds_of_day(moment.strftime("%H:%M:%S")) * NS_PER_S - now_real_ns
    return None


def plain_facts(
    settings: Settings, instruments: InstrumentTable, rules: MarketRules, day: dt.date, *, always_open: bool
) -> dict[str, Any]:
    """protection.Facts as plain JSON, without closing_ns.

    Raises:
        CalendarError: the calendar cannot be read.
    """
    listed = frozenset(row.name for row in instruments if row.kind != "EQ")
    shares = [row for row in instruments if row.kind == "EQ" and row.exchange in WITH_AUCTION]
    cas = {row.key for row in shares if rules.closing_auction(row, listed)}
    # A simulator's shares are those of the table, as are its derivatives. At an exchange more derivatives are
    # listed than a run names: a share without one here may take part all the same.
    others = {row.key for row in shares} - cas if is_simulated(settings) else set()
    square_offs = [
        [exchange, rule.cas, ist_text(rule.at_ns - IST_OFFSET_S * NS_PER_S)[11:16]]
        for rule in rules.square_offs
        for exchange in rule.exchanges
    ]
    return {
        "phases": [] if always_open else _phases(settings, day),
        "cas": sorted(cas),
        "others": sorted(others),
        "square_offs": [] if always_open else square_offs,
        "settling": [] if always_open else _settling(settings, instruments, rules, day),
    }


def _settling(
    settings: Settings, instruments: InstrumentTable, rules: MarketRules, day: dt.date
) -> list[list[Any]]:
    """[key, day of the expiry, until when, from when it is told] of contracts that have to go today."""
    chosen, found = settings.trading, []
    phases = Phases(load_yaml(chosen.calendar)) if not chosen.market_start else None
    soon = (day + SETTLING_AHEAD).isoformat()
    near = [row for row in instruments if row.expiry and row.expiry <= soon and rules.expiry(row) is not None]
    days = DayRules(InstrumentTable(tuple(replace(r, slot=at) for at, r in enumerate(near))), rules, phases)
    for slot, row in enumerate(near):
        settles = days.settlement(slot, ist_midnight_ns(day))
        if settles is not None:
            until = ist_text(settles.flat_ns)[11:16]
            found.append([row.key, settles.last, until, settles.warn_ns])
    return found


def _phases(settings: Settings, day: dt.date) -> list[list[Any]]:
    """[exchange, takes part in the closing auction, [[name, start, end, orders, match], ...]]."""
    chosen = settings.trading
    if chosen.market_start and chosen.market_end:
        session = session_on(day, chosen.market_start, chosen.market_end)
        orders = ["LIMIT", "MARKET", "SL", "SL-M"]
        rows = [[CONTINUOUS, session.open_ns, session.close_ns, orders, CONTINUOUS]]
        return [[exchange, cas, rows] for exchange in EXCHANGES for cas in _classes(exchange)]
    calendar = Phases(load_yaml(chosen.calendar))
    found: list[list[Any]] = []
    for exchange in EXCHANGES:
        for cas in _classes(exchange):
            try:
                phases = calendar.on(exchange, cas, day)
            except CalendarError:
                continue  # no row of this exchange: what is held there is judged as always open
            rows = [[p.name, p.start_ns, p.end_ns, sorted(p.orders), p.match] for p in phases]
            found.append([exchange, cas, rows])
    return found


def _classes(exchange: str) -> tuple[bool, ...]:
    """Whether an exchange's instruments take part in a closing auction: some do, or none does."""
    return (False, True) if exchange in WITH_AUCTION else (False,)
