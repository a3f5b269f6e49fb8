"""Layer 5, supervisor, cold: may the external heartbeat beat? Pure."""

from __future__ import annotations

from collections.abc import Collection


def trouble_of(orders_state: str, feeds: Collection[str], *, in_session: bool, blind: bool) -> str:
    """Why the engine cannot do its work, in words; "": it can.

    orders_state: of the ORDERS process ("running" is well). feeds: names of feeds that are dead, which
    counts while the market is open. blind: the watchdog has been given up.
    """
    if orders_state != "running":
        return f"the order process is {orders_state or 'gone'}"
    if feeds and in_session:
        return f"no market data from {', '.join(sorted(feeds))}"
    return "nobody watches over the positions" if blind else ""
