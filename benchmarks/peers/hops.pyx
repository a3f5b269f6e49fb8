"""Compiled loops around the product's ring, queue and wait: as a stage in C would use them.

Both ends take views of whole segments. Times are CLOCK_MONOTONIC in ns.
"""

from cpython.buffer cimport Py_buffer, PyBuffer_Release
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from khft_layout cimport KHFT_PAGE, khft_control_t, khft_tick_t
from ring cimport *
from segment cimport *
from wait cimport *

cdef extern from "atomics.h" nogil:
    int64_t monotonic_ns()
    void cpu_pause()

cdef enum:
    WARM = 200

cdef int64_t FOREVER_NS = 10_000_000_000


cdef void take(ring_t* ring, ring_cursor_t* cursor, khft_tick_t* tick) noexcept nogil:
    while not ring_drain(ring, cursor, tick, 1):
        cpu_pause()


def wake(view: object, back: object, int64_t idle_ns, int count) -> None:
    """The writer: looks at the clock for `idle_ns`, then publishes a TICK that carries the time.

    The reader answers each on the ring `back` before the next idle time begins.
    """
    cdef Py_buffer buffer, second
    cdef ring_t ring, answers
    cdef ring_cursor_t cursor
    cdef khft_tick_t tick
    cdef int64_t until_ns
    cdef int i
    segment_refuse(ring_open_writer(&ring, segment_buffer(view, &buffer, True), <size_t> buffer.len))
    segment_refuse(ring_open(&answers, segment_buffer(back, &second, True), <size_t> second.len))
    ring_cursor_oldest(&answers, &cursor)
    memset(&tick, 0, sizeof(tick))
    with nogil:
        for i in range(count + WARM):
            until_ns = monotonic_ns() + idle_ns
            while monotonic_ns() < until_ns:
                cpu_pause()
            tick.recv_ns = monotonic_ns()
            ring_publish(&ring, &tick, 1)
            take(&answers, &cursor, &tick)
    PyBuffer_Release(&buffer)
    PyBuffer_Release(&second)


def wait(view: object, back: object, int strategy, int64_t[::1] found) -> None:
    """The reader: from the time in each record until its wait was over, into `found`."""
    cdef Py_buffer buffer, second
    cdef ring_t ring, answers
    cdef ring_cursor_t cursor
    cdef waiter_t waiter
    cdef khft_tick_t tick
    cdef int64_t woken_ns
    cdef int i
    cdef void* base = segment_buffer(view, &buffer, True)
    segment_refuse(ring_open(&ring, base, <size_t> buffer.len))
    segment_refuse(ring_open_writer(&answers, segment_buffer(back, &second, True), <size_t> second.len))
    ring_cursor_oldest(&ring, &cursor)
    memset(&waiter, 0, sizeof(waiter))
    waiter.controls[0] = <khft_control_t*> (<char*> base + KHFT_PAGE)
    waiter.rings, waiter.strategy, waiter.spin_ns = 1, strategy, 20_000
    with nogil:
        for i in range(found.shape[0] + WARM):
            woken_ns = monotonic_ns()
            wait_until(&waiter, &cursor.position, woken_ns, woken_ns + FOREVER_NS)
            woken_ns = monotonic_ns()
            ring_drain(&ring, &cursor, &tick, 1)
            if i >= WARM:
                found[i - WARM] = woken_ns - tick.recv_ns
            ring_publish(&answers, &tick, 1)
    PyBuffer_Release(&buffer)
    PyBuffer_Release(&second)


def round_trips(there: object, back: object, int count, bint begins) -> float:
    """One TICK there and back, `count` times; `begins`: this end sends first. ns of one round."""
    cdef Py_buffer first, second
    cdef ring_t out, come
    cdef ring_cursor_t cursor
    cdef khft_tick_t tick
    cdef int64_t started_ns = 0
    cdef int i
    sends, gets = (there, back) if begins else (back, there)
    segment_refuse(ring_open_writer(&out, segment_buffer(sends, &first, True), <size_t> first.len))
    segment_refuse(ring_open(&come, segment_buffer(gets, &second, True), <size_t> second.len))
    ring_cursor_oldest(&come, &cursor)
    memset(&tick, 0, sizeof(tick))
    with nogil:
        for i in range(count + WARM):
            if i == WARM:
                started_ns = monotonic_ns()
            if begins:
                ring_publish(&out, &tick, 1)
                take(&come, &cursor, &tick)
            else:
                take(&come, &cursor, &tick)
                ring_publish(&out, &tick, 1)
    ended_ns = monotonic_ns()
    PyBuffer_Release(&first)
    PyBuffer_Release(&second)
    return (ended_ns - started_ns) / count
