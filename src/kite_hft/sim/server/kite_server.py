"""Layer 4, simulator, cold: Kite's face of the server: who is let in, heartbeats, order updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

from kite_hft.sim.exchange.orders import UPDATE
from kite_hft.sim.kite.api import KiteApi
from kite_hft.sim.kite.faults import KITE_FAULTS
from kite_hft.sim.kite.frames import encode_frames
from kite_hft.sim.kite.stream import KiteStream
from kite_hft.sim.market.source import Source
from kite_hft.sim.server.face import UPGRADED, Door, Face

CONNECTIONS_MAX: Final = 3
HEARTBEAT_S: Final = 1.0
ORDERS: Final = frozenset(("order",))


def kite_face(api: KiteApi, source: Source, packets_per_frame: int = 1, stamp: bool = False) -> Face:
    """Kite's. `stamp`: see KiteStream."""

    def admit(path: str, headers: Mapping[str, str], open_now: Sequence[str]) -> Door:
        query = parse_qs(urlsplit(path).query)
        if "api_key" not in query or "access_token" not in query:
            return Door(400, b"Bad request: api_key and access_token are needed")
        credentials = query["api_key"][0], query["access_token"][0]
        if not api.authorised(*credentials):
            return Door(403, b"Forbidden")
        if len(open_now) >= CONNECTIONS_MAX:
            return Door(429, b"Too many requests")
        return Door(UPGRADED, credentials=credentials, wants=ORDERS)

    encode = getattr(source, "encode", encode_frames)
    return Face(
        exchange=api.exchange,
        api=api,
        words=KITE_FAULTS,
        make_stream=lambda: KiteStream(source.instruments, packets_per_frame, stamp, encode),
        admit=admit,
        updates=api.exchange.drain_updates,
        update_frame=api.update_frame,
        heartbeat=b"\x00",
        heartbeat_s=HEARTBEAT_S,
        label=UPDATE,
    )
