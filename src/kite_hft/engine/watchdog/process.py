"""Layer 5, watchdog, cold: `python -m kite_hft.engine.watchdog.process CONTROL_FD ANSWER_FD`.

Started by the supervisor: a process of its own that compares the broker's positions with what protects
them, once a second. It knows no broker and no shared queue: ORDERS puts the broker's raw books where it
finds them (engine/orders/books.py), and it reads them with code of its own (books.py, guard.py). While
the supervisor lives, alerts go to it. When the supervisor is gone without a word, the watchdog tells by
sinks of its own what is open and what protects it; on a real account it stays until the day's trading is
over, the watchdog of a new run in mode live sees the account (handover.py), or LINGER_S have passed. Imports
little, no models and no arrays, and all of it at its start: when the engine is gone, so may be the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import SystemClock
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.files import last_number
from kite_hft.engine.alerts.sinks.making import make_sinks, secrets_of
from kite_hft.engine.alerts.sinks.sink import KEPT_S
from kite_hft.engine.keys.private import harden_process, show_memory
from kite_hft.engine.orders.books import take_books
from kite_hft.engine.processes.control import Lines
from kite_hft.engine.watchdog.books import KITE
from kite_hft.engine.watchdog.books_upstox import reading_of
from kite_hft.engine.watchdog.guard import Guard, Limits
from kite_hft.engine.watchdog.handover import watched_by
from kite_hft.sessions import Phase, ist_text
from kite_hft.trading.alerts import CRITICAL, WARNING
from kite_hft.trading.exits.protection import Facts
from kite_hft.units import NS_PER_S

LOOK_S: Final = 0.5
LINGER_S: Final = 10 * 3600.0
LAST_WORD_S: Final = KEPT_S + 30.0
"""Nobody waits for a watchdog that is alone: its sinks have as long as a row is tried, and a little more."""
READ_BYTES: Final = 65536
TEXT_CHARS_MAX: Final = select.PIPE_BUF // 8  # six bytes a character at most, escaped
PR_SET_NAME: Final = 15

Config = Mapping[str, Any]


def facts_of(config: Config) -> Facts:
    """Facts out of plain JSON (watching.plain_facts makes it)."""
    phases = {
        (exchange, cas): tuple(
            Phase(name, start_ns, end_ns, frozenset(orders), match)
            for name, start_ns, end_ns, orders, match in rows
        )
        for exchange, cas, rows in config["phases"]
    }
    square_offs = {(exchange, cas): at for exchange, cas, at in config["square_offs"]}
    cas, others = frozenset(config["cas"]), frozenset(config["others"])
    settling = {key: (last, until, warn_ns) for key, last, until, warn_ns in config["settling"]}
    return Facts(phases, cas, others, square_offs, int(config["closing_ns"]), settling)


class Link:
    """The pipes to and from the supervisor. Neither ever blocks."""

    def __init__(self, control_fd: int, answer_fd: int) -> None:
        os.set_blocking(control_fd, False)
        os.set_blocking(answer_fd, False)
        self._control, self._answers, self._lines = control_fd, answer_fd, Lines()
        self.gone = False  # the supervisor has closed its end, or died

    def read(self, wait_s: float) -> list[dict[str, Any]]:
        """Messages of the supervisor, after at most `wait_s`."""
        if self.gone:
            time.sleep(wait_s)
            return []
        select.select([self._control], [], [], wait_s)
        found: list[dict[str, Any]] = []
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._control, READ_BYTES):
                found += self._lines.add(chunk)
            self.gone = True
        return found

    def send(self, **message: Any) -> None:
        """One line; dropped when nobody reads: what it tells of is told again soon. The text of an alert that
        would be too long for one write is cut."""
        line = json.dumps(message).encode() + b"\n"
        if len(line) > select.PIPE_BUF and "text" in message.get("alert", {}):
            fields = message["alert"]
            cut = {"text": f"{fields['text'][:TEXT_CHARS_MAX]} ..."}
            line = json.dumps(message | {"alert": fields | cut}).encode() + b"\n"
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            if len(line) <= select.PIPE_BUF:  # whole or not at all
                os.write(self._answers, line)


class Watchdog:
    """One per engine."""

    def __init__(self, config: Config, link: Link) -> None:
        self._config, self._link, self._clock = config, link, SystemClock()
        self._shm = Path(config["shm"])
        limits = Limits(**config["limits"])
        facts, called = facts_of(config["facts"]), config.get("called")
        self.guard = Guard(limits, facts, self._clock.mono_ns(), reading_of(called) if called else KITE)
        self._offset_ns = int(config["offset_ns"])
        # Made now: when the engine is gone there may be no reading of modules any more.
        self._sinks = make_sinks(config["alerts"], Path(config["folder"]), self._clock)

    def market_ns(self) -> int:
        """The market's time, epoch ns: the machine's, but for a simulated day."""
        return self._clock.real_ns() + self._offset_ns

    def run(self) -> int:
        """Until the supervisor says that the run is over, or is gone; returns the exit code."""
        self._link.send(ready={"pid": os.getpid()})
        while not self._link.gone:
            for message in self._link.read(LOOK_S):
                if message.get("do") == "end":
                    return 0
            if not self._link.gone:
                self._look()
        self._take_books()  # what ORDERS put there last
        return self._alone()

    def _take_books(self) -> int:
        now_ns = self._clock.mono_ns()
        for book in take_books(self._shm, self.guard.asked_ns):
            self.guard.take(book, now_ns)
        return now_ns

    def _look(self) -> None:
        now_ns = self._take_books()
        for fields in self.guard.look(self.market_ns(), now_ns):
            self._link.send(alert=fields)
        guard = self.guard
        self._link.send(naked_paise=guard.naked_paise, held=guard.held, sees=guard.sees)
        if self.guard.wants_books(now_ns):
            self._link.send(wants_books=True)

    # The engine is gone

    def _alone(self) -> int:
        """Tell it by our own sinks, and on a real account go on looking at the clock."""
        folder, config = Path(self._config["folder"]), self._config
        alerting = Alerting(
            folder, self._sinks, self._clock, lambda text: None, config["remind_s"], LAST_WORD_S,
            about=config["about"] | {"teller": "watchdog"}, secrets=secrets_of(config["alerts"]),
            first_number=last_number(folder) + 1,
        )  # fmt: skip
        now_ns = self._clock.mono_ns()
        open_ = self.guard.words(self.market_ns(), now_ns, alone=True)
        books = ist_text(self.guard.books_real_ns)[11:] if self.guard.books_real_ns else "no time"
        text = f"the engine (process {config['pid']}) is gone without order; "
        text += (
            f"open by the books of {books}: {open_}"
            if open_
            else f"no position is open by the books of {books}"
        )
        alerting.raise_("ENGINE_GONE", "", text, CRITICAL if open_ else WARNING)
        if config["linger"] and open_:
            self._linger(alerting)
        alerting.close(time.sleep)
        return 0

    def _linger(self, alerting: Any) -> None:
        """Protection lapses by the clock, too: told until somebody watches again, or the day is over."""
        until_ns = self._clock.mono_ns() + round(LINGER_S * NS_PER_S)
        ends = [phase.end_ns for phases in self.guard.facts.phases.values() for phase in phases]
        over_ns = max(ends, default=None)  # None: that market is always open
        lock = Path(self._config["lock"])
        while self._clock.mono_ns() < until_ns and (over_ns is None or self.market_ns() < over_ns):
            time.sleep(LOOK_S)
            for fields in self.guard.look(self.market_ns(), self._clock.mono_ns(), alone=True):
                alerting.take(fields)
            with contextlib.suppress(OSError):
                alerting.follow_file()
            alerting.poll()
            if watched_by(lock) not in ("", self._config["folder"]):
                return  # a new run has the account, and its watchdog has it in sight


def without(text: str, secrets: Sequence[str]) -> str:
    """`text` without any of the secrets."""
    for secret in secrets:
        text = text.replace(secret, "<secret>")
    return text


def main(argv: list[str]) -> int:
    """The process; returns its exit code."""
    if len(argv) != 2:
        print("this process is started by the engine: python -m kite_hft.engine --help", file=sys.stderr)
        return 2
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"khft-watchdog"[:15])
    harden_process()  # what it is told holds the addresses of alerts
    link = Link(int(argv[0]), int(argv[1]))
    messages: list[dict[str, Any]] = []
    while not (messages or link.gone):
        messages = link.read(LOOK_S)
    if not messages:
        return 0
    config = messages[0]
    if any(message.get("do") == "end" for message in messages[1:]):
        return 0
    if not config.get("private", True):
        show_memory()
    try:
        return Watchdog(config, link).run()
    except Exception as error:
        with contextlib.suppress(OSError), open(f"{config['folder']}/watchdog.crash", "a") as file:
            file.write(without(traceback.format_exc(), secrets_of(config["alerts"])))
        link.send(log=f"watchdog failed: {type(error).__name__}: {error}"[:500])
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
