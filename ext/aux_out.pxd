# Where a decoder leaves AUX records: see aux_out.h.
from libc.stdint cimport uint32_t

from khft_layout cimport khft_aux_t


cdef extern from "aux_out.h" nogil:
    ctypedef struct aux_out_t:
        khft_aux_t* records
        int room, n
        uint32_t kinds
