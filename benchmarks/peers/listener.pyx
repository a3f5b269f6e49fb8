"""The two compiled ends of bench_receive: a bare picows listener, and a sink that counts.

Both do the same with a frame: count it, add its bytes, and read this thread's CPU clock at frame
`warm` and at frame `total`. The bare one looks at nothing else.
"""

from libc.stdint cimport int64_t, uint8_t

from kite_hft._sink cimport FrameSink
from picows.picows cimport WSFrame, WSListener, WSTransport

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline int64_t thread_cpu_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    """
    int64_t thread_cpu_ns() nogil


cdef class Meter:
    """Frames, bytes, and the CPU time between frame `warm` and frame `total`."""

    cdef readonly int64_t frames, bytes, warm, total, start_ns, end_ns
    cdef object finished

    def __init__(self, int64_t warm, int64_t total, object finished):
        self.warm, self.total, self.finished = warm, total, finished

    cdef inline int add(self, size_t size) except -1:
        self.frames += 1
        self.bytes += size
        if self.frames == self.warm:
            self.start_ns = thread_cpu_ns()
        elif self.frames == self.total:
            self.end_ns = thread_cpu_ns()
            self.finished()
        return 0


cdef class BareListener(WSListener):
    """picows and nothing else."""

    cdef Meter meter

    def __init__(self, meter: Meter):
        self.meter = meter

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self.meter.add(frame.payload_size)


cdef class CountingSink(FrameSink):
    """What stands behind our own listener here instead of the decoder and the ring."""

    cdef Meter meter

    def __init__(self, meter: Meter):
        self.meter = meter

    cdef int on_frame(self, const uint8_t* frame, size_t size, int64_t recv_ns, bint last) except -1:
        return self.meter.add(size)

    cdef int on_text(self, const uint8_t* text, size_t size, int64_t recv_ns) except -1:
        return 0
