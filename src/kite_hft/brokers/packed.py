"""Layer 2, supervisor and verbs, cold: a broker's file as it came, packed with gzip or not."""

from __future__ import annotations

import zlib
from typing import Final

from kite_hft.trading.instruments import InstrumentError

FILE_BYTES_MAX: Final = 1 << 28
"""Of an unpacked file: Upstox's complete.json has 44 MB."""
GZIP_MAGIC: Final = b"\x1f\x8b"


def unpacked(data: bytes, where: str) -> bytes:
    """The content.

    Raises:
        InstrumentError: empty, damaged, cut short, too large.
    """
    if not data:
        raise InstrumentError(f"{where}: empty: fetch it again")
    if not data.startswith(GZIP_MAGIC):
        return data
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        found = unpack.decompress(data, FILE_BYTES_MAX)
    except zlib.error as error:
        raise InstrumentError(f"{where}: damaged: {error}: fetch it again") from error
    if unpack.unconsumed_tail:
        raise InstrumentError(f"{where}: more than {FILE_BYTES_MAX} bytes: that is no instrument file")
    if not unpack.eof:
        raise InstrumentError(f"{where}: cut short: its gzip has no end: fetch it again")
    return found
