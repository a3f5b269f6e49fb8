"""Layer 2, orders process, hot: updates that came as texts, by the queues of the sockets' processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from kite_hft.layout import TEXT
from kite_hft.trading.broker import TriggerReport
from kite_hft.trading.ports import Ports
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.trading.sending.outbox import Outbox

TEXTS_PER_STEP: Final = 16


class Texts:
    """One per order stage. look_up(): asks for a read of the order book. on_trigger(row, now_ns): one has
    come that tells of a trigger.
    """

    def __init__(
        self, ports: Ports, outbox: Outbox, reconciler: Reconciler, look_up: Callable[[], None]
    ) -> None:
        self._sources, self._parse = ports.texts, ports.broker.parse_update
        self._parse_trigger = ports.broker.parse_trigger_update
        self.on_trigger: Callable[[TriggerReport, int], None] = lambda row, now_ns: None
        self._outbox, self._reconciler, self._look_up = outbox, reconciler, look_up
        self._rows = np.zeros(TEXTS_PER_STEP, TEXT)

    def take(self, now_ns: int) -> int:
        """What has come, so many of each source at most; returns how many."""
        taken = 0
        for source in self._sources:
            if n := source.drain(self._rows):
                taken += n
                for row in self._rows[:n]:
                    self._take(bytes(row["data"])[: int(row["length"])], now_ns)
        return taken

    def _take(self, text: bytes, now_ns: int) -> None:
        try:
            update = self._parse(text)
            trigger = self._parse_trigger(text) if update is None else None
        except ValueError as error:
            self._outbox.count("texts_unparsed")
            self._outbox.alert("UPDATE_UNREADABLE", f"an order update cannot be read: {error}")
            self._look_up()
            return
        if trigger is not None:
            self._outbox.count("updates")
            self.on_trigger(trigger, now_ns)
        if update is None:
            return
        self._outbox.count("updates")
        if not self._reconciler.update(update, text, now_ns):
            self._look_up()
