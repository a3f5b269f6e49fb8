"""Layer 0, every process, cold: what the configuration says of limits, exits and alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from kite_hft.addresses import check_sink_address
from kite_hft.configuring.models.promised import PromisedRisk
from kite_hft.configuring.section import Section

SINK_SECRETS = {"webhook", "telegram_bot_token", "telegram_chat_id", "heartbeat_url"}
"""Of AlertSection: for the supervisor and the watchdog only."""


class RiskSection(PromisedRisk):
    """The limits of the gate. Money in rupees. null: there is no such limit."""

    max_order_value: float = Field(200_000.0, gt=0)
    max_order_quantity: int = Field(10_000, gt=0)
    max_position_size: float = Field(100_000.0, gt=0, description="per instrument")
    max_exposure: float = Field(1_000_000.0, gt=0)
    max_positions: int = Field(20, gt=0)
    max_working_orders: int = Field(40, gt=0)
    stale_tick_s: float = Field(2.0, gt=0, description="nothing opens on an older price, or one so late")
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


class ExitsSection(Section):
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


NO_SINK = "I have no alert sink"


class AlertSection(Section):
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
