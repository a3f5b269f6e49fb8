"""Layer 2, feed process, cold: TICK records that are made already, as a decoder.

Where prices come as JSON (datafeed.primary_source: http) the broker's adapter makes the rows; a frame is
then those rows, 192 bytes each, and they go the way of every tick. What a row may not say itself is
written here: when it came, on which connection, and no number of a ring.
"""

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from khft_layout cimport *
from kite_hft._sink cimport Decoder

from kite_hft.layout import COUNTERS

cdef extern from "checksum.h" nogil:
    uint64_t khft_tick_checksum(uint32_t token, int32_t px, int64_t volume)

COUNTED_WORDS = (
    FEED_RECEIVED, FEED_DECODED, FEED_UNKNOWN_INSTRUMENT, FEED_MALFORMED_TRAILING_BYTES,
    FEED_CHECKSUM_DECODED,
)


cdef class TickRowDecoder(Decoder):
    """Decoder of one connection whose frames are TICK rows.

    tokens: (slots,) uint32, the token of each slot; a row of another slot is counted as of an unknown
    instrument. connection: what TICK.connection says.

    Raises ValueError: tokens are no one-dimensional uint32 array.
    """

    cdef uint64_t* counts
    cdef uint32_t* tokens
    cdef uint32_t slots
    cdef uint8_t connection
    cdef object keep
    cdef readonly object live_counts
    cdef readonly object counted

    def __cinit__(self, tokens: np.ndarray, connection: int = 0):
        if not isinstance(tokens, np.ndarray) or tokens.dtype != np.uint32 or tokens.ndim != 1:
            raise ValueError("tokens must be a one-dimensional uint32 array")
        own = np.ascontiguousarray(tokens)
        self.keep = own
        self.tokens = <uint32_t*> <size_t> own.ctypes.data
        self.slots = len(own)
        self.connection = connection
        self.live_counts = np.zeros(len(COUNTERS["feed"]), np.uint64)
        self.counts = <uint64_t*> <size_t> self.live_counts.ctypes.data
        self.counted = COUNTED_WORDS
        self.heartbeat_bytes = 0

    @property
    def answers(self) -> bool:
        """True: these are answers to questions. Their stamps tell when something changed, not how late they are."""
        return True

    cdef int decode(
        self, const uint8_t* frame, size_t size, int64_t recv_ns,
        khft_tick_t* out, int capacity, size_t* cursor
    ) noexcept nogil:
        cdef int n = 0
        cdef khft_tick_t* tick
        while n < capacity and size - cursor[0] >= sizeof(khft_tick_t):
            tick = out + n
            memcpy(tick, frame + cursor[0], sizeof(khft_tick_t))
            cursor[0] += sizeof(khft_tick_t)
            self.counts[FEED_RECEIVED] += 1
            if tick.slot >= self.slots:
                self.counts[FEED_UNKNOWN_INSTRUMENT] += 1
                continue
            tick.seq = 0
            tick.recv_ns = recv_ns
            tick.connection = self.connection
            self.counts[FEED_DECODED] += 1
            self.counts[FEED_CHECKSUM_DECODED] += khft_tick_checksum(
                self.tokens[tick.slot], tick.last_px, tick.volume
            )
            n += 1
        if size - cursor[0] < sizeof(khft_tick_t):
            if cursor[0] != size:
                self.counts[FEED_MALFORMED_TRAILING_BYTES] += 1
            cursor[0] = size
        return n
