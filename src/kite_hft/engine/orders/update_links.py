"""Layer 5, orders process, cold: the connections that bring order updates, as their processes count them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft import _counters
from kite_hft.engine.orders.transports import SANDBOX
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import SegmentKind
from kite_hft.memory.counters import COUNTER_INDEX
from kite_hft.trading.ports import Source, UpdateLink

_AT: Final = COUNTER_INDEX["feed"]
_READ: Final = tuple(_AT[name] for name in ("connects", "disconnects", "texts_dropped", "last_frame_ns"))
_UP: Final = _AT["connected"]


def hearing_ports(
    config: Mapping[str, Any], broker: str, segments: Segments, log: Callable[[str], None]
) -> dict[str, Any]:
    """The fields of Ports by which interruptions of the order updates are known, and told."""
    links = update_links(bringing_updates(config, broker), segments)
    return {"update_links": links, "log": lambda text: log(f"orders: {text}")}


def bringing_updates(config: Mapping[str, Any], broker: str) -> list[int]:
    """Numbers of the connections on which the order broker tells of orders: one that is there for nothing
    else, or all that bring his prices. In paper trading and in the sandbox there is none.

    config: of the orders process (engine/plan/launch.py).
    """
    if config["api"]["mode"] in ("paper", SANDBOX):
        return []
    carrying = {connection["number"]: connection["broker"] for connection in config["connections"]}
    apart = [number for number in config["texts"] if number not in carrying]
    return apart or [number for number, whose in carrying.items() if whose == broker]


class Unheard:
    """Order updates of another account: Kite tells of all its user's orders on each socket, also where only
    prices are wanted of it. They are taken, so that the queue never fills, and not looked at.
    """

    def __init__(self, queue: Source) -> None:
        self._queue = queue

    def drain(self, out: npt.NDArray[np.void]) -> int:
        """Nothing, whatever was there."""
        self._queue.drain(out)
        return 0


def heard(config: Mapping[str, Any], broker: str, queues: Sequence[Source]) -> list[Source]:
    """The texts of all connections (`config["texts"]`), as the order stage may read them."""
    ours = set(bringing_updates(config, broker))
    return [
        queue if number in ours else Unheard(queue)
        for number, queue in zip(config["texts"], queues, strict=True)
    ]


def update_links(numbers: Sequence[int], segments: Segments) -> Callable[[], Sequence[UpdateLink]]:
    """What these connections have counted so far."""
    views = [segments.read(f"counters-feed-{number}", SegmentKind.COUNTERS).view for number in numbers]
    readers = [_counters.CounterReader(view) for view in views]

    def look() -> list[UpdateLink]:
        return [_link(reader) for reader in readers]

    return look


def _link(reader: _counters.CounterReader) -> UpdateLink:
    up = bool(reader.value(_UP))  # read first: it changes after the count of what was made, or lost
    connects, disconnects, dropped, alive_ns = (reader.value(index) for index in _READ)
    return UpdateLink(up, connects, disconnects, dropped, alive_ns)
