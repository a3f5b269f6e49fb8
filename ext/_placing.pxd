# A call that places an order, and how numbers and names stand in its body (placing.pyx has the code).
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    int PyUnicode_IS_COMPACT_ASCII(object text)
    const uint8_t* PyUnicode_1BYTE_DATA(object text)

cdef enum:
    WORD_MAX = 64


cdef class Placing:
    cdef type kind
    cdef str path, content_type
    cdef object slowly

    cdef bytes body_of(self, tuple request)


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
