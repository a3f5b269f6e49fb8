"""Layer 5, supervisor and orders process, cold: what the order stage is configured with.

The supervisor makes it once before anything starts, only to see whether it can be made.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Final

from kite_hft.addresses import is_loopback
from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.brokers.stricter import stricter
from kite_hft.configuring.models.broker import CHARGED_BY, FILES, rules_of
from kite_hft.configuring.models.promised import PromisedRisk
from kite_hft.engine.plan.days import trading_day
from kite_hft.settings import Settings, SettingsError, load_yaml
from kite_hft.trading.broker import Limits
from kite_hft.trading.costs import ChargesError, Schedule, schedule_from_mapping
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.gate.diverging import DivergenceLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.polling import PollPace
from kite_hft.trading.ports import OrdersConfig
from kite_hft.units import NS_PER_S

NO_LIMITS: Final = {
    "max_daily_loss",
    "on_daily_loss",
    "skew_s",
    "lists",
    "allow",
    "ddpi",
    "market_read_s",
} | set(PromisedRisk.model_fields)
"""Of the section `risk`: what is not among the limits of the table of checks."""


def orders_config(
    settings: Settings, *, loopback: bool, charges: Schedule | None = None, registers: bool = False
) -> OrdersConfig:
    """Settings of the stage; the broker's limits come from the dated rules file.

    charges: of the day (`charges_of_day`). registers: orders go to a broker who may know this machine by a
    registered address.

    Raises:
        SettingsError: the rules file or a value cannot be used.
    """
    trading, loss = settings.trading, settings.risk.max_daily_loss
    try:
        return OrdersConfig(
            limits=limits_of(settings, settings.broker),
            quote_pace=quote_pace(settings),
            risk=risk_limits(settings),
            max_daily_loss_paise=None if loss is None else round(loss * 100),
            on_daily_loss=settings.risk.on_daily_loss,
            loopback=loopback,
            absence_horizon_s=trading.absence_horizon_s,
            poll_period_s=trading.poll_s,
            entry_wait_s=trading.intent_deadline_s,
            positions_s=trading.positions_s,
            reject_storm=settings.alerts.reject_storm,
            stale_position_s=settings.alerts.stale_position_s,
            charges=charges,
            **settings.exits.model_dump(),
            market_read_s=settings.risk.market_read_s,
            ddpi=settings.risk.ddpi,
            fsync_before_send=trading.fsync_before_send,
            prove_address=registers and trading.prove_address,
        )
    except SettingsError:
        raise
    except (ValueError, TypeError) as error:
        raise SettingsError(f"order settings ({trading.rules.name}, risk, trading): {error}") from error


def risk_limits(settings: Settings) -> RiskLimits:
    """What the gate judges by.

    Raises:
        ValueError: a value that cannot be.
    """
    return RiskLimits(**settings.risk.model_dump(exclude=NO_LIMITS))


def limits_of(settings: Settings, broker: str) -> Limits:
    """A broker's limits, from its rules file and, where they are stricter, from the configuration.

    Raises:
        SettingsError: the file cannot be used, or the configuration would be looser.
    """
    path, kite = rules_of(broker, settings.broker, settings.trading.rules), settings.kite
    try:
        found = limits_from_mapping(load_yaml(path))
        if found.name != broker and not found.loopback_only:
            raise SettingsError(
                f"{path} holds the limits of {found.name}, and these are to be {broker}'s: leave "
                f"trading.rules out, or name {FILES[broker]['rules'].name}"
            )
        if settings.datafeed.is_polled and broker in settings.data_brokers:
            found = beside_polling(found)
        if broker != "kite":
            return found
        sections = {"rate_limits": kite.rate_limits, "websocket": kite.websocket}
        asked = {f"{name}.{key}": v for name, s in sections.items() for key, v in s.model_dump().items()}
        return stricter(found, asked, path.name)
    except SettingsError:
        raise
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def beside_polling(limits: Limits) -> Limits:
    """The limits of everybody else, where a feed asks for prices by HTTP.

    Raises:
        LimitsError: the rules say nothing of such a feed.
    """
    if limits.polling is None:
        raise LimitsError(
            "the rules have no `polling`, so datafeed.primary_source http has no share of the calls: add it, "
            "or take the websocket"
        )
    left = limits.polling.other_windows
    return limits if left is None else replace(limits, other_windows=left)


def quote_pace(settings: Settings) -> PollPace | None:
    """Whose turn it is to ask for quotes; None: ORDERS asks the order broker alone.

    Raises:
        SettingsError: as limits_of.
    """
    if not settings.datafeed.is_polled or settings.broker not in settings.data_brokers:
        return None
    share = limits_of(settings, settings.broker).polling
    return None if share is None else share.pace


def loss_limit_words(settings: Settings) -> str:
    """What the start says about the loss limit of the day.

    Raises:
        SettingsError: mode live without one.
    """
    risk = settings.risk
    if risk.max_daily_loss is not None:
        return f"loss limit of the day: {risk.max_daily_loss:,.2f} rupees net, then {risk.on_daily_loss}"
    if settings.mode == "live":
        raise SettingsError(
            "mode live needs a loss limit of the day, and risk.max_daily_loss is not set: without it nothing "
            "stops a strategy that loses again and again. Set it in rupees, net of charges, for example "
            "`max_daily_loss: 5000` (and `on_daily_loss: reduce`, kill or flatten)"
        )
    return (
        f"WARNING: NO LOSS LIMIT OF THE DAY. Nothing stops a strategy that loses in mode {settings.mode}; "
        "mode live refuses to start so. Set risk.max_daily_loss (rupees, net of charges)"
    )


def divergence_limits(settings: Settings) -> DivergenceLimits:
    """When two brokers' feeds of one instrument differ too much to open anything in it."""
    feed = settings.datafeed
    return DivergenceLimits(
        percent=feed.diverge_percent,
        ticks=feed.diverge_ticks,
        for_ns=round(feed.diverge_s * NS_PER_S),
        agree_ns=round(feed.agree_s * NS_PER_S),
        fresh_ns=round(settings.risk.stale_tick_s * NS_PER_S),
    )


def check_reach(limits: Limits, rules: Path, *urls: str) -> None:
    """Limits that no broker grants are for servers on this machine.

    Raises:
        SettingsError: `rules` says loopback_only, and one of `urls` is elsewhere.
    """
    elsewhere = [url for url in urls if not is_loopback(url)]
    if limits.loopback_only and elsewhere:
        raise SettingsError(
            f"{rules}: no broker grants these limits, they are for servers on this machine; {elsewhere[0]} "
            "is none: name the broker's own rules file in trading.rules"
        )


def charges_of_day(settings: Settings, instruments: InstrumentTable, now_real_ns: int) -> Schedule:
    """What orders cost on the day that is traded, by the dated charges file.

    Raises:
        SettingsError: the file cannot be used, or has no rates for an instrument of the run.
    """
    path = settings.trading.charges
    schedule = charges_on(settings, trading_day(settings, now_real_ns))
    try:
        schedule.check(instruments)
    except ChargesError as error:
        raise SettingsError(f"{path}: {error}") from error
    return schedule


def charges_on(settings: Settings, day: dt.date) -> Schedule:
    """What orders cost on a day, of whatever instrument.

    Raises:
        SettingsError: the file cannot be used, or is another broker's.
    """
    path, broker = settings.trading.charges, settings.broker
    try:
        schedule = schedule_from_mapping(load_yaml(path), day)
    except ChargesError as error:
        raise SettingsError(f"{path}: {error}") from error
    if schedule.name in {name for one, name in CHARGED_BY.items() if one != broker}:
        raise SettingsError(
            f"{path} holds the charges of {schedule.name}, and broker is {broker}: leave trading.charges "
            f"out, or name {FILES[broker]['charges'].name}"
        )
    return schedule
