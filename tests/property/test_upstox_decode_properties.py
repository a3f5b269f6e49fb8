"""Upstox frames of all shapes, cut anywhere: equal to the slow twin, nothing read outside, pauses unseen."""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.upstox_frames import Twin
from reference.upstox_wire import WireError, parse
from upstox_tools import assert_same, counted, make_decoder, make_twin

from kite_hft.verify.prices import upstox_cases as cases

PAGE = mmap.PAGESIZE
ROOM = 16 * PAGE
KEYS = list(cases.KEYS)
TABLE = cases.cells()


class GuardedBuffer:
    """Memory whose last byte lies right before a page that must not be read."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, ROOM + PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.protect(0)

    def protect(self, rights: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(self.address + ROOM), ctypes.c_size_t(PAGE), rights):
            raise OSError(ctypes.get_errno(), "mprotect")

    def holding(self, data: bytes) -> memoryview:
        self.memory[ROOM - len(data) : ROOM] = data
        return memoryview(self.memory)[ROOM - len(data) : ROOM]


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedBuffer]:
    buffer = GuardedBuffer()
    yield buffer
    buffer.protect(mmap.PROT_READ | mmap.PROT_WRITE)


def frames_of(seed: int, n: int) -> list[bytes]:
    """Frames as the verify campaign makes them: extremes and shapes, some of them spoiled."""
    rng, maker = random.Random(seed), cases.Maker(seed)
    return [
        cases.make_frame(rng, maker, rng.sample(range(len(TABLE)), rng.randrange(1, 4)), TABLE).data
        for _ in range(n)
    ]


def is_message(data: bytes) -> bool:
    try:
        parse("FeedResponse", data)
    except WireError:
        return False
    return True


def twin_counts(twin: Twin) -> dict[str, int]:
    return {name: n for name, n in twin.counts.items() if n}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_a_connection_is_what_the_twin_says(guarded: GuardedBuffer, seed: int, portable: bool) -> None:
    decoder, twin = make_decoder(KEYS, portable=portable), make_twin(KEYS)
    for turn, data in enumerate(frames_of(seed, 6)):
        if not is_message(data):
            continue
        ticks, aux = decoder.decode_both(guarded.holding(data), turn)
        assert_same(ticks, aux, twin.frame(data), turn)
        ours, theirs = counted(decoder), twin_counts(twin)
        # A key that stands twice in a frame is one of protobuf's map: nobody keeps those that are not ours.
        doubled = ours.get("unknown_instrument", 0) - theirs.get("unknown_instrument", 0)
        assert doubled >= 0
        if doubled:
            theirs["unknown_instrument"] = theirs.get("unknown_instrument", 0) + doubled
            theirs["received"] += doubled
        assert ours == theirs


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_malformed_is_what_the_twin_cannot_parse(guarded: GuardedBuffer, seed: int, portable: bool) -> None:
    decoder = make_decoder(KEYS, portable=portable)
    rng = random.Random(seed)
    data = cases.spoiled(rng, frames_of(seed, 1)[0]) if seed % 4 else rng.randbytes(rng.randrange(60))
    decoder.decode_both(guarded.holding(data), 1)
    assert decoder.malformed["message"] == (not is_message(data))
    counts = decoder.counts()
    parts = ("decoded", "unknown_instrument", "malformed_price_range", "malformed_not_finite")
    assert counts["received"] == sum(counts[name] for name in parts)


@pytest.mark.parametrize("portable", [False, True])
def test_cut_at_every_byte(guarded: GuardedBuffer, portable: bool) -> None:
    """Entries before the cut stand, with the time of the frame where that came before; never a crash."""
    rng, maker = random.Random(5), cases.Maker(5)
    feeds = [maker.feed(cases.Cell(branch, (), "", "")) for branch in cases.BRANCHES]
    parts = [cases.packed([(1, 0, 1)]), cases.packed([(3, 0, 1_795_416_300_000)])]
    parts += [cases.entry(rng, key, feed, "plain", []) for key, feed in zip(KEYS, feeds, strict=False)]
    whole = b"".join(parts)
    ends = {sum(map(len, parts[:n])): n for n in range(len(parts) + 1)}
    everything, _ = make_decoder(KEYS).decode_both(whole, 3)
    assert len(everything) == len(feeds)
    done = 0
    for at in range(len(whole) + 1):
        decoder = make_decoder(KEYS, portable=portable)
        ticks = decoder.decode_frame(guarded.holding(whole[:at]), 3)
        done = max(0, ends.get(at, done + 2) - 2)
        assert ticks["last_px"].tolist() == everything["last_px"][:done].tolist(), at
        assert decoder.malformed["message"] == (at not in ends)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_pausing_changes_nothing(seed: int) -> None:
    stream = frames_of(seed, 4)
    results: list[Any] = []
    for capacity in (0, 1, 2, 3):
        decoder = make_decoder(KEYS, portable=capacity % 2 == 1)
        made = [decoder.decode_both(data, 9, capacity) for data in stream]
        results.append(([(t.tobytes(), a.tobytes()) for t, a in made], decoder.counts(), decoder.saturated))
    assert all(result == results[0] for result in results)
