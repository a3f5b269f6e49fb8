# The seam between net/ (bytes arrive) and the stages (records leave): no socket on this side.
from libc.stdint cimport int64_t, uint8_t

from aux_out cimport aux_out_t
from khft_layout cimport khft_tick_t


cdef class Decoder:
    cdef aux_out_t* aux
    cdef size_t heartbeat_bytes
    cdef int decode(
        self, const uint8_t* frame, size_t size, int64_t recv_ns,
        khft_tick_t* out, int capacity, size_t* cursor
    ) noexcept nogil


cdef class FrameSink:
    cdef int on_frame(self, const uint8_t* frame, size_t size, int64_t recv_ns, bint last) except -1
    cdef int on_text(self, const uint8_t* text, size_t size, int64_t recv_ns) except -1
    cdef int end_of_read(self) except -1
