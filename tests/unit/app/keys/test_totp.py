"""One-time codes: the test vectors of RFC 6238, appendix B, and what people copy as a secret."""

from __future__ import annotations

import base64

import pytest

from kite_hft.app.keys.totp import BadSecret, left_s, secret_of, totp

VECTORS = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]
SEEDS = {"sha1": b"1234567890" * 2, "sha256": b"1234567890" * 4, "sha512": b"1234567890" * 7}


@pytest.mark.parametrize(("unix_s", "sha1", "sha256", "sha512"), VECTORS)
def test_the_vectors_of_the_rfc(unix_s: int, sha1: str, sha256: str, sha512: str) -> None:
    lengths = {"sha1": 20, "sha256": 32, "sha512": 64}
    for name, wanted in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        assert totp(SEEDS[name][: lengths[name]], unix_s, 8, name) == wanted
    assert totp(SEEDS["sha1"], unix_s) == sha1[-6:]


def test_a_code_holds_until_the_next_half_minute() -> None:
    assert [left_s(s) for s in (0, 1, 29, 30)] == [30, 29, 1, 30]
    secret = SEEDS["sha1"]
    assert totp(secret, 59 + left_s(59)) == totp(secret, 60) != totp(secret, 59)


def test_a_secret_as_people_copy_it() -> None:
    raw = b"1234567890" * 2
    text = base64.b32encode(raw).decode()
    grouped = " ".join(text[i : i + 4] for i in range(0, len(text), 4)).lower()
    assert secret_of(text) == secret_of(grouped) == secret_of(f" {text}\n") == raw
    short = base64.b32encode(b"1234567890").decode()
    assert secret_of(short) == b"1234567890"
    for bad in ("", "JBSW", "not base32 at all!", "123456", text + "1"):
        with pytest.raises(BadSecret) as refused:
            secret_of(bad)
        assert not bad or bad not in str(refused.value)
