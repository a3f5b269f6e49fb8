"""Layer 4, simulator, hot: the simulated broker's two sockets, on the loopback interface only.

A websocket server (picows) for ticks and order updates, an HTTP server (aiohttp) for the REST
API; one asyncio loop, one thread. All rules live in Hub, Exchange, Injector and the broker's face;
here are sockets, the machine's clock and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from picows import (
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from kite_hft.sim.faults.acts import Acts
from kite_hft.sim.faults.injector import InjectionLog, Injector
from kite_hft.sim.faults.schedule import Faults
from kite_hft.sim.faults.updates import Copy
from kite_hft.sim.market.closed_market import ClosedMarket
from kite_hft.sim.rest import JSON, Response
from kite_hft.sim.server.control import PREFIX, Control
from kite_hft.sim.server.face import MARKET, UPGRADED, Door, Face
from kite_hft.sim.server.hub import Hold, Hub, Link
from kite_hft.sim.server.listener import Listener
from kite_hft.sim.server.pacer import Pacer
from kite_hft.units import NS_PER_S

LOOPBACK = "127.0.0.1"
LINE_MAX = 1 << 17
"""A request line: a thousand instruments of a quote stand in it."""
LOOK_S = 0.25
"""How often silence, dead tokens and clients that do not read are looked for."""
SLOW_CONSUMER_S = 30.0
CLOSE_S = 1.0
ORDER = "order"
"""The kind of updates that a row is when it does not say it."""
REFUSED = 400
"""From this HTTP status on a handshake is refused; below it is sent elsewhere."""
ERROR_WORD = re.compile(rb'"(?:error_code|error_type)": ?"([^"]*)"')
NOTICE_S = 0.3
NOTICE_TIMEOUT_S = 5.0
START_DELAY_NS = 250_000_000
"""From the wanted subscription to the first tick: room for the mode messages that follow it."""


class Server:
    """Serves one broker's face and one hub until it is stopped."""

    def __init__(
        self,
        face: Face,
        hub: Hub,
        start_when_subscribed: int = 0,
        faults: Faults | None = None,
        log: InjectionLog | None = None,
        clock_offset_ns: int | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """`start_when_subscribed`: the source's clock waits until this many tokens are subscribed.
        `clock_offset_ns`: the exchange's clock minus CLOCK_MONOTONIC; by default the machine's.
        `tls`: certificate and key (PEM) of the websockets; None: without TLS."""
        self.face = face
        self.exchange = face.exchange
        self.api = face.api
        self.hub = hub
        self.listeners: set[Listener] = set()
        self.upgrades: Counter[str] = Counter()
        self.callers: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By kind of websocket, and of calls: addresses that clients call from."""
        self.refused: Counter[str] = Counter()  # answers to requests: status, and the broker's word for it
        self._tls = tls
        self._start_at = start_when_subscribed
        self._start_requested = False
        machine = time.time_ns() - time.monotonic_ns()
        self._real_minus_mono = machine if clock_offset_ns is None else clock_offset_ns
        self.injector = Injector(
            faults or Faults(), log or InjectionLog(), hub, Acts(self.exchange, self.api, hub),
            lambda: self.listeners, self.real_ns, face.words,
        )  # fmt: skip
        self.control = Control(face, hub, self.injector, self._tallies)
        self._closed_market = ClosedMarket(self.exchange)
        self._flood_scheduled = False
        self._stopping = False
        self._ending = asyncio.Event()
        self._notices: set[asyncio.Task[None]] = set()

    @property
    def scheme(self) -> str:
        """Of the websockets' addresses: ws or wss."""
        return "ws" if self._tls is None else "wss"

    def real_ns(self) -> int:
        """The exchange's clock, ns since the epoch; steps of the machine's clock are not followed."""
        return time.monotonic_ns() + self._real_minus_mono

    async def start(self, ws_port: int = 0, api_port: int = 0) -> tuple[int, int]:
        """Listen on 127.0.0.1; returns the two ports (websocket, REST).

        Raises:
            OSError: a port is taken.
        """
        self._loop = asyncio.get_running_loop()
        self._pacer = Pacer(self._loop, self.wake)
        context = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
        self._ws = await ws_create_server(
            self._accept, LOOPBACK, ws_port, logger_name="kite_sim", enable_auto_pong=False, ssl=context
        )
        self._runner = web.ServerRunner(web.Server(self._on_http, access_log=None, max_line_size=LINE_MAX))
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, api_port)
        await site.start()
        self._heart = self._loop.create_task(self._look_after())
        self.api.step(self.real_ns())
        self.hub.closed = self._closed_market.slots()
        if not self._start_at:
            self.hub.start(time.monotonic_ns())
        ports: tuple[int, int] = self._ws.sockets[0].getsockname()[1], self._runner.addresses[0][1]
        self.face.listening(f"{self.scheme}://{LOOPBACK}:{ports[0]}", f"http://{LOOPBACK}:{ports[1]}")
        self.wake()
        return ports

    async def stop(self) -> None:
        """Close every connection and both servers."""
        self._stopping = True
        self._ending.set()
        for task in (self._heart, *self._notices):
            task.cancel()
        self._pacer.close()
        self._ws.close()
        for listener in list(self.listeners):
            listener.close()
        give_up = time.monotonic() + CLOSE_S
        while self.listeners and time.monotonic() < give_up:
            await asyncio.sleep(0.01)
        for listener in list(self.listeners):
            listener.abort()  # a client that does not read cannot keep us
        await self._ws.wait_closed()
        await self._runner.cleanup()
        await asyncio.sleep(0)

    # -- time

    def wake(self) -> None:
        """Do what is due now and set the timer for what comes next."""
        if self._stopping:
            return
        now = time.monotonic_ns()
        self.injector.step(now)
        self.hub.step(now)
        self._after(now)

    def _start_source(self) -> None:
        self.hub.start(time.monotonic_ns())
        self.wake()

    def _after(self, now: int) -> None:
        if self._stopping:
            return
        stage = self.exchange.next_due_ns()
        if stage is not None and stage <= now + self._real_minus_mono:
            self.hub.tell(now)  # it acts on the market as it is now
            self.exchange.step(now + self._real_minus_mono)
            stage = self.exchange.next_due_ns()
        self._deliver_updates(now)
        dues = [self.hub.next_ns(), self.injector.next_ns()]
        if stage is not None:
            dues.append(stage - self._real_minus_mono)
        if times := [due for due in dues if due is not None]:
            self._pacer.at(min(times))
        flooding = self.hub.started_ns is not None and not self.hub.speed and not self.hub.drained
        free = all(link.ready and link.hold is not Hold.FOR_LATER for link in self.hub.links)
        if flooding and free and not self._flood_scheduled:
            self._flood_scheduled = True
            self._loop.call_soon(self._flood)

    def _flood(self) -> None:
        self._flood_scheduled = False
        self.wake()

    async def _look_after(self) -> None:
        """Heartbeats, clients that do not read, tokens that died by the clock or by a logout."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic_ns()
            self.api.step(now + self._real_minus_mono)
            self.hub.closed = self._closed_market.slots()
            self.injector.end([x for x in self.listeners if not self.api.authorised(*x.door.credentials)])
            for frame in self.face.news(now + self._real_minus_mono):
                self._tell_market(frame)
            for listener in list(self.listeners):
                link = listener.link
                if link is None or link.hold is not Hold.NOTHING:
                    continue
                silent_ns = now - link.last_sent_ns
                if not link.ready and silent_ns > SLOW_CONSUMER_S * NS_PER_S:
                    listener.abort()  # it holds the source back for all
                elif link.ready and silent_ns >= self.face.heartbeat_s * NS_PER_S:
                    self._heartbeat(listener, link, now)

    def _heartbeat(self, listener: Listener, link: Link, now: int) -> None:
        if self.face.heartbeat:
            link.send_binary(self.face.heartbeat)
        else:
            listener.send_ping()
        link.last_sent_ns = now
        link.stream.sent.heartbeats += 1

    def _tell_market(self, frame: bytes) -> None:
        """A frame without ticks, to all market connections."""
        for listener in self.listeners:
            link = listener.link
            if listener.door.kind == MARKET and link is not None and link.hold is Hold.NOTHING:
                link.send_binary(frame)

    # -- websockets

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        headers = {name.lower(): value for name, value in request.headers.items()}
        kinds = [listener.door.kind for listener in self.listeners if not listener.leaving]
        door = self.face.admit(request.path.decode("latin-1"), headers, kinds)
        if door.status == UPGRADED:
            return Listener(self, door)
        self.upgrades[f"refused_{door.status}" if door.status >= REFUSED else "redirected"] += 1
        return WSUpgradeResponseWithListener(_refusal(door), None)

    def opened(self, listener: Listener) -> Link:
        """A websocket stands."""
        self.upgrades["opened"] += 1
        self.callers[f"{listener.door.kind} websocket"][listener.peer] += 1
        self.listeners.add(listener)
        link = self.hub.connect(listener.send_binary, listener.send_text)
        link.wants = listener.door.wants
        link.last_sent_ns = time.monotonic_ns()
        for frame in self.face.greeting(listener.door.kind, self.real_ns()):
            listener.send_binary(frame)
        self._loop.call_soon(self.wake)  # a fault may wait for a connection
        return link

    def closed(self, listener: Listener) -> None:
        """A websocket is gone."""
        self.upgrades["closed"] += 1
        self.listeners.discard(listener)
        if listener.link is not None:
            self.hub.disconnect(listener.link)
            self.face.left(listener.link.stream)
            self.wake()

    def on_message(self, link: Link, data: bytes, *, binary: bool) -> None:
        """A message from a client."""
        now = time.monotonic_ns()
        self.hub.on_message(link, data, now, binary=binary)
        if self._start_at and not self._start_requested:
            subscribed = sum(link.stream.subscribed for link in self.hub.links)
            if subscribed >= self._start_at:
                self._start_requested = True
                self._loop.call_later(START_DELAY_NS / NS_PER_S, self._start_source)
        self._after(now)

    def _deliver_updates(self, now: int) -> None:
        """Send the exchange's order updates to every connection, with what faults make of them."""
        copies = self.injector.held_updates(now)
        for row in self.face.updates():
            copies += self.injector.pass_on(row, now)
        for copy in copies:
            self._send_update(copy)

    def _send_update(self, copy: Copy) -> None:
        frame, kind = self.face.update_frame(copy.row), copy.row.get("update_type", ORDER)
        labelled = copy.row.get("status") == self.face.label
        for link in self.hub.links:
            if kind in link.wants and copy.only in (None, link.number) and copy.without != link.number:
                link.say(frame, "orders" if kind == ORDER else "", labelled)

    # -- REST

    async def _on_http(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        now = time.monotonic_ns()
        real_ns = now + self._real_minus_mono
        if request.method != "GET" and not request.path.startswith(PREFIX):
            self.control.requests.append((now, request.method, request.path_qs))
        self.hub.step(now)
        self.hub.tell(now)
        if request.path.startswith(PREFIX):
            answer = self.control.handle(request.method, request.path, body, now, real_ns)
            self.wake()
            return _answer(answer)

        self.callers["calls"][request.remote or ""] += 1

        def handle() -> Response:
            return self.api.handle(
                request.method,
                request.path,
                parse_qsl(request.query_string, keep_blank_values=True),
                {name.lower(): value for name, value in request.headers.items()},
                body,
                real_ns,
                request.remote or LOOPBACK,
            )

        response, delay_s = self.injector.serve(request.method, request.path, handle, now)
        self._after(now)
        if delay_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay_s)  # an end of the server comes first
        for url, notice in self.face.notices():
            self._notices.add(task := self._loop.create_task(_notify(url, notice)))
            task.add_done_callback(self._notices.discard)
        if response is not None and response.status >= REFUSED:
            found = ERROR_WORD.search(response.body)
            self.refused[f"{response.status} {found[1].decode() if found else ''}".strip()] += 1
        if response is None:
            if request.transport is not None:
                request.transport.close()
            raise asyncio.CancelledError  # nothing more is to be said on this connection
        return _answer(response)

    def _tallies(self) -> dict[str, Any]:
        return {
            "upgrades": dict(self.upgrades),
            "refused": dict(self.refused),
            "callers": {kind: dict(found) for kind, found in self.callers.items()},
        }

    def stats(self) -> dict[str, object]:
        """What was sent, what the exchange did, what was injected."""
        return self.control.stats()


async def _notify(url: str, notice: bytes) -> None:
    """POST what the app's notifier address gets; one try, a moment after the answer that told of it."""
    await asyncio.sleep(NOTICE_S)
    timeout = ClientTimeout(NOTICE_TIMEOUT_S)
    with contextlib.suppress(OSError, ClientError, TimeoutError):
        async with (
            ClientSession(timeout=timeout) as session,
            session.post(url, data=notice, headers={"Content-Type": JSON}) as answer,
        ):
            await answer.read()


def _refusal(door: Door) -> Any:
    headers = dict(door.headers)
    if door.status < REFUSED:
        return WSUpgradeResponse.create_redirect_response(door.status, headers["Location"])
    return WSUpgradeResponse.create_error_response(door.status, door.text, headers)


def _answer(response: Response) -> web.Response:
    headers = {"Content-Type": response.content_type, **dict(response.headers)}
    return web.Response(status=response.status, body=response.body, headers=headers)


async def run(
    server: Server,
    ready: Callable[[int, int], None],
    stop: asyncio.Event,
    ports: Sequence[int] = (0, 0),
    duration_s: float = 0.0,
) -> None:
    """Serve until `stop` is set or `duration_s` (when positive) has passed."""
    ready(*await server.start(*ports))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), duration_s or None)
    await server.stop()
