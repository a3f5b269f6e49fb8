"""Layer 1, orders process, hot: the bytes of a journal record, and of the one that each order writes.

memory/journal.py has the format and reads it; trading/records.py has the words of an INTENT, slowly.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import functools
import os

cdef extern from "<unistd.h>" nogil:
    ctypedef long ssize_t
    ssize_t pwrite(int fd, const void* data, size_t size, int64_t offset)

cdef extern from "crc32.h" nogil:
    void crc32_prepare()
    uint32_t crc32_of(uint32_t crc, const uint8_t* data, size_t size)

cdef extern from "Python.h":
    int PyUnicode_IS_COMPACT_ASCII(object text)
    const uint8_t* PyUnicode_1BYTE_DATA(object text)

crc32_prepare()
cdef object os_pwrite = os.pwrite

cdef packed struct record_t:  # memory/journal.py tells what each word means
    uint8_t mark[4]
    uint32_t crc
    uint32_t before
    uint32_t length
    uint64_t seq
    int64_t time_ns
    uint16_t kind
    uint16_t lag
    uint32_t zero

RECORD_BYTES = sizeof(record_t)
if sizeof(record_t) > HEAD_ROOM:
    raise ImportError("kite_hft._journal has too little room for the head of a record")
cdef const char* MARK = b"\xf5KJ\xff"
cdef enum:
    CHECKED_FROM = 8  # behind the crc itself
    LAG_MAX = 0xFFFF
    PAYLOAD_MAX = 1 << 20
    TAG_MAX = 64
    HEAD_ROOM = 40  # the size of record_t
    DIGITS_MAX = 19  # of an int64
    ROOM = 1024  # of an INTENT: 19 names and 18 numbers of 20 digits at most, and the tag


def crc32(data: bytes, uint32_t crc=0) -> int:
    """As zlib.crc32."""
    return crc32_of(crc, <const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef inline uint32_t put_head(
    uint8_t* to, uint16_t kind, uint64_t seq, int64_t time_ns, uint32_t length, uint32_t before, uint32_t seed,
    int64_t lag,
) noexcept nogil:
    """In front of a payload of `length` that stands where it belongs; returns the record's crc."""
    cdef record_t head
    memcpy(head.mark, MARK, 4)
    head.before, head.length, head.seq, head.time_ns = before, length, seq, time_ns
    head.kind, head.zero = kind, 0
    head.lag = <uint16_t> (lag if lag < LAG_MAX else LAG_MAX)
    memcpy(to, &head, sizeof(record_t))
    head.crc = crc32_of(seed, to + CHECKED_FROM, sizeof(record_t) - CHECKED_FROM + length)
    memcpy(to + 4, &head.crc, 4)
    return head.crc


def encode(
    uint16_t kind, uint64_t seq, int64_t time_ns, payload: bytes, uint32_t before, uint32_t seed, int64_t lag
) -> tuple[bytes, int]:
    """One record and its crc; `before` is the crc of the record before it, `seed` the header's."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(payload)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, sizeof(record_t) + length)
    cdef uint8_t* to = <uint8_t*> PyBytes_AS_STRING(made)
    memcpy(to + sizeof(record_t), PyBytes_AS_STRING(payload), length)
    return made, put_head(to, kind, seq, time_ns, <uint32_t> length, before, seed, lag)


cdef class Appender:
    """The quick half of JournalWriter (memory/journal_writer.py): a record on a file that has not failed.

    write_at(data, offset): as of its File. next_seq: of the next record. synced_seq: the last one that is on
    the disk. failed: why nothing new may be written; "": it may. end: where the next record begins. crc: of
    the record before it, seed: of the header.
    """

    cpdef int64_t append(self, object kind, int64_t time_ns, bytes payload) except -1:
        """Write one record with one write call; returns its seq.

        Raises:
            JournalError: it was not written: the write failed, or `failed` stands and it is an INTENT
                or a GTT, or the payload is too long.
        """
        cdef int64_t seq = self.next_seq
        cdef Py_ssize_t length = PyBytes_GET_SIZE(payload)
        if self.failed or length > PAYLOAD_MAX:
            self.refuse(kind, length)
        made, crc = encode(kind, seq, time_ns, payload, self.crc, self.seed, seq - 1 - self.synced_seq)
        self.write(made)
        self.next_seq, self.crc = seq + 1, crc
        return seq

    cdef int64_t append_placed(self, object kind, int64_t time_ns, const placed_t* placed, str tag) except -1:
        cdef uint8_t made[HEAD_ROOM + ROOM]
        cdef int64_t seq = self.next_seq
        cdef Py_ssize_t length = put_payload(<char*> made + sizeof(record_t), placed, tag)
        cdef uint32_t crc
        if length == 0:
            return 0
        if self.failed:
            self.refuse(kind, length)
        if self.write_at is not self.known:
            self._look()
        crc = put_head(
            made, kind, seq, time_ns, <uint32_t> length, self.crc, self.seed, seq - 1 - self.synced_seq
        )
        length += sizeof(record_t)
        if self.fd >= 0:
            self._write(<const char*> made, length)
        else:
            self.write(PyBytes_FromStringAndSize(<const char*> made, length))
        self.next_seq, self.crc = seq + 1, crc
        return seq

    cpdef object write(self, bytes data):
        """With one call, behind all that is written. Raises JournalError."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef object written
        if self.write_at is not self.known:
            self._look()
        if self.fd >= 0:
            self._write(PyBytes_AS_STRING(data), size)
            return
        try:
            written = self.write_at(data, self.end)
        except OSError as error:
            self.not_written(error, 0, 0)
        if written != size:
            self.not_written(None, written, size)
        self.end += size

    cdef int _write(self, const char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t written = 0
        try:
            written = self._put(data, size)
        except OSError as error:
            self.not_written(error, 0, 0)
        if written != size:
            self.not_written(None, written, size)
        self.end += size
        return 0

    cdef int _look(self) except -1:
        """Where `write_at` is os.pwrite of a descriptor, and nothing else, it is called without a detour."""
        cdef object call = self.write_at
        self.known, self.fd = call, -1
        if type(call) is functools.partial and call.func is os_pwrite and len(call.args) == 1 and not call.keywords:
            self.fd = call.args[0]
        return 0

    cdef Py_ssize_t _put(self, const char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t n = -1
        while n < 0:
            n = pwrite(self.fd, data, size, self.end)
            if n < 0 and errno != EINTR:
                raise OSError(errno, os.strerror(errno))
            if n < 0:
                PyErr_CheckSignals()
        return n


cdef inline char* word(char* to, const char* text, size_t size) noexcept nogil:
    memcpy(to, text, size)
    return to + size


cdef inline char* number(char* to, int64_t value) noexcept nogil:
    cdef uint64_t rest = <uint64_t> value, power = 10
    cdef int digits = 1, at
    if value < 0:
        to[0] = 45  # minus
        to += 1
        rest = 0 - rest
    while digits < DIGITS_MAX and rest >= power:
        power *= 10
        digits += 1
    for at in range(digits - 1, -1, -1):
        to[at] = 48 + <char> (rest % 10)
        rest //= 10
    return to + digits


cdef inline bint plain(str text):
    """Letters and digits of ASCII alone, TAG_MAX at most: JSON writes them as they are."""
    cdef Py_ssize_t at, size = PyUnicode_GET_LENGTH(text)
    cdef const uint8_t* data
    if size > TAG_MAX or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    data = PyUnicode_1BYTE_DATA(text)
    for at in range(size):
        if not (48 <= data[at] <= 57 or 65 <= data[at] <= 90 or 97 <= data[at] <= 122):
            return False
    return True


cdef bytes payload_of(const placed_t* placed, str tag):
    cdef char made[ROOM]
    cdef Py_ssize_t size = put_payload(made, placed, tag)
    return PyBytes_FromStringAndSize(made, size) if size else None


cdef Py_ssize_t put_payload(char* made, const placed_t* placed, str tag) except -1:
    """Its size; 0: the tag is not of letters and digits alone."""
    cdef char* to = made
    if not plain(tag):
        return 0
    to = number(word(to, b'{"no":', 6), placed.no)
    to = number(word(to, b',"strategy":', 12), placed.strategy)
    to = number(word(to, b',"seq":', 7), placed.seq)
    to = number(word(to, b',"slot":', 8), placed.slot)
    to = number(word(to, b',"token":', 9), placed.token)
    to = number(word(to, b',"side":', 8), placed.side)
    to = number(word(to, b',"type":', 8), placed.order_type)
    to = number(word(to, b',"product":', 11), placed.product)
    to = number(word(to, b',"validity":', 12), placed.validity)
    to = number(word(to, b',"flags":', 9), placed.flags)
    to = number(word(to, b',"qty":', 7), placed.quantity)
    to = number(word(to, b',"px":', 6), placed.px)
    to = number(word(to, b',"trigger_px":', 14), placed.trigger_px)
    to = word(to, b',"tag":"', 8)
    to = word(to, <const char*> PyUnicode_1BYTE_DATA(tag), PyUnicode_GET_LENGTH(tag))
    if placed.opening:
        to = word(to, b'","opening":true', 16)
    else:
        to = word(to, b'","opening":false', 17)
    to = number(word(to, b',"parent":', 10), placed.parent)
    to = number(word(to, b',"created_ns":', 14), placed.created_ns)
    to = number(word(to, b',"ref_px":', 10), placed.ref_px)
    to = number(word(to, b',"tick_seq":', 12), placed.tick_seq)
    to = number(word(to, b',"tick_age_ns":', 15), placed.age_ns)
    to = word(to, b"}", 1)
    return to - made


cdef int look(object order, int64_t token, object judged, placed_t* placed) except -1:
    placed.no, placed.strategy, placed.seq, placed.slot = order.order_no, order.strategy, order.strategy_seq, order.slot
    placed.token, placed.side, placed.order_type = token, order.side, order.order_type
    placed.product, placed.validity, placed.flags = order.product, order.validity, order.flags
    placed.quantity, placed.px, placed.trigger_px = order.quantity, order.px, order.trigger_px
    placed.opening, placed.parent, placed.created_ns = bool(order.opening), order.parent, order.created_ns
    placed.ref_px, placed.tick_seq, placed.age_ns = judged[0], judged[1], judged[2]
    return 0


cdef class IntentPayload:
    """The payload of an INTENT record: of `order`, its token, and (price, tick seq, age) it was judged by.

    slowly: makes it of anything; the same to the byte.
    """

    cdef object slowly

    def __init__(self, slowly: object):
        self.slowly = slowly

    def __call__(self, order: object, token: object, judged: tuple[int, int, int]) -> bytes:
        cdef placed_t placed
        cdef bytes made
        try:
            look(order, token, judged, &placed)
            made = payload_of(&placed, order.tag)
        except OverflowError:  # a number beyond int64
            made = None
        return self.slowly(order, token, judged) if made is None else made
