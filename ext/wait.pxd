# Waiting for a ring or queue to move: spin, yield, park, adaptive (wait.h has the code).
from libc.stdint cimport int64_t, uint64_t

from khft_layout cimport khft_control_t


cdef extern from "wait.h" nogil:
    enum:
        WAIT_RINGS_MAX
        WAIT_SPIN
        WAIT_YIELD
        WAIT_PARK
        WAIT_ADAPTIVE
        WAIT_TIMEOUT
        WAIT_MOVED
        WAIT_INTERRUPTED
    ctypedef struct waiter_t:
        khft_control_t* controls[16]
        int rings
        int strategy
        int64_t spin_ns
        uint64_t parks

    int wait_until(waiter_t* waiter, const uint64_t* seen, int64_t started_ns, int64_t until_ns)
