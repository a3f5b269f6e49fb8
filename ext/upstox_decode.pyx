"""Layer 2, feed process, hot: Upstox's V3 frames to TICK and AUX records (the C is in upstox_frame.h).

One decoder belongs to one connection and one thread. It knows what it told last of each instrument,
because messages leave out what did not change; `reset` forgets that on a new connection. Between two
calls for the same frame it remembers which entries are left.
"""

import numpy as np

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from aux_out cimport aux_out_t
from khft_layout cimport *
from kite_hft._sink cimport Decoder

from kite_hft.layout import AUX, COUNTERS, NO_SLOT, TICK

cdef extern from "stdlib.h" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "upstox_frame.h" nogil:
    ctypedef struct upstox_bucket_t:
        uint32_t row

    ctypedef struct upstox_key_t:
        pass

    ctypedef struct upstox_keys_t:
        upstox_bucket_t* buckets
        upstox_key_t* keys
        uint32_t mask

    ctypedef struct upstox_row_t:
        double scale, step, inverse_step
        uint32_t slot, token
        uint16_t index_flag

    ctypedef struct upstox_entry_t:
        pass

    ctypedef struct upstox_market_t:
        int64_t status, updated_ms
        uint8_t known

    ctypedef struct upstox_markets_t:
        upstox_market_t of[3][11]

    ctypedef struct upstox_decoder_t:
        upstox_keys_t keys
        upstox_row_t* rows
        uint32_t n_rows
        uint64_t* counts
        aux_out_t aux
        upstox_markets_t markets
        uint64_t saturated
        uint8_t connection, gather
        upstox_entry_t* entries

    enum:
        UPSTOX_KEY_BYTES_MAX
        UPSTOX_NO_ROW
        UPSTOX_SEGMENTS_N
        UPSTOX_AUX_ROOM_MIN
        UPSTOX_WORDS_N
    const char** UPSTOX_SEGMENTS
    const char** UPSTOX_WORDS
    int upstox_key_insert(upstox_keys_t*, const uint8_t* key, size_t size, uint32_t row)
    int wire_can_gather()
    void upstox_reset(upstox_decoder_t*)
    void upstox_forget(upstox_row_t*)
    int upstox_decode(
        upstox_decoder_t*, const uint8_t* frame, size_t size, int64_t recv_ns,
        khft_tick_t* out, int capacity, size_t* cursor
    )

KEYS_MAX = 1 << 20
SEGMENTS = tuple(UPSTOX_SEGMENTS[i].decode() for i in range(UPSTOX_SEGMENTS_N))
"""`part` of a MARKET record is the place of its segment here."""
STATUS_WORDS = tuple(UPSTOX_WORDS[i].decode() for i in range(UPSTOX_WORDS_N))
"""Status of a MARKET record of the closing auction or the pre-open: the place of its word; -1: another."""
AUX_ROOM_MIN = UPSTOX_AUX_ROOM_MIN
"""Least number of AUX records that a buffer for them must hold."""
COUNTED_WORDS = (
    FEED_RECEIVED, FEED_DECODED, FEED_UNKNOWN_INSTRUMENT, FEED_MALFORMED_PRICE_RANGE,
    FEED_MALFORMED_MESSAGE, FEED_MALFORMED_NOT_FINITE, FEED_OFF_GRID, FEED_CARRIED,
    FEED_MARKET_INFOS, FEED_AUX_DROPPED, FEED_CHECKSUM_DECODED,
)


cdef class UpstoxDecoder(Decoder):
    """Decoder of one Upstox connection.

    keys: n instrument keys, as "NSE_FO|55775". slots: (n,) uint32, the slot of each. scales: (n,)
    float64, units per rupee. tick_px: (n,) int32, the tick size in units (0: none; an index has
    none either). connection: what TICK.connection says. tokens: (n,) uint32, the tokens of the
    instruments for the checksum; None: zeros. portable: leave out AVX2 and BMI2 even where the
    processor has them; the ticks are the same to the bit.

    Raises ValueError: lengths or types differ, a key twice, empty or of more than 55 bytes, a slot
    that is NO_SLOT, a scale that is not positive, a negative tick size.
    """

    cdef upstox_decoder_t state
    cdef readonly object live_counts
    cdef readonly object counted
    cdef object aux_buffer
    cdef dict row_of

    def __cinit__(
        self, keys: list[str], slots: np.ndarray, scales: np.ndarray, tick_px: np.ndarray,
        connection: int = 0, tokens: np.ndarray | None = None, portable: bool = False,
    ):
        cdef uint32_t n = len(keys)
        if len(keys) > KEYS_MAX:
            raise ValueError(f"{len(keys)} keys, at most {KEYS_MAX}")
        if tokens is None:
            tokens = np.zeros(n, np.uint32)
        # Exact types: a silent cast would wrap a wrong slot into somebody else's.
        for name, values, dtype in (
            ("slots", slots, np.uint32), ("scales", scales, np.float64), ("tick_px", tick_px, np.int32),
            ("tokens", tokens, np.uint32),
        ):
            if not isinstance(values, np.ndarray) or values.dtype != dtype or values.ndim != 1:
                raise ValueError(f"{name} must be a one-dimensional {dtype.__name__} array")
            if len(values) != len(keys):
                raise ValueError(f"{len(keys)} keys, but {len(values)} {name}")
        self.live_counts = np.zeros(len(COUNTERS["feed"]), np.uint64)
        self.counted = COUNTED_WORDS
        self.state.counts = <uint64_t*> <size_t> self.live_counts.ctypes.data
        self.state.connection = connection
        self.state.gather = not portable and wire_can_gather()
        self.aux = &self.state.aux
        self.row_of = dict(zip(slots.tolist(), range(n), strict=True))
        self._allocate(n)
        for row in range(n):
            self._add(row, keys[row], int(slots[row]), float(scales[row]), int(tick_px[row]), int(tokens[row]))

    cdef int _allocate(self, uint32_t n) except -1:
        # At most a quarter full: hardly a second probe.
        cdef size_t i, room = (<size_t> 1) << max(4, int(4 * n).bit_length())
        self.state.n_rows = n
        self.state.keys.mask = room - 1
        self.state.keys.buckets = <upstox_bucket_t*> calloc(room, sizeof(upstox_bucket_t))
        self.state.keys.keys = <upstox_key_t*> aligned_alloc(64, (n + 1) * sizeof(upstox_key_t))
        self.state.rows = <upstox_row_t*> aligned_alloc(64, (n + 1) * sizeof(upstox_row_t))
        self.state.entries = <upstox_entry_t*> calloc(2 * <size_t> n + 1, sizeof(upstox_entry_t))
        if (
            self.state.keys.buckets == NULL or self.state.keys.keys == NULL
            or self.state.rows == NULL or self.state.entries == NULL
        ):
            raise MemoryError()
        memset(self.state.rows, 0, (n + 1) * sizeof(upstox_row_t))
        memset(self.state.keys.keys, 0, (n + 1) * sizeof(upstox_key_t))
        for i in range(room):
            self.state.keys.buckets[i].row = UPSTOX_NO_ROW
        return 0

    cdef int _add(
        self, uint32_t number, str key, object slot, double scale, object tick_px, object token
    ) except -1:
        cdef bytes name = key.encode()
        if not 0 < len(name) <= UPSTOX_KEY_BYTES_MAX:
            raise ValueError(f"key {key!r} has {len(name)} bytes, not 1 to {UPSTOX_KEY_BYTES_MAX}")
        if slot == NO_SLOT:
            raise ValueError(f"key {key!r} has no slot")
        if not 0 < scale < 1e12:
            raise ValueError(f"key {key!r} has {scale!r} units per rupee")
        if tick_px < 0:
            raise ValueError(f"key {key!r} has a tick size of {tick_px} units")
        if upstox_key_insert(&self.state.keys, name, len(name), number):
            raise ValueError(f"key {key!r} is there twice")
        cdef upstox_row_t* row = self.state.rows + number
        cdef bint is_index = key.partition("|")[0].endswith("_INDEX")
        row.slot, row.token, row.scale = slot, token, scale
        row.index_flag = TICK_FLAG_INDEX if is_index else 0
        row.step = 1.0 if is_index else max(1.0, <double> tick_px)
        row.inverse_step = 1.0 / row.step
        return 0

    def __dealloc__(self):
        free(self.state.keys.buckets)
        free(self.state.keys.keys)
        free(self.state.rows)
        free(self.state.entries)

    cdef int decode(
        self, const uint8_t* frame, size_t size, int64_t recv_ns,
        khft_tick_t* out, int capacity, size_t* cursor
    ) noexcept nogil:
        return upstox_decode(&self.state, frame, size, recv_ns, out, capacity, cursor)

    def reset(self) -> None:
        """A new connection: what was known of the instruments is forgotten."""
        upstox_reset(&self.state)

    def forget(self, uint32_t slot) -> None:
        """The same for one instrument: it is subscribed anew, or no longer."""
        row = self.row_of.get(slot)
        if row is not None:
            upstox_forget(self.state.rows + <size_t> row)

    def aux_out(self, buffer: np.ndarray | None, kinds: tuple[int, ...] = ()) -> None:
        """From now on leave AUX records in `buffer` (AUX, contiguous), from its start; None: make none.

        kinds: the values of AuxKind that are wanted; empty: all of a buffer, and none without one. What is
        wanted and has no buffer is counted as dropped. Whoever gives the buffer empties it between two calls
        (decode pauses where it is short of room).
        Raises ValueError: no contiguous AUX array of AUX_ROOM_MIN records or more.
        """
        cdef Py_buffer view
        cdef aux_out_t* aux = &self.state.aux
        aux.n, aux.room, aux.records = 0, 0, NULL
        if buffer is not None:
            if buffer.dtype != AUX or len(buffer) < AUX_ROOM_MIN:
                raise ValueError(f"AUX records go to an AUX array of {AUX_ROOM_MIN} or more")
            PyObject_GetBuffer(buffer, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            aux.records, aux.room = <khft_aux_t*> view.buf, len(buffer)
            PyBuffer_Release(&view)
        every = 0 if buffer is None else 0xFFFFFFFF
        aux.kinds = sum(1 << int(kind) for kind in set(kinds)) if kinds else every
        self.aux_buffer = buffer

    def decode_frame(self, frame: bytes | memoryview, int64_t recv_ns=0, int capacity=0) -> np.ndarray:
        """All ticks of one frame as a new TICK array: for tools and tests.

        frame: any contiguous buffer. capacity: decode at most so many ticks per call of the C
        method (0: all in one call); the result does not depend on it. AUX records are not made.
        """
        return self._decode(frame, recv_ns, capacity, None)

    def decode_both(
        self, frame: bytes | memoryview, int64_t recv_ns=0, int capacity=0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ticks and the AUX records of one frame as new arrays: for tools and tests."""
        parts = []
        buffer, kept = self.aux_buffer, self.state.aux.kinds
        self.aux_out(np.empty(AUX_ROOM_MIN, AUX))
        try:
            ticks = self._decode(frame, recv_ns, capacity, parts)
        finally:
            self.aux_out(buffer)
            self.state.aux.kinds = kept
        return ticks, np.concatenate(parts)

    cdef object _decode(self, object frame, int64_t recv_ns, int capacity, list parts):
        cdef Py_buffer view
        PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
        cdef size_t cursor = 0, size = view.len
        cdef aux_out_t aux = self.state.aux
        cdef int total = 0, room = self.state.n_rows + 1
        cdef khft_tick_t* ticks
        try:
            out = np.empty(room, TICK)
            ticks = <khft_tick_t*> <size_t> out.ctypes.data
            if parts is None:
                self.state.aux.records = NULL
            while True:
                total += self.decode(
                    <const uint8_t*> view.buf, size, recv_ns, ticks + total,
                    min(capacity, room - total) if capacity > 0 else room - total, &cursor,
                )
                if parts is not None:
                    parts.append(self.aux_buffer[: self.state.aux.n].copy())
                    self.state.aux.n = 0
                if cursor == size:
                    return out[:total].copy()
        finally:
            if parts is None:
                self.state.aux = aux
            PyBuffer_Release(&view)

    def decode_frames(self, frames: list[bytes], out: np.ndarray, int64_t recv_ns=0) -> int:
        """Frames one after another into `out` (TICK, contiguous); returns the number of ticks.

        AUX records go where `aux_out` said; what is there of the frame before is overwritten.
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
                while True:
                    self.state.aux.n = 0
                    total += self.decode(data, size, recv_ns, ticks + total, room - total, &cursor)
                    if cursor == size:
                        break
                    if total == room:
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

    def markets(self) -> dict[tuple[str, int], tuple[int, int]]:
        """What the server said last of the markets: (segment, phase) -> (status, epoch ms or 0).

        Phases: 1 of the day (status: MarketStatus of the schema), 2 closing auction, 3 pre-open
        (status: a place in STATUS_WORDS, or -1).
        """
        cdef int phase, segment
        found = {}
        for phase in range(3):
            for segment in range(UPSTOX_SEGMENTS_N):
                if self.state.markets.of[phase][segment].known:
                    found[SEGMENTS[segment], phase + 1] = (
                        self.state.markets.of[phase][segment].status,
                        self.state.markets.of[phase][segment].updated_ms,
                    )
        return found

    @property
    def path(self) -> str:
        """Which code decodes: "avx2" or "portable"."""
        return "avx2" if self.state.gather else "portable"

    @property
    def received(self) -> int:
        """Entries seen: decoded + unknown_instrument + price_range + not_finite."""
        return self.state.counts[FEED_RECEIVED]

    @property
    def decoded(self) -> int:
        """Ticks written."""
        return self.state.counts[FEED_DECODED]

    @property
    def unknown_instrument(self) -> int:
        """Entries of a key that was not given to the constructor."""
        return self.state.counts[FEED_UNKNOWN_INSTRUMENT]

    @property
    def saturated(self) -> int:
        """Quantities above 2^32 - 1 that were told as 2^32 - 1."""
        return self.state.saturated

    @property
    def checksum(self) -> int:
        """Sum of khft_tick_checksum(token, last_px, volume) over all ticks written, mod 2^64."""
        return self.state.counts[FEED_CHECKSUM_DECODED]

    @property
    def malformed(self) -> dict[str, int]:
        """Malformed frames or entries by class (upstox_frame.h and upstox_tick.h say which counts what)."""
        prefix, names = "malformed_", COUNTERS["feed"]
        found = ((names[word], self.live_counts[word]) for word in sorted(self.counted))
        return {name.removeprefix(prefix): int(n) for name, n in found if name.startswith(prefix)}
