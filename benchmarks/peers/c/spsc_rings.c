/* Two processes, records of 192 bytes from one to the other: two C rings that bench_ring compares with.
 *
 *     spsc_rings rigtorp|validated|copy SLOTS LEAD RECORDS BATCH READ_MAX WRITER_CPU READER_CPU
 *
 * rigtorp    the idea of Erik Rigtorp's SPSCQueue, written anew: a bounded queue; the write and the read
 *            index on cache lines of their own, each side keeping a copy of the other's index that it
 *            refreshes only when the queue looks full or empty; one record is handed over at a time.
 * validated  one writer that announces a batch, copies it in whole and then publishes it; the reader
 *            copies all that is new, at most READ_MAX, and then checks that nothing of it was announced to
 *            be overwritten meanwhile. The writer stays at most LEAD records ahead of the reader's position,
 *            which lets it lose nothing. (A bounded queue's lead is its size: rigtorp has no LEAD.)
 * copy       no ring: the writer fills LEAD records, then the reader copies them out, in turn, and only
 *            the reader's copying is counted: what one core can fetch of what the other one wrote.
 *
 * In all of them the writer copies from one prepared batch, the reader into an array of READ_MAX records, and
 * adds up the first word of each record, so that order and completeness are checked. Prints one JSON line:
 * records, records a second from the first write to the last read (CLOCK_MONOTONIC), and whether the
 * sum was right.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RECORD_BYTES = 192, LINE = 64 };

typedef struct { uint64_t words[RECORD_BYTES / 8]; } record_t;

typedef struct {
    _Alignas(2 * LINE) uint64_t write; /* records written */
    _Alignas(2 * LINE) uint64_t read;  /* records read */
    _Alignas(2 * LINE) uint64_t announced;
    _Alignas(2 * LINE) uint64_t reader_up;
    int64_t start_ns, end_ns, copy_ns;
    uint64_t sum, torn;
    _Alignas(4096) record_t slots[];
} shared_t;

typedef struct { uint64_t lead, records, batch, read_max, mask; } task_t;

static uint64_t acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void release(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pin(int cpu)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
}

static void rigtorp_write(shared_t *s, const task_t *task, record_t *batch)
{
    uint64_t read_copy = 0, slots = task->mask + 1;
    for (uint64_t write = 0; write < task->records; write++) {
        while (write - read_copy == slots) {
            read_copy = acquire(&s->read);
            __builtin_ia32_pause();
        }
        record_t *from = batch + write % task->batch;
        from->words[0] = write;
        s->slots[write & task->mask] = *from;
        release(&s->write, write + 1);
    }
}

static void rigtorp_read(shared_t *s, const task_t *task, record_t *out)
{
    uint64_t write_copy = 0, sum = 0, at = 0;
    for (uint64_t read = 0; read < task->records; read++) {
        while (read == write_copy) write_copy = acquire(&s->write);
        out[at] = s->slots[read & task->mask];
        sum += out[at].words[0];
        at = at + 1 < task->read_max ? at + 1 : 0;
        release(&s->read, read + 1);
    }
    s->sum = sum;
}

/* Copies records [from, from + n) between the ring and an array; a batch may go around its end. */
static void ring_in(shared_t *s, uint64_t mask, uint64_t from, const record_t *records, uint64_t n)
{
    uint64_t at = from & mask, run = mask + 1 - at < n ? mask + 1 - at : n;
    memcpy(s->slots + at, records, run * sizeof *records);
    memcpy(s->slots, records + run, (n - run) * sizeof *records);
}

static void ring_out(const shared_t *s, uint64_t mask, uint64_t from, record_t *records, uint64_t n)
{
    uint64_t at = from & mask, run = mask + 1 - at < n ? mask + 1 - at : n;
    memcpy(records, s->slots + at, run * sizeof *records);
    memcpy(records + run, s->slots, (n - run) * sizeof *records);
}

static void validated_write(shared_t *s, const task_t *task, record_t *batch)
{
    uint64_t read = 0;
    for (uint64_t done = 0; done < task->records;) {
        uint64_t n = task->records - done < task->batch ? task->records - done : task->batch;
        while (done + n - read > task->lead) {
            read = acquire(&s->read);
            if (done + n - read > task->lead) __builtin_ia32_pause();
        }
        for (uint64_t i = 0; i < n; i++) batch[i].words[0] = done + i;
        __atomic_store_n(&s->announced, done + n, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_RELEASE);
        ring_in(s, task->mask, done, batch, n);
        done += n;
        release(&s->write, done);
    }
}

static void validated_read(shared_t *s, const task_t *task, record_t *out)
{
    uint64_t sum = 0, torn = 0;
    for (uint64_t read = 0; read < task->records;) {
        uint64_t n = acquire(&s->write) - read;
        if (!n) continue;
        if (n > task->read_max) n = task->read_max;
        ring_out(s, task->mask, read, out, n);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        torn += __atomic_load_n(&s->announced, __ATOMIC_RELAXED) - read > task->mask + 1;
        for (uint64_t i = 0; i < n; i++) sum += out[i].words[0];
        read += n;
        release(&s->read, read);
    }
    s->sum = sum;
    s->torn = torn;
}

static void copy_write(shared_t *s, const task_t *task, record_t *batch)
{
    for (uint64_t done = 0; done < task->records;) {
        uint64_t end = done + task->lead < task->records ? done + task->lead : task->records;
        while (acquire(&s->read) != done) __builtin_ia32_pause();
        for (uint64_t i = done; i < end; i++) {
            batch->words[0] = i;
            s->slots[i & task->mask] = *batch;
        }
        release(&s->write, done = end);
    }
}

static void copy_read(shared_t *s, const task_t *task, record_t *out)
{
    uint64_t sum = 0;
    int64_t spent_ns = 0;
    for (uint64_t read = 0; read < task->records;) {
        uint64_t end;
        while ((end = acquire(&s->write)) == read) __builtin_ia32_pause();
        int64_t from_ns = now_ns();
        while (read < end) {
            uint64_t n = end - read < task->read_max ? end - read : task->read_max;
            ring_out(s, task->mask, read, out, n);
            for (uint64_t i = 0; i < n; i++) sum += out[i].words[0];
            read += n;
        }
        spent_ns += now_ns() - from_ns;
        release(&s->read, read);
    }
    s->sum = sum;
    s->copy_ns = spent_ns;
}

int main(int argc, char **argv)
{
    if (argc != 9) return 2;
    const int rigtorp = !strcmp(argv[1], "rigtorp"), copy = !strcmp(argv[1], "copy");
    const uint64_t slots = strtoull(argv[2], NULL, 10);
    const task_t task = {strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
                         strtoull(argv[5], NULL, 10), strtoull(argv[6], NULL, 10), slots - 1};
    const size_t bytes = sizeof(shared_t) + slots * sizeof(record_t);
    shared_t *s = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (s == MAP_FAILED || slots & (slots - 1)) return 1;
    memset(s, 0, bytes);
    const pid_t reader = fork();
    const uint64_t held = reader ? task.batch : task.read_max;
    record_t *own = aligned_alloc(LINE, held * sizeof *own);
    memset(own, 1, held * sizeof *own);
    for (size_t i = 0; i < bytes; i += 4096) *((volatile uint8_t *)s + i); /* this process' page table */
    if (!reader) {
        pin(atoi(argv[8]));
        release(&s->reader_up, 1);
        (rigtorp ? rigtorp_read : copy ? copy_read : validated_read)(s, &task, own);
        s->end_ns = now_ns();
        _exit(0);
    }
    pin(atoi(argv[7]));
    while (!acquire(&s->reader_up)) sched_yield();
    s->start_ns = now_ns();
    (rigtorp ? rigtorp_write : copy ? copy_write : validated_write)(s, &task, own);
    waitpid(reader, NULL, 0);
    const int right = s->sum == task.records * (task.records - 1) / 2 && !s->torn;
    printf("{\"records\": %lu, \"per_second\": %.0f, \"right\": %s}\n", task.records,
           task.records / ((copy ? s->copy_ns : s->end_ns - s->start_ns) / 1e9), right ? "true" : "false");
    return !right;
}
