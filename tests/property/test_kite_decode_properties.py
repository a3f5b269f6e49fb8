"""Any bytes: never a read outside, exact accounting, and no dependence on where decoding pauses."""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft._kite_decode import KiteDecoder
from kite_hft.brokers.kite.wire import WireError, parse_text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
from kite_frames import PRICES, split_frame

PAGE = mmap.PAGESIZE
ROOM = 8 * PAGE
TOKENS = np.array([0, 1 << 8 | 9, 408065, 1024003, 2**32 - 1], np.uint32)
KNOWN = set(TOKENS.tolist())


class GuardedBuffer:
    """Memory whose last byte lies right before a page that must not be read."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, ROOM + PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.protect(0)

    def protect(self, rights: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        pointer = ctypes.c_void_p(self.address + ROOM)
        if libc.mprotect(pointer, ctypes.c_size_t(PAGE), rights):
            raise OSError(ctypes.get_errno(), "mprotect")

    def holding(self, data: bytes) -> memoryview:
        self.memory[ROOM - len(data) : ROOM] = data
        return memoryview(self.memory)[ROOM - len(data) : ROOM]


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedBuffer]:
    buffer = GuardedBuffer()
    yield buffer
    buffer.protect(mmap.PROT_READ | mmap.PROT_WRITE)


def make_decoder(portable: bool = False) -> KiteDecoder:
    return KiteDecoder(TOKENS, np.arange(len(TOKENS), dtype=np.uint32), portable=portable)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    length = draw(st.sampled_from([*PRICES, *PRICES, 0, 3, 99, 185]))
    body = bytearray(draw(st.binary(min_size=length, max_size=length)))
    if length >= 4:
        token = draw(st.sampled_from([*TOKENS.tolist(), *TOKENS.tolist(), 77]))
        body[:4] = struct.pack(">I", token)
    if draw(st.integers(0, 3)):
        for at in PRICES.get(length, []):
            body[at] &= 0x7F
    return struct.pack(">H", length) + bytes(body)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Nearly right frames: the count and the end may be wrong."""
    inside = draw(st.lists(packets(), max_size=12))
    count = draw(st.one_of(st.just(len(inside)), st.integers(0, 14), st.just(65535)))
    frame = struct.pack(">H", count) + b"".join(inside) + draw(st.sampled_from([b"", b"", b"\0", b"xyz"]))
    cut = draw(st.one_of(st.just(0), st.just(0), st.integers(0, len(frame))))
    return frame[: len(frame) - cut]


ANY_FRAME = st.one_of(frames(), frames(), st.binary(max_size=600))


def read_packet(packet: bytes) -> tuple[int, int]:
    return struct.unpack(">2I", packet[:8])


@settings(max_examples=600, deadline=None)
@given(ANY_FRAME, st.integers(0, 14), st.booleans())
def test_accounting_and_memory(guarded: GuardedBuffer, frame: bytes, capacity: int, portable: bool) -> None:
    decoder = make_decoder(portable)
    ticks = decoder.decode_frame(guarded.holding(frame), 3, capacity)
    good, expected = split_frame(frame, KNOWN)
    names = {name.removeprefix("malformed_"): n for name, n in decoder.counts().items()}
    del names["checksum_decoded"]
    assert {name: n for name, n in names.items() if n} == dict(expected)
    assert [(int(TOKENS[t["slot"]]), int(t["last_px"])) for t in ticks] == [read_packet(p) for p in good]
    # Each good packet alone gives the same record: nothing leaks from its neighbours.
    other = make_decoder(not portable)  # and by the other code path
    alone = [other.decode_frame(b"\0\1" + struct.pack(">H", len(p)) + p, 3) for p in good]
    assert ticks.tobytes() == b"".join(tick.tobytes() for tick in alone)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_FRAME, min_size=1, max_size=4))
def test_pausing_changes_nothing(stream: list[bytes]) -> None:
    results = []
    for capacity in (0, 1, 2, 3, 5, 8, 13):
        decoder = make_decoder(portable=capacity % 2 == 1)
        ticks = b"".join(decoder.decode_frame(frame, 9, capacity).tobytes() for frame in stream)
        results.append((ticks, decoder.counts()))
    assert all(result == results[0] for result in results)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=100), st.text(max_size=50).map(str.encode)))
def test_text_frames_never_surprise(text: bytes) -> None:
    try:
        kind, _data = parse_text(text)
    except WireError:
        return
    assert kind in ("order", "error", "message")
