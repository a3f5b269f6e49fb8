"""Layer 4, simulator, hot: a timer of nanosecond resolution for an asyncio loop.

Event loops round their timers to milliseconds; evenly spaced sending needs more. Linux's timerfd
(timerfd_create(2)) fires by CLOCK_MONOTONIC and is just another readable file descriptor.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from kite_hft.units import NS_PER_S

_CLOCK_MONOTONIC: Final = 1
_TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1
_PR_SET_TIMERSLACK: Final = 29

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Loop(Protocol):
    """The part of an asyncio event loop that is needed here."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> Any: ...

    def remove_reader(self, fd: int) -> Any: ...


class Pacer:
    """Calls `wake` on the loop at the times set with `at`."""

    def __init__(self, loop: Loop, wake: Callable[[], None]) -> None:
        """Raises OSError when the kernel gives no timer."""
        self._fd = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        _libc.prctl(_PR_SET_TIMERSLACK, 1)  # the default of 50 us would show in every send
        self._loop = loop
        self._wake = wake
        self._spec = _Itimerspec()
        loop.add_reader(self._fd, self._on_readable)

    def at(self, mono_ns: int) -> None:
        """Fire once at this CLOCK_MONOTONIC time (at once when it has passed)."""
        value = self._spec.it_value
        value.tv_sec, value.tv_nsec = divmod(max(mono_ns, 1), NS_PER_S)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        """Stop and give the descriptor back."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _on_readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew between readiness and this call
        self._wake()
