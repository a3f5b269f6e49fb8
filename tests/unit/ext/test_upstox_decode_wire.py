"""Upstox's wire by hand: orders, repetitions and merges as protobuf has them, faults, keys of all kinds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from upstox_tools import counted, make_decoder

from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.layout import TickKind

OPTION, SHARE, INDEX = "NSE_FO|55775", "NSE_EQ|INE002A01018", "NSE_INDEX|Nifty 50"
KEYS = [OPTION, SHARE, INDEX]


class CodePath:
    """Which code path the tests below run on: the fixture sets it."""

    portable = False


@pytest.fixture(autouse=True, params=["this processor", "portable"])
def code_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CodePath, "portable", request.param == "portable")


def decoder_of(keys: list[str] = KEYS, **more: Any) -> UpstoxDecoder:
    return make_decoder(keys, portable=CodePath.portable, **more)


def one(ticks: np.ndarray) -> np.void:
    (tick,) = ticks
    return tick


def field(number: int, data: bytes) -> bytes:
    size, head = len(data), bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *head, size]) + data


def entry(key: bytes, *feeds: bytes) -> bytes:
    return field(2, field(1, key) + b"".join(field(2, feed) for feed in feeds))


def price(ltp: float) -> bytes:
    return b"\x09" + struct.pack("<d", ltp)


def test_an_entry_keeps_its_unknown_fields_to_itself() -> None:
    """Here we differ from upb, which throws such an entry away."""
    decoder = decoder_of()
    odd = field(2, field(1, OPTION.encode()) + field(2, field(1, price(5))) + b"\x18\x07")
    assert one(decoder.decode_frame(odd))["last_px"] == 500 and not decoder.malformed["message"]


def test_the_last_key_value_and_member_stand_and_parts_are_merged() -> None:
    key = OPTION.encode()
    decoder = decoder_of()
    # Value before key, two keys, a Feed in two parts whose LTPC is merged.
    parts = field(2, field(2, field(1, price(5))) + field(1, b"NSE_FO|1") + field(1, key)
                  + field(2, field(1, b"\x18\x07")))  # fmt: skip
    tick = one(decoder.decode_frame(parts))
    assert (tick["last_px"], tick["last_qty"]) == (500, 7)
    # The same key again: the former entry is gone whole.
    tick = one(
        decoder.decode_frame(entry(key, field(1, price(5) + b"\x18\x07")) + entry(key, field(1, price(6))))
    )
    assert (tick["last_px"], tick["last_qty"]) == (600, 0)
    # Another member of a oneof puts the first one out, back and forth.
    full_feed = field(2, field(1, field(1, price(7)) + b"\x30\x09"))
    tick = one(decoder.decode_frame(entry(key, field(1, price(5) + b"\x18\x07") + full_feed)))
    assert (tick["kind"], tick["last_px"], tick["last_qty"], tick["volume"]) == (TickKind.FULL, 700, 0, 9)
    tick = one(decoder.decode_frame(entry(key, full_feed + field(1, price(8)))))
    assert (tick["kind"], tick["last_px"], tick["volume"]) == (TickKind.LTP, 800, 0)
    index_feed = field(2, field(2, field(1, price(9))))
    tick = one(decoder.decode_frame(entry(key, full_feed, index_feed)))
    assert (tick["kind"], tick["last_px"], tick["volume"]) == (TickKind.INDEX_FULL, 900, 0)


def test_entries_before_a_fault_stand() -> None:
    good, bad = entry(OPTION.encode(), field(1, price(5))), entry(SHARE.encode(), field(1, b"\x09\x00"))
    behind = entry(INDEX.encode(), field(1, price(6)))
    for faulty in (bad, entry(b"NSE_FO|1", b"\x0f"), entry(b"\xff", b""), b"\x00\x01", b"\x12\x7f"):
        decoder = decoder_of()
        ticks = decoder.decode_frame(good + faulty + behind)
        assert ticks["last_px"].tolist() == [500] and decoder.malformed["message"] == 1
    # Nobody reads an entry that a later one replaces, but it has to be one.
    decoder = decoder_of()
    replaced = entry(SHARE.encode(), field(1, price(7)))
    assert decoder.decode_frame(good + bad + behind + replaced)["last_px"].tolist() == [500]
    assert decoder.malformed["message"] == 1 and decoder.received == 1


@pytest.mark.parametrize(("deep", "is_good"), [(100, True), (101, False)])
def test_groups_are_skipped_as_deep_as_protobuf_goes(deep: int, is_good: bool) -> None:
    """A hundred of them or of messages in one another; an LTPC in a Feed in an entry is the third."""
    decoder = decoder_of()
    top = b"\x9b\x06" * deep + b"\x9c\x06" * deep
    ticks = decoder.decode_frame(entry(SHARE.encode(), field(1, price(4))) + top)
    assert ticks["last_px"].tolist() == [400] and decoder.malformed["message"] == (not is_good)
    inner = b"\x9b\x06" * (deep - 3) + b"\x9c\x06" * (deep - 3)
    ticks = decoder.decode_frame(entry(OPTION.encode(), field(1, price(5) + inner)))
    assert len(ticks) == is_good
    for odd in (b"\x9b\x06\xa4\x06", b"\x9c\x06", b"\x9b\x06\x08\x01", b"\x9e\x06\x01"):
        before = decoder.malformed["message"]
        decoder.decode_frame(odd)
        assert decoder.malformed["message"] == before + 1


def test_a_key_may_come_a_thousand_times() -> None:
    decoder = decoder_of()
    many = b"".join(entry(OPTION.encode(), field(1, price(i + 1))) for i in range(1000))
    ticks = decoder.decode_frame(entry(SHARE.encode(), field(1, price(9))) + many)
    assert ticks["last_px"].tolist() == [900, 100_000] and counted(decoder) == {"received": 2, "decoded": 2}


def test_keys_of_all_lengths_are_told_apart() -> None:
    keys = [letter * n for n in range(1, 56) for letter in ("a", "b")]
    keys += ["x" * 8 + str(i) + "x" * 30 for i in range(10)] + [f"NSE_FO|{i}" for i in range(40_000, 43_000)]
    decoder = decoder_of(keys)
    for at in range(0, len(keys), 500):
        part = keys[at : at + 500]
        ticks = decoder.decode_frame(b"".join(entry(key.encode(), field(1, price(3))) for key in part))
        assert ticks["slot"].tolist() == [len(keys) - 1 - (at + i) for i in range(len(part))]
    assert len(decoder.decode_frame(entry(b"a" * 200, field(1, price(3))))) == 0
    assert decoder.unknown_instrument == 1
