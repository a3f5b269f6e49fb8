/* Layer 1, every process, hot: counters and latency histograms that anyone may read while they move.
 *
 * One writer per segment: a count is a plain load and store of a 64-bit word, no locked instruction.
 * Histogram buckets are linear inside each power of two (KHFT_HISTOGRAM_SUB_BITS), so a value is
 * known to better than 1/16 over the whole range of int64 ns. Nothing is ever allocated.
 */
#ifndef KHFT_COUNTERS_H
#define KHFT_COUNTERS_H

#include "segment.h"

typedef struct {
    uint64_t *words;
    uint64_t *buckets; /* histogram h starts at buckets + h * KHFT_HISTOGRAM_BUCKETS */
    uint64_t counters;
    uint64_t histograms;
} counters_t;

static inline int counters_open(counters_t *counters, void *base, size_t size) {
    int fault = segment_check(base, size, SEGMENT_COUNTER_SETS);
    if (fault != SEGMENT_OK) return fault;
    const khft_header_t *header = (const khft_header_t *)base;
    counters->words = (uint64_t *)((uint8_t *)base + SEGMENT_PAYLOAD);
    counters->buckets = counters->words + (header->capacity + 7) / 8 * 8;
    counters->counters = header->capacity;
    counters->histograms = header->histograms;
    return SEGMENT_OK;
}

/* `index` must be below `counters`; wraps at 2^64, so negative amounts work. */
KHFT_INLINE void counter_add(counters_t *counters, int index, int64_t n) {
    uint64_t *word = counters->words + index;
    store_relaxed(word, load_relaxed(word) + (uint64_t)n);
    CRASH_POINT(CRASH_COUNTER_ADD);
}

KHFT_INLINE void counter_set(counters_t *counters, int index, int64_t value) {
    store_relaxed(counters->words + index, (uint64_t)value);
    CRASH_POINT(CRASH_COUNTER_SET);
}

KHFT_INLINE int64_t counter_value(const counters_t *counters, int index) {
    return (int64_t)load_relaxed(counters->words + index);
}

/* Bucket of a duration; negative ones (clocks compared the wrong way round) count as 0. */
KHFT_INLINE int histogram_bucket(int64_t ns) {
    const int sub = 1 << KHFT_HISTOGRAM_SUB_BITS;
    if (ns < sub) return ns < 0 ? 0 : (int)ns;
    int shift = 63 - __builtin_clzll((uint64_t)ns) - KHFT_HISTOGRAM_SUB_BITS;
    return (shift + 1) * sub + (int)((ns >> shift) & (sub - 1));
}
_Static_assert((63 - KHFT_HISTOGRAM_SUB_BITS) << KHFT_HISTOGRAM_SUB_BITS <= KHFT_HISTOGRAM_BUCKETS,
               "every int64 has a bucket");

/* `h` must be below `histograms`. */
KHFT_INLINE void histogram_record_many(counters_t *counters, int h, int64_t ns, int64_t n) {
    uint64_t *bucket = counters->buckets + (uint64_t)h * KHFT_HISTOGRAM_BUCKETS + histogram_bucket(ns);
    store_relaxed(bucket, load_relaxed(bucket) + (uint64_t)n);
    CRASH_POINT(CRASH_HISTOGRAM);
}

KHFT_INLINE void histogram_record(counters_t *counters, int h, int64_t ns) {
    histogram_record_many(counters, h, ns, 1);
}

#endif
