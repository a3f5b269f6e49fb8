"""Layer 4, simulator, cold: how a whole frame becomes a damaged one, and what a reader still gets.

Each function returns the bytes that leave and how many of the frame's packets, from its beginning,
a reader can still read. Each damage is of exactly one class, as a strict reader counts them.
"""

from __future__ import annotations

import random
import struct
from typing import Final

_U16: Final = struct.Struct(">H")
COUNT_BYTES: Final = 2
CLASS_MIN_BYTES: Final = 4
"""A frame below this length has no room for a packet: another class than a cut packet."""


def packet_starts(frame: bytes) -> list[int]:
    """Offset of each packet's length prefix, and at the end the length of the frame."""
    starts, at = [], COUNT_BYTES
    while at < len(frame):
        starts.append(at)
        at += COUNT_BYTES + int(_U16.unpack_from(frame, at)[0])
    return [*starts, at]


def truncated(frame: bytes, chance: random.Random) -> tuple[bytes, int]:
    """Cut inside a packet, or inside the length in front of it."""
    starts = packet_starts(frame)
    number = chance.randrange(len(starts) - 1)
    at = chance.randrange(max(starts[number] + 1, CLASS_MIN_BYTES), starts[number + 1])
    return frame[:at], number


def recounted(frame: bytes, by: int) -> tuple[bytes, int]:
    """N too large: every packet is there. N too small: those after the N-th are not read.

    N stays within 0..65535; where `by` would leave that or change nothing, it is one too large.
    """
    (n,) = _U16.unpack_from(frame)
    wrong = min(max(n + by, 0), 0xFFFF)
    if wrong == n:
        wrong = n + 1
    return _U16.pack(wrong) + frame[COUNT_BYTES:], min(n, wrong)


def with_unknown_packet(frame: bytes, length: int, chance: random.Random) -> bytes:
    """One more packet, of random bytes, between two others or at an end."""
    (n,) = _U16.unpack_from(frame)
    starts = packet_starts(frame)
    at = starts[chance.randrange(len(starts))]
    packet = _U16.pack(length) + chance.randbytes(length)
    return _U16.pack(n + 1) + frame[COUNT_BYTES:at] + packet + frame[at:]
