"""Layer 6, by hand, cold: how a person gets to a login page: address, QR code, the way from elsewhere."""

from __future__ import annotations

import getpass
import io
import platform
import shlex
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from kite_hft.addresses import is_loopback

PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


def qr_text(url: str) -> str:
    """The address as a QR code of half blocks, dark on light whatever the terminal's colours."""
    import segno  # only where somebody looks

    out = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue().rstrip("\n")


def shows_qr(stream: io.TextIOBase | None = None) -> bool:
    """Whether a QR code can be read where we write: a terminal that shows block characters."""
    out = stream or sys.stdout
    return out.isatty() and (getattr(out, "encoding", "") or "").lower().replace("-", "") == "utf8"


def catch_port(redirect_url: str) -> int:
    """The port on this machine that the redirect leads to; 0: it leads elsewhere, or cannot be caught here.

    https cannot (no certificate), nor can an address of IPv6: pasting always goes.
    """
    try:
        parts = urlsplit(redirect_url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return 0
    v4 = (parts.hostname or "") == "localhost" or (parts.hostname or "").startswith("127.")
    return port if parts.scheme == "http" and is_loopback(redirect_url) and v4 else 0


def no_browser_here(environ: Mapping[str, str]) -> bool:
    """Whether the browser is on another machine: logged in over ssh, or nothing to show windows on."""
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return True
    screen = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    return platform.system() == "Linux" and not screen


def ssh_line(port: int, environ: Mapping[str, str]) -> str:
    """What to type where the browser is, so that the redirect reaches this machine."""
    words = environ.get("SSH_CONNECTION", "").split()
    host, own_port = (words[2], words[3]) if len(words) == 4 else (platform.node() or "HOST", "22")
    other = [] if own_port == "22" else ["-p", own_port]
    return shlex.join(["ssh", *other, "-N", "-L", f"{port}:127.0.0.1:{port}", f"{_user()}@{host}"])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "USER"
