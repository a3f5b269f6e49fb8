"""Numbers into the middle of bytes: what a load generator changes in frames that are encoded already."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy


def put_doubles(uint8_t[::1] data, const int64_t[::1] at, const double[::1] values):
    """Write values[i] (little endian, as on the wire) at data[at[i]]. Raises ValueError: out of its bounds."""
    cdef Py_ssize_t i, n = at.shape[0]
    if values.shape[0] != n:
        raise ValueError(f"{values.shape[0]} values for {n} places")
    for i in range(n):
        if at[i] < 0 or at[i] + 8 > data.shape[0]:
            raise ValueError(f"place {at[i]} lies outside of {data.shape[0]} bytes")
        memcpy(&data[at[i]], &values[i], sizeof(double))
