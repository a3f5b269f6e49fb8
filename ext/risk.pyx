"""Layer 2, orders process, hot: whether a placement passes most checks of risk.py's table, plainly.

`Plain.passes` is the answer of the table's lines in CHECKS for the common case in one pass: a PLACE that
adds risk, on an instrument priced in paise. It only ever says that none of these refuses. Whatever it does not know to
pass, the table judges: it alone refuses, by its own order and in its own words. What it computes
is exact: values beyond EXACT_MAX are left to the table.
"""

from cpython.dict cimport PyDict_Size
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from kite_hft.layout import INTENT, IntentFlag, IntentKind, OrderType, Product, Side, Validity

cdef double EXACT_MAX = 2.0**52
cdef int64_t SMALL = 2**31  # prices, quantities, lots

cdef enum:
    SEQ = 4
    SLOT = 7
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

CHECKS = (
    "token_dead", "active", "duplicate", "known", "fields", "numbers", "stop_price", "tradable", "lot",
    "tick_ok", "quantity", "halted", "reducing_only", "market_halted", "frozen", "fresh", "reference",
    "stale", "exit_left", "collar", "order_value", "position_size", "exposure", "positions", "working",
)
"""The lines of the table that `Plain.passes` answers for, in its order; risk.py asks the others itself."""

_NAMES = {
    SEQ: "strategy_seq", SLOT: "slot", KIND: "kind", SIDE: "side", ORDER_TYPE: "order_type",
    PRODUCT: "product", VALIDITY: "validity", FLAGS: "flags", QTY: "qty", PX: "px",
    TRIGGER_PX: "trigger_px", SIGNAL: "signal",
}
if len(INTENT.names) != FIELDS or any(INTENT.names[at] != name for at, name in _NAMES.items()):
    raise ImportError("kite_hft._risk was compiled for other fields of layout.INTENT")

cdef object bits_of(values):
    """Bit v is set for each v of `values`."""
    return sum(1 << int(v) for v in set(values))

cdef unsigned long long SIDES = bits_of(Side)
cdef unsigned long long PRODUCTS = bits_of(Product)
cdef unsigned long long PRICED = bits_of([OrderType.LIMIT, OrderType.SL])
cdef unsigned long long TRIGGERED = bits_of([OrderType.SL, OrderType.SLM])
cdef int64_t PLACE = IntentKind.PLACE
cdef int64_t STOP_LIMIT = OrderType.SL
cdef int64_t KNOWN_FLAGS = IntentFlag.EXIT  # of a PLACE
cdef int64_t EXIT = IntentFlag.EXIT
cdef int64_t BUY = Side.BUY


cdef struct row_t:
    int64_t lot
    int64_t tick
    int64_t freeze  # -1: there is none
    int64_t weight  # paise per paise of price and unit of quantity; 0: not priced in paise
    bint tradable


cdef inline bint among(unsigned long long bits, int64_t value) noexcept nogil:
    return 0 <= value < 64 and (bits >> value) & 1


cdef class Plain:
    """For one table of instruments and one set of limits.

    rows: (lot, tick, freeze quantity or -1, weight, tradable) of each slot. weight: rupees of value
    per rupee of price and unit of quantity, 0 for an instrument that is not priced in paise.
    """

    cdef row_t* rows
    cdef int64_t n
    cdef object instruments
    cdef double position_size, exposure, order_value, collar, stale_ns
    cdef double order_quantity, working, positions
    cdef int64_t cut_quiet_ns
    cdef unsigned long long order_types, validities

    def __cinit__(self, object instruments, rows: list[tuple[int, int, int, int, bool]], object limits, int64_t cut_quiet_ns):
        self.instruments = instruments
        self.n = len(rows)
        self.rows = <row_t*> calloc(max(1, self.n), sizeof(row_t))
        if not self.rows:
            raise MemoryError()
        for at, (lot, tick, freeze, weight, tradable) in enumerate(rows):
            if not (0 < lot < SMALL and 0 < tick < SMALL and -1 <= freeze < SMALL and 0 <= weight < SMALL):
                continue  # all zero: the table judges
            self.rows[at] = row_t(lot, tick, freeze, weight, tradable)
        self.position_size, self.exposure = limits.max_position_size * 100, limits.max_exposure * 100
        self.order_value, self.collar = limits.max_order_value * 100, limits.price_collar_percent
        self.stale_ns = limits.stale_tick_s * 1e9
        self.order_quantity, self.positions = limits.max_order_quantity, limits.max_positions
        self.working = limits.max_working_orders
        self.order_types = bits_of(limits.order_types) & bits_of(OrderType)
        self.validities = bits_of(limits.validities) & bits_of(Validity)
        self.cut_quiet_ns = cut_quiet_ns

    def __dealloc__(self):
        free(self.rows)

    def passes(self, intent: object, context: object) -> bool:
        """True: no line of CHECKS refuses this placement, which does not reduce. False: ask the table."""
        if not isinstance(intent, tuple):
            return False
        cdef tuple words = <tuple> intent  # not a plain one, but its items stand where a tuple's do
        try:
            return self._words(words, context) and self._values(words, context)
        except OverflowError:
            return False

    cdef bint _words(self, tuple intent, object context) except -1:
        """The intent for itself, and the state of the engine."""
        cdef int64_t slot, kind, qty, px, trigger, flags
        if PyTuple_GET_SIZE(intent) != FIELDS:
            return False
        slot, kind, flags = intent[SLOT], intent[ORDER_TYPE], intent[FLAGS]
        qty, px, trigger = intent[QTY], intent[PX], intent[TRIGGER_PX]
        if <int64_t> intent[KIND] != PLACE or not 0 <= slot < self.n:
            return False
        if context.instruments is not self.instruments:
            return False
        cdef row_t* row = &self.rows[slot]
        if not (row.tradable and row.weight):
            return False
        if not (0 < qty < SMALL and 0 <= px < SMALL and 0 <= trigger < SMALL):
            return False
        if not isfinite(<double> intent[SIGNAL]):
            return False
        if flags & ~KNOWN_FLAGS or flags & EXIT:
            return False
        if not (among(SIDES, intent[SIDE]) and among(PRODUCTS, intent[PRODUCT])
                and among(self.order_types, kind) and among(self.validities, intent[VALIDITY])):
            return False
        if (among(PRICED, kind) and not px) or (among(TRIGGERED, kind) and not trigger):
            return False
        if kind == STOP_LIMIT and (px < trigger if <int64_t> intent[SIDE] == BUY else px > trigger):
            return False
        if qty % row.lot or px % row.tick or trigger % row.tick:
            return False
        if (row.freeze >= 0 and qty > row.freeze) or qty > self.order_quantity:
            return False
        seq = intent[SEQ]
        return seq > 0 and seq > context.last_seq and not (
            context.token_dead or not context.active or context.halted or context.reducing
            or context.reducing_only or context.market_halted or not context.fresh
        )

    cdef bint _values(self, tuple intent, object context) except -1:
        """Against the price and the book; `_words` stands before."""
        cdef int64_t slot = intent[SLOT], side = intent[SIDE], qty = intent[QTY]
        cdef int64_t px = intent[PX], trigger = intent[TRIGGER_PX]
        cdef int64_t ref = context.ref_px, age = context.age_ns, cut = context.cut_age_ns
        cdef double off = self.collar * ref
        if not (0 < ref < SMALL and 0 <= age < EXACT_MAX and age <= self.stale_ns):
            return False
        if 0 <= cut < self.cut_quiet_ns:
            return False
        if (px and abs(px - ref) * 100 > off) or (trigger and abs(trigger - ref) * 100 > off):
            return False
        cdef object book = context.book
        cdef dict live = book.live_orders
        if not PyDict_Size(live) < self.working or (live and book.frozen(slot, side) is not None):
            return False
        cdef int64_t px_most = max(px, ref), weight = self.rows[slot].weight
        if not self._within(px_most, qty, weight, self.order_value):
            return False
        cdef dict in_play = book.in_play()
        cdef tuple sums = in_play.get(slot)
        cdef int64_t held = 0, buys = 0, sells = 0
        if sums is not None:
            held, buys, sells = sums[0], sums[1], sums[2]
        elif not PyDict_Size(in_play) < self.positions:
            return False
        if not (-SMALL < held < SMALL and 0 <= buys < SMALL and 0 <= sells < SMALL):
            return False
        if side == BUY:
            buys += qty
        else:
            sells += qty
        cdef int64_t worst = max(abs(held + buys), abs(held - sells))
        if not self._within(px_most, worst, weight, self.position_size):
            return False
        return self._exposed(in_play, context.mark, slot, px_most * worst * weight)

    cdef bint _within(self, int64_t px, int64_t quantity, int64_t weight, double limit) noexcept:
        cdef double value = <double> px * <double> quantity * <double> weight
        return value <= limit and value < EXACT_MAX

    cdef bint _exposed(self, dict in_play, object mark, int64_t own, int64_t total) except -1:
        """`total` and the worst case of every other slot stay within the limit."""
        cdef int64_t slot, px, worst
        # A list: `mark` is a call, and nothing may change the table that is being walked over.
        for slot_of, sums in list(in_play.items()):
            slot = slot_of
            if slot == own:
                continue
            if not 0 <= slot < self.n or not self.rows[slot].weight:
                return False
            px, worst = mark(slot_of), (<tuple> sums)[3]
            if not (0 < px < SMALL and self._within(px, worst, self.rows[slot].weight, EXACT_MAX)):
                return False
            total += px * worst * self.rows[slot].weight
            if total >= EXACT_MAX:
                return False
        return total <= self.exposure
