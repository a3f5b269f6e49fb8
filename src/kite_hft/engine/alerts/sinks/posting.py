"""Layer 5, supervisor and watchdog, cold: alerts by HTTP: a webhook, and Telegram's bots.

A call may wait for a name, a connection, an answer: each sink has a thread for that, which does
nothing else. An attempt that fails in a way that may pass (no answer, 408, 425, 429, 5xx) is repeated
twice at once; while a sink is failing it is not. Then an INFO is given up. Anything worse is tried again
every AGAIN_S until KEPT_S have passed: an alert because of a network that was gone for a moment would be
lost to that moment. A server that got too many calls says how long it wants none. A server that had the row
and could not say so gets it twice: better than never.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.sinks.sink import ATTEMPTS, KEPT_S, Outcome, Row, Tally, headline
from kite_hft.engine.alerts.sinks.waiting import Entry, Waiting
from kite_hft.net.post import Answer, PostError, call
from kite_hft.units import NS_PER_S

FIRST_PAUSE_S: Final = 0.25
AGAIN_S: Final = 5.0
BETWEEN_S: Final = 1.0
"""Between two attempts for one row that is kept; between two calls at all while such attempts fail."""
RETRY_AFTER_MAX_S: Final = 60.0
TOO_MANY: Final = 429
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
        self._waiting = Waiting(self.tally)
        self._ended: deque[Outcome] = deque()
        self._changed = threading.Condition()
        self._under_way: tuple[Entry, int] | None = None
        self._resume_ns = 0  # no call before
        self._failing = self._closed = self._stuck_told = False
        self._thread: threading.Thread | None = None

    def put(self, row: Row) -> None:
        with self._changed:
            self._waiting.put(row, self._clock.mono_ns())
            self._start_thread()
            self._changed.notify()

    def seen(self, number: int) -> None:
        with self._changed:
            self._waiting.seen(number)
            if self._under_way is not None and self._under_way[0].reminds_of(number):
                self._under_way[0].unwanted = True

    def poll(self) -> list[Outcome]:
        with self._changed:
            if self._waiting:
                self._start_thread()
            found = list(self._ended)
            self._ended.clear()
            under_way = self._under_way
            if under_way is None:
                self._stuck_told = False
            elif not self._stuck_told and self._clock.mono_ns() - under_way[1] > STUCK_S * NS_PER_S:
                self._stuck_told = True
                text = f"nothing came of a call for {STUCK_S:g} s; does its name resolve?"
                found.append(Outcome(self.name, under_way[0].row, text, STUCK_S))
        return found

    def busy(self) -> bool:
        with self._changed:
            return bool(self._waiting or self._under_way)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self.tally.failed += self._waiting.clear()
            self._changed.notify()  # the thread is a daemon: it may hang in a call, and nobody waits for it

    def _start_thread(self) -> None:
        """Where there is none. A machine that gives none is asked again: the rows wait."""
        now_ns = self._clock.mono_ns()
        if self._thread is not None or now_ns < self._resume_ns:
            return
        thread = threading.Thread(target=self._run, name=f"sink {self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._resume_ns = now_ns + round(AGAIN_S * NS_PER_S)
            entry = self._waiting.take(now_ns)
            if entry is not None:
                self._settle(entry, "the machine gives no thread to send it", passing=True, pause_s=AGAIN_S)
            return
        self._thread = thread

    # In the thread

    def _run(self) -> None:
        while (entry := self._turn()) is not None:
            failure, passing, pause_s = self._attempt(entry.row)
            with self._changed:
                self._under_way = None
                if not self._closed:
                    self._settle(entry, failure, passing=passing, pause_s=pause_s)

    def _turn(self) -> Entry | None:
        """Wait for the next row that may be tried; None: closed."""
        with self._changed:
            while not self._closed:
                now_ns = self._clock.mono_ns()
                entry = self._waiting.take(now_ns) if now_ns >= self._resume_ns else None
                if entry is not None:
                    self._under_way = (entry, now_ns)
                    return entry
                wait_ns = max(self._resume_ns, self._waiting.next_ns()) - now_ns
                self._changed.wait(wait_ns / NS_PER_S if self._waiting else None)
        return None

    def _settle(self, entry: Entry, failure: str, *, passing: bool, pause_s: float) -> None:
        """What becomes of a row after an attempt. pause_s: so long the server wants no call."""
        now_ns = self._clock.mono_ns()
        self._resume_ns = max(self._resume_ns, now_ns + round(pause_s * NS_PER_S))
        entry.tries += bool(failure)
        passing = passing and not entry.unwanted
        if failure and passing and not self._failing and entry.tries < ATTEMPTS:
            entry.not_before_ns = now_ns + round(FIRST_PAUSE_S * 2 ** (entry.tries - 1) * NS_PER_S)
            return self._waiting.back(entry)
        young = now_ns - entry.since_ns < KEPT_S * NS_PER_S
        kept = bool(failure) and passing and young and entry.row["severity"] != "INFO"
        self._failing = bool(failure)
        if kept:
            entry.not_before_ns = now_ns + round(AGAIN_S * NS_PER_S)
            self._resume_ns = max(self._resume_ns, now_ns + round(BETWEEN_S * NS_PER_S))
            self._waiting.back(entry)
        else:
            self.tally.failed += bool(failure)
            self.tally.delivered += not failure
        if not (kept and entry.told):
            entry.told = True
            took_s = (now_ns - entry.since_ns) / NS_PER_S
            self._ended.append(Outcome(self.name, entry.row, failure, took_s))

    def _attempt(self, row: Row) -> tuple[str, bool, float]:
        """(what is wrong, "" when it was delivered; whether that may pass; how long no call may be made)."""
        try:
            answer = self._deliver(row)
            pause_s = retry_after_s(answer) if answer.status == TOO_MANY else 0.0
        except PostError as error:
            return str(error), True, 0.0
        except Exception as error:  # whatever it is, the thread must live on
            return f"{type(error).__name__}", False, 0.0
        if 200 <= answer.status < 300:
            return "", False, 0.0
        return f"HTTP {answer.status}", answer.status in PASSING or answer.status >= 500, pause_s


def retry_after_s(answer: Answer) -> float:
    """How long a server that got too many calls wants none: by its header, or Telegram's `parameters`."""
    told = answer.retry_after_s
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError, OverflowError):
        told = max(told, float(json.loads(answer.body)["parameters"]["retry_after"]))
    return min(told, RETRY_AFTER_MAX_S)


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
