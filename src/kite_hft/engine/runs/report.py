"""Layer 5, supervisor, cold: report.json, from the counters in shared memory and the processes' parts.

One schema for engine and load test (docs/ARCHITECTURE.md shows it). Counters are read while the
processes write them; the final report is made after they have ended.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psutil

import kite_hft.layout as layout
from kite_hft import _counters
from kite_hft.layout import COUNTERS, HISTOGRAMS, SLOT_STATS, SegmentKind
from kite_hft.memory.counters import named, percentiles
from kite_hft.memory.header import PAYLOAD_OFFSET
from kite_hft.memory.segment import Segment, attach

MALFORMED: Final = tuple(name for name in COUNTERS["feed"] if name.startswith("malformed_"))

GAUGES: Final = frozenset({"last_frame_ns", "last_tick_ns", "snapshot_ns"})
"""Counters of which the newest counts; all others add up over the processes of a stage."""

CONNECTION_COUNTERS: Final = (
    "frames",
    "bytes",
    "heartbeats",
    "received",
    "decoded",
    "published",
    "connects",
    "disconnects",
    "watchdog_trips",
    "refused_403",
    "refused_429",
    "refused_other",
    "unreachable",
    "closes_by_peer",
    "closes_abrupt",
    "aux_published",
    "aux_dropped",
    "texts",
    "texts_dropped",
    "text_errors",
    "pings",
    "pongs",
    "restarts",
)
"""What a row of by_connection counts, besides its number, instruments, malformed, drops and gaps."""

DROPS: Final = ("closes_by_peer", "closes_abrupt", "watchdog_trips")
"""How a connection ends that should not: the peer closes it, is gone, or falls silent."""


@dataclass(slots=True)
class Readings:
    """Read-only view of all counters of a run, by the name of their segment, and of what its feeds
    know of each instrument (slots, by connection)."""

    segments: dict[str, Segment]
    readers: dict[str, _counters.CounterReader]
    slots: dict[int, Segment] = field(default_factory=dict)

    @classmethod
    def open(cls, paths: Mapping[str, Path]) -> Readings:
        """`paths`: segment name -> file; takes those named counters-<stage>[-<number>] and slots-<number>.

        Raises:
            SegmentError: one cannot be attached.
        """
        found = cls({}, {})
        try:
            for name, path in paths.items():
                if name.startswith("counters-"):
                    found.segments[name] = attach(path, SegmentKind.COUNTERS, writable=False)
                    found.readers[name] = _counters.CounterReader(found.segments[name].view)
                elif name.startswith("slots-"):
                    number = int(name.removeprefix("slots-"))
                    found.slots[number] = attach(path, SegmentKind.SLOT_STATS, writable=False)
        except BaseException:
            found.close()
            raise
        return found

    def of_stage(self, stage: str) -> list[str]:
        """Names of the segments of a stage, by number."""
        return sorted(name for name in self.readers if name.split("-")[1] == stage)

    def one(self, name: str) -> dict[str, int]:
        """The counters of one segment."""
        return named(name.split("-")[1], self.readers[name].values())

    def values(self, stage: str) -> dict[str, int]:
        """The counters of a stage over all of its processes; checksums add up modulo 2^64."""
        total = dict.fromkeys(COUNTERS[stage], 0)
        for name in self.of_stage(stage):
            for counter, value in self.one(name).items():
                total[counter] = max(total[counter], value) if counter in GAUGES else total[counter] + value
        return total

    def latency_us(self) -> dict[str, dict[str, float]]:
        """Percentiles of every histogram, by name, over all processes of its stage."""
        found = {}
        for stage, names in HISTOGRAMS.items():
            readers = [self.readers[name] for name in self.of_stage(stage)]
            for index, name in enumerate(names):
                if readers:
                    found[name] = percentiles(np.sum([r.histogram(index) for r in readers], axis=0))
        return found

    def slot_stats(self, connection: int) -> npt.NDArray[np.void]:
        """A copy of a connection's SLOT_STATS rows: shape (instruments,); empty where it has none."""
        segment = self.slots.get(connection)
        if segment is None:
            return np.zeros(0, SLOT_STATS)
        end = PAYLOAD_OFFSET + int(segment.header["capacity"]) * SLOT_STATS.itemsize
        return np.frombuffer(bytes(segment.view[PAYLOAD_OFFSET:end]), SLOT_STATS)

    def close(self) -> None:
        self.readers.clear()
        for segment in [*self.segments.values(), *self.slots.values()]:
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
    from kite_hft import builds

    return {
        "layout": f"{layout.LAYOUT_FINGERPRINT:016x}",
        "compiled": f"{builds.fingerprint():016x}",
        "numpy": np.__version__,
    }


def processes(pids: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(memory, cpu) by process: RSS and PSS in bytes, seconds of user and system time. PSS is None where a
    process shows its memory to nobody (docs/security.md)."""
    memory: dict[str, Any] = {}
    cpu: dict[str, Any] = {}
    for name, pid in pids.items():
        try:
            process = psutil.Process(pid)
            rss, pss = process.memory_info().rss, shared_fairly(process)
            times = process.cpu_times()
            switches = process.num_ctx_switches()
        except psutil.Error:
            continue
        memory[name] = {"rss": rss, "pss": pss}
        cpu[name] = {
            "user_s": times.user,
            "system_s": times.system,
            "voluntary_switches": switches.voluntary,
            "involuntary_switches": switches.involuntary,
        }
    return memory, cpu


def shared_fairly(process: psutil.Process) -> int | None:
    """PSS of a process in bytes; None: the kernel does not tell it to us.

    Raises:
        psutil.Error: the process is gone.
    """
    try:
        return int(getattr(process.memory_full_info(), "pss", 0))
    except psutil.AccessDenied:
        return None


def ticks_part(readings: Readings) -> dict[str, Any]:
    """The chain of counts: what arrived, what each stage handed on, and their checksums."""
    feed, compute = readings.values("feed"), readings.values("compute")
    malformed = {name.removeprefix("malformed_"): feed[name] for name in MALFORMED}
    chain = {
        "received": feed["received"],
        "decoded": feed["decoded"],
        "published": feed["published"],
        "computed": compute["computed"],
        "lost": compute["lost"],
        "passed_over": compute["twins_passed_over"],  # of two feeds the staler one's
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
        "by_connection": [connection_row(readings, name) for name in readings.of_stage("feed")],
    }


def connection_row(readings: Readings, name: str) -> dict[str, Any]:
    """One row of by_connection, from the feed counters `name` and the connection's instruments.

    drops: ends that were not ours, the silent ones included (`disconnects` counts ours too). gaps: breaks
    of market data that have ended, over all instruments; gap_s: the longest time that
    one of them was without (of all its breaks); longest_silence_s: between two ticks without a break.
    orders_only: it brings order updates and no market data.
    """
    counters = readings.one(name)
    number = int(name.rpartition("-")[2]) if name[-1].isdecimal() else 0
    slots = readings.slot_stats(number)
    return {
        "connection": number,
        "instruments": counters["subscribed"],
        "orders_only": bool(readings.slots) and number not in readings.slots,
        "malformed": sum(counters[word] for word in MALFORMED),
        "drops": sum(counters[word] for word in DROPS),
        "gaps": int(slots["gaps"].sum()),
        "gap_s": round(int(slots["gap_ns"].max(initial=0)) / 1e9, 3),
        "longest_silence_s": round(int(slots["longest_silence_ns"].max(initial=0)) / 1e9, 3),
        **{word: counters[word] for word in CONNECTION_COUNTERS},
    }


def counted_orders(counters: Mapping[str, int]) -> dict[str, Any]:
    """The orders part when ORDERS could not say it itself: counts stand, reasons are unknown."""
    names = (
        "intents", "probes", "sent", "accepted", "filled", "partial_fills", "rejected", "ambiguous",
        "resolved",
    )  # fmt: skip
    refused = {"UNKNOWN": counters["refused"]} if counters["refused"] else {}
    why = {"refused": refused, "refused_for": {}, "rejected_for": {}}
    return {name: counters[name] for name in names} | why


PNL_KEYS: Final = ("gross", "charges", "net", "realised", "unrealised")


def counted_pnl(counters: Mapping[str, int]) -> dict[str, Any]:
    """pnl_paise when ORDERS could not say it itself: from its gauges, not told apart."""
    names = (f"{word}_pnl_paise" if word != "charges" else "charges_paise" for word in PNL_KEYS)
    totals = {word: counters[name] for word, name in zip(PNL_KEYS, names, strict=True)}
    return {**totals, "by_strategy": {}, "by_product": {}}


def state_part(orders: Mapping[str, int], told: Mapping[str, Any]) -> dict[str, Any]:
    """What held orders back when the run ended; the words where ORDERS could still give them."""
    return {
        "killed": str(told.get("killed") or ("yes" if orders["state_killed"] else "")),
        "held": dict(told.get("held", {})),
        "halted": str(told.get("halted") or ("yes" if orders["state_halted"] else "")),
        "reducing": str(told.get("reducing") or ("yes" if orders["state_reducing"] else "")),
        "market_halted": bool(orders["market_halted"]),
        "token_dead": bool(orders["token_dead"]),
    }


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
    restarts: Sequence[Mapping[str, Any]] = (),
    alerts: Mapping[str, Any] | None = None,
    fills: Mapping[str, Any] | None = None,
    placing: Mapping[str, Any] | None = None,
    egress: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole report. `parts`: what each process said at its end, by process name.

    restarts: one row each (engine/processes/restarts.py). alerts: Alerting.report(). fills: by which rules
    the simulated exchange filled orders; empty for a real one. placing: by process how it waits and where
    it runs: what was asked, what it got, and why not (engine/plan/placing.py). egress: the calls to the
    broker, counted once more (engine/runs/recount.py).
    """
    compute, orders = readings.values("compute"), readings.values("orders")
    told = parts.get("orders", {})
    started = {name: part["start"] for name, part in parts.items() if "start" in part}
    return {
        "build": build(),
        "machine": machine(),
        "mode": mode,
        "duration_s": round(duration_s, 3),
        "ticks": ticks_part(readings),
        "bars": compute["bars"],
        "signals": compute["signals"],
        "orders": told.get("orders") or counted_orders(orders),
        "pnl_paise": told.get("pnl_paise") or counted_pnl(orders),
        "positions": told.get("positions", []),
        "open_at_end": told.get("open", {}),
        "recovery": told.get("recovery", {}),
        "address_proof": told.get("address_proof", {"word": "off", "text": "", "asked": 0}),
        "state": state_part(orders, told.get("orders", {})),
        "latency_us": readings.latency_us(),
        "memory": {"by process": dict(memory), "shm": dict(shm_bytes)},
        "cpu": dict(cpu),
        "start": started,
        "restarts": [dict(row) for row in restarts],
        "alerts": dict(alerts or {"by_code": {}, "standing": [], "sinks": {}, "watchdog": {}}),
        "fills": dict(told.get("fills") or fills or {}),
        "placing": dict(placing or {}),
        "egress": dict(egress or {}),
        "absence_horizon_s": absence_horizon_s,
    }
