"""Layer 6, by hand, cold: `kite-hft status`: one look at everything that may need a hand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from kite_hft.app import tables
from kite_hft.app.look.alerts import show_alerts
from kite_hft.app.look.orders import show_orders
from kite_hft.app.look.positions import show_positions, total_line
from kite_hft.app.picture import (
    AccountOption,
    BrokerOption,
    JsonOption,
    Picture,
    StateOption,
    StrategyOption,
    account_folder,
    by_strategy,
    opened,
    print_json,
    say_head,
    told,
)
from kite_hft.engine.alerts.files import open_alerts, read_alerts
from kite_hft.engine.orders.latch import read_latch
from kite_hft.engine.runs.ledger import order_rows, pnl, position_rows
from kite_hft.engine.runs.report import processes as usage
from kite_hft.engine.runs.steps import steps_of
from kite_hft.trading.recovery.resuming import recovery_words
from kite_hft.units import rupees_text

MIB: Final = 1 << 20
ALERTS_SHOWN: Final = 8
STATE_COLOURS: Final = {"ACTIVE": "bold green", "REDUCING": "bold yellow", "HALTED": "bold red",
                        "KILLED": "bold red"}  # fmt: skip
_LIFE: Final = {"alive": "green", "starting": "yellow", "hung": "bold red", "dead": "bold red"}


def life(row: Mapping[str, Any]) -> str:
    return f"[{_LIFE[row['state']]}]{row['state']}[/{_LIFE[row['state']]}]"


def _mib(name: str) -> Any:
    return lambda row: "" if row[name] is None else f"{row[name] / MIB:.0f} MiB"


PROCESSES: Final = (
    tables.Column("process", tables.field("name")),
    tables.Column("pid", tables.field("pid"), right=True),
    tables.Column("state", life),
    tables.Column("restarts", tables.count("restarts"), right=True),
    tables.Column(
        "heartbeat",
        lambda r: "" if r["heartbeat_s"] is None else tables.seconds(r["heartbeat_s"]),
        right=True,
    ),
    tables.Column("cpu", lambda r: "" if r["cpu_s"] is None else f"{r['cpu_s']:.1f} s", right=True, drop=2),
    tables.Column("rss", _mib("rss"), right=True, drop=1),
    tables.Column("pss", _mib("pss"), right=True, drop=3),
)


PROOFS: Final = {
    "allowed": "proven, order calls are taken from this machine",
    "address": "REFUSED, no order call is taken from this machine",
    "permission": "not proven, the app or the account may not trade",
    "token": "not proven, the token is not taken",
    "unknown": "not proven",
}


def _link(row: Mapping[str, Any]) -> str:
    return "[green]up[/green]" if row["connected"] else "[bold red]down[/bold red]"


CONNECTIONS: Final = (
    tables.Column("connection", tables.field("connection"), right=True),
    tables.Column("link", _link),
    tables.Column("instruments", tables.count("instruments"), right=True, drop=3),
    tables.Column("last frame", tables.age("last_frame_s"), right=True),
    tables.Column("last tick", tables.age("last_tick_s"), right=True),
    tables.Column("ticks", tables.count("published"), right=True),
    tables.Column("drops", tables.count("drops"), right=True),
    tables.Column("watchdog", tables.count("watchdog_trips"), right=True, drop=2),
    tables.Column("403", tables.count("refused_403"), right=True),
    tables.Column("429", tables.count("refused_429"), right=True),
    tables.Column("malformed", tables.count("malformed"), right=True, drop=1),
)


def engine_state(picture: Picture) -> dict[str, Any]:
    """state, reason, killed, held, market_halted, token_dead; with the engine down NOT_RUNNING.

    killed: why, while the kill latch of the account is set, engine or not, or an engine is killed that could
    not write it. held: strategy -> why.
    """
    found: dict[str, Any] = {"state": "NOT_RUNNING", "market_halted": False, "token_dead": False}
    latch = read_latch(account_folder(picture.account))
    if picture.look is not None:
        found = picture.look.state()
    ledger = picture.ledger
    reason = (ledger.halted or ledger.reducing or ledger.address) if ledger is not None else ""
    if picture.running and found["state"] == "ACTIVE":
        reason = ""
    held = {ledger.strategy(n): hold.words for n, hold in ledger.holds.items()} if ledger else {}
    killed = latch.reason if latch else ""
    if not latch and found["state"] == "KILLED":
        killed = (ledger.killed if ledger is not None else "") or "no file says why"
    return {**found, "reason": killed or reason, "killed": killed, "held": held}


def look_at(picture: Picture, strategy: str | None = None) -> dict[str, Any]:
    """All of `kite-hft status --json`."""
    now_ns = time.monotonic_ns()
    look, ledger = picture.look, picture.ledger
    orders = by_strategy(order_rows(ledger, every=False), strategy, ledger) if ledger else []
    rows = position_rows(ledger, picture.mark, every=False) if ledger else []
    return {
        "run": picture.head(),
        "state": engine_state(picture),
        "steps": steps_of(look.readings, len(look.note.connections)) if look else [],
        "ticks": ticks_of(picture),
        "processes": with_usage(look.processes(now_ns)) if look else [],
        "connections": look.connections(now_ns) if look else [],
        "alerts": [dict(row) for row in open_alerts(read_alerts(picture.folder))],
        "orders": orders,
        "positions": by_strategy(rows, strategy, ledger) if ledger else [],
        "external": list(ledger.external.values()) if ledger else [],
        "recovery": ledger.recovery if ledger else {},
        "address_proof": ledger.address_proof if ledger else {},
        "pnl_paise": pnl(ledger, picture.mark, strategy)["total"] if ledger else None,
    }


def ticks_of(picture: Picture) -> dict[str, int] | None:
    """Ticks published, computed, lost, and not computed yet; None with the engine down."""
    if picture.look is None:
        return None
    feed, compute = (picture.look.readings.values(stage) for stage in ("feed", "compute"))
    done = compute["computed"] + compute["lost"] + compute["twins_passed_over"]
    lag = max(0, feed["published"] - done)
    return {
        "published": feed["published"],
        "computed": compute["computed"],
        "lost": compute["lost"],
        "lag": lag,
    }


def with_usage(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Process rows with rss, pss (bytes) and cpu_s; None where the process is gone."""
    memory, cpu = usage({row["name"]: row["pid"] for row in rows if row["pid"] and row["state"] != "dead"})
    return [
        {
            **row,
            "rss": memory.get(row["name"], {}).get("rss"),
            "pss": memory.get(row["name"], {}).get("pss"),
            "cpu_s": (
                round(cpu[row["name"]]["user_s"] + cpu[row["name"]]["system_s"], 2)
                if row["name"] in cpu
                else None
            ),
        }
        for row in rows
    ]


def state_line(state: Mapping[str, Any]) -> str:
    """The engine's state with markup."""
    colour = STATE_COLOURS.get(state["state"], "bold yellow")
    line = f"[{colour}]{state['state']}[/{colour}]"
    if state["reason"]:
        line += f": {escape(state['reason'])}"
    if state["market_halted"]:
        line += "  [yellow]MARKET HALT: all instruments are silent[/yellow]"
    for name, words in state.get("held", {}).items():
        line += f"\n[bold yellow]{escape(name)}[/bold yellow] opens nothing, {escape(words)}"
    if state.get("killed") and state["state"] != "KILLED":
        line += "  [bold red]KILLED: the latch is set; kite-hft resume[/bold red]"
    if state.get("naked_paise"):
        line += f"  [bold red]₹{rupees_text(state['naked_paise'])} without protection[/bold red]"
    if state["token_dead"]:
        line += "  [bold red]TOKEN DEAD: nothing can be sent; kite-hft login[/bold red]"
    return line


def steps_line(steps: Sequence[Mapping[str, Any]]) -> str:
    """How far the run has come, with markup; told without colours, too."""
    words = [
        f"[green]{row['name']} ✓[/green]" if row["done"] else f"[dim]{row['name']}[/dim]" for row in steps
    ]
    waits = next((row["text"] for row in steps if not row["done"]), "")
    return "steps: " + " > ".join(words) + (f"  ({escape(waits)})" if waits else "")


def status(
    strategy: StrategyOption = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Processes, connections, state, open alerts, working orders, positions and P&L.

    With the engine down: what the newest run left, by its journal.

    Exit codes: 0 shown, 1 there is no run.
    """
    with told("status"), opened(state, account, broker) as picture:
        found = look_at(picture, strategy)
        if as_json:
            return print_json(found)
        show_status(tables.console(), picture, found)


def show_status(out: Console, picture: Picture, found: Mapping[str, Any]) -> None:
    """The screen of `kite-hft status`."""
    say_head(out, picture)
    if picture.running:
        up = tables.clock_text(found["run"]["uptime_s"] or 0)
        ticks = found["ticks"]
        flow = f"up {up}"
        if ticks:
            flow += f"  {ticks['published']:,} ticks, {ticks['lag']:,} behind, {ticks['lost']:,} lost"
        out.print(state_line(found["state"]), highlight=False)
        out.print(flow, highlight=False)
        out.print(steps_line(found["steps"]), highlight=False)
    elif found["state"]["killed"]:
        why = escape(found["state"]["killed"])
        out.print(f"[bold red]KILLED[/bold red]: {why}; kite-hft resume", highlight=False)
    elif found["state"]["reason"]:
        out.print(f"nothing was opened any more: {escape(found['state']['reason'])}", highlight=False)
    if found["processes"]:
        tables.show(out, "Processes", PROCESSES, found["processes"])
        tables.show(out, "Connections", CONNECTIONS, found["connections"])
    show_alerts(out, found["alerts"][:ALERTS_SHOWN], len(found["alerts"]))
    if found["orders"]:
        show_orders(
            out, "Working orders" if picture.running else "Orders that may still work", found["orders"]
        )
    else:
        out.print("\nno order is working" if picture.running else "\nno order was left working")
    if found["positions"]:
        show_positions(out, "Positions, ₹", found["positions"])
    elif found["pnl_paise"]:
        out.print("flat")
    if proof := found["address_proof"]:
        out.print(f"\naddress: {escape(PROOFS[proof['word']])}: {escape(proof['text'])}", highlight=False)
    if found["recovery"]:
        out.print(f"\nat its start: {escape(recovery_words(found['recovery']))}", highlight=False)
    for line in found["external"]:
        out.print(f"[yellow]![/yellow] {escape(line)}", highlight=False)
    if found["pnl_paise"]:
        out.print(f"\n{total_line(found['pnl_paise'])}", highlight=False)
