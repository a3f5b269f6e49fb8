"""Layer 3, orders process, hot: a request on its way out: the quick halves of net/http.py and net/connection.py.

A transport's answers, waiting calls and failures stand there; here is what each order passes: its bytes are
put together, encrypted and handed to the kernel, with one call each.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t
from libc.string cimport memcpy

import os
from socket import socket as PlainSocket

cdef extern from "<sys/types.h>" nogil:
    ctypedef long ssize_t

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int MSG_NOSIGNAL
    int MSG_DONTWAIT

cdef extern from "<sys/epoll.h>" nogil:
    struct epoll_event:
        pass
    int epoll_wait(int epoll_fd, epoll_event* events, int n, int timeout_ms)

cdef enum:
    CALL_PARTS = 4  # of an HttpRequest
    DIGITS = 20

cdef int64_t LOOKED = 500_000
LOOKED_NS = LOOKED
"""So long after the sockets were found silent a connection counts as standing: what a peer did in that time
could not be known at a broker's distance anyway."""
cdef int64_t NEVER_LOOKED = -(2**62)
NEVER_LOOKED_NS = NEVER_LOOKED
cdef str GET = "GET"
cdef frozenset WITH_LENGTH = frozenset({"POST", "PUT"})


cdef class Exchange:
    """The call that is under way on a connection.

    heard: its answer has begun, the parser knows of it. sent: at least one byte may have left.
    """


cdef class Line:
    """Of one connection: a call is written on it. `not_sent(error)`, `_flush()`: net/connection.py."""

    def start(self, request_id: int, method: str, data: bytes, int64_t deadline_ns) -> bool:
        """Write one call, a whole HTTP/1.1 request, on an IDLE connection; its end comes by `finished`. False: the
        connection has failed before the kernel took a byte of it, and is closed: the call is not its any more.
        """
        return self.begin(request_id, method, data, deadline_ns) != 0

    cdef int begin(self, object request_id, object method, bytes data, int64_t deadline_ns) except -1:
        cdef Exchange exchange = Exchange.__new__(Exchange)
        exchange.request_id, exchange.method, exchange.deadline_ns = request_id, method, deadline_ns
        exchange.date, exchange.body = b"", bytearray()
        if self._socket is None:
            raise RuntimeError("a call on a connection that is not open")
        self._exchange, self.phase = exchange, self._busy
        try:
            if self._tls is not None:
                self._write(data)
                data = self._outbox.read()
            self._send(data, exchange)
        except OSError as error:  # ssl.SSLError is one
            self.not_sent(error)
            return exchange.sent
        exchange.sent_ns = self._now()
        return 1

    cdef object _write(self, bytes data):
        """As SSLObject.write, which only hands on."""
        cdef object tls = self._tls
        if tls is not self.told:
            self.told, self.writing = tls, getattr(tls, "_sslobj", tls).write
        return self.writing(data)

    cdef int _send(self, bytes data, Exchange exchange) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), n
        # Of the handshake: it goes first. Another kind of socket (a campaign's) has a `send` of its own.
        if self._out or type(self._socket) is not PlainSocket:
            self._out += data
        else:
            n = send(self.fd, PyBytes_AS_STRING(data), size, MSG_NOSIGNAL | MSG_DONTWAIT)
            if n < 0:
                if errno != EAGAIN and errno != EINTR:
                    raise OSError(errno, os.strerror(errno))
                n = 0
            exchange.sent = n > 0
            if n < size:
                self._out += data[n:]
        if self._out:
            self._flush()
        return 0


cdef bytes whole(bytes head, bytes body):
    """The request: what comes before its length is the same for all calls of one kind."""
    cdef char digits[DIGITS]
    cdef int at = DIGITS
    cdef Py_ssize_t rest = PyBytes_GET_SIZE(body), size = PyBytes_GET_SIZE(head) + 16 + 4 + rest
    cdef bytes made
    cdef char* to
    while rest or at == DIGITS:
        at -= 1
        digits[at] = 48 + <char> (rest % 10)
        rest //= 10
    made = PyBytes_FromStringAndSize(NULL, size + DIGITS - at)
    to = PyBytes_AS_STRING(made)
    to = put(to, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
    to = put(put(to, b"Content-Length: ", 16), digits + at, DIGITS - at)
    put(put(to, b"\r\n\r\n", 4), PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    return made


cdef inline char* put(char* to, const char* text, size_t size) noexcept nogil:
    memcpy(to, text, size)
    return to + size


cdef class Caller:
    """Of one transport: a call goes out on the first connection that stands. `_head(method, path,
    content_type)`, `_wait(request_id, request, now_ns)`: net/http.py.
    """

    def __cinit__(self, *args: object, **words: object):
        self._epoll_fd = -1  # of its sockets; below 0: `quiet` goes by what others have seen alone

    cpdef object submit(self, object request_id, object request):
        """Send a call, now if a connection is free. Its one answer comes from `poll`."""
        cdef int64_t now_ns = self._mono_ns()
        cdef bytes data = self.bytes_of(request)
        cdef object lane, method = (<tuple> request)[0]
        self._due_ns = 0  # there will be another time to keep
        lane = self._reads if method == GET else self._orders
        if not lane.waiting:
            if self._start(lane.connections, request_id, method, data, now_ns):
                return
        self._wait(request_id, request, now_ns)

    cpdef bytes bytes_of(self, object request):
        """The call as it is written, with the credentials of now."""
        cdef bytes body
        cdef PyObject* head
        if not isinstance(request, tuple) or PyTuple_GET_SIZE(request) != CALL_PARTS:
            raise TypeError(f"an HttpRequest has {CALL_PARTS} parts")
        method, path, made, content_type = <tuple> request
        if not PyBytes_Check(made):
            raise TypeError(f"a body of {type(made)}")
        body = made
        name = (method, path, content_type)
        head = PyDict_GetItem(self._heads, name)
        begin = <object> head if head else self._head(method, path, content_type)
        if body or method in WITH_LENGTH:
            return whole(begin, body)
        return begin + b"\r\n"

    cdef bint _start(self, list lines, object request_id, object method, bytes data, int64_t now_ns) except -1:
        cdef bint looked = 0 <= now_ns - self._looked_ns < LOOKED
        cdef Line line
        for line in lines:
            if (looked and line.phase is self._idle) or line.fresh():
                if line.begin(request_id, method, data, now_ns + self._timeout_ns):
                    return True  # else no byte of it has left: the next one takes it
        return False

    def quiet(self, int64_t now_ns) -> bool:
        """Nothing has come that `poll` would hand back or see to: it found nothing, and need not be asked.
        What nobody has looked for a short time ago is looked for now.
        """
        cdef epoll_event found
        if self._done or now_ns >= self._due_ns:
            return False
        if 0 <= now_ns - self._silent_ns < LOOKED:
            self._looked_ns, self._silent_ns = self._silent_ns, NEVER_LOOKED
            return True
        if self._epoll_fd < 0 or epoll_wait(self._epoll_fd, &found, 1, 0) != 0:
            return False
        self._looked_ns = now_ns
        return True
