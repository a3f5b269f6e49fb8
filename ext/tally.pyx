"""Layer 2, orders process, hot: opening orders of the day, by strategy and instrument within a period.

Counted from the moment they pass the gate, before the broker knows of them; rebuilt from the INTENT
records of the journal. The gate's table asks the same object as its quick way (risk.pyx). A value counts
as at most VALUE_MAX paise; sums have no end.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

cdef enum:
    ROOM_MIN = 16
    KEYS_MAX = 4096  # repeats that are over are forgotten when there are more

VALUE_MAX = 2**62
cdef int64_t VALUE_TOP = VALUE_MAX
cdef int64_t NS_PER_S = 1_000_000_000


cdef object number_of(wide_t value):
    """A sum, not below 0, as a Python integer."""
    return (<object> <uint64_t> (value >> 64) << 64) | <uint64_t> value


cdef class Window:
    """Sums over the orders of the last `span_ns`."""

    def __cinit__(self, int64_t span_ns):
        self.span_ns = span_ns

    def __dealloc__(self):
        free(self.entries)

    @property
    def orders(self) -> int:
        return self.held

    @property
    def quantity(self) -> int:
        return self.total

    @property
    def value_paise(self) -> int:
        return number_of(self.worth)

    cdef int add(self, int64_t quantity, int64_t value, int64_t at_ns) except -1:
        if self.held == self.room:
            self._grow()
        self.entries[(self.first + self.held) & (self.room - 1)] = entry_t(at_ns, quantity, value)
        self.held += 1
        self.total += quantity
        self.worth += value
        return 0

    cdef int _grow(self) except -1:
        cdef size_t room = max(<size_t> ROOM_MIN, 2 * self.room), i
        cdef entry_t* entries = <entry_t*> malloc(room * sizeof(entry_t))
        if not entries:
            raise MemoryError()
        for i in range(self.held):
            entries[i] = self.entries[(self.first + i) & (self.room - 1)]
        free(self.entries)
        self.entries, self.room, self.first = entries, room, 0
        return 0

    cdef void drop(self, int64_t now_ns) noexcept:
        """Leave out what is older than the span."""
        cdef entry_t* entry
        while self.held:
            entry = &self.entries[self.first]
            if entry.at_ns > now_ns - self.span_ns:
                return
            self.total -= entry.quantity
            self.worth -= entry.value
            self.first = (self.first + 1) & (self.room - 1)
            self.held -= 1


cdef class Tally:
    """limits: period_s and repeats_s of RiskLimits."""

    def __cinit__(self, limits: object):
        self.period_ns = round(limits.period_s * NS_PER_S)
        self.repeats_ns = round(limits.repeats_s * NS_PER_S)
        self.strategies, self.slots, self.repeats = {}, {}, {}
        self.nothing = Window(0)

    @property
    def different(self) -> int:
        """Orders whose repetitions are counted."""
        return len(self.repeats)

    @property
    def gross_paise(self) -> int:
        """Value of everything that was opened today."""
        return number_of(self.gross)

    def carry(self, gross_paise: object) -> None:
        """So much was opened before, today, at most VALUE_MAX; it counts in no period."""
        self.gross += <int64_t> min(gross_paise, VALUE_MAX)

    def add(
        self, strategy: object, slot: object, side: object, quantity: object, value_paise: object,
        int64_t at_ns, *, bint placed=True,
    ) -> None:
        """An opening order has passed the gate. placed: False for what a modification adds."""
        key = (strategy, slot, side, quantity) if placed else None
        self.count(strategy, slot, key, quantity, min(value_paise, VALUE_MAX), at_ns)

    cdef int count(
        self, object strategy, object slot, tuple key, int64_t quantity, int64_t value, int64_t at_ns
    ) except -1:
        """key: (strategy, slot, side, quantity), None: it repeats nothing."""
        window_in(self.strategies, strategy, self.period_ns).add(quantity, value, at_ns)
        window_in(self.slots, slot, self.period_ns).add(quantity, value, at_ns)
        self.gross += value
        if key is not None:
            if len(self.repeats) >= KEYS_MAX and key not in self.repeats:
                self._forget_what_is_over(at_ns)
            window_in(self.repeats, key, self.repeats_ns).add(0, 0, at_ns)
        return 0

    cdef Window strategy_window(self, object strategy, int64_t now_ns):
        return self._now(self.strategies, strategy, now_ns)

    cdef Window slot_window(self, object slot, int64_t now_ns):
        return self._now(self.slots, slot, now_ns)

    cdef Window repeats_window(self, tuple key, int64_t now_ns):
        return self._now(self.repeats, key, now_ns)

    cdef Window _now(self, dict windows, object key, int64_t now_ns):
        cdef object found = windows.get(key)
        if found is None:
            return self.nothing
        (<Window> found).drop(now_ns)
        return <Window> found

    def of_strategy(self, strategy: object, int64_t now_ns) -> Window:
        """Its orders within the period."""
        return self.strategy_window(strategy, now_ns)

    def of_slot(self, slot: object, int64_t now_ns) -> Window:
        """Orders of all strategies in an instrument within the period."""
        return self.slot_window(slot, now_ns)

    def same(self, strategy: object, slot: object, side: object, quantity: object, int64_t now_ns) -> int:
        """How often this very order was sent within repeats_s."""
        return self.repeats_window((strategy, slot, side, quantity), now_ns).held

    def forget_repeats(self, strategy: object = None) -> None:
        """A person lets the strategy, or (None) all of them, go on."""
        for key in [key for key in self.repeats if strategy is None or strategy == key[0]]:
            del self.repeats[key]

    cdef int _forget_what_is_over(self, int64_t now_ns) except -1:
        cdef Window window
        for key, window in list(self.repeats.items()):
            window.drop(now_ns)
            if not window.held:
                del self.repeats[key]
        return 0


cdef Window window_in(dict windows, object key, int64_t span_ns):
    """The window of `key`, made when there is none."""
    cdef object found = windows.get(key)
    if found is None:
        found = windows[key] = Window(span_ns)
    return <Window> found
