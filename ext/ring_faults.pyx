"""Layer 1, tests and verification only, cold: rings that are broken on purpose, and a writer that dies.

The same code as ring.pyx, instantiated in its broken forms (ring_faults.h). The engine never
imports this module.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport uint64_t

from khft_layout cimport SEGMENT_STATE_CLEAN, SEGMENT_STATE_CLOSED, khft_control_t
from segment cimport *

import numpy as np


cdef extern from "ring_faults.h" nogil:
    ctypedef struct ring_t:
        khft_control_t* control
        uint64_t record_size
        uint64_t next

    ctypedef struct ring_cursor_t:
        uint64_t position
        uint64_t first_seq
        uint64_t lost

    enum:
        RING_SOUND
        RING_HEAD_BEFORE_DATA
        RING_NO_VALIDATION
        RING_NO_ODD_MARK
        RING_AT_START
        RING_AT_INTENT
        RING_AT_WORD
        RING_AT_STAMP
        RING_AT_HEAD
        RING_AT_WAKE
    int ring_crash_point
    uint64_t ring_crash_after
    uint64_t ring_pause_every
    int ring_open(ring_t* ring, void* base, size_t size)
    void ring_cursor_oldest(const ring_t* ring, ring_cursor_t* cursor)
    uint64_t ring_publish_form(ring_t* ring, const void* records, uint64_t n, int form)
    uint64_t ring_drain_form(const ring_t* ring, ring_cursor_t* cursor, void* out, uint64_t max, int form)


FORMS = {
    "sound": RING_SOUND,
    "head_before_data": RING_HEAD_BEFORE_DATA,
    "no_validation": RING_NO_VALIDATION,
    "no_odd_mark": RING_NO_ODD_MARK,
}

# Where a publish can die: before it, and after each kind of store.
CRASH_POINTS = {
    "start": RING_AT_START,
    "intent": RING_AT_INTENT,
    "word": RING_AT_WORD,
    "stamp": RING_AT_STAMP,
    "head": RING_AT_HEAD,
    "wake": RING_AT_WAKE,
}


def crash_at(str point, uint64_t after=0) -> None:
    """Kill this process (SIGKILL) when a FaultyWriter reaches `point`, after passing it `after` times."""
    global ring_crash_point, ring_crash_after
    ring_crash_after = after
    ring_crash_point = CRASH_POINTS[point]


def pause_every(uint64_t publishes) -> None:
    """Let every FaultyWriter of this process sleep inside a record, once in so many publishes; 0: never."""
    global ring_pause_every
    ring_pause_every = publishes


cdef class FaultyWriter:
    """RingWriter's publish in the given form (a name of FORMS)."""

    cdef ring_t ring
    cdef Py_buffer buffer
    cdef int form

    def __cinit__(self, buffer: object, str form="sound"):
        self.form = FORMS[form]
        cdef void* base = segment_buffer(buffer, &self.buffer, True)
        segment_refuse(ring_open(&self.ring, base, <size_t> self.buffer.len))

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def publish(self, records: np.ndarray) -> int:
        """Publish all `records`; returns the number of the first one."""
        cdef Py_buffer view
        cdef Py_ssize_t n = records_in(records, &view, self.ring.record_size, False)
        cdef uint64_t first = ring_publish_form(&self.ring, view.buf, <uint64_t> n, self.form)
        PyBuffer_Release(&view)
        return first

    @property
    def next_seq(self) -> int:
        """Number that the next published record will have."""
        return self.ring.next

    def close_clean(self) -> None:
        """Mark the end: no record follows the last one published."""
        store_release(&self.ring.control.final_seq, self.ring.next)
        store_release32(&self.ring.control.state, SEGMENT_STATE_CLEAN)


cdef class FaultyReader:
    """RingReader's drain in the given form (a name of FORMS), from the oldest record."""

    cdef ring_t ring
    cdef ring_cursor_t cursor
    cdef Py_buffer buffer
    cdef int form

    def __cinit__(self, buffer: object, str form="sound"):
        self.form = FORMS[form]
        cdef void* base = segment_buffer(buffer, &self.buffer, False)
        segment_refuse(ring_open(&self.ring, base, <size_t> self.buffer.len))
        ring_cursor_oldest(&self.ring, &self.cursor)

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def drain(self, out: np.ndarray) -> int:
        """Copy what is new into `out`; returns how many records."""
        cdef Py_buffer view
        cdef Py_ssize_t room = records_in(out, &view, self.ring.record_size, True)
        cdef uint64_t got = ring_drain_form(&self.ring, &self.cursor, view.buf, <uint64_t> room, self.form)
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
        """Records counted as lost since this reader started."""
        return self.cursor.lost

    def lag(self) -> int:
        """How many published records this reader has not seen."""
        cdef uint64_t head = load_acquire(&self.ring.control.head)
        return head - self.cursor.position if head > self.cursor.position else 0

    def finished(self) -> bool:
        """The writer closed the ring and everything in it was read or lost."""
        state = load_acquire32(&self.ring.control.state)
        closed = state == SEGMENT_STATE_CLEAN or state == SEGMENT_STATE_CLOSED
        return closed and self.cursor.position >= load_acquire(&self.ring.control.final_seq)
