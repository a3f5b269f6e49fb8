"""Layer 1, workers, hot: what a worker takes in is written down before it works on it.

One INPUT record per drain, not per tick. The log is a ring of its own: who restarts the worker
reads it from the number that its snapshot names.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from khft_layout cimport (
    INPUT_KIND_DRAIN,
    INPUT_KIND_EVENTS,
    SEGMENT_KIND_INPUT_RING,
    khft_header_t,
    khft_input_t,
)
from ring cimport *
from segment cimport *


cdef class InputLog:
    """The one writer of an input log.

    Raises:
        ValueError: the buffer is no usable ring, or its last writer died inside a record (the
            supervisor must create the next generation).
        BufferError: the buffer is read-only.
    """

    def __cinit__(self, buffer: object):
        cdef void* base = segment_buffer(buffer, &self.buffer, True)
        segment_refuse(ring_open_writer(&self.ring, base, <size_t> self.buffer.len))
        memset(&self.record, 0, sizeof(khft_input_t))
        if (<const khft_header_t*> base).kind != SEGMENT_KIND_INPUT_RING:
            raise ValueError("the ring holds no INPUT records")

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def drained(
        self, uint32_t source, uint64_t generation, uint64_t first_seq, uint32_t n, uint64_t lost,
        int64_t now_ns, uint64_t room,
    ) -> None:
        """n ticks of connection `source` from number first_seq on; `lost` more before them were lost.

        room: how many intents the worker may make of them.
        """
        self.put(INPUT_KIND_DRAIN, source, generation, first_seq, n, lost, now_ns, room)

    def events(self, uint32_t source, uint64_t first_seq, uint32_t n, int64_t now_ns, uint64_t room) -> None:
        """n ORDER_EVENTs of queue `source` from number first_seq on."""
        self.put(INPUT_KIND_EVENTS, source, 0, first_seq, n, 0, now_ns, room)

    cdef void put(
        self, int kind, uint32_t source, uint64_t generation, uint64_t first_seq, uint32_t n,
        uint64_t lost, int64_t now_ns, uint64_t room,
    ) noexcept:
        cdef khft_input_t* record = &self.record
        record.kind = kind
        record.source = source
        record.generation = generation
        record.first_seq = first_seq
        record.n = n
        record.lost = lost
        record.now_ns = now_ns
        record.room = room
        ring_publish(&self.ring, record, 1)

    @property
    def next_seq(self) -> int:
        """Number that the next record will have."""
        return self.ring.next
