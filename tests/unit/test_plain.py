"""Plain files are read, everything else is an OSError in words, and nothing holds the reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kite_hft.plain import plain_bytes, plain_text


def test_a_plain_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xc3\xa9\r\n")
    (tmp_path / "b").symlink_to("a")
    assert plain_bytes(tmp_path / "b") == b"caf\xc3\xa9\r\n" and plain_text(tmp_path / "a") == "café\r\n"
    assert plain_bytes(tmp_path / "a", most=7) == b"caf\xc3\xa9\r\n"


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "no plain file"),
        (Path.mkdir, "directory|no plain file"),
        (lambda path: path.symlink_to("/dev/zero"), "no plain file"),
        (lambda path: path.symlink_to("nothing"), "No such file"),
        (lambda path: path.symlink_to(path.name), "symbolic links"),
        (_sparse, "1,099,511,627,776 bytes, and at most"),
        (lambda path: path.write_bytes(bytes(9 << 20)), "at most 8,388,608 are read"),
    ],
)
def test_everything_else_is_refused(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "a")
    with pytest.raises(OSError, match=said) as caught:
        plain_bytes(tmp_path / "a")
    assert str(tmp_path / "a") in str(caught.value)


def test_what_is_no_text_is_no_oserror(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        plain_text(tmp_path / "a")
