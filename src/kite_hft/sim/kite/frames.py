"""Layer 4, simulator, hot: TICK records to Kite's binary frames, vectorised.

The reverse of `kite_hft._kite_decode`, for the simulated broker: frames that the official client
cannot tell from the real ones. Layout from the broker's page and the official clients' sources:
u16 count, then per packet u16 length and the packet, everything big-endian.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.brokers.kite.wire import SEGMENT_INDICES
from kite_hft.layout import TICK

LTP, QUOTE, FULL = 1, 2, 3
"""Streaming modes, as in brokers.kite.wire.MODES."""

_LEVEL: Final = np.dtype([("qty", ">u4"), ("px", ">u4"), ("orders", ">u2"), ("pad", ">u2")])

_LTP_FIELDS: Final[list[tuple[Any, ...]]] = [("length", ">u2"), ("token", ">u4"), ("last_px", ">u4")]
_INDEX_FIELDS: Final[list[tuple[Any, ...]]] = [
    *_LTP_FIELDS,
    *((name, ">u4") for name in ("high_px", "low_px", "open_px", "close_px")),
    ("change", ">i4"),
]
_QUOTE_FIELDS: Final[list[tuple[Any, ...]]] = [
    *_LTP_FIELDS,
    *((name, ">u4") for name in ("last_qty", "average_px", "volume", "total_buy_qty", "total_sell_qty")),
    *((name, ">u4") for name in ("open_px", "high_px", "low_px", "close_px")),
]
_FULL_FIELDS: Final[list[tuple[Any, ...]]] = [
    *_QUOTE_FIELDS,
    *((name, ">u4") for name in ("last_trade_s", "oi", "oi_day_high", "oi_day_low", "exchange_s")),
    ("bid", _LEVEL, (5,)),
    ("ask", _LEVEL, (5,)),
]

# Row = is it an index (0, 1), column = mode: the packet that the server sends.
_PACKETS: Final[list[np.dtype[np.void]]] = [
    np.dtype(_LTP_FIELDS),
    np.dtype(_QUOTE_FIELDS),
    np.dtype(_FULL_FIELDS),
    np.dtype(_LTP_FIELDS),
    np.dtype(_INDEX_FIELDS),
    np.dtype([*_INDEX_FIELDS, ("exchange_s", ">u4")]),
]
_SIZES: Final = np.array([dtype.itemsize for dtype in _PACKETS])
_PRICES: Final = tuple(name for name in TICK.fields or () if "_px" in name)
_COUNT_BYTES: Final = 2


def _packets(
    ticks: npt.NDArray[np.void], tokens: npt.NDArray[np.uint32], dtype: np.dtype[np.void]
) -> npt.NDArray[np.void]:
    """(n,) packets of one kind, each with its length in front."""
    rows = np.zeros(len(ticks), dtype)
    rows["length"] = dtype.itemsize - 2
    rows["token"] = tokens
    for name in dtype.names or ():
        if name in (TICK.fields or ()):
            rows[name] = ticks[name]
        elif name == "exchange_s":
            rows[name] = ticks["exch_ns"] // 1_000_000_000
        elif name == "change":
            # Absolute and signed, as one official client reads it; the others ignore it.
            rows[name] = ticks["last_px"] - ticks["close_px"]
        elif name in ("bid", "ask"):
            side = rows[name]
            side["px"][:, 0] = ticks[f"{name}_px"]
            side["px"][:, 1:] = ticks[f"{name}_px_deep"]
            side["qty"] = ticks[f"{name}_qty"]
            side["orders"] = ticks[f"{name}_orders"]
    return rows


def encode_frames(
    ticks: npt.NDArray[np.void],
    tokens: npt.NDArray[np.uint32],
    modes: npt.NDArray[np.uint8],
    packets_per_frame: int,
) -> list[bytes]:
    """Frames of at most `packets_per_frame` packets, in the order of `ticks`.

    ticks: (n,) TICK; tokens, modes: (slots,), looked up by each tick's slot; modes are LTP, QUOTE
    or FULL. Instruments of segment 9 get index packets. What a mode lacks is left out; a day
    volume of more than 32 bits wraps, as it must on this wire. Modes may mix within a frame.

    Raises:
        IndexError: a slot without a token. ValueError: an unknown mode, a negative price,
            packets_per_frame not in 1..65535.
    """
    if not 1 <= packets_per_frame <= 0xFFFF:
        raise ValueError(f"packets_per_frame {packets_per_frame} is not in 1..65535")
    n = len(ticks)
    if n == 0:
        return []
    slots = ticks["slot"]
    token, mode = tokens[slots], modes[slots]
    if mode.min() < LTP or mode.max() > FULL:
        raise ValueError("modes are 1 (ltp), 2 (quote), 3 (full)")
    if min(ticks[name].min() for name in _PRICES) < 0:
        raise ValueError("a negative price has no form on this wire")
    packet = mode.astype(np.intp) - 1 + 3 * ((token & 0xFF) == SEGMENT_INDICES)

    # Where each packet starts: all sizes are even, so everything is placed in units of u16.
    sizes = _SIZES[packet]
    starts = np.zeros(n + 1, np.intp)
    np.cumsum(sizes, out=starts[1:])
    starts += _COUNT_BYTES * (np.arange(n + 1) // packets_per_frame + 1)
    firsts = np.arange(0, n, packets_per_frame)
    frame_starts = starts[firsts] - _COUNT_BYTES
    ends = np.append(frame_starts[1:], starts[n - 1] + sizes[n - 1])
    words = np.empty(ends[-1] // 2, np.uint16)
    counts = np.minimum(packets_per_frame, n - firsts)
    words[frame_starts // 2] = counts.astype(">u2").view(np.uint16)
    for number in np.unique(packet):
        chosen = np.flatnonzero(packet == number)
        rows = _packets(ticks[chosen], token[chosen], _PACKETS[number]).view(np.uint16)
        width = _PACKETS[number].itemsize // 2
        words[starts[chosen, None] // 2 + np.arange(width)] = rows.reshape(-1, width)
    data = words.tobytes()
    return [data[a:b] for a, b in zip(frame_starts.tolist(), ends.tolist(), strict=True)]
