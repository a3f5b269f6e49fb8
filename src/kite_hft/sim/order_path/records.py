"""Layer 4, campaigns and tests, cold: the journal's raw bytes, read without the journal's own code.

What the checkers believe of the journal comes from here: the frames as the format's description
gives them (memory/journal.py, head), the payload as JSON.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

FILE_HEADER_BYTES: Final = 64
_FRAME: Final = struct.Struct("<4sIIIQqHHI")  # mark, crc, crc before, length, seq, time, kind, lag, zero
_MARK: Final = b"\xf5KJ\xff"
_decode: Final = msgspec.json.Decoder().decode
KINDS: Final = {
    1: "START", 2: "INTENT", 3: "REFUSED", 4: "ANSWER", 5: "CALL", 6: "REPORT", 7: "TRADE", 8: "STATE",
    9: "RESOLVED", 10: "EXTERNAL", 11: "END", 12: "WAITING", 13: "WITHDRAWN", 14: "ALERT", 15: "PLAN",
    16: "GROUP", 17: "COMMAND", 18: "GTT", 19: "GUARD",
}  # fmt: skip


@dataclass(slots=True)
class Tail:
    """Reads a growing journal: each call of `fresh` gives the whole records behind the last one."""

    at: int = 0
    seq: int = 0
    seed: int = 0
    crc: int = 0

    def fresh(self, data: bytes | bytearray) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """(kind, offset of its end, payload) of each record that has come since."""
        if not self.at and len(data) >= FILE_HEADER_BYTES:
            self.at = FILE_HEADER_BYTES
            self.seed = self.crc = zlib.crc32(data[: FILE_HEADER_BYTES - 4])
        while self.at and len(data) - self.at >= _FRAME.size:
            mark, crc, before, length, seq, _ns, kind, _lag, _zero = _FRAME.unpack_from(data, self.at)
            end = self.at + _FRAME.size + length
            if mark != _MARK or end > len(data) or (before, seq) != (self.crc, self.seq + 1):
                return
            if zlib.crc32(data[self.at + 8 : end], self.seed) != crc:
                return
            payload = bytes(data[self.at + _FRAME.size : end])
            self.at, self.seq, self.crc = end, seq, crc
            yield KINDS.get(kind, str(kind)), end, _decode(payload)
