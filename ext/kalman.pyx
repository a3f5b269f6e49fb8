"""Layer 2, cold: the Kalman filters over whole series and vectors, for research and tests.

The same C (kalman.h) that the kernels run tick by tick; the vector steps use wide instructions
where the CPU has them, with the same bits on every path.
"""

import numpy as np

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


def kalman1_step(z: np.ndarray, state: np.ndarray, double q=1e-4, double r=1e-2) -> None:
    """One step of n independent 1-state filters.

    z: (n,) float64; state: (2, n) float64, rows x, P; changed in place.

    Raises ValueError: other shapes or types.
    """
    cdef size_t n = z.size
    _check_step(z, state, 2)
    cdef double* s = <double*> _address(state)
    cdef const double* measured = <const double*> _address(z)
    with nogil:
        kalman1_vector(measured, n, q, r, s, s + n)


def kalman2_step(z: np.ndarray, state: np.ndarray, double q=1e-4, double r=1e-2) -> None:
    """One step (dt = 1) of n independent 2-state filters.

    z: (n,) float64; state: (5, n) float64, rows price, velocity, P00, P01, P11; changed in place.

    Raises ValueError: other shapes or types.
    """
    cdef size_t n = z.size
    _check_step(z, state, 5)
    cdef double* s = <double*> _address(state)
    cdef const double* measured = <const double*> _address(z)
    with nogil:
        kalman2_vector(measured, n, q, r, s, s + n, s + 2 * n, s + 3 * n, s + 4 * n)


cdef int _check_step(z, state, int rows) except -1:
    for array in (z, state):
        if array.dtype != np.float64 or not array.flags.c_contiguous:
            raise ValueError("need contiguous float64 arrays")
    if state.shape != (rows, z.size) or not state.flags.writeable:
        raise ValueError(f"state {state.shape}, need a writable ({rows}, {z.size})")
    return 0
