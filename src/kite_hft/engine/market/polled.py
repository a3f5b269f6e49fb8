"""Layer 5, market process, cold: a feed that asks for prices by HTTP: its stage, and its one connection.

The connection can send quotes and nothing else (net/quotes.py): this process reaches no order call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from kite_hft._feed import FeedSink
from kite_hft.brokers.table import quotes_of
from kite_hft.clock import Clock
from kite_hft.engine.orders.settings import limits_of
from kite_hft.net.backoff import Backoff
from kite_hft.net.quotes import QuoteLink
from kite_hft.net.unreachable import shown
from kite_hft.net.ws import BACKOFF_S
from kite_hft.net.ws_codes import handshake_meaning
from kite_hft.settings import Settings, SettingsError
from kite_hft.stages.feed import Feed
from kite_hft.stages.polling import Polling
from kite_hft.trading.instruments import InstrumentTable

LONG_MOST_S: Final = 120.0


def polled_link(
    settings: Settings,
    feed: Feed,
    sink: FeedSink,
    instruments: InstrumentTable,
    told: Mapping[str, Any],
    clock: Clock,
    log: Callable[[str], None],
) -> tuple[QuoteLink, Polling]:
    """The connection of `feed`, and the stage that asks over it. told: Access.feed_config and quotes_config.

    Raises:
        SettingsError: the rules have no share for such a feed.
    """
    words, limits = quotes_of(told["broker"]), limits_of(settings, told["broker"])
    if limits.polling is None:
        raise SettingsError(f"the rules of {limits.name} have no `polling`")
    url, key, token = told["quotes_url"], told["quotes_key"], told["access_token"]
    link = QuoteLink(
        url,
        words.paths,
        clock,
        log,
        words.headers(told["api_key"], token),
        timeout_s=settings.datafeed.silence_s,
        key=key,
        bind=told.get("bind_address", ""),
        kind=told["url"],
    )
    polling = Polling(
        feed,
        sink,
        words,
        limits.polling.pace,
        {token: instruments[slot] for token, slot in feed.slots.items()},
        link.ask,
        link.ready,
        partial(handshake_meaning, own=words.meanings),
        Backoff(*BACKOFF_S),
        Backoff(limits.cooldown_after_429_s, max(LONG_MOST_S, limits.cooldown_after_429_s)),
        clock.real_ns,
        words.expires_ns(token),
        log=log,
        where=shown(url, key),
        name=feed.name,
    )
    polling.start()
    link.questions = polling
    return link, polling


def renew_polled(link: QuoteLink, told: Mapping[str, Any]) -> None:
    """Let it use another token. told: Access.feed_config."""
    words, token = quotes_of(told["broker"]), told["access_token"]
    link.renew(words.headers(told["api_key"], token), words.expires_ns(token))
