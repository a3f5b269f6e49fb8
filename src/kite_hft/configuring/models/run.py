"""Layer 0, every process, cold: what the configuration says of keys, memory, processes and the console."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from kite_hft.configuring.models.promised import PromisedPerformance
from kite_hft.configuring.section import Section


class CredentialsSection(Section):
    """Where keys and tokens come from that the configuration leaves empty."""

    file: Path | None = Field(
        None, description="the vault; default: $KITE_HFT_VAULT, or credentials.vault in ~/.config/kite_hft"
    )
    profile: str = Field(
        "default", pattern=r"^[A-Za-z0-9_.-]{1,32}$", description="which account of the broker in the vault"
    )


Wait = Literal["auto", "spin", "yield", "park", "adaptive"]


class PerformanceSection(PromisedPerformance):
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
        False, description="load tests: the sender's intended time, in µs: in oi_day_high (Upstox: in oi)"
    )


class SupervisionSection(Section):
    """What happens when a process dies or hangs."""

    restart: bool = Field(True, description="False: the run ends in order instead")
    hung_s: float = Field(5.0, gt=0, description="no sign of life for so long: killed and started again")
    restarts_max: int = Field(5, ge=1, description="of one process within restarts_window_s; then HALTED")
    restarts_window_s: float = Field(60.0, gt=0)
    spares: bool = Field(True, description="keep started processes in reserve, so that a restart is fast")
    snapshot_s: float = Field(0.5, gt=0, description="workers keep a copy of their state this often")


class ConsoleSection(Section):
    classic: bool = Field(False, description="the lines of the Kalman scripts; strategies in form A only")
    timestamps: bool = Field(False, description="[2025-08-14 10:00:01] in front of them")
    every: int | None = Field(
        None, ge=1, description="of so many ticks one has its line there; default: kalman_ml 20, others 1"
    )
