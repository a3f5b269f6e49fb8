"""Layer 5, supervisor, cold: what a person sees while the engine runs, and when it has ended.

A rich panel on a terminal, one plain line every few seconds elsewhere. Everything shown is read
from shared memory; drawing never disturbs the processes that write it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from kite_hft.engine.report import Readings
from kite_hft.units import rupees_text

PLAIN_EVERY_NS: Final = 5_000_000_000
LATENCIES: Final = (
    "read_to_decoded",
    "read_to_published",
    "read_to_computed",
    "tick_to_intent",
    "intent_to_sent",
    "tick_to_order",
    "order_ack",
)
MESSAGES_SHOWN: Final = 6


@dataclass(slots=True)
class Sample:
    """One look at the counters."""

    at_ns: int
    feed: dict[str, int]
    compute: dict[str, int]
    orders: dict[str, int]
    latency_us: dict[str, dict[str, float]]

    @property
    def lag(self) -> int:
        """Ticks published and not computed yet."""
        return max(0, self.feed["published"] - self.compute["computed"] - self.compute["lost"])


def take_sample(readings: Readings, now_ns: int) -> Sample:
    feed, compute, orders = (readings.values(stage) for stage in ("feed", "compute", "orders"))
    return Sample(now_ns, feed, compute, orders, readings.latency_us())


def ticks_per_second(before: Sample, now: Sample) -> float:
    elapsed_ns = now.at_ns - before.at_ns
    return (now.feed["published"] - before.feed["published"]) * 1e9 / elapsed_ns if elapsed_ns > 0 else 0.0


def _pnl(paise: int) -> Text:
    return Text(f"₹{rupees_text(paise)}", style="green" if paise >= 0 else "red")


def panel(title: str, rate: float, sample: Sample, messages: Iterable[str]) -> Panel:
    """The live picture."""
    flow = Table.grid(padding=(0, 3))
    orders, compute = sample.orders, sample.compute
    flow.add_row(
        f"[b]{rate:,.0f}[/b] ticks/s",
        f"{sample.feed['published']:,} ticks",
        f"lag {sample.lag:,}",
        f"lost {compute['lost']:,}",
        f"bars {compute['bars']:,}",
        f"signals {compute['signals']:,}",
    )
    flow.add_row(
        f"[b]{orders['sent']:,}[/b] orders sent",
        f"{orders['filled']:,} filled",
        f"{orders['partial_fills']:,} partial",
        f"refused {orders['refused']:,}",
        f"rejected {orders['rejected']:,}",
        f"working {orders['working']:,}",
    )
    flow.add_row(
        f"{orders['positions']:,} positions",
        Text.assemble("gross P&L ", _pnl(orders["gross_pnl_paise"])),
        "ACTIVE" if orders["state_active"] else "[yellow]not active[/yellow]",
    )
    latency = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("latency, µs", "p50", "p99", "max", "n"):
        latency.add_column(heading, justify="left" if heading.startswith("lat") else "right")
    for name in LATENCIES:
        row = sample.latency_us[name]
        latency.add_row(
            name.replace("_", " "),
            f"{row['p50']:,.1f}",
            f"{row['p99']:,.1f}",
            f"{row['max']:,.0f}",
            f"{row['n']:,}",
        )
    said = Text("\n".join(messages), style="dim", no_wrap=True, overflow="ellipsis")
    return Panel(Group(flow, "", latency, "", said), title=title, border_style="cyan")


def plain_line(rate: float, sample: Sample) -> str:
    """The same in one line, for logs and pipes."""
    orders = sample.orders
    read = sample.latency_us["read_to_computed"]
    return (
        f"{rate:,.0f} ticks/s | {sample.feed['published']:,} ticks, lag {sample.lag}, "
        f"lost {sample.compute['lost']} | orders {orders['sent']} sent, {orders['filled']} filled, "
        f"{orders['refused']} refused, {orders['rejected']} rejected | positions {orders['positions']}, "
        f"gross P&L ₹{rupees_text(orders['gross_pnl_paise'])} | read to computed p50 {read['p50']:.0f} µs, "
        f"p99 {read['p99']:.0f} µs"
    )


class View(Protocol):
    """Whoever shows the run."""

    def say(self, text: str) -> None: ...

    def show(self, sample: Sample) -> None: ...

    def end(self) -> None: ...


@dataclass(slots=True)
class PlainView:
    """Lines, for anything that is no terminal."""

    console: Console
    log: Callable[[str], None]
    before: Sample | None = None

    def say(self, text: str) -> None:
        self.log(text)
        with contextlib.suppress(OSError):  # the terminal is gone
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, sample: Sample) -> None:
        if self.before is None:
            self.before = sample
        elif sample.at_ns - self.before.at_ns >= PLAIN_EVERY_NS:
            self.say(plain_line(ticks_per_second(self.before, sample), sample))
            self.before = sample

    def end(self) -> None:
        pass


@dataclass(slots=True)
class LiveView:
    """A panel that redraws itself, with the last messages below."""

    console: Console
    log: Callable[[str], None]
    title: str
    messages: list[str] = field(default_factory=list)
    before: Sample | None = None
    live: Live | None = None

    def say(self, text: str) -> None:
        self.log(text)
        self.messages = [*self.messages[-MESSAGES_SHOWN + 1 :], text]
        if self.live is None:
            with contextlib.suppress(OSError):
                self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, sample: Sample) -> None:
        with contextlib.suppress(OSError):
            self._show(sample)

    def _show(self, sample: Sample) -> None:
        if self.live is None:
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.start()
        rate = ticks_per_second(self.before, sample) if self.before else 0.0
        if self.before is None or sample.at_ns - self.before.at_ns >= 1_000_000_000:
            self.before = sample
        self.live.update(panel(self.title, rate, sample, self.messages), refresh=True)

    def end(self) -> None:
        if self.live is not None:
            with contextlib.suppress(OSError):
                self.live.stop()
            self.live = None


class Terminal(Console):
    """A console that may go away or know no rupee sign: what cannot be shown is left out, and the run
    goes on. Everything said stands in the run's log as well."""

    def __init__(self, **options: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        super().__init__(**options)

    def on_broken_pipe(self) -> None:
        """The reader has left: be quiet from now on, instead of rich's way of ending the process."""
        self.quiet = True
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def make_view(console: Console, title: str, plain: bool, log: Callable[[str], None]) -> View:
    """A panel on a terminal, lines elsewhere or when asked for; `log` gets every message, too."""
    return PlainView(console, log) if plain or not console.is_terminal else LiveView(console, log, title)


def summary(report: dict[str, Any], folder: str) -> Table:
    """What a run came to, for the end of it."""
    table = Table(title="Summary", show_header=False, title_style="bold", min_width=60)
    ticks, orders, pnl = report["ticks"], report["orders"], report["pnl_paise"]
    malformed = sum(ticks["malformed"].values())
    table.add_row("ran", f"{report['duration_s']:.1f} s, mode {report['mode']}")
    table.add_row(
        "ticks",
        f"{ticks['received']:,} received, {ticks['published']:,} published, {ticks['computed']:,} computed, "
        f"{ticks['lost']:,} lost, {malformed:,} malformed",
    )
    table.add_row("bars, signals", f"{report['bars']:,} bars closed, {report['signals']:,} signals")
    refused = ", ".join(f"{n} {name}" for name, n in orders.get("refused", {}).items()) or "none"
    table.add_row(
        "orders",
        f"{orders['intents']:,} intents, {orders['sent']:,} sent, {orders['filled']:,} filled "
        f"({orders.get('partial_fills', 0):,} partial fills), {orders['rejected']:,} rejected by exchange",
    )
    table.add_row("refused by risk", refused)
    table.add_row(
        "P&L",
        ", ".join(f"{name} ₹{rupees_text(pnl[name])}" for name in ("gross", "charges", "net")),
    )
    open_positions = [p for p in report["positions"] if p.get("quantity")]
    held = ", ".join(f"{p['instrument']} {p['quantity']:+d}" for p in open_positions[:8]) or "flat"
    table.add_row("positions", held + (" ..." if len(open_positions) > 8 else ""))
    resting = len(report["open_at_end"].get("orders", []))
    table.add_row(
        "still resting",
        f"{resting} order{'s' if resting > 1 else ''} at the broker" if resting else "no order",
    )
    for process, start in report["start"].items():
        if start.get("first_tick_s") is not None:
            table.add_row(
                f"start of {process}",
                f"first tick after {start['first_tick_s']:.2f} s, {start['kernel_compilations']} kernels "
                f"compiled, {start['kernels_from_cache']} from the cache",
            )
    for name in ("read_to_computed", "tick_to_intent", "intent_to_sent"):
        row = report["latency_us"][name]
        table.add_row(
            name.replace("_", " "), f"p50 {row['p50']:,.1f} µs, p99 {row['p99']:,.1f} µs, n {row['n']:,}"
        )
    table.add_row("everything else", folder)
    return table
