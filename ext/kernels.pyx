"""Layer 2, compute, hot: the default kernels (two Kalman filters and OHLC bars) on TICK batches.

The arithmetic is in kernels.h and kalman.h; its slow twins are tests/reference/kalman.py and bars.py. One
object belongs to one worker and one thread. What comes out depends on the order of the ticks
only, never on how they were cut into batches.

    1-state filter   P += Q; K = P/(P+R); x += K*(z-x); P *= 1-K              (per tick)
    2-state filter   price and velocity, F = [[1, dt], [0, 1]], H = [1, 0], Q = diag(q2, q2)
    bars             1 s touched per tick; longer ones are folded from closed shorter ones

z is last_px / scale, in currency units. A tick whose last_px <= 0 has never traded: it changes
nothing and its row is NaN with tick_no 0, as is the row of a slot that is out of range.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from khft_layout cimport *

from kite_hft.layout import BAR, KERNEL_ROW, TICK
from kite_hft.memory.recording import ROW

cdef extern from "kernels.h" nogil:
    const char* KERNEL_STATE_DESCR
    const char* KERNEL_PARAMS_DESCR
    const char* KERNEL_SUM_DESCR
    const char* KERNEL_WINDOW_DESCR
    enum:
        KERNEL_PERIODS
        KERNEL_LONG_PERIODS
        KERNEL_SECOND_NS
        KERNEL_NO_VOLUME
        KERNEL_BASELINE
        KERNEL_BAR_BY_TIME
        KERNEL_BAR_CUT

    size_t kernels_run(
        kernels_t*, const void* ticks, size_t stride, size_t n, khft_kernel_row_t*, khft_bar_t*
    )
    size_t kernels_run_bars(
        kernels_t*, const void* ticks, size_t stride, size_t n, khft_kernel_row_t*, khft_bar_t*
    )
    size_t kernels_close_through(kernels_t*, int64_t now_ns, int all, int64_t recv_ns, khft_bar_t*)


def _dtype(bytes description):
    """The numpy dtype of a struct of kernels.h, from the same list as the struct."""
    pairs = [field.split(":") for field in description.decode().rstrip(",").split(",")]
    return np.dtype([(name.strip(), code) for name, code in pairs])


STATE = _dtype(KERNEL_STATE_DESCR)
PARAMS = _dtype(KERNEL_PARAMS_DESCR)
SUM = _dtype(KERNEL_SUM_DESCR)
WINDOW = _dtype(KERNEL_WINDOW_DESCR)
SNAPSHOT = np.dtype([("state", STATE), ("sums", SUM, (KERNEL_LONG_PERIODS,))])
PERIODS: int = KERNEL_PERIODS
BAR_BY_TIME: int = KERNEL_BAR_BY_TIME
BAR_CUT: int = KERNEL_BAR_CUT
cdef size_t ROW_BYTES = ROW.itemsize


cdef object _aligned(shape, dtype):
    """Zeroed array whose first byte starts a cache line."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


cdef inline void _copy(uint8_t* record, uint8_t* state, size_t size, bint out) noexcept nogil:
    if out:
        memcpy(record, state, size)
    else:
        memcpy(state, record, size)


cdef size_t _address(array) except 0:
    return <size_t> array.ctypes.data


cdef int _records(object array, Py_buffer* view, size_t record, size_t needed, bint writable, str what) except -1:
    """Take the buffer of a one-dimensional contiguous record array, checked for size."""
    PyObject_GetBuffer(array, view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
    if <size_t> view.itemsize != record or <size_t> view.len < needed * record:
        size, length = view.itemsize, view.len
        PyBuffer_Release(view)
        raise ValueError(f"{what}: {length} bytes in records of {size}, need {needed} records of {record}")
    return 0


cdef size_t _stride(object ticks) except 0:
    """Bytes from one tick to the next: those of TICK, or of a compact row."""
    if ticks.itemsize == ROW_BYTES and (ticks.dtype is ROW or ticks.dtype == ROW):
        return ROW_BYTES
    return sizeof(khft_tick_t)


cdef object _column(values, n_slots, dtype, name):
    """A scalar for all slots (length 1) or one value per slot."""
    column = np.atleast_1d(np.asarray(values, dtype))
    if column.shape not in {(1,), (n_slots,)}:
        raise ValueError(f"{name}: shape {column.shape}, need one value or {n_slots}")
    return column


cdef class Kernels:
    """State of the default kernels for `n_slots` instruments.

    Every parameter is one value for all slots or an array of n_slots.

    scale: price units per currency unit. token: instrument tokens, for the checksum.
    q, r, p0, x0: 1-state filter; x0 NaN takes the first tick's price. q2, r2, p02, x02: 2-state.
    dt_seconds: the 2-state filter's step is the time between socket reads (recv_ns; Kite's
        exchange time has whole seconds only) and q2 is per second; else the step is one tick.
        No or negative time between two ticks: only the measurement is taken in.
    open_ns, close_ns: the session in epoch ns, whole seconds; bars have open_ns <= t < close_ns.
    has_volume: 0 where the messages carry no day volume, so that every message counts.
    periods_s: the three longer periods, each a multiple of the one before.
    epoch_offset_ns: added to recv_ns for the time of a message that carries no exchange time.
    emit_mask: bit i: bars of period i (0: 1 s) are written out and set in closed_mask.
    filters: False: bars only; estimates and velocity are NaN, ticks are counted.

    Raises ValueError: a shape or value that makes no sense.
    """

    def __init__(
        self, n_slots: int, *, scale=100, token=0, q=1e-4, r=1e-2, p0=1.0, x0=0.0,
        q2=1e-4, r2=1e-2, p02=1.0, x02=0.0, dt_seconds: bool = False,
        open_ns=0, close_ns=2**63 - 1, has_volume=1, periods_s: tuple[int, ...] = (60, 300, 900),
        epoch_offset_ns: int = 0, emit_mask: int = 0xF, filters: bool = True,
    ) -> None:
        if not 0 < n_slots < 2**31:
            raise ValueError(f"n_slots {n_slots}")
        memset(&self.k, 0, sizeof(kernels_t))
        self.k.n_slots = n_slots
        self.periods = (1, *periods_s)
        if len(self.periods) != KERNEL_PERIODS or any(
            not a < b or b % a for a, b in zip(self.periods, self.periods[1:], strict=False)
        ):
            raise ValueError(f"periods_s {periods_s}: need three, each a multiple of the one before")
        self.state_array = _aligned((n_slots,), STATE)
        self.sums_array = _aligned((KERNEL_LONG_PERIODS, n_slots), SUM)
        noises = {"q": q, "r": r, "p0": p0, "x0": x0, "q2": q2, "r2": r2, "p02": p02, "x02": x02}
        self.params_array = self._table(PARAMS, noises, np.float64)
        for name in ("q", "r", "p0", "q2", "r2", "p02"):
            if not np.all(np.isfinite(self.params_array[name]) & (self.params_array[name] > 0)):
                raise ValueError(f"{name} must be positive and finite")
        self.state_array["scale"] = _column(scale, n_slots, np.float64, "scale")
        if not np.all(self.state_array["scale"] > 0):
            raise ValueError("scale must be positive")
        self.state_array["token"] = _column(token, n_slots, np.uint32, "token")
        wanted = _column(has_volume, n_slots, np.bool_, "has_volume")
        self.state_array["flags"] = np.where(wanted, 0, KERNEL_NO_VOLUME)
        self.k.state = <kernel_state_t*> _address(self.state_array)
        self.k.sums = <kernel_sum_t*> _address(self.sums_array)
        self.k.params = <const kernel_params_t*> _address(self.params_array)
        self.k.params_stride = len(self.params_array) > 1
        for i in range(KERNEL_PERIODS):
            self.k.period_ns[i] = self.periods[i] * KERNEL_SECOND_NS
        self.k.epoch_offset_ns = epoch_offset_ns
        self.k.dt_seconds = dt_seconds
        self.k.emit_mask = emit_mask
        self.filters = filters
        self.set_session(open_ns, close_ns)

    def _table(self, dtype, columns, kind):
        columns = {name: _column(v, self.n_slots, kind, name) for name, v in columns.items()}
        table = _aligned((max(map(len, columns.values())),), dtype)
        for name, column in columns.items():
            table[name] = column
        return table

    def set_session(self, open_ns, close_ns) -> None:
        """The session from here on (epoch ns, one value or one per slot). Open bars stay open.

        Raises ValueError: not whole seconds, or open not before close.
        """
        last = 2**63 - 1
        windows = self._table(WINDOW, {"open_ns": open_ns, "close_ns": close_ns}, np.int64)
        ragged = (windows["open_ns"] % KERNEL_SECOND_NS != 0) | (
            (windows["close_ns"] % KERNEL_SECOND_NS != 0) & (windows["close_ns"] != last)
        )
        if np.any(ragged | (windows["open_ns"] < 0) | (windows["open_ns"] >= windows["close_ns"])):
            raise ValueError("a session begins and ends on whole seconds, the beginning first")
        self.windows_array = windows
        self.k.windows = <const kernel_window_t*> _address(windows)
        self.k.windows_stride = len(windows) > 1

    def run(self, ticks: np.ndarray, n: int, rows: np.ndarray, bars: np.ndarray) -> int:
        """Take in ticks[:n]; write rows[:n] and the bars that closed; returns how many closed.

        ticks: TICK, or compact rows (its first 64 bytes); rows: KERNEL_ROW, bars: BAR; all contiguous;
        bars holds at least 4 x n records.

        Raises ValueError: a buffer of another record or too short.
        """
        cdef Py_buffer t, r, b
        cdef size_t count = n, closed, stride = _stride(ticks)
        _records(ticks, &t, stride, count, False, "ticks")
        try:
            _records(rows, &r, sizeof(khft_kernel_row_t), count, True, "rows")
            try:
                _records(bars, &b, sizeof(khft_bar_t), KERNEL_PERIODS * count, True, "bars")
                try:
                    with nogil:
                        closed = self.take(
                            t.buf, stride, count, <khft_kernel_row_t*> r.buf, <khft_bar_t*> b.buf
                        )
                finally:
                    PyBuffer_Release(&b)
            finally:
                PyBuffer_Release(&r)
        finally:
            PyBuffer_Release(&t)
        return closed

    cdef size_t take(
        self, const void* ticks, size_t stride, size_t n, khft_kernel_row_t* rows, khft_bar_t* bars
    ) noexcept nogil:
        cdef size_t closed
        if n == 0:
            return 0
        if self.filters:
            closed = kernels_run(&self.k, ticks, stride, n, rows, bars)
        else:
            closed = kernels_run_bars(&self.k, ticks, stride, n, rows, bars)
        if rows[n - 1].time_ns > self.newest_ns:
            self.newest_ns = rows[n - 1].time_ns
        return closed

    def close_through(self, int64_t now_exch_ns, bars: np.ndarray, int64_t recv_ns=0) -> int:
        """Close every bar that ends by `now_exch_ns`; ticks before its second are late from here on.

        bars: BAR, at least 4 x n_slots records; returns how many were written.
        """
        return self._close(now_exch_ns, bars, recv_ns, False)

    def flush(self, int64_t now_exch_ns, bars: np.ndarray, int64_t recv_ns=0) -> int:
        """Close all bars, unfinished ones too (flag BAR_CUT): the end of a session or of a run."""
        return self._close(now_exch_ns, bars, recv_ns, True)

    def _close(self, int64_t now_exch_ns, bars: np.ndarray, int64_t recv_ns, bint everything) -> int:
        cdef Py_buffer b
        cdef size_t closed
        _records(bars, &b, sizeof(khft_bar_t), KERNEL_PERIODS * self.k.n_slots, True, "bars")
        try:
            with nogil:
                closed = kernels_close_through(
                    &self.k, now_exch_ns, everything, recv_ns, <khft_bar_t*> b.buf
                )
        finally:
            PyBuffer_Release(&b)
        return closed

    def reset(self, slot: int = -1) -> None:
        """Start a slot (-1: all) afresh: filters, bars and volume baseline. Open bars are dropped."""
        if not -1 <= slot < self.n_slots:
            raise ValueError(f"slot {slot} of {self.n_slots}")
        chosen = slice(None) if slot < 0 else slice(slot, slot + 1)
        kept = {name: self.state_array[name][chosen].copy() for name in ("token", "scale", "flags")}
        self.state_array[chosen] = np.zeros((), STATE)
        for name, values in kept.items():
            self.state_array[name][chosen] = values & KERNEL_NO_VOLUME if name == "flags" else values
        self.sums_array[:, chosen] = np.zeros((), SUM)

    def reset_filters(self, slot: int = -1) -> None:
        """Start only the filters of a slot (-1: all) afresh; bars go on."""
        if not -1 <= slot < self.n_slots:
            raise ValueError(f"slot {slot} of {self.n_slots}")
        self.state_array["tick_no"][slice(None) if slot < 0 else slice(slot, slot + 1)] = 0

    def snapshot(self, slots: np.ndarray | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """State of all slots, or of `slots` (uint32), as SNAPSHOT records in that order.

        out: where to put them (as many SNAPSHOT records), else a new array. Parameters, sessions and
        `totals` are not in it.

        Raises IndexError: a slot that does not exist. ValueError: `out` has another size.
        """
        chosen = self._chosen(slots)
        cdef Py_ssize_t count = len(chosen)
        if out is None:
            out = np.empty(count, SNAPSHOT)
        elif out.dtype != SNAPSHOT or out.shape != (count,) or not out.flags.c_contiguous:
            raise ValueError(f"out {out.shape} {out.dtype.itemsize} B, need ({count},)")
        self._move(chosen, out, True)
        return out

    def restore(self, taken: np.ndarray, slots: np.ndarray | None = None) -> None:
        """Go on from a snapshot of kernels with the same instruments; other slots stay as they are.

        Raises ValueError: another shape or dtype, or other tokens or scales.
        """
        chosen = self._chosen(slots)
        if taken.dtype != SNAPSHOT or taken.shape != (len(chosen),):
            raise ValueError(f"snapshot {taken.shape} {taken.dtype.itemsize} B, need ({len(chosen)},)")
        for name in ("token", "scale"):
            if not np.array_equal(taken["state"][name], self.state_array[name][chosen]):
                raise ValueError(f"snapshot of other instruments: {name} differs")
        self._move(chosen, np.ascontiguousarray(taken), False)

    cdef object _chosen(self, object slots):
        if slots is None:
            return np.arange(self.n_slots, dtype=np.uint32)
        chosen = np.ascontiguousarray(slots, np.uint32)
        if len(chosen) and chosen.max() >= self.n_slots:
            raise IndexError(f"slot {chosen.max()} of {self.n_slots}")
        return chosen

    cdef void _move(self, object slots, object records, bint out):
        """Copy state and sums of slots to records (out) or back; both were checked."""
        cdef const uint32_t* slot = <const uint32_t*> <size_t> slots.ctypes.data
        cdef uint8_t* record = <uint8_t*> <size_t> records.ctypes.data
        cdef Py_ssize_t count = len(slots), i
        cdef int period
        with nogil:
            for i in range(count):
                _copy(record, <uint8_t*> (self.k.state + slot[i]), sizeof(kernel_state_t), out)
                record += sizeof(kernel_state_t)
                for period in range(KERNEL_LONG_PERIODS):
                    _copy(
                        record, <uint8_t*> (self.k.sums + period * self.k.n_slots + slot[i]),
                        sizeof(kernel_sum_t), out,
                    )
                    record += sizeof(kernel_sum_t)

    @property
    def n_slots(self) -> int:
        return self.k.n_slots

    @property
    def periods_s(self) -> tuple[int, ...]:
        """Of the four kinds of bars, ascending."""
        return self.periods

    @property
    def last_ns(self) -> int:
        """The newest time among the last ticks of all batches; 0 before the first one."""
        return self.newest_ns

    @last_ns.setter
    def last_ns(self, int64_t time_ns) -> None:
        self.newest_ns = time_ns

    @property
    def totals(self) -> dict[str, int]:
        """What belongs to no slot: running totals, and the offset from recv_ns to epoch time."""
        return {
            "checksum": self.k.checksum,
            "late": self.k.late,
            "unknown_slot": self.k.unknown_slot,
            "no_price": self.k.no_price,
            "epoch_offset_ns": self.k.epoch_offset_ns,
        }

    @totals.setter
    def totals(self, totals: dict[str, int]) -> None:
        self.k.checksum = totals["checksum"]
        self.k.late = totals["late"]
        self.k.unknown_slot = totals["unknown_slot"]
        self.k.no_price = totals["no_price"]
        self.k.epoch_offset_ns = totals["epoch_offset_ns"]

    @property
    def checksum(self) -> int:
        """Wrapping sum of ext/checksum.h over all ticks taken in."""
        return self.k.checksum

    @property
    def late(self) -> int:
        """Ticks older than the open bar of their slot."""
        return self.k.late

    @property
    def unknown_slot(self) -> int:
        """Ticks whose slot is out of range: not in the checksum."""
        return self.k.unknown_slot

    @property
    def no_price(self) -> int:
        """Ticks with last_px <= 0."""
        return self.k.no_price
