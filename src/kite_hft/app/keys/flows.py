"""Layer 6, by hand, cold: the ways to a day's token: the broker's page, or the user's word on his phone."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from kite_hft.app.keys.broker_calls import approval_of, exchanged
from kite_hft.app.keys.showing import catch_port, no_browser_here, qr_text, ssh_line
from kite_hft.app.keys.waiting import Awaited, Pasted, answer_of
from kite_hft.brokers.login import Login, LoginError, LoginWords, plain_token
from kite_hft.net.catcher import LOOPBACK, Catcher
from kite_hft.sessions import ist_text

STATE_BYTES: Final = 16
BROWSER_S: Final = 2.0
"""A browser that says nothing within this is open."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a login needs to know. say: a line for the person. host: address of the broker's API.

    qr, browser: whether the address is shown as a QR code, and opened. pasted: where a person's lines come
    from; None: nowhere. timeout_s: how long the answer is waited for. bind: source address of the calls.
    """

    words: LoginWords
    host: str
    api_key: str
    api_secret: str
    redirect_url: str
    say: Callable[[str], None]
    pasted: Pasted | None = None
    timeout_s: float = 300.0
    qr: bool = False
    browser: bool = False
    bind: str = ""


def by_page(way: Way) -> Login:
    """Log in on the broker's page.

    Raises:
        LoginError: it did not come about.
    """
    words, state = way.words, secrets.token_urlsafe(STATE_BYTES)
    url = words.login_url(way.api_key, way.redirect_url, state, words.page(way.host))
    with _catching(way) as catcher:
        _show(way, url, catcher)
        awaited = Awaited[str](
            of_line=lambda line: words.code_of(line, state),
            of_request=lambda caught: _code_of_request(words, caught.target, state),
            say=way.say,
            path=urlsplit(way.redirect_url).path or "/",
        )
        code = answer_of(awaited, way.pasted, catcher, way.timeout_s)
    return exchanged(words, way.host, way.api_key, way.api_secret, code, way.redirect_url, way.bind)


def _code_of_request(words: LoginWords, target: str, state: str) -> str:
    """As `code_of`; what comes by itself must be an address with our state in it."""
    if not urlsplit(target).query:
        raise LoginError(f"an address without {words.code}")
    return words.code_of(target, state)


def _show(way: Way, url: str, catcher: Catcher | None) -> None:
    """What the person does next."""
    title = way.words.title
    way.say(f"Log in at {title}: open this address in a browser, of this or any other machine:\n\n{url}\n")
    if way.qr:
        way.say(f"{qr_text(url)}\n")
    if catcher is not None and no_browser_here(os.environ):
        way.say(
            "No browser is on this machine. On the one that has it, this brings the answer here:\n\n"
            f"    {ssh_line(catcher.port, os.environ)}\n"
        )
    # without a screen a text browser would take the terminal
    if way.browser and (no_browser_here(os.environ) or not _opened(url)):
        way.say("--browser: none can be opened here; open the address by hand")
    goal = f" to {way.redirect_url}" if way.redirect_url else ""
    by_itself = "That is taken up here by itself. If it is not, copy" if catcher is not None else "Copy"
    way.say(
        f"After the login the browser is sent on{goal} (where it may find nothing: that does not matter). "
        f"{by_itself} the whole address from its address bar, paste it here, and press Enter."
    )


def _opened(url: str) -> bool:
    """Whether a browser takes the address. One that only returns at its end (BROWSER=w3m) is not waited for:
    the answer that it brings is awaited by us."""
    said: list[bool] = []

    def open_it() -> None:
        with contextlib.suppress(webbrowser.Error):
            said.append(webbrowser.open(url))

    thread = threading.Thread(target=open_it, name="kite_hft-browser", daemon=True)
    thread.start()
    thread.join(BROWSER_S)
    return thread.is_alive() or True in said


@contextlib.contextmanager
def _catching(way: Way) -> Iterator[Catcher | None]:
    """A catcher where the redirect leads to this machine; None: it does not, or the port is not to be had."""
    port = catch_port(way.redirect_url)
    if not port:
        yield None
        return
    try:
        catcher = Catcher(port)
    except OSError as error:
        way.say(
            f"port {port} of {LOOPBACK} cannot be listened on ({error.strerror}): paste the address instead"
        )
        yield None
        return
    with catcher:
        yield catcher


def by_approval(way: Way, port: int) -> Login:
    """Ask for a token that the user approves on his phone; the broker sends it to the notifier address.

    port: of this machine, to which that address leads (a proxy, a tunnel); 0: by the address itself where
    it is of this machine, else the notice is pasted.

    Raises:
        LoginError: it did not come about.
    """
    words, way_of = way.words, way.words.approving
    wanted = port
    catcher = _listening(way, wanted) if wanted else None
    approval = None
    try:
        approval = approval_of(words, way.host, way.api_key, way.api_secret, way.bind)
        if catcher is None and not wanted and (wanted := catch_port(approval.notifier_url)):
            catcher = _listening(way, wanted)
        assert way_of is not None  # approval_of has refused a broker that has no such way
        until = ist_text(approval.until_real_ns)
        way.say(
            f"{words.title} asks the user now, in its app and by WhatsApp, until {until} IST. The token is "
            f"sent to the notifier address of the app: {approval.notifier_url or '(not told)'}"
        )
        way.say(
            f"It is awaited on port {catcher.port} of {LOOPBACK}; what arrives elsewhere can be pasted here."
            if catcher is not None
            else "Paste here what that address received (the JSON, or the token alone), and press Enter."
        )
        awaited = Awaited[Login](
            of_line=lambda line: _login_of_line(way, line),
            of_request=lambda caught: way_of.login_of(caught.body, way.api_key, time.time_ns()),
            say=way.say,
            method="POST",
            path=urlsplit(approval.notifier_url).path or "/",
        )
        return answer_of(awaited, way.pasted, catcher, way.timeout_s)
    finally:
        if catcher is not None:
            catcher.close()


def _listening(way: Way, port: int) -> Catcher | None:
    """For the notice: whoever forwards it may keep the host's name that the broker called."""
    try:
        return Catcher(port, hosts=None)
    except OSError as error:
        way.say(
            f"port {port} of {LOOPBACK} cannot be listened on ({error.strerror}): paste the notice instead"
        )
        return None


def _login_of_line(way: Way, line: str) -> Login:
    now_ns, approving = time.time_ns(), way.words.approving
    if line.startswith("{") and approving is not None:
        return approving.login_of(line.encode(), way.api_key, now_ns)
    return Login(plain_token(line), "", "", way.words.token_end_ns(now_ns))
