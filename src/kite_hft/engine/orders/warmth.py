"""Layer 5, orders process, hot between orders: keeps an order's way warm while ORDERS waits.

After milliseconds of sleep an order takes three times as long: what it runs over has left the caches. While
a strategy trades (an order left in the last FOR_NS), the sleep is cut into pieces of EVERY_NS, and between
two of them an order like the last one is rehearsed (trading/sending/rehearsal.py), without effect. It takes
about 5 % of the core then, and nothing when no orders leave.

Who looks instead of sleeping finds the caches filled with what answers and updates needed, and an order takes
twice as long: there one is rehearsed as soon as the last order has come to rest, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kite_hft.clock import Clock
from kite_hft.memory.journal import JournalError
from kite_hft.memory.scrap import ScrapJournal
from kite_hft.net.mirror import Mirror
from kite_hft.stages.orders import Orders
from kite_hft.trading.ports import Ports
from kite_hft.trading.sending.rehearsal import Rehearsal
from kite_hft.units import NS_PER_S

EVERY_NS: Final = 5_000_000
FOR_NS: Final = 10 * NS_PER_S
LOOK_NS: Final = 2_000
"""So long is looked before a rehearsal that is due at once: an order that is there need not wait for it."""


class Warmth:
    """Of one order stage. say(text): told why rehearsals have ended."""

    def __init__(self, stage: Orders, rehearsal: Rehearsal, clock: Clock, say: Callable[[str], None]) -> None:
        self._stage, self._rehearsal, self._say, self._now_ns = stage, rehearsal, say, clock.mono_ns
        self._stirred = 0  # as the outbox had it at the last rehearsal
        self.over = False

    def until_ns(self, now_ns: int, due_ns: int) -> int:
        """Until when to sleep, at most until `due_ns`: a rehearsal is due then."""
        express = self._stage.express
        if self.over or express is None or now_ns - express.last_ns >= FOR_NS:
            return due_ns
        return min(due_ns, now_ns + EVERY_NS)

    def look(self, came: Callable[[int], bool], due_ns: int) -> bool:
        """As came(due_ns) of a Lookout, with rehearsals in between: whether something has come or it is
        `due_ns`; False: it is time to sleep.
        """
        while True:
            until_ns = self.look_until_ns(self._now_ns(), due_ns)
            if not came(until_ns):
                return False
            now_ns = self._now_ns()
            if now_ns < until_ns or until_ns >= due_ns:
                return True
            self.keep(now_ns)

    def look_until_ns(self, now_ns: int, due_ns: int) -> int:
        """As `until_ns`; at once when orders have changed since the last rehearsal, and none will soon."""
        until_ns, stage = self.until_ns(now_ns, due_ns), self._stage
        if until_ns < due_ns and stage.outbox.stirred != self._stirred and stage.idle:
            return min(until_ns, now_ns + LOOK_NS)
        return until_ns

    def keep(self, now_ns: int) -> None:
        """One rehearsal of an order like the last one."""
        self._stirred = self._stage.outbox.stirred
        express = self._stage.express
        if self.over or express is None or express.last is None:
            return
        try:
            self._rehearsal.walk(express.last, now_ns)
        except Exception as error:  # whatever it is, it is no order's
            self.over = True
            self._say(f"orders: no order is rehearsed any more: {error}")


def warmth_of(
    stage: Orders,
    ports: Ports,
    folder: Path,
    clock: Clock,
    held: contextlib.ExitStack,
    say: Callable[[str], None],
) -> Warmth | None:
    """What keeps a stage warm; None: this machine does not let it, or the stage has no express way."""
    if stage.express is None:
        return None
    try:
        mirror = Mirror(clock)
        held.callback(mirror.close)
        scrap = ScrapJournal(folder, held)
    except (OSError, JournalError) as error:
        say(f"orders: no order is rehearsed: {error}")
        return None
    rehearsal = Rehearsal(
        stage.gate.passes,
        ports.killed,
        ports.broker,
        ports.instruments,
        clock,
        stage.express.protection,
        mirror,
        scrap,
        lambda: any(queue.waiting() for queue in ports.intents),
    )
    return Warmth(stage, rehearsal, clock, say)
