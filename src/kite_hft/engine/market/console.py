"""Layer 5, market process, cold: the classic console: who speaks, what is said of a connection, and where
it is kept.

Lines go to the console and the log of the run, and to `classic/strategy.log` in the run folder; trades,
one row each, to `classic/trades.csv`. A market process may be two (feed and compute): both append to the
same files, a line with one write. What a worker works on once more after a restart is not told again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from kite_hft.clock import Clock
from kite_hft.settings import Settings
from kite_hft.strategies.classic import CONNECTED, logged, stamped, subscribed_line, trade_row
from kite_hft.trading.instruments import InstrumentTable

FOLDER: Final = "classic"
LOG: Final = "strategy.log"
TRADES: Final = "trades.csv"
EVERY: Final = {"kalman_ml": 20}
"""Strategy -> of how many ticks one has its line on the console, where the settings do not say."""


class Diary:
    """The voice of one process (classic.Voice). log: the console's; folder: of the run, None: no files.

    every: of so many ticks one is said; the file has all of them.
    """

    def __init__(
        self, log: Callable[[str], None], clock: Clock, folder: Path | None, *, stamps: bool, every: int = 1
    ) -> None:
        self._log, self._clock, self._folder = log, clock, folder
        self._stamps, self._every, self._silent = stamps, every, False
        self._fds: dict[str, int] = {}

    def say(self, line: str) -> None:
        self._say(line, aloud=True)

    def tick(self, number: int, line: str) -> None:
        self._say(line, aloud=number % self._every == 0 or number == 1)

    def trade(self, action: str, price: float, estimate: float) -> None:
        if not self._silent:
            self._keep(TRADES, trade_row(action, price, estimate))

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """What is said meanwhile was said before."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def _say(self, line: str, *, aloud: bool) -> None:
        if self._silent:
            return
        now_ns = self._clock.real_ns()
        if aloud:
            self._log(stamped(line, now_ns) if self._stamps else line)
        self._keep(LOG, logged(line, now_ns))

    def _keep(self, name: str, line: str) -> None:
        """One line more. A full disk is told of by others, and stops no strategy."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            if name not in self._fds:
                folder = self._folder / FOLDER
                folder.mkdir(mode=0o700, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fds[name] = os.open(folder / name, flags, 0o600)
            os.write(self._fds[name], line.encode() + b"\n")


def classic_voice(
    settings: Settings, clock: Clock, log: Callable[[str], None], folder: Path | None = None
) -> Diary:
    """Who speaks for the classic strategies of a process. folder: of the run, where files are wanted."""
    names = {section.name for section in settings.strategies}
    every = settings.console.every or max((EVERY.get(name, 1) for name in names), default=1)
    kept = folder if settings.console.classic else None
    return Diary(log, clock, kept, stamps=settings.console.timestamps, every=every)


def classic_greeting(settings: Settings, instruments: InstrumentTable, voice: Diary) -> Callable[[], None]:
    """What the classic console says of a new connection."""
    wanted = [section.instruments for section in settings.strategies]
    keys = [key for names in wanted if names != "all" for key in names] or [row.key for row in instruments]

    def greet() -> None:
        voice.say(CONNECTED)
        for key in dict.fromkeys(keys):
            voice.say(subscribed_line(key))

    return greet
