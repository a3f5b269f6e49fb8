/* Layer 1, consumers, hot: waiting until one of several `head` words moves.
 *
 *   spin      look without pause: fastest, costs the whole core
 *   yield     look, and offer the core to others in between
 *   park      sleep in the kernel on CONTROL.wake_word; a producer wakes it only when parked != 0
 *   adaptive  spin for `spin_ns`, yield for as long again, then park
 *
 * Why no wake-up is missed: the waiter adds itself to `parked`, reads `wake_word`, then looks at
 * `head` once more. The producer stores `head`, then (one total order) reads `parked`. Either the
 * waiter sees the new head, or the producer sees the waiter and changes `wake_word`, and the
 * kernel refuses to sleep on a word that changed. A waiter that is killed while parked leaves
 * `parked` above zero: producers then pay one futex call per publish until the segment is replaced.
 */
#ifndef KHFT_WAIT_H
#define KHFT_WAIT_H

#include "segment.h"

#define WAIT_RINGS_MAX 16
#define WAIT_LOOKS_PER_CLOCK 64
#define WAIT_NAP_NS 50000 /* where futex_waitv is missing and several rings are waited for */

enum wait_strategy { WAIT_SPIN = 0, WAIT_YIELD = 1, WAIT_PARK = 2, WAIT_ADAPTIVE = 3 };
enum wait_answer { WAIT_TIMEOUT = 0, WAIT_MOVED = 1, WAIT_INTERRUPTED = 2 };

typedef struct {
    khft_control_t *controls[WAIT_RINGS_MAX];
    int rings;
    int strategy;
    int64_t spin_ns;
    uint64_t parks; /* how often this waiter slept in the kernel */
} waiter_t;

KHFT_INLINE int wait_moved(const waiter_t *waiter, const uint64_t *seen) {
    for (int i = 0; i < waiter->rings; i++)
        if (load_acquire(&waiter->controls[i]->head) != seen[i]) return 1;
    return 0;
}

KHFT_INLINE int wait_busy(const waiter_t *waiter, const uint64_t *seen, int64_t until_ns, int yielding) {
    /* A yield may take as long as the scheduler likes: look at the clock after each. */
    const int looks = yielding ? 1 : WAIT_LOOKS_PER_CLOCK;
    while (monotonic_ns() < until_ns) {
        for (int look = 0; look < looks; look++) {
            if (wait_moved(waiter, seen)) return WAIT_MOVED;
            if (yielding) sched_yield();
            else cpu_pause();
        }
    }
    return wait_moved(waiter, seen) ? WAIT_MOVED : WAIT_TIMEOUT;
}

static int wait_sleep(const waiter_t *waiter, const uint32_t *words, int64_t until_ns) {
    if (waiter->rings == 1) {
        int64_t left_ns = until_ns - monotonic_ns();
        if (left_ns <= 0) return ETIMEDOUT;
        return futex_wait(&waiter->controls[0]->wake_word, words[0], left_ns);
    }
#ifdef SYS_futex_waitv
    struct futex_waitv waits[WAIT_RINGS_MAX];
    struct timespec limit = {until_ns / 1000000000, until_ns % 1000000000};
    memset(waits, 0, sizeof waits);
    for (int i = 0; i < waiter->rings; i++) {
        waits[i].val = words[i];
        waits[i].uaddr = (uint64_t)(uintptr_t)&waiter->controls[i]->wake_word;
        waits[i].flags = FUTEX_32;
    }
    if (syscall(SYS_futex_waitv, waits, waiter->rings, 0, &limit, CLOCK_MONOTONIC) >= 0) return 0;
    if (errno != ENOSYS && errno != EPERM) return errno;
#endif
    struct timespec nap = {0, WAIT_NAP_NS};
    return nanosleep(&nap, NULL) == 0 ? 0 : errno;
}

static int wait_parked(waiter_t *waiter, const uint64_t *seen, int64_t until_ns) {
    uint32_t words[WAIT_RINGS_MAX];
    int answer = WAIT_TIMEOUT;
    for (int i = 0; i < waiter->rings; i++) add_seq_cst32(&waiter->controls[i]->parked, 1);
    for (;;) {
        for (int i = 0; i < waiter->rings; i++) words[i] = load_acquire32(&waiter->controls[i]->wake_word);
        if (wait_moved(waiter, seen)) {
            answer = WAIT_MOVED;
            break;
        }
        if (monotonic_ns() >= until_ns) break;
        waiter->parks++;
        if (wait_sleep(waiter, words, until_ns) == EINTR) {
            answer = wait_moved(waiter, seen) ? WAIT_MOVED : WAIT_INTERRUPTED;
            break;
        }
    }
    for (int i = 0; i < waiter->rings; i++) add_seq_cst32(&waiter->controls[i]->parked, UINT32_MAX);
    return answer;
}

/* Until a head differs from `seen`, `until_ns` (CLOCK_MONOTONIC) passes or a signal arrives. */
static int wait_until(waiter_t *waiter, const uint64_t *seen, int64_t started_ns, int64_t until_ns) {
    if (wait_moved(waiter, seen)) return WAIT_MOVED;
    if (waiter->strategy == WAIT_SPIN) return wait_busy(waiter, seen, until_ns, 0);
    if (waiter->strategy == WAIT_YIELD) return wait_busy(waiter, seen, until_ns, 1);
    if (waiter->strategy == WAIT_ADAPTIVE) {
        int64_t spin_until = started_ns + waiter->spin_ns, yield_until = spin_until + waiter->spin_ns;
        if (spin_until > until_ns) spin_until = until_ns;
        if (yield_until > until_ns) yield_until = until_ns;
        if (wait_busy(waiter, seen, spin_until, 0)) return WAIT_MOVED;
        if (wait_busy(waiter, seen, yield_until, 1)) return WAIT_MOVED;
    }
    return wait_parked(waiter, seen, until_ns);
}

#endif
