"""Huge pages for segments: had whole or refused with a reason, and never a failure of the file itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kite_hft.memory import huge
from kite_hft.memory.huge import HUGE_PAGE_BYTES, mapped_huge, mount_of, use_huge_pages


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on tmpfs: elsewhere the kernel has no say about huge pages."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def big(memory: Path) -> Path:
    """A file of three huge pages and a bit, with something in it."""
    path = memory / "big"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.posix_fallocate(fd, 0, 3 * HUGE_PAGE_BYTES + 8192)
    os.pwrite(fd, b"kept", HUGE_PAGE_BYTES + 5)
    os.close(fd)
    return path


def test_all_of_it_or_a_reason_and_what_was_written_stays(big: Path) -> None:
    try:
        assert use_huge_pages(big) == 3 * HUGE_PAGE_BYTES
    except OSError as error:
        assert error.strerror and ("huge=advise" in error.strerror or "no free 2 MiB" in error.strerror)
    assert big.stat().st_size == 3 * HUGE_PAGE_BYTES + 8192
    assert big.read_bytes()[HUGE_PAGE_BYTES + 5 :][:4] == b"kept"


def test_a_machine_that_denies_them_is_named(
    big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = tmp_path / "shmem_enabled"
    says.write_text("always within_size advise never [deny] force\n")
    monkeypatch.setattr(huge, "SHMEM_ENABLED", says)
    with pytest.raises(OSError, match="says deny: write advise"):
        use_huge_pages(big)


def test_a_small_file_has_nothing_to_put_together(memory: Path) -> None:
    path = memory / "small"
    path.write_bytes(bytes(8192))
    assert use_huge_pages(path) == 0 and mapped_huge(path) == 0


def test_the_mount_that_has_to_change_is_named() -> None:
    assert mount_of(Path("/dev/shm")) == Path("/dev/shm")
    assert mount_of(Path("/")) == Path("/")
