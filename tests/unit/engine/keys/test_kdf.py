"""Keys out of passwords: known answers by the standard library, and bounds on what a header may ask for."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from kite_hft.engine.keys.kdf import (
    ARGON2ID,
    DEFAULTS,
    NAMES,
    NUMBERS,
    PBKDF2,
    SCRYPT,
    BadParameters,
    Kdf,
    chosen,
    derive,
    require_sane,
)

SALT = bytes(range(16))


def key(kdf: Kdf) -> bytes:
    with derive(kdf, SALT, b"password") as found:
        return bytes(found.view)


def test_scrypt_and_pbkdf2_are_those_of_the_standard_library() -> None:
    twin = hashlib.scrypt(b"password", salt=SALT, n=1 << 17, r=8, p=1, maxmem=1 << 28, dklen=32)
    assert key(chosen(SCRYPT)) == twin
    assert key(chosen(PBKDF2)) == hashlib.pbkdf2_hmac("sha256", b"password", SALT, 600_000, 32)


def test_argon2id_takes_every_parameter_as_it_stands() -> None:
    found = key(Kdf(ARGON2ID, 19 * 1024, 2, 1))
    twin = Argon2id(salt=SALT, length=32, iterations=2, lanes=1, memory_cost=19 * 1024)
    assert found == twin.derive(b"password")
    others = [key(Kdf(ARGON2ID, *numbers)) for numbers in ((20480, 2, 1), (19456, 3, 1), (19456, 2, 2))]
    assert len({found, *others}) == 4


def test_defaults_are_at_least_what_is_recommended() -> None:
    assert DEFAULTS[ARGON2ID] == Kdf(ARGON2ID, 65536, 3, 4)
    assert DEFAULTS[SCRYPT] == Kdf(SCRYPT, 131072, 8, 1)
    assert DEFAULTS[PBKDF2].rounds >= 600_000
    assert {NAMES[NUMBERS[name]] for name in DEFAULTS} == set(DEFAULTS)
    for kdf in DEFAULTS.values():
        require_sane(kdf)
        assert str(kdf)


@pytest.mark.parametrize(
    "kdf",
    [
        Kdf(ARGON2ID, 2**32 - 1, 3, 4),  # four terabytes
        Kdf(ARGON2ID, 1 << 20, 16, 4),  # each alone is taken, not both
        Kdf(ARGON2ID, 65536, 3, 5),
        Kdf(ARGON2ID, 19 * 1024 - 1, 3, 1),
        Kdf(ARGON2ID, 65536, 1, 1),
        Kdf(SCRYPT, 1 << 21, 8, 1),
        Kdf(SCRYPT, 1 << 16, 8, 1),
        Kdf(SCRYPT, (1 << 17) + 1, 8, 1),
        Kdf(SCRYPT, 1 << 17, 16, 1),
        Kdf(SCRYPT, 1 << 17, 8, 5),
        Kdf(PBKDF2, 0, 599_999, 0),
        Kdf(PBKDF2, 0, 2**32 - 1, 0),
        Kdf(PBKDF2, 1, 600_000, 0),
        Kdf(PBKDF2, 0, 600_000, 1),
        Kdf("md5", 0, 600_000, 0),
    ],
)
def test_too_much_and_too_little_is_refused(kdf: Kdf) -> None:
    with pytest.raises(BadParameters):
        derive(kdf, SALT, b"password")


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(BadParameters, match="argon2id, scrypt, pbkdf2"):
        chosen("bcrypt")
