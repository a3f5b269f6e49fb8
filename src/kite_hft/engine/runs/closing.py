"""Layer 5, supervisor and `kite-hft stop`, cold: what a run came to, out of its report, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from kite_hft.engine.runs.sample import recorded
from kite_hft.units import rupees_text

POSITIONS_SHOWN: Final = 8
WAITED_US: Final = 1000.0
"""From here on a wait in the throttle is one for the broker's limit, not for the turn of the loop."""

CONNECTION_WORDS: Final = {
    "drops": "drops",
    "watchdog_trips": "of them silent",
    "refused_403": "answers 403",
    "refused_429": "answers 429",
}

Row = tuple[str, str]


def summary(report: Mapping[str, Any], folder: str) -> Table:
    """The table at the end of a run. `report`: as in report.json; `folder`: of the run."""
    table = Table(title="Summary", show_header=False, title_style="bold", min_width=60)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for part in (_flow, _orders, _money, _troubles, _speed):
        for name, text in part(report):
            table.add_row(name, escape(text))
    table.add_row("everything else", escape(folder))
    return table


def _flow(report: Mapping[str, Any]) -> Iterator[Row]:
    ticks = report["ticks"]
    malformed = sum(ticks["malformed"].values())
    yield "ran", f"{report['duration_s']:.1f} s, mode {report['mode']}"
    yield (
        "ticks",
        f"{ticks['received']:,} received, {ticks['published']:,} published, {ticks['computed']:,} computed, "
        f"{ticks['lost']:,} lost, {malformed:,} malformed",
    )
    rows = ticks["by_connection"]
    if len(rows) > 1 or any(row[name] for row in rows for name in CONNECTION_WORDS):
        for row in rows:
            marks = [f"{row[name]} {word}" for name, word in CONNECTION_WORDS.items() if row[name]]
            said = ", ".join(marks) or "no drops"
            if row.get("orders_only"):
                yield "order updates", said
            else:
                yield f"connection {row['connection']}", f"{row['instruments']:,} instruments, {said}"
    yield "bars, signals", f"{report['bars']:,} bars closed, {report['signals']:,} signals"


def _orders(report: Mapping[str, Any]) -> Iterator[Row]:
    orders = report["orders"]
    why = "".join(f" ({n} times: {text})" for text, n in orders.get("rejected_for", {}).items())
    rejected = f"{orders['rejected']:,} rejected by exchange{why}"
    yield (
        "orders",
        f"{orders['intents']:,} intents, {orders['sent']:,} sent, {orders['filled']:,} filled "
        f"({orders.get('partial_fills', 0):,} partial fills), {rejected}",
    )
    if orders.get("probes"):
        yield "probes", f"{orders['probes']:,} have come to the order process, which did nothing with them"
    if orders["ambiguous"]:
        yield "fate unknown", f"{orders['ambiguous']:,} orders, {orders['resolved']:,} of them found out"
    refused, words = orders.get("refused", {}), orders.get("refused_for", {})
    told = (f"{n} {name}" + (f" ({words[name]})" if words.get(name) else "") for name, n in refused.items())
    yield "refused by risk", "\n".join(told) or "none"


def _money(report: Mapping[str, Any]) -> Iterator[Row]:
    pnl = report["pnl_paise"]
    yield "P&L", ", ".join(f"{name} ₹{rupees_text(pnl[name])}" for name in ("gross", "charges", "net"))
    held = [p for p in report["positions"] if p.get("quantity")]
    names = ", ".join(f"{p['instrument']} {p['quantity']:+d}" for p in held[:POSITIONS_SHOWN]) or "flat"
    yield "positions", names + (" ..." if len(held) > POSITIONS_SHOWN else "")
    resting = len(report["open_at_end"].get("orders", []))
    yield (
        "still resting",
        f"{resting} order{'s' if resting > 1 else ''} at the broker" if resting else "no order",
    )
    if report.get("fills"):
        yield "fills were simulated", fill_words(report["fills"])


def fill_words(fills: Mapping[str, Any]) -> str:
    """By which rules a simulated exchange filled: queue rule and latency in one line."""
    rule = fills.get("fills", {})
    words = [str(rule.get("rule", ""))] if isinstance(rule, Mapping) else [str(rule)]
    latency = fills.get("latency", {})
    if isinstance(latency, Mapping) and latency:
        kind = str(latency.get("kind", ""))
        numbers = ", ".join(
            f"{name} {_value(name, value)}" for name, value in latency.items() if name != "kind"
        )
        words.append(f"latency {kind} ({numbers})")
    return "; ".join(word for word in words if word)


def _value(name: str, value: Any) -> str:
    """Nanoseconds as milliseconds."""
    if name.endswith("_ns"):
        many = value if isinstance(value, list | tuple) else [value]
        return " to ".join(f"{number / 1e6:g} ms" for number in many)
    return str(value)


def _troubles(report: Mapping[str, Any]) -> Iterator[Row]:
    state = report.get("state", {})
    for name in ("killed", "halted", "reducing"):
        if state.get(name):
            yield name.upper(), str(state[name])
    for strategy, words in state.get("held", {}).items():
        yield f"strategy {strategy}", str(words)
    if state.get("token_dead"):
        yield "TOKEN DEAD", "the broker took the access token no more"
    restarts = report.get("restarts", [])
    if restarts:
        by_name: dict[str, int] = {}
        for row in restarts:
            by_name[row["process"]] = by_name.get(row["process"], 0) + 1
        yield "started again", ", ".join(f"{name} {n}x" for name, n in by_name.items())
    codes = report.get("alerts", {}).get("by_code", {})
    if codes:
        yield "alerts", ", ".join(f"{n} {code}" for code, n in codes.items())


def _speed(report: Mapping[str, Any]) -> Iterator[Row]:
    for process, start in report["start"].items():
        if start.get("first_tick_s") is not None:
            yield (
                f"start of {process}",
                f"first tick after {start['first_tick_s']:.2f} s, {start['kernel_compilations']} kernels "
                f"compiled, {start['kernels_from_cache']} from the cache",
            )
    for name in recorded(report["latency_us"]):
        row = report["latency_us"][name]
        words = f"p50 {row['p50']:,.1f} µs, p99 {row['p99']:,.1f} µs, n {row['n']:,}"
        if name == "throttle_wait" and row["p99"] >= WAITED_US and (full := _full(report)):
            words += f"; {full}"
        yield name.replace("_", " "), words


def _full(report: Mapping[str, Any]) -> str:
    """Whether calls had to wait for a place in the broker's limits; "": they were never full."""
    for row in report.get("egress", {}).get("windows", ()):
        openings = row["allowed"] - row.get("reserved", 0)
        if row["of"] != "read" and row["most"] >= openings:
            kept = f", {row['reserved']} of them kept for exits" if row.get("reserved") else ""
            limit = f"{row['allowed']} calls in {row['window_s']:g} s{kept}"
            return f"the broker's limit was full at times ({limit}): it is in intent to sent, too"
    return ""
