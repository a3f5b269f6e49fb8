"""Layer 4, simulator, cold: the faults in Kite's words: error answers, requests by path, damaged frames."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Final

from kite_hft.sim.faults.schedule import FaultRow
from kite_hft.sim.faults.words import FaultWords
from kite_hft.sim.kite.damage import recounted, truncated, with_unknown_packet
from kite_hft.sim.kite.routes import error
from kite_hft.sim.rest import Response
from kite_hft.sim.server.stream import Frame

TIMED_OUT: Final = "Order request timed out. Please check the order book and confirm before placing again."
_ANSWERS: Final[Mapping[str, Response]] = {
    "http_403": error(403, "UserException", "Your account is blocked for this action."),
    "http_502": error(502, "DataException", "The order management system's answer was not understood."),
    "http_429": error(429, "NetworkException", "Too many requests"),
    "http_503": error(503, "NetworkException", "Service unavailable. Please try again after some time."),
    "http_504": error(504, "DataException", "Gateway timed out. Please check the order book."),
    "http_400_timed_out": error(400, "OrderException", TIMED_OUT),
}
_VERBS: Final = {"POST": "place", "PUT": "modify", "DELETE": "cancel"}


def request_kind(method: str, path: str) -> str:
    """place, modify, cancel (of orders), read, or other."""
    head = path.strip("/").split("/")[0]
    if head == "orders" and method in _VERBS:
        return _VERBS[method]
    return "read" if method == "GET" else "other"


def order_id(response: Response) -> str | None:
    """The id that a placement was answered with."""
    if response.status != 200:
        return None
    data = json.loads(response.body).get("data")
    found = data.get("order_id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else None


def damage(row: FaultRow, frame: Frame, chance: random.Random) -> Frame:
    """A cut or miscounted frame, or one with a packet of unknown length."""
    if row.kind == "unknown_packet":
        data = with_unknown_packet(frame.data, row.parameters["length"], chance)
        return frame._replace(data=data, unknown=1)
    if row.kind == "truncate":
        data, kept = truncated(frame.data, chance)
    else:
        data, kept = recounted(frame.data, row.parameters["by"])
    return frame._replace(data=data, ticks=frame.ticks[:kept], spoiled=len(frame.ticks) - kept)


KITE_FAULTS: Final = FaultWords(_ANSWERS, request_kind, order_id, damage)
