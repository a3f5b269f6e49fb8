"""Layer 2, feed processes, cold: what Upstox's websockets take and say, apart from binary market data.

Two sockets: market data (protobuf; requests are JSON in *binary* frames, and are never answered) and the
portfolio stream (JSON text; no requests). Both are reached by a one-time address that an authorize call
answers with: a new one for every connection. Pure functions; what refusals and closes mean is data.
Sources: official pages on both feeds, SDK 2.30.0, upstox-nodejs #79 (redirects with 307).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

from kite_hft.addresses import is_loopback
from kite_hft.brokers.upstox.keys import Names
from kite_hft.brokers.upstox.subscriptions import MODES
from kite_hft.brokers.values import AnswerError
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.feed_words import Act, FeedWords, Meaning, WireError
from kite_hft.trading.instruments import InstrumentTable

MARKET_PATH: Final = "/v3/feed/market-data-feed"
PORTFOLIO_PATH: Final = "/v2/feed/portfolio-stream-feed"
UPDATE_TYPES: Final = ("order", "gtt_order", "position", "holding")
KEYS_PER_MESSAGE: Final = 500
"""About 16 KiB of JSON: small enough for any frame limit, and 5,000 keys are ten messages."""
REDIRECTS: Final = 3

_OTHER: Final = "refused_other"
HANDSHAKES: Final[dict[int, Meaning]] = {
    400: Meaning("the address is malformed: check upstox.feed_url", Act.WAIT_LONG, _OTHER),
    401: Meaning(
        "the access token is dead (it ends at 03:30 IST): log in again (kite-hft login)",
        Act.TOKEN_DEAD,
        _OTHER,
    ),
    403: Meaning(
        "refused, as after too many reconnects, with a token of too narrow a scope, or beyond the plan: "
        "waiting; if it stays, log in again and look at the app's permissions",
        Act.WAIT_LONG,
        "refused_403",
    ),
    404: Meaning("no feed at this address: check upstox.feed_url", Act.WAIT_LONG, _OTHER),
    410: Meaning("the one-time address was used up: another is asked for", Act.RETRY, _OTHER),
    423: Meaning("outside of the broker's service hours (05:30 to 24:00 IST)", Act.WAIT_LONG, _OTHER),
    429: Meaning(
        "too many connections or requests of this user (2 connections, 5 with Upstox Plus): look for "
        "another program that uses the account",
        Act.WAIT_LONG,
        "refused_429",
    ),
}
"""HTTP status of a refused authorisation or upgrade -> what it means."""
CLOSES: Final[dict[int, Meaning]] = {
    1000: Meaning("the broker ended the connection", Act.RETRY, "closes_by_peer"),
    1001: Meaning("the broker's server goes away", Act.RETRY, "closes_by_peer"),
    1008: Meaning("the broker saw a breach of its rules", Act.WAIT_LONG, "closes_by_peer"),
    1011: Meaning("the broker's server failed, or we took its data too slowly", Act.RETRY, "closes_by_peer"),
    1013: Meaning("the broker is overloaded and asks to come later", Act.WAIT_LONG, "closes_by_peer"),
}
"""Close code -> what it means; RETRY waits longer each time, until data has come again."""


# Addresses


def market_authorize() -> HttpRequest:
    """GET: the one-time address of the market feed."""
    return HttpRequest("GET", f"{MARKET_PATH}/authorize")


def portfolio_authorize(update_types: Sequence[str] = ("order",)) -> HttpRequest:
    """GET: the same of the portfolio stream, for these kinds of updates.

    Raises:
        ValueError: a kind that there is not, or none.
    """
    return HttpRequest("GET", f"{PORTFOLIO_PATH}/authorize?{updates_query(update_types)}")


def updates_query(update_types: Sequence[str]) -> str:
    """`update_types=order%2Cposition`. Raises ValueError."""
    unknown = sorted(set(update_types) - set(UPDATE_TYPES))
    if unknown or not update_types:
        raise ValueError(f"update types {unknown}: one or more of {', '.join(UPDATE_TYPES)}")
    return f"update_types={quote(','.join(update_types), safe='')}"


def parse_authorized(body: bytes) -> str:
    """The address in the answer, in either spelling of its key. It holds a secret: not to be logged.

    Raises:
        AnswerError: none, or one that is neither wss nor on this machine.
    """
    try:
        data = json.loads(body)["data"]
        found = data.get("authorized_redirect_uri") or data["authorizedRedirectUri"]
        parts = urlsplit(found)
        secure = parts.scheme == "wss" or (parts.scheme == "ws" and is_loopback(found))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AnswerError(f"authorisation without an address: {type(error).__name__}") from None
    if not secure or not parts.hostname:
        raise AnswerError(f"authorisation with an address of scheme {parts.scheme!r}: only wss is taken")
    return str(found)


# Requests of the market feed


def request(method: str, keys: Sequence[str], mode: str, guid: str) -> bytes:
    """One request; `mode` "" leaves it out, as `unsub` does."""
    data: dict[str, Any] = {"mode": mode} if mode else {}
    data["instrumentKeys"] = list(keys)
    return json.dumps({"guid": guid, "method": method, "data": data}, separators=(",", ":")).encode()


def _requests(
    names: Names, next_guid: Callable[[], str], method: str, tokens: Sequence[int], mode: str = ""
) -> list[bytes]:
    if method != "unsub" and mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: one of {', '.join(MODES)}")
    if not len(tokens):
        raise ValueError("no tokens")
    keys = [names.of_token(int(token)) for token in tokens]
    return [
        request(method, keys[at : at + KEYS_PER_MESSAGE], mode, next_guid())
        for at in range(0, len(keys), KEYS_PER_MESSAGE)
    ]


def _moves(names: Names, next_guid: Callable[[], str], tokens: Sequence[int], mode: str) -> list[bytes]:
    """What several messages would change is stopped first, and subscribed anew: half way two modes share the
    numbers of a connection, which are smaller then, and what is beyond them is refused in silence.
    """
    if len(tokens) <= KEYS_PER_MESSAGE:
        return _requests(names, next_guid, "change_mode", tokens, mode)
    subscribed = _requests(names, next_guid, "sub", tokens, mode)  # made first: it refuses unknown modes
    return [*_requests(names, next_guid, "unsub", tokens), *subscribed]


def _counted() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"kite-hft-{next(numbers)}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def parse_text(text: bytes) -> tuple[str, object]:
    """One text frame: of the portfolio stream ("order", row) or another of UPDATE_TYPES; of either socket
    ("error", text), of an error in the envelope of the REST answers.

    Raises:
        WireError: no UTF-8 JSON object (NaN and infinities are none), or neither of the two.
    """
    try:
        frame = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"text frame of {len(text)} bytes is no JSON: {type(error).__name__}") from None
    if not isinstance(frame, dict):
        raise WireError("text frame is no JSON object")
    kind = frame.get("update_type")
    if kind in UPDATE_TYPES:
        return str(kind), frame
    rows = frame.get("errors")
    if frame.get("status") == "error" and isinstance(rows, list):
        told = [
            f"{row.get('error_code') or row.get('errorCode')}: {row.get('message')}"
            for row in rows
            if isinstance(row, dict)
        ]
        return "error", "; ".join(told)
    raise WireError("text frame of an unknown type")


def upstox_words(instruments: InstrumentTable, guid: Callable[[], str] | None = None) -> FeedWords:
    """The market feed of a run. guid: makes the unique text of each request; by default they are numbered.

    The functions raise ValueError: an unknown mode, no tokens, or one without an Upstox key.
    """
    names, next_guid = Names(instruments), guid or _counted()
    return FeedWords(
        name="upstox",
        modes=MODES,
        binary=True,
        subscription=partial(_requests, names, next_guid, "sub"),
        change_mode=partial(_moves, names, next_guid),
        unsubscribe=partial(_requests, names, next_guid, "unsub"),
        parse_text=parse_text,
        handshake_meaning=HANDSHAKES,
        close_meaning=CLOSES,
        heartbeats=False,
        redirects=REDIRECTS,
    )


def _no_requests(*words: object) -> list[bytes]:
    return []


PORTFOLIO_WORDS: Final = FeedWords(
    name="upstox",
    modes={},
    binary=False,
    subscription=_no_requests,
    change_mode=_no_requests,
    unsubscribe=_no_requests,
    parse_text=parse_text,
    handshake_meaning=HANDSHAKES,
    close_meaning=CLOSES,
    heartbeats=False,
    redirects=REDIRECTS,
)
"""The portfolio stream: pushes begin by themselves."""
