"""Layer 3, feed process, cold: what each refused upgrade and each close of a feed connection means.

Sources: Kite's websocket page and forum (403: dead token; 429: more than three connections of one
key; 400: a malformed address), RFC 6455 section 7.4.1 and the IANA registry for close codes, RFC 9110
for HTTP. Every row says what happened and what is done; whatever is not in a table has a row too.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Act(enum.Enum):
    """What the connection does next."""

    RETRY = "retry"  # after a short pause that grows
    WAIT_LONG = "wait"  # after a long pause of its own that grows
    TOKEN_DEAD = "token"  # no further try until there is another token


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row: what it means, what is done, and the feed counter that counts it."""

    text: str
    act: Act
    counter: str


_OTHER: Final = "refused_other"

HANDSHAKES: Final[dict[int, Meaning]] = {
    400: Meaning("the address is malformed: check api_key and access_token", Act.WAIT_LONG, _OTHER),
    401: Meaning("the access token is dead: log in again", Act.TOKEN_DEAD, _OTHER),
    403: Meaning(
        "the access token is dead or the app has no market data: log in again", Act.TOKEN_DEAD, "refused_403"
    ),
    404: Meaning("no websocket at this address: check kite.ws_url", Act.WAIT_LONG, _OTHER),
    429: Meaning(
        "too many connections of this key: look for a leaked connection or another program that uses it",
        Act.WAIT_LONG,
        "refused_429",
    ),
}
"""HTTP status of a refused upgrade -> its meaning."""

CLOSES: Final[dict[int, Meaning]] = {
    1000: Meaning("the broker ended the connection", Act.RETRY, "closes_by_peer"),
    1001: Meaning("the broker's server goes away", Act.RETRY, "closes_by_peer"),
    1002: Meaning("the broker saw a protocol error", Act.RETRY, "closes_by_peer"),
    1003: Meaning("the broker took no such data", Act.RETRY, "closes_by_peer"),
    1005: Meaning("the broker ended the connection without a code", Act.RETRY, "closes_by_peer"),
    1006: Meaning("the peer was gone without a close", Act.RETRY, "closes_abrupt"),
    1007: Meaning("the broker could not read a message of ours", Act.RETRY, "closes_by_peer"),
    1008: Meaning("the broker saw a breach of its rules", Act.WAIT_LONG, "closes_by_peer"),
    1009: Meaning("a message of ours was too long for the broker", Act.RETRY, "closes_by_peer"),
    1010: Meaning("the broker wanted an extension", Act.RETRY, "closes_by_peer"),
    1011: Meaning("the broker's server failed", Act.RETRY, "closes_by_peer"),
    1012: Meaning("the broker's server restarts", Act.RETRY, "closes_by_peer"),
    1013: Meaning("the broker is overloaded and asks to come later", Act.WAIT_LONG, "closes_by_peer"),
    1014: Meaning("a gateway of the broker failed", Act.RETRY, "closes_by_peer"),
    1015: Meaning("TLS failed", Act.RETRY, "closes_abrupt"),
}
"""Close code -> its meaning. 1005 and 1006 stand for no code and no close frame at all."""


def handshake_meaning(status: int) -> Meaning:
    """What an upgrade answered with HTTP `status` (0: no readable answer) means."""
    if status in HANDSHAKES:
        return HANDSHAKES[status]
    if 500 <= status < 600:
        return Meaning("the broker's server fails", Act.RETRY, _OTHER)
    if 300 <= status < 400:
        return Meaning("a redirect, which is not followed: check kite.ws_url", Act.WAIT_LONG, _OTHER)
    if status == 0:
        return Meaning("no readable answer to the upgrade", Act.RETRY, _OTHER)
    return Meaning("an answer that is no websocket", Act.WAIT_LONG, _OTHER)


def close_meaning(code: int) -> Meaning:
    """What the end of a connection with close `code` means."""
    if code in CLOSES:
        return CLOSES[code]
    if 3000 <= code < 5000:
        return Meaning("the broker gave a reason of its own", Act.WAIT_LONG, "closes_by_peer")
    return Meaning("the broker gave an unknown reason", Act.RETRY, "closes_by_peer")
