"""A slow, plain reading of recorded rows: struct and the format's description, nothing of the product."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

DATA_OFFSET = 8192
ROW = struct.Struct("<QqqqIHBBiIiiiI")
GAP_SLOT = 0xFFFFFFFF


class Row(NamedTuple):
    """The first 64 bytes of a tick, field by field; prices in the instrument's unit."""

    seq: int
    recv_ns: int
    exch_ns: int
    volume: int
    slot: int
    flags: int
    kind: int
    connection: int
    last_px: int
    last_qty: int
    bid_px: int
    ask_px: int
    close_px: int
    oi: int


def rows_of(path: Path) -> tuple[list[tuple[int, Row]], list[Row]]:
    """((real time in ns, row) of every tick, gaps) of a closed recording, in the file's order."""
    data = path.read_bytes()
    mono_ns, real_ns = struct.unpack_from("<qq", data, 24)
    offset_ns, rows, gaps = real_ns - mono_ns, [], []
    for at in range(DATA_OFFSET, len(data), ROW.size):
        row = Row(*ROW.unpack_from(data, at))
        if row.kind == 0 and row.slot == GAP_SLOT:
            offset_ns = row.exch_ns  # a gap carries the clock's offset from there on
            gaps.append(row)
        else:
            rows.append((row.recv_ns + offset_ns, row))
    return rows, gaps
