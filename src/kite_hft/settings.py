"""Layer 0, supervisor, cold: the configuration file as checked values.

One YAML file; every key has a default and a type; an unknown key is an error that names the
file, the line and the nearest known key. The only module that imports yaml. Limits and market
rules are not here: they are dated files under config/rules and config/calendar.
"""

from __future__ import annotations

import datetime as dt
import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from kite_hft.addresses import check_address, check_sink_address
from kite_hft.addresses import is_loopback as is_loopback

HORIZON_S_MIN = 180.0
SPAN_S_MAX, NUMBER_MAX = 1_000_000, 10**15
"""Any number of seconds (eleven days), and any other number."""
SECRETS = {"api_key", "api_secret", "access_token", "webhook", "telegram_bot_token", "heartbeat_url"}
SINK_SECRETS = {"webhook", "telegram_bot_token", "telegram_chat_id", "heartbeat_url"}
"""Of AlertSection: for the supervisor and the watchdog only."""


class SettingsError(ValueError):
    """A configuration that cannot be used; the message names file, line, cause and fix."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        """Within what integers of nanoseconds and paise hold."""
        most = SPAN_S_MAX if (info.field_name or "").endswith("_s") else NUMBER_MAX
        if isinstance(value, int | float) and value > most:
            raise ValueError(f"at most {most:,} can be set here")
        return value


class KiteSection(_Section):
    """Where Kite answers, and the session. In `mode: sim` the simulator fills all of it in."""

    api_key: str = ""
    access_token: str = Field("", repr=False)
    ws_url: str = "wss://ws.kite.trade"
    api_url: str = "https://api.kite.trade"


class SimulatorSection(_Section):
    """The simulator that `mode: sim` starts beside the engine."""

    instruments: int = Field(20, ge=1, le=9000)
    rate: float = Field(5.0, gt=0, description="ticks per second and instrument")
    packets_per_frame: int = Field(20, ge=1, le=3000)
    seed: int = 1
    cash: int = Field(1_000_000, ge=0, description="rupees on the account")
    exchange_time: str | None = Field(None, description="IST of the first tick, YYYY-MM-DDTHH:MM:SS")
    replay: Path | None = None
    speed: float = Field(1.0, ge=0, description="replay speed; 0: as fast as the engine takes it")
    hours: Literal["always", "exchange"] = Field("always", description="exchange: phases of the trading day")
    latency_us: int | None = Field(None, ge=0, description="longest delay of an order's stage")
    faults: Path | None = Field(None, description="file of faults to inject")


class DatafeedSection(_Section):
    mode: Literal["ltp", "quote", "full"] = "full"
    modes: dict[str, Literal["off", "ltp", "quote", "full"]] = Field(
        default_factory=dict, description="instruments that start in another mode; off: known, not subscribed"
    )
    connections: int | None = Field(None, ge=1, description="how many; default: as few as carry all")
    instruments: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    without_volume: list[str] = Field(
        default_factory=list, description="instruments whose messages carry no day volume: bars count all"
    )
    store_bars: bool = Field(False, description="write every closed bar to bars.bin in the run folder")
    store_ticks: bool = Field(False, description="record market data in the run folder")
    tick_storage_format: Literal["binary", "frames", "both"] = Field(
        "binary", description="binary: 64 bytes a tick; frames: what came on the wire"
    )
    silence_s: float = Field(5.0, gt=0, description="no frame for so long: the connection is dead")
    ping_s: float = Field(2.5, gt=0, description="our own pings go out this often")


class StrategySection(_Section):
    name: str
    form: Literal["A", "B"] = "A"
    instruments: Literal["all"] | list[str] = "all"
    copies: Literal["whole", "per_connection"] = Field(
        "whole", description="per_connection: one independent copy beside each connection's instruments"
    )
    params: dict[str, float | int | str | bool] = Field(default_factory=dict)


class KernelSection(_Section):
    """The default kernels (both Kalman filters and the bars run on every instrument)."""

    q: float = Field(1e-4, gt=0)
    r: float = Field(1e-2, gt=0)
    p0: float = Field(1.0, gt=0)
    x0: Literal["zero", "first_tick"] = "zero"
    dt: Literal["tick", "seconds"] = "tick"


class RiskSection(_Section):
    """The limits of the gate. Money in rupees. null: there is no such limit."""

    max_order_value: float = Field(200_000.0, gt=0)
    max_order_quantity: int = Field(10_000, gt=0)
    max_position_size: float = Field(100_000.0, gt=0, description="per instrument")
    max_exposure: float = Field(1_000_000.0, gt=0)
    max_positions: int = Field(20, gt=0)
    max_working_orders: int = Field(40, gt=0)
    stale_tick_s: float = Field(2.0, gt=0)
    price_collar_percent: float = Field(5.0, gt=0)
    period_s: float = Field(60.0, gt=0, description="openings of a strategy, or in an instrument, within it:")
    period_orders: int = Field(300, gt=0)
    period_quantity: int = Field(1_000_000, gt=0)
    period_value: float = Field(50_000_000.0, gt=0)
    repeats_max: int = Field(60, gt=0, description="the same order within repeats_s: the strategy is held")
    repeats_s: float = Field(60.0, gt=0)
    max_gross_notional: float = Field(1_000_000_000.0, gt=0, description="all openings of the day")
    min_funds: float = Field(0.0, ge=0, description="free at the broker, below which nothing is opened")
    max_daily_loss: float | None = Field(None, gt=0, description="net of charges; mode live needs it")
    on_daily_loss: Literal["reduce", "kill", "flatten"] = "reduce"
    max_drawdown: float | None = Field(None, gt=0, description="net, from the best of the day")
    cooldown_s: float = Field(0.0, ge=0, description="no opening so long after a loss there")
    stop_losses_max: int | None = Field(None, gt=0, description="losses within stop_losses_s: a pause")
    stop_losses_s: float = Field(3600.0, gt=0)
    stop_pause_s: float = Field(3600.0, gt=0)
    market_protection: float = Field(-1.0, ge=-1, le=100, description="percent; -1: the broker's choice")
    band_age_s: float = Field(180.0, gt=0, description="circuit limits older than this are not known")
    btst: bool = Field(False, description="shares bought yesterday may be sold")
    ddpi: bool = Field(False, description="a standing DDPI: holdings may be sold without a TPIN")
    market_read_s: float = Field(60.0, gt=0, description="circuit limits and holdings are read this often")
    skew_s: float = Field(1.0, gt=0, description="wall clock against the broker's, and against steps")
    lists: Path = Field(Path("lists"), description="folder of the daily lists: LIST-YYYY-MM-DD.csv")
    allow: list[str] = Field(
        default_factory=list, description="EXCHANGE:SYMBOL that may be opened without the daily lists"
    )


class TradingSection(_Section):
    date: dt.date | None = Field(None, description="the day that is traded; default: today in India")
    market_start: str | None = Field(None, description="with market_end: overrides the calendar")
    market_end: str | None = None
    calendar: Path = Path("calendar/india.yaml")
    rules: Path = Path("rules/kite_2026-04-01.yaml")
    market: Path = Field(
        Path("rules/market_2026-08-03.yaml"), description="what exchanges and broker let through"
    )
    charges: Path = Path("rules/charges_zerodha_2026-04-01.yaml")
    intent_deadline_s: float = Field(2.0, gt=0)
    poll_s: float = Field(3.0, gt=0, description="order book is read this often while orders work")
    absence_horizon_s: float = Field(180.0, gt=0)
    positions_s: float = Field(15.0, gt=0, description="the broker's positions are compared this often")
    fsync_before_send: bool = Field(
        False, description="an order leaves only when its record in the journal is on the disk"
    )
    watchdog: bool = Field(True, description="a process of its own alerts on unprotected positions")


Wait = Literal["auto", "spin", "yield", "park", "adaptive"]


class PerformanceSection(_Section):
    ring_buffer_size: int = Field(1_000_000, ge=1024, le=2**26, description="slots, rounded up to 2^n")
    queue_size: int = Field(4096, ge=64, le=2**20)
    batch_size: int = Field(1000, ge=1, le=65536)
    packing: Literal["auto", "fused", "separate"] = "auto"
    wait: Wait = Field("auto", description="how stages wait for work; auto: by the number of cores")
    waits: dict[Literal["feed", "compute", "orders"], Wait] = Field(
        default_factory=dict, description="per stage, instead of `wait`"
    )
    pin: Literal["off", "auto"] | dict[str, int] = Field(
        "off", description="processes to cores: {market-0: 2}, or auto by the plan"
    )
    realtime_priority: int | None = Field(None, ge=1, le=90, description="SCHED_FIFO priority")
    lock_memory: bool = Field(False, description="mlockall: no page of ours is swapped out")
    huge_pages: bool = Field(False, description="ask for transparent huge pages for the rings")
    send_stamp: bool = Field(
        False, description="load tests: the sender's intended time stands in oi_day_high, in µs"
    )


class SupervisionSection(_Section):
    """What happens when a process dies or hangs."""

    restart: bool = Field(True, description="False: the run ends in order instead")
    hung_s: float = Field(5.0, gt=0, description="no sign of life for so long: killed and started again")
    restarts_max: int = Field(5, ge=1, description="of one process within restarts_window_s; then HALTED")
    restarts_window_s: float = Field(60.0, gt=0)
    spares: bool = Field(True, description="keep started processes in reserve, so that a restart is fast")
    snapshot_s: float = Field(0.5, gt=0, description="workers keep a copy of their state this often")


NO_SINK = "I have no alert sink"


class AlertSection(_Section):
    """When a person is told, and by what. Addresses may hold secrets: they are shown nowhere."""

    hook: list[str] = Field(
        default_factory=list, description="command that gets each alert as JSON on its standard input"
    )
    hook_timeout_s: float = Field(5.0, gt=0)
    webhook: str = Field("", repr=False, description="address that gets each alert as a POST of JSON")
    telegram_bot_token: str = Field("", repr=False)
    telegram_chat_id: str = ""
    telegram_url: str = "https://api.telegram.org"
    journald: bool = Field(False, description="each alert as an entry of the system's journal")
    journald_socket: Path = Path("/run/systemd/journal/socket")
    heartbeat_url: str = Field("", repr=False, description="called while all is well: silence pages")
    heartbeat_s: float = Field(30.0, ge=0.1)
    heartbeat_method: Literal["GET", "POST"] = "POST"
    sink_timeout_s: float = Field(3.0, gt=0, description="one attempt at an address")
    waive_sinks: Literal["", "I have no alert sink"] = Field("", description="live mode without a sink")
    feed_silence_s: float = Field(3.0, gt=0, description="a connection without any frame")
    market_halt_s: float = Field(3.0, gt=0, description="all instruments silent while frames come")
    stale_position_s: float = Field(15.0, gt=0, description="no tick of an instrument that we hold")
    reject_storm: int = Field(5, ge=2, description="orders rejected in a row: REDUCING")
    remind_s: float = Field(300.0, gt=0, description="told again this often until acknowledged or over")
    disk_free_mb: float = Field(500.0, ge=0, description="less room in the state directory: an alert")
    naked_limit: float = Field(0.0, ge=0, description="rupees held without protection; 0: any rupee")
    naked_grace_s: float = Field(3.0, ge=0, description="longest wait for fresh books before the alert")
    naked_closing_s: float = Field(30.0, ge=0, description="so long a closing order counts as a stop")
    blind_s: float = Field(60.0, gt=0, description="the broker's books are older: the watchdog is blind")
    close_summary: str = Field("14:50", description="when it is said what protects positions at the close")

    @model_validator(mode="after")
    def _sinks(self) -> AlertSection:
        for key in ("webhook", "telegram_url", "heartbeat_url"):
            if getattr(self, key):
                check_sink_address(f"alerts.{key}", getattr(self, key))
        if bool(self.telegram_bot_token) != bool(self.telegram_chat_id):
            raise ValueError("alerts.telegram_bot_token and alerts.telegram_chat_id go together")
        return self


class ConsoleSection(_Section):
    classic: bool = False
    timestamps: bool = False


class ExitsSection(_Section):
    """How stops, slices and groups of orders are kept."""

    stop_gap_percent: float = Field(
        1.0, gt=0, le=20, description="an SL's limit lies so far behind its trigger"
    )
    stop_rest_s: float = Field(2.0, ge=0.1, description="a triggered stop that rests so long is priced anew")
    slices_max: int = Field(10, ge=1, le=10, description="orders of one intent above the freeze quantity")
    group_wait_s: float = Field(1.0, gt=0, description="legs of a group come within this time")
    group_leg_s: float = Field(15.0, gt=0, description="longest that a leg may rest")
    group_next: Literal["filled", "accepted"] = Field("filled", description="what lets the next leg go")
    settlement: Literal["warn", "close"] = Field(
        "warn", description="stock futures and options before they settle in shares: tell, or close them"
    )
    group_partial: Literal["unwind", "keep"] = Field("unwind", description="a broken group's fills")


class Settings(_Section):
    """The whole file."""

    mode: Literal["sim", "paper", "live"] = "sim"
    broker: Literal["kite"] = "kite"
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")] = "DEMO"
    kite: KiteSection = KiteSection()
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

    @model_validator(mode="after")
    def _whole_session(self) -> Settings:
        if (self.trading.market_start is None) != (self.trading.market_end is None):
            raise ValueError("trading.market_start and trading.market_end go together")
        if self.console.classic and any(s.form != "A" for s in self.strategies):
            raise ValueError("console.classic tells of strategies in form A only")
        return self

    @model_validator(mode="after")
    def _addresses(self) -> Settings:
        check_address("kite.ws_url", self.kite.ws_url, plain="ws", encrypted="wss")
        check_address("kite.api_url", self.kite.api_url, plain="http", encrypted="https")
        return self

    @model_validator(mode="after")
    def _horizon(self) -> Settings:
        here = self.mode == "paper" or is_loopback(self.kite.api_url) or not self.kite.access_token
        if self.trading.absence_horizon_s < HORIZON_S_MIN and not (here and self.mode != "live"):
            raise ValueError(
                f"trading.absence_horizon_s below {HORIZON_S_MIN:g} s is accepted on loopback only: "
                "a broker may show an order that late"
            )
        return self


def load_yaml(path: Path) -> Any:
    """The parsed YAML of a file (rules, calendars).

    Raises:
        SettingsError: missing, unreadable, or no YAML; names file and line.
    """
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; config/demo.yaml is one to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{line}: {getattr(error, 'problem', None) or error}") from None


def load_settings(path: Path) -> Settings:
    """Read and check a configuration file.

    Raises:
        SettingsError: unreadable, not a mapping, an unknown key, or a value that does not fit.
    """
    data = load_yaml(path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: expected keys and values, found {type(data).__name__}")
    lines = _key_lines(yaml.compose(path.read_text("utf-8")))
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(path, lines, e) for e in error.errors())) from None
    return _with_absolute_paths(settings, path.resolve().parent)


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """Relative paths in a configuration file are meant from the folder of that file."""
    trading, simulator = settings.trading, settings.simulator
    paths = {name: folder / getattr(trading, name) for name in ("calendar", "rules", "market", "charges")}
    files = {
        name: folder / path if (path := getattr(simulator, name)) else None for name in ("replay", "faults")
    }
    return settings.model_copy(
        update={
            "trading": trading.model_copy(update=paths),
            "risk": settings.risk.model_copy(update={"lists": folder / settings.risk.lists}),
            "simulator": simulator.model_copy(update=files),
        }
    )


def _key_lines(node: yaml.Node | None, at: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], int]:
    """Line of every key and list item, by its path in the file."""
    found: dict[tuple[str | int, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            found[here] = key.start_mark.line + 1
            found.update(_key_lines(value, here))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*at, index)
            found[here] = value.start_mark.line + 1
            found.update(_key_lines(value, here))
    return found


def _explain(path: Path, lines: dict[tuple[str | int, ...], int], error: Any) -> str:
    """One validation error as `file, line: key: cause; fix`."""
    where = tuple(error["loc"])
    line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), None)
    head = f"{path}{f', line {line}' if line else ''}"
    key = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(where[-1]), _known_keys(where[:-1]), n=1, cutoff=0.5)
        known = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(_known_keys(where[:-1]))}"
        return f"{head}: unknown key {key!r}; {known}"
    message = error["msg"].removeprefix("Value error, ")
    if key and (SECRETS & set(where) or isinstance(error["input"], dict)):
        return f"{head}: {key}: {message}"  # without the value, or a section's values
    return f"{head}: {key}: {message} (found {error['input']!r})" if key else f"{head}: {message}"


def _known_keys(section: tuple[str | int, ...]) -> list[str]:
    """Names that a section takes; `section` is its path in the file."""
    model: Any = Settings
    for part in section:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return []
        annotation = field.annotation
        arguments = [a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")]
        model = annotation if hasattr(annotation, "model_fields") else arguments[0] if arguments else None
        if model is None:
            return []
    return sorted(model.model_fields)
