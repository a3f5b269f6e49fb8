"""Layer 5, supervisor, cold: the live picture of a run, and the same in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from kite_hft.engine.runs.sample import ORDER_LATENCIES, TICK_LATENCIES, Sample, recorded, state_word
from kite_hft.layout import Severity
from kite_hft.units import rupees_text

ALERTS_SHOWN: Final = 3
STATE_COLOURS: Final = {
    "ACTIVE": "green",
    "REDUCING": "bold yellow",
    "HALTED": "bold red",
    "KILLED": "bold red",
}
ALERT_COLOURS: Final = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def money(paise: int) -> Text:
    """Rupees, green from zero up, red below."""
    return Text(f"₹{rupees_text(paise)}", style="green" if paise >= 0 else "red")


def state_text(orders: dict[str, int]) -> Text:
    """The state of trading, with what else holds orders back."""
    word = state_word(orders)
    text = Text(word.replace("_", " ").lower() if word == "NOT_ACTIVE" else word)
    text.stylize(STATE_COLOURS.get(word, "yellow"))
    for name, words in (("market_halted", "market halt"), ("token_dead", "token dead")):
        if orders[name]:
            text.append(f"  {words}", style="bold red")
    if orders.get("strategies_held"):
        text.append(f"  {orders['strategies_held']} strategies held", style="bold yellow")
    return text


def flow(rate: float, sample: Sample) -> Table:
    """Ticks, orders, money."""
    grid = Table.grid(padding=(0, 2))
    orders, compute = sample.orders, sample.compute
    grid.add_row(
        f"[b]{rate:,.0f}[/b] ticks/s",
        f"{sample.feed['published']:,} ticks",
        f"lag {sample.lag:,}",
        f"lost {compute['lost']:,}",
        f"restarts {sample.restarts:,}",
    )
    grid.add_row(
        f"[b]{orders['sent']:,}[/b] orders sent",
        f"{orders['filled']:,} filled",
        f"{orders['partial_fills']:,} partial",
        f"refused {orders['refused']:,}",
        f"rejected {orders['rejected']:,}",
    )
    grid.add_row(
        f"{orders['positions']:,} positions",
        f"working {orders['working']:,}",
        f"unknown {max(0, orders['ambiguous'] - orders['resolved']):,}",
        f"bars {compute['bars']:,}",
        f"signals {compute['signals']:,}",
    )
    grid.add_row(
        state_text(orders),
        "",
        Text.assemble("gross ", money(orders["gross_pnl_paise"])),
        Text.assemble("net ", money(orders["net_pnl_paise"])),
    )
    return grid


def links(rows: Iterable[dict[str, Any]]) -> Table:
    """One line a connection."""
    grid = Table.grid(padding=(0, 2))
    for row in rows:
        grid.add_row(
            f"connection {row['connection']}",
            "[green]up[/green]" if row["connected"] else "[bold red]down[/bold red]",
            f"{row['instruments']:,} instruments",
            f"tick {_age(row['last_tick_s'])}",
            f"{row['drops']} drops",
            f"{row['watchdog_trips']} silent",
        )
    return grid


def _age(seconds: float | None) -> str:
    return "never" if seconds is None else "now" if seconds < 1 else f"{seconds:.0f} s ago"


def latencies(sample: Sample) -> Columns:
    """p50, p99 and max of what was timed, in microseconds: ticks, and beside them orders if there is room."""
    return Columns(
        [
            latency_table(f"{what}, µs", names, sample)
            for what, group in (("ticks", TICK_LATENCIES), ("orders", ORDER_LATENCIES))
            if (names := recorded(sample.latency_us, group))
        ],
        padding=(0, 4),
    )


def latency_table(title: str, names: Iterable[str], sample: Sample) -> Table:
    """One line for each of `names`."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in (title, "p50", "p99", "max", "n"):
        table.add_column(heading, justify="left" if heading == title else "right", no_wrap=True)
    for name in names:
        row = sample.latency_us[name]
        table.add_row(
            name.replace("_", " "),
            f"{row['p50']:,.1f}",
            f"{row['p99']:,.1f}",
            f"{row['max']:,.0f}",
            f"{row['n']:,}",
        )
    return table


def standing(sample: Sample) -> list[RenderableType]:
    """The worst alerts that stand; nothing when none does."""
    lines: list[RenderableType] = [
        Text.from_markup(
            f"[{ALERT_COLOURS.get(Severity(alert.severity), 'yellow')}]{alert.code}[/] "
            f"{escape(alert.key)} {escape(alert.text)}",
            overflow="ellipsis",
        )
        for alert in sample.alerts[:ALERTS_SHOWN]
    ]
    if len(sample.alerts) > ALERTS_SHOWN:
        lines.append(f"... and {len(sample.alerts) - ALERTS_SHOWN} more alerts")
    return [*lines, ""] if lines else []


def panel(title: str, rate: float, sample: Sample, messages: Iterable[str]) -> Panel:
    """The live picture."""
    said = Text("\n".join(messages), style="dim", no_wrap=True, overflow="ellipsis")
    parts = [flow(rate, sample), "", links(sample.connections), "", *standing(sample)]
    return Panel(Group(*parts, latencies(sample), "", said), title=title, border_style="cyan")


def plain_line(rate: float, sample: Sample) -> str:
    """The same in one line, for logs and pipes."""
    orders = sample.orders
    read = sample.latency_us["read_to_computed"]
    down = [str(row["connection"]) for row in sample.connections if not row["connected"]]
    parts = [
        f"{rate:,.0f} ticks/s",
        f"{sample.feed['published']:,} ticks, lag {sample.lag}, lost {sample.compute['lost']}",
        f"orders {orders['sent']} sent, {orders['filled']} filled, {orders['refused']} refused, "
        f"{orders['rejected']} rejected",
        f"positions {orders['positions']}, gross P&L ₹{rupees_text(orders['gross_pnl_paise'])}, "
        f"net ₹{rupees_text(orders['net_pnl_paise'])}",
        f"read to computed p50 {read['p50']:.0f} µs, p99 {read['p99']:.0f} µs",
    ]
    state = state_text(orders).plain
    if state != "ACTIVE":
        parts.append(state)
    if down:
        parts.append(f"connection {', '.join(down)} down")
    if sample.alerts:
        parts.append(f"alerts: {', '.join(dict.fromkeys(alert.code for alert in sample.alerts))}")
    return " | ".join(parts)
