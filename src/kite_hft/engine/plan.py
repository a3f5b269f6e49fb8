"""Layer 5, supervisor, cold: which processes a run has, and which shared memory between them.

Pure: from settings, instruments and the number of cores to a Plan. A stage is not a process:
on few cores feed and compute share one (no wake-up between them), on more they get one each.
ORDERS is always alone: it is the only process that may reach the broker's REST host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.settings import Settings

FUSED_UP_TO_CORES: Final = 3
TEXT_SLOTS: Final = 256


class PlanError(ValueError):
    """The configuration asks for what cannot be run; the message says what and why."""


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """One shared-memory file."""

    name: str
    kind: SegmentKind
    capacity: int
    counters: int = 0
    histograms: int = 0


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One child process and the stages in it, in the order of their steps."""

    name: str
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run. Processes stand in the order of the flow: stopped so, started the other way."""

    processes: tuple[ProcessPlan, ...]
    segments: tuple[SegmentPlan, ...]
    why: str

    def __str__(self) -> str:
        names = (f"{p.name} ({'+'.join(p.stages)})" for p in self.processes)
        return f"{self.why}: {', '.join(names)}"


def power_of_two(n: int) -> int:
    """The smallest power of two >= n."""
    return 1 << max(0, n - 1).bit_length()


def make_plan(settings: Settings, instruments: int, cores: int, per_connection: int) -> Plan:
    """The plan of a run. `per_connection`: what the broker's rules allow on one connection.

    Raises:
        PlanError: more instruments than one connection may carry.
    """
    if instruments > per_connection:
        raise PlanError(
            f"{instruments} instruments are configured, one connection carries "
            f"{per_connection}; shorten datafeed.instruments"
        )
    packing = settings.performance.packing
    if packing == "auto":
        packing = "fused" if cores <= FUSED_UP_TO_CORES else "separate"
    processes: tuple[ProcessPlan, ...]
    if packing == "fused":
        processes = (ProcessPlan("market", ("feed", "compute")), ProcessPlan("orders", ("orders",)))
    else:
        processes = (
            ProcessPlan("feed", ("feed",)),
            ProcessPlan("compute", ("compute",)),
            ProcessPlan("orders", ("orders",)),
        )
    return Plan(processes, _segments(settings, instruments), f"{packing} on {cores} cores")


def _segments(settings: Settings, instruments: int) -> tuple[SegmentPlan, ...]:
    queue = power_of_two(settings.performance.queue_size)
    counters = tuple(
        SegmentPlan(f"counters-{stage}", SegmentKind.COUNTERS, len(names), len(names), len(HISTOGRAMS[stage]))
        for stage, names in COUNTERS.items()
    )
    return (
        SegmentPlan("ticks-0", SegmentKind.TICK_RING, power_of_two(settings.performance.ring_buffer_size)),
        SegmentPlan("latest", SegmentKind.LATEST_TABLE, max(1, instruments)),
        SegmentPlan("intents-0", SegmentKind.INTENT_QUEUE, queue),
        SegmentPlan("events-0", SegmentKind.EVENT_QUEUE, queue),
        SegmentPlan("texts-0", SegmentKind.TEXT_QUEUE, TEXT_SLOTS),
        *counters,
    )
