"""Layer 2, orders process, hot: POST /orders/regular, for what most orders are.

brokers/kite/rest.py has the whole of it, slowly, and is asked for what is not known here.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from kite_hft._placing cimport Placing, put, put_number, put_price, put_word

from kite_hft.layout import OrderType, Product, Side, Validity

cdef enum:
    ROOM = 1024

_PRICED = {OrderType.LIMIT: "LIMIT", OrderType.SL: "SL"}
cdef int64_t STOP_LIMIT = OrderType.SL

_TERMS = {
    (int(side), int(kind), int(product), int(validity)): (
        f"&transaction_type={side.name}&product={product.name}&order_type={_PRICED[kind]}"
        f"&validity={validity.name}&quantity="
    ).encode()
    for side in Side for kind in _PRICED for product in Product for validity in Validity
}
cdef dict TERMS = _TERMS


cdef class KitePlacing(Placing):
    """Of type LIMIT or SL, with words that need no quoting."""

    cdef bytes body_of(self, tuple words):
        cdef char made[ROOM]
        cdef char* to = made
        cdef object instrument = words[0]
        cdef object terms = TERMS.get((words[1], words[2], words[3], words[4]))
        cdef int64_t quantity = words[5], px = words[6], trigger_px = words[7], scale = instrument.scale
        cdef str tag = words[9]
        if terms is None or quantity < 0:
            return None
        to = put_word(put(to, b"variety=regular&exchange=", 25), instrument.exchange)
        if to is NULL:
            return None
        to = put_word(put(to, b"&tradingsymbol=", 15), instrument.symbol)
        if to is NULL:
            return None
        to = put(to, PyBytes_AS_STRING(terms), PyBytes_GET_SIZE(terms))
        to = put_price(put(put_number(to, <uint64_t> quantity, 1), b"&price=", 7), px, scale)
        if to is not NULL and <int64_t> words[2] == STOP_LIMIT:
            to = put_price(put(to, b"&trigger_price=", 15), trigger_px, scale)
        if to is not NULL and tag:
            to = put_word(put(to, b"&tag=", 5), tag)
        if to is NULL:
            return None
        return PyBytes_FromStringAndSize(made, to - made)
