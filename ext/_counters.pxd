# CounterWriter for other compiled modules (counters.pyx has the code).
from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t, uint64_t

from counters cimport counters_t
from khft_layout cimport khft_intent_t, khft_tick_t


cdef class CounterWriter:
    cdef counters_t counters
    cdef Py_buffer buffer

    cdef int check(self, int index, uint64_t bound) except -1
    # The same as record_reads, record_stamps and record_intents; indexes and lengths are not checked.
    cdef void count_reads(self, int histogram, const khft_tick_t* tick, Py_ssize_t n, int64_t now_ns) noexcept
    cdef void count_stamps(self, int histogram, const khft_tick_t* tick, Py_ssize_t n, int64_t now_ns) noexcept
    cdef void count_intents(
        self, int histogram, int stamp_histogram, const khft_intent_t* intent, const int64_t* place,
        Py_ssize_t n, const khft_tick_t* tick, Py_ssize_t held, int64_t now_ns,
    ) noexcept
    cdef const void* records(self, object array, Py_buffer* view, size_t size, Py_ssize_t n) except NULL
    cdef void stamp(self, int histogram, const khft_tick_t* tick, int64_t now_ns) noexcept
