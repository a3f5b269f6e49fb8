"""Layer 2, orders process, hot: POST /orders/regular, for what most orders are.

brokers/kite/rest.py has the whole of it, slowly, and is asked for what is not known here.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from kite_hft.layout import OrderType, Product, Side, Validity

cdef extern from "Python.h":
    int PyUnicode_IS_COMPACT_ASCII(object text)
    const uint8_t* PyUnicode_1BYTE_DATA(object text)
    object PyType_GenericAlloc(type kind, Py_ssize_t items)

cdef enum:
    PARTS = 10  # of an OrderRequest
    CALL_PARTS = 4  # of an HttpRequest
    WORD_MAX = 64
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
cdef str POST = "POST"


cdef inline char* put(char* to, const char* text, size_t size) noexcept nogil:
    memcpy(to, text, size)
    return to + size


cdef inline char* put_number(char* to, uint64_t value, int width) noexcept nogil:
    """With leading zeros up to `width` digits."""
    cdef char digits[20]
    cdef int at = 20
    while value or 20 - at < width:
        at -= 1
        digits[at] = 48 + <char> (value % 10)
        value //= 10
    return put(to, digits + at, 20 - at)


cdef inline char* put_word(char* to, str text) except? NULL:
    """As it stands in a form; NULL: it would have to be quoted, or is too long."""
    cdef Py_ssize_t at, size = PyUnicode_GET_LENGTH(text)
    cdef const uint8_t* data
    if size > WORD_MAX or not PyUnicode_IS_COMPACT_ASCII(text):
        return NULL
    data = PyUnicode_1BYTE_DATA(text)
    for at in range(size):
        if not (97 <= data[at] <= 122 or 65 <= data[at] <= 90 or 48 <= data[at] <= 57 or data[at] in b"_.-~"):
            return NULL
    return put(to, <const char*> data, size)


cdef inline char* put_price(char* to, int64_t px, int64_t scale) noexcept nogil:
    """Exact, two places at least; NULL: not for this."""
    cdef int places = 0
    cdef int64_t rest = scale
    cdef char* end
    while rest > 1 and rest % 10 == 0:
        rest //= 10
        places += 1
    if rest != 1 or places < 2 or px < 0:
        return NULL
    to = put_number(to, <uint64_t> (px // scale), 1)
    to[0] = 46  # the point
    end = put_number(to + 1, <uint64_t> (px % scale), places)
    while end - to > 3 and (end - 1)[0] == 48:
        end -= 1
    return end


cdef bytes form_of(tuple words):
    """The body for an OrderRequest of type LIMIT or SL whose words need no quoting; else None."""
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


cdef class Placing:
    """Makes the call that places an order: an instance of `kind` (HttpRequest) of POST, `path`, the body,
    `content_type`. `slowly(request)` makes the body of every OrderRequest.
    """

    cdef type kind
    cdef str path, content_type
    cdef object slowly

    def __init__(self, kind: type, path: str, content_type: str, slowly: object):
        if not issubclass(kind, tuple) or len(kind._fields) != CALL_PARTS:
            raise TypeError(f"{kind} is no HttpRequest")
        self.kind, self.path, self.content_type, self.slowly = kind, path, content_type, slowly

    def __call__(self, request: object) -> Any:
        cdef bytes body
        if not isinstance(request, tuple) or PyTuple_GET_SIZE(request) != PARTS:
            raise TypeError(f"an OrderRequest has {PARTS} parts")
        try:
            body = form_of(<tuple> request)
        except OverflowError:  # a number beyond int64
            body = None
        cdef tuple call = <tuple> PyType_GenericAlloc(self.kind, CALL_PARTS)
        for at, part in enumerate((POST, self.path, self.slowly(request) if body is None else body, self.content_type)):
            Py_INCREF(part)  # PyTuple_SET_ITEM takes it over
            PyTuple_SET_ITEM(call, at, part)
        return call
