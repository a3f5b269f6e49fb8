"""Layer 4, simulator, cold: what of the simulated broker's server is one broker's own.

The server (server.py) has sockets, clock, hub, faults and the exchange; a face says who is let in,
what a heartbeat is, and in which form an order update leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.faults.words import FaultWords
from kite_hft.sim.rest import Query, Response
from kite_hft.sim.server.stream import Stream

UPGRADED = 101
MARKET, UPDATES = "market", "updates"
"""Kinds of connections: market data (at Kite with order updates), order updates alone."""

Update = Mapping[str, Any]


class Api(Protocol):
    """A broker's REST API over an exchange. Times: ns since the epoch."""

    @property
    def refusals(self) -> Mapping[str, int]:
        """Requests refused for their number, by kind."""

    def handle(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes, now_ns: int,
        remote: str,
    ) -> Response: ...  # fmt: skip

    def step(self, now_ns: int) -> None: ...

    def authorised(self, api_key: str, access_token: str) -> bool: ...

    def kill_token(self, now_ns: int) -> None: ...

    def new_token(self, now_ns: int) -> str: ...

    def app(self, now_ns: int) -> Mapping[str, str]:
        """What a registered app has in hand, for scripts that log in."""

    def account(self) -> dict[str, object]:
        """The one client's account at this moment."""


class Door(NamedTuple):
    """The answer to a websocket's handshake; status UPGRADED lets it in.

    credentials: key and token that it lives by; wants: the kinds of updates that it is told.
    """

    status: int
    text: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    credentials: tuple[str, str] = ("", "")
    kind: str = MARKET
    wants: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Face:
    """One broker's. `admit(path, headers, open)`: `open` are the kinds of the connections that stand,
    headers in lower case. `updates()`: what the exchange tells since the last call, oldest first, each
    with order_id and status and, under "update_type", its kind; `update_frame(row)`: its text frame.
    `greeting(kind, now_ns)`: frames that a new connection is sent first. `news(now_ns)`: frames for all
    market connections, when something changed. `notices()`: (address, JSON) that the broker sends by
    itself. `left(stream)`: its connection is gone. `listening(ws_url, api_url)`: where the server is to be
    reached. `heartbeat`: b"" is a websocket ping.
    """

    exchange: Exchange
    api: Api
    words: FaultWords
    make_stream: Callable[[], Stream]
    admit: Callable[[str, Mapping[str, str], Sequence[str]], Door]
    updates: Callable[[], Sequence[Update]]
    update_frame: Callable[[Update], bytes]
    heartbeat: bytes
    heartbeat_s: float
    greeting: Callable[[str, int], Sequence[bytes]] = lambda kind, now_ns: ()
    news: Callable[[int], Sequence[bytes]] = lambda now_ns: ()
    label: str = ""  # the status of updates that only say that something happened
    left: Callable[[Stream], None] = lambda stream: None
    notices: Callable[[], Sequence[tuple[str, bytes]]] = lambda: ()
    listening: Callable[[str, str], None] = lambda ws_url, api_url: None
