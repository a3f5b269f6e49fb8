"""Keys out of `.env` files and of the older design's encrypted file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.old_files import NAMES, env_lines, is_fernet, read_env, read_fernet
from kite_hft.verify.keys.creds import (
    OLD_CONTENTS,
    OLD_PASSWORD,
    OLD_SALT,
    OLD_TOKEN,
    old_files,
)

ENV = """
# keys
KITE_API_KEY=abc123
export KITE_API_SECRET="s3 # cret"   # quoted
ZERODHA_ACCESS_TOKEN='tok'
KITE_USER_ID = AB1234
KITE_PASSWORD=hunter2
KITE_TOTP_SECRET=TESTTESTTESTTEST
UPSTOX_ACCESS_TOKEN=up#stox # the rest
SANDBOX_ACCESS_TOKEN=sand
UPSTOX_API_KEY=your_api_key_here
UPSTOX_REDIRECT_URI=http://127.0.0.1:5000/
KITE_TELEGRAM_TOKEN=1:x
LOG_LEVEL=debug
not a line
"""


def made(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / ".env"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_an_env_file_is_taken_by_its_names(tmp_path: Path) -> None:
    found = read_env(made(tmp_path, ENV), "main")
    assert found.contents == {
        "kite/main": {"api_key": "abc123", "api_secret": "s3 # cret", "access_token": "tok",
                      "user_id": "AB1234"},
        "upstox/main": {"access_token": "up#stox", "sandbox_token": "sand",
                        "redirect_url": "http://127.0.0.1:5000/"},
        "alerts/main": {"telegram_bot_token": "1:x"},
    }  # fmt: skip
    left = " ".join(found.left_out)
    for name in ("KITE_PASSWORD", "KITE_TOTP_SECRET", "UPSTOX_API_KEY (not filled in)"):
        assert name in left
    assert "hunter2" not in left and "LOG_LEVEL" not in left and not found.warnings


def test_login_secrets_come_only_when_asked_for(tmp_path: Path) -> None:
    found = read_env(made(tmp_path, ENV), "main", login_secrets=True)
    assert found.contents["kite/main"]["password"] == "hunter2"
    assert found.contents["kite/main"]["totp_secret"] == "TESTTESTTESTTEST"


@pytest.mark.parametrize(
    "name",
    ["KITE_API_KEY", "KITE_API_SECRET", "KITE_USER_ID", "KITE_PASSWORD", "KITE_TOTP_SECRET",
     "ZERODHA_API_KEY", "ZERODHA_API_SECRET", "ZERODHA_ACCESS_TOKEN", "UPSTOX_ACCESS_TOKEN",
     "LIVE_ACCESS_TOKEN", "SANDBOX_ACCESS_TOKEN"],
)  # fmt: skip
def test_the_promised_names_are_known(name: str) -> None:
    assert name in NAMES


def test_others_who_could_read_it_are_told(tmp_path: Path) -> None:
    (line,) = read_env(made(tmp_path, ENV, 0o644), "main").warnings
    assert "0644" in line and "make new keys" in line


def test_a_file_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="no key of a broker"):
        read_env(made(tmp_path, "A=1\n"), "main")
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(VaultError, match="neither"):
        read_env(path, "main")
    with pytest.raises(VaultError, match="No such file"):
        is_fernet(tmp_path / "absent")


def test_the_last_line_of_a_name_wins() -> None:
    assert env_lines("A=1\nA=2\nB=\n#C=3\nD=' '\n") == {"A": "2", "B": "", "D": " "}


def test_the_older_designs_file_is_read_once_and_by_a_vector(tmp_path: Path) -> None:
    assert not old_files(tmp_path).wrong
    path, salt = tmp_path / "credentials.encrypted", tmp_path / "salt of another name"
    path.write_bytes(OLD_TOKEN + b"\n")
    salt.write_bytes(OLD_SALT)
    found = read_fernet(path, OLD_PASSWORD, "default", salt=salt, login_secrets=True)
    assert found.contents["kite/default"] == OLD_CONTENTS["kite/default"] | {
        "password": "oldpass", "totp_secret": "OLDTOTP"
    }  # fmt: skip
    assert found.contents["alerts/default"] == OLD_CONTENTS["alerts/default"] and not found.left_out
    with pytest.raises(VaultError, match="--salt FILE"):
        read_fernet(path, OLD_PASSWORD, "default")
