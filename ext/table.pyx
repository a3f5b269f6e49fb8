"""Layer 1, feed writes, anybody looks, hot: the latest tick of every instrument.

Rows are read whole or not at all (one seqlock per row). Kernels and strategies never read this
table: what they saw would depend on timing and could not be replayed.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from khft_layout cimport khft_tick_t
from segment cimport *
from table cimport *

import numpy as np

cdef enum:
    HEAD_BYTES = 64  # price, sequence and time of receipt stand in it

cdef int64_t RESOLUTION_NS = 1_000_000_000  # of the exchange's stamps: a lag is known to be this much less


cdef class TableWriter:
    """The one writer.

    Raises:
        ValueError: the buffer is no usable table.
        BufferError: the buffer is read-only.
    """

    cdef table_t table
    cdef Py_buffer buffer

    def __cinit__(self, buffer: object):
        cdef void* base = segment_buffer(buffer, &self.buffer, True)
        segment_refuse(table_open(&self.table, base, <size_t> self.buffer.len))

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def put(self, records: np.ndarray, Py_ssize_t n=-1, int64_t behind_ns=0) -> None:
        """Write the first `n` TICK records (all by default), each into the row of its slot.

        behind_ns: how late they came, as table.h has it; 0: not known.

        Raises:
            ValueError: a slot lies outside the table; nothing is written then.
        """
        cdef Py_buffer view
        cdef Py_ssize_t held = records_in(records, &view, self.table.record_size, False)
        cdef const khft_tick_t* ticks = <const khft_tick_t*> view.buf
        cdef Py_ssize_t i
        try:
            if n > held:
                raise ValueError(f"{n} records asked for, the array holds {held}")
            n = held if n < 0 else n
            for i in range(n):
                if ticks[i].slot >= self.table.capacity:
                    raise ValueError(f"slot {ticks[i].slot} in a table of {self.table.capacity} rows")
            for i in range(n):
                table_put(&self.table, ticks[i].slot, ticks + i, behind_ns)
        finally:
            PyBuffer_Release(&view)


cdef class TableReader:
    """Any number of readers; read-only mappings will do. `unstable` counts looks given up.

    Raises:
        ValueError: the buffer is no usable table.
    """

    def __cinit__(self, buffer: object):
        cdef void* base = segment_buffer(buffer, &self.buffer, False)
        segment_refuse(table_open(&self.table, base, <size_t> self.buffer.len))

    def __dealloc__(self):
        PyBuffer_Release(&self.buffer)

    def judge_stamps(self, int64_t ahead_ns, int64_t late_ns) -> None:
        """From now on `look` and `heads` tell of what came late an earlier time of receipt.

        A connection that brings what is old (a backlog that was not read, a broker who lags) brings all of it
        late. Where the newest exchange time that it had shown lay more than late_ns behind the receipt, the
        tick counts as received when it should have been: by that lag earlier, less the stamps' resolution.
        ahead_ns: what to add to CLOCK_MONOTONIC for the clock of the stamps.

        Raises:
            ValueError: late_ns is less than the stamps' resolution.
        """
        if late_ns < RESOLUTION_NS:
            raise ValueError(f"late_ns {late_ns}: stamps are exact to {RESOLUTION_NS} ns, a lag to no less")
        self.ahead_ns, self.late_ns, self.by_stamps = ahead_ns, late_ns, True

    @property
    def capacity(self) -> int:
        """Rows."""
        return self.table.capacity

    def get(self, uint64_t slot, out: np.ndarray) -> bool:
        """Copy the latest record of `slot` into out[0].

        False: the row was never written, or could not be read in one piece (then `unstable` went
        up by one). `out` is undefined then.

        Raises:
            IndexError: no such row.
        """
        cdef Py_buffer view
        cdef int answer
        if slot >= self.table.capacity:
            raise IndexError(f"slot {slot} in a table of {self.table.capacity} rows")
        if records_in(out, &view, self.table.record_size, True) < 1:
            PyBuffer_Release(&view)
            raise ValueError("out has room for no record")
        answer = table_get(&self.table, slot, view.buf)
        PyBuffer_Release(&view)
        self.unstable += answer == TABLE_UNSTABLE
        return answer == TABLE_GOOD

    cdef int _head(self, uint64_t slot, khft_tick_t* tick) noexcept nogil:
        """The first cache line of a record; TABLE_NEVER_WRITTEN for a slot that has no row.

        Its time of receipt is as `judge_stamps` says.
        """
        cdef int answer
        cdef int64_t behind_ns = 0, lag_ns
        if slot >= self.table.capacity or self.table.record_size < HEAD_BYTES:
            return TABLE_NEVER_WRITTEN
        answer = table_get_head(&self.table, slot, tick, HEAD_BYTES, &behind_ns)
        self.unstable += answer == TABLE_UNSTABLE
        if self.by_stamps and behind_ns and answer == TABLE_GOOD:
            lag_ns = behind_ns + self.ahead_ns
            if lag_ns > self.late_ns:
                tick.recv_ns -= lag_ns - RESOLUTION_NS
        return answer

    def last_px(self, uint64_t slot) -> int:
        """Last price of `slot` in its unit; 0: there is none, as when `get` is false, or no such row."""
        cdef khft_tick_t tick
        return tick.last_px if self._head(slot, &tick) == TABLE_GOOD else 0

    def look(self, uint64_t slot) -> tuple[int, int, int] | None:
        """(last price, tick sequence, time of receipt in ns) of one record of `slot`; None: there is none."""
        cdef khft_tick_t tick
        if self._head(slot, &tick) != TABLE_GOOD:
            return None
        return tick.last_px, tick.seq, tick.recv_ns

    def heads(self, slots: np.ndarray, px: np.ndarray, recv_ns: np.ndarray) -> None:
        """Last price (int32) and time of receipt (int64) of each of `slots` (uint32); 0 and 0: there is none.

        Raises:
            ValueError: arrays of other types or lengths.
        """
        cdef Py_buffer views[3]
        cdef Py_ssize_t at, n = records_in(slots, &views[0], sizeof(uint32_t), False), n_px = -1, n_recv = -1
        cdef khft_tick_t tick
        cdef bint good
        try:
            n_px = records_in(px, &views[1], sizeof(int32_t), True)
            n_recv = records_in(recv_ns, &views[2], sizeof(int64_t), True)
            if not n == n_px == n_recv:
                raise ValueError(f"{n} slots, room for {n_px} prices and {n_recv} times")
            for at in range(n):
                good = self._head((<const uint32_t*> views[0].buf)[at], &tick) == TABLE_GOOD
                (<int32_t*> views[1].buf)[at] = tick.last_px if good else 0
                (<int64_t*> views[2].buf)[at] = tick.recv_ns if good else 0
        finally:
            PyBuffer_Release(&views[0])
            if n_px >= 0:
                PyBuffer_Release(&views[1])
            if n_recv >= 0:
                PyBuffer_Release(&views[2])
