"""Layer 3, feed process, cold: the websocket connection of a feed.

Connects with picows (TLS verified by the system's certificates), sends what the stage wants
subscribed, and watches: a connection without any frame for too long is aborted, whatever its TCP
says. Own pings keep the way open and are counted; a missing pong alone is no death. What a refused
upgrade or a close means stands in net/ws_codes.py. Every path reconnects after a pause or says
why it does not: only a dead token stops it, until another one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, SupportsInt, cast
from urllib.parse import urlsplit

import picows

from kite_hft._sink import FrameSink
from kite_hft._ws_listener import FrameListener
from kite_hft.clock import Clock
from kite_hft.net.backoff import Backoff
from kite_hft.net.ws_codes import Act, Meaning, close_meaning, handshake_meaning
from kite_hft.units import NS_PER_S

BACKOFF_S: Final = (0.5, 30.0)
LONG_BACKOFF_S: Final = (5.0, 120.0)
STABLE_S: Final = 10.0
"""A connection that delivered for so long makes the next pause the first one again."""
WATCH_S: Final = 0.1
CONNECT_S: Final = 10.0
CLOSE_S: Final = 1.0
READ_BUFFER_BYTES: Final = 1 << 20
FRAME_BYTES_MAX: Final = 16 << 20
ABNORMAL: Final = 1006
WITHOUT_CODE: Final = 1005


class Subscriber(Protocol):
    """Whom the connection serves (the feed stage)."""

    name: str
    is_connected: bool
    connected_at_ns: int

    def connected(self, now_ns: int) -> Sequence[bytes]: ...

    def disconnected(self) -> None: ...

    def is_silent(self, now_ns: int) -> bool: ...

    def has_delivered(self) -> bool: ...

    def count(self, name: str, n: int = 1) -> None: ...


@dataclass(slots=True)
class FeedLink:
    """The connection of one feed, made again whenever it is lost, from `run` until `stop`.

    url: the address with its token; shown nowhere. token_dead: told when the broker refuses the
    token; the link then waits for `renew`. ping_s: seconds between our own pings. connect_s: so long may
    it take until the upgrade is answered.
    """

    feed: Subscriber
    sink: FrameSink
    url: str
    clock: Clock
    log: Callable[[str], None]
    token_dead: Callable[[str], None] = lambda text: None
    ping_s: float = 2.5
    connect_s: float = CONNECT_S
    backoff: Backoff = field(default_factory=lambda: Backoff(*BACKOFF_S))
    long_backoff: Backoff = field(default_factory=lambda: Backoff(*LONG_BACKOFF_S))
    stopping: bool = field(default=False, init=False)
    _transport: picows.WSTransport | None = field(default=None, init=False)
    _connecting: asyncio.Task[picows.WSTransport] | None = field(default=None, init=False)
    _renewed: bool = field(default=False, init=False)
    _gave_up: bool = field(default=False, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def stop(self) -> None:
        """End the connection and `run`."""
        self.stopping = True
        self._wake.set()
        if self._connecting is not None:
            self._connecting.cancel()

    def renew(self, url: str) -> None:
        """Another address (a new token): used from the next connection on, at once if we wait for it."""
        self.url = url
        self._renewed = True
        self._wake.set()

    def send(self, messages: Iterable[bytes]) -> None:
        """Text frames, if the connection stands; a new connection subscribes everything anyway."""
        if self._transport is not None and self.feed.is_connected:
            for message in messages:
                self._transport.send(picows.WSMsgType.TEXT, message)

    async def run(self) -> None:
        """Keep the connection up until `stop`."""
        while not self.stopping:
            act = await self._attempt()
            if self.stopping:
                return
            if act is Act.TOKEN_DEAD:
                await self._new_token()
                continue
            pause_s = (self.long_backoff if act is Act.WAIT_LONG else self.backoff).next_s()
            self.log(f"{self.feed.name}: next try in {pause_s:.1f} s")
            await self._pause(pause_s)

    async def _attempt(self) -> Act:
        """One connection from its making to its end; what to do next."""
        host = urlsplit(self.url).hostname
        self._renewed = False
        self._connecting = asyncio.create_task(self._connect())
        try:
            transport = await asyncio.wait_for(self._connecting, self.connect_s)
        except asyncio.CancelledError:
            if not self.stopping:
                raise
            return Act.RETRY
        except picows.WSHandshakeError as error:
            status = int(error.response.status) if error.response else 0
            return self._refused(host, status)
        except OSError as error:  # a time-out too
            self.feed.count("unreachable")
            self.log(f"{self.feed.name}: cannot reach {host}: {str(error) or type(error).__name__}")
            return Act.RETRY
        except Exception as error:  # an address or an answer that picows cannot read
            # The error's text may quote the address, and with it the token.
            self.feed.count("unreachable")
            self.log(f"{self.feed.name}: {host} is no usable websocket address: {type(error).__name__}")
            return Act.WAIT_LONG
        finally:
            self._connecting = None
        if not self.feed.is_connected and not self.feed.connected_at_ns:
            self.feed.count("unreachable")
            self.log(f"{self.feed.name}: {host} closed before it answered the upgrade")
            return Act.RETRY
        self.log(f"{self.feed.name}: connected to {host}")
        return await self._serve(transport)

    def _refused(self, host: str | None, status: int) -> Act:
        meaning = handshake_meaning(status)
        self.feed.count(meaning.counter)
        self.log(f"{self.feed.name}: {host} refused the connection with HTTP {status}: {meaning.text}")
        if meaning.act is Act.TOKEN_DEAD:
            self.token_dead(f"{host} refused the connection with HTTP {status}: {meaning.text}")
        return meaning.act

    async def _new_token(self) -> None:
        """Wait for `renew`: trying a dead token again and again helps nobody."""
        self.log(f"{self.feed.name}: waits for a new access token")
        while not self._renewed and not self.stopping:
            self._wake.clear()
            await self._wake.wait()
        self.backoff.reset()
        self.long_backoff.reset()

    async def _connect(self) -> picows.WSTransport:
        """One connection, subscribed."""
        self.feed.connected_at_ns = 0
        given_up = False
        opened: list[picows.WSTransport] = []

        def on_connected(connection: picows.WSTransport) -> None:
            if given_up:  # it came up after its time was over: another try is under way
                connection.disconnect(graceful=False)
                return
            opened.append(connection)
            for message in self.feed.connected(self.clock.mono_ns()):
                connection.send(picows.WSMsgType.TEXT, message)

        def on_disconnected(_connection: picows.WSTransport) -> None:
            if not given_up:
                self.feed.disconnected()

        try:
            transport, _listener = await picows.ws_connect(
                lambda: FrameListener(self.sink, on_connected, on_disconnected, self._on_pong),
                self.url,
                ssl_context=ssl.create_default_context() if self.url.startswith("wss:") else None,
                max_redirects=0,
                enable_auto_pong=False,
                websocket_handshake_timeout=self.connect_s,
                max_frame_size=FRAME_BYTES_MAX,
                read_buffer_init_size=READ_BUFFER_BYTES,
            )
        except BaseException:
            given_up = True
            if opened:  # it came up in the very moment in which its time was over
                opened[0].disconnect(graceful=False)
                self.feed.disconnected()
            raise
        return transport

    def _on_pong(self) -> None:
        self.feed.count("pongs")

    async def _serve(self, transport: picows.WSTransport) -> Act:
        """Until the connection ends, falls silent or is told to stop."""
        self._transport, self._gave_up = transport, False
        try:
            await self._watch(transport)
            broken = await self._end(transport)
        finally:
            self._transport = None
        if self.stopping:
            return Act.RETRY
        lived_s = (self.clock.mono_ns() - self.feed.connected_at_ns) / NS_PER_S
        if lived_s >= STABLE_S and self.feed.has_delivered():
            self.backoff.reset()
            self.long_backoff.reset()
        if self._gave_up:
            return Act.RETRY
        meaning = close_meaning(ABNORMAL) if broken else self._told(transport)
        self.feed.count(meaning.counter)
        return meaning.act

    async def _watch(self, transport: picows.WSTransport) -> None:
        ping_ns = self.clock.mono_ns() + round(self.ping_s * NS_PER_S)
        while self.feed.is_connected and not self.stopping and not transport.close_handshake:
            await self._pause(WATCH_S)
            now_ns = self.clock.mono_ns()
            if self.feed.is_silent(now_ns):
                self.log(f"{self.feed.name}: no frame for too long: the connection is taken for dead")
                self.feed.count("watchdog_trips")
                self._gave_up = True
                return
            if now_ns >= ping_ns and self.feed.is_connected:
                ping_ns = now_ns + round(self.ping_s * NS_PER_S)
                transport.send_ping()
                self.feed.count("pings")

    async def _end(self, transport: picows.WSTransport) -> bool:
        """Close in order where the peer still listens; one that does not is not waited for.

        Whether it was not the peer that ended it, but a frame that nobody could read.
        """
        if self.feed.is_connected and not self._gave_up:
            if not transport.is_close_frame_sent:
                transport.send_close(picows.WSCloseCode.OK)
            transport.disconnect()
            with contextlib.suppress(Exception):  # what it raises is told below
                await asyncio.wait_for(transport.wait_disconnected(), CLOSE_S)
        if self.feed.is_connected:
            transport.disconnect(graceful=False)
        try:
            await transport.wait_disconnected()
        except Exception as error:  # a frame that breaks the protocol, or a failure of ours
            self.log(f"{self.feed.name}: the connection failed: {type(error).__name__}: {error}")
            return True
        return False

    def _told(self, transport: picows.WSTransport) -> Meaning:
        """What the end of the connection means, by what its peer said last."""
        told = transport.close_handshake
        code = ABNORMAL
        reason = ""
        if told is not None and told.recv is not None:
            code = int(cast(SupportsInt, told.recv.code)) or WITHOUT_CODE
            reason = f" ({told.recv.reason})" if told.recv.reason else ""
        meaning = close_meaning(code)
        self.log(f"{self.feed.name}: disconnected: {meaning.text}, code {code}{reason}")
        return meaning

    async def _pause(self, seconds: float) -> None:
        """Sleep until `stop`, `renew`, or the time is over."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
