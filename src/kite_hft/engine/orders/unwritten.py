"""Layer 5, orders process, cold: how ORDERS kills its account, also where the latch file cannot be written.

A disk that is read-only or full, a folder that is gone: the account is killed all the same, in the memory
of this process, with all that a kill does. A process that comes later would not know it, so a person is told,
and the file is tried again every RETRY_NS, on the thread that may wait for the disk, until it says what was
meant. From then on the file alone counts. A resume cannot end what no file says: it would come back with the
next try.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.orders.latch import NAME, Job, Latched, LatchWatch, clear_latch, set_latch
from kite_hft.trading.alerts import CRITICAL, alert
from kite_hft.units import NS_PER_S

RETRY_NS: Final = 5 * NS_PER_S
BY: Final = "the order process"
UNWRITTEN: Final = (
    "KILLED in the order process alone, as {latch} cannot be written. Make its folder writable: the file is "
    "there within seconds, then kite-hft resume; or stop the engine and start it"
)
"""For people, with the path in `latch`."""


class Kills:
    """One per order process. later: does what may wait for the disk, in order (latches.Beside).

    tell: takes the fields of an alert; set once there is somebody to tell.
    """

    def __init__(self, account: Path, watch: LatchWatch, clock: Clock, later: Callable[[Job], None]) -> None:
        self.account, self.watch, self.clock, self.later = account, watch, clock, later
        self.tell: Callable[[dict[str, Any]], None] = lambda fields: None
        self._turn = threading.Lock()  # a try of the thread beside, or a person's resume
        self._tried_ns = 0
        self._why = ""  # the file could not be written the last time
        self._told = ""

    def kill(self, reason: str, flatten: bool) -> None:
        """Set the latch; what is said of it is told at once."""
        try:
            now_ns = self.clock.real_ns()
            stands = set_latch(self.account, reason, BY, now_ns, flatten=flatten, later=self.later)
            why = "" if stands.flatten or not flatten else "there is no room for its words"
        except OSError as error:
            why = error.strerror or repr(error)
        if why:
            self.stand_in(Latched(reason, BY, now_ns, flatten), why)
            self.look()

    def stand_in(self, kill: Latched, why: str) -> None:
        """Killed without the file, from now on. Safe in a signal's handler: `look` tells of it."""
        was = self.watch.unwritten
        if was is not None:  # the first reason stands
            kill = Latched(was.reason, was.by, was.at_ns, was.flatten or kill.flatten)
        self._why = why
        self._tried_ns = self.clock.mono_ns()
        self.watch.stand_in(kill)

    def unkill(self, by: str) -> bool:
        """A person ends the kill. False: it is not in the file, and stands on.

        Raises:
            OSError: the file cannot be removed.
        """
        with self._turn:
            if clear_latch(self.account, by, self.clock.real_ns(), later=self.later) is not None:
                self.watch.stand_in(None)
            return self.watch.unwritten is None

    def look(self) -> None:
        """Try again when it is time, and say how it stands; in each beat."""
        kill = self.watch.unwritten
        if kill is None:
            if self._told:
                self._told = ""
                self.tell(alert("FILE_FAILED", f"{NAME} is written", NAME).fields() | {"cleared": True})
            return
        if self._told != self._why:
            self._told = self._why
            text = (
                f"the kill latch {self.account / NAME} cannot be written: {self._why}. KILLED all the same "
                f"({kill.reason}), in this process alone: one that is started later would not know it"
            )
            self.tell(alert("FILE_FAILED", text, NAME, CRITICAL).fields())
        now_ns = self.clock.mono_ns()
        if now_ns - self._tried_ns >= RETRY_NS:
            self._tried_ns = now_ns
            self.later(self._try)

    def _try(self) -> None:
        with self._turn:
            kill = self.watch.unwritten
            if kill is None:
                return
            try:
                stands = set_latch(self.account, kill.reason, kill.by, kill.at_ns, flatten=kill.flatten)
            except OSError as error:
                self._why = error.strerror or repr(error)
                return
            if stands.flatten or not kill.flatten:
                self.watch.stand_in(None)
