"""Layer 6, campaigns, cold: whether a process was late by itself, or because the machine gave it no time.

A simulator that sends late makes a run that says nothing about the engine. The kernel knows how long a
process was ready to run and did not (`/proc/PID/schedstat`, second number, ns; Documentation/scheduler/
sched-stats.rst), and how much of this machine its host gave to others (`steal` of /proc/stat, proc(5)).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kite_hft.units import NS_PER_S

EXIT_NO_VERDICT: Final = 3
"""As the engine's for a machine that is not ready."""
_STEAL: Final = 8  # words of the line "cpu" before it


@dataclass(slots=True)
class Waits:
    """How long a process has waited for a processor. proc: where the kernel tells it."""

    proc: Path = Path("/proc")
    first_ns: int = -1
    last_ns: int = -1

    def look(self, pid: int) -> None:
        """Once before what is judged, and as often as one likes; what cannot be read is not counted."""
        try:
            words = (self.proc / str(pid) / "schedstat").read_text().split()
            stolen = int((self.proc / "stat").read_text().split()[_STEAL]) * NS_PER_S
            found = int(words[1]) + stolen // os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return
        self.first_ns = found if self.first_ns < 0 else self.first_ns
        self.last_ns = found

    @property
    def seconds(self) -> float:
        """Since the first look; 0: nothing is known."""
        return (self.last_ns - self.first_ns) / NS_PER_S


def lateness(delay_s: float, allowed_s: float, waits: Waits) -> tuple[str, str]:
    """(what is wrong, why there is no verdict) of a server whose latest frame left `delay_s` after its time.

    One that waited for a processor as long as it was late was late because of the machine.
    """
    if delay_s <= allowed_s:
        return "", ""
    late = f"a frame left {delay_s:.3f} s after its time ({allowed_s:.3f} s are allowed)"
    if waits.seconds >= delay_s:
        return "", (
            f"this machine was too busy: no verdict: {late}, and the simulator waited {waits.seconds:.3f} s "
            "for a processor: end what else runs here, and run it again"
        )
    return f"{late}, and the machine had time for it: it waited {waits.seconds:.3f} s", ""
