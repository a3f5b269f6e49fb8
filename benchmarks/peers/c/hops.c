/* The bare twins of a hop between two processes: no segment, no validation, no counting of readers.
 *
 *   hops futex IDLE_NS COUNT CPU_A CPU_B     wake a process that sleeps in futex(2)
 *   hops spin  IDLE_NS COUNT CPU_A CPU_B     the same with one that looks all the time
 *   hops round 0       COUNT CPU_A CPU_B     a 192-byte record there and back, both look all the time
 *
 * futex, spin: the writer looks at the clock for IDLE_NS, takes the time, stores it and a counter, and
 * wakes; the reader takes the time when it sees the counter, and says so before the next one. Prints {"median_ns": ..}, the difference.
 * The time and the counter share a cache line: the least that can travel.
 * round: a record is copied into a slot (16 of them), its first word, a number, last (release); the
 * other side sees the number (acquire), copies the record out and sends it back: three cache lines
 * each way and nothing else. Prints the time of one round.
 */
#define _GNU_SOURCE
#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORD 192
#define SLOTS 16
#define WARM 200

struct lane {
    _Alignas(128) uint32_t count;
    int64_t stamp;
    _Alignas(128) uint8_t slots[SLOTS][RECORD];
};
struct shared {
    struct lane there, back;
    _Alignas(128) uint32_t ready;
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int later(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void send_record(struct lane *lane, uint32_t number, const uint8_t *record) {
    uint8_t *slot = lane->slots[number % SLOTS];
    memcpy(slot + sizeof(uint64_t), record + sizeof(uint64_t), RECORD - sizeof(uint64_t));
    __atomic_store_n((uint64_t *)slot, number + 1, __ATOMIC_RELEASE);
}

static void take_record(struct lane *lane, uint32_t number, uint8_t *record) {
    const uint8_t *slot = lane->slots[number % SLOTS];
    while (__atomic_load_n((const uint64_t *)slot, __ATOMIC_ACQUIRE) != number + 1) _mm_pause();
    memcpy(record, slot, RECORD);
}

static void reader(struct shared *shared, int parks, int64_t *found, uint32_t total) {
    __atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
    for (uint32_t number = 0; number < total; number++) {
        while (__atomic_load_n(&shared->there.count, __ATOMIC_ACQUIRE) == number) {
            if (parks) syscall(SYS_futex, &shared->there.count, FUTEX_WAIT, number, NULL, NULL, 0);
            else _mm_pause();
        }
        found[number] = now_ns() - shared->there.stamp;
        __atomic_store_n(&shared->back.count, number + 1, __ATOMIC_RELEASE);
    }
}

static void writer(struct shared *shared, int parks, int64_t idle_ns, uint32_t total) {
    for (uint32_t number = 0; number < total; number++) {
        while (__atomic_load_n(&shared->back.count, __ATOMIC_ACQUIRE) != number) _mm_pause();
        for (int64_t until = now_ns() + idle_ns; now_ns() < until;) _mm_pause();
        shared->there.stamp = now_ns();
        __atomic_store_n(&shared->there.count, number + 1, __ATOMIC_SEQ_CST);
        if (parks) syscall(SYS_futex, &shared->there.count, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
}

static void echo(struct shared *shared, uint32_t total) {
    uint8_t record[RECORD];
    __atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
    for (uint32_t number = 0; number < total; number++) {
        take_record(&shared->there, number, record);
        send_record(&shared->back, number, record);
    }
}

static double rounds(struct shared *shared, uint32_t total) {
    uint8_t record[RECORD] = {1};
    int64_t start = 0;
    for (uint32_t number = 0; number < total; number++) {
        if (number == WARM) start = now_ns();
        send_record(&shared->there, number, record);
        take_record(&shared->back, number, record);
    }
    return (double)(now_ns() - start) / (total - WARM);
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    const int parks = !strcmp(argv[1], "futex"), round = !strcmp(argv[1], "round");
    const int64_t idle_ns = atoll(argv[2]);
    const uint32_t total = (uint32_t)atoi(argv[3]) + WARM;
    const size_t size = sizeof(struct shared) + total * sizeof(int64_t);
    struct shared *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    int64_t *found = (int64_t *)(shared + 1);
    pid_t other = fork();
    if (other < 0) return 1;
    pin(atoi(argv[other ? 4 : 5]));
    if (!other) {
        if (round) echo(shared, total);
        else reader(shared, parks, found, total);
        return 0;
    }
    while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE)) usleep(100);
    double result = 0;
    if (round) result = rounds(shared, total);
    else writer(shared, parks, idle_ns, total);
    waitpid(other, NULL, 0);
    if (!round) {
        qsort(found + WARM, total - WARM, sizeof *found, later);
        result = (double)found[WARM + (total - WARM) / 2];
    }
    printf("{\"median_ns\": %.1f}\n", result);
    return 0;
}
