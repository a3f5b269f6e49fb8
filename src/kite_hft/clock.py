"""Layer 0, every process, cold: the two clocks as something that can be handed in.

Monotonic time is for ages, deadlines and liveness; real time only for display, journals and
talking to the exchange. Pure code receives `now_ns` or a Clock; only engine and the simulator's
servers make a SystemClock. ManualClock drives tests and the simulated world.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Nanoseconds of CLOCK_MONOTONIC and of CLOCK_REALTIME."""

    def mono_ns(self) -> int: ...

    def real_ns(self) -> int: ...


class SystemClock:
    """The machine's clocks; the calls themselves, with no function of ours around them."""

    mono_ns = staticmethod(time.monotonic_ns)
    real_ns = staticmethod(time.time_ns)


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when told; both times advance together."""

    mono: int = 0
    real: int = 0

    def mono_ns(self) -> int:
        return self.mono

    def real_ns(self) -> int:
        return self.real

    def advance(self, ns: int) -> None:
        self.mono += ns
        self.real += ns
