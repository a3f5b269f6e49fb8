"""Layer 6, by hand, cold: everything that a configuration refers to, looked at before anything starts.

Nothing is called and nothing is started: files, keys, parameters. Each part is tried by itself, so that all
that is wrong is told at once.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kite_hft.configuring.models.broker import rules_of
from kite_hft.configuring.models.safety import NO_SINK
from kite_hft.configuring.remarks import secret_values, secrets_in_files
from kite_hft.engine.alerts.sinks.trials import REACH_PEOPLE
from kite_hft.engine.confirming import check_live, is_rehearsal
from kite_hft.engine.keys.taking import needs_vault
from kite_hft.engine.keys.vault import default_path
from kite_hft.engine.market.strategies import StrategyError, make_strategy
from kite_hft.engine.orders.market_facts import lists_of_day, rules_of_day
from kite_hft.engine.orders.own_hours import refuse_early_end
from kite_hft.engine.orders.settings import charges_on, limits_of, loss_limit_words, orders_config
from kite_hft.engine.plan.days import trading_day
from kite_hft.sessions import CalendarError, session_from_calendar
from kite_hft.settings import Loaded, Settings, SettingsError, load_yaml
from kite_hft.sim.faults.schedule import FaultError, load_faults
from kite_hft.trading.costs import ChargesError
from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.joining import index_names

LOOSER = stat.S_IRWXG | stat.S_IRWXO


@dataclass(slots=True)
class Findings:
    """What a check found. errors: the engine would not start. warnings: it would, and a person should know.
    notes: keys and variables that do nothing here. files: name -> path of all that was read."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def tried(self, name: str, path: Path | None, look: Callable[[], Any]) -> None:
        """One part of the configuration; `path`: the file that it is about."""
        try:
            look()
        except FAILURES as error:
            text = str(error)
            if path is not None:
                text = f"{name}: {text if str(path) in text else f'{path}: {text}'}"
            if not any(told.endswith(text) for told in self.errors):
                self.errors.append(text)
        else:
            if path is not None:
                self.files[name] = str(path)


FAILURES = (
    SettingsError, StrategyError, CalendarError, ChargesError, InstrumentError, FaultError, ValueError,
    OSError,
)  # fmt: skip


def check_all(loaded: Loaded, now_real_ns: int, environ: Mapping[str, str]) -> Findings:
    """Look at everything. environ: for the place of the vault."""
    settings, trading = loaded.settings, loaded.settings.trading
    day = trading_day(settings, now_real_ns)
    found = Findings(notes=list(loaded.said))
    found.files["configuration"] = ", ".join(str(path) for path in loaded.files)
    found.tried("trading.rules", trading.rules, lambda: orders_config(settings, loopback=True))
    for broker in settings.data_brokers:
        path = rules_of(broker, settings.broker, trading.rules)
        if path != trading.rules:
            found.tried(f"rules of {broker}", path, partial(limits_of, settings, broker))
    found.tried("trading.market", trading.market, lambda: rules_of_day(settings, day))
    charges = trading.charges
    found.tried("trading.charges", charges, lambda: charges_on(settings, day))
    if settings.data_broker == "both" or len(settings.brokers) > 1:
        indices = trading.indices
        found.tried("trading.indices", indices, lambda: index_names(load_yaml(indices), day))
    if not trading.market_start:
        calendar = trading.calendar
        found.tried("trading.calendar", calendar, lambda: load_yaml(calendar)[0])
        _closed(found, settings, now_real_ns)
    found.tried("trading.market_end", None, lambda: refuse_early_end(settings, now_real_ns))
    found.tried("risk.lists", None, lambda: _lists(found, settings, now_real_ns))
    for section in settings.strategies:
        found.tried(f"strategy {section.name}", None, partial(make_strategy, settings, section))
    _simulator(found, settings)
    found.tried("risk.max_daily_loss", None, lambda: loss_limit_words(settings))
    found.tried("mode live", None, lambda: check_live(settings, now_real_ns))
    _warn_of_secrets(found, loaded, environ)
    _warn_of_the_rest(found, settings, environ)
    return found


def _closed(found: Findings, settings: Settings, now_real_ns: int) -> None:
    """A closed day is no error of the configuration that does not name it, but worth a word."""
    try:
        session_from_calendar(load_yaml(settings.trading.calendar), "NSE", trading_day(settings, now_real_ns))
    except CalendarError as error:
        (found.errors if settings.trading.date else found.warnings).append(str(error))
    except (SettingsError, KeyError, TypeError, AttributeError):
        pass  # told above


def _lists(found: Findings, settings: Settings, now_real_ns: int) -> None:
    lists = lists_of_day(settings, now_real_ns)
    day = trading_day(settings, now_real_ns)
    for name in lists.lists or ():
        found.files[f"list {name}"] = str(settings.risk.lists / f"{name}-{day.isoformat()}.csv")
    if lists.missing:
        found.warnings.append(
            f"no list of {day.isoformat()} for {', '.join(lists.missing)} in {settings.risk.lists}: what "
            "they could forbid is not opened, but for risk.allow"
        )


def _simulator(found: Findings, settings: Settings) -> None:
    section = settings.simulator
    if section.faults is not None:
        faults = section.faults
        found.tried("simulator.faults", faults, lambda: load_faults(faults))
    if section.replay is not None and not section.replay.exists():
        found.errors.append(f"simulator.replay: {section.replay}: no such file or folder")


def _warn_of_secrets(found: Findings, loaded: Loaded, environ: Mapping[str, str]) -> None:
    """Secrets that lie open, and files that others can read; where the keys come from instead."""
    settings, real = loaded.settings, loaded.settings.mode != "sim"
    values = secret_values(type(settings), loaded.given)
    lying = secrets_in_files(loaded.given, values) if real and not is_rehearsal(settings) else []
    for key, origin in lying:
        verb = "kite-hft credentials" + (" --broker alerts" if key.startswith("alerts.") else "")
        found.warnings.append(
            f"{origin}: {key} lies open in a file: take it out, `{verb}` keeps it in the vault"
        )
    sources = {origin.source for _key, origin in secrets_in_files(loaded.given, values)}
    for path in (*loaded.files, Path(".env")):
        if str(path) in sources or (path.name == ".env" and any(s.endswith(".env") for s in sources)):
            mode = path.stat().st_mode
            if mode & LOOSER:
                found.warnings.append(f"{path} holds secrets and others may read it: chmod 600 {path}")
    if needs_vault(settings):
        vault = settings.credentials.file or default_path(environ)
        if vault.exists():
            found.files["vault"] = str(vault)
        else:
            found.warnings.append(
                f"the run needs keys that the configuration leaves empty, and there is no vault {vault}: "
                "`kite-hft credentials` makes one, `kite-hft login` gets the day's token"
            )


def _warn_of_the_rest(found: Findings, settings: Settings, environ: Mapping[str, str]) -> None:
    if settings.mode == "live":
        alerts = settings.alerts
        told = {"hook": alerts.hook, "webhook": alerts.webhook, "telegram": alerts.telegram_bot_token}
        if not any(told[name] for name in REACH_PEOPLE) and alerts.waive_sinks != NO_SINK:
            text = (
                "alerts: mode live needs one alert sink that reaches you: alerts.hook, webhook or Telegram "
                f'from the vault (`kite-hft credentials --broker alerts`), or alerts.waive_sinks: "{NO_SINK}"'
            )
            vault = settings.credentials.file or default_path(environ)
            (found.warnings if vault.exists() else found.errors).append(text)
    elif settings.risk.max_daily_loss is None:
        found.warnings.append("risk.max_daily_loss is not set: no loss limit of the day; mode live needs one")
    if not settings.strategies:
        found.warnings.append("strategies: none; the engine only receives prices")
    for line in settings.renamed_modes():
        found.notes.append(line)
