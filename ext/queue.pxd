# The lossless queue: one producer, one consumer, refuses when full (queue.h has the code).
from libc.stdint cimport uint64_t

from khft_layout cimport khft_control_t


cdef extern from "queue.h" nogil:
    ctypedef struct queue_t:
        khft_control_t* control
        uint64_t capacity
        uint64_t record_size
        uint64_t head
        uint64_t tail
        int wake_fd  # producer: eventfd to write instead of the futex, or -1

    int queue_open(queue_t* queue, void* base, size_t size)
    uint64_t queue_push(queue_t* queue, const void* records, uint64_t n)  # how many went in
    uint64_t queue_free(queue_t* queue)
    uint64_t queue_drain(queue_t* queue, void* out, uint64_t max)
    uint64_t queue_peek(queue_t* queue, void* out, uint64_t max)
    uint64_t queue_commit(queue_t* queue, uint64_t n)
    uint64_t queue_recall(queue_t* queue, void* out, uint64_t max)
    uint64_t queue_waiting(queue_t* queue)
    int queue_park(queue_t* queue)
    void queue_unpark(queue_t* queue)
