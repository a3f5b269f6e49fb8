"""Layer 6, by hand, cold: the picture of `kite-hft top`, drawn from plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kite_hft.app import tables
from kite_hft.app.look.status import CONNECTIONS, MIB, life, state_line
from kite_hft.engine.runs.sample import Sample, recorded, ticks_per_second

WIDE: Final = 110
"""From this width on things stand side by side."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What one picture shows. before: the sample of about a second ago, for rates."""

    title: str
    uptime_s: float
    before: Sample
    now: Sample
    state: Mapping[str, Any]
    processes: Sequence[Mapping[str, Any]]
    busiest: Sequence[Mapping[str, Any]]
    stalest: Sequence[Mapping[str, Any]]
    alerts: Sequence[Mapping[str, Any]]


def _mib(name: str) -> Any:
    return lambda row: "" if row[name] is None else f"{row[name] / MIB:.0f} MiB"


PROCESSES: Final = (
    tables.Column("process", tables.field("name")),
    tables.Column("pid", tables.field("pid"), right=True),
    tables.Column("state", life),
    tables.Column("restarts", tables.count("restarts"), right=True, drop=2),
    tables.Column("cpu", lambda row: "" if row["cpu"] is None else f"{row['cpu']:.0f} %", right=True),
    tables.Column("rss", _mib("rss"), right=True),
    tables.Column("pss", _mib("pss"), right=True),
    tables.Column(
        "heartbeat",
        lambda row: "" if row["heartbeat_s"] is None else tables.seconds(row["heartbeat_s"]),
        right=True,
        drop=1,
    ),
)
BUSIEST: Final = (
    tables.Column("busiest", tables.field("instrument")),
    tables.Column("ticks/s", lambda row: f"{row['rate']:,.1f}", right=True),
)
STALEST: Final = (
    tables.Column("stalest", tables.field("instrument")),
    tables.Column("last tick", lambda row: tables.seconds(row["age_s"]), right=True),
)


def screen(frame: Frame, width: int, height: int) -> RenderableType:
    """The picture for a terminal of that size; height 0: as long as it comes.

    What does not fit is left out from below, the least important last in line.
    """
    parts: list[tuple[RenderableType, int]] = [
        (head(frame, live=height > 0), 2),
        *alert_lines(frame),
        (flow(frame), 3),
    ]
    connections = frame.now.connections
    parts.append((latencies(frame.now), len(recorded(frame.now.latency_us)) + 1))
    parts.append((tables.table(CONNECTIONS, connections, width)[0], len(connections) + 1))
    processes = tables.table(PROCESSES, frame.processes, width)[0]
    parts.append((processes, len(frame.processes) + 1))
    lines = sum(n + 1 for _, n in parts)
    room = height - lines - 1 if height else len(frame.busiest) + len(frame.stalest) + 4
    parts += instruments(frame, width, room)
    group: list[RenderableType] = []
    for part, _ in parts:
        group += [part, ""]
    return Group(*group[:-1])


def head(frame: Frame, *, live: bool) -> Text:
    """Who, since when, in which state; live: how to end it."""
    hint = "  [dim]q ends[/dim]" if live else ""
    text = Text.from_markup(f"[b]{escape(frame.title)}[/b]  up {tables.clock_text(frame.uptime_s)}{hint}\n")
    text.append_text(Text.from_markup(state_line({**frame.state, "reason": ""})))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def alert_lines(frame: Frame) -> list[tuple[RenderableType, int]]:
    """The worst open alert, and how many there are."""
    if not frame.alerts:
        return []
    worst = frame.alerts[0]
    line = Text(
        f"{len(frame.alerts)} open alerts, worst: {worst['severity']} {worst['code']} {worst['text']}"
    )
    line.stylize("bold red" if worst["severity"] == "CRITICAL" else "yellow")
    line.no_wrap, line.overflow = True, "ellipsis"
    return [(line, 1)]


def _rate(frame: Frame, stage: str, name: str) -> float:
    before, now = getattr(frame.before, stage), getattr(frame.now, stage)
    elapsed_s = (frame.now.at_ns - frame.before.at_ns) / 1e9
    return (now[name] - before[name]) / elapsed_s if elapsed_s > 0 else 0.0


def flow(frame: Frame) -> Table:
    """Rates, lag, losses; orders; money."""
    now, orders = frame.now, frame.now.orders
    grid = Table.grid(padding=(0, 3))
    grid.add_row(
        f"[b]{ticks_per_second(frame.before, now):,.0f}[/b] ticks/s",
        f"{_rate(frame, 'feed', 'frames'):,.0f} frames/s",
        f"{now.feed['published']:,} ticks",
        f"lag {now.lag:,}",
        f"lost {now.compute['lost']:,}",
    )
    grid.add_row(
        f"[b]{_rate(frame, 'orders', 'sent'):,.1f}[/b] orders/s",
        f"{orders['sent']:,} sent",
        f"{orders['filled']:,} filled",
        f"working {orders['working']:,}",
        f"rejected {orders['rejected']:,}",
    )
    grid.add_row(
        f"{orders['positions']:,} positions",
        f"gross {tables.rupees(orders['gross_pnl_paise'])}",
        f"charges {tables.rupees(orders['charges_paise'])}",
        f"net {tables.coloured(orders['net_pnl_paise'])}",
        f"restarts {now.restarts:,}",
    )
    return grid


def latencies(sample: Sample) -> Table:
    """Percentiles of all that was timed, in microseconds."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("latency, µs")
    for heading in ("p50", "p90", "p99", "p99.9", "max", "n"):
        table.add_column(heading, justify="right")
    for name in recorded(sample.latency_us):
        row = sample.latency_us[name]
        figures = (latency_text(row[p]) for p in ("p50", "p90", "p99", "p999", "max"))
        table.add_row(name.replace("_", " "), *figures, f"{row['n']:,}")
    return table


def latency_text(us: float) -> str:
    """Microseconds; a tenth of one counts below ten of them."""
    return f"{us:,.1f}" if us < 10 else f"{us:,.0f}"


def instruments(frame: Frame, width: int, room: int) -> list[tuple[RenderableType, int]]:
    """Busiest and stalest instruments, beside one another where there is room."""
    if width >= WIDE or room < 2 * 4:
        rows = max(0, room - 1)
        if not rows:
            return []
        side = Table.grid(padding=(0, 4))
        left = tables.table(BUSIEST, frame.busiest[:rows], width // 2)[0]
        right = tables.table(STALEST, frame.stalest[:rows], width // 2)[0]
        side.add_row(left, right)
        return [(side, rows + 1)]
    rows = (room - 3) // 2
    return [
        (tables.table(BUSIEST, frame.busiest[:rows], width)[0], rows + 1),
        (tables.table(STALEST, frame.stalest[:rows], width)[0], rows + 1),
    ]
