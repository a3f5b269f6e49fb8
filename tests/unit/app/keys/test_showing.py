"""How a person gets to the page: which redirects can be caught, where a browser is, the way by ssh."""

from __future__ import annotations

import io
import shlex

import pytest

from kite_hft.app.keys import showing
from kite_hft.app.keys.showing import catch_port, no_browser_here, qr_text, shows_qr, ssh_line


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:8765/", 8765),
        ("http://127.0.0.1/", 80),
        ("http://localhost:5000/back", 5000),
        ("https://127.0.0.1:5000/", 0),  # no certificate
        ("http://[::1]:5000/", 0),
        ("https://example.com/", 0),
        ("http://127.0.0.1:99999/", 0),
        ("", 0),
    ],
)
def test_only_a_plain_redirect_to_this_machine_is_caught(url: str, port: int) -> None:
    assert catch_port(url) == port


def test_a_browser_is_not_here_over_ssh_or_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing.platform, "system", lambda: "Linux")
    assert no_browser_here({}) and no_browser_here({"DISPLAY": ":0", "SSH_CONNECTION": "a 1 b 22"})
    assert not no_browser_here({"DISPLAY": ":0"}) and not no_browser_here({"WAYLAND_DISPLAY": "w"})
    monkeypatch.setattr(showing.platform, "system", lambda: "Darwin")
    assert not no_browser_here({})


def test_the_line_for_ssh_names_port_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing.getpass, "getuser", lambda: "asha")
    line = ssh_line(8765, {"SSH_CONNECTION": "10.0.0.9 50000 10.0.0.7 22"})
    assert line == "ssh -N -L 8765:127.0.0.1:8765 asha@10.0.0.7"
    assert "-p 2222" in ssh_line(8765, {"SSH_CONNECTION": "10.0.0.9 50000 10.0.0.7 2222"})
    monkeypatch.setattr(showing.platform, "node", lambda: "box; rm -rf ~")
    assert shlex.split(ssh_line(1, {}))[-1] == "asha@box; rm -rf ~", "one word for a shell"


def test_a_qr_code_fits_a_terminal() -> None:
    lines = qr_text("https://kite.zerodha.com/connect/login?v=3&api_key=" + "k" * 16).splitlines()
    assert len(lines) < 30 and any("█" in line or "▄" in line for line in lines)
    assert not shows_qr(io.StringIO())  # type: ignore[arg-type]
