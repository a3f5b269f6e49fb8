"""Layer 6, by hand, cold: the standard streams of `kite-hft`: there, and telling when nothing can be written.

Loads little.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Final

STREAMS: Final = ("stdin", "stdout", "stderr")


class Unwritten(OSError):
    """Standard output takes nothing (a full disk)."""


class _Output(io.TextIOWrapper):
    """Standard output that remembers why it took nothing, "" while it does. A reader that has left stays what
    it is everywhere: BrokenPipeError."""

    lost = ""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._named(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._named(error) from None

    def _named(self, error: OSError) -> OSError:
        if isinstance(error, BrokenPipeError):
            return error
        self.lost = error.strerror or str(error)
        return Unwritten(f"standard output cannot be written: {self.lost}")


def take_streams() -> None:
    """Let all three streams be there. Whoever started us may have closed some: nobody is there to be asked or
    told then, and no file that is opened later gets such a descriptor."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for number, name in enumerate(STREAMS):
        if getattr(sys, name) is None:  # what is said to a stderr that is None comes out of stdout
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        encoding, errors, lines = out.encoding, out.errors, out.line_buffering
        sys.stdout = _Output(out.detach(), encoding, errors, line_buffering=lines)


def give_up_output() -> None:
    """What still waits to be written goes nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def lost_output() -> str:
    """Why standard output took nothing; "": it has taken all."""
    return sys.stdout.lost if isinstance(sys.stdout, _Output) else ""


def forgive_lost_output() -> None:
    """What was said there stands elsewhere as well: no failure."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.lost = ""
