"""Layer 1, workers and orders, hot: the two ends of a lossless single-producer queue.

Full means refused: `push` says how many records went in and never waits. A consumer that sleeps
in epoll is woken by an eventfd, which the producer writes only while the consumer is parked.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport uint64_t

from queue cimport *
from segment cimport *

import numpy as np


cdef class QueueProducer:
    """The one producer. `wake_fd`: eventfd (non-blocking) that wakes the consumer; -1: futex.

    Raises:
        ValueError: the buffer is no usable queue.
        BufferError: the buffer is read-only.
    """

    def __cinit__(self, buffer: object, int wake_fd=-1):
        cdef void* base = segment_buffer(buffer, &self.buffer, True)
        segment_refuse(queue_open(&self.queue, base, <size_t> self.buffer.len))
        self.queue.wake_fd = wake_fd

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def push(self, records: np.ndarray, Py_ssize_t n=-1) -> int:
        """Append the first `n` records (all by default); returns how many went in, in order.

        In the queue each carries its number in `seq`; `records` itself is left as it was.
        """
        cdef Py_buffer view
        cdef Py_ssize_t held = records_in(records, &view, self.queue.record_size, False)
        cdef uint64_t pushed
        if n > held:
            PyBuffer_Release(&view)
            raise ValueError(f"{n} records asked for, the array holds {held}")
        pushed = queue_push(&self.queue, view.buf, <uint64_t> (held if n < 0 else n))
        PyBuffer_Release(&view)
        return pushed

    def recall(self, out: np.ndarray) -> int:
        """Copy the newest len(out) records ever pushed into `out`, oldest first; returns how many.

        Also records that were taken long ago: a slot keeps its record until it is needed again. A
        producer that was started anew learns from them what it has said.
        """
        cdef Py_buffer view
        cdef Py_ssize_t room = records_in(out, &view, self.queue.record_size, True)
        cdef uint64_t got = queue_recall(&self.queue, view.buf, <uint64_t> room)
        PyBuffer_Release(&view)
        return got

    def free(self) -> int:
        """How many records fit now."""
        return queue_free(&self.queue)

    @property
    def next_seq(self) -> int:
        """Number that the next record will have."""
        return self.queue.head


cdef class QueueConsumer:
    """The one consumer.

    Raises:
        ValueError: the buffer is no usable queue.
        BufferError: the buffer is read-only.
    """

    def __cinit__(self, buffer: object):
        cdef void* base = segment_buffer(buffer, &self.buffer, True)
        segment_refuse(queue_open(&self.queue, base, <size_t> self.buffer.len))

    def __dealloc__(self):
        if self.parked:
            queue_unpark(&self.queue)
        PyBuffer_Release(&self.buffer)

    def drain(self, out: np.ndarray) -> int:
        """Move up to len(out) records into `out`, oldest first; returns how many."""
        cdef Py_buffer view
        cdef Py_ssize_t room = records_in(out, &view, self.queue.record_size, True)
        cdef uint64_t got = queue_drain(&self.queue, view.buf, <uint64_t> room)
        PyBuffer_Release(&view)
        return got

    def peek(self, out: np.ndarray) -> int:
        """Copy up to len(out) records into `out`, oldest first, and leave them in; returns how many.

        Peeked again they are the same, also by a consumer that was started anew.
        """
        cdef Py_buffer view
        cdef Py_ssize_t room = records_in(out, &view, self.queue.record_size, True)
        cdef uint64_t got = queue_peek(&self.queue, view.buf, <uint64_t> room)
        PyBuffer_Release(&view)
        return got

    def commit(self, n: int) -> int:
        """Free the `n` oldest of the records that were peeked; returns how many were freed."""
        return queue_commit(&self.queue, <uint64_t> n)

    def waiting(self) -> int:
        """How many records are in the queue now."""
        return queue_waiting(&self.queue)

    @property
    def next_seq(self) -> int:
        """Number of the record that the next drain starts with."""
        return self.queue.tail

    def park(self) -> bool:
        """Announce that this consumer is about to sleep; False (not parked): records are there."""
        if not self.parked:
            self.parked = queue_park(&self.queue)
            return self.parked
        return queue_waiting(&self.queue) == 0

    def unpark(self) -> None:
        """Take the announcement back, after waking up."""
        if self.parked:
            queue_unpark(&self.queue)
            self.parked = False
