"""Layer 3, feed process, cold: the websocket connection of a feed.

Connects with picows (TLS verified by the system's certificates), sends what the stage wants
subscribed, watches for silence, reconnects with a jittered back-off. HTTP 403 on the upgrade
means that the token is dead: no further try.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import picows

from kite_hft._sink import FrameSink
from kite_hft._ws_listener import FrameListener
from kite_hft.clock import Clock

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
WATCH_S = 0.1
READ_BUFFER_BYTES = 1 << 20
FRAME_BYTES_MAX = 16 << 20


class Subscriber(Protocol):
    """Whom the connection serves (the feed stage)."""

    is_connected: bool

    def connected(self, now_ns: int) -> Sequence[bytes]: ...

    def disconnected(self) -> None: ...

    def is_silent(self, now_ns: int) -> bool: ...


class FeedRefused(Exception):
    """The server refuses this session for good; the message says what to do."""


def websocket_url(base: str, api_key: str, access_token: str) -> str:
    """Kite's feed address; the two query parameters are its only authentication."""
    return f"{base}?{urlencode({'api_key': api_key, 'access_token': access_token})}"


async def run_feed(
    feed: Subscriber,
    sink: FrameSink,
    url: str,
    clock: Clock,
    stopping: asyncio.Event,
    log: Callable[[str], None],
) -> None:
    """Keep the connection of `feed` up until `stopping` is set.

    Raises:
        FeedRefused: the token is dead or the account has no market data (HTTP 403).
    """
    backoff_s = BACKOFF_FIRST_S
    host = urlsplit(url).hostname
    while not stopping.is_set():
        try:
            transport = await _connect(feed, sink, url, clock)
        except picows.WSHandshakeError as error:
            status = int(error.response.status) if error.response else 0
            if status == 403:
                raise FeedRefused(
                    f"{host} refuses the session (403): the access token is dead or has no "
                    "market data; log in again"
                ) from None
            log(f"feed: {host} refused the connection with HTTP {status}")
        except OSError as error:
            log(f"feed: cannot reach {host}: {error}")
        except (picows.WSError, ValueError) as error:
            # Its text may quote the address, and with it the token.
            log(f"feed: {host} is no usable websocket address: {type(error).__name__}")
        else:
            log(f"feed: connected to {host}")
            backoff_s = BACKOFF_FIRST_S
            await _watch(feed, transport, clock, stopping, log)
        if not stopping.is_set():
            delay_s = backoff_s * random.uniform(0.8, 1.2)
            log(f"feed: next try in {delay_s:.1f} s")
            await _pause(stopping, delay_s)
            backoff_s = min(BACKOFF_MAX_S, backoff_s * 2)


async def _connect(feed: Subscriber, sink: FrameSink, url: str, clock: Clock) -> picows.WSTransport:
    """One connection, subscribed."""

    def on_connected(connection: picows.WSTransport) -> None:
        for message in feed.connected(clock.mono_ns()):
            connection.send(picows.WSMsgType.TEXT, message)

    def on_disconnected(_connection: picows.WSTransport) -> None:
        feed.disconnected()

    transport, _listener = await picows.ws_connect(
        lambda: FrameListener(sink, on_connected, on_disconnected),
        url,
        ssl_context=ssl.create_default_context() if url.startswith("wss:") else None,
        max_redirects=0,
        max_frame_size=FRAME_BYTES_MAX,
        read_buffer_init_size=READ_BUFFER_BYTES,
    )
    return transport


async def _watch(
    feed: Subscriber,
    transport: picows.WSTransport,
    clock: Clock,
    stopping: asyncio.Event,
    log: Callable[[str], None],
) -> None:
    """Until the connection ends, falls silent or `stopping` is set; closes it in each case."""
    while feed.is_connected and not stopping.is_set():
        await _pause(stopping, WATCH_S)
        if feed.is_silent(clock.mono_ns()):
            log("feed: no frame for too long: the connection is taken for dead")
            break
    if feed.is_connected:
        transport.disconnect()
        await transport.wait_disconnected()


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
