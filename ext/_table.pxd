# The table's reader for other compiled modules (table.pyx has the code).
from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t, uint64_t

from khft_layout cimport khft_tick_t
from table cimport table_t


cdef class TableReader:
    cdef table_t table
    cdef Py_buffer buffer
    cdef readonly uint64_t unstable
    cdef bint by_stamps
    cdef int64_t ahead_ns, late_ns

    cdef int _head(self, uint64_t slot, khft_tick_t* tick) noexcept nogil
