"""Layer 4, simulator, cold: what the injector must know of a broker, as data and plain functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kite_hft.sim.faults.schedule import FaultRow
from kite_hft.sim.rest import Response
from kite_hft.sim.server.stream import Frame


class Api(Protocol):
    """What an act does to a broker's API. Times: ns since the epoch."""

    def kill_token(self, now_ns: int) -> None: ...


@dataclass(frozen=True, slots=True)
class FaultWords:
    """One broker's words.

    answers: what a struck request is answered, by kind of fault. request_kind(method, path): place,
    modify, cancel (of orders), authorize (of a feed; Upstox's alone), read or other. order_id(response): of
    the order that a placement made; None: none. damage(row, frame, chance): the frame that a damaged one
    becomes. missing: kinds of faults that this broker's protocol has no form of, and why.
    """

    answers: Mapping[str, Response]
    request_kind: Callable[[str, str], str]
    order_id: Callable[[Response], str | None]
    damage: Callable[[FaultRow, Frame, random.Random], Frame]
    missing: Mapping[str, str] = field(default_factory=dict)
