"""Layer 6, by hand, cold: waits for the answer of a login: by the browser or by a paste, whichever is first.

The catcher takes what fits this login alone; anything else that comes is answered, told, and changes nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from kite_hft.brokers.login import LoginError
from kite_hft.net.catcher import NOT_HERE, Catcher, Caught, Page, wait_for

LOOK_S: Final = 0.5
LINE_MAX: Final = 1 << 16
TRIES_MAX: Final = 20
"""Wrong pastes; then somebody plays. Of wrong requests, which any web page can send, so many are told."""
LOOK_AGAIN: Final = "The answer has arrived: close this page, and look at the terminal again."
NOT_TAKEN: Final = "This was not taken: "

Found = TypeVar("Found")


@dataclass(slots=True)
class Pasted:
    """Lines of standard input, as they come. fd: what is read; -1: nothing."""

    fd: int = field(default_factory=lambda: sys.stdin.fileno())
    _held: bytes = b""

    def lines(self) -> list[str]:
        """Whole lines since the last call; the last one also without its end, when there is no more."""
        try:
            chunk = os.read(self.fd, LINE_MAX)
        except OSError:
            chunk = b""
        self._held += chunk
        if not chunk or len(self._held) > LINE_MAX:
            self.fd = -1
            found, self._held = self._held, b""
        else:
            found, _, self._held = self._held.rpartition(b"\n")
        return [text for line in found.decode("utf-8", "replace").splitlines() if (text := line.strip())]


@dataclass(slots=True)
class Awaited(Generic[Found]):
    """One answer. of_request, of_line: what it was waited for, out of either (raise LoginError);
    of_request gets None for a request that is for somebody else.

    path: where the catcher expects it. say: a line for the person.
    """

    of_line: Callable[[str], Found]
    of_request: Callable[[Caught], Found]
    say: Callable[[str], None]
    method: str = "GET"
    path: str = "/"
    found: Found | None = None
    tries: int = 0
    strays: int = 0
    refused: LoginError | None = None  # the last answer that was none

    def judge(self, caught: Caught) -> Page:
        """What the sender of a request sees."""
        if caught.method != self.method or (urlsplit(caught.target).path or "/") != self.path:
            return NOT_HERE
        try:
            self.found = self.of_request(caught)
        except LoginError as error:
            self._stray(error)
            return Page(400, f"{NOT_TAKEN}{error}")
        return Page(200, LOOK_AGAIN, done=True)

    def _stray(self, error: LoginError) -> None:
        """A request that is no answer: it never ends the login, else a page in the browser could."""
        self.strays, self.refused = self.strays + 1, error
        if self.strays <= TRIES_MAX:
            rest = "; more like this are not told" if self.strays == TRIES_MAX else ""
            self.say(f"not taken: {error}{rest}")

    def refuse(self, error: LoginError) -> None:
        """A paste that is no answer.

        Raises:
            LoginError: the last one of too many.
        """
        self.tries, self.refused = self.tries + 1, error
        if self.tries >= TRIES_MAX:
            raise LoginError(f"{self.tries} answers that were none; the login is given up") from None
        self.say(f"not taken: {error}")


def answer_of(
    awaited: Awaited[Found], pasted: Pasted | None, catcher: Catcher | None, timeout_s: float
) -> Found:
    """The answer, from whichever way it comes first.

    Raises:
        LoginError: none in time, or no way by which one could come any more.
    """
    deadline_s = time.monotonic() + timeout_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        reading = pasted is not None and pasted.fd >= 0
        if not reading and catcher is None:
            raise awaited.refused or LoginError(
                "no address was given: paste the one that the browser ended on, or pipe it in, as in "
                "kite-hft login < FILE"
            )
        ways: list[Catcher | int] = [way for way in (catcher,) if way is not None]
        ways += [pasted.fd] if pasted is not None and reading else []
        for way in wait_for(*ways, seconds=min(LOOK_S, left_s)):
            if catcher is not None and way is catcher:
                catcher.serve(awaited.judge)
            elif pasted is not None:
                _take_lines(awaited, pasted)
            if awaited.found is not None:
                return awaited.found
    raise LoginError(
        f"nothing has come within {timeout_s:g} s. If the browser ended on a page of another address, the "
        "redirect address registered for the app is not the redirect_url of the vault"
    )


def _take_lines(awaited: Awaited[Found], pasted: Pasted) -> None:
    for line in pasted.lines():
        try:
            awaited.found = awaited.of_line(line)
            return
        except LoginError as error:
            if pasted.fd < 0:  # there is no second try
                raise
            awaited.refuse(error)
