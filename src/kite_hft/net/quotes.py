"""Layer 3, feed process, cold: the one connection of a feed that asks for prices by HTTP.

Nothing but quotes can leave by it: the verb is GET, the host is one, the paths are those that the broker's
adapter names for quotes, and the head is made here, from these and from a query of harmless characters. No
body is ever sent. So the process that holds it reaches no order call. Certificates are verified, redirects
are not followed, nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import select
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

import h11

from kite_hft.addresses import is_loopback
from kite_hft.clock import Clock
from kite_hft.net.backoff import Backoff
from kite_hft.net.connection import Connection, Done, Phase, Target
from kite_hft.net.http import BODY_MAX
from kite_hft.net.resolving import TransportConfigError, targets_of
from kite_hft.net.source import family_of
from kite_hft.trading.broker import HttpResponse, TransportError
from kite_hft.units import NS_PER_S

WATCH_S: Final = 0.1
AGAIN_S: Final = (0.5, 30.0)
"""Between two tries to reach the host: at first, and at most."""
CONNECT_S: Final = 5.0
QUERY_BYTES_MAX: Final = 48 << 10
"""Above any call of the brokers' limits: 1,000 names."""
PATH: Final = re.compile(r"/quote(?:/ltp|/ohlc)?|/v[23]/market-quote/(?:quotes|ltp|ohlc)")
"""What a path for quotes looks like at any broker; whatever an adapter says, no other leaves."""
QUERY: Final = re.compile(r"[A-Za-z0-9&=%:._~+-]+")


class QuoteLine:
    """A keep-alive connection to one host that can ask for quotes and for nothing else. Single-threaded.

    url: scheme://host[:port]. paths: the adapter's. One call at a time.

    Raises:
        TransportConfigError: a path that is none of quotes', an address that must not be used, or a
            context that does not verify. OSError: the host's name cannot be resolved (it blocks).
    """

    def __init__(
        self,
        url: str,
        paths: Collection[str],
        clock: Clock,
        timeout_s: float,
        bind: str = "",
        context: ssl.SSLContext | None = None,
    ) -> None:
        for path in paths:
            if not PATH.fullmatch(path):
                raise TransportConfigError(f"{path}: no path of quotes")
        self._base, self._targets = targets_of(url, context, bind, family_of(bind, socket.AF_UNSPEC))
        self._paths, self._now = frozenset(paths), clock.mono_ns
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._headers = ""
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._done: list[Done] = []
        self._epoll = select.epoll()
        connect_ns = round(CONNECT_S * NS_PER_S)
        self._line = Connection(self._epoll, self._now, self._done.append, BODY_MAX, connect_ns)
        self._turn = 0
        self._open()

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Credentials of the calls from now on."""
        fixed = (("Host", self._host), ("User-Agent", "kite_hft"), ("Accept-Encoding", "identity"))
        pairs = [*fixed, *headers]
        h11.Request(method="GET", target="/", headers=pairs)  # refuses what is no header
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in pairs)

    def ask(self, path: str, query: str) -> None:
        """GET path?query; its answer, or why there is none, comes from `poll`.

        Raises:
            ValueError: another path, a query that is none, or a call is under way.
        """
        if path not in self._paths:
            raise ValueError(f"{path}: only quotes are asked for here: {', '.join(sorted(self._paths))}")
        if len(query) > QUERY_BYTES_MAX or not QUERY.fullmatch(query):
            raise ValueError(f"a query of {len(query)} characters that is none of quotes'")
        if self._line.phase is Phase.BUSY:
            raise ValueError("a call is under way")
        if not self._line.fresh():
            self._done.append((0, TransportError("the connection was lost", False, self._now())))
            return
        self._turn = 0
        data = f"GET {self._base}{path}?{query} HTTP/1.1\r\n{self._headers}\r\n".encode("ascii")
        if not self._line.start(1, "GET", data, self._now() + self._timeout_ns):
            self._done.append((0, TransportError("the connection was lost", False, self._now())))

    def ready(self) -> bool:
        """Whether a call could leave now."""
        return self._line.fresh()

    def poll(self) -> list[HttpResponse | TransportError]:
        """Handle what happened on the socket; the answer since the last call, if there is one."""
        for fd, events in self._epoll.poll(0, 4):
            if fd == self._line.fd:
                self._line.ready(events)
        now_ns = self._now()
        self._line.expire(now_ns)
        if self._line.phase is Phase.CLOSED and now_ns >= self._line.retry_ns and not self.nowhere():
            self._open()
        found = [result for _, result in self._done]
        self._done.clear()
        return found

    def fileno(self) -> int:
        """Becomes readable when `poll` has something to do; beside that it is called every WATCH_S."""
        return self._epoll.fileno()

    def nowhere(self) -> str:
        """Why no address of the host answers, once each was tried: its name may lead elsewhere now; "": one
        does, or may yet."""
        closed = self._line.phase is Phase.CLOSED and self._turn >= len(self._targets)
        return self._line.last_failure or "no answer" if closed else ""

    def close(self) -> None:
        self._line.fail("closed by us", calm=True)
        self._epoll.close()

    def _open(self) -> None:
        target: Target = self._targets[self._turn % len(self._targets)]
        self._turn += 1
        self._line.open(target)


class Questions(Protocol):
    """Who asks (the polling stage)."""

    name: str

    def retune(self) -> None: ...

    def step(self, now_ns: int) -> int: ...

    def next_ns(self, now_ns: int) -> int | None: ...

    def answered(self, answer: HttpResponse | TransportError, now_ns: int) -> None: ...

    def renewed(self, expires_ns: int) -> None: ...


@dataclass(slots=True)
class QuoteLink:
    """The connection of one feed, kept up and stepped from `run` until `stop`.

    url: of the API's host; key: of the configuration, under which it stands. kind: an address of the feed
    that we stand in for: from this machine to another one, or back, is no way. headers: with the token.
    """

    url: str
    paths: tuple[str, ...]
    clock: Clock
    log: Callable[[str], None]
    headers: Sequence[tuple[str, str]] = field(repr=False)
    timeout_s: float = 5.0
    key: str = ""
    bind: str = ""
    kind: str = ""
    context: ssl.SSLContext | None = None
    again: Backoff = field(default_factory=lambda: Backoff(*AGAIN_S))
    stopping: bool = field(default=False, init=False)
    questions: Questions | None = field(default=None, init=False)
    _line: QuoteLine | None = field(default=None, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        if self.kind and is_loopback(self.kind) != is_loopback(self.url):
            raise TransportConfigError(
                "quotes and feed are of different kinds of host: one is on this machine"
            )

    def stop(self) -> None:
        """End the connection and `run`."""
        self.stopping = True
        self._wake.set()

    def send(self, _messages: Sequence[bytes]) -> None:
        """Modes have changed. The messages are a websocket's: there is none."""
        if self.questions is not None:
            self.questions.retune()
        self._wake.set()

    def renew(self, headers: Sequence[tuple[str, str]], expires_ns: int = 0) -> None:
        """Another token, from the next call on."""
        self.headers = headers
        if self._line is not None:
            self._line.use_headers(headers)
        if self.questions is not None:
            self.questions.renewed(expires_ns)
        self._wake.set()

    def ask(self, path: str, query: str) -> None:
        """Let one call leave (the stage's `send`), when we are `ready`."""
        assert self._line is not None
        self._line.ask(path, query)

    def ready(self) -> bool:
        """Whether a call could leave now."""
        return self._line is not None and self._line.ready()

    async def run(self) -> None:
        """Keep asking until `stop`."""
        loop, questions = asyncio.get_running_loop(), self.questions
        assert questions is not None
        try:
            while not self.stopping:
                if self._line is None and not await self._reach():
                    await self._pause(self.again.next_s())
                    continue
                line = self._line
                if line is None:
                    continue
                loop.add_reader(line.fileno(), self._wake.set)
                try:
                    await self._serve(line, questions)
                finally:
                    loop.remove_reader(line.fileno())
                    line.close()
                    self._line = None
        finally:
            if self._line is not None:
                self._line.close()
                self._line = None

    async def _reach(self) -> bool:
        """Resolve the host and begin to connect: on a thread, because resolving blocks."""
        try:
            self._line = await asyncio.to_thread(
                QuoteLine, self.url, self.paths, self.clock, self.timeout_s, self.bind, self.context
            )
        except OSError as error:
            assert self.questions is not None
            self.questions.answered(TransportError(str(error), False), self.clock.mono_ns())
            return False
        self._line.use_headers(self.headers)
        return True

    async def _serve(self, line: QuoteLine, questions: Questions) -> None:
        """Until `stop`, or until no address of the host answers: then its name is resolved anew."""
        while not self.stopping:
            results = line.poll()
            for result in results:
                questions.answered(result, self.clock.mono_ns())
                if isinstance(result, HttpResponse):
                    self.again.reset()
            questions.step(self.clock.mono_ns())
            if why := line.nowhere():
                if not results:  # else it was told by what became of the call
                    questions.answered(TransportError(why, False), self.clock.mono_ns())
                await self._pause(self.again.next_s())
                return
            now_ns = self.clock.mono_ns()
            due_ns = questions.next_ns(now_ns)
            wait_s = WATCH_S if due_ns is None else (due_ns - now_ns) / NS_PER_S
            await self._pause(min(WATCH_S, max(0.001, wait_s)))

    async def _pause(self, seconds: float) -> None:
        """Sleep until something happens, or the time is over."""
        if self.stopping:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()
