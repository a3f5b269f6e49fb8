"""Layer 5, supervisor, cold: which process has raised a condition, and what becomes of it without that one.

Only who raised a condition says that it is over. A process that takes the place of another one knows nothing
of what that one raised: what still holds it finds and raises again, and that is news, whether a person had
acknowledged it or not. What it has not raised in AGAIN_NS after its start is over. Until then nothing is said
to have ended.

Some conditions are no finding that is made again (KEPT): states that the journal restores and a person ends,
and orders and triggers whose fate is looked up. Those stand on; the process is told of them, so that it can
end them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kite_hft.units import NS_PER_S

AGAIN_NS: Final = 120 * NS_PER_S
"""Longer than it takes to read the books, to see a price grow old, and to try an exit again."""
KEPT: Final = frozenset({
    # A person ends them: `resume`, for most.
    "HALTED", "JOURNAL_FAILED", "KILLED", "REJECT_STORM", "DAILY_LOSS", "GUARD_TRIPPED", "STRATEGY_HELD",
    # An answer or a book of the broker ends them, and they are not told again while none has come.
    "NOT_RECONCILED", "AMBIGUOUS_ORDER", "TRIGGER_UNKNOWN", "EGRESS_REFUSED",
    # Told once, and only a person compares or closes what is left.
    "POSITION_MISMATCH", "NOT_FLAT", "CONDUCT",
})  # fmt: skip

Name = tuple[str, str]
"""Code and key of a lasting condition."""


def is_kept(name: Name) -> bool:
    """Whether a condition stands on without the process that raised it. A call of ORDERS without an answer
    ("7 unanswered") has ended with it: the order itself is what is of unknown fate then."""
    code, key = name
    return code in KEPT and not (code == "AMBIGUOUS_ORDER" and " " in key)


@dataclass(slots=True)
class Raisers:
    """Of all lasting conditions that stand. Processes by their name; "": the supervisor."""

    _by: dict[Name, set[str]] = field(default_factory=dict)
    _doubted: dict[Name, str] = field(default_factory=dict)  # -> the process that has gone
    _until_ns: dict[str, int] = field(default_factory=dict)  # process that is back -> end of the doubt

    def raised(self, name: Name, by: str) -> bool:
        """`by` has raised it; True: the process that raised it before is gone, so this is news."""
        was = self._doubted.pop(name, None)
        self._by.setdefault(name, set()).add(by)
        return was is not None

    def over(self, name: Name) -> None:
        """It stands no more."""
        self._by.pop(name, None)
        self._doubted.pop(name, None)

    def gone(self, by: str) -> list[Name]:
        """A process is replaced; returns what stands on for the new one to end."""
        self._until_ns.pop(by, None)
        ours = [name for name, raisers in self._by.items() if by in raisers]
        for name in ours:
            if is_kept(name):
                continue
            self._by[name].discard(by)
            if not self._by[name]:
                self._doubted[name] = by
        return [name for name in ours if is_kept(name)]

    def back(self, by: str, now_ns: int) -> None:
        """The new process runs: from now on it can raise again what still holds."""
        self._until_ns[by] = now_ns + AGAIN_NS

    def due(self, now_ns: int) -> list[Name]:
        """What nobody has raised again in time."""
        over = {by for by, until_ns in self._until_ns.items() if now_ns >= until_ns}
        for by in over:
            del self._until_ns[by]
        return [name for name, by in self._doubted.items() if by in over] if over else []
