"""The search for secrets sees each form, in files, archives and names."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from kite_hft.verify.shield.canaries import Search, forms

SECRET = "cnry/Secret+0q Xz7&Pb"


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
@pytest.mark.parametrize("after", [b"", b"y", b"yz"])
def test_base64_is_seen_at_each_alignment(before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        search = Search({"s": SECRET})
        search.bytes("x", encode(before + SECRET.encode() + after), "test")
        assert search.hits


@pytest.mark.parametrize("text", [SECRET, quote_plus(SECRET), SECRET[::-1], SECRET.encode().hex()])
def test_other_forms_are_seen_between_other_text(text: str) -> None:
    search = Search({"s": SECRET})
    search.bytes("x", b"token=" + text.encode() + b"&", "test")
    assert search.hits


def test_archives_and_names_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(SECRET.encode()))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("in/b.txt", SECRET)
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("c.txt")
        info.size = len(SECRET)
        tar.addfile(info, io.BytesIO(SECRET.encode()))
    (tmp_path / quote_plus(SECRET)).touch()
    search = Search({"s": SECRET})
    search.tree(tmp_path, "files")
    assert len({hit.split(": ")[0] for hit in search.hits}) == 4


def test_nothing_is_seen_where_nothing_is() -> None:
    search = Search({"s": SECRET})
    search.bytes("x", bytes(range(256)) * 50, "test")
    assert search.hits == [] and len(forms(SECRET)) >= 10
