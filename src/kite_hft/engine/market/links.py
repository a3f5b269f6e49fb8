"""Layer 5, feed processes, cold: the connection of a feed, made from what is told of its broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from kite_hft._sink import FrameSink
from kite_hft.brokers.table import Door, market_door, updates_door
from kite_hft.clock import Clock
from kite_hft.net.authorize import authorized
from kite_hft.net.ws import FeedLink
from kite_hft.stages.feed import Feed

MARKET: Final = "market"
UPDATES: Final = "updates"
_DOORS: Final = {MARKET: market_door, UPDATES: updates_door}
PING_S: Final = 1.0
"""Of a broker without heartbeats of its own: our pings, answered, are the sign of life."""


def link_of(
    feed: Feed,
    sink: FrameSink,
    door: str,
    told: Mapping[str, Any],
    clock: Clock,
    log: Callable[[str], None],
    ping_s: float,
) -> FeedLink:
    """The connection of `feed`. door: MARKET or UPDATES. told: Access.feed_config of the broker."""
    found = _door(door, told)
    return FeedLink(
        feed,
        sink,
        found.url,
        clock,
        log,
        ping_s=ping_s if feed.words.heartbeats else min(ping_s, PING_S),
        address=_address(found, told.get("bind_address", "")),
        headers=() if found.parse else found.headers,
        expires_ns=found.expires_ns,
        key=told.get("url_key", ""),
        bind=told.get("bind_address", ""),
    )


def renew(link: FeedLink, door: str, told: Mapping[str, Any]) -> None:
    """Let the connection use another token."""
    found = _door(door, told)
    link.renew(
        found.url,
        _address(found, told.get("bind_address", "")),
        () if found.parse else found.headers,
        found.expires_ns,
    )


def _door(door: str, told: Mapping[str, Any]) -> Door:
    return _DOORS[door](told["broker"], told["url"], told["api_key"], told["access_token"])


def _address(door: Door, bind: str) -> Callable[[], Awaitable[str]] | None:
    parse = door.parse
    if parse is None:
        return None
    return lambda: authorized(door.url, door.headers, parse, door.refusal, bind)
