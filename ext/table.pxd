# The latest record of every slot, one seqlock per row (table.h has the code).
from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef extern from "table.h" nogil:
    enum:
        TABLE_NEVER_WRITTEN
        TABLE_GOOD
        TABLE_UNSTABLE
    ctypedef struct table_t:
        uint8_t* rows
        uint64_t capacity
        uint64_t stride
        uint64_t record_size

    int table_open(table_t* table, void* base, size_t size)
    void table_put(table_t* table, uint64_t row, const void* record, int64_t behind_ns)  # row < capacity
    int table_get(const table_t* table, uint64_t row, void* out)
    int table_get_head(const table_t* table, uint64_t row, void* out, size_t size, int64_t* behind_ns)
