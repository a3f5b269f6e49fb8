/* Layer 1, feed and its readers, hot: the overwriting ring. Picture and protocol: ring.pxd.
 *
 * `ring_publish_as` and `ring_drain_as` take the protocol's form as a compile-time constant. The
 * engine is built with RING_SOUND only, where every other branch disappears; the broken forms are
 * instantiated by ring_faults.pyx alone, to prove that the verification finds them.
 */
#ifndef KHFT_RING_H
#define KHFT_RING_H

#include "segment.h"

/* Where a writer may be killed by a test: nothing in the engine's build. */
#ifndef RING_POINT
#define RING_POINT(where) ((void)0)
#define RING_COPY_IN copy_to_shared
#endif

enum ring_form {
    RING_SOUND = 0,
    RING_HEAD_BEFORE_DATA = 1,
    RING_NO_VALIDATION = 2,
    RING_NO_ODD_MARK = 3,
};

enum ring_point {
    RING_AT_START = 0,
    RING_AT_INTENT = 1,
    RING_AT_WORD = 2,
    RING_AT_STAMP = 3,
    RING_AT_HEAD = 4,
    RING_AT_WAKE = 5,
};

typedef struct {
    khft_control_t *control;
    uint8_t *slots;
    uint64_t capacity;
    uint64_t mask;
    uint64_t first_seq;
    uint64_t record_size;
    uint64_t next; /* writer only: number of the next record */
} ring_t;

typedef struct {
    uint64_t position;  /* number of the next record wanted */
    uint64_t first_seq; /* number of the first record of the last drain */
    uint64_t lost;      /* since the cursor was made */
    uint64_t lost_last; /* by the last drain */
} ring_cursor_t;

static inline int ring_open(ring_t *ring, void *base, size_t size) {
    int fault = segment_check(base, size, SEGMENT_RINGS);
    if (fault != SEGMENT_OK) return fault;
    const khft_header_t *header = (const khft_header_t *)base;
    ring->control = (khft_control_t *)((uint8_t *)base + KHFT_PAGE);
    ring->slots = (uint8_t *)base + SEGMENT_PAYLOAD;
    ring->capacity = header->capacity;
    ring->mask = header->capacity - 1;
    ring->first_seq = header->first_seq;
    ring->record_size = header->record_size;
    ring->next = load_acquire(&ring->control->head);
    return SEGMENT_OK;
}

/* For the one writer: refuses a closed ring and one whose last writer died inside a batch. */
static inline int ring_open_writer(ring_t *ring, void *base, size_t size) {
    int fault = ring_open(ring, base, size);
    if (fault != SEGMENT_OK) return fault;
    uint32_t state = load_acquire32(&ring->control->state);
    if (state == SEGMENT_STATE_CLOSED || state == SEGMENT_STATE_CLEAN) return SEGMENT_CLOSED;
    if (load_acquire(&ring->control->intent) != ring->next) return SEGMENT_INSIDE_BATCH;
    store_release32(&ring->control->state, SEGMENT_STATE_OPEN);
    return SEGMENT_OK;
}

KHFT_INLINE void ring_write(ring_t *ring, const uint8_t *records, uint64_t seq, uint64_t n) {
    while (n) {
        uint64_t slot = seq & ring->mask;
        uint64_t run = ring->capacity - slot < n ? ring->capacity - slot : n;
        uint8_t *to = ring->slots + slot * ring->record_size;
        RING_COPY_IN(to, records, run * ring->record_size);
        for (uint64_t i = 0; i < run; i++) {
            store_relaxed((uint64_t *)(to + i * ring->record_size), seq + i);
            RING_POINT(RING_AT_STAMP);
        }
        records += run * ring->record_size;
        seq += run;
        n -= run;
    }
}

KHFT_INLINE uint64_t ring_publish_as(ring_t *ring, const void *records, uint64_t n, const int form) {
    khft_control_t *control = ring->control;
    const uint8_t *from = (const uint8_t *)records;
    const uint64_t first = ring->next;
    RING_POINT(RING_AT_START);
    while (n) {
        /* In pieces: a reader must be able to keep at least half of the ring. */
        uint64_t piece = n < ring->capacity / 2 ? n : ring->capacity / 2;
        uint64_t end = ring->next + piece;
        if (form != RING_NO_ODD_MARK) {
            store_relaxed(&control->intent, end);
            RING_POINT(RING_AT_INTENT);
            fence_release();
        }
        if (form == RING_HEAD_BEFORE_DATA) store_release(&control->head, end);
        ring_write(ring, from, ring->next, piece);
        if (form == RING_NO_ODD_MARK) store_relaxed(&control->intent, end);
        if (form != RING_HEAD_BEFORE_DATA) store_release(&control->head, end);
        RING_POINT(RING_AT_HEAD);
        from += piece * ring->record_size;
        ring->next = end;
        n -= piece;
    }
    if (KHFT_UNLIKELY(load_after_stores32(&control->parked))) futex_wake_all(&control->wake_word);
    prefetch_for_write(ring->slots + (ring->next & ring->mask) * ring->record_size, ring->record_size);
    RING_POINT(RING_AT_WAKE);
    return first;
}

KHFT_INLINE void ring_read(const ring_t *ring, uint8_t *out, uint64_t seq, uint64_t n) {
    while (n) {
        uint64_t slot = seq & ring->mask;
        uint64_t run = ring->capacity - slot < n ? ring->capacity - slot : n;
        copy_from_shared(out, ring->slots + slot * ring->record_size, run * ring->record_size);
        out += run * ring->record_size;
        seq += run;
        n -= run;
    }
}

KHFT_INLINE void ring_skip(ring_cursor_t *cursor, uint64_t to) {
    cursor->lost += to - cursor->position;
    cursor->lost_last += to - cursor->position;
    cursor->position = to;
}

/* Copies and validates [position, position + n); returns how many good records now start `out`. */
KHFT_INLINE uint64_t ring_take(const ring_t *ring, ring_cursor_t *cursor, uint8_t *out, uint64_t n,
                               const int form) {
    const uint64_t first = cursor->position, end = first + n;
    uint64_t start = first;
    ring_read(ring, out, first, n);
    if (form != RING_NO_VALIDATION) {
        fence_acquire();
        uint64_t intent = load_relaxed(&ring->control->intent);
        if (KHFT_UNLIKELY(intent - first > ring->capacity)) {
            start = intent - ring->capacity;
            if (start > end || intent < first) start = end;
        }
        /* Belt and braces: the good records are the longest tail that carries its own numbers. Left
         * out of the broken forms, where it would hide most of what each of them does wrong. */
        for (uint64_t i = end; form == RING_SOUND && i > start; i--) {
            uint64_t seq;
            memcpy(&seq, out + (i - 1 - first) * ring->record_size, sizeof seq);
            if (KHFT_UNLIKELY(seq != i - 1)) {
                start = i;
                break;
            }
        }
    }
    if (KHFT_UNLIKELY(start != first)) {
        memmove(out, out + (start - first) * ring->record_size, (end - start) * ring->record_size);
        ring_skip(cursor, start);
    }
    cursor->first_seq = start;
    cursor->position = end;
    return end - start;
}

KHFT_INLINE uint64_t ring_drain_as(const ring_t *ring, ring_cursor_t *cursor, void *out, uint64_t max,
                                   const int form) {
    cursor->lost_last = 0;
    cursor->first_seq = cursor->position;
    /* Twice at most: wait-free whatever the writer does. */
    for (int attempt = 0; attempt < 2; attempt++) {
        uint64_t head = load_acquire(&ring->control->head);
        if (head <= cursor->position) return 0;
        /* A copy that was overwritten whole met a writer that is faster than this reader: the
         * second attempt starts in the middle of the ring instead of where is written next. */
        uint64_t keep = attempt ? ring->capacity / 2 : ring->capacity;
        if (KHFT_UNLIKELY(head - cursor->position > keep)) ring_skip(cursor, head - keep);
        uint64_t n = head - cursor->position;
        if (n > max) n = max;
        uint64_t got = ring_take(ring, cursor, (uint8_t *)out, n, form);
        if (KHFT_LIKELY(got || !n)) return got;
    }
    return 0;
}

static inline uint64_t ring_publish(ring_t *ring, const void *records, uint64_t n) {
    return ring_publish_as(ring, records, n, RING_SOUND);
}

static inline uint64_t ring_drain(const ring_t *ring, ring_cursor_t *cursor, void *out, uint64_t max) {
    return ring_drain_as(ring, cursor, out, max, RING_SOUND);
}

/* Number of the oldest record that is still there. */
static inline uint64_t ring_oldest(const ring_t *ring) {
    uint64_t intent = load_acquire(&ring->control->intent);
    uint64_t kept = intent - ring->first_seq;
    return kept > ring->capacity ? intent - ring->capacity : ring->first_seq;
}

/* A cursor that wants `position` next; numbers before this generation's first are lost at once. */
static inline void ring_cursor_at(const ring_t *ring, ring_cursor_t *cursor, uint64_t position) {
    memset(cursor, 0, sizeof *cursor);
    cursor->position = position;
    if (position < ring->first_seq) ring_skip(cursor, ring->first_seq);
    cursor->first_seq = cursor->position;
}

static inline void ring_cursor_oldest(const ring_t *ring, ring_cursor_t *cursor) {
    uint64_t oldest = ring_oldest(ring), head = load_acquire(&ring->control->head);
    ring_cursor_at(ring, cursor, oldest < head ? oldest : head);
}

static inline void ring_cursor_newest(const ring_t *ring, ring_cursor_t *cursor) {
    ring_cursor_at(ring, cursor, load_acquire(&ring->control->head));
}

#endif
