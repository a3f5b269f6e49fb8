"""Layer 5, supervisor, cold: may a process that ended be started again? Pure; times are handed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kite_hft.units import NS_PER_S


@dataclass(slots=True)
class Breaker:
    """Counts the restarts of each process: `most` within `window_s` are too many.

    A process for which `allow` said no stays refused until `forget`.
    """

    most: int
    window_s: float
    _starts: dict[str, deque[int]] = field(default_factory=dict)
    _broken: set[str] = field(default_factory=set)

    def allow(self, name: str, now_ns: int) -> bool:
        """Whether `name` may be started once more now; a yes is counted."""
        if name in self._broken:
            return False
        starts = self._starts.setdefault(name, deque())
        while starts and now_ns - starts[0] > self.window_s * NS_PER_S:
            starts.popleft()
        if len(starts) >= self.most:
            self._broken.add(name)
            return False
        starts.append(now_ns)
        return True

    def broken(self, name: str) -> bool:
        return name in self._broken

    def forget(self, name: str) -> None:
        """A person has mended it: `name` starts with a clean sheet."""
        self._broken.discard(name)
        self._starts.pop(name, None)


@dataclass(slots=True)
class Restart:
    """One entry of the report's `restarts`. took_s: from the noticed end to ready; None: not yet."""

    process: str
    at_s: float
    why: str  # "died" or "hung"
    exit_code: int  # negative: the signal that ended it
    took_s: float | None = None

    def row(self) -> dict[str, Any]:
        ended = {"signal": -self.exit_code} if self.exit_code < 0 else {"exit_code": self.exit_code}
        return {"process": self.process, "at_s": round(self.at_s, 3), "why": self.why, **ended,
                "took_s": None if self.took_s is None else round(self.took_s, 3)}  # fmt: skip
