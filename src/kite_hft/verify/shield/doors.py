"""Layer 6, campaign of TLS, cold: the ways on which the engine calls somebody, each as one function.

door(netloc, canary) -> what was said: calls https or wss at `netloc` with `canary` as its token, as the
engine does it, and comes back when it was refused or a second has passed without an answer.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Sequence
from typing import Final

import uvloop

from kite_hft._sink import FrameSink
from kite_hft.brokers.kite.wire import KITE_WORDS
from kite_hft.brokers.upstox.wire import PORTFOLIO_WORDS, upstox_words
from kite_hft.clock import SystemClock
from kite_hft.net.authorize import AddressRefused, authorized
from kite_hft.net.http import HttpSettings, HttpTransport, fetch
from kite_hft.net.post import PostError, call
from kite_hft.net.ws import FeedLink
from kite_hft.trading.broker import HttpRequest, TransportError
from kite_hft.trading.feed_words import FeedWords
from kite_hft.trading.instruments import InstrumentTable

WAIT_S: Final = 1.0
SETTLE_S: Final = 0.05


class Nobody:
    """Whom a connection serves here: it wants nothing and never connects."""

    name = "feed"
    is_connected = False
    connected_at_ns = 0

    def __init__(self, words: FeedWords) -> None:
        self.words = words

    def connected(self, now_ns: int) -> Sequence[bytes]:
        return ()

    def disconnected(self) -> None:
        return None

    def is_silent(self, now_ns: int) -> bool:
        return False

    def has_delivered(self) -> bool:
        return False

    def ponged(self, now_ns: int) -> None:
        return None

    def pinged(self, now_ns: int) -> None:
        return None

    def count(self, name: str, n: int = 1) -> None:
        return None


def bearer(canary: str) -> list[tuple[str, str]]:
    """The header that carries a token."""
    return [("Authorization", f"Bearer {canary}")]


def order(netloc: str, canary: str) -> str:
    """A POST through the transport of ORDERS."""
    settings = HttpSettings(1, 0, timeout_s=WAIT_S, connect_timeout_s=WAIT_S, queue_s=WAIT_S)
    transport = HttpTransport(f"https://{netloc}", SystemClock(), bearer(canary), settings)
    ready = select.poll()
    ready.register(transport.fileno(), select.POLLIN)
    ends = time.monotonic() + 2 * WAIT_S
    try:
        transport.submit(1, HttpRequest("POST", "/orders/regular", b"quantity=1", "text/plain"))
        while time.monotonic() < ends:
            if done := transport.poll():
                result = done[0][1]
                return result.reason if isinstance(result, TransportError) else f"HTTP {result.status}"
            if why := transport.nowhere():
                return why
            ready.poll(20)
        return "no answer"
    finally:
        transport.close()


def read(netloc: str, canary: str) -> str:
    """One read before anything trades."""
    try:
        return f"HTTP {fetch(f'https://{netloc}/user', bearer(canary), timeout_s=WAIT_S)[0]}"
    except ConnectionError as error:
        return str(error)


def alert(netloc: str, canary: str) -> str:
    """An alert to a webhook."""
    try:
        return f"HTTP {call('POST', f'https://{netloc}/{canary}', b'x', timeout_s=WAIT_S).status}"
    except PostError as error:
        return str(error)


def authorization(netloc: str, canary: str) -> str:
    """Upstox's call that gives the address of a websocket."""
    try:
        return uvloop.run(_authorized(netloc, canary))
    except (AddressRefused, OSError) as error:
        return str(error)


async def _authorized(netloc: str, canary: str) -> str:
    # its own time-out is longer than we wait here; the request has arrived by then, or never will
    asking = authorized(f"https://{netloc}/v3/feed", bearer(canary), bytes.decode)
    return await asyncio.wait_for(asking, WAIT_S)


def websocket(words: Callable[[], FeedWords], *, in_query: bool) -> Callable[[str, str], str]:
    """The upgrade of a broker's websocket. in_query: the token stands in the address, as Kite has it."""

    def door(netloc: str, canary: str) -> str:
        said: list[str] = []
        headers = [] if in_query else bearer(canary)
        url = f"wss://{netloc}/?access_token={canary}" if in_query else f"wss://{netloc}/feed"

        async def once() -> None:
            def told(text: str) -> None:
                said.append(text)
                link.stop()

            link = FeedLink(Nobody(words()), FrameSink(), url, SystemClock(), told, connect_s=WAIT_S)
            link.headers = headers
            await asyncio.wait_for(link.run(), 4 * WAIT_S)
            await asyncio.sleep(SETTLE_S)  # until the loop has closed what was given up

        uvloop.run(once())
        return said[0] if said else "nothing"

    return door


DOORS: Final[dict[str, Callable[[str, str], str]]] = {
    "orders (REST)": order,
    "reads (REST)": read,
    "alerts (REST)": alert,
    "kite websocket": websocket(lambda: KITE_WORDS, in_query=True),
    "upstox authorization": authorization,
    "upstox websocket": websocket(lambda: upstox_words(InstrumentTable(())), in_query=False),
    "upstox order updates": websocket(lambda: PORTFOLIO_WORDS, in_query=False),
}
