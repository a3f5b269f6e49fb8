"""Layer 2, orders process, hot: POST /v3/order/place, for what most orders are.

brokers/upstox/calls.py has the whole of it, slowly, and is asked for what is not known here.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from kite_hft._placing cimport Placing, put, put_number, put_price, put_word

from kite_hft.layout import OrderType

cdef enum:
    ROOM = 256  # of what stands behind the terms
    TERMS_MAX = 4096
    TAG_MAX = 40

cdef int64_t LIMIT = OrderType.LIMIT
cdef int64_t STOP_LIMIT = OrderType.SL


cdef class UpstoxPlacing(Placing):
    """Of type LIMIT or SL, on instruments that the wire counts as we do.

    terms(request): the beginning of its body, up to the quantity, "" where the wire counts lots: the same for
    all requests of one instrument, side, type, product and validity.
    """

    cdef object terms
    cdef dict known

    def __init__(self, kind: type, path: str, content_type: str, slowly: object, terms: object):
        Placing.__init__(self, kind, path, content_type, slowly)
        self.terms, self.known = terms, {}

    cdef bytes body_of(self, tuple words):
        cdef char made[ROOM]
        cdef char* to = made
        cdef int64_t kind = words[2], quantity = words[5], px = words[6], trigger_px = words[7]
        cdef int64_t scale = words[0].scale
        cdef str tag = words[9]
        cdef bytes begin
        if (kind != LIMIT and kind != STOP_LIMIT) or quantity < 0 or len(tag) > TAG_MAX or not plain(tag):
            return None
        begin = self._begin(words)
        if not begin:
            return None
        to = put_price(put(put_number(to, <uint64_t> quantity, 1), b',"price":', 9), px, scale)
        if to is NULL:
            return None
        to = put(to, b',"trigger_price":', 17)
        to = put_price(to, trigger_px, scale) if kind == STOP_LIMIT else put(to, b"0", 1)
        if to is NULL:
            return None
        if tag:
            to = put(put_word(put(to, b',"tag":"', 8), tag), b'"', 1)
        to = put(to, b"}", 1)
        return begin + PyBytes_FromStringAndSize(made, to - made)

    cdef bytes _begin(self, tuple words):
        cdef object row = words[0]
        cdef tuple name = (row.upstox_key, row.exchange, row.lot_size, words[1], words[2], words[3], words[4])
        cdef PyObject* found = PyDict_GetItem(self.known, name)
        if found:
            return <bytes> found
        begin = self.terms(words).encode()
        if len(self.known) >= TERMS_MAX:
            self.known.clear()
        self.known[name] = begin
        return begin


cdef bint plain(str text):
    """Of letters and digits of ASCII alone."""
    return not text or (text.isascii() and text.isalnum())
