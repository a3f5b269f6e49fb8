"""Layer 1, every process, hot: counters and latency histograms in shared memory.

Names and indexes come from layout.COUNTERS and layout.HISTOGRAMS (memory/counters.py).
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport int64_t, uint32_t, uint64_t

from counters cimport *
from khft_layout cimport KHFT_HISTOGRAM_BUCKETS, TICK_KIND_FULL, khft_intent_t, khft_tick_t
from segment cimport *

import numpy as np


def bucket_of(int64_t ns) -> int:
    """Index of the histogram bucket that counts `ns`."""
    return histogram_bucket(ns)


cdef class CounterWriter:
    """The one writer.

    Raises:
        ValueError: the buffer is no usable set of counters.
        BufferError: the buffer is read-only.
    """

    def __cinit__(self, buffer: object):
        cdef void* base = segment_buffer(buffer, &self.buffer, True)
        segment_refuse(counters_open(&self.counters, base, <size_t> self.buffer.len))

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    cdef int check(self, int index, uint64_t bound) except -1:
        if index < 0 or <uint64_t> index >= bound:
            raise IndexError(f"index {index} of {bound}")
        return 0

    def add(self, int index, int64_t n=1) -> None:
        """Add `n` (may be negative) to counter `index`."""
        self.check(index, self.counters.counters)
        counter_add(&self.counters, index, n)

    def set(self, int index, value: int) -> None:
        """Set counter `index`, modulo 2^64: for gauges and checksums."""
        self.check(index, self.counters.counters)
        counter_set(&self.counters, index, <int64_t> <uint64_t> (value & 0xFFFFFFFFFFFFFFFF))

    def record(self, int histogram, int64_t ns, int64_t n=1) -> None:
        """Count a duration of `ns` in histogram `histogram`, `n` times."""
        self.check(histogram, self.counters.histograms)
        histogram_record_many(&self.counters, histogram, ns, n)


    def record_reads(self, int histogram, ticks: np.ndarray, Py_ssize_t n, int64_t now_ns) -> None:
        """Count now_ns - recv_ns of each of ticks[:n] (TICK).

        Ticks of one socket read stand together and carry one recv_ns: one bucket is looked up for all
        of them. Raises ValueError: another record, or fewer of them.
        """
        self.check(histogram, self.counters.histograms)
        cdef Py_buffer view
        cdef const khft_tick_t* tick = <const khft_tick_t*> self.records(
            ticks, &view, sizeof(khft_tick_t), n
        )
        self.count_reads(histogram, tick, n, now_ns)
        PyBuffer_Release(&view)

    cdef void count_reads(
        self, int histogram, const khft_tick_t* tick, Py_ssize_t n, int64_t now_ns
    ) noexcept:
        cdef Py_ssize_t start = 0, end
        while start < n:
            end = start + 1
            while end < n and tick[end].recv_ns == tick[start].recv_ns:
                end += 1
            histogram_record_many(&self.counters, histogram, now_ns - tick[start].recv_ns, end - start)
            start = end

    def record_stamps(self, int histogram, ticks: np.ndarray, Py_ssize_t n, int64_t now_ns) -> None:
        """Count the time from the sender's stamp to `now_ns` of each of ticks[:n] that bears one.

        The stamp is CLOCK_MONOTONIC in microseconds modulo 2^32 in oi_day_high of a full packet; of a feed
        that has no such field (it is 0 then) in oi. More than 2^31 us ago: no stamp. Raises ValueError: another record, or fewer of them.
        """
        self.check(histogram, self.counters.histograms)
        cdef Py_buffer view
        cdef const khft_tick_t* tick = <const khft_tick_t*> self.records(
            ticks, &view, sizeof(khft_tick_t), n
        )
        self.count_stamps(histogram, tick, n, now_ns)
        PyBuffer_Release(&view)

    cdef void count_stamps(
        self, int histogram, const khft_tick_t* tick, Py_ssize_t n, int64_t now_ns
    ) noexcept:
        cdef Py_ssize_t i
        for i in range(n):
            self.stamp(histogram, tick + i, now_ns)

    def record_intents(
        self, int histogram, int stamp_histogram, intents: np.ndarray, where: np.ndarray, Py_ssize_t n,
        ticks: np.ndarray, int64_t now_ns,
    ) -> None:
        """Count now_ns - tick_recv_ns of each of intents[:n] (INTENT) that a tick caused.

        where: int64, the index of that tick in `ticks`; stamp_histogram: where to count the time from
        the tick's stamp as well, as in record_stamps, or -1. Raises ValueError: another record, or
        fewer of them.
        """
        self.check(histogram, self.counters.histograms)
        if stamp_histogram >= 0:
            self.check(stamp_histogram, self.counters.histograms)
        cdef Py_buffer wishes, places, view
        cdef const khft_intent_t* intent = <const khft_intent_t*> self.records(
            intents, &wishes, sizeof(khft_intent_t), n
        )
        cdef const int64_t* place
        cdef const khft_tick_t* tick
        try:
            place = <const int64_t*> self.records(where, &places, sizeof(int64_t), n)
            try:
                tick = <const khft_tick_t*> self.records(ticks, &view, sizeof(khft_tick_t), 0)
                self.count_intents(
                    histogram, stamp_histogram, intent, place, n,
                    tick, view.len // <Py_ssize_t> sizeof(khft_tick_t), now_ns,
                )
                PyBuffer_Release(&view)
            finally:
                PyBuffer_Release(&places)
        finally:
            PyBuffer_Release(&wishes)

    cdef void count_intents(
        self, int histogram, int stamp_histogram, const khft_intent_t* intent, const int64_t* place,
        Py_ssize_t n, const khft_tick_t* tick, Py_ssize_t held, int64_t now_ns,
    ) noexcept:
        cdef Py_ssize_t i
        for i in range(n):
            if intent[i].tick_recv_ns == 0:
                continue
            histogram_record(&self.counters, histogram, now_ns - intent[i].tick_recv_ns)
            if stamp_histogram >= 0 and 0 <= place[i] < held:
                self.stamp(stamp_histogram, tick + place[i], now_ns)

    cdef const void* records(self, object array, Py_buffer* view, size_t size, Py_ssize_t n) except NULL:
        """The first of at least n records; the caller releases `view`."""
        cdef Py_ssize_t held = records_in(array, view, size, False)
        if not 0 <= n <= held:
            PyBuffer_Release(view)
            raise ValueError(f"{n} records asked for, the array holds {held}")
        return view.buf

    cdef void stamp(self, int histogram, const khft_tick_t* tick, int64_t now_ns) noexcept:
        cdef uint32_t sent_us = tick.oi_day_high if tick.oi_day_high != 0 else tick.oi
        cdef uint32_t since_us = <uint32_t> <uint64_t> (now_ns // 1000) - sent_us
        if tick.kind == TICK_KIND_FULL and sent_us != 0 and since_us >> 31 == 0:
            histogram_record(&self.counters, histogram, <int64_t> since_us * 1000)


cdef class CounterReader:
    """Any number of readers; read-only mappings will do.

    Raises:
        ValueError: the buffer is no usable set of counters.
    """

    cdef counters_t counters
    cdef Py_buffer buffer

    def __cinit__(self, buffer: object):
        cdef void* base = segment_buffer(buffer, &self.buffer, False)
        segment_refuse(counters_open(&self.counters, base, <size_t> self.buffer.len))

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def value(self, int index) -> int:
        """Counter `index` now."""
        if index < 0 or <uint64_t> index >= self.counters.counters:
            raise IndexError(f"index {index} of {self.counters.counters}")
        return counter_value(&self.counters, index)

    def values(self) -> np.ndarray:
        """All counters now, int64; each is read whole, together they are no snapshot."""
        out = np.empty(self.counters.counters, np.int64)
        cdef int64_t[::1] words = out
        cdef uint64_t i
        for i in range(self.counters.counters):
            words[i] = counter_value(&self.counters, <int> i)
        return out

    def histogram(self, int index) -> np.ndarray:
        """Bucket counts of histogram `index` now: uint64[1024] (memory/counters.py reads them)."""
        if index < 0 or <uint64_t> index >= self.counters.histograms:
            raise IndexError(f"histogram {index} of {self.counters.histograms}")
        out = np.empty(KHFT_HISTOGRAM_BUCKETS, np.uint64)
        cdef uint64_t[::1] counts = out
        cdef const uint64_t* buckets = self.counters.buckets + <uint64_t> index * KHFT_HISTOGRAM_BUCKETS
        cdef int i
        for i in range(KHFT_HISTOGRAM_BUCKETS):
            counts[i] = load_acquire(buckets + i)
        return out
