"""The vault's campaign notices a vault that lets anything through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vault_tools import quick

from kite_hft.engine.keys import sealed, vault
from kite_hft.engine.keys.kdf import PBKDF2, chosen
from kite_hft.verify.keys import bits, creds, places


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


def test_a_sound_vault_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert creds.main(["--kdf", "pbkdf2"]) == 0
    told = json.loads(capsys.readouterr().out)
    size = len(bits.sample(chosen(PBKDF2)))
    assert told["ok"] and told["bits_flipped"] == (2 * size - sealed.CHECKSUM.size) * 8
    assert "replay" not in told


def test_a_miss_names_its_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bits, "unseal", lambda *_: None)
    assert creds.main(["--kdf", "pbkdf2", "--flip", "7"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["replay"] == "python -m kite_hft.verify creds --kdf pbkdf2 --flip 7"


def in_place(folder: int, path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data[:9])
        vault.os.fsync(file.fileno())
        file.write(data[9:])


@pytest.mark.parametrize(
    ("module", "name", "broken", "part"),
    [
        (sealed, "require_sane", lambda kdf: None, lambda folder: bits.absurd_headers(chosen(PBKDF2))),
        (vault, "_require_ours", lambda *_: None, lambda folder: places.modes(folder)),
        (vault, "_require_ours", lambda *_: None, lambda folder: places.strange_files(folder)[0]),
        (vault, "_READ", vault._READ & ~vault.os.O_NOFOLLOW, lambda folder: places.strange_files(folder)[0]),
        (vault, "_replace", in_place, lambda folder: places.failures(folder)),
        (vault.secrets, "token_bytes", lambda n: bytes(n), lambda folder: places.writes(folder)),
    ],
)
def test_each_protection_that_is_taken_away_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, broken: Any,
    part: Callable[[Path], bits.Tally],
) -> None:  # fmt: skip
    assert not part(tmp_path).wrong
    monkeypatch.setattr(module, name, broken)
    assert part(tmp_path).wrong


def test_a_header_outside_the_encryption_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Salt and nonce still count then; what nobody derives from, the length's bits and such, would not."""

    class Blind:
        def __init__(self, key: Any) -> None:
            self._aead = real(key)

        def encrypt(self, nonce: bytes, text: bytes, header: bytes) -> bytes:
            return self._aead.encrypt(nonce, text, None)

        def decrypt_into(self, nonce: bytes, text: Any, header: bytes, out: Any) -> int:
            return self._aead.decrypt_into(nonce, text, None, out)

    real = sealed.AESGCM
    monkeypatch.setattr(sealed, "AESGCM", Blind)
    monkeypatch.setattr(bits, "derive", lambda kdf, salt, password: fixed())
    monkeypatch.setattr(sealed, "require_sane", lambda kdf: None)
    assert bits.forged_flips(chosen(PBKDF2)).wrong


def fixed() -> Any:
    found = bits.Private(32)
    found.view[:] = bytes(range(32))
    return found
