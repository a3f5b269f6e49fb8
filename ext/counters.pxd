# Counters and latency histograms, one writer, readable by anyone while they move (counters.h has the code).
from libc.stdint cimport int64_t, uint64_t


cdef extern from "counters.h" nogil:
    ctypedef struct counters_t:
        uint64_t* words
        uint64_t* buckets
        uint64_t counters
        uint64_t histograms

    int counters_open(counters_t* counters, void* base, size_t size)
    # The indexes are the constants of khft_layout.pxd (FEED_FRAMES, FEED_HIST_...): not checked here.
    void counter_add(counters_t* counters, int index, int64_t n)
    void counter_set(counters_t* counters, int index, int64_t value)
    int64_t counter_value(const counters_t* counters, int index)
    void histogram_record(counters_t* counters, int h, int64_t ns)
    void histogram_record_many(counters_t* counters, int h, int64_t ns, int64_t n)
    int histogram_bucket(int64_t ns)
