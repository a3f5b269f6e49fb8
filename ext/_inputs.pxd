# InputLog for other compiled modules (inputs.pyx has the code).
from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t, uint32_t, uint64_t

from khft_layout cimport khft_input_t
from ring cimport ring_t


cdef class InputLog:
    cdef ring_t ring
    cdef Py_buffer buffer
    cdef khft_input_t record

    cdef void put(
        self, int kind, uint32_t source, uint64_t generation, uint64_t first_seq, uint32_t n,
        uint64_t lost, int64_t now_ns, uint64_t room,
    ) noexcept
