"""Layer 5, supervisor, cold: a thread that writes for whoever must not wait for a terminal.

A write to a terminal that is stopped (Ctrl-S), to a pipe that nobody reads or to a link that is gone stands
until somebody reads or the system gives up: minutes. What was to be shown meanwhile is kept here: the newest
lines, the newest picture. All of it stands in the run's log as well.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

LINES_MAX: Final = 100
"""Lines that wait for a terminal; beyond that the oldest is dropped."""
PATIENCE_S: Final = 1.0

Picture = TypeVar("Picture")


class Beside(Generic[Picture]):
    """Writes in a thread of its own. line, picture, over: how, each of them called in that thread alone;
    none may raise.

    Raises:
        RuntimeError: no thread can be started.
    """

    def __init__(
        self, line: Callable[[str], None], picture: Callable[[Picture], None], over: Callable[[], None]
    ) -> None:
        self._line, self._draw, self._end_pictures = line, picture, over
        self._changed = threading.Condition()
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._picture: Picture | None = None
        self._over, self._ended, self._closing = False, threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """A line, behind those that wait. Never waits."""
        with self._changed:
            self._lines.append(text)
            self._changed.notify()

    def show(self, picture: Picture) -> None:
        """A picture, in the place of one that was not drawn yet. Never waits."""
        with self._changed:
            self._picture = picture
            self._changed.notify()

    def end(self) -> None:
        """No pictures any more; waits until they are over, for at most PATIENCE_S."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._ended.wait(PATIENCE_S)

    def close(self) -> bool:
        """Write what waits and end the thread; False: PATIENCE_S later it still stands in a write."""
        with self._changed:
            self._over = self._closing = True
            self._changed.notify()
        self._thread.join(PATIENCE_S)
        return not self._thread.is_alive()

    def _waits(self) -> bool:
        return bool(self._lines or self._picture is not None or self._closing) or (
            self._over and not self._ended.is_set()
        )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._waits)
                lines, picture = list(self._lines), self._picture
                self._lines.clear()
                self._picture = None
                over, closing = self._over, self._closing
            if over and not self._ended.is_set():  # first: what is said now stands below the last picture
                self._end_pictures()
                self._ended.set()
            for text in lines:
                self._line(text)
            if picture is not None and not over:
                self._draw(picture)
            if closing:
                return
