# The guard that every structure of shared memory passes before it touches a mapping (segment.h),
# and the buffers that Python hands in.
from cpython.buffer cimport Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint32_t, uint64_t

from khft_layout cimport khft_control_t


cdef extern from "segment.h" nogil:
    enum:
        SEGMENT_OK
        SEGMENT_PAYLOAD
    const char* segment_fault_text(int fault)
    uint64_t load_acquire(const uint64_t* word)
    uint32_t load_acquire32(const uint32_t* word)
    void store_relaxed(uint64_t* word, uint64_t value)
    void store_release(uint64_t* word, uint64_t value)
    void store_release32(uint32_t* word, uint32_t value)
    int64_t monotonic_ns()


cdef inline void* segment_buffer(object buffer, Py_buffer* view, bint writable) except NULL:
    """The base of a whole mapped segment; the caller releases `view` when it is done."""
    PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
    return view.buf


cdef inline int segment_refuse(int fault) except -1:
    """ValueError for a fault of an *_open function."""
    if fault != SEGMENT_OK:
        text = segment_fault_text(fault).decode()
        raise ValueError(f"{text} (kite_hft.memory.segment attaches with every check and says more)")
    return 0


cdef inline Py_ssize_t records_in(object records, Py_buffer* view, uint64_t record_size, bint writable) except -1:
    """How many records the contiguous array `records` holds; the caller releases `view`.

    Raises ValueError (another record size) or the buffer protocol's own error (not contiguous,
    not writable).
    """
    PyObject_GetBuffer(records, view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
    if <uint64_t> view.itemsize != record_size:
        itemsize = view.itemsize
        PyBuffer_Release(view)
        raise ValueError(f"the segment holds records of {record_size} bytes, the array {itemsize}")
    return view.len // view.itemsize
