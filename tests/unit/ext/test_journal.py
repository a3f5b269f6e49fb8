"""The compiled bytes of journal records, against struct, zlib and the slow words of an INTENT."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft import _journal
from kite_hft.memory.journal import LAG_MAX, MARK, Kind
from kite_hft.trading.order import Order
from kite_hft.trading.records import intent_payload, intent_words

words32, words64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-100, 100))


@given(st.binary(max_size=700), words32)
def test_crc32_is_zlibs(data: bytes, before: int) -> None:
    assert _journal.crc32(data, before) == zlib.crc32(data, before)
    assert _journal.crc32(data) == zlib.crc32(data)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 33, 47, 48, 4096, 1 << 20])
def test_crc32_at_the_seams(size: int) -> None:
    data = bytes(i * 7 & 0xFF for i in range(256)) * (size // 256 + 1)
    assert _journal.crc32(data[:size]) == zlib.crc32(data[:size])
    assert _journal.crc32(data[1 : size + 1], 5) == zlib.crc32(data[1 : size + 1], 5)


@given(
    st.sampled_from(list(Kind)), words64, st.integers(-(2**63), 2**63 - 1), st.binary(max_size=600),
    words32, words32, st.one_of(st.integers(0, 10), st.integers(LAG_MAX - 2, 2**40)),
)  # fmt: skip
def test_a_record_as_struct_packs_it(
    kind: Kind, seq: int, time_ns: int, payload: bytes, before: int, seed: int, lag: int
) -> None:
    body = struct.pack("<IIQqHHI", before, len(payload), seq, time_ns, kind, min(lag, LAG_MAX), 0) + payload
    crc = zlib.crc32(body, seed)
    made = _journal.encode(kind, seq, time_ns, payload, before=before, seed=seed, lag=lag)
    assert made == (MARK + struct.pack("<I", crc) + body, crc)
    assert len(made[0]) == _journal.RECORD_BYTES + len(payload)


tags = st.one_of(st.text("abcz019Z", max_size=20), st.text(max_size=80))


@given(
    st.lists(numbers, min_size=12, max_size=12), tags, st.booleans(), numbers,
    st.tuples(numbers, numbers, numbers), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_an_intent_as_the_slow_words_tell_it(
    words: list[int], tag: str, opening: bool, parent: int, judged: tuple[int, int, int], token: int
) -> None:
    order = Order(*words, tag, parent, opening=opening, parent=parent)
    assert intent_payload(order, token, judged) == intent_words(order, token, judged)


def test_what_is_beyond_int64_or_no_plain_tag_is_told_slowly() -> None:
    order = Order(1, 2, 2**63, 4, 1, 1, 1, 1, 0, 5, 6, 0, "abc")
    assert b'"seq":9223372036854775808,' in intent_payload(order, 7, (1, 2, 3))
    order.strategy_seq, order.tag = 3, 'quote"d'
    assert b'"tag":"quote\\"d"' in intent_payload(order, 7, (1, 2, 3))
