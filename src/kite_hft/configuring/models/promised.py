"""Layer 0, every process, cold: keys of the first design of this system, kept under their names.

A configuration that was written for it loads. Some of these keys act (shares of the capital, modes by kind of
instrument, limits of calls), some stand for a key of ours under another name, and of the others it is said
what does their work here: `note_of` finds these words, `kite-hft config check` prints them. None is passed
over in silence, and a limit that nothing would check is refused in mode live.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from kite_hft.configuring.section import Section

NOTE, UNCHECKED, ALIAS = "note", "unchecked", "alias"
"""In a field's json_schema_extra: what does its work; that it is a limit or a way to be told which does
not exist here; the key that it stands for."""


def elsewhere(default: Any, note: str, **more: Any) -> Any:
    """A key that is accepted, and what does its work."""
    return Field(default, json_schema_extra={NOTE: note}, **more)


def unchecked(default: Any, note: str, **more: Any) -> Any:
    """A key that somebody would rely on, and that nothing here acts by: refused in mode live."""
    return Field(default, json_schema_extra={NOTE: note, UNCHECKED: True}, **more)


def alias(key: str, **more: Any) -> Any:
    """Another name of `key`."""
    return Field(None, json_schema_extra={ALIAS: key}, description=f"another name of {key}", **more)


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """What was said of a field by the three functions above."""
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


class RateLimitsSection(Section):
    """Limits of our own for calls at Kite: stricter than the rules file, never looser."""

    http_api: int | None = Field(
        None, ge=1, description="books, positions, margins: calls a second; default: the rules"
    )
    historical_api: int | None = Field(None, ge=1, description="candles: calls a second; default: the rules")
    order_placement: int | None = Field(None, ge=1, description="order calls a minute; default: the rules")
    max_orders_per_day: int | None = Field(None, ge=1, description="placements a day; default: the rules")


class WebsocketSection(Section):
    """Limits of our own for connections to Kite: stricter than the rules file, never looser."""

    max_connections: int | None = Field(None, ge=1, description="default: the rules")
    max_instruments_per_connection: int | None = Field(None, ge=1, description="default: the rules")
    reconnect_delay: float = elsewhere(
        5, "a lost connection is made again with growing, random delays (docs/ARCHITECTURE.md)", ge=0
    )
    max_reconnect_attempts: int = elsewhere(
        50, "a lost connection is tried again until the engine stops; the alert FEED_DEAD tells", ge=0
    )
    ping_interval: float = elsewhere(30, "datafeed.ping_s and datafeed.silence_s", ge=0)


class PromisedPerformance(Section):
    buffer_size: int = elsewhere(10_000, "ticks are in performance.ring_buffer_size alone, once", ge=1)
    worker_threads: int = elsewhere(
        4, "the plan makes one worker for each connection: datafeed.connections", ge=1, le=1024
    )
    io_threads: int = elsewhere(2, "each connection has a process or a turn of its own", ge=0)
    tick_aggregation_interval: int = elsewhere(
        100, "every tick goes through the kernels when it comes; bars are of exchange time", ge=0
    )
    use_mmap: bool = elsewhere(True, "the rings always are memory-mapped files")
    mmap_size: int = elsewhere(100_000_000, "a recording grows as it needs, see alerts.disk_free_mb", ge=0)
    store_ticks: bool | None = alias("datafeed.store_ticks")


class PromisedTrading(Section):
    pre_market: str = elsewhere("09:00:00", "the phases of the day are in trading.calendar")
    default_quantity: int = elsewhere(1, "each strategy has its quantity: strategies.params", ge=1)
    risk_per_trade: float = elsewhere(
        0.02, "each strategy sizes its orders; section risk limits them", gt=0, le=1
    )
    max_position_size: float | None = alias("risk.max_position_size", gt=0)
    order_timeout: float = elsewhere(
        30, "an order without an answer is looked up, see trading.absence_horizon_s", gt=0
    )
    order_retry_count: int = elsewhere(
        0, "an order whose answer is not known is never sent again: it might be filled twice", ge=0
    )
    order_retry_delay: float = elsewhere(1, "orders are not repeated, see order_retry_count", ge=0)


class PromisedDatafeed(Section):
    primary_source: Literal["websocket", "http"] = Field(
        "websocket",
        description="http (or polling): prices by the broker's quote calls, seconds old (docs/polling.md)",
    )
    equity_mode: str | None = Field(None, description="of shares; default: datafeed.mode")
    futures_mode: str | None = Field(None, description="of futures; default: datafeed.mode")
    options_mode: str | None = Field(None, description="of options; default: datafeed.mode")
    auto_subscribe: bool = elsewhere(
        True, "all of datafeed.instruments is subscribed at the start; datafeed.modes may say off"
    )
    subscription_batch_size: int = elsewhere(100, "subscriptions are cut as the broker takes them", ge=1)
    max_storage_days: int = elsewhere(7, "no recording is ever deleted by the engine", ge=0)

    @property
    def is_polled(self) -> bool:
        """Whether prices are asked for call by call."""
        return self.primary_source == "http"

    @field_validator("primary_source", mode="before")
    @classmethod
    def _in_other_words(cls, word: Any) -> Any:
        return "http" if word == "polling" else word


class PromisedRisk(Section):
    capital: float | None = Field(
        None, gt=0, description="rupees; the shares below are of it, and are limits only where it is set"
    )
    max_single_stock: float = Field(0.1, gt=0, le=1, description="of the capital, in one instrument")
    daily_loss_limit: float = Field(0.05, gt=0, le=1, description="of the capital, lost on one day")
    drawdown_limit: float = Field(0.1, gt=0, le=1, description="of the capital, lost from the day's best")
    max_sector_exposure: float = unchecked(
        0.3, "no broker tells an instrument's sector: risk.max_exposure is of all", gt=0, le=1
    )
    default_stop_loss: float = unchecked(
        0.02, "a strategy gives its stop with the order; alerts.naked_limit tells of positions without", gt=0
    )
    trailing_stop: bool = unchecked(True, "a strategy moves its stop itself")

    @model_validator(mode="before")
    @classmethod
    def _of_the_capital(cls, data: Any) -> Any:
        """The shares in rupees. A limit that is set in rupees as well holds when it is the smaller one."""
        capital = data.get("capital") if isinstance(data, dict) else None
        if not isinstance(capital, int | float) or isinstance(capital, bool) or not capital > 0:
            return data
        found = dict(data)
        for share, limit in SHARES.items():
            part = found.get(share, cls.model_fields[share].default)
            given = found.get(limit)
            if limit == "max_position_size" and limit not in found:
                given = cls.model_fields[limit].default
            numbers = isinstance(part, int | float) and isinstance(given, int | float | None)
            if numbers and 0 < part <= 1:
                found[limit] = part * capital if given is None else min(part * capital, given)
        return found


SHARES = {
    "daily_loss_limit": "max_daily_loss",
    "drawdown_limit": "max_drawdown",
    "max_single_stock": "max_position_size",
}
"""Of the section risk: share of the capital -> the limit in rupees."""


_LOG = "each run has its log, engine.log in the run folder, a JSON object a line; `latest` points to it"


class LoggingSection(Section):
    """The log is the run folder's."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = elsewhere(
        "INFO", f"{_LOG}; all goes in"
    )
    format: str = elsewhere("%(asctime)s - %(name)s - %(levelname)s - %(message)s", _LOG)
    log_to_file: bool = elsewhere(True, _LOG)
    log_file: str = elsewhere("logs/trading.log", _LOG)
    max_log_size: int = elsewhere(100_000_000, "a run's log is small: it holds no ticks", ge=0)
    backup_count: int = elsewhere(5, "nothing of an earlier run is overwritten or deleted", ge=0)
    performance_logging: bool = elsewhere(True, "kite-hft top while it runs, report.json afterwards")
    performance_interval: float = elsewhere(300, "kite-hft top, report.json", ge=0)


class TelegramSection(Section):
    enabled: bool = elsewhere(False, "Telegram tells as soon as token and chat are set")
    token: str | None = alias("alerts.telegram_bot_token", repr=False)
    chat_id: str | None = alias("alerts.telegram_chat_id")


_MAIL = "no mail is sent: alerts.hook can run a command that does, for example sendmail"


class EmailSection(Section):
    enabled: bool = unchecked(False, _MAIL)
    smtp_server: str = elsewhere("", _MAIL)
    smtp_port: int = elsewhere(587, _MAIL)
    username: str = elsewhere("", _MAIL)
    password: str = elsewhere("", _MAIL, repr=False)
    from_address: str = elsewhere("", _MAIL)
    to_address: str = elsewhere("", _MAIL)


class SystemSection(Section):
    enabled: bool = elsewhere(True, "alerts.journald writes each alert to the system's journal")
    level: str = elsewhere("WARNING", "every alert has its severity; all are told")


class NotificationsSection(Section):
    """Who is told: the section alerts."""

    telegram: TelegramSection = TelegramSection()
    email: EmailSection = EmailSection()
    system: SystemSection = SystemSection()


class DebugSection(Section):
    enabled: bool = elsewhere(False, "there is one way to run; kite-hft journal shows every step of an order")
    profiling: bool = elsewhere(False, "report.json has the latency of every stage and the CPU time")
    memory_profiling: bool = elsewhere(False, "report.json has the memory of every process")
    save_raw_ticks: bool = elsewhere(
        False, "datafeed.store_ticks with datafeed.tick_storage_format frames or both"
    )
    simulation_mode: bool = elsewhere(False, "mode: sim")
