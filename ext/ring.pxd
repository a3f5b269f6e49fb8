# The overwriting ring: one writer, any number of readers, the writer never waits (ring.h has the code).
#
#   file   | page 0: HEADER, static, CRC | page 1: CONTROL | slot 0 | slot 1 | ... | slot capacity-1 |
#
#   numbers are absolute and never wrap; record k lives in slot k & (capacity - 1)
#
#        intent - capacity          head            intent
#    ... overwritten |   readable    |  being written |   (next batch)
#
#   writer   1  intent = head + n            the odd mark: intent != head while a batch is written,
#            2  release fence                and for ever when the writer dies inside it
#            3  records, each with its number in its first 8 bytes
#            4  head = head + n (release)
#            5  seq_cst fence; futex wake only if CONTROL.parked != 0
#
#   reader   1  h = head (acquire); more than `capacity` behind: skip to h - capacity, count as lost
#            2  copy records [position, h)
#            3  acquire fence; i = intent
#            4  whatever is numbered below i - capacity may have been overwritten during the copy:
#               discard, count as lost. Each kept record must also carry its own number.
#
#   Why 4 is enough: a copied byte that the writer overwrote in slot k was written after the fence of
#   the batch that contains k + capacity; having read it, the reader's fence makes that batch's intent
#   (> k + capacity) visible, so k < i - capacity.
#
#   got + lost = produced, always. A reader never waits for the writer and gives up nothing else:
#   wait-free. Batches above capacity/2 are published in pieces. In a KHFT_TSAN build records are
#   copied word by word with release stores and acquire loads instead of 2, 3 and the fence of the reader.
from libc.stdint cimport uint8_t, uint64_t

from khft_layout cimport khft_control_t


cdef extern from "ring.h" nogil:
    ctypedef struct ring_t:
        khft_control_t* control
        uint8_t* slots
        uint64_t capacity
        uint64_t mask
        uint64_t first_seq
        uint64_t record_size
        uint64_t next  # writer: number of the next record

    ctypedef struct ring_cursor_t:
        uint64_t position   # number of the next record wanted
        uint64_t first_seq  # number of the first record of the last drain
        uint64_t lost       # since the cursor was made
        uint64_t lost_last  # by the last drain

    int ring_open(ring_t* ring, void* base, size_t size)
    # The same for the writer: also refuses a closed ring and one whose last writer died in a batch.
    int ring_open_writer(ring_t* ring, void* base, size_t size)
    # Returns the number of the first record; publishes all n and wakes whoever is parked.
    uint64_t ring_publish(ring_t* ring, const void* records, uint64_t n)
    # Returns how many records were copied to `out`, numbered from cursor.first_seq without a gap.
    uint64_t ring_drain(const ring_t* ring, ring_cursor_t* cursor, void* out, uint64_t max)
    void ring_cursor_oldest(const ring_t* ring, ring_cursor_t* cursor)
    void ring_cursor_newest(const ring_t* ring, ring_cursor_t* cursor)
    void ring_cursor_at(const ring_t* ring, ring_cursor_t* cursor, uint64_t position)
