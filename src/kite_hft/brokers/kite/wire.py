"""Layer 2, feed process and tools, cold: what Kite's websocket says, apart from binary packets.

Pure functions: subscription messages out, text frames in, and one TICK as the dict that the
official client (pykiteconnect 5.2.2, `KiteTicker._parse_binary`) would give for the same packet.
Binary frames are decoded by `kite_hft._kite_decode`.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final, Literal
from urllib.parse import urlencode

import numpy as np

from kite_hft.layout import TickKind
from kite_hft.trading.feed_words import Act, FeedWords, Meaning, WireError
from kite_hft.trading.instruments import scale_of_token

SEGMENT_INDICES: Final = 9
"""The one segment that is not tradable."""

MODES: Final[dict[str, int]] = {"ltp": 1, "quote": 2, "full": 3}
"""Streaming modes by the name on the wire; the numbers are ours."""

TOKEN_MAX: Final = 0xFFFFFFFF

DEFAULT_MODE: Final = "quote"
"""What the broker sends after a bare subscribe."""
TOKENS_PER_MESSAGE: Final = 1000

MODE_OF_KIND: Final[dict[int, str]] = {
    TickKind.LTP: "ltp",
    TickKind.INDEX_QUOTE: "quote",
    TickKind.INDEX_FULL: "full",
    TickKind.QUOTE: "quote",
    TickKind.FULL: "full",
}


def websocket_url(base: str, api_key: str, access_token: str) -> str:
    """Kite's feed address; the two query parameters are its only authentication."""
    return f"{base}?{urlencode({'api_key': api_key, 'access_token': access_token})}"


def segment_of(token: int) -> int:
    """Exchange segment: the low byte of an instrument token."""
    return token & 0xFF


def divisor_of(token: int) -> int:
    """Units of the wire's integer prices per rupee: CDS 10^7, BCD and NCO 10^4, all others 100.

    As in pykiteconnect 5.2.2; the broker's page says 10^7 for all currencies, the clients do not.
    """
    return scale_of_token(token)


def _token_list(tokens: Iterable[int]) -> list[int]:
    # The server answers tokens sent as strings with silence: only true integers leave here.
    numbers = [operator.index(token) for token in tokens]
    if not numbers:
        raise ValueError("no tokens")
    if min(numbers) < 0 or max(numbers) > TOKEN_MAX:
        raise ValueError("instrument tokens are unsigned 32-bit integers")
    return numbers


def _message(action: str, value: object) -> bytes:
    return json.dumps({"a": action, "v": value}, separators=(",", ":")).encode()


def subscribe_message(tokens: Iterable[int]) -> bytes:
    """Text frame that subscribes `tokens` (numpy integers too); the mode is then `quote`.

    Raises TypeError (a token is no integer), ValueError (no tokens, or out of range).
    """
    return _message("subscribe", _token_list(tokens))


def unsubscribe_message(tokens: Iterable[int]) -> bytes:
    """Text frame that unsubscribes `tokens`; raises as `subscribe_message`."""
    return _message("unsubscribe", _token_list(tokens))


def mode_message(mode: str, tokens: Iterable[int]) -> bytes:
    """Text frame that sets `mode` (a key of MODES) for subscribed `tokens`.

    Raises ValueError (unknown mode) and as `subscribe_message`.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: one of {', '.join(MODES)}")
    return _message("mode", [mode, _token_list(tokens)])


def _chunks(tokens: Sequence[int]) -> list[Sequence[int]]:
    return [tokens[i : i + TOKENS_PER_MESSAGE] for i in range(0, len(tokens), TOKENS_PER_MESSAGE)]


def subscription(tokens: Sequence[int], mode: str) -> list[bytes]:
    """The messages that subscribe `tokens` and put them into `mode`, in order; raises as `mode_message`."""
    messages = []
    for chunk in _chunks(tokens):
        messages.append(subscribe_message(chunk))
        if mode != DEFAULT_MODE:
            messages.append(mode_message(mode, chunk))
    return messages


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def parse_text(
    text: bytes,
) -> tuple[Literal["order"], dict[str, Any]] | tuple[Literal["error", "message"], str]:
    """One text frame: ("order", postback data), ("error", text) or ("message", text).

    Raises:
        WireError: no UTF-8 JSON object, an unknown type, or data of the wrong type. NaN and
            infinities are refused too: an order with such a quantity must not come through.
    """
    try:
        frame = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"text frame of {len(text)} bytes is no JSON: {type(error).__name__}") from None
    if not isinstance(frame, dict):
        raise WireError("text frame is no JSON object")
    kind, data = frame.get("type"), frame.get("data")
    if kind == "order":
        if not isinstance(data, dict) or not data:
            raise WireError("order frame without data")
        return "order", data
    if kind == "error" or kind == "message":
        if not isinstance(data, str):
            raise WireError(f"{kind} frame without text")
        return kind, data
    raise WireError("text frame of an unknown type")


HANDSHAKES: Final[dict[int, Meaning]] = {
    400: Meaning("the address is malformed: check api_key and access_token", Act.WAIT_LONG, "refused_other"),
    401: Meaning("the access token is dead: log in again (kite-hft login)", Act.TOKEN_DEAD, "refused_other"),
    403: Meaning(
        "the access token is dead or the app has no market data: log in again (kite-hft login)",
        Act.TOKEN_DEAD,
        "refused_403",
    ),
    404: Meaning("no websocket at this address: check kite.ws_url", Act.WAIT_LONG, "refused_other"),
    429: Meaning(
        "too many connections of this key: look for a leaked connection or another program that uses it",
        Act.WAIT_LONG,
        "refused_429",
    ),
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        Meaning("a redirect, which is not followed: check kite.ws_url", Act.WAIT_LONG, "refused_other"),
    ),
}
"""What a refused upgrade means (websocket page and forum: 403 dead token, 429 more than three
connections of one key, 400 a malformed address)."""

KITE_WORDS: Final = FeedWords(
    name="kite",
    modes=MODES,
    binary=False,
    subscription=subscription,
    change_mode=lambda tokens, mode: [mode_message(mode, chunk) for chunk in _chunks(tokens)],
    unsubscribe=lambda tokens: [unsubscribe_message(chunk) for chunk in _chunks(tokens)],
    parse_text=parse_text,
    handshake_meaning=HANDSHAKES,
)


def _local_time(epoch_s: int, tz: tzinfo | None) -> datetime | None:
    """As the official client: naive local time (aware in `tz` if given), None if out of range."""
    try:
        return datetime.fromtimestamp(epoch_s, tz)
    except (ValueError, OverflowError, OSError):
        return None


def _levels(
    best: int, deep: list[int], quantities: list[int], orders: list[int], divisor: int
) -> list[dict[str, Any]]:
    prices = [best, *deep]
    return [
        {"quantity": quantity, "price": price / divisor, "orders": count}
        for quantity, price, count in zip(quantities, prices, orders, strict=True)
    ]


def _ohlc(tick: np.void, divisor: int, order: tuple[str, ...]) -> dict[str, float]:
    return {name: int(tick[f"{name}_px"]) / divisor for name in order}


def _change(last: float, close: float) -> float:
    """Percent against the previous close, as pykiteconnect computes it (0 when there is none)."""
    return (last - close) * 100 / close if close else 0


def tick_dict(tick: np.void, token: int, tz: tzinfo | None = None) -> dict[str, Any]:
    """One TICK as the dict of pykiteconnect's `on_ticks`, key for key and in its order.

    tick: one element of a TICK array as the Kite decoder made it. token: the instrument's token.
    Prices are floats in rupees. Times are naive local datetimes as in the official client, or
    aware ones when `tz` is given. A time of 0 is 1970, as there.
    """
    token = int(token)  # a numpy integer would leak into the dict
    divisor, kind = divisor_of(token), int(tick["kind"])
    last = int(tick["last_px"]) / divisor
    result: dict[str, Any] = {
        "tradable": segment_of(token) != SEGMENT_INDICES,
        "mode": MODE_OF_KIND[kind],
        "instrument_token": token,
        "last_price": last,
    }
    if kind == TickKind.LTP:
        return result
    exchange_s = int(tick["exch_ns"]) // 1_000_000_000
    if kind in (TickKind.INDEX_QUOTE, TickKind.INDEX_FULL):
        result["ohlc"] = _ohlc(tick, divisor, ("high", "low", "open", "close"))
        result["change"] = _change(last, result["ohlc"]["close"])
        if kind == TickKind.INDEX_FULL:
            result["exchange_timestamp"] = _local_time(exchange_s, tz)
        return result
    result["last_traded_quantity"] = int(tick["last_qty"])
    result["average_traded_price"] = int(tick["average_px"]) / divisor
    result["volume_traded"] = int(tick["volume"])
    result["total_buy_quantity"] = int(tick["total_buy_qty"])
    result["total_sell_quantity"] = int(tick["total_sell_qty"])
    result["ohlc"] = _ohlc(tick, divisor, ("open", "high", "low", "close"))
    result["change"] = _change(last, result["ohlc"]["close"])
    if kind == TickKind.FULL:
        result["last_trade_time"] = _local_time(int(tick["last_trade_s"]), tz)
        result["oi"] = int(tick["oi"])
        result["oi_day_high"] = int(tick["oi_day_high"])
        result["oi_day_low"] = int(tick["oi_day_low"])
        result["exchange_timestamp"] = _local_time(exchange_s, tz)
        result["depth"] = {
            side: _levels(
                int(tick[f"{prefix}_px"]),
                tick[f"{prefix}_px_deep"].tolist(),
                tick[f"{prefix}_qty"].tolist(),
                tick[f"{prefix}_orders"].tolist(),
                divisor,
            )
            for side, prefix in (("buy", "bid"), ("sell", "ask"))
        }
    return result
