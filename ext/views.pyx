"""Layer 2, compute, hot: what a Python strategy sees of a batch, without an object per tick.

One TickView stands on the stage's batch arrays and is moved from tick to tick; one BarView
likewise. Prices are floats in currency units; the raw integers keep their `_px` names.
"""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from khft_layout cimport *

from kite_hft.layout import BAR, KERNEL_ROW, TICK


cdef class _Records:
    """A buffer held for the life of the view, checked for record size and writability."""

    cdef Py_buffer view
    cdef bint held
    cdef size_t n

    def __cinit__(self, array, size_t record, bint writable=False):
        self.held = False
        PyObject_GetBuffer(array, &self.view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.held = True
        if <size_t> self.view.itemsize != record:
            raise ValueError(f"records of {self.view.itemsize} bytes, need {record}")
        self.n = self.view.len // record

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef class BarView:
    """A closed bar, valid during on_bar only."""

    cdef _Records bars, scale_buffer, token_buffer
    cdef const khft_bar_t* b
    cdef double scale
    cdef uint32_t token

    def __init__(self, bars: np.ndarray, scales: np.ndarray, tokens: np.ndarray) -> None:
        """bars: BAR; scales: (n_slots,) float64; tokens: (n_slots,) uint32; all contiguous."""
        self.bars = _Records(bars, sizeof(khft_bar_t))
        self.scale_buffer = _Records(scales, sizeof(double))
        self.token_buffer = _Records(tokens, sizeof(uint32_t))
        self.b = <const khft_bar_t*> self.bars.view.buf

    def seek(self, index: int) -> None:
        """Stand on bars[index].

        Raises IndexError: outside the array, or a slot without a scale.
        """
        if not 0 <= index < self.bars.n:
            raise IndexError(index)
        self._seek(index)

    cdef int _seek(self, size_t index) except -1:
        self.b = <const khft_bar_t*> self.bars.view.buf + index
        if self.b.slot >= self.scale_buffer.n or self.b.slot >= self.token_buffer.n:
            raise IndexError(f"slot {self.b.slot}")
        self.scale = (<const double*> self.scale_buffer.view.buf)[self.b.slot]
        self.token = (<const uint32_t*> self.token_buffer.view.buf)[self.b.slot]
        return 0

    @property
    def slot(self) -> int:
        return self.b.slot

    @property
    def instrument_token(self) -> int:
        return self.token

    @property
    def start_ns(self) -> int:
        return self.b.start_ns

    @property
    def period_s(self) -> int:
        return self.b.period_s

    @property
    def open(self) -> float:
        return self.b.open_px / self.scale

    @property
    def high(self) -> float:
        return self.b.high_px / self.scale

    @property
    def low(self) -> float:
        return self.b.low_px / self.scale

    @property
    def close(self) -> float:
        return self.b.close_px / self.scale

    @property
    def volume(self) -> int:
        return self.b.volume

    @property
    def ticks(self) -> int:
        return self.b.ticks

    @property
    def is_cut(self) -> bool:
        """Closed before its end (the run stopped)."""
        return bool(self.b.flags & 2)


cdef class TickView:
    """One tick and its kernel row, valid during on_tick only.

    `view["last_price"]` reads the same names as KiteTicker's dicts, `view.last_price` too.
    """

    cdef _Records tick_buffer, row_buffer, scale_buffer, token_buffer, latest_buffer
    cdef const khft_tick_t* ticks
    cdef const khft_kernel_row_t* rows
    cdef khft_kernel_row_t* latest_rows
    cdef const khft_tick_t* t
    cdef const khft_kernel_row_t* r
    cdef const double* scales
    cdef const uint32_t* tokens
    cdef double scale
    cdef readonly int index
    cdef readonly object latest

    def __init__(self, ticks: np.ndarray, rows: np.ndarray, scales: np.ndarray, tokens: np.ndarray) -> None:
        """ticks: TICK and rows: KERNEL_ROW of one batch; scales: (n_slots,) float64, tokens: uint32.

        Raises ValueError: other records, or arrays of different length.
        """
        self.tick_buffer = _Records(ticks, sizeof(khft_tick_t))
        self.row_buffer = _Records(rows, sizeof(khft_kernel_row_t))
        self.scale_buffer = _Records(scales, sizeof(double))
        self.token_buffer = _Records(tokens, sizeof(uint32_t))
        if self.tick_buffer.n != self.row_buffer.n or self.scale_buffer.n != self.token_buffer.n:
            raise ValueError("ticks and rows, scales and tokens must be equally long")
        if not self.tick_buffer.n or not self.scale_buffer.n:
            raise ValueError("empty batch or no instruments")
        self.latest = np.zeros(self.scale_buffer.n, KERNEL_ROW)
        for name in ("estimate", "estimate2", "velocity2", "rel_diff"):
            self.latest[name] = np.nan
        self.latest_buffer = _Records(self.latest, sizeof(khft_kernel_row_t), True)
        self.ticks = <const khft_tick_t*> self.tick_buffer.view.buf
        self.rows = <const khft_kernel_row_t*> self.row_buffer.view.buf
        self.latest_rows = <khft_kernel_row_t*> self.latest_buffer.view.buf
        self.scales = <const double*> self.scale_buffer.view.buf
        self.tokens = <const uint32_t*> self.token_buffer.view.buf
        self.t = self.ticks
        self.r = self.rows
        self.scale = 1.0
        self.index = -1

    def deliver(self, n: int, subscribed: np.ndarray, on_tick: object, on_bar: object, bar: BarView) -> int:
        """Call on_tick(self) for each subscribed tick of the batch, in order; returns how many.

        Bars that closed at a tick go to on_bar(bar) before it (None: nobody wants bars).
        subscribed: (n_slots,) uint8. A tick without a price, or of an unknown slot, is passed over.
        """
        cdef _Records mask = _Records(subscribed, 1)
        cdef const uint8_t* wanted = <const uint8_t*> mask.view.buf
        cdef size_t count = n, i, j
        cdef uint32_t slot, closed
        cdef int delivered = 0
        if count > self.tick_buffer.n or mask.n != self.scale_buffer.n:
            raise ValueError(f"{n} ticks of {self.tick_buffer.n}, mask of {mask.n}")
        for i in range(count):
            slot = self.ticks[i].slot
            if slot >= mask.n or not wanted[slot] or self.rows[i].tick_no == 0:
                continue
            self.index = <int> i
            self.t = self.ticks + i
            self.r = self.rows + i
            self.scale = self.scales[slot]
            self.latest_rows[slot] = self.r[0]
            if on_bar is not None and self.r.closed_mask:
                closed = self.r.closed_mask
                j = self.r.bar_index
                while closed:
                    if closed & 1:
                        if j >= bar.bars.n:
                            raise IndexError("bars of another batch")
                        bar._seek(j)
                        on_bar(bar)
                        j += 1
                    closed >>= 1
            on_tick(self)
            delivered += 1
        return delivered

    # ---- the tick --------------------------------------------------------------------------

    @property
    def slot(self) -> int:
        return self.t.slot

    @property
    def instrument_token(self) -> int:
        return self.tokens[self.t.slot]

    @property
    def seq(self) -> int:
        return self.t.seq

    @property
    def recv_ns(self) -> int:
        return self.t.recv_ns

    @property
    def exch_ns(self) -> int:
        return self.t.exch_ns

    @property
    def time_ns(self) -> int:
        """Exchange time in epoch ns, or arrival where the message carries none."""
        return self.r.time_ns

    @property
    def flags(self) -> int:
        return self.t.flags

    @property
    def tradable(self) -> bool:
        return not self.t.flags & TICK_FLAG_INDEX

    @property
    def last_px(self) -> int:
        return self.t.last_px

    @property
    def bid_px(self) -> int:
        return self.t.bid_px

    @property
    def ask_px(self) -> int:
        return self.t.ask_px

    @property
    def close_px(self) -> int:
        return self.t.close_px

    @property
    def price_scale(self) -> float:
        """Units of the `_px` fields per currency unit."""
        return self.scale

    @property
    def last_price(self) -> float:
        return self.t.last_px / self.scale

    @property
    def bid_price(self) -> float:
        return self.t.bid_px / self.scale

    @property
    def ask_price(self) -> float:
        return self.t.ask_px / self.scale

    @property
    def average_traded_price(self) -> float:
        return self.t.average_px / self.scale

    @property
    def last_traded_quantity(self) -> int:
        return self.t.last_qty

    @property
    def volume_traded(self) -> int:
        return self.t.volume

    @property
    def total_buy_quantity(self) -> int:
        return self.t.total_buy_qty

    @property
    def total_sell_quantity(self) -> int:
        return self.t.total_sell_qty

    @property
    def oi(self) -> int:
        return self.t.oi

    @property
    def ohlc(self) -> dict[str, float]:
        """Of the day; close is the previous session's."""
        return {
            "open": self.t.open_px / self.scale, "high": self.t.high_px / self.scale,
            "low": self.t.low_px / self.scale, "close": self.t.close_px / self.scale,
        }

    @property
    def change_percent(self) -> float:
        """Against the previous session's close; NaN where the message carries none."""
        if self.t.close_px == 0:
            return NAN
        return (self.t.last_px - self.t.close_px) * 100.0 / self.t.close_px

    @property
    def change(self) -> float:
        """KiteTicker's name for change_percent."""
        return self.change_percent

    @property
    def depth(self) -> dict[str, list[dict[str, float]]]:
        """Five levels a side as KiteTicker gives them; empty lists where the message has none."""
        levels = {"buy": [], "sell": []}
        cdef int i
        if not self.t.flags & TICK_FLAG_DEPTH:
            return levels
        for i in range(5):
            bid = self.t.bid_px if i == 0 else self.t.bid_px_deep[i - 1]
            ask = self.t.ask_px if i == 0 else self.t.ask_px_deep[i - 1]
            levels["buy"].append(
                {"quantity": self.t.bid_qty[i], "price": bid / self.scale, "orders": self.t.bid_orders[i]}
            )
            levels["sell"].append(
                {"quantity": self.t.ask_qty[i], "price": ask / self.scale, "orders": self.t.ask_orders[i]}
            )
        return levels

    # ---- its kernel row --------------------------------------------------------------------

    @property
    def estimate(self) -> float:
        return self.r.estimate

    @property
    def estimate2(self) -> float:
        return self.r.estimate2

    @property
    def velocity2(self) -> float:
        return self.r.velocity2

    @property
    def rel_diff(self) -> float:
        return self.r.rel_diff

    @property
    def tick_no(self) -> int:
        return self.r.tick_no

    def __getitem__(self, name: str) -> object:
        if not isinstance(name, str) or name.startswith("_") or name not in TICK_NAMES:
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: object = None) -> object:
        return self[name] if name in TICK_NAMES else default

    def __contains__(self, name: str) -> bool:
        return name in TICK_NAMES


TICK_NAMES = frozenset(
    name for name in dir(TickView)
    if not name.startswith("_") and name not in {"deliver", "get", "index", "latest"}
)
