# The queue's two ends for other compiled modules (queue.pyx has the code).
from cpython.buffer cimport Py_buffer

from queue cimport queue_t


cdef class QueueProducer:
    cdef queue_t queue
    cdef Py_buffer buffer


cdef class QueueConsumer:
    cdef queue_t queue
    cdef Py_buffer buffer
    cdef bint parked
