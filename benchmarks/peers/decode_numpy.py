"""Kite's full packets to TICK records by whole columns with numpy, for bench_decode.

A frame is seen as an array of big-endian packets and copied field by field; slots are found by a
binary search over the sorted tokens. Frames of full packets only.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kite_hft.layout import TickFlag, TickKind

LEVEL: Final = [("qty", ">u4"), ("px", ">u4"), ("orders", ">u2"), ("pad", ">u2")]
WORDS: Final = (
    "token", "last_px", "last_qty", "average_px", "volume", "total_buy_qty", "total_sell_qty", "open_px",
    "high_px", "low_px", "close_px", "last_trade_s", "oi", "oi_day_high", "oi_day_low", "exchange_s",
)  # fmt: skip
PACKET: Final = np.dtype(
    [("length", ">u2"), *((word, ">u4") for word in WORDS), ("bids", LEVEL, (5,)), ("asks", LEVEL, (5,))]
)
COPIED: Final = [word for word in WORDS if word not in ("token", "exchange_s")]


class NumpyDecoder:
    """tokens: (n,) uint32; slot i is tokens[i]'s."""

    def __init__(self, tokens: np.ndarray[Any, Any]) -> None:
        self.order = np.argsort(tokens).astype(np.uint32)
        self.sorted = tokens[self.order]

    def decode_frames(self, frames: list[bytes], out: np.ndarray[Any, Any], recv_ns: int = 0) -> int:
        """Frames into `out`; how many ticks."""
        done = 0
        for frame in frames:
            packets = np.frombuffer(frame, PACKET, offset=2)
            ticks = out[done : done + len(packets)]
            self.decode(packets, ticks, recv_ns)
            done += len(packets)
        return done

    def decode(self, packets: np.ndarray[Any, Any], ticks: np.ndarray[Any, Any], recv_ns: int) -> None:
        ticks["seq"] = 0
        ticks["recv_ns"] = recv_ns
        ticks["slot"] = self.order[np.searchsorted(self.sorted, packets["token"].astype(np.uint32))]
        ticks["kind"] = TickKind.FULL
        ticks["connection"] = 0
        ticks["exch_ns"] = packets["exchange_s"].astype(np.int64) * 1_000_000_000
        flags = int(TickFlag.TRADE | TickFlag.OHLC | TickFlag.DEPTH | TickFlag.OI)
        ticks["flags"] = (
            flags
            + (packets["exchange_s"] != 0) * int(TickFlag.EXCHANGE_TIME)
            + (packets["last_trade_s"] != 0) * int(TickFlag.LAST_TRADE_TIME)
        )
        for name in COPIED:
            ticks[name] = packets[name]
        for side, levels in (("bid", packets["bids"]), ("ask", packets["asks"])):
            ticks[f"{side}_px"] = levels["px"][:, 0]
            ticks[f"{side}_px_deep"] = levels["px"][:, 1:]
            ticks[f"{side}_qty"] = levels["qty"]
            ticks[f"{side}_orders"] = levels["orders"]
