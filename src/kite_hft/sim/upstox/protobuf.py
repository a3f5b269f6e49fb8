"""Layer 4, simulator, hot: a protobuf writer for columns: n messages of one shape at once.

A piece of n messages is a matrix of bytes, (n, width) int16, with HOLE where a message has no byte;
pieces stand side by side, and the holes are left out at the end. What comes out is canonical, as
protobuf's own serialiser writes it: shortest varints, fields in the order given, nothing for a
scalar that is zero (proto3). Encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

HOLE: Final = -1
VARINT, FIXED64, BYTES = 0, 1, 2
"""Wire types."""
_INT64_BYTES: Final = 10

Cells = npt.NDArray[np.int16]
Present = npt.NDArray[np.bool_]


def tag(number: int, wire: int) -> bytes:
    """The key of a field."""
    return varint(number << 3 | wire)


def varint(value: int) -> bytes:
    """One integer; a negative one as its 64-bit two's complement."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varints(number: int, values: npt.NDArray[Any]) -> Cells:
    """A field of integers (int64[n]); zeros are left out."""
    bits = values.astype(np.int64).view(np.uint64)
    return _with_tag(tag(number, VARINT), _varint_cells(bits), bits != 0)


def doubles(number: int, values: npt.NDArray[Any]) -> Cells:
    """A field of doubles (float64[n]); +0.0 is left out, -0.0 is not."""
    exact = np.ascontiguousarray(values, "<f8")
    cells = exact.view(np.uint8).reshape(len(exact), 8).astype(np.int16)
    return _with_tag(tag(number, FIXED64), cells, exact.view(np.uint64) != 0)


def constant(data: bytes, n: int) -> Cells:
    """The same bytes in each of n messages."""
    return np.broadcast_to(np.frombuffer(data, np.uint8).astype(np.int16), (n, len(data)))


def texts(values: Sequence[bytes]) -> Cells:
    """Bytes of different lengths, one for each message."""
    width = max(map(len, values), default=0)
    cells = np.full((len(values), width), HOLE, np.int16)
    for row, value in zip(cells, values, strict=True):
        row[: len(value)] = np.frombuffer(value, np.uint8)
    return cells


def message(number: int, parts: Sequence[Cells], present: Present | None = None) -> Cells:
    """A field that holds a message made of `parts`; left out where not `present`."""
    body = np.concatenate(parts, axis=1)
    lengths = np.count_nonzero(body >= 0, axis=1).astype(np.uint64)
    cells = np.concatenate([_with_tag(tag(number, BYTES), _varint_cells(lengths), None), body], axis=1)
    if present is not None and not present.all():
        cells[~present] = HOLE
    return cells


def rows_of(cells: Cells) -> list[bytes]:
    """The finished messages, one by one."""
    kept = cells >= 0
    data = cells[kept].astype(np.uint8).tobytes()
    ends = np.cumsum(np.count_nonzero(kept, axis=1)).tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _varint_cells(bits: npt.NDArray[np.uint64]) -> Cells:
    """Shortest form of each number; zero is one byte."""
    if not len(bits):
        return np.empty((0, 1), np.int16)
    width = min(max(1, -(-int(bits.max()).bit_length() // 7)), _INT64_BYTES)
    shifts = np.arange(width, dtype=np.uint64) * np.uint64(7)
    groups = bits[:, None] >> shifts
    cells = (groups & np.uint64(0x7F)).astype(np.int16)
    cells[:, :-1] |= np.where(groups[:, 1:] > 0, 0x80, 0).astype(np.int16)
    cells[:, 1:][groups[:, 1:] == 0] = HOLE
    return cells


def _with_tag(key: bytes, cells: Cells, present: Present | None) -> Cells:
    out = np.empty((len(cells), len(key) + cells.shape[1]), np.int16)
    out[:, : len(key)] = np.frombuffer(key, np.uint8)
    out[:, len(key) :] = cells
    if present is not None and not present.all():
        out[~present] = HOLE
    return out
