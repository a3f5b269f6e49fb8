# The hot halves of a transport for other compiled modules (calling.pyx has the code).
from libc.stdint cimport int64_t


cdef class Exchange:
    cdef readonly object request_id
    cdef readonly int64_t deadline_ns
    cdef readonly object method
    cdef public bint heard
    cdef public bint sent
    cdef public int64_t sent_ns
    cdef public int status
    cdef public object date
    cdef public object body


cdef class Line:
    cdef public object phase
    cdef public int fd
    cdef public object _socket
    cdef public object _tls
    cdef public object _outbox
    cdef public object _out
    cdef public object _exchange
    cdef public object _now
    cdef public object _busy
    cdef object told
    cdef object writing

    cdef int begin(self, object request_id, object method, bytes data, int64_t deadline_ns) except -1
    cdef object _write(self, bytes data)
    cdef int _send(self, bytes data, Exchange exchange) except -1


cdef class Caller:
    cdef public object _mono_ns
    cdef public object _heads
    cdef public object _orders
    cdef public object _reads
    cdef public object _done
    cdef public object _idle
    cdef public int64_t _timeout_ns
    cdef public int64_t _looked_ns
    cdef public int64_t _silent_ns
    cdef public int64_t _due_ns
    cdef public int _epoll_fd

    cpdef object submit(self, object request_id, object request)
    cpdef bytes bytes_of(self, object request)
    cdef bint _start(
        self, list lines, object request_id, object method, bytes data, int64_t now_ns
    ) except -1
