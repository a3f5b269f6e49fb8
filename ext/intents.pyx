"""Layer 2, compute and orders, hot: the memory that intents of a step are put into, and their last touch;
and the same records as tuples, for ORDERS.

One pass in C instead of a dozen numpy operations, each of which costs more than the intent itself.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy, memset

import numpy as np

cdef extern from "Python.h":
    object PyType_GenericAlloc(type kind, Py_ssize_t items)

from khft_layout cimport INTENT_FLAG_EXIT, INTENT_KIND_PLACE, khft_intent_t


def stamp(intents: np.ndarray, Py_ssize_t n, int64_t now_ns, int64_t span_ns=0, int64_t since_ns=0) -> int:
    """Write created_ns = now_ns into intents[:n] (INTENT); returns how many of them are new orders.

    span_ns: how long after the socket read of its tick ORDERS may send a new order that is no exit, or 0: for
    ever. since_ns: counted from here where no tick caused it; 0: from now_ns.

    Raises ValueError: another record, or fewer of them.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(intents, &view, PyBUF_WRITABLE)
    try:
        if view.itemsize != sizeof(khft_intent_t) or not 0 <= n <= view.len // view.itemsize:
            raise ValueError(f"{n} intents asked for, the array holds {view.len} bytes of {view.itemsize}")
        return stamp_all(<khft_intent_t*> view.buf, n, now_ns, span_ns, since_ns or now_ns)
    finally:
        PyBuffer_Release(&view)


cdef Py_ssize_t stamp_all(
    khft_intent_t* intent, Py_ssize_t n, int64_t now_ns, int64_t span_ns, int64_t since_ns
) noexcept nogil:
    # From the tick on: what a process that lags behind wants by an old price is as old as that price.
    cdef Py_ssize_t i, placed = 0
    for i in range(n):
        intent[i].created_ns = now_ns
        if intent[i].kind == INTENT_KIND_PLACE:
            placed += 1
            if span_ns and not intent[i].flags & INTENT_FLAG_EXIT:
                intent[i].deadline_ns = (intent[i].tick_recv_ns or since_ns) + span_ns
    return placed


cdef enum:
    FIELDS = 27

cdef inline bytes bytes_of(const void* data, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char*> data, size)


cdef type known = None  # that `tuples` has looked at
cdef khft_intent_t zeros
memset(&zeros, 0, sizeof(zeros))
cdef bytes REST8 = bytes_of(zeros.reserved8, sizeof(zeros.reserved8))  # of nearly all intents
cdef bytes REST = bytes_of(zeros.reserved, sizeof(zeros.reserved))


cdef inline void put(tuple row, int at, object value):
    Py_INCREF(value)  # PyTuple_SET_ITEM takes it over
    PyTuple_SET_ITEM(row, at, value)


cdef inline bytes rest_of(const void* data, Py_ssize_t size, bytes usual):
    return usual if memcmp(data, PyBytes_AS_STRING(usual), size) == 0 else bytes_of(data, size)


cdef object tuple_of(type kind, const khft_intent_t* intent):
    cdef object made = PyType_GenericAlloc(kind, FIELDS)
    cdef tuple row = <tuple> made
    put(row, 0, intent.seq)
    put(row, 1, intent.created_ns)
    put(row, 2, intent.tick_recv_ns)
    put(row, 3, intent.tick_seq)
    put(row, 4, intent.strategy_seq)
    put(row, 5, intent.target_seq)
    put(row, 6, intent.deadline_ns)
    put(row, 7, intent.slot)
    put(row, 8, intent.strategy)
    put(row, 9, intent.kind)
    put(row, 10, intent.side)
    put(row, 11, intent.order_type)
    put(row, 12, intent.product)
    put(row, 13, intent.validity)
    put(row, 14, intent.flags)
    put(row, 15, intent.qty)
    put(row, 16, intent.px)
    put(row, 17, intent.trigger_px)
    put(row, 18, intent.ref_px)
    put(row, 19, intent.trail_px)
    put(row, 20, intent.signal)
    put(row, 21, intent.step_px)
    put(row, 22, intent.group)
    put(row, 23, intent.leg)
    put(row, 24, intent.legs)
    put(row, 25, rest_of(intent.reserved8, sizeof(intent.reserved8), REST8))
    put(row, 26, rest_of(intent.reserved, sizeof(intent.reserved), REST))
    return made


def tuples(kind: type, data: object, Py_ssize_t n) -> list[Any]:
    """The first `n` INTENT records of `data` (a buffer) as instances of `kind`, the named tuple Intent.

    Raises ValueError: fewer of them, or another kind of tuple.
    """
    cdef Py_buffer view
    cdef Py_ssize_t i
    cdef list found = []
    global known
    if kind is not known:
        if not issubclass(kind, tuple) or len(kind._fields) != FIELDS:
            raise ValueError(f"{kind} is no named tuple of an INTENT's fields")
        known = kind
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= n <= view.len // <Py_ssize_t> sizeof(khft_intent_t):
            raise ValueError(f"{n} intents asked for, there are {view.len} bytes")
        for i in range(n):
            found.append(tuple_of(kind, <const khft_intent_t*> view.buf + i))
    finally:
        PyBuffer_Release(&view)
    return found


cdef class IntentBox:
    """Room for the intents of one strategy in one step, and how far it is filled.

    strategy: its number (INTENT.strategy). capacity: intents in a step. blank: one INTENT, what every
    record is before it is filled. spare: records behind the last one that may be written to and count
    for nothing. next_seq: number of the next intent.

    records: INTENT, capacity + spare; tick_index: int64 as long, the tick of the batch that each came
    from. n: intents in this step so far; budget: how many there may be; refused: how many more there
    would have been.
    """

    def __init__(self, int strategy, int capacity, blank: np.ndarray, int spare, int64_t next_seq):
        if blank.itemsize != sizeof(khft_intent_t) or len(blank) != 1 or capacity < 0 or spare < 0:
            raise ValueError("a box of intents needs one blank INTENT and some room")
        self.strategy, self.capacity, self.spare = strategy, capacity, spare
        self.blank = np.ascontiguousarray(blank)
        # Whole-record assignment goes field by field in numpy; bytes are 20 times faster.
        self.records = np.zeros(capacity + spare, blank.dtype)
        self.records.view(np.uint8).reshape(-1, blank.itemsize)[:] = self.blank.view(np.uint8)
        self.tick_index = np.zeros(capacity + spare, np.int64)
        self.intent = <khft_intent_t*> <size_t> self.records.ctypes.data
        self.where = <int64_t*> <size_t> self.tick_index.ctypes.data
        self.nothing = <const khft_intent_t*> <size_t> self.blank.ctypes.data
        self.made = self.refusals = self.room = 0
        self.next_number = next_seq

    def begin(self, int64_t room) -> None:
        """A new step: `room` more intents go into the queue."""
        self.open(room)

    cdef void open(self, int64_t room) noexcept:
        # Most steps make no intent: then only the spare may have been written to.
        cdef int64_t i
        for i in range(self.made + self.spare):
            memcpy(self.intent + i, self.nothing, sizeof(khft_intent_t))
        self.made = self.refusals = 0
        self.room = max(0, min(room, <int64_t> self.capacity))

    cdef Py_ssize_t stamp(self, int64_t now_ns, int64_t span_ns) noexcept:
        return stamp_all(self.intent, self.made, now_ns, span_ns, now_ns)

    @property
    def address(self) -> int:
        """Where n, next_seq, refused and budget stand, int64 each: valid as long as the box is."""
        return <size_t> &self.made

    @property
    def n(self) -> int:
        return self.made

    @n.setter
    def n(self, int64_t value) -> None:
        self.made = value

    @property
    def next_seq(self) -> int:
        return self.next_number

    @next_seq.setter
    def next_seq(self, int64_t value) -> None:
        self.next_number = value

    @property
    def refused(self) -> int:
        return self.refusals

    @refused.setter
    def refused(self, int64_t value) -> None:
        self.refusals = value

    @property
    def budget(self) -> int:
        return self.room

    @budget.setter
    def budget(self, int64_t value) -> None:
        self.room = value
