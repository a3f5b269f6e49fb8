"""Layer 0, every process, cold: what the configuration says of prices, strategies and the trading day."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from kite_hft.configuring.models.broker import FILES
from kite_hft.configuring.models.promised import PromisedDatafeed, PromisedTrading
from kite_hft.configuring.section import Section

ONLY_STREAMED = frozenset({"option_greeks", "full_d30"})
"""Modes that no quote call stands for."""


class SimulatorSection(Section):
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


class DatafeedSection(PromisedDatafeed):
    mode: str = Field(
        "full", description="kite: ltp, quote, full; upstox: ltpc, option_greeks, full, full_d30"
    )
    modes: dict[str, str] = Field(
        default_factory=dict, description="instruments that start in another mode; off: known, not subscribed"
    )
    aux: bool | list[Literal["greeks", "depth", "auction", "bar", "market"]] = Field(
        False,
        description="what TICK has no room for, in a ring: all of it, or these kinds (upstox)",
    )
    connections: int | None = Field(None, ge=1, description="how many; default: as few as carry all")
    instruments: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    universe: Path | None = Field(
        None, description="file that says what is traded (docs/instruments.md), instead of `instruments`"
    )
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
    quiet_s: float = Field(
        60.0, gt=0, description="a connection without data for so long in market hours is made again (upstox)"
    )
    # Two brokers' feeds of the same instruments (data_broker: both).
    twin_hold_s: float = Field(
        1.0, ge=0, description="the other feed's ticks count when the one that leads is silent so long"
    )
    diverge_percent: float = Field(0.5, ge=0, description="two feeds differ when by more than this and")
    diverge_ticks: int = Field(5, ge=0, description="by more than so many price steps; for")
    diverge_s: float = Field(3.0, ge=0, description="so long: nothing is opened in the instrument until")
    agree_s: float = Field(5.0, ge=0, description="they have agreed for so long")

    def mode_of(self, kind: str, is_index: bool) -> str:
        """The mode of an instrument that `modes` does not name: of its kind (EQ, FUT, CE, PE), or of all."""
        if is_index:
            return self.mode
        by_kind = {"EQ": self.equity_mode, "FUT": self.futures_mode}
        return by_kind.get(kind, self.options_mode if kind in ("CE", "PE") else None) or self.mode

    @field_validator("tick_storage_format", mode="before")
    @classmethod
    def _converted(cls, word: Any) -> Any:
        if word in ("csv", "parquet"):
            raise ValueError("ticks are recorded as binary; `kite-hft convert` makes Parquet of them")
        return word

    @field_validator("modes", mode="before")
    @classmethod
    def _off(cls, modes: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return {k: "off" if m is False else m for k, m in modes.items()} if isinstance(modes, dict) else modes

    @model_validator(mode="after")
    def _one_choice(self) -> DatafeedSection:
        if self.universe is not None and self.instruments != "all":
            raise ValueError("datafeed.universe and datafeed.instruments both say what is traded: keep one")
        return self

    @model_validator(mode="after")
    def _polled(self) -> DatafeedSection:
        """What only a websocket brings."""
        if not self.is_polled:
            return self
        by_http = "with datafeed.primary_source http"
        if (self.connections or 1) > 1:
            raise ValueError(f"datafeed.connections: {by_http} there is one; leave the key out")
        if self.aux:
            raise ValueError(f"datafeed.aux: {by_http} these values do not come; take it out")
        if self.store_ticks and self.tick_storage_format != "binary":
            raise ValueError(f"datafeed.tick_storage_format: {by_http} there are no frames; write binary")
        modes = {self.mode, *self.modes.values(), self.equity_mode, self.futures_mode, self.options_mode}
        if asked := ONLY_STREAMED & modes:
            raise ValueError(f"mode {min(asked)} does not come {by_http}: choose full, or ltp (ltpc)")
        return self


class StrategySection(Section):
    name: str = Field(description="built in, package.module:Class, or with `path` what people see")
    path: Path | None = Field(
        None, description="a file of your own with a strategy's class; from the folder of this file"
    )
    form: Literal["A", "B"] = "A"
    instruments: Literal["all"] | list[str] = "all"
    copies: Literal["whole", "per_connection"] = Field(
        "whole", description="per_connection: one independent copy beside each connection's instruments"
    )
    params: dict[str, float | int | str | bool] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        """One with a path needs no name."""
        if isinstance(data, dict) and data.get("path") and not data.get("name"):
            return {**data, "name": Path(str(data["path"])).stem}
        return data


class KernelSection(Section):
    """The default kernels (both Kalman filters and the bars run on every instrument)."""

    q: float = Field(1e-4, gt=0)
    r: float = Field(1e-2, gt=0)
    p0: float = Field(1.0, gt=0)
    x0: Literal["zero", "first_tick"] = "zero"
    dt: Literal["tick", "seconds"] = "tick"


class TradingSection(PromisedTrading):
    date: dt.date | None = Field(None, description="the day that is traded; default: today in India")
    market_start: str | None = Field(None, description="with market_end: overrides the calendar")
    market_end: str | None = Field(
        None, description="with market_start; at a broker not before positions of the day are closed"
    )
    calendar: Path = Path("calendar/india.yaml")
    rules: Path = Field(FILES["kite"]["rules"], description="the order broker's limits; default: by broker")
    market: Path = Field(
        Path("rules/market_2026-08-03.yaml"), description="what exchanges and broker let through"
    )
    charges: Path = Field(FILES["kite"]["charges"], description="what orders cost; default: by broker")
    indices: Path = Field(
        Path("rules/indices_2026-08-03.yaml"), description="what two brokers call the same index"
    )
    intent_deadline_s: float = Field(2.0, gt=0)
    poll_s: float = Field(3.0, gt=0, description="order book is read this often while orders work")
    absence_horizon_s: float = Field(180.0, gt=0)
    positions_s: float = Field(15.0, gt=0, description="the broker's positions are compared this often")
    fsync_before_send: bool = Field(
        False, description="an order leaves only when its record in the journal is on the disk"
    )
    prove_address: bool = Field(
        True,
        description="the broker is asked, by the cancel of an order that cannot exist, whether he takes "
        "order calls from this machine: at every start, and at the time in the rules. In mode live, and of a "
        "simulator that was there before the run; never in paper or the sandbox",
    )
    watchdog: bool = Field(True, description="a process of its own alerts on unprotected positions")
