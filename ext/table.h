/* Layer 1, feed and whoever looks, hot: the latest record of every slot, one seqlock per row.
 *
 * A row is a line with its mark and how late its record came, then the record. The mark is odd while
 * both are being written and goes up by two per write; 0 means never written. One writer, any number of
 * readers; a reader gives up after TABLE_RETRIES unstable looks (a writer died inside the row, or
 * rewrites it without pause) and never returns a mixture.
 *
 * How late: time of receipt (CLOCK_MONOTONIC) less the newest exchange time (epoch) that its connection
 * had brought by then, in ns; 0: not known. Who has a wall clock makes a lag of it.
 */
#ifndef KHFT_TABLE_H
#define KHFT_TABLE_H

#include "segment.h"

#define TABLE_RETRIES 1000
#define TABLE_MARK_LINE 64
#define TABLE_BEHIND 8 /* where in that line it stands */

enum table_answer { TABLE_NEVER_WRITTEN = 0, TABLE_GOOD = 1, TABLE_UNSTABLE = -1 };

typedef struct {
    uint8_t *rows;
    uint64_t capacity;
    uint64_t stride;
    uint64_t record_size;
} table_t;

static inline int table_open(table_t *table, void *base, size_t size) {
    int fault = segment_check(base, size, SEGMENT_TABLES);
    if (fault != SEGMENT_OK) return fault;
    const khft_header_t *header = (const khft_header_t *)base;
    table->rows = (uint8_t *)base + SEGMENT_PAYLOAD;
    table->capacity = header->capacity;
    table->record_size = header->record_size;
    table->stride = segment_stride(header->kind, header->record_size);
    return SEGMENT_OK;
}

/* `row` must be below capacity. */
static inline void table_put(table_t *table, uint64_t row, const void *record, int64_t behind_ns) {
    uint8_t *at = table->rows + row * table->stride;
    uint64_t *mark = (uint64_t *)at;
    uint64_t odd = load_relaxed(mark) | 1; /* already odd: the previous writer died here */
    store_relaxed(mark, odd);
    CRASH_POINT(CRASH_PUT_MARK);
    fence_release();
    store_relaxed((uint64_t *)(at + TABLE_BEHIND), (uint64_t)behind_ns);
    copy_to_shared(at + TABLE_MARK_LINE, record, table->record_size);
    CRASH_POINT(CRASH_PUT_RECORD);
    store_release(mark, odd + 1);
    CRASH_POINT(CRASH_PUT_DONE);
}

/* The first `size` bytes of a record, a multiple of 8, and how late it came (behind_ns may be NULL). */
static inline int table_get_head(const table_t *table, uint64_t row, void *out, size_t size, int64_t *behind_ns) {
    const uint8_t *at = table->rows + row * table->stride;
    const uint64_t *mark = (const uint64_t *)at;
    for (int attempt = 0; attempt < TABLE_RETRIES; attempt++) {
        uint64_t before = load_acquire(mark);
        if (!before) return TABLE_NEVER_WRITTEN;
        CRASH_POINT(CRASH_LOOK_MARK);
        if (!(before & 1)) {
            copy_from_shared(out, at + TABLE_MARK_LINE, size);
            if (behind_ns) *behind_ns = (int64_t)load_relaxed((const uint64_t *)(at + TABLE_BEHIND));
            CRASH_POINT(CRASH_LOOK_RECORD);
            fence_acquire();
            if (load_relaxed(mark) == before) return TABLE_GOOD;
        }
        cpu_pause();
    }
    return TABLE_UNSTABLE;
}

static inline int table_get(const table_t *table, uint64_t row, void *out) {
    return table_get_head(table, row, out, table->record_size, NULL);
}

#endif
