"""Layer 6, campaigns, cold: a vault whose bits somebody changed: each flip, each cut, each absurd header.

Twice: as a disk would damage it (the checksum no longer fits), and as an attacker would (he makes a new
checksum): then the tag of the encryption has to notice. Keys are derived for real, each pair of parameters
and salt once.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kite_hft.engine.keys.contents import Contents, VaultError
from kite_hft.engine.keys.kdf import ARGON2ID, NUMBERS, PBKDF2, SCRYPT, Kdf, derive
from kite_hft.engine.keys.private import Private
from kite_hft.engine.keys.sealed import CHECKSUM, HEADER, MAGIC, VERSION, seal, unseal
from kite_hft.engine.keys.vault import read
from kite_hft.verify.campaign import show_progress

PASSWORD: Final = b"correct horse battery"
CONTENTS: Final[Contents] = {
    "kite/default": {"api_key": "canary-key-0001", "api_secret": "canary-secret-0002"},
    "upstox/second": {"access_token": "canary-token-0003", "access_token_until": "2026-11-22T03:30:00+05:30"},
}
SALT: Final = bytes(range(16))
NONCE: Final = bytes(range(100, 112))


@dataclass(slots=True)
class Tally:
    """Attempts of a kind, and those that were not refused as they must be. wrong: how to see it again."""

    tried: int = 0
    wrong: list[str] = field(default_factory=list)

    def expect_refused(self, what: str, act: Callable[[], object]) -> None:
        """`act` must end with VaultError, and nothing else."""
        self.tried += 1
        try:
            act()
        except VaultError:
            return
        except BaseException as error:
            self.wrong.append(f"{what}: {type(error).__name__}: {error}")
            if isinstance(error, KeyboardInterrupt):
                raise
            return
        self.wrong.append(f"{what}: accepted")

    def expect(self, what: str, *, right: bool) -> None:
        """One thing that must be so."""
        self.tried += 1
        if not right:
            self.wrong.append(what)

    def row(self) -> dict[str, object]:
        return {"tried": self.tried, "wrong": self.wrong[:20]}


class Derived:
    """`derive`, each key once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Kdf, bytes, bytes], bytes] = {}
        self.calls = 0

    def __call__(self, kdf: Kdf, salt: bytes, password: bytes) -> Private:
        self.calls += 1
        at = (kdf, salt, password)
        if at not in self._known:
            with derive(kdf, salt, password) as key:
                self._known[at] = bytes(key.view)
        found = Private(len(self._known[at]))
        found.view[:] = self._known[at]
        return found


def sample(kdf: Kdf) -> bytes:
    """A vault's bytes."""
    with derive(kdf, SALT, PASSWORD) as key:
        return seal(CONTENTS, kdf, SALT, NONCE, key)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def with_checksum(data: bytes) -> bytes:
    """The file as somebody leaves it who knows its format and not its password."""
    body = data[: -CHECKSUM.size]
    return body + CHECKSUM.pack(zlib.crc32(body))


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.chmod(path, 0o600)


def flips_on_disk(folder: Path, kdf: Kdf) -> Tally:
    """Every bit of the file, changed on the disk, through `vault.read`."""
    tally, data, path = Tally(), sample(kdf), folder / "flips.vault"
    put(path, data)
    if read(path, PASSWORD) != CONTENTS:
        tally.wrong.append("the file as it was written is read otherwise")
    for bit in range(len(data) * 8):
        put(path, flipped(data, bit))
        tally.expect_refused(f"{kdf.name}: bit {bit}", lambda: read(path, PASSWORD))
    path.unlink()
    return tally


def forged_flips(kdf: Kdf, only: int | None = None) -> Tally:
    """Every bit that the checksum covers, with a checksum that fits. only: this bit alone."""
    tally, data, known = Tally(), sample(kdf), Derived()
    bits = range((len(data) - CHECKSUM.size) * 8) if only is None else (only,)
    for bit in bits:
        forged = with_checksum(flipped(data, bit))
        tally.expect_refused(f"--kdf {kdf.name} --flip {bit}", lambda f=forged: unseal(f, PASSWORD, known))  # type: ignore[misc]
        show_progress(bit + 1, len(bits), f"bits of a vault by {kdf.name}")
    return tally


def cuts(folder: Path, kdf: Kdf) -> Tally:
    """Every length but the right one: on the disk, and with a checksum that fits."""
    tally, data, path, known = Tally(), sample(kdf), folder / "cuts.vault", Derived()
    for n in range(len(data)):
        put(path, data[:n])
        tally.expect_refused(f"cut to {n}", lambda: read(path, PASSWORD))
        if n > CHECKSUM.size:
            forged = with_checksum(data[:n])
            tally.expect_refused(f"cut to {n}, sealed", lambda f=forged: unseal(f, PASSWORD, known))  # type: ignore[misc]
    for more in (b"\0", data[-4:], data):
        put(path, data + more)
        tally.expect_refused(f"{len(more)} bytes behind it", lambda: read(path, PASSWORD))
        longer = with_checksum(data + more)
        tally.expect_refused("longer, sealed", lambda f=longer: unseal(f, PASSWORD, known))  # type: ignore[misc]
    path.unlink()
    return tally


def absurd_kdfs() -> Iterator[Kdf]:
    """What no file of ours asks for."""
    top = 2**32 - 1
    argon2 = [(top, 3, 4), (65536, top, 4), (65536, 3, 255), (65536, 0, 4), (0, 3, 4), (65536, 3, 0),
              (1 << 20, 16, 1), (8, 1, 1), (19456, 1, 1)]  # fmt: skip
    scrypt = [(top, 8, 1), (1 << 31, 8, 1), (1 << 17, top, 1), (1 << 17, 8, 255), (1 << 14, 8, 1),
              (131073, 8, 1), (0, 8, 1), (1, 8, 1), (1 << 17, 0, 1), (1 << 17, 8, 0)]  # fmt: skip
    pbkdf2 = [(0, top, 0), (0, 599_999, 0), (0, 1, 0), (0, 0, 0), (1, 600_000, 0), (0, 600_000, 1)]
    for name, rows in ((ARGON2ID, argon2), (SCRYPT, scrypt), (PBKDF2, pbkdf2)):
        for cost, rounds, lanes in rows:
            yield Kdf(name, cost, rounds, lanes)


def absurd_headers(kdf: Kdf) -> Tally:
    """Headers that ask for too much or too little: refused before a key is derived."""
    tally, data, known = Tally(), sample(kdf), Derived()
    for asked in absurd_kdfs():
        header = HEADER.pack(MAGIC, VERSION, NUMBERS[asked.name], asked.lanes, asked.cost, asked.rounds, SALT,
                             NONCE, len(data) - HEADER.size - CHECKSUM.size)  # fmt: skip
        forged = with_checksum(header + data[HEADER.size :])
        tally.expect_refused(str(asked), lambda f=forged: unseal(f, PASSWORD, known))  # type: ignore[misc]
    tally.expect("a key was derived for an absurd header", right=known.calls == 0)
    return tally


def wrong_passwords(kdf: Kdf) -> Tally:
    """Close ones."""
    tally, data = Tally(), sample(kdf)
    close = [b"", PASSWORD[:-1], PASSWORD + b" ", PASSWORD + b"\0", PASSWORD.upper(), PASSWORD + b"\n",
             b" " + PASSWORD, PASSWORD[::-1], "corréct horse battery".encode()]  # fmt: skip
    for password in close:
        tally.expect_refused(repr(password), lambda p=password: unseal(data, p))  # type: ignore[misc]
    return tally
