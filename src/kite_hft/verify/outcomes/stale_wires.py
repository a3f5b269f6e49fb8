"""Layer 6, campaigns, cold: each broker's market data on the wire, for `verify stale`: decoder and frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft import _kite_decode, _upstox_decode
from kite_hft.sim.kite.frames import FULL as KITE_FULL
from kite_hft.sim.kite.frames import encode_frames
from kite_hft.sim.upstox.frames import FULL as UPSTOX_FULL
from kite_hft.sim.upstox.frames import LIVE_FEED, encode_entries, frame, key_cells
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.trading.instruments import InstrumentTable

PER_FRAME: Final = 50
MS: Final = 1_000_000
Rows = npt.NDArray[np.void]
Frames = Callable[[Rows, int], list[bytes]]
"""(TICK rows, ns) -> the frames that carry them in the fullest mode."""
Wire = Callable[[InstrumentTable], tuple[Any, Frames, int]]
"""A table -> its decoder, its frames, the number of the mode that they are in."""


def kite(table: InstrumentTable) -> tuple[Any, Frames, int]:
    """Kite's binary packets."""
    tokens = table.tokens()
    modes = np.full(len(tokens), KITE_FULL, np.uint8)
    decoder = _kite_decode.KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32))
    return decoder, lambda ticks, now_ns: encode_frames(ticks, tokens, modes, PER_FRAME), KITE_FULL


def upstox(table: InstrumentTable) -> tuple[Any, Frames, int]:
    """Upstox's protobuf."""
    keys = [row.upstox_key for row in table]
    slots = np.arange(len(keys), dtype=np.uint32)
    steps = np.array([row.tick_px for row in table], np.int32)
    decoder = _upstox_decode.UpstoxDecoder(keys, slots, table.scales(), steps)
    rows, cells, modes = FeedRows(table), key_cells(keys), np.full(len(keys), UPSTOX_FULL, np.uint8)

    def frames(ticks: Rows, now_ns: int) -> list[bytes]:
        rows.see(ticks)
        entries = encode_entries(rows.rows(ticks), ticks["slot"], modes, cells)
        return [
            frame(LIVE_FEED, entries[at : at + PER_FRAME], now_ns // MS)
            for at in range(0, len(entries), PER_FRAME)
        ]

    return decoder, frames, UPSTOX_FULL


WIRES: Final[dict[str, Wire]] = {"kite": kite, "upstox": upstox}
