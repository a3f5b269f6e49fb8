# The payload of an INTENT record for other compiled modules (journal.pyx has the code).
from libc.stdint cimport int64_t, uint32_t


cdef struct placed_t:  # an order as it is journalled, and what it was judged by
    int64_t no, strategy, seq, slot, token, side, order_type, product, validity, flags, quantity, px, trigger_px
    int64_t parent, created_ns, ref_px, tick_seq, age_ns
    bint opening



cdef class Appender:
    cdef public object write_at, failed
    cdef public int64_t next_seq, synced_seq, end
    cdef int fd
    cdef object known  # the `write_at` that `fd` is of
    cdef public uint32_t crc, seed

    # An INTENT, in one piece; 0: nothing was written, the tag is not of letters and digits alone.
    cdef int64_t append_placed(self, object kind, int64_t time_ns, const placed_t* placed, str tag) except -1
    cpdef int64_t append(self, object kind, int64_t time_ns, bytes payload) except -1
    cpdef object write(self, bytes data)
    cdef int _look(self) except -1
    cdef int _write(self, const char* data, Py_ssize_t size) except -1
    cdef Py_ssize_t _put(self, const char* data, Py_ssize_t size) except -1
