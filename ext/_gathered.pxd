# What a placement is judged by (gathered.pyx has the code).
from libc.stdint cimport int64_t, uint8_t, uint64_t

from kite_hft._table cimport TableReader

cdef enum:  # places in an INTENT
    SEQ = 4
    SLOT = 7
    STRATEGY = 8
    KIND = 9
    SIDE = 10
    ORDER_TYPE = 11
    PRODUCT = 12
    VALIDITY = 13
    FLAGS = 14
    QTY = 15
    PX = 16
    TRIGGER_PX = 17
    SIGNAL = 20
    FIELDS = 27

cdef enum:
    SMALL = 2147483647  # above prices, quantities, lots


cdef struct row_t:  # an instrument
    int64_t lot
    int64_t tick
    int64_t freeze  # -1: there is none
    int64_t weight  # paise per paise of price and unit of quantity; 0: not priced in paise
    bint tradable
    bint option


cdef struct view_t:  # facts.View
    int64_t until_ns
    uint64_t order_types, validities, products, phase_types, unlisted
    bint closed, cut_off, expiry  # for somebody


cdef struct wish_t:  # a PLACE
    int64_t seq, slot, side, order_type, product, validity, flags, qty, px, trigger


cdef struct band_t:
    int64_t low, high, age_ns


cdef class Levels:
    cdef double ratio, most, least

    cdef bint quiet(self, object seen) except -1


cdef class Gathered:
    cdef row_t* rows
    cdef view_t* views
    cdef int64_t n, ahead_ns
    cdef object fresh, look, mark, mono_ns, real_ns
    cdef object view_of, ahead, band_of, bands, traded, clock_wrong, watch, traffic, contracts, strategies
    cdef bint machine, delivers
    cdef const uint8_t** fresh_at
    cdef list fresh_rows
    cdef TableReader ticks
    cdef Levels per_contract, per_strategy
    # Of the placement that was looked at last.
    cdef wish_t wish
    cdef int64_t ref, age
    cdef uint64_t tick_seq
    cdef bint looked
    cdef object view_seen
    cdef list views_kept

    cdef bint read(self, tuple intent) except -1
    cdef int see_tick(self, tuple intent, int64_t now_ns) except -1
    cdef int64_t last_px(self, int64_t slot) except? -1
    cdef void prefetch(self, int64_t slot) noexcept
    cdef bint is_fresh(self) except -1
    cdef view_t* view(self, object slot) except NULL
    cdef bint clock_is_right(self) except -1
    cdef bint see_band(self, band_t* band) except -1
    cdef bint quiet(self, tuple intent) except -1
    cdef int64_t _real_ns(self) except? -1
    cdef int64_t _mono_ns(self) except? -1
    cdef int _keep_rows(self, object rows) except -1
    cdef int _keep_fresh(self, object rows) except -1
    cdef int _keep_facts(self, object facts, object conduct) except -1
    cdef void _forget_views(self) noexcept
