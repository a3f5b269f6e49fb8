"""Which broker and profile of the vault a verb means, and how tokens in it stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kite_hft.app.keys.opened import Opened, open_vault, settings_of, token_rows
from kite_hft.engine.keys import vault
from kite_hft.engine.keys.contents import Contents, VaultError, VaultMissing
from kite_hft.settings import Settings

PASSWORD = b"correct horse battery"
NOW_NS = 1_795_150_800 * 10**9  # 2026-11-20 10:30 IST


def opened(path: Path, broker: str | None = None, profile: str | None = None, **settings: str) -> Opened:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, PASSWORD + b"\n")
    os.close(write_fd)
    try:
        return open_vault(Settings.model_validate(settings), broker, profile, file=path, password_fd=read_fd)
    finally:
        os.close(read_fd)


def made(folder: Path, contents: Contents) -> Path:
    path = folder / "keys" / "credentials.vault"
    vault.create(path, PASSWORD, contents, "pbkdf2")
    return path


def test_the_only_broker_of_the_profile_is_meant_else_the_runs(tmp_path: Path) -> None:
    path = made(tmp_path, {"kite/default": {"api_key": "k"}, "upstox/default": {"api_key": "u"},
                           "upstox/second": {"api_key": "s"}})  # fmt: skip
    assert opened(path, profile="second").section == "upstox/second"
    assert opened(path).section == "kite/default"
    assert opened(path, broker="upstox").needed("api_key") == "u"
    held = opened(path, profile="third")
    with pytest.raises(VaultError, match=r"kite/third has no api_key.*kite-hft credentials --broker kite"):
        held.needed("api_key")
    assert "correct horse" not in repr(held) and "'k'" not in repr(held)


def test_what_is_kept_is_there_for_everybody_and_nothing_else_changes(tmp_path: Path) -> None:
    path = made(tmp_path, {"kite/default": {"api_key": "k", "access_token": "old"}})
    held = opened(path)
    vault.update(path, PASSWORD, lambda contents: contents["kite/default"].update(user_id="AB1234"))
    held.keep({"access_token": "new", "totp_secret": ""})
    wanted = {"api_key": "k", "access_token": "new", "user_id": "AB1234"}
    assert vault.read(path, PASSWORD)["kite/default"] == wanted == held.values
    held.keep({}, dropped=("access_token", "never_there"))
    assert "access_token" not in vault.read(path, PASSWORD)["kite/default"]


def test_no_vault_is_said_before_a_password_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(VaultMissing):
        open_vault(Settings(), None, None, file=tmp_path / "keys" / "none.vault", password_fd=999)


def test_tokens_and_their_ends() -> None:
    rows = token_rows(
        {
            "kite/default": {"access_token": "t", "access_token_until": "2026-11-21T06:00:00+05:30",
                             "user_id": "A"},
            "upstox/default": {"access_token": "t", "access_token_until": "2026-11-20T03:30:00+05:30",
                               "sandbox_token": "s"},
            "upstox/none": {"api_key": "u"},
        },
        NOW_NS,
    )  # fmt: skip
    assert [(r["broker"], r["token"], r["good"], r["left_s"]) for r in rows] == [
        ("kite", "access_token", True, 19 * 3600 + 1800),
        ("upstox", "access_token", False, 0),
        ("upstox", "sandbox_token", False, None),  # nobody said its end: it is not counted on
    ]
    assert "'t'" not in str(rows)


def test_the_configuration_is_the_named_one_or_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_of(None).broker == "kite"
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("broker: upstox\n")
    assert settings_of(None).broker == "upstox"
    (tmp_path / "other.yaml").write_text("broker: kite\n")
    assert settings_of(tmp_path / "other.yaml").broker == "kite"
