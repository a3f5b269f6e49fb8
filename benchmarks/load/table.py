"""Cold: the tables and the JSON of a run, and the line that moves while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import kit
from rich.console import Console
from rich.table import Table

from kite_hft.verify.brokers.running import market_connections
from load.look import STRANGERS, growth
from load.measuring import Result
from load.profiles import Load
from load.published import beside

MB: Final = 1e6
BAR: Final = 30
WIDTH_MIN: Final = 120
SHOW_S: Final = 0.2
LATENCIES: Final = (
    ("send_to_computed", "intended send to computed"),
    ("send_to_intent", "intended send to INTENT"),
    ("read_to_decoded", "socket read to decoded"),
    ("read_to_published", "socket read to published"),
    ("read_to_drained", "socket read to drained"),
    ("read_to_computed", "socket read to computed"),
    ("tick_to_intent", "socket read to INTENT"),
    ("intent_to_taken", "INTENT to ORDERS"),
    ("intent_to_sent", "INTENT to request written"),
    ("tick_to_order", "socket read to request written"),
    ("order_ack", "request to answer"),
)
COLUMNS: Final = ("p50", "p90", "p99", "p999", "max", "mean")


class ProgressLine:
    """One line on a terminal, a line of text every few seconds elsewhere."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self._next_s = 0.0
        self._shown = ""

    def __call__(self, what: str, share: float, text: str) -> None:
        now_s = time.monotonic()
        whole = share >= 1.0 and bool(text)
        if now_s < self._next_s and not whole:
            return
        filled = round(BAR * min(1.0, max(0.0, share)))
        if self.is_terminal:
            self._next_s = now_s + SHOW_S
            line = f"{what:16} [{'#' * filled}{'.' * (BAR - filled)}] {min(1.0, share):4.0%} {text}"
            print(f"\r\x1b[K{line[:150]}", end="\n" if whole else "", file=sys.stderr, flush=True)
        elif whole or what != self._shown or now_s >= self._next_s:
            self._next_s = now_s + 10.0
            print(f"{what}: {text or f'{share:.0%}'}", file=sys.stderr, flush=True)
        self._shown = what

    def end(self) -> None:
        if self.is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def document(load: Load, result: Result, command: str) -> dict[str, Any]:
    """The JSON: the engine's report, and beside it what the load harness saw.

    sent: ticks, warm-up included. steady: the window without start and warm-up. generator: its lag and
    CPU. memory by process: as the harness saw it at the end of the load. published: their figures.
    """
    report = dict(result.report)
    memory = dict(report.get("memory", {}))
    memory["by process"] = result.memory or memory.get("by process", {})
    return report | {
        "machine": {**report.get("machine", {}), **kit.machine()},
        "profile": load.profile,
        "command": command,
        "load": {
            "broker": load.broker, "instruments": load.instruments, "rate": load.rate,
            "duration_s": load.duration_s, "connections": len(market_connections(report)), "mode": load.mode,
            "packets_per_frame": load.packets, "strategy": load.strategy, "burst": load.burst,
        },
        "sent": result.sent,
        "generator": result.generator,
        "steady": result.steady,
        "memory": memory,
        "strategy_bytes": result.strategy_bytes,
        "bare": result.bare,
        "flood": result.flood,
        "soak": drift(load, result),
        "published": beside(load, result),
        "wrong": result.wrong,
        "interrupted": result.interrupted,
    }  # fmt: skip


def drift(load: Load, result: Result) -> dict[str, Any]:
    """How memory moved over the samples: slopes by least squares, descriptors and segments counted."""
    if not result.samples:
        return {}
    skip_s = min(60.0, load.duration_s / 4)
    counted = [
        (sum(m["fds"] for name, m in s["memory"].items() if name not in STRANGERS), s["segments"])
        for s in result.samples
    ]
    return {
        "samples": len(result.samples),
        "every_s": load.memory_s,
        **{of: growth(result.samples, of, skip_s) for of in ("rss", "pss", "own")},
        "fds": [counted[0][0], counted[-1][0], max(c[0] for c in counted)],
        "segments": [counted[0][1], counted[-1][1], max(c[1] for c in counted)],
        "series": result.samples,
    }


def show(load: Load, told: dict[str, Any]) -> None:
    """All tables of a run on standard output."""
    console = Console(highlight=False)
    console.width = max(WIDTH_MIN, console.width)
    console.print(_summary(load, told))
    steady = told["steady"]
    if steady:
        console.print(_latencies(told))
        console.print(_processes(told))
    if told["flood"]:
        console.print(_trials(told["flood"]))
    if told["soak"]:
        console.print(_soak(told["soak"]))
    if told["published"]:
        console.print(_published(told["published"]))
    compiled = sum(part.get("kernel_compilations", 0) for part in told.get("start", {}).values())
    if compiled:
        console.print(f"{compiled} kernels were compiled: memory is that of a first start, run again")
    for line in told["wrong"]:
        console.print(f"WRONG: {line}", markup=False)


def _summary(load: Load, told: dict[str, Any]) -> Table:
    table = Table(title=f"load test: {load.profile}", show_header=False)
    ticks, steady = told.get("ticks", {}), told["steady"]
    ended = f" (interrupted: {told['interrupted']})" if told["interrupted"] else ""
    table.add_row("load", f"{load.broker}: {load.described()}; strategy {load.strategy}{ended}")
    table.add_row("sent", f"{told['sent']:,} ticks")
    table.add_row("delivered", f"{ticks.get('computed', 0):,} computed, {ticks.get('lost', 0):,} lost")
    if told["flood"]:
        flood = told["flood"]
        table.add_row(
            "highest lossless rate", f"{flood['ticks_per_s']:,.0f} ticks/s over {flood['seconds']:g} s"
        )
    if steady:
        window = f"{steady['ticks_per_s']:,.0f} ticks/s over {steady['seconds']:.1f} s"
        table.add_row("steady window", f"{window}, {steady['ticks']['lost']:,} lost")
    if lag := told["generator"].get("lag_us"):
        text = f"p50 {lag['p50']:,.0f}, p99 {lag['p99']:,.0f}, max {lag['max']:,.0f} µs after its time"
        table.add_row("generator's lag", text)
    if alone := told["generator"].get("alone"):
        text = f"{alone['ticks_per_s']:,.0f} ticks/s when nothing is computed"
        table.add_row("generator alone", text)
    if bare := told["bare"].get("send_to_callback"):
        table.add_row("bare picows receiver", f"p50 {bare['p50']:,.1f} µs, p99 {bare['p99']:,.1f} µs")
        if ratio := told["bare"].get("intent_ratio"):
            table.add_row("send to INTENT, p50", f"{ratio:.2f} x the bare receiver (asked: <= 1.5)")
    table.add_row("machine", f"{told['machine']['cpu']}, {told['machine']['cores']} cores")
    return table


def _latencies(told: dict[str, Any]) -> Table:
    table = Table(title="latency, µs, steady window")
    table.add_column("from, to")
    for column in (*COLUMNS, "n"):
        table.add_column(column, justify="right")
    for name, text in LATENCIES:
        row = told["steady"]["latency_us"].get(name, {})
        if row.get("n"):
            table.add_row(text, *(f"{row[c]:,.1f}" for c in COLUMNS), f"{row['n']:,}")
    return table


def _processes(told: dict[str, Any]) -> Table:
    table = Table(title="processes: CPU and switches of the steady window, memory at its end")
    table.add_column("process")
    for column in ("of a core", "CPU s", "switches: own", "forced", "RSS MB", "PSS MB", "without shm", "fds"):
        table.add_column(column, justify="right")
    cpu, memory = told["steady"]["cpu"], told["memory"]["by process"]
    ours = [name for name in memory if name not in STRANGERS]
    total = {of: sum(memory[n].get(of, 0) for n in ours) for of in ("rss", "pss", "own", "fds")}
    for name in [*ours, "engine", *(n for n in STRANGERS if n in memory)]:
        used, held = cpu.get(name), total if name == "engine" else memory[name]
        times = ["-"] * 4
        if used:
            times = [f"{used['of_a_core']:.1%}", f"{used['s']:.2f}", f"{used['voluntary_switches']:,}",
                     f"{used['involuntary_switches']:,}"]  # fmt: skip
        sizes = [f"{held.get(of, 0) / MB:,.1f}" for of in ("rss", "pss", "own")]
        label = "engine, together" if name == "engine" else name
        table.add_row(label, *times, *sizes, str(held.get("fds", "-")), end_section=name == "engine")
    shm = sum(told["memory"].get("shm", {}).values())
    table.caption = f"shared memory of the run: {shm / MB:,.1f} MB"
    return table


def _trials(flood: dict[str, Any]) -> Table:
    table = Table(title="search")
    for column in ("ticks/s", "delivered", "seconds", "backlog: slope", "peak ms", "verdict"):
        table.add_column(column, justify="right" if column != "verdict" else "left")
    for row in flood["trials"]:
        backlog = row["backlog"]
        table.add_row(
            f"{row['ticks_per_s']:,.0f}", f"{row['delivered_per_s'] or 0:,.0f}", f"{row['seconds']:g}",
            f"{backlog['slope']:.2%}", f"{backlog['peak_s'] * 1e3:,.1f}", row["why"] or "holds",
        )  # fmt: skip
    return table


def _soak(soak: dict[str, Any]) -> Table:
    table = Table(title=f"memory over time, {soak['samples']} samples")
    for column in ("of the engine", "first MB", "last MB", "slope MB/hour", "scatter MB"):
        table.add_column(column, justify="right" if column != "of the engine" else "left")
    for of, text in (("rss", "RSS"), ("pss", "PSS"), ("own", "PSS without shared memory")):
        row = soak[of]
        if row:
            figures = (row["first"], row["last"], row["per_hour"], row["scatter"])
            table.add_row(text, *(f"{figure / MB:,.2f}" for figure in figures))
    table.caption = f"descriptors and segments, first, last, most: {soak['fds']}, {soak['segments']}"
    return table


def _published(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="published figures, and ours from this run")
    for column in ("promise", "published", "ours", "what ours counts"):
        table.add_column(column)
    for row in rows:
        ours = "-" if row["ours"] is None else f"{row['ours']:,.{0 if row['ours'] >= 100 else 2}f}"
        table.add_row(row["promise"], row["published"], ours, row["means"])
    return table
