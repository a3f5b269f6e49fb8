"""Layer 2, workers, hot: of two feeds that tell of the same instruments the fresher one is taken.

Two brokers' feeds are conflated apart: both tell the same trade, one a little later. Taking every tick of
both would let a price go back and forth. So each instrument has a feed that leads, and the other one is
passed over until it is plainly ahead. A pure rule over (exchange time, time of receipt) of one instrument's
ticks in the order in which they were drained: the input log replays it.

    take a tick   of the feed that leads, or of any feed when none has led yet;
                  or when its exchange time lies in a later second than any taken one;
                  or when the last one taken was received hold_ns or longer before it.
    pass it over  else. The feed of a tick that is taken leads.

In seconds, for that is what one of the brokers tells; a feed without exchange times (0) comes in when the
other one is quiet.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc

from khft_layout cimport khft_tick_t
from segment cimport records_in

import numpy as np

cdef int64_t NS_PER_S = 1_000_000_000
LAST = np.dtype([("second", "<i8"), ("recv_ns", "<i8"), ("leader", "<i8")])
"""Of an instrument: the newest exchange second and the time of receipt of what was taken, and the
connection that leads (-1: none has yet)."""

cdef struct last_t:
    int64_t second
    int64_t recv_ns
    int64_t leader


cdef class Twins:
    """What was taken last of each of `n` slots.

    Raises:
        ValueError: n or hold_ns below 0.
    """

    cdef last_t* last
    cdef Py_ssize_t n
    cdef int64_t hold_ns

    def __cinit__(self, Py_ssize_t n, int64_t hold_ns):
        cdef Py_ssize_t slot
        if n < 0 or hold_ns < 0:
            raise ValueError(f"{n} slots, hold_ns {hold_ns}: neither may be below 0")
        self.last = <last_t*> malloc(max(1, n) * sizeof(last_t))
        if not self.last:
            raise MemoryError()
        self.n, self.hold_ns = n, hold_ns
        for slot in range(n):
            self.last[slot] = last_t(0, 0, -1)

    def __dealloc__(self):
        free(self.last)

    def take(self, ticks: np.ndarray, Py_ssize_t n) -> int:
        """Of the first n TICKs keep, in order and at the front, those that are taken; how many.

        Raises:
            ValueError: other records, fewer than n, or a slot beyond the last: nothing is changed then.
        """
        cdef Py_buffer view
        cdef Py_ssize_t held = records_in(ticks, &view, sizeof(khft_tick_t), True)
        cdef khft_tick_t* tick = <khft_tick_t*> view.buf
        cdef Py_ssize_t at, kept = 0
        try:
            if n > held:
                raise ValueError(f"{n} ticks asked for, the array holds {held}")
            for at in range(n):
                if <Py_ssize_t> tick[at].slot >= self.n:
                    raise ValueError(f"slot {tick[at].slot} of {self.n}")
            for at in range(n):
                if self._takes(tick + at):
                    if kept != at:
                        tick[kept] = tick[at]
                    kept += 1
        finally:
            PyBuffer_Release(&view)
        return kept

    cdef bint _takes(self, const khft_tick_t* tick) noexcept nogil:
        cdef last_t* last = self.last + tick.slot
        cdef int64_t second = tick.exch_ns // NS_PER_S
        if last.leader == tick.connection:
            last.second = max(last.second, second)
        elif last.leader < 0 or second > last.second or tick.recv_ns - last.recv_ns >= self.hold_ns:
            last.second, last.leader = second, tick.connection
        else:
            return False
        last.recv_ns = tick.recv_ns
        return True

    def save(self, slots: np.ndarray) -> np.ndarray:
        """LAST of these slots (uint32), for another process to go on from.

        Raises:
            ValueError: a slot beyond the last.
        """
        found = np.zeros(len(slots), LAST)
        cdef last_t* to = <last_t*> <size_t> found.ctypes.data
        cdef Py_ssize_t at
        for at, slot in enumerate(self._known(slots)):
            to[at] = self.last[<Py_ssize_t> slot]
        return found

    def restore(self, saved: np.ndarray, slots: np.ndarray) -> None:
        """Go on from what `save` gave of the same slots.

        Raises:
            ValueError: of other slots.
        """
        if saved.dtype != LAST or len(saved) != len(slots) or not saved.flags.c_contiguous:
            raise ValueError(f"{len(saved)} records of {saved.dtype} for {len(slots)} slots")
        cdef const last_t* origin = <const last_t*> <size_t> saved.ctypes.data
        cdef Py_ssize_t at
        for at, slot in enumerate(self._known(slots)):
            self.last[<Py_ssize_t> slot] = origin[at]

    cdef list _known(self, object slots):
        cdef list known = slots.tolist()
        if known and not 0 <= min(known) <= max(known) < self.n:
            raise ValueError(f"slots {min(known)} to {max(known)} of {self.n}")
        return known
