/* Ring, queue and table between threads, for ThreadSanitizer: it sees one address space only.
 *
 * usage: ring_threads <messages>; every record's words are derived from its number. Prints
 * "got lost torn" of the ring, "got wrong" of the queue, "got torn" of the table.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "queue.h"
#include "ring.h"
#include "table.h"

#define CAPACITY 256
#define BATCH 20
#define WORDS 24

static uint64_t messages;
static void *ring_base, *queue_base, *table_base;
static size_t ring_size, queue_size, table_size;

static void *make(uint32_t kind, size_t *size) {
    uint64_t stride = segment_stride(kind, segment_record_size(kind));
    *size = SEGMENT_PAYLOAD + CAPACITY * stride;
    void *base = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    khft_header_t *header = base;
    memcpy(header->magic, "KHFTSEG1", 8);
    header->format_version = KHFT_FORMAT_VERSION;
    header->layout_fingerprint = KHFT_LAYOUT_FINGERPRINT;
    header->kind = kind;
    header->record_size = segment_record_size(kind);
    header->capacity = CAPACITY;
    return base;
}

static void fill(uint64_t *record, uint64_t number, size_t words) {
    for (size_t i = 0; i < words; i++) record[i] = number * UINT64_C(0x9E3779B97F4A7C15) + i;
    record[0] = number;
}

static int whole(const uint64_t *record, uint64_t number, size_t words) {
    uint64_t expected[WORDS];
    fill(expected, number, words);
    return memcmp(record, expected, words * 8) == 0;
}

static void *write_all(void *unused) {
    (void)unused;
    ring_t ring;
    queue_t queue;
    table_t table;
    uint64_t ticks[BATCH * WORDS], intents[BATCH * 16], number = 0, row[WORDS];
    if (ring_open(&ring, ring_base, ring_size) || queue_open(&queue, queue_base, queue_size) ||
        table_open(&table, table_base, table_size))
        abort();
    while (number < messages) {
        uint64_t n = messages - number < BATCH ? messages - number : BATCH, pushed = 0;
        for (uint64_t i = 0; i < n; i++) {
            fill(ticks + i * WORDS, number + i, WORDS);
            fill(intents + i * 16, number + i, 16);
        }
        ring_publish(&ring, ticks, n);
        while (pushed < n) {
            pushed += queue_push(&queue, intents + pushed * 16, n - pushed);
            if (pushed < n) sched_yield();
        }
        for (uint64_t i = 0; i < n; i++) {
            fill(row, ++number, WORDS);
            table_put(&table, 3, row, (int64_t)row[0]);
        }
    }
    return NULL;
}

static void *read_ring(void *answer) {
    ring_t ring;
    ring_cursor_t cursor;
    static uint64_t out[CAPACITY * WORDS];
    uint64_t got = 0, torn = 0;
    if (ring_open(&ring, ring_base, ring_size)) abort();
    ring_cursor_at(&ring, &cursor, 0);
    while (cursor.position < messages) {
        uint64_t n = ring_drain(&ring, &cursor, out, CAPACITY);
        for (uint64_t i = 0; i < n; i++) torn += !whole(out + i * WORDS, cursor.first_seq + i, WORDS);
        got += n;
        if (!n || cursor.position % 7 == 0) sched_yield();
    }
    uint64_t result[3] = {got, cursor.lost, torn};
    memcpy(answer, result, sizeof result);
    return NULL;
}

static void *read_queue(void *answer) {
    queue_t queue;
    static uint64_t out[CAPACITY * 16];
    uint64_t got = 0, wrong = 0;
    if (queue_open(&queue, queue_base, queue_size)) abort();
    while (got < messages) {
        uint64_t n = queue_drain(&queue, out, CAPACITY);
        for (uint64_t i = 0; i < n; i++) wrong += !whole(out + i * 16, got + i, 16);
        got += n;
        if (!n) sched_yield();
    }
    uint64_t result[2] = {got, wrong};
    memcpy(answer, result, sizeof result);
    return NULL;
}

static void *read_table(void *answer) {
    table_t table;
    uint64_t row[WORDS], got = 0, torn = 0, last = 0;
    int64_t behind_ns = 0; /* as the writer gives it: the number of the record */
    if (table_open(&table, table_base, table_size)) abort();
    while (last < messages) {
        if (table_get_head(&table, 3, row, sizeof row, &behind_ns) == TABLE_GOOD) {
            last = row[0];
            torn += !whole(row, last, WORDS) || (uint64_t)behind_ns != last;
            got++;
        }
        if (got % 64 == 0) sched_yield();
    }
    uint64_t result[2] = {got, torn};
    memcpy(answer, result, sizeof result);
    return NULL;
}

int main(int argc, char **argv) {
    void *(*roles[])(void *) = {read_ring, read_queue, read_table, write_all};
    uint64_t answers[4][3] = {{0}};
    pthread_t threads[4];
    messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    ring_base = make(SEGMENT_KIND_TICK_RING, &ring_size);
    queue_base = make(SEGMENT_KIND_INTENT_QUEUE, &queue_size);
    table_base = make(SEGMENT_KIND_LATEST_TABLE, &table_size);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, roles[i], answers[i]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        printf("%llu %llu %llu\n", (unsigned long long)answers[i][0], (unsigned long long)answers[i][1],
               (unsigned long long)answers[i][2]);
    return 0;
}
