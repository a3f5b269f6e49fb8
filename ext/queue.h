/* Layer 1, workers and orders, hot: the lossless queue of one producer and one consumer.
 *
 * Each side keeps its own copy of the other side's index and looks at the shared word only when
 * the copy says full (or empty): in steady flow a push touches no line that the consumer writes.
 * `tail <= head <= tail + capacity` always; a push that does not fit is refused, never waits.
 * A record's first word becomes its number in the queue.
 */
#ifndef KHFT_QUEUE_H
#define KHFT_QUEUE_H

#include "segment.h"

typedef struct {
    khft_control_t *control;
    uint8_t *slots;
    uint64_t capacity;
    uint64_t mask;
    uint64_t record_size;
    uint64_t head;  /* producer: its own index; consumer: last seen */
    uint64_t tail;  /* consumer: its own index; producer: last seen */
    int wake_fd;    /* producer: eventfd to write instead of the futex, or -1 */
} queue_t;

static inline int queue_open(queue_t *queue, void *base, size_t size) {
    int fault = segment_check(base, size, SEGMENT_QUEUES);
    if (fault != SEGMENT_OK) return fault;
    const khft_header_t *header = (const khft_header_t *)base;
    queue->control = (khft_control_t *)((uint8_t *)base + KHFT_PAGE);
    queue->slots = (uint8_t *)base + SEGMENT_PAYLOAD;
    queue->capacity = header->capacity;
    queue->mask = header->capacity - 1;
    queue->record_size = header->record_size;
    queue->head = load_acquire(&queue->control->head);
    queue->tail = load_acquire(&queue->control->tail);
    queue->wake_fd = -1;
    return SEGMENT_OK;
}

/* Producer: how many records fit now. */
static inline uint64_t queue_free(queue_t *queue) {
    queue->tail = load_acquire(&queue->control->tail);
    uint64_t used = queue->head - queue->tail;
    return used > queue->capacity ? 0 : queue->capacity - used;
}

static __attribute__((noinline, unused)) void queue_wake(queue_t *queue) {
    const uint64_t one = 1;
    if (queue->wake_fd < 0) {
        futex_wake_all(&queue->control->wake_word);
    } else if (write(queue->wake_fd, &one, sizeof one) < 0) {
        /* EAGAIN: the event counter is full, so the consumer is being woken already. */
    }
    CRASH_POINT(CRASH_PUSH_WAKE);
}

/* Producer: returns how many of the `n` records went in, in order; fewer means full. */
static inline uint64_t queue_push(queue_t *queue, const void *records, uint64_t n) {
    const uint8_t *from = (const uint8_t *)records;
    uint64_t room = queue->capacity - (queue->head - queue->tail);
    if (KHFT_UNLIKELY(room < n || room > queue->capacity)) {
        room = queue_free(queue);
        if (n > room) n = room;
    }
    if (KHFT_UNLIKELY(!n)) return 0;
    CRASH_POINT(CRASH_PUSH_START);
    for (uint64_t left = n, seq = queue->head; left;) {
        uint64_t slot = seq & queue->mask;
        uint64_t run = queue->capacity - slot < left ? queue->capacity - slot : left;
        uint8_t *to = queue->slots + slot * queue->record_size;
        CRASH_COPY(CRASH_PUSH_COPY, to, from, run * queue->record_size);
        CRASH_POINT(CRASH_PUSH_RECORD);
        for (uint64_t i = 0; i < run; i++) {
            uint64_t number = seq + i;
            memcpy(to + i * queue->record_size, &number, sizeof number);
            CRASH_POINT(CRASH_PUSH_NUMBER);
        }
        from += run * queue->record_size;
        seq += run;
        left -= run;
    }
    queue->head += n;
    store_relaxed(&queue->control->intent, queue->head);
    CRASH_POINT(CRASH_PUSH_INTENT);
    store_release(&queue->control->head, queue->head);
    CRASH_POINT(CRASH_PUSH_HEAD);
    if (KHFT_UNLIKELY(load_after_stores32(&queue->control->parked))) queue_wake(queue);
    prefetch_for_write(queue->slots + (queue->head & queue->mask) * queue->record_size, queue->record_size);
    return n;
}

/* Consumer: how many records wait. */
static inline uint64_t queue_waiting(queue_t *queue) {
    queue->head = load_acquire(&queue->control->head);
    uint64_t waiting = queue->head - queue->tail;
    return waiting > queue->capacity ? 0 : waiting;
}

/* Consumer: copies up to `max` of the oldest records out and leaves them in; returns how many. */
static inline uint64_t queue_peek(queue_t *queue, void *out, uint64_t max) {
    uint8_t *to = (uint8_t *)out;
    uint64_t n = queue->head - queue->tail;
    if (n < max || n > queue->capacity) n = queue_waiting(queue);
    if (n > max) n = max;
    for (uint64_t left = n, seq = queue->tail; left;) {
        uint64_t slot = seq & queue->mask;
        uint64_t run = queue->capacity - slot < left ? queue->capacity - slot : left;
        CRASH_COPY(CRASH_PEEK_COPY, to, queue->slots + slot * queue->record_size, run * queue->record_size);
        CRASH_POINT(CRASH_PEEK_RECORD);
        to += run * queue->record_size;
        seq += run;
        left -= run;
    }
    return n;
}

/* Consumer: frees the slots of the `n` oldest records, which were peeked; returns how many. */
static inline uint64_t queue_commit(queue_t *queue, uint64_t n) {
    uint64_t waiting = queue->head - queue->tail;
    if (waiting > queue->capacity) return 0;
    if (n > waiting) n = waiting;
    if (!n) return 0;
    CRASH_POINT(CRASH_COMMIT_START);
    queue->tail += n;
    store_release(&queue->control->tail, queue->tail);
    CRASH_POINT(CRASH_COMMIT_TAIL);
    return n;
}

/* Consumer: copies up to `max` records out and frees their slots; returns how many. */
static inline uint64_t queue_drain(queue_t *queue, void *out, uint64_t max) {
    return queue_commit(queue, queue_peek(queue, out, max));
}

/* Producer: copies the newest `max` records ever pushed, oldest first, also those taken long ago:
 * a slot keeps its record until the producer needs it. Returns how many there are. */
static inline uint64_t queue_recall(queue_t *queue, void *out, uint64_t max) {
    uint8_t *to = (uint8_t *)out;
    uint64_t first = ((const khft_header_t *)((uint8_t *)queue->control - KHFT_PAGE))->first_seq;
    uint64_t n = queue->head - first;
    if (n > queue->capacity) n = queue->capacity;
    if (n > max) n = max;
    for (uint64_t left = n, seq = queue->head - n; left;) {
        uint64_t slot = seq & queue->mask;
        uint64_t run = queue->capacity - slot < left ? queue->capacity - slot : left;
        memcpy(to, queue->slots + slot * queue->record_size, run * queue->record_size);
        to += run * queue->record_size;
        seq += run;
        left -= run;
    }
    return n;
}

/* Consumer, before it sleeps in epoll: 1 when it may sleep, 0 when records are there. */
static inline int queue_park(queue_t *queue) {
    add_seq_cst32(&queue->control->parked, 1);
    CRASH_POINT(CRASH_PARK);
    if (!queue_waiting(queue)) return 1;
    add_seq_cst32(&queue->control->parked, UINT32_MAX);
    return 0;
}

static inline void queue_unpark(queue_t *queue) { add_seq_cst32(&queue->control->parked, UINT32_MAX); }

#endif
