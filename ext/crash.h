/* Layer 1, every process, hot: where a process may be killed to see what it leaves behind.
 *
 * In the product CRASH_POINT is nothing and CRASH_COPY is memcpy. A second build with -DKHFT_CRASH, made by
 * `verify crash` and loaded by its processes alone, looks at a file named by the environment: its words say
 * which point of which process is deadly, and after how many passages. The process then raises SIGKILL.
 */
#ifndef KHFT_CRASH_H
#define KHFT_CRASH_H

#ifndef KHFT_CRASH

#define CRASH_POINT(point) ((void)0)
#define CRASH_COPY(point, to, from, size) memcpy(to, from, size)

#else

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* Behind each of these stores or calls; *_COPY: in the middle of it. */
enum crash_point {
    CRASH_PUSH_START = 1,
    CRASH_PUSH_COPY = 2,
    CRASH_PUSH_RECORD = 3,
    CRASH_PUSH_NUMBER = 4,
    CRASH_PUSH_INTENT = 5,
    CRASH_PUSH_HEAD = 6,
    CRASH_PUSH_WAKE = 7,
    CRASH_PEEK_COPY = 8,
    CRASH_PEEK_RECORD = 9,
    CRASH_COMMIT_START = 10,
    CRASH_COMMIT_TAIL = 11,
    CRASH_PARK = 12,
    CRASH_LOOK_MARK = 13,
    CRASH_LOOK_RECORD = 14,
    CRASH_PUT_MARK = 15,
    CRASH_PUT_RECORD = 16,
    CRASH_PUT_DONE = 17,
    CRASH_COUNTER_ADD = 18,
    CRASH_COUNTER_SET = 19,
    CRASH_HISTOGRAM = 20,
    CRASH_RING_START = 21, /* RING_AT_* of ring.h from here on */
    CRASH_RING_INTENT = 22,
    CRASH_RING_WORD = 23,
    CRASH_RING_STAMP = 24,
    CRASH_RING_HEAD = 25,
    CRASH_RING_WAKE = 26,
};

/* The file; verify/crash/points.py has the same words. */
typedef struct {
    int64_t point; /* 0: none */
    int64_t left;  /* passages that it still survives */
    int64_t fired; /* the point that killed */
    int64_t pid;   /* whom */
    char role[16]; /* the name of the process begins so */
} crash_area_t;

static crash_area_t *crash_area;

static __attribute__((constructor)) void crash_open(void) {
    const char *path = getenv("KHFT_CRASH_AREA");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(crash_area_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (at != MAP_FAILED) crash_area = (crash_area_t *)at;
}

static __attribute__((noinline, unused)) void crash_passed(int point) {
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    if (strncmp(name, crash_area->role, strlen(crash_area->role)) != 0) return;
    if (__atomic_fetch_sub(&crash_area->left, 1, __ATOMIC_SEQ_CST) != 0) return;
    __atomic_store_n(&crash_area->pid, getpid(), __ATOMIC_SEQ_CST);
    __atomic_store_n(&crash_area->point, 0, __ATOMIC_SEQ_CST); /* its successor lives */
    __atomic_store_n(&crash_area->fired, point, __ATOMIC_SEQ_CST);
    raise(SIGKILL);
}

static inline void crash_look(int point) {
    if (crash_area && __atomic_load_n(&crash_area->point, __ATOMIC_RELAXED) == point) crash_passed(point);
}

#define CRASH_POINT(point) crash_look(point)
#define CRASH_COPY(point, to, from, size) crash_copy(point, to, from, size)

static inline void crash_copy(int point, void *to, const void *from, size_t size) {
    size_t half = size / 2 / 8 * 8;
    memcpy(to, from, half);
    CRASH_POINT(point);
    memcpy((char *)to + half, (const char *)from + half, size - half);
}

#define RING_POINT(where) CRASH_POINT(CRASH_RING_START + (where))
#define RING_COPY_IN(to, from, size) crash_copy(CRASH_RING_WORD, to, from, size)

#endif
#endif
