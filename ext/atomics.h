/* Layer 1, every process, hot: the only place where the order of memory accesses is spelled out.
 *
 * GCC and Clang builtins on plain words of shared memory. Every shared word is 4 or 8 bytes,
 * naturally aligned, and accessed through these functions wherever two processes may meet on it.
 *
 * Records are copied in one of two forms, chosen at build time:
 *   release     memcpy between stand-alone fences: no instruction on x86, one dmb on ARM64;
 *   KHFT_TSAN   one release store / acquire load per 64-bit word, because ThreadSanitizer does not
 *               understand stand-alone fences. Both forms obey the same protocol (see ring.pxd).
 */
#ifndef KHFT_ATOMICS_H
#define KHFT_ATOMICS_H

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "shared records are little-endian: this machine is not"
#endif
_Static_assert(__atomic_always_lock_free(8, 0), "64-bit words must be lock-free");

#define KHFT_INLINE static inline __attribute__((always_inline))
#define KHFT_LIKELY(x) __builtin_expect(!!(x), 1)
#define KHFT_UNLIKELY(x) __builtin_expect(!!(x), 0)

KHFT_INLINE uint64_t load_relaxed(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
KHFT_INLINE uint64_t load_acquire(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
KHFT_INLINE void store_relaxed(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }
KHFT_INLINE void store_release(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
KHFT_INLINE uint32_t load_acquire32(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
KHFT_INLINE void store_release32(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
KHFT_INLINE uint32_t add_seq_cst32(uint32_t *word, uint32_t n) { return __atomic_fetch_add(word, n, __ATOMIC_SEQ_CST); }

#ifdef KHFT_TSAN
KHFT_INLINE void fence_release(void) { __asm__ __volatile__("" ::: "memory"); }
KHFT_INLINE void fence_acquire(void) { __asm__ __volatile__("" ::: "memory"); }
/* Reads `word` after everything that this thread stored before it, in one total order. */
KHFT_INLINE uint32_t load_after_stores32(uint32_t *word) { return __atomic_fetch_add(word, 0, __ATOMIC_SEQ_CST); }

KHFT_INLINE void copy_to_shared(void *shared, const void *own, size_t size) {
    uint64_t *to = (uint64_t *)shared;
    const uint64_t *from = (const uint64_t *)own;
    for (size_t i = 0; i < size / 8; i++) store_release(to + i, from[i]);
}
KHFT_INLINE void copy_from_shared(void *own, const void *shared, size_t size) {
    uint64_t *to = (uint64_t *)own;
    const uint64_t *from = (const uint64_t *)shared;
    for (size_t i = 0; i < size / 8; i++) to[i] = load_acquire(from + i);
}
#else
KHFT_INLINE void fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
KHFT_INLINE void fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
KHFT_INLINE uint32_t load_after_stores32(uint32_t *word) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* glibc turns very large copies into non-temporal stores, which may pass the odd mark in front of
 * them: pieces stay far below its threshold (at least 3/4 of one core's share of the last cache). */
#define KHFT_COPY_PIECE ((size_t)64 << 10)
KHFT_INLINE void copy_in_pieces(void *to, const void *from, size_t size) {
    uint8_t *out = (uint8_t *)to;
    const uint8_t *in = (const uint8_t *)from;
    for (; KHFT_UNLIKELY(size > KHFT_COPY_PIECE); size -= KHFT_COPY_PIECE) {
        memcpy(out, in, KHFT_COPY_PIECE);
        out += KHFT_COPY_PIECE;
        in += KHFT_COPY_PIECE;
    }
    memcpy(out, in, size);
}
KHFT_INLINE void copy_to_shared(void *shared, const void *own, size_t size) { copy_in_pieces(shared, own, size); }
KHFT_INLINE void copy_from_shared(void *own, const void *shared, size_t size) { copy_in_pieces(own, shared, size); }
#endif

KHFT_INLINE void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

/* Ask early for the lines that the next record will be written to: readers had them last, and
 * fetching them back while a record is awaited costs a third of its way to the other process. */
#define KHFT_PREFETCH_MAX 256
KHFT_INLINE void prefetch_for_write(const uint8_t *record, size_t size) {
    if (size > KHFT_PREFETCH_MAX) size = KHFT_PREFETCH_MAX;
    for (size_t line = 0; line < size; line += 64) {
#if defined(__x86_64__)
        __asm__ __volatile__("prefetchw %0" : : "m"(record[line])); /* a no-op on old CPUs */
#else
        __builtin_prefetch(record + line, 1, 3);
#endif
    }
}

static inline int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Shared futexes (no FUTEX_PRIVATE_FLAG): the waiter and the waker are different processes. */
static inline int futex_wait(uint32_t *word, uint32_t seen, int64_t timeout_ns) {
    struct timespec limit = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, NULL, 0) == 0 ? 0 : errno;
}
static __attribute__((noinline, unused)) void futex_wake_all(uint32_t *word) {
    add_seq_cst32(word, 1);
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

#endif
