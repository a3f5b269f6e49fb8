"""Layer 0, supervisor, cold: the configuration as checked values, and where each of them is from.

A YAML file, over it the file of an environment (config.yaml, config.live.yaml), over both the variables
KITE_*; below all a profile. Every key has a default and a type; an unknown key is an error that names the
file and line, or the variable, and the nearest known key. Limits and market rules are not here: they are
dated files under config/rules and config/calendar.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from kite_hft.addresses import is_loopback
from kite_hft.configuring.absolute import absolute_paths
from kite_hft.configuring.explaining import explain_all, head_of
from kite_hft.configuring.keys import fillable, is_secret
from kite_hft.configuring.layers import (
    Key,
    Layer,
    LayerError,
    Origin,
    file_layer,
    merged,
    profile_layer,
    renamed,
    value_at,
    without_empty,
)
from kite_hft.configuring.models.broker import (
    PROTECTION_PERCENT,
    SAME_MODE,
    BrokerName,
    KiteSection,
    UpstoxSection,
    by_broker,
    check_source_leads,
    mode_of,
)
from kite_hft.configuring.models.market import (
    DatafeedSection,
    KernelSection,
    SimulatorSection,
    StrategySection,
    TradingSection,
)
from kite_hft.configuring.models.promised import DebugSection, LoggingSection, NotificationsSection
from kite_hft.configuring.models.run import (
    ConsoleSection,
    CredentialsSection,
    PerformanceSection,
    SupervisionSection,
)
from kite_hft.configuring.models.safety import AlertSection, ExitsSection, RiskSection
from kite_hft.configuring.nodes import key_lines
from kite_hft.configuring.profiles import PROFILES
from kite_hft.configuring.remarks import aliases, idle_keys, relied_upon
from kite_hft.configuring.section import Section
from kite_hft.configuring.variables import VariableError, dotenv, variables_layer, without_keys
from kite_hft.configuring.yaml_files import SettingsError, load_yaml, read_yaml, yaml_value
from kite_hft.plain import plain_text

__all__ = [
    "Loaded", "Settings", "SettingsError", "load_settings", "load_yaml", "overlay_of", "read_settings",
    "yaml_value",
]  # fmt: skip

HORIZON_S_MIN = 180.0
"""Of TradingSection."""
ENVIRONMENT = re.compile(r"[A-Za-z0-9_-]{1,32}")
NO_BREAK = "\u00a0"
DOTENV = Path(".env")
"""In the folder where the program is started: variables that the environment does not have."""


class Settings(Section):
    """The whole file."""

    profile: Literal["speed", "lean"] | None = Field(
        None, description="what is set where nothing else is: speed for many cores, lean for little memory"
    )
    mode: Literal["sim", "paper", "live"] = "sim"
    broker: BrokerName = Field("kite", description="who gets the orders")
    data_broker: BrokerName | Literal["both"] | None = Field(
        None, description="where prices come from; default: from the broker. both: the fresher one counts"
    )
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")] = "DEMO"
    kite: KiteSection = KiteSection()
    upstox: UpstoxSection = UpstoxSection()
    credentials: CredentialsSection = CredentialsSection()
    simulator: SimulatorSection = SimulatorSection()
    datafeed: DatafeedSection = DatafeedSection()
    kernels: KernelSection = KernelSection()
    strategies: list[StrategySection] = Field(default_factory=list)
    risk: RiskSection = RiskSection()
    trading: TradingSection = TradingSection()
    exits: ExitsSection = ExitsSection()
    performance: PerformanceSection = PerformanceSection()
    supervision: SupervisionSection = SupervisionSection()
    alerts: AlertSection = AlertSection()
    console: ConsoleSection = ConsoleSection()
    logging: LoggingSection = LoggingSection()
    notifications: NotificationsSection = NotificationsSection()
    debug: DebugSection = DebugSection()

    @model_validator(mode="after")
    def _whole_session(self) -> Settings:
        if (self.trading.market_start is None) != (self.trading.market_end is None):
            raise ValueError("trading.market_start and trading.market_end go together")
        if self.console.classic and any(s.form != "A" for s in self.strategies):
            raise ValueError("console.classic tells of strategies in form A only")
        return self

    @model_validator(mode="before")
    @classmethod
    def _files(cls, data: Any) -> Any:
        return by_broker(data)

    @model_validator(mode="after")
    def _addresses(self) -> Settings:
        self.kite.check_addresses()
        self.upstox.check_addresses()
        for broker in self.brokers if self.mode != "sim" else ():
            check_source_leads(broker, self.kite if broker == "kite" else self.upstox)
        return self

    @model_validator(mode="after")
    def _modes(self) -> Settings:
        feed = self.datafeed
        rows = [("datafeed.mode", feed.mode), *((f"datafeed.modes.{k}", m) for k, m in feed.modes.items())]
        kinds = ("equity_mode", "futures_mode", "options_mode")
        rows += [(f"datafeed.{k}", getattr(feed, k)) for k in kinds if getattr(feed, k) is not None]
        for broker in self.data_brokers:
            for key, name in rows:
                if name == "off" and key.startswith("datafeed.modes."):
                    continue
                try:
                    self._allowed_mode(mode_of(broker, name))
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
        return self

    def _allowed_mode(self, mode: str) -> None:
        if mode == "full_d30" and not self.upstox.plus:
            raise ValueError("full_d30 is for Upstox Plus: set upstox.plus if you have it, or use full")

    @model_validator(mode="after")
    def _aux(self) -> Settings:
        if self.datafeed.aux and "upstox" not in self.data_brokers:
            raise ValueError(
                "datafeed.aux: Kite's messages hold no such values: take it out, or let prices come from "
                "Upstox (data_broker)"
            )
        return self

    @model_validator(mode="after")
    def _protection(self) -> Settings:
        """Also in paper mode, whose exchange would take it: the broker that comes after it would not."""
        (least, most), asked = PROTECTION_PERCENT[self.broker], self.risk.market_protection
        if asked != -1 and not least <= asked <= most:
            raise ValueError(
                f"risk.market_protection: {self.broker} takes {least:g} to {most:g} percent, or -1 (its own "
                f"band), not {asked:g}"
            )
        return self

    @model_validator(mode="after")
    def _replay(self) -> Settings:
        order = self.kite if self.broker == "kite" else self.upstox
        ours = self.mode == "sim" and not order.access_token  # the run starts the simulator itself
        if self.simulator.replay is not None and ours and self.datafeed.is_polled:
            raise ValueError(
                "simulator.replay: a recording begins to play with the first subscription, and with "
                "datafeed.primary_source http nobody subscribes: take one of the two out"
            )
        if self.simulator.replay is not None and ours and self.broker not in self.data_brokers:
            raise ValueError(
                f"simulator.replay: nobody subscribes to prices at {self.broker}, whose simulator would only "
                f"take orders: its recording would never begin to play, and no order would fill. Set "
                f"data_broker to both, or to {self.broker}"
            )
        return self

    @model_validator(mode="after")
    def _sandbox(self) -> Settings:
        if self.upstox.sandbox and not (self.broker == "upstox" and self.mode in ("sim", "paper")):
            raise ValueError("upstox.sandbox: needs broker upstox and mode paper (or sim): it fills no order")
        return self

    @model_validator(mode="after")
    def _horizon(self) -> Settings:
        order = self.kite if self.broker == "kite" else self.upstox
        here = self.mode == "paper" or is_loopback(order.api_url) or not order.access_token
        if self.trading.absence_horizon_s < HORIZON_S_MIN and not (here and self.mode != "live"):
            raise ValueError(
                f"trading.absence_horizon_s below {HORIZON_S_MIN:g} s is accepted on loopback only: "
                "a broker may show an order that late"
            )
        return self

    @property
    def data_brokers(self) -> tuple[BrokerName, ...]:
        """Where prices come from; of two, the order broker first."""
        if self.data_broker == "both":
            return (self.broker, "upstox" if self.broker == "kite" else "kite")
        return (self.data_broker or self.broker,)

    @property
    def brokers(self) -> tuple[BrokerName, ...]:
        """All that a run has to do with, the order broker first."""
        return tuple(dict.fromkeys((self.broker, *self.data_brokers)))

    def renamed_modes(self) -> list[str]:
        """What to say where a mode was written in the other broker's word."""
        feed = self.datafeed
        kinds = (feed.equity_mode, feed.futures_mode, feed.options_mode)
        names = {feed.mode, *kinds, *feed.modes.values()}
        return [
            f"mode {name} is called {word} at {broker}: taken as that"
            for broker in self.data_brokers
            for name, word in SAME_MODE[broker].items()
            if name in names
        ]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and how it came about.

    given: what files, variables and the profile set, under the names of the models, and where each is from.
    files: those that were read, the base file first. said: what a person should know of variables and of
    keys that do nothing here. environment: whose overlay was taken, "": none.
    """

    settings: Settings
    given: Layer
    files: tuple[Path, ...]
    said: tuple[str, ...]
    environment: str = ""

    def variables(self) -> str:
        """What variables have set, without secrets, as one text: another one makes another configuration."""
        rows = [
            f"{o.source}={value_at(self.given.data, k)}"
            for k, o in self.given.origins.items()
            if o.is_variable and not is_secret(k)
        ]
        return "\n".join(sorted(rows))

    def origin(self, key: Key) -> Origin:
        """Where the value of a key is from."""
        return next((o for k, o in self.given.origins.items() if k == key), Origin("default"))


def load_settings(
    path: Path, environment: str | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read and check a configuration: `read_settings` without where the values are from."""
    return read_settings(path, environment, environ).settings


def read_settings(
    path: Path, environment: str | None = None, environ: Mapping[str, str] | None = None
) -> Loaded:
    """Read and check a configuration.

    environment: `live` takes config.live.yaml beside config.yaml; default: $KITE_ENVIRONMENT. environ: the
    variables; default: the process's, and those of .env in the folder where it was started.

    Raises:
        SettingsError: unreadable, not a mapping, an unknown key or variable, or a value that does not fit.
    """
    try:
        variables, from_file = (environ, ()) if environ is not None else _environment()
        environment = environment or variables.get("KITE_ENVIRONMENT") or ""
        if not os.path.exists(path):  # also of a name that no file can have
            raise SettingsError(
                f"{path}: no such file; `kite-hft config init` writes one, and config/demo.yaml is one to "
                "start from"
            )
        files = [path, *([overlay_of(path, environment)] if environment else [])]
        other = aliases(Settings)
        empty = list(fillable(Settings))
        layers = [renamed(without_empty(_file_layer(file), empty), other) for file in files]
        ours, said = variables_layer(variables, Settings, yaml_value, from_file)
        if merged([*layers, ours]).data.get("mode", "sim") == "sim":
            ours, more = without_keys(ours)
            said += more
        layers.append(renamed(ours, other))
        profile = merged(layers).data.get("profile")
        if isinstance(profile, str) and profile in PROFILES:
            layers.insert(0, profile_layer(profile, PROFILES[profile]))
        given = merged(layers)
    except (VariableError, LayerError) as error:
        raise SettingsError(str(error)) from None
    try:
        settings = Settings.model_validate(given.data)
    except ValidationError as error:
        lines = explain_all(Settings, str(path), given.origins, error.errors())
        raise SettingsError("\n".join(lines)) from None
    _refuse_what_nobody_checks(settings, given)
    said += [
        f"{key} ({origin}) does nothing here: {note}" for key, origin, note in idle_keys(Settings, given)
    ]
    settings = settings.model_copy(update=absolute_paths(settings, path.resolve().parent))
    return Loaded(settings, given, tuple(files), tuple(said), environment)


def overlay_of(path: Path, environment: str) -> Path:
    """The file of an environment: config.live.yaml beside config.yaml.

    Raises:
        SettingsError: no name of an environment, or it has no such file.
    """
    if not ENVIRONMENT.fullmatch(environment):
        raise SettingsError(f"environment {environment!r}: letters, digits, - and _ only")
    found = path.with_name(f"{path.stem}.{environment}{path.suffix}")
    if not found.is_file():
        start, end = f"{path.stem}.", path.suffix
        others = sorted(p.name for p in path.parent.glob("*") if p.name.startswith(start) and p != path)
        known = [
            n.removeprefix(start).removesuffix(end) for n in others if n.endswith(end) and n != path.name
        ]
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise SettingsError(f"{found}: no such file, so there is no environment {environment!r}; {there}")
    return found


def _environment() -> tuple[Mapping[str, str], frozenset[str]]:
    """The process's variables with those of .env, and which of them are from there."""
    try:
        found = dotenv(plain_text(DOTENV), str(DOTENV))
    except FileNotFoundError:
        return os.environ, frozenset()
    except (OSError, UnicodeDecodeError) as error:
        why = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise VariableError(f"{DOTENV}: cannot be read: {why}; mend it, or move it away") from None
    return {**found, **os.environ}, frozenset(found) - frozenset(os.environ)


def _file_layer(path: Path) -> Layer:
    data, node = read_yaml(path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        hint = "; a blank in it is none (U+00A0, as web pages have them)" if NO_BREAK in str(data) else ""
        raise SettingsError(
            f"{path}: expected keys and values, as `mode: paper`, found {type(data).__name__}{hint}"
        )
    lines: dict[Key, int] = {}
    if twice := key_lines(node, lines):
        raise SettingsError(f"{path}: {twice}")
    return file_layer(str(path), data, lines)


def _refuse_what_nobody_checks(settings: Settings, given: Layer) -> None:
    """In mode live a limit that does nothing must not stand in the configuration: somebody relies on it."""
    found = relied_upon(Settings, given) if settings.mode == "live" else []
    if found:
        rows = (
            f"{head_of(o)}: {key}: nothing here acts by it: {note}; take it out" for key, o, note in found
        )
        raise SettingsError("\n".join(rows))
