"""Layer 4, simulator, cold: Upstox's face of the server: who is let in, pings, order updates.

The feeds' host upgrades one-time addresses and redirects the well-known ones; the REST host
answers authorize and redirects as well. An idle connection is pinged; there is no other heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.rest import encode
from kite_hft.sim.server.face import MARKET, Door, Face
from kite_hft.sim.server.stream import Stream
from kite_hft.sim.upstox.answers import refused
from kite_hft.sim.upstox.api import UpstoxApi
from kite_hft.sim.upstox.faults import UPSTOX_FAULTS
from kite_hft.sim.upstox.frames import key_cells
from kite_hft.sim.upstox.stream import NORMAL_LIMITS, PLUS_LIMITS, FeedStyle, Shares, UpstoxStream

PING_S: Final = 5.0
"""A user's observation; not documented."""


def upstox_face(
    api: UpstoxApi,
    real_ns: Callable[[], int],
    style: FeedStyle | None = None,
    shares: Shares | None = None,
    packets_per_frame: int = 1,
    stamp: bool = False,
) -> Face:
    """Upstox's. `real_ns()`: the exchange's clock. `stamp`: see UpstoxStream."""
    instruments = api.exchange.instruments
    keys = key_cells([row.upstox_key for row in instruments])
    held = shares or Shares(PLUS_LIMITS if api.terms.plus else NORMAL_LIMITS)

    def admit(path: str, headers: Mapping[str, str], open_now: Sequence[str]) -> Door:
        try:
            return api.doors.admit(path, headers, open_now, real_ns())
        except Refusal as refusal:
            answer = refused(refusal)
            return Door(answer.status, answer.body, (("Content-Type", answer.content_type),))

    def make_stream() -> Stream:
        return UpstoxStream(instruments, api.rows, keys, held, style, packets_per_frame, stamp)

    def left(stream: Stream) -> None:
        if isinstance(stream, UpstoxStream):
            stream.leave()

    def listening(ws_url: str, api_url: str) -> None:
        api.doors.ws_url = ws_url

    def greeting(kind: str, now_ns: int) -> Sequence[bytes]:
        return (api.segments.frame(now_ns),) if kind == MARKET else ()

    return Face(
        exchange=api.exchange,
        api=api,
        words=UPSTOX_FAULTS,
        make_stream=make_stream,
        admit=admit,
        updates=api.updates.drain,
        update_frame=encode,
        heartbeat=b"",
        heartbeat_s=PING_S,
        greeting=greeting,
        news=api.segments.news,
        left=left,
        listening=listening,
        notices=api.session.notices,
    )
