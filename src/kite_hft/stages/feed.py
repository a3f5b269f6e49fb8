"""Layer 3, feed process, cold: one market-data connection as a stage.

The frames themselves go from net/ to the compiled FeedSink without passing here. This part says
what to send on a connection, watches for silence and keeps the ring's heartbeat. It is told of
connections and never makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

HEARTBEAT_NS = 100_000_000


class Sink(Protocol):
    """The compiled FeedSink, as far as this stage uses it."""

    def connected(self) -> None: ...

    def disconnected(self) -> None: ...

    @property
    def last_frame_at_ns(self) -> int: ...


@dataclass(slots=True)
class Feed:
    """Stage of one connection.

    subscription: the messages that (re)subscribe everything, in order. heartbeat: called with
    now_ns every 100 ms (the ring writer's). silence_ns: no frame of any kind for so long means
    that the peer is gone. on_connected: told of each connection.
    """

    sink: Sink
    subscription: Sequence[bytes]
    heartbeat: Callable[[int], None]
    silence_ns: int
    on_connected: Callable[[], None] = lambda: None
    name: str = "feed"
    connected_at_ns: int = field(default=0, init=False)
    is_connected: bool = field(default=False, init=False)
    next_heartbeat_ns: int = field(default=0, init=False)

    def start(self) -> None:
        pass

    def connected(self, now_ns: int) -> Sequence[bytes]:
        """A connection is up: marks every instrument fresh, returns what must be sent on it."""
        self.is_connected = True
        self.connected_at_ns = now_ns
        self.sink.connected()
        self.on_connected()
        return self.subscription

    def disconnected(self) -> None:
        self.is_connected = False
        self.sink.disconnected()

    def is_silent(self, now_ns: int) -> bool:
        """Whether the connection must be taken for dead: connected, and no frame for silence_ns."""
        newest = max(self.connected_at_ns, self.sink.last_frame_at_ns)
        return self.is_connected and now_ns - newest > self.silence_ns

    def step(self, now_ns: int) -> int:
        if now_ns < self.next_heartbeat_ns:
            return 0
        self.next_heartbeat_ns = now_ns + HEARTBEAT_NS
        self.heartbeat(now_ns)
        return 1

    def close(self) -> None:
        if self.is_connected:
            self.disconnected()
