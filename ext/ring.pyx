"""Layer 1, feed and whoever reads ticks or bars, hot: the overwriting ring's two ends.

Protocol and picture: ring.pxd. Both classes take the buffer of a whole segment (see
memory/segment.py) and keep it; neither allocates after construction.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport int64_t, uint32_t, uint64_t

from khft_layout cimport (
    KHFT_LAYOUT_FINGERPRINT,
    SEGMENT_STATE_CLEAN,
    SEGMENT_STATE_CLOSED,
)
from ring cimport *
from segment cimport *

import numpy as np

LAYOUT_FINGERPRINT: int = KHFT_LAYOUT_FINGERPRINT


cdef class RingWriter:
    """The one writer of a ring.

    Raises:
        ValueError: the buffer is no usable ring, the ring is closed, or its last writer died
            inside a batch (the supervisor must create the next generation).
        BufferError: the buffer is read-only.
    """

    cdef ring_t ring
    cdef Py_buffer buffer

    def __cinit__(self, buffer: object):
        cdef void* base = segment_buffer(buffer, &self.buffer, True)
        segment_refuse(ring_open_writer(&self.ring, base, <size_t> self.buffer.len))

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def publish(self, records: np.ndarray, Py_ssize_t n=-1) -> int:
        """Publish the first `n` records (all by default) and wake parked readers.

        Returns the number of the first one. The records in the ring carry their numbers in `seq`;
        `records` itself is left as it was.
        """
        cdef Py_buffer view
        cdef Py_ssize_t held = records_in(records, &view, self.ring.record_size, False)
        cdef uint64_t first
        if n > held:
            PyBuffer_Release(&view)
            raise ValueError(f"{n} records asked for, the array holds {held}")
        first = ring_publish(&self.ring, view.buf, <uint64_t> (held if n < 0 else n))
        PyBuffer_Release(&view)
        return first

    @property
    def next_seq(self) -> int:
        """Number that the next published record will have."""
        return self.ring.next

    @property
    def capacity(self) -> int:
        """Records that the ring holds."""
        return self.ring.capacity

    def heartbeat(self, int64_t now_ns) -> None:
        """Sign of life (CLOCK_MONOTONIC), due every 100 ms."""
        store_release(<uint64_t*> &self.ring.control.heartbeat_ns, <uint64_t> now_ns)

    def close_clean(self) -> None:
        """Mark the end: no record follows the last one published."""
        store_release(&self.ring.control.final_seq, self.ring.next)
        store_release32(&self.ring.control.state, SEGMENT_STATE_CLEAN)


cdef class RingReader:
    """A reader with its own position; any number of them, read-only mappings will do.

    `start` is "oldest" (what is still in the ring), "newest" (only what comes), or the number of
    the record wanted next: with the old reader's `position` it carries on in the next generation,
    and numbers before that generation's first are counted as lost.

    Raises:
        ValueError: the buffer is no usable ring, or `start` lies beyond what was published.
    """

    def __cinit__(self, buffer: object, start: str | int = "oldest"):
        cdef void* base = segment_buffer(buffer, &self.buffer, False)
        segment_refuse(ring_open(&self.ring, base, <size_t> self.buffer.len))
        if start == "oldest":
            ring_cursor_oldest(&self.ring, &self.cursor)
        elif start == "newest":
            ring_cursor_newest(&self.ring, &self.cursor)
        elif isinstance(start, str):
            raise ValueError(f"start is 'oldest', 'newest' or a number, not {start!r}")
        else:
            if start > self.ring.next:
                raise ValueError(f"start at {start}, but only {self.ring.next} were published")
            ring_cursor_at(&self.ring, &self.cursor, start)

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def drain(self, out: np.ndarray) -> int:
        """Copy what is new into `out` (record array of the ring's type), oldest first.

        Returns how many; they are numbered from `first_seq` without a gap. What was overwritten
        before it could be copied is counted in `lost` and `lost_last`. Never waits, never returns
        a record that was changed while it was being copied.
        """
        cdef Py_buffer view
        cdef Py_ssize_t room = records_in(out, &view, self.ring.record_size, True)
        cdef uint64_t got
        got = ring_drain(&self.ring, &self.cursor, view.buf, <uint64_t> room)
        PyBuffer_Release(&view)
        return got

    @property
    def position(self) -> int:
        """Number of the record wanted next."""
        return self.cursor.position

    @property
    def first_seq(self) -> int:
        """Number of the first record of the last drain."""
        return self.cursor.first_seq

    @property
    def lost(self) -> int:
        """Records lost to overwriting since this reader started."""
        return self.cursor.lost

    @property
    def lost_last(self) -> int:
        """Records lost by the last drain; they are the ones just before `first_seq`."""
        return self.cursor.lost_last

    @property
    def capacity(self) -> int:
        """Records that the ring holds."""
        return self.ring.capacity

    def head(self) -> int:
        """Number of records published so far: the number after the last one."""
        return load_acquire(&self.ring.control.head)

    def lag(self) -> int:
        """How many published records this reader has not seen."""
        cdef uint64_t head = load_acquire(&self.ring.control.head)
        return head - self.cursor.position if head > self.cursor.position else 0

    def writer_mid_batch(self) -> bool:
        """A batch is being written now, or its writer died inside it (then this stays true)."""
        cdef uint64_t head = load_acquire(&self.ring.control.head)
        return load_acquire(&self.ring.control.intent) != head

    def finished(self) -> bool:
        """The generation is closed and everything in it was read or lost: attach the next one."""
        return self.is_closed() and self.cursor.position >= load_acquire(&self.ring.control.final_seq)

    cdef bint is_closed(self) noexcept:
        cdef uint32_t state = load_acquire32(&self.ring.control.state)
        return state == SEGMENT_STATE_CLOSED or state == SEGMENT_STATE_CLEAN
