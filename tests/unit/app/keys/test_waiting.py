"""The answer of a login comes from the browser or from a paste; what does not fit changes nothing."""

from __future__ import annotations

import os
import threading
import urllib.request
from collections.abc import Iterator
from urllib.error import HTTPError

import pytest

from kite_hft.app.keys.waiting import TRIES_MAX, Awaited, Pasted, answer_of
from kite_hft.brokers.kite.login import KITE_LOGIN
from kite_hft.brokers.login import LoginError
from kite_hft.net.catcher import Catcher, Caught


class Made:
    """An awaited request token, what was said, and a pipe as the person's lines."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.read_fd, self.write_fd = os.pipe()
        self.pasted = Pasted(self.read_fd)
        self.awaited = Awaited[str](
            of_line=lambda line: KITE_LOGIN.code_of(line, "s1"),
            of_request=lambda caught: KITE_LOGIN.code_of(caught.target, "s1"),
            say=self.said.append,
            path="/back",
        )

    def type(self, text: str) -> None:
        os.write(self.write_fd, text.encode())

    def end(self) -> None:
        if self.write_fd >= 0:
            os.close(self.write_fd)
        self.write_fd = -1


@pytest.fixture
def made() -> Iterator[Made]:
    found = Made()
    yield found
    found.end()
    os.close(found.read_fd)


GOOD = "http://127.0.0.1/back?request_token=rt1&status=success&state=s1"


def test_a_pasted_address_is_the_answer(made: Made) -> None:
    made.type(f"\n  {GOOD}\n")
    assert answer_of(made.awaited, made.pasted, None, 10) == "rt1" and not made.said


def test_the_last_line_needs_no_end(made: Made) -> None:
    made.type("rt9")
    made.end()
    assert answer_of(made.awaited, made.pasted, None, 10) == "rt9"


def test_a_wrong_paste_is_told_and_asked_for_again(made: Made) -> None:
    made.type(f"{GOOD.replace('s1', 's2')}\ntwo words\n{GOOD}\n")
    assert answer_of(made.awaited, made.pasted, None, 10) == "rt1"
    assert len(made.said) == 2 and "not the answer to this login" in made.said[0]


def test_without_any_way_the_reason_is_told(made: Made) -> None:
    made.end()
    with pytest.raises(LoginError, match="no address was given"):
        answer_of(made.awaited, made.pasted, None, 10)
    other = Made()
    other.type("two words\n")
    other.end()
    with pytest.raises(LoginError, match="neither an address nor"):
        answer_of(other.awaited, other.pasted, None, 10)
    os.close(other.read_fd)


def test_nothing_in_time_names_the_usual_cause(made: Made) -> None:
    with pytest.raises(LoginError, match=r"nothing has come within 0\.05 s.*redirect"):
        answer_of(made.awaited, made.pasted, None, 0.05)


def test_the_browser_is_caught_and_strangers_change_nothing(made: Made) -> None:
    with Catcher(0) as catcher:
        base, codes = f"http://127.0.0.1:{catcher.port}", []

        def browse() -> None:
            tail = GOOD.partition("/back")[2]
            for path in (
                "/favicon.ico",
                "/back?request_token=evil&state=s2",
                "/back?request_token=evil",
                f"/back{tail}",
            ):
                try:
                    codes.append(urllib.request.urlopen(base + path, timeout=10).status)
                except HTTPError as error:
                    codes.append(error.code)
                    error.close()

        browser = threading.Thread(target=browse)
        browser.start()
        assert answer_of(made.awaited, None, catcher, 20) == "rt1"
        browser.join(10)
    assert codes == [404, 400, 400, 200] and len(made.said) == 2


def test_too_many_wrong_answers_end_it(made: Made) -> None:
    made.type("two words\n" * TRIES_MAX)
    with pytest.raises(LoginError, match="given up"):
        answer_of(made.awaited, made.pasted, None, 10)


def test_a_page_that_sends_wrong_answers_cannot_end_it(made: Made) -> None:
    for _ in range(3 * TRIES_MAX):
        assert made.awaited.judge(Caught("GET", "/back?request_token=evil&state=s2", b"")).status == 400
    assert len(made.said) == TRIES_MAX and made.said[-1].endswith("more like this are not told")
    made.type(f"{GOOD}\n")
    assert answer_of(made.awaited, made.pasted, None, 10) == "rt1"


def test_another_method_or_path_is_for_somebody_else(made: Made) -> None:
    for caught in (
        Caught("POST", "/back?request_token=rt1&state=s1", b""),
        Caught("GET", "/other?state=s1", b""),
    ):
        assert made.awaited.judge(caught).status == 404
    assert made.awaited.found is None and not made.said
