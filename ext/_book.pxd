# What is in play, for the quick way through the gate (book.pyx has the code).
from libc.stdint cimport int64_t


cdef struct played_t:
    int64_t slot, held, buys, sells, worst
    int64_t product  # the only one in play; 0: there are several, and each has its own worst case
    bint exact  # the sums are below 2 ** 52


cdef class InPlay:
    cdef dict table, slots
    cdef set touched
    cdef played_t* rows
    cdef size_t room, n

    # Counts anew what may have changed: before anything else is looked at.
    cdef int count(self) except -1
    cdef played_t* of(self, int64_t slot) noexcept  # NULL: nothing is in play there
    cdef int _keep(self, object slot, object sums, object product) except -1
    cdef void _drop(self, int64_t slot) noexcept
