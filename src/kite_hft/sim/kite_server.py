"""Layer 4, simulator, hot: the simulated broker's two sockets, on the loopback interface only.

A websocket server (picows) for ticks and order updates, an HTTP server (aiohttp) for the REST
API; one asyncio loop, one thread. All rules live in Hub, Exchange and KiteApi; here are sockets,
the machine's clock and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from urllib.parse import parse_qs, parse_qsl, urlsplit

from aiohttp import web
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from kite_hft.sim.exchange import Exchange
from kite_hft.sim.hub import Hub, Link
from kite_hft.sim.kite_api import KiteApi
from kite_hft.sim.pacer import Pacer
from kite_hft.units import NS_PER_S

LOOPBACK = "127.0.0.1"
CONNECTIONS_MAX = 3
WRITE_BUFFER_HIGH = 1 << 20
HEARTBEAT_S = 1.0
SLOW_CONSUMER_S = 30.0
CLOSE_S = 1.0
START_DELAY_NS = 250_000_000
"""From the wanted subscription to the first tick: room for the mode messages that follow it."""


class _Listener(WSListener):
    """One accepted websocket."""

    def __init__(self, server: KiteServer) -> None:
        self._server = server
        self._transport: WSTransport | None = None
        self.link: Link | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._server.listeners.add(self)
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH)

        def send_binary(data: bytes) -> int:
            transport.send(WSMsgType.BINARY, data)
            return time.monotonic_ns()

        def send_text(data: bytes) -> None:
            transport.send(WSMsgType.TEXT, data)

        self.link = self._server.hub.connect(send_binary, send_text)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT and self.link is not None:
            self._server.on_text(self.link, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._server.listeners.discard(self)
        if self.link is not None:
            self._server.hub.disconnect(self.link)
            self._server.wake()

    def pause_writing(self) -> None:
        if self.link is not None:
            self.link.ready = False

    def resume_writing(self) -> None:
        if self.link is not None:
            self.link.ready = True
            self._server.wake()

    def close(self) -> None:
        """End the connection from our side."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.GOING_AWAY)
            self._transport.disconnect()

    def abort(self) -> None:
        """End the connection without waiting for what is not yet sent."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


class KiteServer:
    """Serves one exchange, one API and one hub until it is stopped."""

    def __init__(self, exchange: Exchange, api: KiteApi, hub: Hub, start_when_subscribed: int = 0) -> None:
        """`start_when_subscribed`: the source's clock waits until this many tokens are subscribed."""
        self.exchange = exchange
        self.api = api
        self.hub = hub
        self.listeners: set[_Listener] = set()
        self._start_at = start_when_subscribed
        self._start_requested = False
        self._real_minus_mono = time.time_ns() - time.monotonic_ns()
        self._flood_scheduled = False
        self._stopping = False

    def real_ns(self) -> int:
        """Now, ns since the epoch; steps of the machine's clock after the start are not followed."""
        return time.monotonic_ns() + self._real_minus_mono

    async def start(self, ws_port: int = 0, api_port: int = 0) -> tuple[int, int]:
        """Listen on 127.0.0.1; returns the two ports (websocket, REST).

        Raises:
            OSError: a port is taken.
        """
        self._loop = asyncio.get_running_loop()
        self._pacer = Pacer(self._loop, self.wake)
        self._ws = await ws_create_server(self._accept, LOOPBACK, ws_port, logger_name="kite_sim")
        self._runner = web.ServerRunner(web.Server(self._on_http, access_log=None))
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, api_port)
        await site.start()
        self._heart = self._loop.create_task(self._heartbeats())
        if not self._start_at:
            self.hub.start(time.monotonic_ns())
        self.wake()
        return self._ws.sockets[0].getsockname()[1], self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and both servers."""
        self._stopping = True
        self._heart.cancel()
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

    def wake(self) -> None:
        """Do what is due now and set the timer for what comes next."""
        if self._stopping:
            return
        now = time.monotonic_ns()
        self.hub.step(now)
        self._after(now)

    def deliver_updates(self) -> None:
        """Send the exchange's order updates to every connection."""
        for row in self.exchange.drain_updates():
            frame = self.api.update_frame(row)
            for link in self.hub.links:
                link.send_text(frame)
                link.stream.sent.texts += 1

    def on_text(self, link: Link, text: bytes) -> None:
        """A message from a client."""
        now = time.monotonic_ns()
        self.hub.on_text(link, text, now)
        if self._start_at and not self._start_requested:
            subscribed = sum(link.stream.subscribed for link in self.hub.links)
            if subscribed >= self._start_at:
                self._start_requested = True
                self._loop.call_later(START_DELAY_NS / NS_PER_S, self._start_source)
        self._after(now)

    def _start_source(self) -> None:
        self.hub.start(time.monotonic_ns())
        self.wake()

    def _after(self, now: int) -> None:
        self.exchange.step(now + self._real_minus_mono)
        self.deliver_updates()
        dues = [due for due in (self.hub.next_ns(),) if due is not None]
        if (stage := self.exchange.next_due_ns()) is not None:
            dues.append(stage - self._real_minus_mono)
        if dues:
            self._pacer.at(min(dues))
        flooding = self.hub.started_ns is not None and not self.hub.speed and not self.hub.drained
        if flooding and all(link.ready for link in self.hub.links) and not self._flood_scheduled:
            self._flood_scheduled = True
            self._loop.call_soon(self._flood)

    def _flood(self) -> None:
        self._flood_scheduled = False
        self.wake()

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            now = time.monotonic_ns()
            for link in list(self.hub.links):
                if not link.ready and now - link.last_sent_ns > SLOW_CONSUMER_S * NS_PER_S:
                    self._drop(link)
                elif link.ready and now - link.last_sent_ns >= HEARTBEAT_S * NS_PER_S:
                    link.send_binary(b"\x00")
                    link.stream.sent.heartbeats += 1

    def _drop(self, link: Link) -> None:
        """End a connection that does not read: it holds the source back for all."""
        for listener in list(self.listeners):
            if listener.link is link:
                listener.abort()

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        query = parse_qs(urlsplit(request.path.decode("latin-1")).query)
        key, token = query.get("api_key", [""])[0], query.get("access_token", [""])[0]
        if not self.api.authorised(key, token):
            return _refuse(403, b"Forbidden")
        if len(self.listeners) >= CONNECTIONS_MAX:
            return _refuse(429, b"Too many requests")
        return _Listener(self)

    async def _on_http(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if request.path == "/_sim/stats":
            return web.Response(text=json.dumps(self.stats()), content_type="application/json")
        now = self.real_ns()
        self.hub.step(now - self._real_minus_mono)
        answer = self.api.handle(
            request.method,
            request.path,
            parse_qsl(request.query_string, keep_blank_values=True),
            {name.lower(): value for name, value in request.headers.items()},
            body,
            now,
        )
        self._after(now - self._real_minus_mono)
        return web.Response(
            status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type}
        )

    def stats(self) -> dict[str, object]:
        """What was sent, and what the exchange did."""
        return self.hub.stats() | {"exchange": self.exchange.stats()}


def _refuse(status: int, text: bytes) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, text), None)


async def run(
    server: KiteServer,
    ready: Callable[[int, int], None],
    stop: asyncio.Event,
    ports: tuple[int, int] = (0, 0),
    duration_s: float = 0.0,
) -> None:
    """Serve until `stop` is set or `duration_s` (when positive) has passed."""
    ready(*await server.start(*ports))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), duration_s or None)
    await server.stop()
