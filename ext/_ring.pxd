# RingReader for other compiled modules, by the name of its module (ring.pyx has the code).
from cpython.buffer cimport Py_buffer

from ring cimport ring_cursor_t, ring_t


cdef class RingReader:
    cdef ring_t ring
    cdef ring_cursor_t cursor
    cdef Py_buffer buffer

    cdef bint is_closed(self) noexcept
