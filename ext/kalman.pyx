"""Layer 2, cold: the Kalman filters over whole series and vectors, for research and tests.

The same C (kalman.h) that the kernels run tick by tick; the vector steps use wide instructions
where the CPU has them, with the same bits on every path.
"""

import numpy as np

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t

cdef extern from "kalman.h" nogil:
    void kalman1_series(
        const double* z, size_t n, double q, double r, double p0, double x0, double* estimate
    )
    void kalman2_series(
        const double* z, const double* dt, size_t n, double q, double r, double p0, double x0,
        double* price, double* velocity
    )
    void kalman1_vector(const double* z, size_t n, double q, double r, double* x, double* p)
    void kalman2_vector(
        const double* z, size_t n, double q, double r,
        double* x, double* v, double* p00, double* p01, double* p11
    )
    ctypedef struct kalman2_t:
        double x
    uint32_t highest(const uint32_t* values, size_t n)
    void kalman2_ticks(
        const uint32_t* slots, const double* z, size_t n, double q, double r, kalman2_t* filters, double* out
    )


cdef size_t _address(array) except 0:
    return <size_t> array.ctypes.data


def kalman1(
    prices: np.ndarray, *, double q=1e-4, double r=1e-2, double p0=1.0, double x0=0.0
) -> np.ndarray:
    """1-state filter over one series: (n,) float64 prices -> (n,) estimates.

    x0: initial estimate; NaN takes the first price.
    """
    z = np.ascontiguousarray(prices, np.float64)
    out = np.empty_like(z)
    cdef size_t zs = _address(z), os = _address(out), n = z.size
    with nogil:
        kalman1_series(<const double*> zs, n, q, r, p0, x0, <double*> os)
    return out


def kalman2(
    prices: np.ndarray, dt: np.ndarray = None, *, double q=1e-4, double r=1e-2, double p0=1.0, double x0=0.0
) -> tuple[np.ndarray, np.ndarray]:
    """2-state filter over one series: (n,) prices -> (n,) prices and (n,) velocities.

    dt: (n,) steps in seconds, the first one used as it stands, q then per second; None: 1 each.

    Raises ValueError: another number of steps than of prices.
    """
    z = np.ascontiguousarray(prices, np.float64)
    steps = None if dt is None else np.ascontiguousarray(dt, np.float64)
    if steps is not None and steps.shape != z.shape:
        raise ValueError(f"{z.shape} prices, {steps.shape} steps")
    price, velocity = np.empty_like(z), np.empty_like(z)
    cdef size_t zs = _address(z), xs = _address(price), vs = _address(velocity), n = z.size
    cdef size_t ds = 0 if steps is None else _address(steps)
    with nogil:
        kalman2_series(
            <const double*> zs, <const double*> ds, n, q, r, p0, x0, <double*> xs, <double*> vs
        )
    return price, velocity


def kalman2_stream(
    slots: np.ndarray, z: np.ndarray, state: np.ndarray, out: np.ndarray, double q=1e-4, double r=1e-2
) -> None:
    """Measurements of n independent 2-state filters in the order in which they came (dt = 1).

    slots: (m,) uint32, whose filter; z: (m,) float64; state: (n, 8) float64, changed in place: price,
    velocity, P00, P01, P11 and three unused, so that a filter is one cache line where the array is
    aligned to 64 bytes; out: (m, 2) float64, price and velocity after each measurement.

    Raises ValueError: other shapes or types. IndexError: a slot that does not exist; nothing is changed.
    """
    cdef size_t m = z.size, n = len(state)
    cdef const uint32_t* whose = <const uint32_t*> _elements(slots, b"I", False, m)
    cdef const double* measured = <const double*> _elements(z, b"d", False, m)
    cdef kalman2_t* filters = <kalman2_t*> _elements(state, b"d", True, n * 8)
    cdef double* found = <double*> _elements(out, b"d", True, m * 2)
    if m and highest(whose, m) >= n:
        raise IndexError(f"slot {slots.max()} of {n}")
    with nogil:
        kalman2_ticks(whose, measured, m, q, r, filters, found)


def kalman1_step(z: np.ndarray, state: np.ndarray, double q=1e-4, double r=1e-2) -> None:
    """One step of n independent 1-state filters.

    z: (n,) float64; state: (2, n) float64, rows x, P; changed in place.

    Raises ValueError: other shapes or types.
    """
    cdef size_t n = z.size
    cdef double* s = <double*> _elements(state, b"d", True, 2 * n)
    cdef const double* measured = <const double*> _elements(z, b"d", False, n)
    with nogil:
        kalman1_vector(measured, n, q, r, s, s + n)


def kalman2_step(z: np.ndarray, state: np.ndarray, double q=1e-4, double r=1e-2) -> None:
    """One step (dt = 1) of n independent 2-state filters.

    z: (n,) float64; state: (5, n) float64, rows price, velocity, P00, P01, P11; changed in place.

    Raises ValueError: other shapes or types.
    """
    cdef size_t n = z.size
    cdef double* s = <double*> _elements(state, b"d", True, 5 * n)
    cdef const double* measured = <const double*> _elements(z, b"d", False, n)
    with nogil:
        kalman2_vector(measured, n, q, r, s, s + n, s + 2 * n, s + 3 * n, s + 4 * n)


cdef void* _elements(array, bytes code, bint writable, size_t needed) except NULL:
    """First element of a contiguous array of `needed` elements of one type (struct's code), alive at the caller."""
    cdef Py_buffer view
    try:
        PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    except (BufferError, TypeError) as error:
        raise ValueError("need contiguous arrays, writable where they are written") from error
    cdef bint fits = view.format == code and <size_t> view.len == needed * view.itemsize
    cdef void* first = view.buf
    PyBuffer_Release(&view)
    if not fits:
        raise ValueError(f"array {array.shape} {array.dtype}, need {needed} values of type {code.decode()!r}")
    return first
