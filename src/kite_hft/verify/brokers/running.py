"""Layer 6, campaigns, cold: simulator and engine as processes: what differs by broker."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kite_hft.configuring.models.broker import FILES
from kite_hft.verify.campaign import CONFIG, FACTS, CampaignError

NOT_STARTED: Final = "the simulator did not start; what it said stands above"
MASTER: Final = "/market-quote/instruments/exchange/complete.json.gz"
"""Where Upstox's simulator serves what assets.upstox.com does."""


def facts_of(broker: str) -> dict[str, str]:
    """The dated files that the section `trading` of an engine with this order broker names."""
    return FACTS | {key: str(CONFIG / path) for key, path in FILES[broker].items()}


def addressed(broker: str, told: Mapping[str, str]) -> dict[str, Any]:
    """The keys `broker` and the broker's own section: every host is the simulator. told: its ready line."""
    keys = {"api_key": told["api_key"], "access_token": told["access_token"], "api_url": told["api"]}
    if broker == "kite":
        return {"broker": broker, "kite": {**keys, "ws_url": told["ws"]}}
    api = told["api"]
    hosts = {"hft_url": api, "failover": [], "feed_url": api, "sandbox_url": api}
    return {"broker": broker, "upstox": {**keys, **hosts, "instruments_url": api + MASTER}}


def session_headers(broker: str, told: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Of a call of our own with the session's token."""
    if broker == "kite":
        return (
            ("X-Kite-Version", "3"),
            ("Authorization", f"token {told['api_key']}:{told['access_token']}"),
        )
    return (("Accept", "application/json"), ("Authorization", f"Bearer {told['access_token']}"))


@contextlib.contextmanager
def simulated(argv: Sequence[str]) -> Iterator[tuple[dict[str, str], int]]:
    """A simulator with this command line: the words of its ready line, and its process id.

    Raises:
        CampaignError: it did not start.
    """
    process = subprocess.Popen(list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready.startswith("ready "):
            raise CampaignError(NOT_STARTED)
        yield dict(word.split("=", 1) for word in ready.split()[1:]), process.pid
    finally:
        process.terminate()
        process.communicate(timeout=30)


def market_connections(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a report: the connections that carry market data; another one may bring order updates alone."""
    rows = report.get("ticks", {}).get("by_connection", [])
    return [row for row in rows if not row.get("orders_only")]
