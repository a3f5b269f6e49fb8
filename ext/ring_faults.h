/* Layer 1, tests and verification only: ring.h with its deliberately broken forms and its crash points.
 *
 * With a crash point set, every store of a publish is one 64-bit word, followed by a point at which
 * the process may kill itself. With pauses set, a publish now and then sleeps in the middle of a
 * record, as the scheduler may make it do at any time. The engine's ring is the same text with
 * empty points and memcpy.
 */
#ifndef KHFT_RING_FAULTS_H
#define KHFT_RING_FAULTS_H

#include <signal.h>

#include "atomics.h"

static int ring_crash_point = -1;
static uint64_t ring_crash_after = 0;
static uint64_t ring_pause_every = 0; /* copies; 0: never */
static uint64_t ring_copies = 0;

static inline void ring_point(int where) {
    if (where == ring_crash_point && ring_crash_after-- == 0) raise(SIGKILL);
}

static inline void ring_copy_words(void *shared, const void *own, size_t size);
#define RING_POINT(where) ring_point(where)
#define RING_COPY_IN ring_copy_words
#include "ring.h"

static inline void ring_copy_words(void *shared, const void *own, size_t size) {
    if (ring_crash_point < 0) {
        size_t half = size / 2 / 8 * 8;
        copy_to_shared(shared, own, half);
        if (ring_pause_every && ++ring_copies % ring_pause_every == 0) {
            struct timespec pause = {0, 1000};
            nanosleep(&pause, NULL);
        }
        copy_to_shared((uint8_t *)shared + half, (const uint8_t *)own + half, size - half);
        return;
    }
    for (size_t i = 0; i < size / 8; i++) {
        store_relaxed((uint64_t *)shared + i, ((const uint64_t *)own)[i]);
        RING_POINT(RING_AT_WORD);
    }
}

static uint64_t ring_publish_form(ring_t *ring, const void *records, uint64_t n, int form) {
    switch (form) {
    case RING_HEAD_BEFORE_DATA: return ring_publish_as(ring, records, n, RING_HEAD_BEFORE_DATA);
    case RING_NO_ODD_MARK: return ring_publish_as(ring, records, n, RING_NO_ODD_MARK);
    default: return ring_publish_as(ring, records, n, RING_SOUND);
    }
}

static uint64_t ring_drain_form(const ring_t *ring, ring_cursor_t *cursor, void *out, uint64_t max, int form) {
    switch (form) {
    case RING_HEAD_BEFORE_DATA: return ring_drain_as(ring, cursor, out, max, RING_HEAD_BEFORE_DATA);
    case RING_NO_VALIDATION: return ring_drain_as(ring, cursor, out, max, RING_NO_VALIDATION);
    case RING_NO_ODD_MARK: return ring_drain_as(ring, cursor, out, max, RING_NO_ODD_MARK);
    default: return ring_drain_as(ring, cursor, out, max, RING_SOUND);
    }
}

#endif
