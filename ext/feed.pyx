"""Layer 3, feed process, hot: frames of one connection into the tick ring.

Decodes into a staging batch, publishes it once per socket read (or when the batch is full), then
refreshes the latest-tick table, what is known of each instrument, and the counters. Text frames go
to ORDERS by their own queue; raw frames to the recorder, and what a tick has no field for (Greeks,
deep levels, bars, auctions, market status) to whoever asked, by rings of their own, where there are.

A process that was started again finds counters, checksums and tables as the one before it left
them, and goes on from there; its ring is a new generation that carries the numbering on.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from counters cimport (
    counter_add, counter_set, counter_value, counters_open, counters_t, histogram_record_many,
)
from feeding cimport (
    khft_tick_checksum, lateness_begin, lateness_see, lateness_t, monotonic_ns, prefetch_for_write,
    slot_end_gap, slot_know, slot_set_mode,
)
from khft_layout cimport *
from kite_hft._sink cimport Decoder, FrameSink
from queue cimport queue_open, queue_push, queue_t
from ring cimport ring_open_writer, ring_publish, ring_t
from segment cimport SEGMENT_PAYLOAD
from table cimport table_open, table_put, table_t

from kite_hft.layout import AUX
from kite_hft.memory.counters import COUNTER_INDEX

cdef extern from "segment.h" nogil:
    int segment_check(const void* base, size_t size, uint32_t kinds)

DEF_BATCH = 2048

# A text frame that starts so is an order update; all others are also told to `after_text`.
cdef bytes ORDER_START = b'{"type":"order"'
cdef const uint8_t* order_start = ORDER_START
cdef size_t order_start_size = len(ORDER_START)

cdef enum:
    TEXT_BYTES = 8192   # layout.TEXT_BYTES_MAX
    FRAME_BYTES = 8192  # layout.FRAME_BYTES_MAX
    # What is known of a slot on this connection.
    NOT_SEEN = 0   # no tick since the connection was made
    SEEN = 1
    NEW_HERE = 2   # subscribed a moment ago: its silence before that is no gap

# The decoder says which of the feed's counters it counts. Its checksum is taken of what it has
# written, with the token of the wire; that of what is published goes by the token of the slot.
cdef enum:
    DECODER_COUNTS_MAX = 16
    AHEAD = 4  # so many ticks before its turn the rows of a slot are asked for
    AUX_BATCH = 1024  # staged records: many times what one message makes


cdef class FeedSink(FrameSink):
    """From frames to shared memory, for one connection.

    decoder: the broker's, fresh; its `live_counts` is indexed as layout.COUNTERS["feed"], its
    `counted` are the indices that it counts; where it has a `reset`, that is called on each new
    connection, and its `forget` on a subscription. tokens: (slots,) uint32, for the checksum. ring, latest, counters, texts: whole segments
    (texts may be None: text frames are then counted as dropped). wake_fd: eventfd of the text
    queue's consumer, or -1. timed: read the machine's clock for the latency histograms (the
    simulated world says False). stats: the segment of SLOT_STATS rows, or None. frames: the ring
    that raw frames are recorded from, or None. connection: its number, as in TICK.connection. aux:
    the ring of AUX records, or None: nobody asked; aux_kinds: the values of AuxKind that are wanted
    on it, empty: all.

    after_read: called with no argument after each publish. after_text: called with the bytes of
    each text frame that is no order update.

    Raises ValueError: a buffer is no segment of the expected kind, or there is a ring for AUX records
    and the broker's messages hold nothing for it.
    """

    cdef Decoder decoder
    cdef ring_t ring, frames, aux
    cdef table_t latest
    cdef counters_t counters
    cdef queue_t texts
    cdef Py_buffer views[7]
    cdef int held
    cdef bint has_texts, has_frames, has_aux, timed
    cdef khft_tick_t* batch
    cdef int staged, capacity
    cdef uint8_t* seen
    cdef uint32_t* tokens
    cdef uint32_t slots
    cdef uint64_t sum_published
    cdef uint64_t* decoder_counts
    cdef int decoder_words[DECODER_COUNTS_MAX]
    cdef int words
    cdef size_t heartbeat_bytes
    cdef object reset
    cdef khft_slot_stats_t* stats
    cdef khft_text_t text
    cdef khft_frame_t* raw
    cdef int64_t last_frame_ns
    cdef lateness_t late
    cdef bint answers
    cdef uint32_t connection
    cdef object keep
    cdef public object after_read
    cdef public object after_text

    def __cinit__(
        self, decoder: Decoder, tokens: np.ndarray, ring: object, latest: object, counters: object,
        texts: object, int wake_fd=-1, bint timed=True, int batch=DEF_BATCH, stats: object = None,
        frames: object = None, int connection=0, aux: object = None, aux_kinds: tuple[int, ...] = (),
    ):
        if batch < 1:
            raise ValueError(f"batch of {batch} ticks: at least 1")
        self.decoder = decoder
        self.timed = timed
        self.capacity = batch
        self.connection = connection
        live = decoder.live_counts
        own_tokens = np.ascontiguousarray(tokens, np.uint32)
        self.keep = (live, own_tokens)
        self.decoder_counts = <uint64_t*> <size_t> live.ctypes.data
        self.tokens = <uint32_t*> <size_t> own_tokens.ctypes.data
        self.slots = len(own_tokens)
        self.words = len(decoder.counted)
        for i in range(self.words):
            self.decoder_words[i] = decoder.counted[i]
        self.heartbeat_bytes = decoder.heartbeat_bytes
        self.reset = getattr(decoder, "reset", None)
        self.answers = getattr(decoder, "answers", False)
        self.batch = <khft_tick_t*> calloc(batch, sizeof(khft_tick_t))
        self.seen = <uint8_t*> calloc(max(1, self.slots), 1)
        self.raw = <khft_frame_t*> calloc(1, sizeof(khft_frame_t))
        if self.batch == NULL or self.seen == NULL or self.raw == NULL:
            raise MemoryError()
        cdef Py_buffer* view = self._hold(ring)
        self._check(ring_open_writer(&self.ring, view.buf, view.len), "ring")
        cdef uint64_t generation = (<const khft_header_t*> view.buf).generation
        view = self._hold(latest)
        self._check(table_open(&self.latest, view.buf, view.len), "latest table")
        if self.latest.capacity < self.slots:
            raise ValueError(f"latest table of {self.latest.capacity} rows for {self.slots} slots")
        view = self._hold(counters)
        self._check(counters_open(&self.counters, view.buf, view.len), "counters")
        self.has_texts = texts is not None
        if self.has_texts:
            view = self._hold(texts)
            self._check(queue_open(&self.texts, view.buf, view.len), "text queue")
            self.texts.wake_fd = wake_fd
        if stats is not None:
            self._open_stats(self._hold(stats))
        self.has_frames = frames is not None
        if self.has_frames:
            view = self._hold(frames)
            self._check(ring_open_writer(&self.frames, view.buf, view.len), "frame ring")
        self.has_aux = aux is not None
        if self.has_aux:
            self._open_aux(self._hold(aux), aux_kinds)
        self._go_on(generation)

    cdef int _open_aux(self, Py_buffer* view, tuple kinds) except -1:
        if self.decoder.aux == NULL:
            raise ValueError("a ring for AUX records, but this broker's messages hold nothing for it")
        self._check(segment_check(view.buf, view.len, 1u << SEGMENT_KIND_AUX_RING), "AUX ring")
        self._check(ring_open_writer(&self.aux, view.buf, view.len), "AUX ring")
        self.decoder.aux_out(np.zeros(AUX_BATCH, AUX), kinds)
        return 0

    cdef int _open_stats(self, Py_buffer* view) except -1:
        self._check(segment_check(view.buf, view.len, 1u << SEGMENT_KIND_SLOT_STATS), "slot statistics")
        cdef uint64_t rows = (<const khft_header_t*> view.buf).capacity
        if rows < self.slots:
            raise ValueError(f"slot statistics of {rows} rows for {self.slots} slots")
        self.stats = <khft_slot_stats_t*> (<uint8_t*> view.buf + SEGMENT_PAYLOAD)
        return 0

    cdef int _go_on(self, uint64_t generation) except -1:
        """Start from what stands in the counters: the process may be the successor of a dead one."""
        cdef counters_t* c = &self.counters
        for i in range(self.words):
            self.decoder_counts[self.decoder_words[i]] += <uint64_t> counter_value(c, self.decoder_words[i])
        self.sum_published = <uint64_t> counter_value(c, FEED_CHECKSUM_PUBLISHED)
        counter_set(c, FEED_RESTARTS, generation - 1)
        # What the dead process published, or announced and never finished, stands in the numbering,
        # and readers count it as got or lost: so it counts as published here too.
        if generation > 1 and self.ring.next > <uint64_t> counter_value(c, FEED_PUBLISHED):
            counter_set(c, FEED_PUBLISHED, self.ring.next)
        if counter_value(c, FEED_CONNECTED):
            counter_add(c, FEED_DISCONNECTS, 1)
        counter_set(c, FEED_CONNECTED, 0)
        self._stale()
        return 0

    cdef void _stale(self) noexcept:
        """No slot has ticked on the connection that is next."""
        cdef uint32_t slot
        lateness_begin(&self.late)
        for slot in range(self.slots):
            if self.seen[slot] == SEEN:
                self.seen[slot] = NOT_SEEN
            if self.stats != NULL:
                self.stats[slot].fresh = 0

    cdef Py_buffer* _hold(self, object buffer) except NULL:
        PyObject_GetBuffer(buffer, &self.views[self.held], PyBUF_SIMPLE | PyBUF_WRITABLE)
        self.held += 1
        return &self.views[self.held - 1]

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
        free(self.raw)

    cdef int on_frame(
        self, const uint8_t* frame, size_t size, int64_t recv_ns, bint last
    ) except -1:
        cdef size_t cursor = 0
        cdef int n
        self.last_frame_ns = recv_ns
        counter_set(&self.counters, FEED_LAST_FRAME_NS, recv_ns)
        if self.has_frames:
            self._record(frame, size, recv_ns)
        if size and size == self.heartbeat_bytes:
            counter_add(&self.counters, FEED_HEARTBEATS, 1)
        else:
            counter_add(&self.counters, FEED_FRAMES, 1)
            counter_add(&self.counters, FEED_BYTES, size)
            while True:
                n = self.decoder.decode(
                    frame, size, recv_ns, self.batch + self.staged, self.capacity - self.staged, &cursor
                )
                self.staged += n
                if cursor == size:
                    break
                self._publish()
                # A read may bring more than the ring holds: whoever works beside us takes it in parts.
                if self.after_read is not None:
                    self.after_read()
        if last:
            self.end_of_read()
        return 0

    cdef int end_of_read(self) except -1:
        self._publish()
        if self.after_read is not None:
            self.after_read()
        return 0

    cdef void _record(self, const uint8_t* frame, size_t size, int64_t recv_ns) noexcept:
        """The frame as it came, in parts, for the recorder."""
        cdef size_t offset = 0
        cdef khft_frame_t* raw = self.raw
        raw.frame_no = 1 + <uint64_t> (
            counter_value(&self.counters, FEED_FRAMES) + counter_value(&self.counters, FEED_HEARTBEATS)
        )
        if size > self.frames.capacity // 2 * FRAME_BYTES:
            # Its first part would be overwritten before its last one is written.
            counter_add(&self.counters, FEED_FRAMES_UNRECORDED, 1)
            return
        raw.recv_ns = recv_ns
        raw.total = size
        raw.connection = self.connection
        while True:
            raw.offset = offset
            raw.length = min(size - offset, <size_t> FRAME_BYTES)
            memcpy(raw.data, frame + offset, raw.length)
            ring_publish(&self.frames, raw, 1)
            offset += raw.length
            if offset == size:
                break
        counter_add(&self.counters, FEED_FRAMES_RECORDED, 1)

    cdef void _publish(self) noexcept:
        """Hands the staged batch on: rings first (they are waited for), then table and counters."""
        cdef int i, n = self.staged
        cdef int64_t decoded_ns = monotonic_ns() if self.timed else 0, newest_ns = 0
        cdef khft_tick_t* tick
        cdef uint64_t first
        for i in range(self.words):
            counter_set(&self.counters, self.decoder_words[i],
                        <int64_t> self.decoder_counts[self.decoder_words[i]])
        if self.has_aux and self.decoder.aux.n:
            # Before the ticks that they go with: whoever wakes up by those finds them there.
            ring_publish(&self.aux, self.decoder.aux.records, self.decoder.aux.n)
            counter_add(&self.counters, FEED_AUX_PUBLISHED, self.decoder.aux.n)
            self.decoder.aux.n = 0
        if n == 0:
            return
        for i in range(n):
            tick = self.batch + i
            newest_ns = max(newest_ns, tick.exch_ns)
            if self.seen[tick.slot] != SEEN:
                tick.flags |= TICK_FLAG_FRESH
                if self.stats != NULL and self.seen[tick.slot] == NOT_SEEN:
                    slot_end_gap(self.stats + tick.slot, tick)
                self.seen[tick.slot] = SEEN
        if self.stats != NULL and not self.answers:
            lateness_see(&self.late, self.batch, n, newest_ns, self.stats)
        first = ring_publish(&self.ring, self.batch, n)
        if self.timed:
            histogram_record_many(&self.counters, FEED_HIST_READ_TO_DECODED,
                                  decoded_ns - self.batch[0].recv_ns, n)
            histogram_record_many(&self.counters, FEED_HIST_READ_TO_PUBLISHED,
                                  monotonic_ns() - self.batch[0].recv_ns, n)
        for i in range(n):
            if i + AHEAD < n:
                self._fetch(self.batch[i + AHEAD].slot)
            tick = self.batch + i
            tick.seq = first + i
            table_put(&self.latest, tick.slot, tick, self.late.behind_ns)
            if self.stats != NULL:
                slot_know(self.stats + tick.slot, tick)
            # Of what stands in shared memory, not of what was meant to stand there.
            tick = <khft_tick_t*> (self.ring.slots + ((first + i) & self.ring.mask) * sizeof(khft_tick_t))
            self.sum_published += khft_tick_checksum(self.tokens[tick.slot], tick.last_px, tick.volume)
        counter_set(&self.counters, FEED_CHECKSUM_PUBLISHED, <int64_t> self.sum_published)
        counter_add(&self.counters, FEED_PUBLISHED, n)
        counter_set(&self.counters, FEED_LAST_TICK_NS, self.batch[n - 1].recv_ns)
        self.staged = 0

    cdef inline void _fetch(self, uint32_t slot) noexcept:
        """Ask early for what a tick of this slot is written to: its rows were used long ago."""
        cdef uint8_t* row = self.latest.rows + slot * self.latest.stride
        prefetch_for_write(row, self.latest.stride)
        if self.stats != NULL:
            prefetch_for_write(<uint8_t*> (self.stats + slot), sizeof(khft_slot_stats_t))

    cdef int on_text(self, const uint8_t* text, size_t size, int64_t recv_ns) except -1:
        self.last_frame_ns = recv_ns
        counter_set(&self.counters, FEED_LAST_FRAME_NS, recv_ns)
        counter_add(&self.counters, FEED_TEXTS, 1)
        if not self.has_texts or size > TEXT_BYTES:
            counter_add(&self.counters, FEED_TEXTS_DROPPED, 1)
        else:
            self.text.recv_ns = recv_ns
            self.text.length = size
            self.text.connection = self.connection
            memcpy(self.text.data, text, size)
            if not queue_push(&self.texts, &self.text, 1):
                counter_add(&self.counters, FEED_TEXTS_DROPPED, 1)
        if self.after_text is not None and (
            size < order_start_size or memcmp(text, order_start, order_start_size) != 0
        ):
            self.after_text(text[:size])
        return 0

    def connected(self) -> None:
        """A new connection: the next tick of every slot is marked FRESH, and carries nothing over."""
        self._publish()  # what the one before it had left over is no tick of this one
        self._stale()
        if self.reset is not None:
            self.reset()
        counter_add(&self.counters, FEED_CONNECTS, 1)
        counter_set(&self.counters, FEED_CONNECTED, 1)

    def disconnected(self) -> None:
        """The connection is gone: what the slots showed is no longer fresh."""
        self._publish()
        self._stale()
        counter_add(&self.counters, FEED_DISCONNECTS, 1)
        counter_set(&self.counters, FEED_CONNECTED, 0)

    def set_mode(self, uint32_t slot, int mode, int64_t now_ns) -> None:
        """A slot is subscribed in `mode` (the broker's number of it) from now on; 0: no longer.

        Raises IndexError: no such slot.
        """
        if slot >= self.slots:
            raise IndexError(f"slot {slot} of {self.slots}")
        if self.stats == NULL:
            return
        if slot_set_mode(self.stats + slot, self.connection, mode, now_ns):
            self.seen[slot] = NEW_HERE
            if self.reset is not None:  # such a decoder carries over: not across this
                self.decoder.forget(slot)

    def mode_of(self, uint32_t slot) -> int:
        """What `set_mode` said of a slot last, perhaps in a process before this one.

        Raises IndexError: no such slot.
        """
        if slot >= self.slots:
            raise IndexError(f"slot {slot} of {self.slots}")
        return self.stats[slot].mode if self.stats != NULL else 0

    @property
    def has_predecessor(self) -> bool:
        """Whether a process before this one has written the modes of all slots, and connected."""
        return self.stats != NULL and counter_value(&self.counters, FEED_CONNECTS) > 0

    def count(self, name: str, int64_t n=1) -> None:
        """Add `n` to the feed's counter `name`."""
        counter_add(&self.counters, COUNTER_INDEX["feed"][name], n)

    def gauge(self, name: str, int64_t value) -> None:
        """Set the feed's counter `name`."""
        counter_set(&self.counters, COUNTER_INDEX["feed"][name], value)

    @property
    def last_frame_at_ns(self) -> int:
        """recv_ns of the last frame of any kind; 0 before the first."""
        return self.last_frame_ns

    @property
    def next_seq(self) -> int:
        """Number that the next published tick gets."""
        return self.ring.next
