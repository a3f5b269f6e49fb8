"""Layer 2, orders process, hot: which checks of risk.py's table a placement passes, found in one pass.

`Plain.passes` gathers what a PLACE is judged by, once, and proves line by line of the table that it does
not refuse. Are all of them proved, the placement has passed and counts in the day's tally. Else `proved`
says which ones are, and the table asks the others: it alone refuses, by its own order and in its own
words. Nothing is proved that is not known exactly: sums beyond EXACT_MAX, odd kinds of instruments, answers
that only a function of Python gives with other words, are the table's.

What it is judged by comes from gathered.pyx, the book's sums, and the tally (tally.pyx).
"""

from cpython.dict cimport PyDict_GetItem, PyDict_Size
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t

from kite_hft._book cimport InPlay, played_t
from kite_hft._gathered cimport *
from kite_hft._tally cimport Tally, Window

from kite_hft.layout import IntentFlag, OrderStatus, OrderType, Product, Side, Validity

cdef double EXACT_MAX = 2.0**52
cdef int64_t ENGINE_SEQ = 2**62  # as in trading/intents.py

cdef enum:  # bits of `proved`: lines of the table that a PLACE is asked
    TOKEN_DEAD, ACTIVE, DUPLICATE, KNOWN, FIELDS_GOOD, NUMBERS, STOP_PRICE, TRADABLE, LOT, TICK_OK, QUANTITY
    LEGAL_TYPE, LEGAL_PRODUCT, PROTECTION, KILLED, HALTED, REDUCING_ONLY, DRAWDOWN, STOP_GUARD, COOLDOWN
    CLOCK, MARKET_HALTED, PHASE, CUT_OFF, EXPIRY, RESTRICTED, UNLISTED, SHORT, HOLDINGS, UNTRADED
    FROZEN, FRESH, REFERENCE, STALE, EXIT_LEFT, COLLAR, BAND_KNOWN, CIRCUIT
    ORDER_VALUE, POSITION_SIZE, EXPOSURE, POSITIONS, WORKING, GROSS, FUNDS, PERIOD, SELF_TRADE, TRAFFIC
    REPEATED, BARRED, FEEDS_AGREE
    LINES

CHECKS = (
    "token_dead", "active", "duplicate", "known", "fields", "numbers", "stop_price", "tradable", "lot",
    "tick_ok", "quantity", "legal_type", "legal_product", "protection", "killed", "halted", "reducing_only",
    "drawdown", "stop_guard", "cooldown", "clock", "market_halted", "phase", "cut_off", "expiry",
    "restricted", "unlisted", "short", "holdings", "untraded", "frozen", "fresh", "reference", "stale",
    "exit_left", "collar", "band_known", "circuit", "order_value", "position_size", "exposure", "positions",
    "working", "gross", "funds", "period", "self_trade", "traffic", "repeated", "barred", "feeds_agree",
)
"""Names of the checks by bit of `Plain.proved`."""
if len(CHECKS) != LINES:
    raise ImportError("kite_hft._risk has a bit without a name")

cdef object bits_of(values):
    """Bit v is set for each v of `values`."""
    return sum(1 << int(v) for v in set(values))

cdef uint64_t SIDES = bits_of(Side)
cdef uint64_t PRODUCTS = bits_of(Product)
cdef uint64_t PRICED = bits_of([OrderType.LIMIT, OrderType.SL])
cdef uint64_t TRIGGERED = bits_of([OrderType.SL, OrderType.SLM])
cdef uint64_t AT_MARKET = bits_of([OrderType.MARKET, OrderType.SLM])
cdef uint64_t UNDELIVERED = bits_of([Product.MIS, Product.NRML])  # sales need no holdings
cdef int64_t STOP_LIMIT = OrderType.SL
cdef int64_t EXIT = IntentFlag.EXIT  # the one flag of a PLACE
cdef int64_t BUY = Side.BUY, SELL = Side.SELL
cdef object AMBIGUOUS = OrderStatus.AMBIGUOUS, OPEN = OrderStatus.OPEN


cdef inline bint among(uint64_t bits, int64_t value) noexcept nogil:
    return 0 <= value < 64 and (bits >> value) & 1


cdef inline uint64_t bit(int line, bint good) noexcept nogil:
    return <uint64_t> good << line


cdef class Passed:
    """What a placement was judged by that has passed: as much of a gate's Context as an order needs."""

    cdef readonly object instrument
    cdef readonly object target  # always None
    cdef readonly object ref_px
    cdef readonly object tick_seq
    cdef readonly object age_ns
    cdef readonly bint reducing


cdef class Plain(Gathered):
    """The quick way through one gate. It reads the gate's own parts, and makes none.

    limits: RiskLimits. stage: active, stopping, reader. protected: orders at market have a protection that
    the broker takes. opening, exit: the bits that a placement needs to pass, when it opens and when it
    reduces. The others: Gathered.
    """

    cdef tuple instruments
    cdef double most_position, most_exposure, most_order, most_gross, most_value, least_funds
    cdef double most_quantity, most_working, most_positions, most_orders, most_period_quantity, most_repeats
    cdef double collar, stale_ns, band_age_ns
    cdef int64_t cut_quiet_ns
    cdef uint64_t order_types, validities, opening, exit
    cdef bint protected
    cdef object stage, states, outbox, book, guards
    cdef dict positions, live, apart, parted
    cdef InPlay sums
    cdef Tally tally
    cdef Window of_strategy, of_slot, repeats
    # Of the placement that was looked at last.
    cdef readonly uint64_t proved
    cdef readonly bint reducing
    cdef int64_t cut

    def __cinit__(
        self, *, instruments: object, rows: object, limits: object, ports: object, stage: object,
        states: object, outbox: object, book: object, tally: object, guards: object, facts: object,
        conduct: object, bint protected, int64_t cut_quiet_ns, uint64_t opening, uint64_t exit,
    ):
        self.instruments = instruments.rows
        self._limits(limits)
        self.order_types = bits_of(limits.order_types) & bits_of(OrderType)
        self.validities = bits_of(limits.validities) & bits_of(Validity)
        self.cut_quiet_ns, self.opening, self.exit, self.protected = cut_quiet_ns, opening, exit, protected
        self.stage, self.states, self.outbox, self.book = stage, states, outbox, book
        self.positions, self.live, self.apart = book.positions, book.live_orders, book.apart
        self.sums, self.tally, self.guards = book.sums, tally, guards
        self.parted = facts.feeds.apart if facts.feeds is not None else {}

    cdef int _limits(self, limits) except -1:
        self.most_position, self.most_exposure = limits.max_position_size * 100, limits.max_exposure * 100
        self.most_order, self.most_gross = limits.max_order_value * 100, limits.max_gross_notional * 100
        self.most_value, self.least_funds = limits.period_value * 100, limits.min_funds * 100
        self.most_quantity, self.most_positions = limits.max_order_quantity, limits.max_positions
        self.most_working, self.most_orders = limits.max_working_orders, limits.period_orders
        self.most_period_quantity, self.most_repeats = limits.period_quantity, limits.repeats_max
        self.collar, self.stale_ns = limits.price_collar_percent, limits.stale_tick_s * 1e9
        self.band_age_ns = limits.band_age_s * 1e9
        return 0

    def passes(self, intent: object, last_seq: object, int64_t now_ns) -> Passed | None:
        """What a placement was judged by when no line of the table refuses it: it has passed, and counts.

        None: it is for the table, but for the lines in `proved`.
        """
        cdef uint64_t need
        self.proved, self.looked, self.reducing = 0, False, False
        if not isinstance(intent, tuple) or PyTuple_GET_SIZE(intent) != FIELDS:
            return None
        try:
            if not self.read(<tuple> intent):
                return None
            self._prove(<tuple> intent, last_seq, now_ns)
            need = self.exit if self.reducing else self.opening
            if self.proved & need != need:
                return None
            return self._let_pass(<tuple> intent, now_ns)
        except OverflowError:
            self.proved = 0
            return None

    @property
    def seen(self) -> tuple[tuple[int, int, int], Any] | None:
        """((last price, tick sequence, age in ns), View) that the proof was made with; None: with none."""
        return ((self.ref, self.tick_seq, self.age), self.view_seen) if self.looked else None

    cdef Passed _let_pass(self, tuple intent, int64_t now_ns):
        cdef Passed passed = Passed.__new__(Passed)
        cdef int64_t value
        passed.instrument, passed.reducing = self.instruments[self.wish.slot], self.reducing
        passed.ref_px, passed.tick_seq, passed.age_ns = self.ref, self.tick_seq, self.age
        if not self.reducing:
            value = max(self.wish.px, self.ref) * self.wish.qty * self.rows[self.wish.slot].weight
            self._count(intent, value, now_ns)
        return passed

    cdef int _count(self, tuple intent, int64_t value, int64_t now_ns) except -1:
        """In the day's tally: in the windows that were looked at, where there are any."""
        cdef Tally tally = self.tally
        cdef bint own = self.wish.seq < ENGINE_SEQ
        if self.of_strategy is tally.nothing or self.of_slot is tally.nothing or (own and self.repeats is tally.nothing):
            name = self._name(intent) if own else None
            tally.count(intent[STRATEGY], intent[SLOT], name, self.wish.qty, value, now_ns)
            return 0
        self.of_strategy.add(self.wish.qty, value, now_ns)
        self.of_slot.add(self.wish.qty, value, now_ns)
        tally.gross += value
        if own:
            self.repeats.add(0, 0, now_ns)
        return 0

    cdef tuple _name(self, tuple intent):
        return (intent[STRATEGY], intent[SLOT], intent[SIDE], intent[QTY])

    cdef int _prove(self, tuple intent, object last_seq, int64_t now_ns) except -1:
        cdef PyObject* held = PyDict_GetItem(
            self.positions, (intent[STRATEGY], intent[SLOT], intent[PRODUCT])
        )
        cdef size_t at
        self.prefetch(self.wish.slot)
        for at in range(self.sums.n):
            self.prefetch(self.sums.rows[at].slot)
        self.cut = -1
        if held:
            self._held(<object> held, now_ns)
        self.see_tick(intent, now_ns)
        cdef uint64_t proved = self._form(intent, last_seq) | self._state(intent, now_ns)
        proved |= self._market(intent) | self._price() | self._live()
        if not self.reducing:
            proved |= self._sums(intent) | self._counted(intent, now_ns)
        self.proved = proved
        return 0

    cdef int _held(self, object position, int64_t now_ns) except -1:
        """Whether the wish reduces, as Position.reduces; when the broker last cut it."""
        cdef int64_t cut_ns = position.cut_ns, quantity = position.quantity
        if cut_ns:
            self.cut = now_ns - cut_ns
        if self.wish.side == SELL:
            quantity -= <int64_t> position.open_sell
        else:
            quantity = -quantity - <int64_t> position.open_buy
        self.reducing = self.wish.qty > 0 and quantity - self.wish.qty >= 0
        return 0

    cdef uint64_t _form(self, tuple intent, object last_seq) except? 0:
        """The intent for itself."""
        cdef wish_t* wish = &self.wish
        cdef row_t* row = &self.rows[wish.slot]
        cdef int64_t kind = wish.order_type
        cdef bint beyond = kind != STOP_LIMIT
        if not beyond:  # a stop's limit that reaches beyond its trigger
            beyond = wish.px >= wish.trigger if wish.side == BUY else wish.px <= wish.trigger
        cdef uint64_t good = bit(KNOWN, True) | bit(TRADABLE, row.tradable) | bit(STOP_PRICE, beyond)
        good |= bit(DUPLICATE, intent[SEQ] > last_seq) | bit(BARRED, row.tradable)  # as plain_rows has it
        good |= bit(
            FIELDS_GOOD,
            among(SIDES, wish.side) and among(PRODUCTS, wish.product) and not wish.flags & ~EXIT
            and among(self.order_types, kind) and among(self.validities, wish.validity),
        )
        good |= bit(
            NUMBERS,
            wish.qty > 0 and isfinite(<double> intent[SIGNAL])
            and (wish.px or not among(PRICED, kind)) and (wish.trigger or not among(TRIGGERED, kind)),
        )
        if not row.lot:
            return good
        good |= bit(LOT, not wish.qty % row.lot)
        good |= bit(TICK_OK, not (wish.px % row.tick or wish.trigger % row.tick))
        good |= bit(
            QUANTITY,
            (row.freeze < 0 or 0 < wish.qty <= row.freeze) and (self.reducing or wish.qty <= self.most_quantity),
        )
        return good

    cdef uint64_t _state(self, tuple intent, int64_t now_ns) except? 0:
        """Engine, strategy, and their guards."""
        cdef object states = self.states, outbox = self.outbox, guards = self.guards, hung = outbox.hung
        cdef object strategy = intent[STRATEGY], holds = states.holds
        cdef bint free = not holds or strategy not in holds
        cdef uint64_t good = bit(TOKEN_DEAD, not states.token_dead) | bit(ACTIVE, self.stage.active)
        if self.reducing:
            return good | bit(MARKET_HALTED, not states.market_halted)
        good |= bit(KILLED, not states.killed) | bit(MARKET_HALTED, not states.market_halted)
        good |= bit(REDUCING_ONLY, free and not states.reducing)
        free = free and not outbox.halted and not self.stage.stopping
        good |= bit(HALTED, free and not (hung and strategy in hung))
        if guards.calm or guards.silent(strategy, intent[SLOT], now_ns):
            good |= bit(DRAWDOWN, True) | bit(STOP_GUARD, True) | bit(COOLDOWN, True)
        return good

    cdef uint64_t _market(self, tuple intent) except? 0:
        """What exchange and broker take now."""
        cdef wish_t* wish = &self.wish
        cdef object slot = intent[SLOT]
        cdef view_t* view = self.view(slot)
        cdef int64_t kind = wish.order_type
        cdef bint at_market = among(AT_MARKET, kind)
        cdef uint64_t good = bit(LEGAL_PRODUCT, among(view.products, wish.product))
        good |= bit(LEGAL_TYPE, among(view.order_types, kind) and among(view.validities, wish.validity))
        good |= bit(PROTECTION, self.protected or not at_market) | bit(PHASE, among(view.phase_types, kind))
        good |= bit(FRESH, self.is_fresh()) | bit(CLOCK, self.clock_is_right())
        good |= bit(FEEDS_AGREE, not (PyDict_Size(self.parted) and slot in self.parted))
        if self.reducing:
            return good
        good |= bit(CUT_OFF, not view.cut_off) | bit(EXPIRY, not view.expiry)
        good |= bit(RESTRICTED, not view.closed) | bit(UNLISTED, not among(view.unlisted, wish.product))
        if not self.delivers or wish.side == BUY or among(UNDELIVERED, wish.product):
            good |= bit(SHORT, True) | bit(HOLDINGS, True)
        if self.traded is None or not self.rows[wish.slot].option or not at_market or self.traded(slot):
            good |= bit(UNTRADED, True)
        return good

    cdef uint64_t _price(self) except? 0:
        """Against the last price and the circuit limits."""
        cdef wish_t* wish = &self.wish
        cdef double off = self.collar * self.ref
        cdef bint fresh = 0 <= self.age < EXACT_MAX and self.age <= self.stale_ns
        cdef bint known = 0 < self.ref < SMALL
        cdef uint64_t good = bit(REFERENCE, known) | bit(STALE, fresh)
        good |= bit(EXIT_LEFT, not wish.flags & EXIT and not 0 <= self.cut < self.cut_quiet_ns)
        if known and fresh:
            good |= bit(
                COLLAR,
                (not wish.px or abs(wish.px - self.ref) * 100 <= off)
                and (not wish.trigger or abs(wish.trigger - self.ref) * 100 <= off)
                or (self.reducing and wish.seq >= ENGINE_SEQ),
            )
        return good | self._band()

    cdef uint64_t _band(self) except? 0:
        cdef wish_t* wish = &self.wish
        cdef band_t band
        cdef bint known
        if not self.see_band(&band):
            return bit(BAND_KNOWN, True) | bit(CIRCUIT, True)
        known = 0 < band.low <= band.high and 0 <= band.age_ns < EXACT_MAX and band.age_ns <= self.band_age_ns
        return bit(BAND_KNOWN, known) | bit(
            CIRCUIT,
            known and (not wish.px or band.low <= wish.px <= band.high)
            and (not wish.trigger or band.low <= wish.trigger <= band.high),
        )

    cdef uint64_t _live(self) except? 0:
        """Beside and against the account's live orders."""
        cdef wish_t* wish = &self.wish
        cdef int64_t promised = self.book.promised, freeze = self.rows[wish.slot].freeze
        cdef bint frozen = PyDict_Size(self.apart) > 0, meets = False
        for order in self.live.values():
            if <int64_t> order.slot == wish.slot:
                if <int64_t> order.side == wish.side:
                    frozen = frozen or order.status is AMBIGUOUS
                else:
                    meets = meets or order.asked is not None or order.unproven is not None or self._meets(order)
        cdef bint single = freeze < 0 or wish.qty <= freeze  # slices are the table's to count
        cdef bint room = single and PyDict_Size(self.live) + promised < self.most_working
        return bit(FROZEN, not frozen) | bit(SELF_TRADE, not meets) | bit(WORKING, room)

    cdef bint _meets(self, object order) except -1:
        """As checks_conduct.meets; what is being changed is the table's to look at."""
        cdef int64_t px = order.px
        if among(TRIGGERED, order.order_type) and order.status is not OPEN:
            return False
        if not px or among(AT_MARKET, self.wish.order_type):
            return True
        return self.wish.px >= px if self.wish.side == BUY else self.wish.px <= px

    cdef bint _within(self, int64_t px, int64_t quantity, int64_t weight, double limit) noexcept:
        cdef double value = <double> px * <double> quantity * <double> weight
        return value <= limit and value < EXACT_MAX

    cdef uint64_t _sums(self, tuple intent) except? 0:
        """How much: of the order, the instrument, all of them."""
        cdef wish_t* wish = &self.wish
        cdef int64_t weight = self.rows[wish.slot].weight, px = max(wish.px, self.ref), worst
        cdef int64_t held = 0, buys = 0, sells = 0
        self.sums.count()
        cdef played_t* found = self.sums.of(wish.slot)
        cdef uint64_t good = bit(POSITIONS, found != NULL or self.sums.n < self.most_positions)
        if found:
            held, buys, sells = found.held, found.buys, found.sells
            if found.product != wish.product or not wish.product or not found.exact or abs(held) >= SMALL:
                return good
            if not (0 <= buys < SMALL and 0 <= sells < SMALL):
                return good
        if not weight or not 0 < self.ref < SMALL:
            return good
        good |= bit(ORDER_VALUE, self._within(px, wish.qty, weight, self.most_order))
        buys += wish.qty if wish.side == BUY else 0
        sells += 0 if wish.side == BUY else wish.qty
        worst = max(abs(held + buys), abs(held - sells))
        if self._within(px, worst, weight, EXACT_MAX):
            good |= bit(POSITION_SIZE, px * worst * weight <= self.most_position)
            good |= bit(EXPOSURE, self._exposed(px * worst * weight))
        return good

    cdef bint _exposed(self, int64_t total) except -1:
        """`total` and the worst case of every other slot stay within the limit."""
        cdef played_t row
        cdef int64_t px, weight
        cdef size_t at = 0
        while at < self.sums.n:  # a copy, and its number anew: `last_px` may be a function of Python
            row = self.sums.rows[at]
            at += 1
            if row.slot == self.wish.slot:
                continue
            weight = self.rows[row.slot].weight if 0 <= row.slot < self.n else 0
            px = self.last_px(row.slot)
            if not (weight and row.exact and 0 < px < SMALL and self._within(px, row.worst, weight, EXACT_MAX)):
                return False
            total += px * row.worst * weight
            if total >= EXACT_MAX:
                return False
        return total <= self.most_exposure

    cdef uint64_t _counted(self, tuple intent, int64_t now_ns) except? 0:
        """How often: money, the period, repetitions, traffic."""
        cdef wish_t* wish = &self.wish
        cdef int64_t weight = self.rows[wish.slot].weight, px = max(wish.px, self.ref), net, value
        cdef Tally tally = self.tally
        cdef object funds = self.stage.reader.funds
        cdef uint64_t good = bit(FUNDS, funds is None)
        if funds is not None:
            net = funds.net_paise
            if funds.commodity_paise is not None:  # whichever segment pays
                net = min(net, funds.commodity_paise)
            good |= bit(FUNDS, -EXACT_MAX < net < EXACT_MAX and net >= self.least_funds)
        self.repeats = tally.repeats_window(self._name(intent), now_ns)
        self.of_strategy = tally.strategy_window(intent[STRATEGY], now_ns)
        self.of_slot = tally.slot_window(intent[SLOT], now_ns)
        good |= bit(REPEATED, self.repeats.held < self.most_repeats)
        good |= bit(TRAFFIC, self.quiet(intent))
        if weight and self._within(px, wish.qty, weight, EXACT_MAX):
            value = px * wish.qty * weight
            good |= bit(GROSS, tally.gross + value < EXACT_MAX and tally.gross + value <= self.most_gross)
            good |= bit(
                PERIOD,
                self._in_period(self.of_strategy, value) and self._in_period(self.of_slot, value),
            )
        return good

    cdef bint _in_period(self, Window seen, int64_t value) noexcept:
        return (
            seen.held + 1 <= self.most_orders
            and seen.total + self.wish.qty <= self.most_period_quantity
            and seen.worth + value < EXACT_MAX and seen.worth + value <= self.most_value
        )
