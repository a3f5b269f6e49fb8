"""Layer 5, supervisor, cold: an external heartbeat, so that silence pages.

A monitor elsewhere is called every few seconds while the engine can do its work, and pages when the
calls stay out: when the machine, the network, the supervisor or ORDERS is gone. Each call says the
state (ACTIVE, REDUCING, HALTED, KILLED, NOT_ACTIVE): a POST in its JSON body, a GET in its query, and
there only when it is not ACTIVE.
"""

from __future__ import annotations

import threading
from typing import Final
from urllib.parse import quote

from kite_hft.clock import Clock
from kite_hft.engine.alerts.sinks.posting import encoded
from kite_hft.engine.alerts.sinks.sink import Tally
from kite_hft.net.post import PostError, call
from kite_hft.units import NS_PER_S

FAILURES_TOLD: Final = 2
"""So many calls in a row must fail before that is told: one lost call is the network's way."""


class Heartbeat:
    """Beats while there is no trouble. `poll` is called often and never waits."""

    def __init__(self, url: str, every_s: float, method: str, timeout_s: float, clock: Clock) -> None:
        self.tally = Tally()
        self.withheld = ""  # why the last beat was not sent
        self._url, self._method, self._timeout_s, self._clock = url, method, timeout_s, clock
        self._every_ns = round(every_s * NS_PER_S)
        self._next_ns = 0
        self._thread: threading.Thread | None = None
        self._failure: str | None = None  # of the last call; None: it has not ended
        self._failures = 0

    def poll(self, state: str, trouble: str, about: dict[str, str]) -> str | None:
        """Beat when it is time, unless there is trouble.

        Returns what is to be told of the calls: "" they go through, a text they fail, None nothing new.
        """
        told = self._ended()
        now_ns = self._clock.mono_ns()
        if now_ns < self._next_ns or (self._thread is not None and self._thread.is_alive()):
            return told
        self._next_ns = now_ns + self._every_ns
        self.withheld = trouble
        if not trouble:
            thread = threading.Thread(target=self._call, args=(state, about), name="heartbeat", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return self._count("the machine gives no thread for the call")
            self._thread = thread
        return told

    def _ended(self) -> str | None:
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread, failure = None, self._failure
        self._failure = None
        return self._count(failure)

    def _count(self, failure: str | None) -> str | None:
        """One call more that ended so; returns what is to be told, as `poll`."""
        self.tally.failed += bool(failure)
        self.tally.delivered += not failure
        before, self._failures = self._failures, self._failures + 1 if failure else 0
        if failure:
            return failure if self._failures == FAILURES_TOLD else None
        return "" if before >= FAILURES_TOLD else None

    def _call(self, state: str, about: dict[str, str]) -> None:
        url, body, kind = self._url, b"", ""
        if self._method == "POST":
            body, kind = encoded({"state": state, **about}), "application/json"
        elif state != "ACTIVE":
            url += f"{'&' if '?' in url else '?'}state={quote(state)}"
        try:
            answer = call(self._method, url, body, kind, timeout_s=self._timeout_s)
            self._failure = "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
        except PostError as error:
            self._failure = str(error)
        except Exception as error:  # told as a failure, like any other
            self._failure = type(error).__name__
