"""The ways to a token without a broker: what is shown, what is caught, what is pasted."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from kite_hft.app.keys import flows
from kite_hft.app.keys.flows import Way, by_approval, by_page
from kite_hft.app.keys.waiting import Pasted
from kite_hft.brokers.kite.login import KITE_LOGIN
from kite_hft.brokers.login import Approval, Login, LoginError, LoginWords
from kite_hft.brokers.upstox.login import UPSTOX_LOGIN

NEVER_NS = 4_000_000_000 * 10**9
API = "https://api.kite.trade"


class Person:
    """Says nothing by itself; `type` puts lines where a paste would be."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.read_fd, self.write_fd = os.pipe()

    def type(self, text: str) -> None:
        os.write(self.write_fd, text.encode())

    def way(
        self, words: LoginWords, redirect_url: str = "", timeout_s: float = 10.0, *, browser: bool = False
    ) -> Way:
        pasted = Pasted(self.read_fd)
        return Way(
            words, API, "key1", "s3cret", redirect_url, self.heard.append, pasted, timeout_s,
            qr=True, browser=browser,
        )  # fmt: skip

    @property
    def text(self) -> str:
        return "\n".join(self.heard)


@pytest.fixture
def person() -> Iterator[Person]:
    made = Person()
    yield made
    os.close(made.read_fd)
    os.close(made.write_fd)


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Codes that were exchanged; each opens a session."""
    found: list[str] = []

    def exchanged(words: LoginWords, host: str, key: str, secret: str, code: str, *_: str) -> Login:
        found.append(code)
        return Login("token", "AB1234", "A", NEVER_NS)

    monkeypatch.setattr(flows, "exchanged", exchanged)
    return found


def test_the_page_is_shown_with_a_qr_code_and_a_bare_code_will_do(person: Person, codes: list[str]) -> None:
    person.type("rt1\n")
    by_page(person.way(KITE_LOGIN))
    assert codes == ["rt1"] and "\nhttps://kite.zerodha.com/connect/login?v=3&api_key=key1" in person.text
    assert "▀" in person.text and "Copy the whole address" in person.text and "s3cret" not in person.text
    assert "ssh" not in person.text, "nothing can be caught: a tunnel would lead nowhere"


def test_a_redirect_to_this_machine_is_caught_also_from_another_one(
    person: Person, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "no_browser_here", lambda environ: True)
    monkeypatch.setattr(flows.webbrowser, "open", lambda url: pytest.fail("there is no screen"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        person.type("rt1\n")
        by_page(person.way(KITE_LOGIN, f"http://127.0.0.1:{port}/"))
        assert f"port {port} of 127.0.0.1 cannot be listened on" in person.text and codes == ["rt1"]
    person.type("rt2\n")
    by_page(person.way(KITE_LOGIN, f"http://127.0.0.1:{port}/", browser=True))
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in person.text and "taken up here by itself" in person.text
    assert "--browser: none can be opened here" in person.text


def test_a_browser_is_opened_only_when_asked_for(
    person: Person, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(flows, "no_browser_here", lambda environ: False)
    monkeypatch.setattr(flows.webbrowser, "open", lambda url: not opened.append(url))
    person.type("rt1\nrt2\n")
    by_page(person.way(KITE_LOGIN))
    assert not opened
    person.type("rt3\n")
    by_page(person.way(KITE_LOGIN, browser=True))
    assert len(opened) == 1 and opened[0].startswith("https://kite.zerodha.com/")


def test_a_browser_that_waits_for_its_page_does_not_hold_the_login_up(
    person: Person, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "no_browser_here", lambda environ: False)
    monkeypatch.setattr(flows, "BROWSER_S", 0.05)
    closed = threading.Event()
    monkeypatch.setattr(flows.webbrowser, "open", lambda url: closed.wait(30))
    person.type("rt1\n")
    try:
        by_page(person.way(KITE_LOGIN, browser=True))
        assert codes == ["rt1"] and not closed.is_set()
        assert "none can be opened here" not in person.text
    finally:
        closed.set()


@pytest.mark.parametrize("answer", [False, flows.webbrowser.Error("none")])
def test_a_browser_that_does_not_open_is_said(
    person: Person, codes: list[str], monkeypatch: pytest.MonkeyPatch, answer: bool | Exception
) -> None:
    def opens(url: str) -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(flows, "no_browser_here", lambda environ: False)
    monkeypatch.setattr(flows.webbrowser, "open", opens)
    person.type("rt1\n")
    by_page(person.way(KITE_LOGIN, browser=True))
    assert "--browser: none can be opened here" in person.text and codes == ["rt1"]


def test_each_login_has_a_state_of_its_own(person: Person, codes: list[str]) -> None:
    for _ in range(2):
        person.type("rt1\n")
        by_page(person.way(KITE_LOGIN))
    states = {
        line.partition("state%3D")[2]
        for text in person.heard
        for line in text.splitlines()
        if "state%3D" in line
    }
    assert len(states) == 2 and all(len(state) >= 22 for state in states)


@pytest.mark.parametrize("state", ["", "&state=of-another-login"])
def test_an_answer_to_another_login_is_not_taken_from_the_browser(
    person: Person, codes: list[str], state: str
) -> None:
    """Else a page in the same browser could log this machine in as somebody else (RFC 6749, 10.12)."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answers: list[bytes] = []

    def browse() -> None:
        while not person.heard:
            time.sleep(0.01)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            target = f"/?request_token=theirs&status=success{state}"
            link.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            answers.append(link.recv(4096))
        person.type("ours\n")

    other = threading.Thread(target=browse)
    other.start()
    by_page(person.way(KITE_LOGIN, f"http://127.0.0.1:{port}/"))
    other.join()
    assert answers[0].startswith(b"HTTP/1.1 400") and codes == ["ours"]
    assert "not the answer to this login" in person.text


def test_an_approval_whose_notice_arrives_elsewhere_is_pasted(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "approval_of", lambda *_: Approval(NEVER_NS, "https://me.example/hook"))
    notice = {"client_id": "key1", "user_id": "AB1234", "access_token": "plain-token-1",
              "expires_at": "1795300000000", "message_type": "access_token"}  # fmt: skip
    person.type(json.dumps(notice | {"client_id": "key2"}) + "\n" + json.dumps(notice) + "\n")
    got = by_approval(person.way(UPSTOX_LOGIN), 0)
    assert (got.access_token, got.user_id) == ("plain-token-1", "AB1234")
    assert (
        "https://me.example/hook" in person.text
        and "not taken: that notice is for another app" in person.text
    )
    person.type("plain-token-2\n")
    assert by_approval(person.way(UPSTOX_LOGIN), 0).access_token == "plain-token-2"


def test_a_refused_approval_leaves_no_port_open(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Approval:
        raise LoginError("no notifier")

    monkeypatch.setattr(flows, "approval_of", refused)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with pytest.raises(LoginError, match="no notifier"):
        by_approval(person.way(UPSTOX_LOGIN), port)
    socket.create_server(("127.0.0.1", port)).close()
