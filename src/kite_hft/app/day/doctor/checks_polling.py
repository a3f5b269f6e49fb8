"""Layer 6, by hand, cold: a check of where prices come from, where that is no websocket. Pure."""

from __future__ import annotations

from kite_hft.app.day.facts import Facts
from kite_hft.app.day.finding import Finding, fail, ok, warn


def prices(facts: Facts) -> Finding:
    """Prices come by a websocket, or everybody knows what it means that they do not."""
    name = "prices"
    if not facts.settings.datafeed.is_polled:
        return ok(name, "by the broker's websocket")
    stream = "leave datafeed.primary_source out where a websocket can be had (docs/polling.md)"
    if "primary_source" in facts.plan_error:
        return fail(name, facts.plan_error, "name fewer instruments, or set risk.stale_tick_s as it says")
    said = "; ".join(facts.polled) or "by HTTP, call by call: some seconds old"
    return warn(name, said, stream)
