"""Layer 5, keys, cold: the bytes of a vault: a header, what is encrypted, a checksum. No file, no clock.

    0   8  magic                    header: 52 bytes, all of it associated data of the encryption:
    8   2  version                  whoever changes one bit of it changes the tag
    10  1  key derivation           1 Argon2id, 2 scrypt, 3 PBKDF2-SHA256
    11  1  lanes
    12  4  cost                     see kdf.Kdf
    16  4  rounds
    20 16  salt                     random, new with each password
    36 12  nonce                    random, new with each write (NIST SP 800-38D, 8.2.2)
    48  4  length of what follows, with its tag
    52  n  AES-256-GCM of the contents as JSON, then the 16 bytes of its tag
        4  CRC-32 of all bytes before it

Integers are little-endian. The checksum protects from nobody: it tells a damaged disk from a wrong
password, which the tag alone cannot.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kite_hft.engine.keys.contents import Contents, VaultError, check_contents, require_password
from kite_hft.engine.keys.kdf import NAMES, NUMBERS, SALT_BYTES, BadParameters, Kdf, derive, require_sane
from kite_hft.engine.keys.private import Private

MAGIC: Final = b"KHFTVLT\n"
VERSION: Final = 1
HEADER: Final = struct.Struct("<8sHBBII16s12sI")
CHECKSUM: Final = struct.Struct("<I")
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
BYTES_MAX: Final = 1 << 20

Derive = Callable[[Kdf, bytes, bytes], Private]


@dataclass(frozen=True, slots=True)
class Header:
    """What stands in clear. length: bytes that are encrypted, with the tag."""

    kdf: Kdf
    salt: bytes
    nonce: bytes
    length: int

    def packed(self) -> bytes:
        kdf = self.kdf
        return HEADER.pack(
            MAGIC, VERSION, NUMBERS[kdf.name], kdf.lanes, kdf.cost, kdf.rounds, self.salt, self.nonce,
            self.length,
        )  # fmt: skip


def read_header(data: bytes) -> Header:
    """The header of a whole file; the checksum is right then, and the parameters can be carried out.

    Raises:
        VaultError: no vault, of another version, cut off, damaged, absurd.
    """
    if not data.startswith(MAGIC):
        raise VaultError("this is no vault of kite_hft; `kite-hft credentials --import` reads older files")
    if len(data) < HEADER.size + TAG_BYTES + CHECKSUM.size:
        raise VaultError(f"the vault is cut off after {len(data)} bytes; {RESTORE}")
    (told,) = CHECKSUM.unpack_from(data, len(data) - CHECKSUM.size)
    if zlib.crc32(data[: -CHECKSUM.size]) != told:
        raise VaultError(f"the vault is damaged: its checksum is wrong; {RESTORE}")
    _, version, number, lanes, cost, rounds, salt, nonce, length = HEADER.unpack_from(data)
    if version != VERSION:
        raise VaultError(
            f"the vault has version {version}, this kite_hft reads {VERSION}: use the one that wrote it"
        )
    if length != len(data) - HEADER.size - CHECKSUM.size:
        raise VaultError(f"the vault's header tells of another length; {RESTORE}")
    if number not in NAMES:
        raise VaultError(f"the vault's header names a key derivation {number} that does not exist; {RESTORE}")
    kdf = Kdf(NAMES[number], cost, rounds, lanes)
    try:
        require_sane(kdf)
    except BadParameters as error:
        raise VaultError(f"the vault's header asks for a key derivation that is refused: {error}") from None
    return Header(kdf, salt, nonce, length)


RESTORE: Final = "restore it from a copy, or start again: kite-hft credentials --reset"


def seal(
    contents: Mapping[str, Mapping[str, str]], kdf: Kdf, salt: bytes, nonce: bytes, key: Private
) -> bytes:
    """The whole file. key: what `derive(kdf, salt, password)` gave. nonce: never used before with this key.

    Raises:
        VaultError: contents that do not fit.
    """
    check_contents(contents)
    assert len(salt) == SALT_BYTES and len(nonce) == NONCE_BYTES
    text = msgspec.json.encode(contents, order="sorted")
    header = Header(kdf, salt, nonce, len(text) + TAG_BYTES).packed()
    body = header + AESGCM(key.view).encrypt(nonce, text, header)
    if len(body) + CHECKSUM.size > BYTES_MAX:
        raise VaultError(f"a vault holds {BYTES_MAX:,} bytes at most")
    return body + CHECKSUM.pack(zlib.crc32(body))


def unseal(data: bytes, password: bytes, derive: Derive = derive) -> tuple[Contents, Header, Private]:
    """(contents, header, key) of a whole file; the caller closes the key.

    Raises:
        VaultError: see `read_header`; a wrong password, or bytes that somebody has changed.
    """
    header = read_header(data)
    require_password(password)
    key = derive(header.kdf, header.salt, password)
    try:
        sealed = memoryview(data)[HEADER.size : -CHECKSUM.size]
        with Private(header.length - TAG_BYTES) as text:
            try:
                AESGCM(key.view).decrypt_into(header.nonce, sealed, data[: HEADER.size], text.view)
            except InvalidTag:
                raise VaultError(
                    "the master password is wrong, or somebody has changed the file; without the password "
                    "nothing can be read: kite-hft credentials --reset starts again"
                ) from None
            try:
                contents: Contents = msgspec.json.decode(text.view, type=Contents)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise VaultError(
                    "the vault holds something else than keys; was it made by a newer version?"
                ) from None
        check_contents(contents)
    except BaseException:
        key.close()
        raise
    return contents, header, key
