"""Layer 5, supervisor and watchdog, cold: alerts by HTTP: a webhook, and Telegram's bots.

A call may wait for a name, a connection, an answer: each sink has a thread for that, which does
nothing else. An attempt that fails in a way that may pass (no answer, 408, 425, 429, 5xx) is repeated
twice, then the row is given up; while a sink is failing a row gets one attempt. A server that had the
row and could not say so gets it twice: better than never.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.sinks.sink import WAITING_MAX, Outcome, Row, Tally, headline
from kite_hft.net.post import Answer, PostError, call
from kite_hft.units import NS_PER_S

ATTEMPTS: Final = 3
FIRST_PAUSE_S: Final = 0.25
PASSING: Final = frozenset({408, 425, 429})
STUCK_S: Final = 15.0
"""An attempt under way for so long counts as failed: its name does not resolve, perhaps."""

Call = Callable[[Row], Answer]
"""Delivers one row. Raises PostError."""


class Posting:
    """A sink with a thread that delivers one row after the other."""

    def __init__(self, name: str, deliver: Call, clock: Clock) -> None:
        self.name, self.tally = name, Tally()
        self._deliver, self._clock = deliver, clock
        self._waiting: deque[tuple[Row, int]] = deque()
        self._ended: deque[Outcome] = deque()
        self._changed = threading.Condition()
        self._under_way: tuple[Row, int] | None = None
        self._failing = self._closed = self._stuck_told = False
        self._thread: threading.Thread | None = None

    def put(self, row: Row) -> None:
        with self._changed:
            self._waiting.append((row, self._clock.mono_ns()))
            while len(self._waiting) > WAITING_MAX:
                self._waiting.popleft()
                self.tally.dropped += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"sink {self.name}", daemon=True)
                self._thread.start()
            self._changed.notify()

    def poll(self) -> list[Outcome]:
        with self._changed:
            found = list(self._ended)
            self._ended.clear()
            under_way = self._under_way
            if under_way is None:
                self._stuck_told = False
            elif not self._stuck_told and self._clock.mono_ns() - under_way[1] > STUCK_S * NS_PER_S:
                self._stuck_told = True
                text = f"nothing came of a call for {STUCK_S:g} s; does its name resolve?"
                found.append(Outcome(self.name, under_way[0], text, STUCK_S))
        return found

    def busy(self) -> bool:
        with self._changed:
            return bool(self._waiting or self._under_way)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()  # the thread is a daemon: it may hang in a call, and nobody waits for it

    # In the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if self._closed:
                    return
                row, since_ns = self._waiting.popleft()
                self._under_way = (row, self._clock.mono_ns())
            failure = self._attempts(row)
            with self._changed:
                self._under_way = None
                self._failing = bool(failure)
                self.tally.failed += bool(failure)
                self.tally.delivered += not failure
                took_s = (self._clock.mono_ns() - since_ns) / NS_PER_S
                self._ended.append(Outcome(self.name, row, failure, took_s))

    def _attempts(self, row: Row) -> str:
        """What is wrong, "" when the row was delivered."""
        failure, pause_s = "", FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            failure, passing = self._attempt(row)
            if not failure or not passing or self._failing or attempt == ATTEMPTS:
                break
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, pause_s):
                    break
            pause_s *= 2
        return failure

    def _attempt(self, row: Row) -> tuple[str, bool]:
        """(what is wrong, whether that may pass)."""
        try:
            answer = self._deliver(row)
        except PostError as error:
            return str(error), True
        except Exception as error:  # whatever it is, the thread must live on
            return f"{type(error).__name__}", False
        if 200 <= answer.status < 300:
            return "", False
        return f"HTTP {answer.status}", answer.status in PASSING or answer.status >= 500


def webhook(url: str, timeout_s: float) -> Call:
    """POST of the row as JSON."""

    def deliver(row: Row) -> Answer:
        return call("POST", url, encoded(row), "application/json", timeout_s=timeout_s)

    return deliver


def telegram(base: str, bot_token: str, chat_id: str, timeout_s: float) -> Call:
    """A message of a bot to a chat (https://core.telegram.org/bots/api#sendmessage)."""
    url = f"{base.rstrip('/')}/bot{bot_token}/sendMessage"

    def deliver(row: Row) -> Answer:
        ack = f"kite-hft alerts --ack {row['number']}" if row["event"] in ("raised", "reminder") else ""
        parts = [headline(row), row.get("advice", ""), f"{row.get('account', '')} {row['time']}".strip(), ack]
        text = "\n".join(part for part in parts if part)
        body = encoded({"chat_id": chat_id, "text": text, "disable_web_page_preview": True})
        return call("POST", url, body, "application/json", timeout_s=timeout_s)

    return deliver


def encoded(fields: Row | dict[str, Any]) -> bytes:
    return json.dumps(dict(fields), ensure_ascii=False).encode()
