"""Layer 1, every process, hot: counters and latency histograms in shared memory.

Names and indexes come from layout.COUNTERS and layout.HISTOGRAMS (memory/counters.py).
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport int64_t, uint64_t

from counters cimport *
from khft_layout cimport KHFT_HISTOGRAM_BUCKETS
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

    cdef counters_t counters
    cdef Py_buffer buffer

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
