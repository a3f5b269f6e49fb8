"""Layer 5, metadata job, cold: may candles be asked for while an engine of the same account runs?

Where the broker counts candles in a bucket of their own (Kite) they may: the engine asks for none. Where they
count with the books that an engine reads (rules: extras.history_shares_reads) neither knows of the other's
calls, and both together would pass the broker's windows, which an engine needs whole. So the job does not
begin beside an engine, and ends when one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from kite_hft.addresses import is_loopback
from kite_hft.clock import Clock
from kite_hft.engine.history.client import HistoryStopped
from kite_hft.engine.plan.session import Access
from kite_hft.engine.runs.runs import RunNote, running
from kite_hft.settings import Settings
from kite_hft.trading.broker import Limits
from kite_hft.units import NS_PER_S

LOOK_NS: Final = NS_PER_S


class Beside:
    """Looks, once a second at most, whether an engine reads books of the account. engines: notes of those
    that run."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        limits: Limits,
        clock: Clock,
        engines: Callable[[], Sequence[RunNote]] = running,
    ) -> None:
        self._shares = bool(limits.extras.get("history_shares_reads"))
        self._account, self._broker = settings.account, access.broker
        self._local = is_loopback(access.api_url)
        self._engines, self._now = engines, clock.mono_ns
        self._next_ns = -LOOK_NS

    def check(self) -> None:
        """Before each call.

        Raises:
            HistoryStopped: an engine runs; the message names it.
        """
        now_ns = self._now()
        if not self._shares or now_ns < self._next_ns:
            return
        self._next_ns = now_ns + LOOK_NS
        for note in self._engines():
            if self._counts(note):
                raise HistoryStopped(
                    f"an engine runs on {note.title} (process {note.pid}), and {self._broker} counts candles "
                    "with the books that it reads: both together would pass the broker's limits. Run this "
                    "before the engine starts or after it has ended; what was gathered is kept"
                )

    def _counts(self, note: RunNote) -> bool:
        """Whether its calls stand in the same windows: on paper no book is read, a simulator is no broker."""
        if (note.broker, note.account) != (self._broker, self._account) or note.mode == "paper":
            return False
        return note.mode == "live" or self._local
