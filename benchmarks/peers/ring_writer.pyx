"""The writing end of bench_ring: the product's ring_publish in a compiled loop, as its feed calls it."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint64_t

from khft_layout cimport *
from ring cimport *
from segment cimport *

cdef extern from "atomics.h" nogil:
    void cpu_pause()


def write(object segment, object records, object position, uint64_t messages, uint64_t lead) -> tuple:
    """Publish `records` (a batch) again and again until `messages` are out; (start_ns, end_ns).

    position: 8 shared bytes where the reader says how far it is. lead: never further ahead of it than
    so many records (at most the capacity: nothing is lost); 0: look at nothing and write.
    Keeps the GIL: the process has nothing else to do.
    """
    cdef Py_buffer whole, batch, word
    PyObject_GetBuffer(segment, &whole, PyBUF_SIMPLE | PyBUF_WRITABLE)
    PyObject_GetBuffer(records, &batch, PyBUF_SIMPLE)
    PyObject_GetBuffer(position, &word, PyBUF_SIMPLE)
    cdef ring_t ring
    cdef int fault = ring_open_writer(&ring, whole.buf, whole.len)
    if fault:
        raise ValueError(f"no ring to write to (fault {fault})")
    cdef uint64_t n = batch.len // ring.record_size, done = 0, seen = 0
    cdef const uint64_t* reader = <const uint64_t*> word.buf
    cdef int64_t start_ns = monotonic_ns(), end_ns
    while done < messages:
        n = min(n, messages - done)
        if lead:
            while done + n - seen > lead:
                seen = load_acquire(reader)
                if done + n - seen > lead:
                    cpu_pause()
        ring_publish(&ring, batch.buf, n)
        done += n
    end_ns = monotonic_ns()
    PyBuffer_Release(&whole)
    PyBuffer_Release(&batch)
    PyBuffer_Release(&word)
    return start_ns, end_ns
