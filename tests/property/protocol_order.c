/* Looks inside the writers of queue.h, table.h and ring.h at the moment of each copy.
 *
 * Timing tests meet these windows only by luck; here the copy itself is replaced by one that looks
 * at the shared words first. Prints one line "ok" or what was wrong. Not part of the product.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment.h"

static khft_control_t *watched;
static uint64_t head_at_copy, tail_at_copy, copies, marks_even, widest;
static uint64_t *row_mark;

static void look(void) {
    copies++;
    if (watched) {
        head_at_copy = watched->head;
        tail_at_copy = watched->tail;
    }
    if (row_mark && !(*row_mark & 1)) marks_even++;
}
static void *looking_memcpy(void *to, const void *from, size_t n) {
    look();
    return memmove(to, from, n);
}
static void looking_copy(void *to, const void *from, size_t n) { looking_memcpy(to, from, n); }

#define memcpy looking_memcpy
#define copy_to_shared looking_copy
#include "queue.h"
#include "table.h"
#define RING_COPY_IN looking_copy
#define RING_POINT(where) \
    do { \
        if ((where) == RING_AT_INTENT && watched->intent - watched->head > widest) \
            widest = watched->intent - watched->head; \
    } while (0)
#include "ring.h"

static int wrong;
#define CHECK(what) \
    do { \
        if (!(what)) { \
            printf("line %d: %s\n", __LINE__, #what); \
            wrong = 1; \
        } \
    } while (0)

static uint8_t *segment(uint32_t kind, uint64_t capacity) {
    uint8_t *base = aligned_alloc(4096, 1 << 20);
    memset(base, 0, 1 << 20);
    khft_header_t *header = (khft_header_t *)base;
    memmove(header->magic, "KHFTSEG1", 8);
    header->format_version = KHFT_FORMAT_VERSION;
    header->layout_fingerprint = KHFT_LAYOUT_FINGERPRINT;
    header->kind = kind;
    header->record_size = segment_record_size(kind);
    header->capacity = capacity;
    watched = (khft_control_t *)(base + KHFT_PAGE);
    return base;
}

static void check_queue(void) {
    static khft_intent_t records[64];
    uint8_t *base = segment(SEGMENT_KIND_INTENT_QUEUE, 16);
    queue_t producer, consumer;
    CHECK(queue_open(&producer, base, 1 << 20) == SEGMENT_OK);
    CHECK(queue_open(&consumer, base, 1 << 20) == SEGMENT_OK);
    for (uint64_t round = 0; round < 5; round++) {
        uint64_t head = watched->head, tail = watched->tail;
        copies = 0;
        CHECK(queue_push(&producer, records, 12) == 12);
        CHECK(copies > 0 && head_at_copy == head); /* published only after the copy */
        CHECK(watched->head == head + 12);
        copies = 0;
        CHECK(queue_drain(&consumer, records, 12) == 12);
        CHECK(copies > 0 && tail_at_copy == tail); /* freed only after the copy */
        CHECK(watched->tail == tail + 12);
    }
}

static void check_table(void) {
    static khft_tick_t record;
    table_t table;
    uint8_t *base = segment(SEGMENT_KIND_LATEST_TABLE, 4);
    CHECK(table_open(&table, base, 1 << 20) == SEGMENT_OK);
    row_mark = (uint64_t *)(table.rows + 2 * table.stride);
    for (int i = 0; i < 3; i++) {
        uint64_t before = *row_mark;
        copies = marks_even = 0;
        table_put(&table, 2, &record, 7);
        CHECK(copies > 0 && marks_even == 0); /* odd while the record is being written */
        CHECK(*row_mark == before + 2);
    }
    row_mark = NULL;
}

static void check_ring(void) {
    static khft_tick_t records[200];
    ring_t ring;
    uint8_t *base = segment(SEGMENT_KIND_TICK_RING, 64);
    CHECK(ring_open(&ring, base, 1 << 20) == SEGMENT_OK);
    ring_publish(&ring, records, 200);
    CHECK(watched->head == 200 && watched->intent == 200);
    CHECK(widest == 32); /* announced in pieces of half the ring at most */
}

int main(void) {
    check_queue();
    check_table();
    check_ring();
    if (!wrong) printf("ok\n");
    return wrong;
}
