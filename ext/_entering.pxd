# Orders in a book for other compiled modules (entering.pyx has the code).

cdef enum:
    SLOTS_MAX = 64


cdef class Entering:
    cdef type order
    cdef object book, prefix
    cdef dict orders, by_strategy, by_tag, live, positions
    cdef set touched
    cdef tuple defaults
    cdef Py_ssize_t offsets[SLOTS_MAX]
    cdef int sources[SLOTS_MAX]  # place in the intent; -1: elsewhere
    cdef int n, number_at, tag_at, px_at, trigger_at, opening_at, parent_at, trades_at
    cdef object external
    cdef object ahead, ahead_no  # a tag that was made before somebody waits for it, and its number

    # `enter` in three: what it is called, whether it is plain, and its place in the book.
    cdef object tag(self, object order_no)
    cdef int look_ahead(self, object order_no) except -1
    cdef bint is_plain(self, tuple intent, object order_no, object tag) except -1
    cdef object put(self, tuple intent, object order_no, object tag, bint opening)
    # The order alone, in no book.
    cdef object made(self, tuple intent, object order_no, object tag, bint opening)
    cdef int _fields(self, object fields) except -1
    cdef int _expose(self, tuple intent, object strategy) except -1
