"""A bare picows compiled listener: what the fastest websocket receive of this machine costs.

For each binary frame the time from its intended send (CLOCK_MONOTONIC in us modulo 2^32: in the field
of the first packet that holds the day's highest open interest in Kite's full packet; or in a double so
many bytes before the end of the frame, where Upstox's last key has its open interest) to this callback goes into a log-linear histogram. Nothing is decoded, handed on, or allocated.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

cdef extern from *:
    int __builtin_clzll(unsigned long long) noexcept nogil

cdef enum:
    SUB_BITS = 4
    BUCKETS = 1024
    STAMP_AT = 2 + 2 + 52  # after the frame's count and the packet's length
    LATE_US_MAX = 1 << 31  # beyond: the field held no stamp


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t> t.tv_sec * 1000000000 + t.tv_nsec


cdef class StampListener(WSListener):
    """connected, disconnected: callables without arguments. stamp_from_end: 0: Kite's packet. `buckets`: a
    copy of the histogram."""

    cdef object connected, disconnected
    cdef uint64_t counts[BUCKETS]
    cdef readonly uint64_t frames, size
    cdef size_t stamp_from_end

    def __init__(self, connected, disconnected, stamp_from_end=0):
        self.stamp_from_end = stamp_from_end
        self.connected = connected
        self.disconnected = disconnected
        memset(self.counts, 0, sizeof(self.counts))

    cpdef on_ws_connected(self, WSTransport transport):
        self.connected(transport)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef uint32_t stamp, late_us
        cdef int64_t ns
        cdef const uint8_t* p
        cdef int shift
        cdef double told
        if frame.msg_type != WSMsgType.BINARY or frame.payload_size < STAMP_AT + 4:
            return
        self.frames += 1
        self.size += frame.payload_size
        if self.stamp_from_end:
            memcpy(&told, frame.payload_ptr + frame.payload_size - self.stamp_from_end, sizeof(double))
            stamp = <uint32_t> told
        else:
            p = <const uint8_t*> frame.payload_ptr + STAMP_AT
            stamp = (<uint32_t> p[0] << 24) | (<uint32_t> p[1] << 16) | (<uint32_t> p[2] << 8) | p[3]
        ns = now_ns()
        late_us = <uint32_t> (ns // 1000) - stamp
        if late_us >= LATE_US_MAX:
            return
        ns = <int64_t> late_us * 1000
        if ns < (1 << SUB_BITS):
            self.counts[ns] += 1
            return
        shift = 63 - __builtin_clzll(<uint64_t> ns) - SUB_BITS
        self.counts[min(BUCKETS - 1, (shift << SUB_BITS) + (ns >> shift))] += 1

    cpdef on_ws_disconnected(self, WSTransport transport):
        self.disconnected()

    def reset(self):
        """Count from zero."""
        memset(self.counts, 0, sizeof(self.counts))
        self.frames = self.size = 0

    def buckets(self):
        return [self.counts[i] for i in range(BUCKETS)]
