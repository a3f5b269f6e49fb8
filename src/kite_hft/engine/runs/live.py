"""Layer 5, supervisor, cold: what a person sees while the engine runs.

A rich panel on a terminal, one plain line every few seconds elsewhere. Everything shown is read
from shared memory; drawing never disturbs the processes that write it. While the engine trades a thread of
its own draws (beside.py): a terminal that nobody reads, stopped or behind a link that is gone, keeps
nobody waiting.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from rich.console import Console
from rich.live import Live

from kite_hft.engine.runs.beside import Beside
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


class Shown:
    """What both views share: lines and pictures go to the terminal at once, or by a thread beside us.

    log: gets every message. Messages wait for nobody once `beside` was called; until then they stand on the
    terminal when `say` returns, before any question that follows.
    """

    def __init__(self, console: Console, log: Callable[[str], None]) -> None:
        self.console, self._log = console, log
        self._beside: Beside[Sample] | None = None
        self._told: Sample | None = None  # at the last line of numbers
        self._failed = False

    def beside(self) -> None:
        """From now on a thread writes: nobody waits for the terminal any more."""
        straight(self.console)
        with contextlib.suppress(RuntimeError):  # no thread is to be had: it is shown as before
            line, picture = partial(self._try, self._line), partial(self._try, self._picture)
            self._beside = Beside(line, picture, partial(self._try, self._over))

    def say(self, text: str) -> None:
        """A line for people."""
        text = printable(text)
        self._log(text)
        self._keep(text)
        if self._beside is None:
            self._try(self._line, text)
        else:
            self._beside.say(text)

    def end(self) -> None:
        """The pictures are over; lines may follow. Waits for at most PATIENCE_S."""
        if self._beside is None:
            self._try(self._over)
        else:
            self._beside.end()

    def settle(self) -> None:
        """See the last lines to the terminal, for at most PATIENCE_S: one that takes them no more is left
        alone, for good."""
        if self._beside is not None:
            if not self._beside.close():
                self.console.quiet = True
            self._beside = None

    def _draw(self, sample: Sample) -> None:
        if self._beside is None:
            self._try(self._picture, sample)
        else:
            self._beside.show(sample)

    def _numbers(self, sample: Sample) -> None:
        """A line of numbers, when it is time for one."""
        if self._told is None:
            self._told = sample
        elif sample.at_ns - self._told.at_ns >= PLAIN_EVERY_NS:
            before, self._told = self._told, sample
            self.say(plain_line(ticks_per_second(before, sample), sample))

    def _try(self, act: Callable[..., None], *what: Any) -> None:
        """Show something. An error of ours ends neither the run nor the thread that shows."""
        try:
            act(*what)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._log(printable(f"the view fails: {why}"))

    def _line(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _keep(self, text: str) -> None:
        pass

    def _picture(self, sample: Sample) -> None:
        pass

    def _over(self) -> None:
        pass


class PlainView(Shown):
    """Lines, for anything that is no terminal."""

    def show(self, sample: Sample) -> None:
        self._try(self._numbers, sample)


class LiveView(Shown):
    """A panel that redraws itself, with the last messages below; lines once it cannot be drawn: an old one
    that stands there would say that all is well.
    """

    _before: Sample | None = None
    _live: Live | None = None
    _plain = False

    def __init__(self, console: Console, log: Callable[[str], None], title: str) -> None:
        super().__init__(console, log)
        self._title = title
        self._messages: list[str] = []

    def show(self, sample: Sample) -> None:
        if self._plain:
            self._try(self._numbers, sample)
        else:
            self._draw(sample)

    def _keep(self, text: str) -> None:
        self._messages = [*self._messages[-MESSAGES_SHOWN + 1 :], text]

    def _line(self, text: str) -> None:
        if self._live is None:  # else it stands in the panel
            super()._line(text)

    def _picture(self, sample: Sample) -> None:
        if self._plain:
            return
        try:
            self._redraw(sample)
        except Exception as error:
            self._plain = True
            self._try(self._over)
            self.say(f"the panel cannot be drawn: {type(error).__name__}: {error}; lines follow")

    def _redraw(self, sample: Sample) -> None:
        with contextlib.suppress(OSError):
            if self._live is None:
                self._live = Live(console=self.console, auto_refresh=False)
                self._live.start()
            rate = ticks_per_second(self._before, sample) if self._before else 0.0
            if self._before is None or sample.at_ns - self._before.at_ns >= 1_000_000_000:
                self._before = sample
            self._live.update(panel(self._title, rate, sample, self._messages), refresh=True)

    def _over(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(OSError):
                live.stop()


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
        """As rich's; on a full disk nothing is shown any more, nor where a thread still waits for the
        terminal: it holds the locks of this console."""
        if self.quiet:
            return
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


class _Raw(io.RawIOBase):
    """A descriptor, written to whole. It stays open."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        return len(data)


def straight(console: Console) -> None:
    """Let the console write to its descriptor itself. The streams of Python hold a lock while they write, and
    a process that ends while a thread waits there is aborted. A console without a descriptor stays as it
    is."""
    file = console.file
    try:
        file.flush()
        raw = _Raw(file.fileno())
    except (OSError, ValueError):  # a file in memory
        return
    encoding = getattr(file, "encoding", None) or "utf-8"
    console.file = io.TextIOWrapper(raw, encoding, OTHER, write_through=True)  # type: ignore[type-var]


def make_view(console: Console, title: str, plain: bool, log: Callable[[str], None]) -> PlainView | LiveView:
    """A panel on a terminal, lines elsewhere or when asked for; `log` gets every message, too."""
    return PlainView(console, log) if plain or not console.is_terminal else LiveView(console, log, title)
