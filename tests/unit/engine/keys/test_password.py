"""Where the master password comes from, and in which order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kite_hft.engine.keys import password
from kite_hft.engine.keys.password import NoPassword, clean, find_password, from_systemd, require_good

KEYRING = """
import ctypes, os, sys
from kite_hft.engine.keys.password import KEYRING_NAME, SYSCALLS, find_password, from_keyring
add_key = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
if from_keyring():
    sys.exit(77)  # this user keeps a real one
word = b"from the keyring\\n"
syscall = ctypes.CDLL(None, use_errno=True).syscall
if syscall(add_key, b"user", KEYRING_NAME.encode(), word, len(word), -2) < 0:  # of this process alone
    sys.exit(f"add_key: {os.strerror(ctypes.get_errno())}")
found = find_password(fd=None, prompt=lambda: "typed", environ={})
passed_over = find_password(fd=None, prompt=lambda: "typed", environ={}, keyring=False)
print(found, passed_over)
"""


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "from_keyring", lambda: b"")


def typed(word: str) -> Callable[[], str]:
    return lambda: word


def never() -> str:
    raise AssertionError("somebody was asked")


def piped(data: bytes) -> int:
    out, into = os.pipe()
    os.write(into, data)
    os.close(into)
    return out


def test_a_descriptor_comes_first_and_only_its_first_line_is_read(tmp_path: Path) -> None:
    (tmp_path / "kite_hft-master").write_text("from systemd")
    fd = piped(b"from fd\r\napi_key=next\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "KITE_MASTER_PASSWORD": "x"}
    assert find_password(fd=fd, prompt=never, environ=environ) == b"from fd"
    assert os.read(fd, 100) == b"api_key=next\n"
    os.close(fd)


@pytest.mark.parametrize("data", [b"", b"\n", b"\nsecond"])
def test_an_empty_descriptor_is_no_reason_to_ask(data: bytes) -> None:
    fd = piped(data)
    with pytest.raises(NoPassword, match=f"descriptor {fd}"):
        find_password(fd=fd, prompt=never, environ={"KITE_MASTER_PASSWORD": "x"})
    os.close(fd)
    with pytest.raises(NoPassword, match="not open"):
        find_password(fd=fd, prompt=never, environ={})


def test_systemd_before_the_prompt(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_password(fd=None, prompt=typed("by hand"), environ=environ) == b"by hand"
    held = tmp_path / "kite_hft-master"
    held.write_text("from systemd\n")
    assert find_password(fd=None, prompt=never, environ=environ) == b"from systemd"
    held.write_text("\n")
    with pytest.raises(NoPassword, match="empty"):
        from_systemd(environ)


def test_systemd_before_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service was given is meant for it; the keyring is the user's, for whatever runs."""
    monkeypatch.setattr(password, "from_keyring", lambda: b"from the keyring")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_password(fd=None, prompt=never, environ=environ) == b"from the keyring"
    (tmp_path / "kite_hft-master").write_text("from systemd\n")
    assert find_password(fd=None, prompt=never, environ=environ) == b"from systemd"


def test_the_keyring_before_the_prompt() -> None:
    done = subprocess.run([sys.executable, "-c", KEYRING], capture_output=True, text=True, check=False)
    if done.returncode == 77 or "add_key: Function not implemented" in done.stderr:
        pytest.skip("no kernel keyring here, or a real master password in it")
    assert done.stdout.strip() == "b'from the keyring' b'typed'", done.stderr


def test_the_environment_warns_and_nobody_is_asked() -> None:
    said: list[str] = []
    environ = {"KITE_MASTER_PASSWORD": "lying open"}
    for prompt in (None, never):
        assert find_password(fd=None, prompt=prompt, environ=environ, say=said.append) == b"lying open"
    assert len(said) == 2 and "unset KITE_MASTER_PASSWORD" in said[0] and "lying open" not in said[0]
    empty = {"KITE_MASTER_PASSWORD": ""}
    assert find_password(fd=None, prompt=typed("by hand"), environ=empty, say=said.append) == b"by hand"
    assert len(said) == 2


def test_without_a_source_all_are_named() -> None:
    with pytest.raises(NoPassword) as told:
        find_password(fd=None, prompt=None, environ={})
    for word in ("--password-fd", "kite_hft-master", "kite_hft:master", "prompt"):
        assert word in str(told.value)


def test_the_same_word_is_the_same_bytes() -> None:
    composed, decomposed = "p\u00e9che", "pe\u0301che"
    assert clean(decomposed.encode()) == composed.encode()
    assert find_password(fd=None, prompt=typed(decomposed), environ={}) == composed.encode()
    assert clean(b"\xff\xfe\n") == b"\xff\xfe"
    assert clean(b" a b \r\n") == b" a b "


@pytest.mark.parametrize("word", ["", "short", "aaaaaaaaaaaaaa", "abababababab"])
def test_a_new_password_is_not_guessed_at_once(word: str) -> None:
    with pytest.raises(NoPassword, match="at least 10"):
        require_good(word.encode())
    require_good(b"correct horse")


def test_what_is_too_long_is_refused_whole(tmp_path: Path) -> None:
    fd = piped(b"x" * 4000 + b"\n")
    with pytest.raises(NoPassword, match="longer than 1,024 bytes"):
        find_password(fd=fd, prompt=never, environ={})
    os.close(fd)
    with pytest.raises(NoPassword, match="at most 1,024 bytes"):
        require_good(b"correct horse " * 100)
    with pytest.raises(NoPassword, match="is not open"):
        find_password(fd=99999999999999, prompt=never, environ={})
