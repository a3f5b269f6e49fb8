"""Layer 3, feed process, cold: the websocket connection of a feed.

Connects with picows (TLS verified by the system's certificates), sends what the stage wants
subscribed, and watches: a connection without any frame for too long is aborted, whatever its TCP
says. Own pings keep the way open and are counted; a missing pong alone is no death where the broker
sends heartbeats. What a refused upgrade or a close means stands in the broker's words and
net/ws_codes.py. Every path reconnects after a pause or says why it does not: only a dead token stops
it, until another one comes. Pauses become short again only after a connection that stood for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, SupportsInt, cast
from urllib.parse import urlsplit

import picows

from kite_hft._sink import FrameSink
from kite_hft._ws_listener import FrameListener
from kite_hft.clock import Clock
from kite_hft.net.authorize import AddressRefused, redirect_target
from kite_hft.net.backoff import Backoff
from kite_hft.net.source import family_of
from kite_hft.net.unreachable import shown, why_unreachable
from kite_hft.net.ws_codes import Act, Meaning, close_meaning, handshake_meaning
from kite_hft.trading.feed_words import FeedWords
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
REDIRECTS: Final = (301, 302, 303, 307, 308)


class Subscriber(Protocol):
    """Whom the connection serves (the feed stage)."""

    name: str
    words: FeedWords
    is_connected: bool
    connected_at_ns: int

    def connected(self, now_ns: int) -> Sequence[bytes]: ...

    def disconnected(self) -> None: ...

    def is_silent(self, now_ns: int) -> bool: ...

    def has_delivered(self) -> bool: ...

    def ponged(self, now_ns: int) -> None: ...

    def pinged(self, now_ns: int) -> None: ...

    def count(self, name: str, n: int = 1) -> None: ...


@dataclass(slots=True)
class FeedLink:
    """The connection of one feed, made again whenever it is lost, from `run` until `stop`.

    url: the address with its token; shown nowhere. token_dead: told when the broker refuses the
    token; the link then waits for `renew`. ping_s: seconds between our own pings. connect_s: so long may
    it take until the upgrade is answered. address: gives a one-time address before every connection
    (then `url` is only whom it asks); raises AddressRefused, OSError. headers: of the upgrade, for the
    host of `url` alone. expires_ns: when the token dies by itself (epoch ns); 0: not known. key: of the
    configuration, under which the address stands. bind: source address; "": the system chooses.
    """

    feed: Subscriber
    sink: FrameSink
    url: str
    clock: Clock
    log: Callable[[str], None]
    token_dead: Callable[[str], None] = lambda text: None
    ping_s: float = 2.5
    connect_s: float = CONNECT_S
    address: Callable[[], Awaitable[str]] | None = None
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    expires_ns: int = 0
    key: str = ""
    bind: str = ""
    backoff: Backoff = field(default_factory=lambda: Backoff(*BACKOFF_S))
    long_backoff: Backoff = field(default_factory=lambda: Backoff(*LONG_BACKOFF_S))
    stopping: bool = field(default=False, init=False)
    _transport: picows.WSTransport | None = field(default=None, init=False)
    _connecting: asyncio.Task[picows.WSTransport] | None = field(default=None, init=False)
    _renewed: bool = field(default=False, init=False)
    _gave_up: bool = field(default=False, init=False)
    _told_dead: bool = field(default=False, init=False)
    _at: str = field(default="", init=False, repr=False)  # the address that is being tried
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def stop(self) -> None:
        """End the connection and `run`."""
        self.stopping = True
        self._wake.set()
        if self._connecting is not None:
            self._connecting.cancel()

    def renew(
        self,
        url: str,
        address: Callable[[], Awaitable[str]] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        expires_ns: int = 0,
    ) -> None:
        """Another token: used from the next connection on, at once if we wait for it."""
        self.url, self.address, self.headers, self.expires_ns = url, address, headers, expires_ns
        self._renewed = True
        self._wake.set()

    def send(self, messages: Iterable[bytes]) -> None:
        """Messages of the stage, if the connection stands; a new connection subscribes everything anyway."""
        if self._transport is not None and self.feed.is_connected:
            for message in messages:
                self._transport.send(self._frame_type, message)

    @property
    def _frame_type(self) -> picows.WSMsgType:
        return picows.WSMsgType.BINARY if self.feed.words.binary else picows.WSMsgType.TEXT

    async def run(self) -> None:
        """Keep the connection up until `stop`."""
        while not self.stopping:
            act = Act.TOKEN_DEAD if self._expired() else await self._attempt()
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
        self._renewed = self._told_dead = False
        self._at = self.url
        self._connecting = asyncio.create_task(self._connect())
        try:
            transport = await asyncio.wait_for(self._connecting, self.connect_s)
        except asyncio.CancelledError:
            if not self.stopping:
                raise
            return Act.RETRY
        except picows.WSHandshakeError as error:
            status = int(error.response.status) if error.response else 0
            return self._refused(status)
        except AddressRefused as refusal:
            return self._refused(refusal.status, str(refusal))
        except OSError as error:  # a time-out too
            return self._unreachable(error, Act.RETRY)
        except Exception as error:  # an address or an answer that picows cannot read
            # The error's text may quote the address, and with it the token.
            return self._unreachable(f"no usable websocket: {type(error).__name__}", Act.WAIT_LONG)
        finally:
            self._connecting = None
        if not self.feed.is_connected and not self.feed.connected_at_ns:
            return self._unreachable("it closed before it answered the upgrade", Act.RETRY)
        self.log(f"{self.feed.name}: connected to {urlsplit(self.url).hostname}")
        return await self._serve(transport)

    def _unreachable(self, why: BaseException | str, act: Act) -> Act:
        self.feed.count("unreachable")
        led = urlsplit(self._at).netloc != urlsplit(self.url).netloc
        key = f"where {self.key or 'the broker'} leads" if led else self.key
        self.log(f"{self.feed.name}: {why_unreachable(self._at, key, why)}")
        return act

    def _refused(self, status: int, said: str = "") -> Act:
        host = shown(self.url, self.key)
        meaning = handshake_meaning(status, self.feed.words.handshake_meaning)
        self.feed.count(meaning.counter)
        why = f" with HTTP {status}: {meaning.text}" if status or not said else ": "
        why += (f" ({said})" if status else said) if said else ""
        self.log(f"{self.feed.name}: {host} refused the connection{why}")
        if meaning.act is Act.TOKEN_DEAD:
            self._tell_dead(f"{host} refused the connection{why}")
        return meaning.act

    def _expired(self) -> bool:
        """Whether the token has died by the clock; told once of each one."""
        if not 0 < self.expires_ns <= self.clock.real_ns():
            return False
        if self._renewed or not self._told_dead:
            self._renewed = False  # what came last is what has died: there is nothing to try
            self._tell_dead("the access token has expired: log in again (kite-hft login)")
        return True

    def _tell_dead(self, text: str) -> None:
        self._told_dead = True
        self.token_dead(text)

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
            self._transport = connection  # what is sent from now on is no part of what is subscribed here
            for message in self.feed.connected(self.clock.mono_ns()):
                connection.send(self._frame_type, message)

        def on_disconnected(_connection: picows.WSTransport) -> None:
            if not given_up:
                self.feed.disconnected()

        try:
            self._at = url = await self.address() if self.address is not None else self.url
            transport = await self._upgrade(
                url,
                lambda: FrameListener(self.sink, on_connected, on_disconnected, self._on_pong, self._on_ping),
            )
        except BaseException:
            given_up, self._transport = True, None
            if opened:  # it came up in the very moment in which its time was over
                opened[0].disconnect(graceful=False)
                self.feed.disconnected()
            raise
        return transport

    async def _upgrade(self, url: str, listener: Callable[[], FrameListener]) -> picows.WSTransport:
        """The upgrade, followed to where the broker's redirects lead. Credentials stay with their host."""
        headers = list(self.headers)
        source: dict[str, Any] = {"family": family_of(self.bind)}
        if self.bind:
            source["local_addr"] = (self.bind, 0)
        for hops_left in range(self.feed.words.redirects, -1, -1):
            try:
                transport, _listener = await picows.ws_connect(
                    listener,
                    url,
                    ssl_context=ssl.create_default_context() if url.startswith("wss:") else None,
                    max_redirects=0,
                    enable_auto_pong=False,
                    websocket_handshake_timeout=self.connect_s,
                    max_frame_size=FRAME_BYTES_MAX,
                    read_buffer_init_size=READ_BUFFER_BYTES,
                    extra_headers=headers or None,
                    **source,
                )
            except picows.WSHandshakeError as error:
                response = error.response
                if response is None or int(response.status) not in REDIRECTS or not hops_left:
                    raise
                target = redirect_target(url, response.headers.get("Location", ""))
                if not target:
                    raise AddressRefused(0, "a redirect to an address that must not be used") from None
                if urlsplit(target).netloc != urlsplit(url).netloc:
                    headers = []
                self._at = url = target
            else:
                return transport
        raise AssertionError("the last hop returns or raises")

    def _on_pong(self) -> None:
        self.feed.ponged(self.clock.mono_ns())

    def _on_ping(self) -> None:
        self.feed.pinged(self.clock.mono_ns())

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
        own = self.feed.words.close_meaning
        meaning = close_meaning(ABNORMAL, own) if broken else self._told(transport)
        self.feed.count(meaning.counter)
        return meaning.act

    async def _watch(self, transport: picows.WSTransport) -> None:
        ping_ns = self.clock.mono_ns() + round(self.ping_s * NS_PER_S)
        while self.feed.is_connected and not self.stopping and not transport.close_handshake:
            await self._pause(WATCH_S)
            now_ns = self.clock.mono_ns()
            if not self._expired() and self._told_dead and self._renewed:
                self._gave_up = True  # there is a new token: the old connection goes
                return
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
        meaning = close_meaning(code, self.feed.words.close_meaning)
        self.log(f"{self.feed.name}: disconnected: {meaning.text}, code {code}{reason}")
        return meaning

    async def _pause(self, seconds: float) -> None:
        """Sleep until `stop`, `renew`, or the time is over."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
