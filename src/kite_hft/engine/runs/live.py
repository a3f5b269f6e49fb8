"""Layer 5, supervisor, cold: what a person sees while the engine runs.

A rich panel on a terminal, one plain line every few seconds elsewhere. Everything shown is read
from shared memory; drawing never disturbs the processes that write it.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from rich.console import Console
from rich.live import Live

from kite_hft.engine.runs.log import printable
from kite_hft.engine.runs.panels import panel, plain_line
from kite_hft.engine.runs.sample import Sample, ticks_per_second

PLAIN_EVERY_NS: Final = 5_000_000_000
MESSAGES_SHOWN: Final = 6
OTHER: Final = "kite_hft.in_other_words"
OTHER_WORDS: Final = {"₹": "Rs ", "Δ": "d", "µ": "u", "·": "."}


class View(Protocol):
    """Whoever shows the run."""

    def say(self, text: str) -> None: ...

    def show(self, sample: Sample) -> None: ...

    def end(self) -> None: ...


@dataclass(slots=True)
class PlainView:
    """Lines, for anything that is no terminal."""

    console: Console
    log: Callable[[str], None]
    before: Sample | None = None

    def say(self, text: str) -> None:
        text = printable(text)
        self.log(text)
        with contextlib.suppress(OSError):  # the terminal is gone
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, sample: Sample) -> None:
        if self.before is None:
            self.before = sample
        elif sample.at_ns - self.before.at_ns >= PLAIN_EVERY_NS:
            self.say(plain_line(ticks_per_second(self.before, sample), sample))
            self.before = sample

    def end(self) -> None:
        pass


@dataclass(slots=True)
class LiveView:
    """A panel that redraws itself, with the last messages below."""

    console: Console
    log: Callable[[str], None]
    title: str
    messages: list[str] = field(default_factory=list)
    before: Sample | None = None
    live: Live | None = None

    def say(self, text: str) -> None:
        text = printable(text)
        self.log(text)
        self.messages = [*self.messages[-MESSAGES_SHOWN + 1 :], text]
        if self.live is None:
            with contextlib.suppress(OSError):
                self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, sample: Sample) -> None:
        with contextlib.suppress(OSError):
            self._show(sample)

    def _show(self, sample: Sample) -> None:
        if self.live is None:
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.start()
        rate = ticks_per_second(self.before, sample) if self.before else 0.0
        if self.before is None or sample.at_ns - self.before.at_ns >= 1_000_000_000:
            self.before = sample
        self.live.update(panel(self.title, rate, sample, self.messages), refresh=True)

    def end(self) -> None:
        if self.live is not None:
            with contextlib.suppress(OSError):
                self.live.stop()
            self.live = None


def in_other_words(error: UnicodeError) -> tuple[str, int]:
    """What a console shows for characters that it does not know: Rs for the rupee sign."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unknown = error.object[error.start : error.end]
    return "".join(OTHER_WORDS.get(c, "?") for c in unknown), error.end


codecs.register_error(OTHER, in_other_words)


class Terminal(Console):
    """A console that may go away or know no rupee sign: what it cannot show it says in other words, and
    the run goes on. Everything said stands in the run's log as well."""

    def __init__(self, **options: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=OTHER)
        super().__init__(**options)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's; on a full disk nothing is shown any more."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """The reader has left: be quiet from now on, instead of rich's way of ending the process."""
        self.quiet = True
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.file.fileno())
        os.close(null)


def make_view(console: Console, title: str, plain: bool, log: Callable[[str], None]) -> View:
    """A panel on a terminal, lines elsewhere or when asked for; `log` gets every message, too."""
    return PlainView(console, log) if plain or not console.is_terminal else LiveView(console, log, title)
