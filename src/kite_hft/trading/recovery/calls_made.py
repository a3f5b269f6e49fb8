"""Layer 2, orders process, cold: calls to the broker by the journal, and when each may have left.

A record is written before its call leaves. How long after it the bytes went a process that dies at once can
tell nobody: it may have stood still between the two. So the latest time is kept at which a call can have
left: that of its answer, or of the start of the next process. Of a call that has neither it is not known, and
who reads the journal takes the present.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from kite_hft.trading.sending.evidence import Journalled


@dataclass(slots=True)
class CallsMade:
    """Of all processes whose records were read, oldest first."""

    calls: list[Journalled] = field(default_factory=list)
    _unanswered: dict[Hashable, list[int]] = field(default_factory=dict)  # about -> places in `calls`

    def left(self, call: Journalled, about: Hashable) -> None:
        """The record of a call. about: its answer's record names the same."""
        self._unanswered.setdefault(about, []).append(len(self.calls))
        self.calls.append(call)

    def answered(self, about: Hashable, time_ns: int, *, unsent: bool) -> None:
        """The oldest such call was answered; `unsent`: it was proven that it never left the machine."""
        if places := self._unanswered.get(about):
            at = places.pop(0)
            self.calls[at] = self.calls[at]._replace(until_ns=time_ns, unsent=unsent)

    def begun(self, time_ns: int) -> None:
        """Another process has begun: what the one before it had not answered left before that, or never."""
        for at in (at for places in self._unanswered.values() for at in places):
            self.calls[at] = self.calls[at]._replace(until_ns=time_ns)
        self._unanswered.clear()
