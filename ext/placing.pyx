"""Layer 2, orders process, hot: the call that places an order, for brokers whose body is made compiled.

Each broker's own (kite_form.pyx, upstox_form.pyx) says what the body is of most orders; what it does not
know, the broker's adapter makes.
"""

from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_SET_ITEM

cdef extern from "Python.h":
    object PyType_GenericAlloc(type kind, Py_ssize_t items)

cdef enum:
    PARTS = 10  # of an OrderRequest
    CALL_PARTS = 4  # of an HttpRequest

cdef str POST = "POST"


cdef class Placing:
    """Makes an instance of `kind` (HttpRequest) of POST, `path`, the body, `content_type`. slowly(request)
    makes the body of every OrderRequest.
    """

    def __init__(self, kind: type, path: str, content_type: str, slowly: object):
        if not issubclass(kind, tuple) or len(kind._fields) != CALL_PARTS:
            raise TypeError(f"{kind} is no HttpRequest")
        self.kind, self.path, self.content_type, self.slowly = kind, path, content_type, slowly

    cdef bytes body_of(self, tuple request):
        """None: it is not for this."""
        return None

    def __call__(self, request: object) -> Any:
        cdef bytes body
        cdef tuple call
        if not isinstance(request, tuple) or PyTuple_GET_SIZE(request) != PARTS:
            raise TypeError(f"an OrderRequest has {PARTS} parts")
        try:
            body = self.body_of(<tuple> request)
        except OverflowError:  # a number beyond int64
            body = None
        if body is None:
            body = self.slowly(request)
        call = <tuple> PyType_GenericAlloc(self.kind, CALL_PARTS)
        fill(call, 0, POST)
        fill(call, 1, self.path)
        fill(call, 2, body)
        fill(call, 3, self.content_type)
        return call


cdef inline void fill(tuple call, int at, object part):
    Py_INCREF(part)  # PyTuple_SET_ITEM takes it over
    PyTuple_SET_ITEM(call, at, part)
