"""Layer 1, orders process, hot: the bytes of a journal record, and of the one that each order writes.

memory/journal.py has the format and reads it; trading/records.py has the words of an INTENT, slowly.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "crc32.h" nogil:
    void crc32_prepare()
    uint32_t crc32_of(uint32_t crc, const uint8_t* data, size_t size)

cdef extern from "Python.h":
    int PyUnicode_IS_COMPACT_ASCII(object text)
    const uint8_t* PyUnicode_1BYTE_DATA(object text)

crc32_prepare()

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
_MARK = b"\xf5KJ\xff"
cdef enum:
    CHECKED_FROM = 8  # behind the crc itself
    LAG_MAX = 0xFFFF
    PAYLOAD_MAX = 1 << 20
    TAG_MAX = 64
    ROOM = 1024  # of an INTENT: 19 names and 18 numbers of 20 digits at most, and the tag


def crc32(data: bytes, uint32_t crc=0) -> int:
    """As zlib.crc32."""
    return crc32_of(crc, <const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


def encode(
    uint16_t kind, uint64_t seq, int64_t time_ns, payload: bytes, uint32_t before, uint32_t seed, int64_t lag
) -> tuple[bytes, int]:
    """One record and its crc; `before` is the crc of the record before it, `seed` the header's."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(payload)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, sizeof(record_t) + length)
    cdef uint8_t* to = <uint8_t*> PyBytes_AS_STRING(made)
    cdef record_t head
    memcpy(head.mark, PyBytes_AS_STRING(_MARK), 4)
    head.before, head.length, head.seq, head.time_ns = before, <uint32_t> length, seq, time_ns
    head.kind, head.zero = kind, 0
    head.lag = <uint16_t> (lag if lag < LAG_MAX else LAG_MAX)
    memcpy(to, &head, sizeof(record_t))
    memcpy(to + sizeof(record_t), PyBytes_AS_STRING(payload), length)
    head.crc = crc32_of(seed, to + CHECKED_FROM, sizeof(record_t) - CHECKED_FROM + length)
    memcpy(to + 4, &head.crc, 4)
    return made, head.crc


cdef class Appender:
    """The quick half of JournalWriter (memory/journal_writer.py): a record on a file that has not failed.

    write_at(data, offset): as of its File. next_seq: of the next record. synced_seq: the last one that is on
    the disk. failed: why nothing new may be written; "": it may. end: where the next record begins. crc: of
    the record before it, seed: of the header.
    """

    cdef public object write_at, failed
    cdef public int64_t next_seq, synced_seq, end
    cdef public uint32_t crc, seed

    def append(self, kind: int, time_ns: int, payload: bytes) -> int:
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

    cpdef object write(self, bytes data):
        """With one call, behind all that is written. Raises JournalError."""
        cdef object written
        try:
            written = self.write_at(data, self.end)
        except OSError as error:
            self.not_written(error, 0, 0)
        if written != PyBytes_GET_SIZE(data):
            self.not_written(None, written, PyBytes_GET_SIZE(data))
        self.end += PyBytes_GET_SIZE(data)


cdef inline char* word(char* to, const char* text, size_t size) noexcept nogil:
    memcpy(to, text, size)
    return to + size


cdef inline char* number(char* to, int64_t value) noexcept nogil:
    cdef char digits[20]
    cdef int at = 20
    cdef uint64_t rest = <uint64_t> value
    if value < 0:
        to[0] = 45  # minus
        to += 1
        rest = 0 - rest
    while True:
        at -= 1
        digits[at] = 48 + <char> (rest % 10)
        rest //= 10
        if not rest:
            break
    return word(to, digits + at, 20 - at)


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


cdef bytes payload_of(object order, int64_t token, int64_t ref_px, int64_t tick_seq, int64_t age_ns):
    """None: the tag is not of letters and digits alone."""
    cdef str tag = order.tag
    if not plain(tag):
        return None
    cdef char made[ROOM]
    cdef char* to = made
    to = number(word(to, b'{"no":', 6), order.order_no)
    to = number(word(to, b',"strategy":', 12), order.strategy)
    to = number(word(to, b',"seq":', 7), order.strategy_seq)
    to = number(word(to, b',"slot":', 8), order.slot)
    to = number(word(to, b',"token":', 9), token)
    to = number(word(to, b',"side":', 8), order.side)
    to = number(word(to, b',"type":', 8), order.order_type)
    to = number(word(to, b',"product":', 11), order.product)
    to = number(word(to, b',"validity":', 12), order.validity)
    to = number(word(to, b',"flags":', 9), order.flags)
    to = number(word(to, b',"qty":', 7), order.quantity)
    to = number(word(to, b',"px":', 6), order.px)
    to = number(word(to, b',"trigger_px":', 14), order.trigger_px)
    to = word(to, b',"tag":"', 8)
    to = word(to, <const char*> PyUnicode_1BYTE_DATA(tag), PyUnicode_GET_LENGTH(tag))
    if order.opening:
        to = word(to, b'","opening":true', 16)
    else:
        to = word(to, b'","opening":false', 17)
    to = number(word(to, b',"parent":', 10), order.parent)
    to = number(word(to, b',"created_ns":', 14), order.created_ns)
    to = number(word(to, b',"ref_px":', 10), ref_px)
    to = number(word(to, b',"tick_seq":', 12), tick_seq)
    to = number(word(to, b',"tick_age_ns":', 15), age_ns)
    to = word(to, b"}", 1)
    return PyBytes_FromStringAndSize(made, to - made)


cdef class IntentPayload:
    """The payload of an INTENT record: of `order`, its token, and (price, tick seq, age) it was judged by.

    slowly: makes it of anything; the same to the byte.
    """

    cdef object slowly

    def __init__(self, slowly: object):
        self.slowly = slowly

    def __call__(self, order: object, token: object, judged: tuple[int, int, int]) -> bytes:
        cdef bytes made
        try:
            made = payload_of(order, token, judged[0], judged[1], judged[2])
        except OverflowError:  # a number beyond int64
            made = None
        return self.slowly(order, token, judged) if made is None else made
