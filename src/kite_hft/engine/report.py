"""Layer 5, supervisor, cold: report.json, from the counters in shared memory and the processes' parts.

One schema for engine and load test (docs/ARCHITECTURE.md shows it). Counters are read while the
processes write them; the final report is made after they have ended.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import kite_hft.layout as layout
from kite_hft import _counters
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.memory.counters import named, percentiles
from kite_hft.memory.segment import Segment, attach

MALFORMED = tuple(name for name in COUNTERS["feed"] if name.startswith("malformed_"))


@dataclass(slots=True)
class Readings:
    """Read-only view of all counters of a run."""

    segments: dict[str, Segment]
    readers: dict[str, _counters.CounterReader]

    @classmethod
    def open(cls, paths: Mapping[str, Path]) -> Readings:
        """`paths`: segment name -> file; takes those named counters-<stage>."""
        segments = {
            stage: attach(paths[f"counters-{stage}"], SegmentKind.COUNTERS, writable=False)
            for stage in COUNTERS
        }
        return cls(segments, {s: _counters.CounterReader(g.view) for s, g in segments.items()})

    def values(self, stage: str) -> dict[str, int]:
        return named(stage, self.readers[stage].values())

    def latency_us(self) -> dict[str, dict[str, float]]:
        """Percentiles of every histogram, by name."""
        return {
            name: percentiles(self.readers[stage].histogram(index))
            for stage, names in HISTOGRAMS.items()
            for index, name in enumerate(names)
        }

    def close(self) -> None:
        self.readers.clear()
        for segment in self.segments.values():
            segment.close()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def build() -> dict[str, str]:
    """Fingerprints of what ran."""
    from kite_hft import _ring

    return {
        "layout": f"{layout.LAYOUT_FINGERPRINT:016x}",
        "compiled": f"{_ring.BUILD_FINGERPRINT:016x}",
        "numpy": np.__version__,
    }


def processes(pids: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(memory, cpu) by process: RSS and PSS in bytes, seconds of user and system time."""
    memory: dict[str, Any] = {}
    cpu: dict[str, Any] = {}
    for name, pid in pids.items():
        try:
            process = psutil.Process(pid)
            full = process.memory_full_info()
            times = process.cpu_times()
            switches = process.num_ctx_switches()
        except psutil.Error:
            continue
        memory[name] = {"rss": full.rss, "pss": getattr(full, "pss", 0)}
        cpu[name] = {
            "user_s": times.user,
            "system_s": times.system,
            "voluntary_switches": switches.voluntary,
            "involuntary_switches": switches.involuntary,
        }
    return memory, cpu


def ticks_part(feed: Mapping[str, int], compute: Mapping[str, int]) -> dict[str, Any]:
    """The chain of counts: what arrived, what each stage handed on, and their checksums."""
    malformed = {name.removeprefix("malformed_"): feed[name] for name in MALFORMED}
    chain = {
        "received": feed["received"],
        "decoded": feed["decoded"],
        "published": feed["published"],
        "computed": compute["computed"],
        "lost": compute["lost"],
    }
    return {
        **chain,
        "unknown_instrument": feed["unknown_instrument"],
        "malformed": malformed,
        "checksum": {
            "decoded": f"{feed['checksum_decoded'] % 2**64:016x}",
            "published": f"{feed['checksum_published'] % 2**64:016x}",
            "computed": f"{compute['checksum_computed'] % 2**64:016x}",
        },
        "by_connection": [{"frames": feed["frames"], "heartbeats": feed["heartbeats"], **chain}],
    }


def counted_orders(counters: Mapping[str, int]) -> dict[str, Any]:
    """The orders part when ORDERS could not say it itself: counts stand, reasons are unknown."""
    names = ("intents", "sent", "accepted", "filled", "partial_fills", "rejected", "ambiguous", "resolved")
    refused = {"UNKNOWN": counters["refused"]} if counters["refused"] else {}
    return {name: counters[name] for name in names} | {"refused": refused}


def make_report(
    readings: Readings,
    parts: Mapping[str, Mapping[str, Any]],
    *,
    mode: str,
    duration_s: float,
    memory: Mapping[str, Any],
    cpu: Mapping[str, Any],
    shm_bytes: Mapping[str, int],
    absence_horizon_s: float,
) -> dict[str, Any]:
    """The whole report. `parts`: what each process said at its end, by process name."""
    feed, compute, orders = (readings.values(stage) for stage in ("feed", "compute", "orders"))
    told = parts.get("orders", {})
    started = {name: part["start"] for name, part in parts.items() if "start" in part}
    return {
        "build": build(),
        "machine": machine(),
        "mode": mode,
        "duration_s": round(duration_s, 3),
        "ticks": ticks_part(feed, compute),
        "bars": compute["bars"],
        "signals": compute["signals"],
        "orders": told.get("orders") or counted_orders(orders),
        "pnl_paise": told.get("pnl_paise", {"gross": 0, "charges": 0, "net": 0}),
        "positions": told.get("positions", []),
        "open_at_end": told.get("open", {}),
        "latency_us": readings.latency_us(),
        "memory": {"by process": dict(memory), "shm": dict(shm_bytes)},
        "cpu": dict(cpu),
        "start": started,
        "restarts": [],
        "absence_horizon_s": absence_horizon_s,
    }
