# The day's tally for the quick way through the gate (tally.pyx has the code).
from libc.stdint cimport int64_t


cdef extern from *:
    """
    typedef __int128 khft_wide_t;
    """
    ctypedef long long wide_t "khft_wide_t"  # of 128 bits: a sum of values never overflows


cdef struct entry_t:
    int64_t at_ns
    int64_t quantity
    int64_t value


cdef class Window:
    cdef entry_t* entries  # a ring: of `room`, a power of two, `held` from `first` on
    cdef size_t room, first, held
    cdef readonly int64_t span_ns
    cdef int64_t total
    cdef wide_t worth

    cdef int add(self, int64_t quantity, int64_t value, int64_t at_ns) except -1
    cdef void drop(self, int64_t now_ns) noexcept
    cdef int _grow(self) except -1


cdef class Tally:
    cdef dict strategies, slots, repeats
    cdef Window nothing
    cdef int64_t period_ns, repeats_ns
    cdef wide_t gross

    # The windows without what is over; `nothing` when there is none.
    cdef Window strategy_window(self, object strategy, int64_t now_ns)
    cdef Window slot_window(self, object slot, int64_t now_ns)
    cdef Window repeats_window(self, tuple key, int64_t now_ns)
    cdef int count(
        self, object strategy, object slot, tuple key, int64_t quantity, int64_t value, int64_t at_ns
    ) except -1
    cdef Window _now(self, dict windows, object key, int64_t now_ns)
    cdef int _forget_what_is_over(self, int64_t now_ns) except -1
