# What the express way reads of throttle, budget and outbox (lanes.pyx has the code).
from libc.stdint cimport int64_t


cdef class RingState:
    cdef public int64_t span_ns
    cdef public Py_ssize_t n
    cdef public Py_ssize_t at
    cdef public list times


cdef class BudgetState:
    cdef public int64_t urgent_free_ns
    cdef public int64_t entry_free_ns
    cdef public int64_t hold_ns
    cdef public list _all
    cdef public list _open


cdef class ThrottleState:
    cdef public object _urgent
    cdef public object _entries
    cdef public int64_t _cool_until_ns
    cdef public int64_t _entry_day
    cdef public int64_t last_ns
    cdef public int64_t deadline_ns
    cdef public int64_t placed_today


cdef class OutboxState:
    cdef public str halted
    cdef public object journal_failed
    cdef public object disk_low
    cdef public int64_t stirred
