"""Layer 3, feed process, cold: how long to wait before the next try.

Doubling pauses with jitter, so that connections that were lost together do not come back together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

JITTER: Final = 0.2


@dataclass(slots=True)
class Backoff:
    """Pauses from `first_s`, doubling up to `most_s`, each up to a fifth longer or shorter.

    most_s is never exceeded. random: numbers in [0, 1), for tests.
    """

    first_s: float
    most_s: float
    random: random.Random = field(default_factory=random.Random)
    _next_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._next_s = self.first_s

    def next_s(self) -> float:
        """The pause before the next try."""
        base = self._next_s
        self._next_s = min(self.most_s, base * 2)
        return min(self.most_s, base * (1 - JITTER + 2 * JITTER * self.random.random()))

    def reset(self) -> None:
        """All went well for a while: the next pause is the first one again."""
        self._next_s = self.first_s
