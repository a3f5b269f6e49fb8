"""Layer 2, feed process, hot: Kite's binary frames to TICK records (the C is in kite_packet.h).

One decoder belongs to one connection and one thread: between two calls for the same frame it
remembers how many packets are left.
"""

import numpy as np

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from khft_layout cimport *
from kite_hft._sink cimport Decoder

from kite_hft.layout import COUNTERS, NO_SLOT, TICK

cdef extern from "kite_packet.h" nogil:
    ctypedef struct kite_entry_t:
        uint32_t token
        uint32_t slot

    ctypedef struct kite_shuffle_t:
        pass

    ctypedef struct kite_decoder_t:
        kite_entry_t* entries
        uint64_t* counts
        const kite_shuffle_t* shuffle
        uint32_t shift
        uint32_t packets_left
        uint8_t connection

    int kite_wide_supported()
    void kite_shuffle_build(kite_shuffle_t*)
    int kite_insert(kite_decoder_t*, uint32_t token, uint32_t slot)
    int kite_decode(
        kite_decoder_t*, const uint8_t* frame, size_t size, int64_t recv_ns,
        khft_tick_t* out, int capacity, size_t* cursor
    )

TOKENS_MAX = 1 << 24
PACKET_BYTES_MIN = 10  # length prefix and the smallest packet that becomes a tick
COUNTED_WORDS = (
    FEED_RECEIVED, FEED_DECODED, FEED_UNKNOWN_INSTRUMENT, FEED_MALFORMED_SHORT_FRAME,
    FEED_MALFORMED_WRONG_COUNT, FEED_MALFORMED_UNKNOWN_LENGTH, FEED_MALFORMED_CUT_PACKET,
    FEED_MALFORMED_TRAILING_BYTES, FEED_MALFORMED_PRICE_RANGE, FEED_CHECKSUM_DECODED,
)

cdef kite_shuffle_t shuffle
kite_shuffle_build(&shuffle)


cdef class KiteDecoder(Decoder):
    """Decoder of one Kite connection.

    tokens: (n,) uint32 instrument tokens; slots: (n,) uint32, the slot of each.
    connection: what TICK.connection says. portable: leave out the AVX-512 path even where the
    processor has it; the ticks are the same to the bit.

    Raises ValueError: shapes differ, a token twice, a slot that is NO_SLOT, too many tokens.
    """

    cdef kite_decoder_t state
    cdef readonly object live_counts
    cdef readonly object counted

    def __cinit__(self, tokens: np.ndarray, slots: np.ndarray, connection: int = 0, portable: bool = False):
        # Exact types: a silent cast would wrap a wrong token into somebody else's.
        for name, values in (("tokens", tokens), ("slots", slots)):
            if not isinstance(values, np.ndarray) or values.dtype != np.uint32 or values.ndim != 1:
                raise ValueError(f"{name} must be a one-dimensional uint32 array")
        if len(tokens) != len(slots):
            raise ValueError(f"{len(tokens)} tokens, but {len(slots)} slots")
        if len(tokens) > TOKENS_MAX:
            raise ValueError(f"{len(tokens)} tokens, at most {TOKENS_MAX}")
        self.live_counts = np.zeros(len(COUNTERS["feed"]), np.uint64)
        self.state.counts = <uint64_t*> <size_t> self.live_counts.ctypes.data
        self.state.connection = connection
        self.heartbeat_bytes = 1
        self.counted = COUNTED_WORDS
        self.state.shuffle = NULL if portable or not kite_wide_supported() else &shuffle
        # At most half full: few probes, and the table stays small enough for L2.
        cdef int bits = max(4, (2 * len(tokens) - 1).bit_length())
        cdef size_t i, room = (<size_t> 1) << bits
        self.state.shift = 32 - bits
        self.state.entries = <kite_entry_t*> malloc(room * sizeof(kite_entry_t))
        if self.state.entries == NULL:
            raise MemoryError()
        for i in range(room):
            self.state.entries[i] = kite_entry_t(token=0, slot=KHFT_NO_SLOT)
        for token, slot in zip(tokens.tolist(), slots.tolist(), strict=True):
            if slot == NO_SLOT:
                raise ValueError(f"token {token} has no slot")
            if kite_insert(&self.state, token, slot):
                raise ValueError(f"token {token} is there twice")

    def __dealloc__(self):
        free(self.state.entries)

    cdef int decode(
        self, const uint8_t* frame, size_t size, int64_t recv_ns,
        khft_tick_t* out, int capacity, size_t* cursor
    ) noexcept nogil:
        return kite_decode(&self.state, frame, size, recv_ns, out, capacity, cursor)

    def decode_frame(self, frame: bytes | memoryview, int64_t recv_ns=0, int capacity=0) -> np.ndarray:
        """All ticks of one frame as a new TICK array: for tools and tests.

        frame: any contiguous buffer. capacity: decode at most so many ticks per call of the C
        method (0: all in one call); the result does not depend on it.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
        cdef size_t cursor = 0, size = view.len
        cdef int total = 0, room = view.len // PACKET_BYTES_MIN + 1
        cdef khft_tick_t* ticks
        try:
            out = np.empty(room, TICK)
            ticks = <khft_tick_t*> <size_t> out.ctypes.data
            while True:
                total += self.decode(
                    <const uint8_t*> view.buf, size, recv_ns, ticks + total,
                    min(capacity, room - total) if capacity > 0 else room - total, &cursor,
                )
                if cursor == size:
                    return out[:total].copy()
        finally:
            PyBuffer_Release(&view)

    def decode_frames(self, frames: list[bytes], out: np.ndarray, int64_t recv_ns=0) -> int:
        """Frames one after another into `out` (TICK, contiguous); returns the number of ticks.

        Raises ValueError: `out` is no contiguous TICK array, or too small (what it holds is valid,
        the rest of the frames is not looked at).
        """
        if out.dtype != TICK:
            raise ValueError("out is no TICK array")
        cdef Py_buffer view
        PyObject_GetBuffer(out, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        cdef khft_tick_t* ticks = <khft_tick_t*> view.buf
        cdef int total = 0, room = view.len // sizeof(khft_tick_t)
        cdef size_t cursor, size
        cdef const uint8_t* data
        cdef bytes frame
        try:
            for frame in frames:
                data, size, cursor = frame, len(frame), 0
                total += self.decode(data, size, recv_ns, ticks + total, room - total, &cursor)
                if cursor != size:
                    raise ValueError(f"out has room for {room} ticks only")
            return total
        finally:
            PyBuffer_Release(&view)

    def counts(self) -> dict[str, int]:
        """What this decoder counted, by the names of layout.COUNTERS["feed"].

        `live_counts` is the same as a uint64 array that is always current, indexed as the feed's
        counters; words that are not the decoder's (`counted` has those that are) stay 0.
        """
        return {name: int(n) for name, n in zip(COUNTERS["feed"], self.live_counts, strict=True)}

    @property
    def path(self) -> str:
        """Which code decodes tradable packets: "avx512" or "portable"."""
        return "portable" if self.state.shuffle == NULL else "avx512"

    @property
    def received(self) -> int:
        """Whole packets seen: decoded + unknown_instrument + unknown_length + price_range."""
        return self.state.counts[FEED_RECEIVED]

    @property
    def decoded(self) -> int:
        """Ticks written."""
        return self.state.counts[FEED_DECODED]

    @property
    def unknown_instrument(self) -> int:
        """Packets of a token that was not given to the constructor."""
        return self.state.counts[FEED_UNKNOWN_INSTRUMENT]

    @property
    def checksum(self) -> int:
        """Sum of khft_tick_checksum(token, last_px, volume) over all ticks written, mod 2^64."""
        return self.state.counts[FEED_CHECKSUM_DECODED]

    @property
    def malformed(self) -> dict[str, int]:
        """Malformed frames or packets by class (kite_packet.h says which counts what)."""
        prefix, names = "malformed_", COUNTERS["feed"]
        found = ((names[word], self.live_counts[word]) for word in sorted(self.counted))
        return {name.removeprefix(prefix): int(n) for name, n in found if name.startswith(prefix)}
