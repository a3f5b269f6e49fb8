# Kernels for other compiled modules (kernels.pyx has the code).
from libc.stdint cimport int64_t, uint32_t, uint64_t

from khft_layout cimport khft_bar_t, khft_kernel_row_t


cdef extern from "kernels.h" nogil:
    ctypedef struct kernel_state_t:
        pass
    ctypedef struct kernel_sum_t:
        pass
    ctypedef struct kernel_params_t:
        pass
    ctypedef struct kernel_window_t:
        pass
    ctypedef struct kernels_t:
        kernel_state_t* state
        kernel_sum_t* sums
        const kernel_params_t* params
        const kernel_window_t* windows
        size_t params_stride
        size_t windows_stride
        size_t n_slots
        int64_t* period_ns
        int64_t epoch_offset_ns
        uint32_t dt_seconds
        uint32_t emit_mask
        uint64_t checksum
        uint64_t late
        uint64_t unknown_slot
        uint64_t no_price


cdef class Kernels:
    cdef kernels_t k
    cdef int64_t newest_ns
    cdef bint filters
    cdef object periods
    cdef object state_array, sums_array, params_array, windows_array

    # `run` without its checks: n >= 1, `bars` holds 4 x n records.
    cdef size_t take(
        self, const void* ticks, size_t stride, size_t n, khft_kernel_row_t* rows, khft_bar_t* bars
    ) noexcept nogil
    cdef object _chosen(self, object slots)
    cdef void _move(self, object slots, object records, bint out)
