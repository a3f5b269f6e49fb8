"""Layer 1, consumers, hot: waiting without the GIL until a ring or queue has something new; for who looks
instead of sleeping, until a descriptor has.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from khft_layout cimport KHFT_PAGE, khft_control_t
from segment cimport *
from wait cimport *

cdef extern from "<sys/epoll.h>" nogil:
    struct epoll_event:
        pass
    int epoll_wait(int epoll_fd, epoll_event* events, int n, int timeout_ms)

cdef enum:
    READY = WAIT_INTERRUPTED + 1

HEAD_MOVED = WAIT_MOVED
DESCRIPTOR_READY = READY
STRATEGIES = {"spin": WAIT_SPIN, "yield": WAIT_YIELD, "park": WAIT_PARK, "adaptive": WAIT_ADAPTIVE}
# A Python signal handler runs only between two slices.
cdef int64_t SLICE_NS = 50_000_000
cdef int64_t LOOK_NS = 200_000  # so long at most between two of `look`'s
cdef int64_t NEVER_NS = -(2**62)


cdef class Waiter:
    """Waits for the heads of one or several rings or queues.

    `buffers`: one whole segment, or a list of up to 16. `strategy`: "spin", "yield", "park" or
    "adaptive" (spins for `spin_ns`, yields for as long again, then parks). Parking writes
    CONTROL.parked, so "park" and "adaptive" need writable mappings.

    Raises:
        ValueError: unknown strategy, no buffer, more than 16, or a buffer without control page.
        BufferError: a read-only buffer with a strategy that parks.
    """

    cdef waiter_t waiter
    cdef Py_buffer buffers[16]
    cdef int held
    cdef readonly int64_t silent_ns

    def __cinit__(self, buffers: object, str strategy="adaptive", int64_t spin_ns=20_000):
        if strategy not in STRATEGIES:
            raise ValueError(f"wait strategy {strategy!r}: choose one of {', '.join(STRATEGIES)}")
        memset(&self.waiter, 0, sizeof(waiter_t))
        self.waiter.strategy = STRATEGIES[strategy]
        self.waiter.spin_ns = spin_ns
        parks = strategy in ("park", "adaptive")
        wanted = buffers if isinstance(buffers, (list, tuple)) else [buffers]
        if not 1 <= len(wanted) <= WAIT_RINGS_MAX:
            raise ValueError(f"a waiter takes 1 to {WAIT_RINGS_MAX} segments, not {len(wanted)}")
        for buffer in wanted:
            segment_buffer(buffer, &self.buffers[self.held], parks)
            self.held += 1
            if self.buffers[self.held - 1].len < SEGMENT_PAYLOAD:
                raise ValueError("the buffer is no whole segment: it has no control page")
            self.waiter.controls[self.held - 1] = <khft_control_t*> (
                <char*> self.buffers[self.held - 1].buf + KHFT_PAGE
            )
        self.waiter.rings = self.held

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.buffers[i])

    @property
    def parks(self) -> int:
        """How often this waiter went to sleep in the kernel."""
        return self.waiter.parks

    cdef int wait_for(self, const uint64_t* seen, int64_t timeout_ns) except -1:
        cdef int64_t started_ns = monotonic_ns()
        cdef int64_t until_ns = started_ns + timeout_ns
        cdef int64_t slice_ns
        cdef int answer = WAIT_TIMEOUT
        while True:
            slice_ns = min(until_ns, monotonic_ns() + SLICE_NS)
            with nogil:
                answer = wait_until(&self.waiter, seen, started_ns, slice_ns)
            if answer == WAIT_MOVED:
                return 1
            PyErr_CheckSignals()
            if answer == WAIT_INTERRUPTED or monotonic_ns() >= until_ns:
                return 0

    def wait(self, uint64_t seen_head, int64_t timeout_ns) -> bool:
        """Wait until the (first) head differs from `seen_head`, at most `timeout_ns`.

        True: it moved. False: time is up, or a signal was handled; an exception of its handler
        comes through.
        """
        if self.waiter.rings != 1:
            raise ValueError(f"this waiter watches {self.waiter.rings} segments: use wait_any")
        return self.wait_for(&seen_head, timeout_ns) != 0

    def wait_any(self, seen_heads: list[int], int64_t timeout_ns) -> bool:
        """The same for several segments: until any head differs from its entry in `seen_heads`."""
        cdef uint64_t seen[16]
        cdef int i
        if len(seen_heads) != self.waiter.rings:
            raise ValueError(f"{len(seen_heads)} heads for {self.waiter.rings} segments")
        for i in range(self.waiter.rings):
            seen[i] = seen_heads[i]
        return self.wait_for(seen, timeout_ns) != 0

    def look(self, seen_heads: list[int], int epoll_fd, int64_t for_ns, int64_t every_ns) -> int:
        """As `wait_any`, and at an epoll set each `every_ns`: HEAD_MOVED, DESCRIPTOR_READY (or it cannot be
        asked), or 0: time is up. Often before `for_ns`, so that signals are handled.

        silent_ns: when (CLOCK_MONOTONIC) this call last saw that no descriptor is ready; below 0: it has not.
        """
        cdef uint64_t seen[16]
        cdef int i, answer = WAIT_TIMEOUT
        cdef int64_t now_ns, until_ns
        if len(seen_heads) != self.waiter.rings:
            raise ValueError(f"{len(seen_heads)} heads for {self.waiter.rings} segments")
        for i in range(self.waiter.rings):
            seen[i] = seen_heads[i]
        self.silent_ns = NEVER_NS
        with nogil:
            now_ns = monotonic_ns()
            until_ns = now_ns + min(for_ns, LOOK_NS)
            while answer == WAIT_TIMEOUT and now_ns < until_ns:
                answer = wait_until(&self.waiter, seen, now_ns, min(until_ns, now_ns + every_ns))
                if answer != WAIT_MOVED:
                    answer = READY if is_ready(epoll_fd) else WAIT_TIMEOUT
                    now_ns = monotonic_ns()
                    if answer == WAIT_TIMEOUT:
                        self.silent_ns = now_ns
        return answer


cdef inline bint is_ready(int epoll_fd) noexcept nogil:
    cdef epoll_event found
    return epoll_wait(epoll_fd, &found, 1, 0) != 0
