"""Layer 5, keys, cold: a key out of a master password: Argon2id, scrypt or PBKDF2.

The parameters stand in the header of the vault, so that a file can always be opened with what it was made
with. A header is read before anything proves that it is ours: what asks for absurd work, or for too
little of it, is refused before a byte of memory is taken.

Defaults: Argon2id with 64 MiB, three passes and four lanes (RFC 9106 section 4, second choice), scrypt
2^17/8/1 and PBKDF2-SHA256 with 600,000 rounds (OWASP Password Storage Cheat Sheet).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from kite_hft.engine.keys.private import Private

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
ARGON2ID: Final = "argon2id"
SCRYPT: Final = "scrypt"
PBKDF2: Final = "pbkdf2"
NUMBERS: Final[Mapping[str, int]] = {ARGON2ID: 1, SCRYPT: 2, PBKDF2: 3}
"""How a derivation is called in the header."""
NAMES: Final = {number: name for name, number in NUMBERS.items()}
KIB: Final = 1024
ARGON2_KIB_MIN, ARGON2_KIB_MAX = 19 * KIB, 1024 * KIB
ARGON2_PASSES_MIN, ARGON2_PASSES_MAX = 2, 16
ARGON2_WORK_KIB_MAX: Final = 2048 * KIB
"""Memory times passes: some seconds."""
LANES_MAX: Final = 4
SCRYPT_COST_MIN, SCRYPT_COST_MAX = 1 << 17, 1 << 20
SCRYPT_BLOCK: Final = 8
PBKDF2_ROUNDS_MIN, PBKDF2_ROUNDS_MAX = 600_000, 20_000_000


class BadParameters(ValueError):
    """No derivation that is carried out; the message says which number, and what is taken."""


@dataclass(frozen=True, slots=True)
class Kdf:
    """A derivation with its parameters.

    cost: Argon2id memory in KiB; scrypt N; PBKDF2 0. rounds: Argon2id passes; scrypt block size r; PBKDF2
    iterations. lanes: Argon2id and scrypt parallelism; PBKDF2 0.
    """

    name: str
    cost: int
    rounds: int
    lanes: int

    def __str__(self) -> str:
        if self.name == ARGON2ID:
            return f"Argon2id, {self.cost / KIB:g} MiB, {self.rounds} passes, {self.lanes} lane(s)"
        if self.name == SCRYPT:
            return f"scrypt, N {self.cost:,}, r {self.rounds}, p {self.lanes}"
        return f"PBKDF2-SHA256, {self.rounds:,} iterations"


DEFAULTS: Final[Mapping[str, Kdf]] = {
    ARGON2ID: Kdf(ARGON2ID, 64 * KIB, 3, 4),
    SCRYPT: Kdf(SCRYPT, 1 << 17, SCRYPT_BLOCK, 1),
    PBKDF2: Kdf(PBKDF2, 0, PBKDF2_ROUNDS_MIN, 0),
}


def chosen(name: str) -> Kdf:
    """The derivation of this name as new files have it.

    Raises:
        BadParameters: there is none.
    """
    if name not in DEFAULTS:
        raise BadParameters(f"no key derivation {name!r}; there are {', '.join(DEFAULTS)}")
    return DEFAULTS[name]


def require_sane(kdf: Kdf) -> None:
    """Refuse what is too little to protect, or so much that it would take the machine.

    Raises:
        BadParameters: names the number and its bounds.
    """
    if kdf.name == ARGON2ID:
        _within("memory in KiB", kdf.cost, ARGON2_KIB_MIN, ARGON2_KIB_MAX)
        _within("passes", kdf.rounds, ARGON2_PASSES_MIN, ARGON2_PASSES_MAX)
        _within("lanes", kdf.lanes, 1, LANES_MAX)
        _within("memory times passes in KiB", kdf.cost * kdf.rounds, ARGON2_KIB_MIN, ARGON2_WORK_KIB_MAX)
    elif kdf.name == SCRYPT:
        _within("N", kdf.cost, SCRYPT_COST_MIN, SCRYPT_COST_MAX)
        if kdf.cost & (kdf.cost - 1):
            raise BadParameters(f"scrypt N {kdf.cost:,} is no power of two")
        _within("r", kdf.rounds, SCRYPT_BLOCK, SCRYPT_BLOCK)
        _within("p", kdf.lanes, 1, LANES_MAX)
    elif kdf.name == PBKDF2:
        _within("iterations", kdf.rounds, PBKDF2_ROUNDS_MIN, PBKDF2_ROUNDS_MAX)
        _within("memory", kdf.cost, 0, 0)
        _within("lanes", kdf.lanes, 0, 0)
    else:
        raise BadParameters(f"no key derivation {kdf.name!r}; there are {', '.join(DEFAULTS)}")


def _within(what: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        raise BadParameters(f"{what} {found:,} is not within {least:,} to {most:,}")


def derive(kdf: Kdf, salt: bytes, password: bytes) -> Private:
    """The key (32 bytes) in memory of our own; whoever gets it closes it.

    Raises:
        BadParameters: see `require_sane`.
    """
    require_sane(kdf)
    key = Private(KEY_BYTES)
    try:
        if kdf.name == ARGON2ID:
            Argon2id(
                salt=salt, length=KEY_BYTES, iterations=kdf.rounds, lanes=kdf.lanes, memory_cost=kdf.cost
            ).derive_into(password, key.view)
        elif kdf.name == SCRYPT:
            Scrypt(salt=salt, length=KEY_BYTES, n=kdf.cost, r=kdf.rounds, p=kdf.lanes).derive_into(
                password, key.view
            )
        else:
            PBKDF2HMAC(
                algorithm=hashes.SHA256(), length=KEY_BYTES, salt=salt, iterations=kdf.rounds
            ).derive_into(password, key.view)
    except BaseException:
        key.close()
        raise
    return key
