# What other compiled modules do with the intents of a step (intents.pyx has the code).
from libc.stdint cimport int64_t

from khft_layout cimport khft_intent_t


# An instance of `kind`, a named tuple of the fields of INTENT in their order.
cdef object tuple_of(type kind, const khft_intent_t* intent)


cdef class IntentBox:
    # In this order: a compiled strategy's loop (strategies/loop.py) reads and writes the four as one array.
    cdef int64_t made, next_number, refusals, room
    cdef readonly int strategy
    cdef readonly int capacity
    cdef readonly object records
    cdef readonly object tick_index
    cdef readonly object blank
    cdef khft_intent_t* intent
    cdef int64_t* where
    cdef const khft_intent_t* nothing
    cdef int spare

    cdef void open(self, int64_t room) noexcept
    # `stamp` for all that is in the box.
    cdef Py_ssize_t stamp(self, int64_t now_ns, int64_t span_ns) noexcept
