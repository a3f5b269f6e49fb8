"""Layer 2, orders process, hot: where the numbers stand that throttle, budget and outbox go by.

What they do with them is theirs (trading/sending/throttle.py, budget.py, outbox.py); the express way
(express.pyx) reads and moves the same numbers without the interpreter's detours.
"""


cdef class RingState:
    """The newest `n` calls of a window: `times` from which their places are free, the next one at `at`."""


cdef class BudgetState:
    """From when on each kind of call may leave. _all, _open: rings of each window, of its open places."""


cdef class ThrottleState:
    """Lanes, the end of a cool-down, the day's count."""


cdef class OutboxState:
    """What stops everything, and how often anything has happened."""
