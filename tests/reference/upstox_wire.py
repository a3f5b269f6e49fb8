"""Slow, obvious twin of Upstox's feed: bytes to messages, as dicts of what was there.

Written from the schema and protobuf's encoding page alone. Standard library only.
"""

from __future__ import annotations

import struct
from typing import Any

INT, DOUBLE, TEXT, FLAG = "int", "double", "text", "flag"
# Message -> field number -> (name, what it is). "[X]": repeated; "{X}": map of text to X.
SCHEMA: dict[str, dict[int, tuple[str, str]]] = {
    "FeedResponse": {
        1: ("type", INT), 2: ("feeds", "{Feed}"), 3: ("currentTs", INT), 4: ("marketInfo", "MarketInfo"),
    },
    "MarketInfo": {
        1: ("segmentStatus", "{int}"), 2: ("casMarketStatus", "{StatusInfo}"),
        3: ("preOpenSessionStatus", "{StatusInfo}"),
    },
    "StatusInfo": {1: ("status", TEXT), 2: ("updatedTime", INT)},
    "Feed": {
        1: ("ltpc", "LTPC"), 2: ("fullFeed", "FullFeed"), 3: ("firstLevelWithGreeks", "FirstLevel"),
        4: ("requestMode", INT),
    },
    "FullFeed": {1: ("marketFF", "MarketFF"), 2: ("indexFF", "IndexFF")},
    "LTPC": {
        1: ("ltp", DOUBLE), 2: ("ltt", INT), 3: ("ltq", INT), 4: ("cp", DOUBLE), 5: ("iep", "DoubleValue"),
    },
    "DoubleValue": {1: ("value", DOUBLE)},
    "MarketFF": {
        1: ("ltpc", "LTPC"), 2: ("marketLevel", "MarketLevel"), 3: ("optionGreeks", "Greeks"),
        4: ("marketOHLC", "MarketOHLC"), 5: ("atp", DOUBLE), 6: ("vtt", INT), 7: ("oi", DOUBLE),
        8: ("iv", DOUBLE), 9: ("tbq", DOUBLE), 10: ("tsq", DOUBLE), 11: ("iep", DOUBLE), 12: ("rp", DOUBLE),
        13: ("ieq", INT), 14: ("iiqTotal", INT), 15: ("iiqM", INT), 16: ("casEligible", FLAG),
    },
    "IndexFF": {1: ("ltpc", "LTPC"), 2: ("marketOHLC", "MarketOHLC")},
    "FirstLevel": {
        1: ("ltpc", "LTPC"), 2: ("firstDepth", "Quote"), 3: ("optionGreeks", "Greeks"), 4: ("vtt", INT),
        5: ("oi", DOUBLE), 6: ("iv", DOUBLE),
    },
    "MarketLevel": {1: ("bidAskQuote", "[Quote]")},
    "Quote": {1: ("bidQ", INT), 2: ("bidP", DOUBLE), 3: ("askQ", INT), 4: ("askP", DOUBLE)},
    "Greeks": {i: (name, DOUBLE) for i, name in enumerate(("delta", "theta", "gamma", "vega", "rho"), 1)},
    "MarketOHLC": {1: ("ohlc", "[OHLC]")},
    "OHLC": {
        1: ("interval", TEXT), 2: ("open", DOUBLE), 3: ("high", DOUBLE), 4: ("low", DOUBLE),
        5: ("close", DOUBLE), 6: ("vol", INT), 7: ("ts", INT),
    },
}  # fmt: skip
ONEOFS = {"Feed": ("ltpc", "fullFeed", "firstLevelWithGreeks"), "FullFeed": ("marketFF", "indexFF")}
WIRE_TYPES = {INT: 0, FLAG: 0, DOUBLE: 1}  # all others: 2
DEPTH_MAX = 100


class WireError(ValueError):
    """The bytes are no message."""


# ---- bytes to messages


def read_varint(data: bytes, at: int, most: int = 10) -> tuple[int, int]:
    value = 0
    for i in range(most):
        if at + i >= len(data):
            raise WireError("ends inside a varint")
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value % 2**64, at + i + 1
    raise WireError("varint too long")


def read_tag(data: bytes, at: int) -> tuple[int, int, int]:
    tag, at = read_varint(data, at, 5)
    if tag >= 2**32:
        raise WireError("tag too large")
    return tag >> 3, tag & 7, at


def read_value(data: bytes, at: int, number: int, wire_type: int, depth: int) -> tuple[Any, int]:
    """A value and where it ends: an int, or bytes; None for what nobody reads."""
    if wire_type == 0:
        return read_varint(data, at)
    if wire_type in (1, 5):
        size = 8 if wire_type == 1 else 4
    elif wire_type == 2:
        size, at = read_varint(data, at, 5)
        if size >= 2**31:
            raise WireError("length too large")
    elif wire_type == 3:
        if depth <= 0:
            raise WireError("nested too deep")
        while True:
            inner, inner_type, at = read_tag(data, at)
            if inner_type == 4:
                if inner != number:
                    raise WireError("another group's end")
                return None, at
            _, at = read_value(data, at, inner, inner_type, depth - 1)
    else:
        raise WireError("wire type")
    if at + size > len(data):
        raise WireError("ends inside a field")
    return data[at : at + size], at + size


def text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WireError("no UTF-8") from error


def fields(data: bytes, depth: int) -> list[tuple[int, int, Any]]:
    found, at = [], 0
    while at < len(data):
        number, wire_type, at = read_tag(data, at)
        if number == 0:
            raise WireError("field number 0")
        value, at = read_value(data, at, number, wire_type, depth)
        found.append((number, wire_type, value))
    return found


def scalar(kind: str, value: Any) -> Any:
    if kind == INT:
        return value - 2**64 if value >= 2**63 else value
    if kind == FLAG:
        return value != 0
    return struct.unpack("<d", value)[0] if kind == DOUBLE else text_of(value)


def map_entry(kind: str, data: bytes, depth: int) -> tuple[str, Any]:
    key, value = "", 0 if kind == INT else {}
    for number, wire_type, raw in fields(data, depth):
        if (number, wire_type) == (1, 2):
            key = text_of(raw)
        elif number == 2 and kind == INT and wire_type == 0:
            value = (scalar(INT, raw) + 2**31) % 2**32 - 2**31
        elif number == 2 and kind != INT and wire_type == 2:
            parse(kind, raw, value, depth - 1)
    return key, value


def parse(
    message: str, data: bytes, into: dict[str, Any] | None = None, depth: int = DEPTH_MAX
) -> dict[str, Any]:
    """The message as a dict of what was there, merged into `into`.

    Raises:
        WireError: the bytes are no such message.
    """
    found: dict[str, Any] = {} if into is None else into
    for number, wire_type, value in fields(data, depth):
        name, kind = SCHEMA[message].get(number, ("", ""))
        if not name or wire_type != WIRE_TYPES.get(kind, 2):
            continue
        if kind.startswith("{"):
            key, one = map_entry(kind[1:-1], value, depth - 1)
            entries = found.setdefault(name, {})
            entries.pop(key, None)
            entries[key] = one
        elif kind.startswith("["):
            found.setdefault(name, []).append(parse(kind[1:-1], value, None, depth - 1))
        elif kind in SCHEMA:
            for other in ONEOFS.get(message, ()):
                if name in ONEOFS[message] and other != name:
                    found.pop(other, None)
            parse(kind, value, found.setdefault(name, {}), depth - 1)
        else:
            found[name] = scalar(kind, value)
    return found
