"""Layer 5, supervisor, cold: does a connection still bring market data? Pure, from counters.

Asked about twice a second. A connection is dead when no frame of any kind has come for
`alerts.feed_silence_s`, when it has not been up for that long, or when its process is down.
"""

from __future__ import annotations

from collections.abc import Mapping

from kite_hft.units import NS_PER_S


def feed_trouble(
    counters: Mapping[str, int], now_ns: int, silence_s: float, *, alive_since_ns: int, down: bool
) -> str:
    """What is wrong with a connection, in words; "": nothing.

    counters: of its feed (layout.COUNTERS["feed"]). alive_since_ns: when its process became ready.
    down: the process is dead or starts again.
    """
    last_ns = max(counters["last_frame_ns"], 0)
    silent_s = (now_ns - max(last_ns, alive_since_ns)) / NS_PER_S
    if down:
        silent_s = (now_ns - (last_ns or alive_since_ns)) / NS_PER_S
        return f"its process is down, no frame for {silent_s:.1f} s" if silent_s > silence_s else ""
    if silent_s <= silence_s:
        return ""
    return f"{'connected, but ' if counters['connected'] else 'not connected, '}no frame for {silent_s:.1f} s"
