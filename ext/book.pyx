"""Layer 2, orders process, hot: what is in play in each instrument, for the book and for the gate's quick way."""

from cpython.set cimport PySet_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc

from typing import Any

cdef int64_t EXACT = 2**52


cdef object worst_of(object held, object buys, object sells):
    """The largest absolute position, were all live orders of one side to fill."""
    return max(abs(held + buys), abs(held - sells))


cdef object worst_apart(list positions):
    """Of several products, each for itself: as positions.worst_case."""
    sums, worst = {}, 0
    for position in positions:
        held, buys, sells = sums.get(position.product, (0, 0, 0))
        sums[position.product] = held + position.quantity, buys + position.open_buy, sells + position.open_sell
    for held, buys, sells in sums.values():
        worst += worst_of(held, buys, sells)
    return worst


cdef class InPlay:
    """Sums of the positions of one book. slots: slot -> its positions; touched: slots that something may
    have happened to: they are counted anew, and taken out.
    """

    def __cinit__(self, slots: dict[int, Any], touched: set[int]):
        self.table, self.slots, self.touched = {}, slots, touched

    def __dealloc__(self):
        free(self.rows)

    def now(self) -> dict[int, tuple[int, int, int, int]]:
        """slot -> (held, buys, sells, worst case), where something is held or live."""
        self.count()
        return self.table

    cdef int count(self) except -1:
        if not PySet_GET_SIZE(self.touched):
            return 0
        for slot in self.touched:
            held = buys = sells = 0
            product, several = None, False
            for position in <list> self.slots[slot]:
                quantity, buy, sell = position.quantity, position.open_buy, position.open_sell
                if not (quantity or buy or sell):
                    continue
                held, buys, sells = held + quantity, buys + buy, sells + sell
                several = several or (product is not None and product != position.product)
                product = position.product
            if product is not None:
                worst = worst_apart(self.slots[slot]) if several else worst_of(held, buys, sells)
                sums = held, buys, sells, worst
                self.table[slot] = sums
                self._keep(slot, sums, 0 if several else product)
            else:
                self.table.pop(slot, None)
                self._drop(slot)
        self.touched.clear()
        return 0

    cdef played_t* of(self, int64_t slot) noexcept:
        cdef size_t at
        for at in range(self.n):
            if self.rows[at].slot == slot:
                return &self.rows[at]
        return NULL

    cdef int _keep(self, object slot, object sums, object product) except -1:
        cdef played_t* row = self.of(slot)
        cdef played_t* rows
        if row == NULL:
            if self.n == self.room:
                rows = <played_t*> realloc(self.rows, (self.room + 64) * sizeof(played_t))
                if not rows:
                    raise MemoryError()
                self.rows, self.room = rows, self.room + 64
            row = &self.rows[self.n]
            self.n += 1
        row.slot, row.product = slot, product
        held, buys, sells, worst = sums
        row.exact = worst < EXACT and -EXACT < held < EXACT and -EXACT < buys < EXACT and -EXACT < sells < EXACT
        if row.exact:
            row.held, row.buys, row.sells, row.worst = held, buys, sells, worst
        return 0

    cdef void _drop(self, int64_t slot) noexcept:
        cdef played_t* row = self.of(slot)
        if row != NULL:
            self.n -= 1
            row[0] = self.rows[self.n]
