"""The bytes of a vault: every bit counts."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib

import pytest
from vault_tools import CONTENTS, PASSWORD

from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.kdf import DEFAULTS, PBKDF2, Kdf, derive
from kite_hft.engine.keys.private import Private
from kite_hft.engine.keys.sealed import (
    CHECKSUM,
    HEADER,
    MAGIC,
    NONCE_BYTES,
    Header,
    read_header,
    seal,
    unseal,
)

SALT, NONCE = bytes(range(16)), bytes(range(NONCE_BYTES))
KDF = DEFAULTS[PBKDF2]


def quick_key(kdf: Kdf, salt: bytes, password: bytes) -> Private:
    found = Private(32)
    found.view[:] = hashlib.sha256(repr((kdf, salt, password)).encode()).digest()
    return found


def sealed(kdf: Kdf = KDF) -> bytes:
    with quick_key(kdf, SALT, PASSWORD) as key:
        return seal(CONTENTS, kdf, SALT, NONCE, key)


def refits(data: bytes) -> bytes:
    body = data[: -CHECKSUM.size]
    return body + CHECKSUM.pack(zlib.crc32(body))


@pytest.mark.parametrize("kdf", DEFAULTS.values(), ids=str)
def test_every_single_bit_counts_damaged_or_forged(kdf: Kdf) -> None:
    data = sealed(kdf)
    contents, header, key = unseal(data, PASSWORD, quick_key)
    assert contents == CONTENTS and header.kdf == kdf and not key.close()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(VaultError):
            unseal(bytes(changed), PASSWORD, quick_key)
        if bit < (len(data) - CHECKSUM.size) * 8:
            with pytest.raises(VaultError):
                unseal(refits(bytes(changed)), PASSWORD, quick_key)


def test_every_length_but_the_right_one_is_refused() -> None:
    data = sealed()
    for n in range(len(data)):
        for found in (data[:n], refits(data[:n])) if n > 4 else (data[:n],):
            with pytest.raises(VaultError):
                unseal(found, PASSWORD, quick_key)
    for more in (b"\0", data):
        for found in (data + more, refits(data + more)):
            with pytest.raises(VaultError):
                unseal(found, PASSWORD, quick_key)


def test_each_field_of_the_header_is_authenticated() -> None:
    """The same key, another header: the tag refuses it."""
    data = sealed()
    header = read_header(data)
    for change in (
        {"kdf": Kdf(PBKDF2, 0, 600_001, 0)},
        {"salt": SALT[::-1]},
        {"nonce": NONCE[::-1]},
    ):
        other = dataclasses.replace(header, **change).packed() + data[HEADER.size :]
        with pytest.raises(VaultError, match="password is wrong"):
            unseal(refits(other), PASSWORD, lambda *_: quick_key(KDF, SALT, PASSWORD))


def test_an_absurd_header_takes_no_memory() -> None:
    """Four terabytes are refused before any derivation is begun."""

    def never(*_: object) -> Private:
        raise AssertionError("a key was derived")

    data = sealed()
    for kdf in (
        Kdf("argon2id", 2**32 - 1, 3, 4),
        Kdf("scrypt", 1 << 31, 8, 1),
        Kdf("pbkdf2", 0, 2**32 - 1, 0),
    ):
        asked = Header(kdf, SALT, NONCE, read_header(data).length).packed() + data[HEADER.size :]
        with pytest.raises(VaultError, match="refused"):
            unseal(refits(asked), PASSWORD, never)


def test_troubles_are_told_apart() -> None:
    data = sealed()
    for found, words in (
        (b"gAAAAAB" + data, "no vault of kite_hft"),
        (data[:30], "cut off"),
        (data[:-1] + bytes([data[-1] ^ 1]), "checksum"),
        (refits(MAGIC + b"\x02\x00" + data[10:]), "version 2"),
        (refits(data[:10] + b"\x09" + data[11:]), "key derivation 9"),
    ):
        with pytest.raises(VaultError, match=words):
            unseal(found, PASSWORD, quick_key)
    with pytest.raises(VaultError, match="master password is wrong"):
        unseal(data, b"another", quick_key)


@pytest.mark.parametrize(
    "contents",
    [
        {"kite": {"api_key": "x"}},
        {"zerodha/default": {"api_key": "x"}},
        {"kite/de fault": {"api_key": "x"}},
        {"kite/default": {"API": "x"}},
        {"kite/default": {"api_key": ""}},
        {"kite/default": {"api_key": "a\nb"}},
        {"kite/default": {"api_key": "x" * 9000}},
    ],
)
def test_what_does_not_belong_there_is_not_sealed(contents: dict[str, dict[str, str]]) -> None:
    with quick_key(KDF, SALT, PASSWORD) as key, pytest.raises(VaultError) as told:
        seal(contents, KDF, SALT, NONCE, key)
    assert "a\nb" not in str(told.value)


def test_no_two_passwords_open_one_vault() -> None:
    """HMAC pads a short key with zero bytes: PBKDF2 and scrypt cannot tell the two apart, we do."""
    with derive(KDF, SALT, PASSWORD) as key:
        data = seal(CONTENTS, KDF, SALT, NONCE, key)
    assert not unseal(data, PASSWORD)[2].close()
    with pytest.raises(VaultError, match="zero byte"):
        unseal(data, PASSWORD + b"\0")
    with pytest.raises(VaultError, match="needs a master password"):
        unseal(data, b"")
