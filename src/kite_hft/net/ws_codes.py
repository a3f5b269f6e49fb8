"""Layer 3, feed process, cold: what each refused upgrade and each close of a feed connection means.

A broker's own rows come first (trading/feed_words.py: a dead token, too many connections); what they do
not name means what stands here. Sources: RFC 6455 section 7.4.1 and the IANA registry for close codes,
RFC 9110 for HTTP. Every row says what happened and what is done; whatever is not in a table has a row too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kite_hft.trading.feed_words import Act, Meaning

__all__ = ["CLOSES", "HANDSHAKES", "Act", "Meaning", "close_meaning", "handshake_meaning"]

_OTHER: Final = "refused_other"
_NO_ROWS: Final[Mapping[int, Meaning]] = {}

HANDSHAKES: Final[dict[int, Meaning]] = {
    400: Meaning("the request is malformed: check the keys of this broker", Act.WAIT_LONG, _OTHER),
    401: Meaning("the access token is dead: log in again (kite-hft login)", Act.TOKEN_DEAD, _OTHER),
    403: Meaning("the broker does not let us in", Act.WAIT_LONG, "refused_403"),
    404: Meaning("no websocket at this address: check the broker's address", Act.WAIT_LONG, _OTHER),
    429: Meaning("too many connections or tries", Act.WAIT_LONG, "refused_429"),
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


def handshake_meaning(status: int, own: Mapping[int, Meaning] = _NO_ROWS) -> Meaning:
    """What an upgrade answered with HTTP `status` (0: no readable answer) means; own: the broker's rows."""
    if status in own or status in HANDSHAKES:
        return own.get(status) or HANDSHAKES[status]
    if 500 <= status < 600:
        return Meaning("the broker's server fails", Act.RETRY, _OTHER)
    if 300 <= status < 400:
        return Meaning("a redirect, which is not followed: check the address", Act.WAIT_LONG, _OTHER)
    if status == 0:
        return Meaning("no readable answer to the upgrade", Act.RETRY, _OTHER)
    return Meaning("an answer that is no websocket", Act.WAIT_LONG, _OTHER)


def close_meaning(code: int, own: Mapping[int, Meaning] = _NO_ROWS) -> Meaning:
    """What the end of a connection with close `code` means; own: the broker's rows."""
    if code in own or code in CLOSES:
        return own.get(code) or CLOSES[code]
    if 3000 <= code < 5000:
        return Meaning("the broker gave a reason of its own", Act.WAIT_LONG, "closes_by_peer")
    return Meaning("the broker gave an unknown reason", Act.RETRY, "closes_by_peer")
