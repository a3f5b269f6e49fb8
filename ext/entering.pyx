"""Layer 2, orders process, hot: a judged placement becomes an order in the book, in one call.

The same as sending/work.py's order_of and then Book.add, which it hands every odd case to. An order is made
by writing its slots: thirty assignments in Python's own code are what an order costs most.
"""

import dataclasses

from cpython.dict cimport PyDict_Contains, PyDict_GetItem, PyDict_SetItem
from cpython.object cimport Py_TYPE, PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.set cimport PySet_Add
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from kite_hft._gathered cimport FIELDS, FLAGS, ORDER_TYPE, PRODUCT, PX, QTY, SEQ, SIDE, SLOT, STRATEGY, TRIGGER_PX, VALIDITY

from kite_hft.layout import INTENT, OrderType, Side

cdef extern from "Python.h":
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member
    PyTypeObject PyMemberDescr_Type
    object PyType_GenericAlloc(PyTypeObject* cls, Py_ssize_t n)

cdef extern from "structmember.h":
    int T_OBJECT_EX

cdef enum:
    HEAD = 7  # characters of a tag that the run's orders share
    NUMBER = 11  # digits of the order's number
    TAG = 20
    PRIME = 1291  # below 36 ** 2: a check has two digits

cdef const char* DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
cdef uint64_t NUMBERS = 36**11
cdef uint64_t ENGINE_SEQ = 2**62  # as in trading/intents.py
cdef int64_t BUY = Side.BUY
cdef int64_t LIMIT = OrderType.LIMIT
cdef int64_t STOP_LIMIT = OrderType.SL
cdef int64_t STOP_MARKET = OrderType.SLM
cdef int CREATED_NS = INTENT.names.index("created_ns")
cdef int TICK_RECV_NS = INTENT.names.index("tick_recv_ns")
cdef int TARGET_SEQ = INTENT.names.index("target_seq")

_FROM = {
    "strategy": STRATEGY, "strategy_seq": SEQ, "slot": SLOT, "side": SIDE, "order_type": ORDER_TYPE,
    "product": PRODUCT, "validity": VALIDITY, "flags": FLAGS, "quantity": QTY, "px": PX,
    "trigger_px": TRIGGER_PX, "created_ns": CREATED_NS, "tick_recv_ns": TICK_RECV_NS,
}
"""Field of an order -> where it stands in the intent."""


cdef int digit_of(int character) except -1:
    if 48 <= character <= 57:
        return character - 48
    if 97 <= character <= 122:
        return character - 87
    raise ValueError(f"{chr(character)!r} is no digit of base 36")


def tag_of(prefix: str, order_no: object) -> str:
    """The tag of an order: `prefix` (7 characters), its number in 11 and a check in 2 base-36 digits.

    The check is the sum of (digit + 1) x 37 ** place modulo 1291.

    Raises:
        ValueError: another prefix, or a number that does not fit.
    """
    cdef char text[TAG]
    cdef bytes head = prefix.encode("ascii")
    cdef uint64_t rest
    cdef int at, total = 0
    if len(head) != HEAD or not 0 <= order_no < NUMBERS:
        raise ValueError(f"{prefix!r} and {order_no} make no tag")
    rest = order_no
    for at in range(HEAD):
        text[at] = head[at]
    for at in range(HEAD + NUMBER - 1, HEAD - 1, -1):
        text[at] = DIGITS[rest % 36]
        rest = rest // 36
    for at in range(HEAD + NUMBER):
        total = (total * 37 + digit_of(text[at]) + 1) % PRIME
    text[TAG - 2], text[TAG - 1] = DIGITS[total // 36], DIGITS[total % 36]
    return text[:TAG].decode("ascii")


cdef class Entering:
    """For one book. order: the class of orders (trading/order.py), a dataclass with slots; prefix: of tags.

    Raises:
        TypeError: a class that is not made so, or has a field that no placement fills.
    """

    def __cinit__(self, order: type, book: object, prefix: str, external: object):
        self.order, self.book, self.prefix, self.external = order, book, prefix, external
        self.orders, self.live, self.positions = book.orders, book.live_orders, book.positions
        self.by_strategy, self.by_tag, self.touched = book._by_strategy, book._by_tag, book._touched
        self._fields(dataclasses.fields(order))

    cdef int _fields(self, fields) except -1:
        names = [field.name for field in fields]
        if len(fields) > SLOTS_MAX or "__post_init__" in dir(self.order):
            raise TypeError(f"{self.order} cannot be made by its slots")
        for at, field in enumerate(fields):
            member = getattr(self.order, field.name, None)
            if <void*> Py_TYPE(member) != <void*> &PyMemberDescr_Type:
                raise TypeError(f"{field.name} of {self.order} is no slot")
            if (<PyMemberDescrObject*> member).d_member.type != T_OBJECT_EX:
                raise TypeError(f"{field.name} of {self.order} is no slot of an object")
            self.offsets[at] = (<PyMemberDescrObject*> member).d_member.offset
            self.sources[at] = _FROM.get(field.name, -1)
            given = field.name in _FROM or field.name in ("order_no", "tag", "trades")
            if field.default is dataclasses.MISSING and not given:
                raise TypeError(f"{field.name} of {self.order} has no default, and no placement fills it")
        self.n = len(fields)
        self.defaults = tuple(None if f.default is dataclasses.MISSING else f.default for f in fields)
        self.number_at, self.tag_at, self.px_at = map(names.index, ("order_no", "tag", "px"))
        self.trigger_at, self.opening_at = map(names.index, ("trigger_px", "opening"))
        self.parent_at, self.trades_at = map(names.index, ("parent", "trades"))
        return 0

    def enter(self, intent: object, order_no: object, bint opening):
        """The order that a PLACE asks for; it stands in the book from here on.

        Raises:
            BookError: number, (strategy, strategy_seq) or tag is taken.
            ValueError: the number makes no tag, or that is no intent.
        """
        if not isinstance(intent, tuple) or PyTuple_GET_SIZE(intent) != FIELDS:
            raise ValueError(f"no intent: {intent!r}")
        tag = self.tag(order_no)
        if self.is_plain(<tuple> intent, order_no, tag):
            return self.put(<tuple> intent, order_no, tag, opening)
        order = self.made(<tuple> intent, order_no, tag, opening)
        self.book.add(order)
        return order

    cdef object tag(self, object order_no):
        if self.ahead is not None and order_no == self.ahead_no:
            return self.ahead
        return tag_of(self.prefix, order_no)

    cdef int look_ahead(self, object order_no) except -1:
        self.ahead = tag_of(self.prefix, order_no) if order_no < NUMBERS else None
        self.ahead_no = order_no
        hash(self.ahead)  # which it keeps
        return 0

    cdef bint is_plain(self, tuple intent, object order_no, object tag) except -1:
        """Book.add would take it, and do no more than `put` does."""
        cdef object strategy = intent[STRATEGY]
        return not (
            <uint64_t> intent[SEQ] >= ENGINE_SEQ or strategy == self.external or not intent[QTY]
            or PyDict_Contains(self.orders, order_no) or PyDict_Contains(self.by_tag, tag)
            or PyDict_Contains(self.by_strategy, (strategy, intent[SEQ]))
        )

    cdef object put(self, tuple intent, object order_no, object tag, bint opening):
        """A plain one, and only such a one, into the book."""
        cdef object order = self.made(intent, order_no, tag, opening)
        cdef object strategy = intent[STRATEGY]
        self.by_strategy[(strategy, intent[SEQ])] = order
        self.orders[order_no] = order
        self.by_tag[tag] = order
        self.live[order_no] = order
        self._expose(intent, strategy)
        return order

    cdef object made(self, tuple intent, object order_no, object tag, bint opening):
        cdef object order = PyType_GenericAlloc(<PyTypeObject*> self.order, 0)
        cdef int64_t kind = intent[ORDER_TYPE]
        cdef int at
        cdef object value
        for at in range(self.n):
            if self.sources[at] >= 0:
                value = intent[self.sources[at]]
            else:
                value = self.defaults[at]
            if at == self.number_at:
                value = order_no
            elif at == self.tag_at:
                value = tag
            elif at == self.px_at and kind != LIMIT and kind != STOP_LIMIT:
                value = 0
            elif at == self.trigger_at and kind != STOP_LIMIT and kind != STOP_MARKET:
                value = 0
            elif at == self.opening_at:
                value = opening
            elif at == self.trades_at:
                value = {}
            elif at == self.parent_at and <uint64_t> intent[SEQ] >= ENGINE_SEQ:
                value = intent[TARGET_SEQ]
            Py_INCREF(value)
            (<PyObject**> (<char*> <PyObject*> order + self.offsets[at]))[0] = <PyObject*> value
        return order

    cdef int _expose(self, tuple intent, object strategy) except -1:
        """What may fill counts in its position."""
        cdef object slot = intent[SLOT], position
        cdef PyObject* found = PyDict_GetItem(self.positions, (strategy, slot, intent[PRODUCT]))
        PySet_Add(self.touched, slot)
        if found:
            position = <object> found
        else:
            position = self.book.position_of(strategy, slot, intent[PRODUCT])
        if <int64_t> intent[SIDE] == BUY:
            position.open_buy = position.open_buy + intent[QTY]
        else:
            position.open_sell = position.open_sell + intent[QTY]
        return 0
