"""Layer 2, orders process, hot: what a placement is judged by, gathered without a detour.

The same answers as trading/gate/facts.py and the ports give, from what these answer from: the row in shared
memory, the machine's clocks, the dict behind a function. Where it cannot see behind one, it asks.
"""

import time

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

from khft_layout cimport khft_tick_t
from kite_hft._table cimport TableReader
from segment cimport monotonic_ns
from table cimport TABLE_GOOD

from kite_hft.layout import INTENT, IntentKind

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(int clock, timespec* now)
    int CLOCK_REALTIME

cdef extern from *:
    void __builtin_prefetch(const void* at) nogil

cdef int64_t PLACE = IntentKind.PLACE

_NAMES = {
    SEQ: "strategy_seq", SLOT: "slot", STRATEGY: "strategy", KIND: "kind", SIDE: "side",
    ORDER_TYPE: "order_type", PRODUCT: "product", VALIDITY: "validity", FLAGS: "flags", QTY: "qty", PX: "px",
    TRIGGER_PX: "trigger_px", SIGNAL: "signal",
}
if len(INTENT.names) != FIELDS or any(INTENT.names[at] != name for at, name in _NAMES.items()):
    raise ImportError("kite_hft._gathered was compiled for other fields of layout.INTENT")


cdef class Levels:
    """Where traffic is too much (broker.Conduct), as checks_conduct.noise."""

    def __cinit__(self, conduct: object):
        self.ratio, self.most, self.least = conduct.ratio_stop, conduct.modifications_stop, conduct.messages_min

    cdef bint quiet(self, object seen) except -1:
        """What was seen (messages, trades, modifications) stays below."""
        cdef double messages
        if self.ratio:
            messages = seen.messages
            if messages >= self.least and messages >= self.ratio * max(1.0, <double> seen.trades):
                return False
        return not (self.most and <double> seen.modifications >= self.most)


cdef class Gathered:
    """rows: (lot, tick, freeze quantity or -1, weight, tradable, option) of each slot; weight: rupees of value
    per rupee of price and unit of quantity, 0 for an instrument that is not priced in paise. ports: clock,
    latest, fresh (with `of_slot`, the arrays behind it, it is not called). facts: facts.Facts; conduct: whose `traffic` they tell, None: another's.
    """

    def __cinit__(self, *, rows: object, ports: object, facts: object, conduct: object, **other: object):
        self.n = len(rows)
        self._keep_rows(rows)
        self._keep_facts(facts, conduct)
        self.fresh, self.look, self.mark = ports.fresh, ports.latest.look, ports.latest.last_px
        if (rows := getattr(ports.fresh, "of_slot", None)) is not None:
            self._keep_fresh(rows)
        owner = getattr(self.look, "__self__", None)
        self.ticks = owner if type(owner) is TableReader else None
        self.mono_ns, self.real_ns = ports.clock.mono_ns, ports.clock.real_ns
        self.machine = self.mono_ns is time.monotonic_ns and self.real_ns is time.time_ns

    cdef int _keep_rows(self, rows) except -1:
        self.rows = <row_t*> calloc(max(1, self.n), sizeof(row_t))
        self.views = <view_t*> calloc(max(1, self.n), sizeof(view_t))
        if not self.rows or not self.views:
            raise MemoryError()
        self.views_kept = [None] * self.n
        self._forget_views()
        for at, (lot, tick, freeze, weight, tradable, option) in enumerate(rows):
            if 0 < lot < SMALL and 0 < tick < SMALL and -1 <= freeze < SMALL and 0 <= weight < SMALL:
                self.rows[at] = row_t(lot, tick, freeze, weight, tradable, option)
        return 0  # the others stay all zero: they are the table's

    cdef int _keep_facts(self, facts, conduct) except -1:
        self.view_of, self.ahead, self.band_of, self.bands = facts.view, facts.ahead_ns, facts.band, facts.bands
        self.traded, self.clock_wrong, self.watch = facts.traded, facts.clock_wrong, facts.watch
        self.traffic, self.delivers = facts.traffic, facts.holding is not None
        self.per_contract, self.per_strategy = Levels(facts.per_contract), Levels(facts.per_strategy)
        if conduct is not None:
            self.contracts, self.strategies = conduct.contracts, conduct.strategies
        return 0

    cdef int _keep_fresh(self, rows) except -1:
        """rows: of each slot the array of bytes that it stands in, None: it is fresh always."""
        self.fresh_rows = list(rows)  # they live as long as their addresses
        self.fresh_at = <const uint8_t**> calloc(max(1, self.n), sizeof(uint8_t*))
        if not self.fresh_at:
            raise MemoryError()
        for slot, row in enumerate(self.fresh_rows[:self.n]):
            if row is None:
                continue
            if row.dtype.itemsize != 1 or slot >= len(row):
                raise ValueError(f"no byte for slot {slot}: {row.dtype}[{len(row)}]")
            self.fresh_at[slot] = <const uint8_t*> <size_t> (row.ctypes.data + slot * row.strides[0])
        return 0

    def __dealloc__(self):
        free(self.fresh_at)
        free(self.rows)
        free(self.views)

    cdef void _forget_views(self) noexcept:
        cdef int64_t at
        for at in range(self.n):
            self.views[at].until_ns = -(2**62)

    cdef bint read(self, tuple intent) except -1:
        """The numbers of a PLACE on a known instrument; False: it is none, or odd."""
        cdef wish_t* wish = &self.wish
        wish.slot, wish.seq = intent[SLOT], intent[SEQ]
        if <int64_t> intent[KIND] != PLACE or not 0 <= wish.slot < self.n or wish.seq <= 0:
            return False
        wish.side, wish.order_type, wish.product = intent[SIDE], intent[ORDER_TYPE], intent[PRODUCT]
        wish.validity, wish.flags, wish.qty = intent[VALIDITY], intent[FLAGS], intent[QTY]
        wish.px, wish.trigger = intent[PX], intent[TRIGGER_PX]
        return 0 <= wish.qty < SMALL and 0 <= wish.px < SMALL and 0 <= wish.trigger < SMALL

    cdef int see_tick(self, tuple intent, int64_t now_ns) except -1:
        """The last price of the instrument; 0 and an age of -1: there is none."""
        cdef khft_tick_t tick
        self.ref, self.tick_seq, self.age = 0, 0, -1
        if self.ticks is not None:
            if self.ticks._head(self.wish.slot, &tick) == TABLE_GOOD:
                self.ref, self.tick_seq, self.age = tick.last_px, tick.seq, max(0, now_ns - tick.recv_ns)
        elif (found := self.look(intent[SLOT])) is not None:
            self.ref, self.tick_seq, self.age = found[0], found[1], max(0, now_ns - <int64_t> found[2])
        return 0

    cdef void prefetch(self, int64_t slot) noexcept:
        """Its row will be looked at soon: the feed has written it on another core."""
        cdef const uint8_t* row
        if self.ticks is not None and 0 <= slot < <int64_t> self.ticks.table.capacity:
            row = self.ticks.table.rows + slot * <int64_t> self.ticks.table.stride
            __builtin_prefetch(row)
            __builtin_prefetch(row + 64)

    cdef bint is_fresh(self) except -1:
        """As Ports.fresh."""
        if self.fresh_at == NULL:
            return bool(self.fresh(self.wish.slot))
        return self.fresh_at[self.wish.slot] == NULL or self.fresh_at[self.wish.slot][0] != 0

    cdef int64_t last_px(self, int64_t slot) except? -1:
        """The last price of any slot; 0: there is none."""
        cdef khft_tick_t tick
        if self.ticks is None:
            return self.mark(slot)
        return tick.last_px if self.ticks._head(slot, &tick) == TABLE_GOOD else 0

    cdef int64_t _real_ns(self) except? -1:
        cdef timespec now
        if not self.machine:
            return self.real_ns()
        clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * 1_000_000_000 + now.tv_nsec

    cdef int64_t _mono_ns(self) except? -1:
        return monotonic_ns() if self.machine else self.mono_ns()

    cdef view_t* view(self, object slot) except NULL:
        """What the rules say of the instrument now, as Facts.view; asked anew at each border."""
        cdef view_t* view = &self.views[self.wish.slot]
        cdef int64_t real_ns = self._real_ns(), ahead_ns = 0
        if self.ahead is not None:
            ahead_ns = self.ahead()
            if ahead_ns != self.ahead_ns:
                self.ahead_ns = ahead_ns
                self._forget_views()
        if real_ns + ahead_ns >= view.until_ns:
            found = self.view_of(slot, real_ns)
            view.order_types = <uint64_t> <int64_t> found.order_types
            view.validities = <uint64_t> <int64_t> found.validities
            view.products = <uint64_t> <int64_t> found.products
            view.phase_types = <uint64_t> <int64_t> found.phase_types
            view.unlisted = sum(1 << int(product) for product in found.unlisted)
            view.closed, view.cut_off = bool(found.closed), bool(found.cut_off)
            view.expiry = bool(found.expiry)
            view.until_ns = found.until_ns
            self.views_kept[self.wish.slot] = found
        self.view_seen, self.looked = self.views_kept[self.wish.slot], True
        return view

    cdef bint clock_is_right(self) except -1:
        """As Facts.clock_wrong, which is asked when there may be something to say."""
        cdef object watch = self.watch
        cdef int64_t step_ns
        if self.clock_wrong is None:
            return True
        if watch is not None and watch.skew_ns is None and not watch.stepped:
            step_ns = self._real_ns() - self._mono_ns() - <int64_t> watch.ahead_ns
            if abs(step_ns) <= <int64_t> watch.most_ns:
                return True
        return not self.clock_wrong()

    cdef bint see_band(self, band_t* band) except -1:
        """The circuit limits, (0, 0, -1): not known; False: this market has none."""
        cdef PyObject* kept
        cdef int64_t at_ns
        band.low, band.high, band.age_ns = 0, 0, -1
        if self.band_of is None:
            return False
        if self.bands is None:
            band.low, band.high, band.age_ns = self.band_of(self.wish.slot)
            return True
        kept = PyDict_GetItem(self.bands, self.wish.slot)
        if kept:
            band.low, band.high, at_ns = <tuple> kept
            band.age_ns = max(0, self._mono_ns() - at_ns)
        return True

    cdef bint quiet(self, tuple intent) except -1:
        """Contract and strategy stay below the levels of too much traffic."""
        cdef PyObject* seen
        if self.contracts is None:
            if self.traffic is None:
                return True
            of_contract, of_strategy = self.traffic(intent[STRATEGY], intent[SLOT])
            return self.per_contract.quiet(of_contract) and self.per_strategy.quiet(of_strategy)
        seen = PyDict_GetItem(self.contracts, intent[SLOT])
        if seen and not self.per_contract.quiet(<object> seen):
            return False
        seen = PyDict_GetItem(self.strategies, intent[STRATEGY])
        return not seen or self.per_strategy.quiet(<object> seen)
