"""Layer 2, feed process, cold: what a feed must know of a broker's websocket, as data and functions.

The feed stage and its connection are the same for every broker. What differs stands here: the modes,
the messages that subscribe, what a text frame says, and what a refused connection or a close means.
Nothing here opens a socket or reads a clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


class WireError(ValueError):
    """A text frame that is none of the broker's documented types. Its content is not repeated."""


class Act(enum.Enum):
    """What a connection does next."""

    RETRY = "retry"  # after a short pause that grows
    WAIT_LONG = "wait"  # after a long pause of its own that grows
    TOKEN_DEAD = "token"  # no further try until there is another token


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row: what it means, what is done, and the feed counter that counts it."""

    text: str
    act: Act
    counter: str


@dataclass(frozen=True, slots=True)
class FeedWords:
    """One broker's websocket.

    modes: wire name -> the number that stands in SLOT_STATS.mode, from 1.
    binary: requests leave as binary frames.
    subscription(tokens, mode): the messages that subscribe `tokens` in `mode`, in order.
    change_mode(tokens, mode): for tokens that are subscribed. unsubscribe(tokens): stops them.
    parse_text(text): (kind, data) of a text frame; kind is "order", "error" or another word of the
    broker. Raises WireError.
    handshake_meaning: HTTP status of a refused upgrade or authorisation -> its meaning. close_meaning: close
    code -> its meaning. A code that is not there means what net/ws_codes.py says.
    heartbeats: the server sends frames of its own every second. False: it may be silent for as long
    as the market is; then the pongs to our pings are the sign of life.
    redirects: so many redirects of the upgrade are followed.
    """

    name: str
    modes: Mapping[str, int]
    binary: bool
    subscription: Callable[[Sequence[int], str], list[bytes]]
    change_mode: Callable[[Sequence[int], str], list[bytes]]
    unsubscribe: Callable[[Sequence[int]], list[bytes]]
    parse_text: Callable[[bytes], tuple[str, object]]
    handshake_meaning: Mapping[int, Meaning] = field(default_factory=dict)
    close_meaning: Mapping[int, Meaning] = field(default_factory=dict)
    heartbeats: bool = True
    redirects: int = 0
