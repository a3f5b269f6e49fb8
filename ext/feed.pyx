"""Layer 3, feed process, hot: frames of one connection into the tick ring.

Decodes into a staging batch, publishes it once per socket read (or when the batch is full), then
refreshes the latest-tick table and the counters. Text frames go to ORDERS by their own queue.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from counters cimport counter_add, counter_set, counters_open, counters_t, histogram_record_many
from khft_layout cimport *
from kite_hft._sink cimport Decoder, FrameSink
from queue cimport queue_open, queue_push, queue_t
from ring cimport ring_open_writer, ring_publish, ring_t
from table cimport table_open, table_put, table_t

cdef extern from "checksum.h" nogil:
    uint64_t khft_tick_checksum(uint32_t token, int32_t px, int64_t volume)

cdef extern from "atomics.h" nogil:
    int64_t monotonic_ns()

DEF_BATCH = 2048
TEXT_BYTES = 8192
# Words of the feed's counters that the decoder counts.
DECODER_WORDS = (
    FEED_RECEIVED, FEED_DECODED, FEED_UNKNOWN_INSTRUMENT, FEED_MALFORMED_SHORT_FRAME,
    FEED_MALFORMED_WRONG_COUNT, FEED_MALFORMED_UNKNOWN_LENGTH, FEED_MALFORMED_CUT_PACKET,
    FEED_MALFORMED_TRAILING_BYTES, FEED_MALFORMED_PRICE_RANGE,
)


cdef class FeedSink(FrameSink):
    """From frames to shared memory, for one connection.

    decoder: the broker's; its `live_counts` is indexed as layout.COUNTERS["feed"].
    tokens: (slots,) uint32, for the checksum. ring, latest, counters, texts: whole segments
    (texts may be None: text frames are then counted as dropped). wake_fd: eventfd of the text
    queue's consumer, or -1. timed: read the machine's clock for the latency histograms (the
    simulated world says False). after_read: called with no argument after each publish.

    Raises ValueError: a buffer is no segment of the expected kind.
    """

    cdef Decoder decoder
    cdef ring_t ring
    cdef table_t latest
    cdef counters_t counters
    cdef queue_t texts
    cdef Py_buffer views[4]
    cdef int held
    cdef bint has_texts, timed
    cdef khft_tick_t* batch
    cdef int staged, capacity
    cdef uint8_t* seen
    cdef uint32_t* tokens
    cdef uint32_t slots
    cdef uint64_t sum_decoded, sum_published
    cdef uint64_t* decoder_counts
    cdef int decoder_words[9]
    cdef khft_text_t text
    cdef int64_t last_frame_ns
    cdef object keep
    cdef public object after_read

    def __cinit__(
        self, decoder: Decoder, tokens: np.ndarray, ring: object, latest: object, counters: object,
        texts: object, int wake_fd=-1, bint timed=True, int batch=DEF_BATCH,
    ):
        cdef int i
        if batch < 1:
            raise ValueError(f"batch of {batch} ticks: at least 1")
        self.decoder = decoder
        self.timed = timed
        self.capacity = batch
        live = decoder.live_counts
        own_tokens = np.ascontiguousarray(tokens, np.uint32)
        self.keep = (live, own_tokens)
        self.decoder_counts = <uint64_t*> <size_t> live.ctypes.data
        self.tokens = <uint32_t*> <size_t> own_tokens.ctypes.data
        self.slots = len(own_tokens)
        for i in range(9):
            self.decoder_words[i] = DECODER_WORDS[i]
        self.batch = <khft_tick_t*> calloc(batch, sizeof(khft_tick_t))
        self.seen = <uint8_t*> calloc(max(1, self.slots), 1)
        if self.batch == NULL or self.seen == NULL:
            raise MemoryError()
        self._hold(ring)
        self._check(ring_open_writer(&self.ring, self.views[0].buf, self.views[0].len), "ring")
        self._hold(latest)
        self._check(table_open(&self.latest, self.views[1].buf, self.views[1].len), "latest table")
        if self.latest.capacity < self.slots:
            raise ValueError(f"latest table of {self.latest.capacity} rows for {self.slots} slots")
        self._hold(counters)
        self._check(counters_open(&self.counters, self.views[2].buf, self.views[2].len), "counters")
        self.has_texts = texts is not None
        if self.has_texts:
            self._hold(texts)
            self._check(queue_open(&self.texts, self.views[3].buf, self.views[3].len), "text queue")
            self.texts.wake_fd = wake_fd

    cdef int _hold(self, object buffer) except -1:
        PyObject_GetBuffer(buffer, &self.views[self.held], PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.held += 1
        return 0

    cdef int _check(self, int fault, str name) except -1:
        if fault:
            raise ValueError(f"{name}: not a segment of the expected kind (fault {fault})")
        return 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])
        free(self.batch)
        free(self.seen)

    cdef int on_frame(
        self, const uint8_t* frame, size_t size, int64_t recv_ns, bint last
    ) except -1:
        cdef size_t cursor = 0
        cdef int i, n
        self.last_frame_ns = recv_ns
        if size == 1:
            counter_add(&self.counters, FEED_HEARTBEATS, 1)
        else:
            counter_add(&self.counters, FEED_FRAMES, 1)
            counter_add(&self.counters, FEED_BYTES, size)
            while True:
                n = self.decoder.decode(
                    frame, size, recv_ns, self.batch + self.staged, self.capacity - self.staged, &cursor
                )
                for i in range(self.staged, self.staged + n):
                    self.sum_decoded += self._checksum(self.batch + i)
                self.staged += n
                if cursor == size:
                    break
                self._publish()
        if last:
            self.end_of_read()
        return 0

    cdef int end_of_read(self) except -1:
        self._publish()
        if self.after_read is not None:
            self.after_read()
        return 0

    cdef inline uint64_t _checksum(self, const khft_tick_t* tick) noexcept:
        return khft_tick_checksum(self.tokens[tick.slot], tick.last_px, tick.volume)

    cdef void _publish(self) noexcept:
        """Hands the staged batch on: ring first (it is waited for), then table and counters."""
        cdef int i, n = self.staged
        cdef int64_t decoded_ns = monotonic_ns() if self.timed else 0
        cdef khft_tick_t* tick
        cdef uint64_t first
        for i in range(9):
            counter_set(&self.counters, self.decoder_words[i],
                        <int64_t> self.decoder_counts[self.decoder_words[i]])
        if n == 0:
            return
        for i in range(n):
            tick = self.batch + i
            if not self.seen[tick.slot]:
                self.seen[tick.slot] = 1
                tick.flags |= TICK_FLAG_FRESH
        first = ring_publish(&self.ring, self.batch, n)
        if self.timed:
            histogram_record_many(&self.counters, FEED_HIST_READ_TO_DECODED,
                                  decoded_ns - self.batch[0].recv_ns, n)
            histogram_record_many(&self.counters, FEED_HIST_READ_TO_PUBLISHED,
                                  monotonic_ns() - self.batch[0].recv_ns, n)
        for i in range(n):
            tick = self.batch + i
            tick.seq = first + i
            table_put(&self.latest, tick.slot, tick)
            # Of what stands in shared memory, not of what was meant to stand there.
            tick = <khft_tick_t*> (self.ring.slots + ((first + i) & self.ring.mask) * sizeof(khft_tick_t))
            self.sum_published += self._checksum(tick)
        counter_set(&self.counters, FEED_CHECKSUM_DECODED, <int64_t> self.sum_decoded)
        counter_set(&self.counters, FEED_CHECKSUM_PUBLISHED, <int64_t> self.sum_published)
        counter_add(&self.counters, FEED_PUBLISHED, n)
        self.staged = 0

    cdef int on_text(self, const uint8_t* text, size_t size, int64_t recv_ns) except -1:
        self.last_frame_ns = recv_ns
        counter_add(&self.counters, FEED_TEXTS, 1)
        if not self.has_texts or size > TEXT_BYTES:
            counter_add(&self.counters, FEED_TEXTS_DROPPED, 1)
            return 0
        self.text.recv_ns = recv_ns
        self.text.length = size
        memcpy(self.text.data, text, size)
        if not queue_push(&self.texts, &self.text, 1):
            counter_add(&self.counters, FEED_TEXTS_DROPPED, 1)
        return 0

    def connected(self) -> None:
        """A new connection: the next tick of every slot is marked FRESH."""
        memset(self.seen, 0, self.slots)
        counter_add(&self.counters, FEED_CONNECTS, 1)

    def disconnected(self) -> None:
        counter_add(&self.counters, FEED_DISCONNECTS, 1)

    @property
    def last_frame_at_ns(self) -> int:
        """recv_ns of the last frame of any kind; 0 before the first."""
        return self.last_frame_ns

    @property
    def next_seq(self) -> int:
        """Number that the next published tick gets."""
        return self.ring.next
