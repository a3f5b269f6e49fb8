"""Slow, obvious twin of the frame rules: which packets of any bytes are good, and what is counted."""

from __future__ import annotations

import struct
from collections import Counter

PRICES = {
    8: [4],
    28: [4, 8, 12, 16, 20],
    32: [4, 8, 12, 16, 20],
    44: [4, 12, 28, 32, 36, 40],
    184: [4, 12, 28, 32, 36, 40, *range(68, 184, 12)],
}


def split_frame(frame: bytes, tokens: set[int]) -> tuple[list[bytes], Counter[str]]:
    """Packets that must be decoded, in order, and every counter that must move."""
    counts: Counter[str] = Counter()
    good: list[bytes] = []
    if len(frame) < 4:
        counts["short_frame"] += len(frame) != 1
        return good, +counts
    rest = frame[2:]
    for _ in range(struct.unpack(">H", frame[:2])[0]):
        if not rest:
            counts["wrong_count"] += 1
            return good, counts
        if len(rest) < 2 or len(rest) - 2 < struct.unpack(">H", rest[:2])[0]:
            counts["cut_packet"] += 1
            return good, counts
        (length,) = struct.unpack(">H", rest[:2])
        packet, rest = rest[2 : 2 + length], rest[2 + length :]
        counts["received"] += 1
        if length not in PRICES:
            counts["unknown_length"] += 1
        elif struct.unpack(">I", packet[:4])[0] not in tokens:
            counts["unknown_instrument"] += 1
        elif any(packet[at] & 0x80 for at in PRICES[length]):
            counts["price_range"] += 1
        else:
            counts["decoded"] += 1
            good.append(packet)
    if rest:
        counts["trailing_bytes"] += 1
    return good, counts
