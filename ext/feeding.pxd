# What a feed does with each tick, in C: checksum.h, atomics.h, slots.h and lateness.h have the code.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from khft_layout cimport khft_slot_stats_t, khft_tick_t


cdef extern from "checksum.h" nogil:
    uint64_t khft_tick_checksum(uint32_t token, int32_t px, int64_t volume)

cdef extern from "atomics.h" nogil:
    int64_t monotonic_ns()
    void prefetch_for_write(const uint8_t* record, size_t size)

cdef extern from "slots.h" nogil:
    void slot_know(khft_slot_stats_t* row, const khft_tick_t* tick)
    void slot_end_gap(khft_slot_stats_t* row, const khft_tick_t* tick)
    bint slot_set_mode(khft_slot_stats_t* row, uint32_t connection, int mode, int64_t now_ns)

cdef extern from "lateness.h" nogil:
    ctypedef struct lateness_t:
        int64_t behind_ns  # as table.h has it

    void lateness_begin(lateness_t* late)
    void lateness_see(
        lateness_t* late, const khft_tick_t* ticks, int n, int64_t newest_ns, const khft_slot_stats_t* rows
    )
