"""The column writer against protobuf's own wire format, number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from google.protobuf.internal import encoder

from kite_hft.sim.upstox.protobuf import (
    VARINT,
    constant,
    doubles,
    message,
    rows_of,
    tag,
    texts,
    varint,
    varints,
)

EDGES = [0, 1, -1, 127, 128, 255, 16_383, 16_384, 2**31, 2**32 - 1, 2**63 - 1, -(2**63), -5]


@pytest.mark.parametrize("value", EDGES)
def test_a_varint_is_the_shortest(value: int) -> None:
    assert varint(value) == encoder._VarintBytes(value & 0xFFFF_FFFF_FFFF_FFFF)
    assert tag(16, VARINT) == b"\x80\x01"


def test_integers_of_all_sizes_side_by_side() -> None:
    rows = rows_of(varints(3, np.array(EDGES)))
    assert rows == [b"" if value == 0 else b"\x18" + varint(value) for value in EDGES]


def test_doubles_keep_every_bit_and_leave_out_plus_zero_alone() -> None:
    values = [0.0, -0.0, 1.5, -2.25, math.inf, math.nan, 5e-324]
    rows = rows_of(doubles(1, np.array(values)))
    assert rows[0] == b"" and rows[1] == b"\x09" + bytes(7) + b"\x80"
    for value, row in zip(values[1:], rows[1:], strict=True):
        assert row[:1] == b"\x09" and row[1:] == np.float64(value).tobytes()


def test_messages_nest_and_may_be_absent_or_empty() -> None:
    inner = varints(1, np.array([0, 300, 7]))
    outer = message(2, [inner, constant(b"\x10\x01", 3)], np.array([True, True, False]))
    assert rows_of(outer) == [b"\x12\x02\x10\x01", b"\x12\x05\x08\xac\x02\x10\x01", b""]
    assert rows_of(message(5, [varints(1, np.zeros(2, int))])) == [b"\x2a\x00"] * 2  # present and empty


def test_a_long_message_has_a_long_length() -> None:
    rows = rows_of(message(1, [texts([b"x" * 200, b"", b"y" * 20_000])]))
    assert rows == [b"\x0a\xc8\x01" + b"x" * 200, b"\x0a\x00", b"\x0a\xa0\x9c\x01" + b"y" * 20_000]


def test_no_rows_at_all() -> None:
    assert rows_of(message(1, [varints(1, np.empty(0, int)), doubles(2, np.empty(0))])) == []
