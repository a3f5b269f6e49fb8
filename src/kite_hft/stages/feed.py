"""Layer 3, feed process, cold: one market-data connection as a stage.

The frames themselves go from net/ to the compiled FeedSink without passing here. This part knows
which instruments the connection carries and in which mode each is subscribed, says what to send (in
the broker's words), watches for silence and keeps the heartbeat. It is told of connections and never
makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from kite_hft.trading.feed_words import FeedWords, WireError

HEARTBEAT_NS: Final = 100_000_000
OFF: Final = "off"
"""The mode of an instrument that is known but not subscribed."""
STEADY: Final = 10
PATIENCE_MAX: Final = 16
"""Times quiet_ns."""
UPDATES: Final = frozenset({"order", "gtt_order"})
"""Kinds of text frames that ORDERS takes: nothing is to be told of them."""


class Sink(Protocol):
    """The compiled FeedSink, as far as this stage uses it."""

    def connected(self) -> None: ...

    def disconnected(self) -> None: ...

    def set_mode(self, slot: int, mode: int, now_ns: int) -> None: ...

    def count(self, name: str, n: int = 1) -> None: ...

    def gauge(self, name: str, value: int) -> None: ...

    @property
    def last_frame_at_ns(self) -> int: ...


@dataclass(slots=True)
class Feed:
    """Stage of one connection.

    words: the broker's. modes: of every token that this connection carries, a key of words.modes or "off".
    slots: token -> slot. heartbeat: called with now_ns every 100 ms (the sign of life of the segments).
    silence_ns: no frame of any kind for so long means that the peer is gone. quiet_ns: no data for so
    long, though something is subscribed and the market is open, means the same even if the peer answers
    pings. After each time it is twice as long, until a connection has brought data all the time for STEADY
    times quiet_ns: some instruments hardly trade. 0: that is not judged (a broker with heartbeats of its
    own). is_open: whether data may be expected now. on_connected: told of each connection. log: one line
    for people.
    """

    sink: Sink
    words: FeedWords
    modes: dict[int, str]
    slots: Mapping[int, int]
    heartbeat: Callable[[int], None]
    silence_ns: int
    quiet_ns: int = 0
    is_open: Callable[[], bool] = lambda: True
    on_connected: Callable[[], None] = lambda: None
    log: Callable[[str], None] = lambda text: None
    name: str = "feed"
    connected_at_ns: int = field(default=0, init=False)
    is_connected: bool = field(default=False, init=False)
    next_heartbeat_ns: int = field(default=0, init=False)
    alive_ns: int = field(default=0, init=False)
    _patience: int = field(default=1, init=False)  # times quiet_ns
    _longest_ns: int = field(default=0, init=False)  # without data, on this connection
    _was_quiet: bool = field(default=False, init=False)  # as this connection was given up
    _nothing_due_ns: int = field(default=0, init=False)  # when no data could be expected, last

    def start(self, now_ns: int = 0) -> None:
        """Write the modes of all instruments where others read them."""
        for token, mode in self.modes.items():
            self.sink.set_mode(self.slots[token], self.words.modes.get(mode, 0), now_ns)
        self._count_subscribed()

    def connected(self, now_ns: int) -> Sequence[bytes]:
        """A connection is up: no instrument is fresh; returns what must be sent on it."""
        self.is_connected = True
        if self._was_quiet:
            self._patience = min(2 * self._patience, PATIENCE_MAX)
        self.connected_at_ns, self._longest_ns, self._was_quiet = now_ns, 0, False
        self.sink.connected()
        self.on_connected()
        return [
            message for mode in self.words.modes for message in self._subscribe(self._in_mode(mode), mode)
        ]

    def disconnected(self) -> None:
        self.is_connected = False
        self.sink.disconnected()

    def subscribe(self, tokens: Sequence[int], mode: str, now_ns: int) -> list[bytes]:
        """Bring `tokens` into `mode`; returns the messages that say so to the broker.

        Tokens of other connections are passed over: the supervisor tells every feed the same.

        Raises:
            ValueError: no such mode; nothing is changed.
        """
        if mode not in self.words.modes:
            raise ValueError(f"mode {mode!r}: one of {', '.join(self.words.modes)}")
        ours = [token for token in dict.fromkeys(tokens) if self.modes.get(token, mode) != mode]
        new = [token for token in ours if self.modes[token] == OFF]
        changed = [token for token in ours if self.modes[token] != OFF]
        self._set(ours, mode, now_ns)
        messages = self._subscribe(new, mode)
        messages += self.words.change_mode(changed, mode) if changed else []
        if ours:
            self.log(f"{self.name}: {len(ours)} instruments in mode {mode}")
        return messages

    def unsubscribe(self, tokens: Sequence[int], now_ns: int) -> list[bytes]:
        """Stop `tokens`; returns the messages that say so to the broker."""
        ours = [token for token in dict.fromkeys(tokens) if self.modes.get(token, OFF) != OFF]
        self._set(ours, OFF, now_ns)
        if ours:
            self.log(f"{self.name}: {len(ours)} instruments unsubscribed")
        return self.words.unsubscribe(ours) if ours else []

    def on_text(self, text: bytes) -> None:
        """A text frame that is no update for ORDERS: an error or a notice of the broker."""
        try:
            kind, data = self.words.parse_text(text)
        except WireError:
            return  # ORDERS gets every text frame, and counts what it cannot read
        if kind == "error":
            self.sink.count("text_errors")
        if kind not in UPDATES:
            self.log(f"{self.name}: the broker says ({kind}): {data}")

    def count(self, name: str, n: int = 1) -> None:
        """Count an event of the connection in the feed's counter `name`."""
        self.sink.count(name, n)

    def has_delivered(self) -> bool:
        """Whether this connection brought a frame; where nothing is subscribed, a sign of life."""
        alive_ns = 0 if self._subscribed else self.alive_ns
        return max(alive_ns, self.sink.last_frame_at_ns) > self.connected_at_ns

    def ponged(self, now_ns: int) -> None:
        """The peer answered a ping."""
        self.sink.count("pongs")
        self.pinged(now_ns)

    def pinged(self, now_ns: int) -> None:
        """The peer itself pings, or answered us. Of a broker without heartbeats that is the sign of life."""
        if not self.words.heartbeats:
            self.alive_ns = now_ns
            self.sink.gauge("last_frame_ns", max(now_ns, self.sink.last_frame_at_ns))

    def is_silent(self, now_ns: int) -> bool:
        """Whether the connection must be taken for dead: connected, and no sign of life for silence_ns, or
        no data for so long that it cannot be the market."""
        newest = max(self.connected_at_ns, self.sink.last_frame_at_ns)
        if not self.is_connected:
            return False
        gone = now_ns - max(newest, self.alive_ns) > self.silence_ns
        return gone or (self.quiet_ns > 0 and self._is_quiet(newest, now_ns))

    @property
    def _subscribed(self) -> bool:
        return any(mode != OFF for mode in self.modes.values())

    def _is_quiet(self, newest_ns: int, now_ns: int) -> bool:
        """Pings are answered, and nothing else comes although it should."""
        if not (self._subscribed and self.is_open()):
            self._nothing_due_ns, self._was_quiet = now_ns, False
            return False
        quiet_ns = now_ns - max(newest_ns, self._nothing_due_ns)
        self._longest_ns = max(self._longest_ns, quiet_ns)
        if now_ns - self.connected_at_ns >= STEADY * self.quiet_ns >= STEADY * self._longest_ns:
            self._patience = 1
        self._was_quiet = quiet_ns > self._patience * self.quiet_ns
        return self._was_quiet

    def step(self, now_ns: int) -> int:
        if now_ns < self.next_heartbeat_ns:
            return 0
        self.next_heartbeat_ns = now_ns + HEARTBEAT_NS
        self.heartbeat(now_ns)
        return 1

    def close(self) -> None:
        if self.is_connected:
            self.disconnected()

    def _subscribe(self, tokens: Sequence[int], mode: str) -> list[bytes]:
        return self.words.subscription(tokens, mode) if tokens else []

    def _in_mode(self, mode: str) -> list[int]:
        return [token for token, wanted in self.modes.items() if wanted == mode]

    def _set(self, tokens: Sequence[int], mode: str, now_ns: int) -> None:
        for token in tokens:
            self.modes[token] = mode
            self.sink.set_mode(self.slots[token], self.words.modes.get(mode, 0), now_ns)
        self._count_subscribed()

    def _count_subscribed(self) -> None:
        self.sink.gauge("subscribed", sum(mode != OFF for mode in self.modes.values()))
