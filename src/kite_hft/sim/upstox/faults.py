"""Layer 4, simulator, cold: the faults in Upstox's words: error answers, requests by path, bad frames.

Frames are protobuf: one that is cut inside an entry cannot be parsed at all, and unknown fields
are to be passed over.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Final

from kite_hft.sim.faults.schedule import FaultRow
from kite_hft.sim.faults.words import FaultWords
from kite_hft.sim.rest import Response
from kite_hft.sim.server.stream import Frame
from kite_hft.sim.upstox.answers import TOO_MANY, error
from kite_hft.sim.upstox.protobuf import BYTES, FIXED64, VARINT, tag, varint

FIXED32: Final = 5
UNKNOWN_FROM: Final = 90
"""Numbers of unknown fields: from here on none is in the schema."""

_ANSWERS: Final[Mapping[str, Response]] = {
    "http_403": error("UDAPI100058", "No segments for these users are active. Account is blocked.", 403),
    "http_502": error("UDAPI100500", "Something went wrong... please contact us.", 502),
    "http_429": error(*TOO_MANY),
    "http_503": error("UDAPI100500", "Service Unavailable.", 503),
    "http_504": error("UDAPI100500", "Gateway timed out.", 504),
    "http_400_timed_out": error("UDAPI100500", "The request timed out; please check the order book.", 400),
}
_ORDER_PATHS: Final = {
    ("POST", "/order/place"): "place", ("PUT", "/order/modify"): "modify",
    ("DELETE", "/order/cancel"): "cancel", ("POST", "/order/multi/place"): "place",
}  # fmt: skip


def request_kind(method: str, path: str) -> str:
    """place, modify, cancel (of orders), authorize (of a feed), read, or other."""
    if path.endswith("/authorize"):
        return "authorize"
    found = _ORDER_PATHS.get((method, path[3:]))  # behind /v2 or /v3
    return found or ("read" if method == "GET" else "other")


def order_id(response: Response) -> str | None:
    """The (first) id that a placement was answered with."""
    if response.status != 200:
        return None
    data = json.loads(response.body).get("data")
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return None
    ids = data.get("order_ids") or [data.get("order_id")]
    return ids[0] if isinstance(ids[0], str) else None


def unknown_fields(length: int, chance: random.Random) -> bytes:
    """Four fields of four wire types, the longest with `length` bytes."""
    return (
        tag(UNKNOWN_FROM, VARINT) + varint(chance.getrandbits(64))
        + tag(UNKNOWN_FROM + 1, FIXED64) + chance.randbytes(8)
        + tag(UNKNOWN_FROM + 2, BYTES) + varint(length) + chance.randbytes(length)
        + tag(UNKNOWN_FROM + 3, FIXED32) + chance.randbytes(4)
    )  # fmt: skip


def damage(row: FaultRow, frame: Frame, chance: random.Random) -> Frame:
    """A frame with unknown fields, of which nothing is lost, or a cut one, of which all is."""
    if row.kind == "unknown_packet":
        more = unknown_fields(int(row.parameters["length"]), chance)
        return frame._replace(data=more + frame.data if chance.random() < 0.5 else frame.data + more)
    first = 2 + len(varint(len(frame.data)))  # inside the first entry, behind type
    cut = frame.data[: chance.randrange(first + 1, max(first + 2, len(frame.data) - 8))]
    return frame._replace(data=cut, ticks=frame.ticks[:0], spoiled=len(frame.ticks))


UPSTOX_FAULTS: Final = FaultWords(
    _ANSWERS,
    request_kind,
    order_id,
    damage,
    missing={
        "wrong_count": "Upstox's frames have no count",
        "update_label": "Upstox's order updates know no status UPDATE",
    },
)
