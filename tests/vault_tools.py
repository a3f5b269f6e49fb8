"""What tests of the vault share: a derivation that costs nothing, and a place for a vault."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.keys import kdf

PASSWORD = b"correct horse battery"
CONTENTS = {
    "kite/default": {"api_key": "key-of-kite", "access_token": "token-of-kite"},
    "upstox/second": {"access_token": "token-of-upstox"},
}


class QuickPbkdf2:
    """In the place of PBKDF2HMAC: depends on all that it depends on."""

    def __init__(self, algorithm: Any, length: int, salt: bytes, iterations: int) -> None:
        self._seed = f"{iterations} {length} ".encode() + salt

    def derive_into(self, password: bytes, out: memoryview) -> int:
        out[:] = hashlib.sha256(self._seed + password).digest()
        return len(out)


def quick(patch: pytest.MonkeyPatch) -> None:
    """PBKDF2 at once: for tests of all that is around it."""
    patch.setattr(kdf, "PBKDF2HMAC", QuickPbkdf2)


def place(folder: Path) -> Path:
    """Where a vault may lie."""
    return folder / "kite_hft" / "credentials.vault"
